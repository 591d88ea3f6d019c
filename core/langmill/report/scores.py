"""What a run's evaluations found, in the order people read it: figures by language and model, whether one model is apart from
another by the paired test, and what pins the figures. The page, the cards and the terminal tell the same from here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from langmill import __version__
from langmill.api import Metric, Score
from langmill.disk.store import RunFolder, key_of
from langmill.parts.evaluation import ALL, Table
from langmill.recipe.assembly import Assembly
from langmill.report.stale import Today
from langmill.scores.differing import differences
from langmill.scores.paired import Comparison, compared
from langmill.scores.published import Beside, beside

Naming = Callable[[str], str]
"""A language's code into its name."""
ALL_LANGUAGES = "all languages"
NO_BETTER = "not above chance"
NEARLY_ALL = 0.9
FEW = 8
VERDICTS = ("gain", "loss", "not told apart")


@dataclass(frozen=True)
class Pair:
    """One model against another, by language (``all`` among them)."""

    first: str
    second: str
    by_language: Mapping[str, Comparison]

    def grouped(self) -> dict[str, list[str]]:
        """{verdict: languages}, ``all`` left out where there are languages beside it."""
        languages = [language for language in self.by_language if language != ALL] or list(self.by_language)
        found = {
            verdict: [code for code in languages if self.by_language[code].verdict == verdict] for verdict in VERDICTS
        }
        return {verdict: codes for verdict, codes in found.items() if codes}

    @property
    def unmatched(self) -> str:
        """Rows that were left out of the test, in words; empty where there are none."""
        over = self.by_language.get(ALL)
        if over is None or not (over.only_first or over.only_second or over.changed):
            return ""
        alone = over.only_first + over.only_second
        return f"{over.paired:,} rows compared, {alone:,} of one model alone and {over.changed:,} that changed left out"

    def words(self, name: Naming) -> str:
        """For example: "gain in Chinese; not told apart in English, Russian"; "elsewhere" for more than three."""
        parts = []
        for verdict, codes in (grouped := self.grouped()).items():
            alone, many = len(grouped) == 1, len(codes) > 3
            where = ("any" if verdict == VERDICTS[2] else "every") + " language"
            if alone and (many or len(self.by_language) == len(codes) + 1):
                parts.append(f"{verdict} in {where}")
            elif verdict == VERDICTS[2] and many:
                parts.append(f"{verdict} elsewhere")
            else:
                parts.append(f"{verdict} in {', '.join(map(name, codes))}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Figures:
    """One metric of an evaluation: a score for each language and model that has one. ``all`` is the last of the languages."""

    name: str
    metric: Metric
    models: tuple[str, ...]
    languages: tuple[str, ...]
    scores: Mapping[tuple[str, str], Score]
    pairs: tuple[Pair, ...]

    @property
    def share(self) -> bool:
        """Whether the figures are shares of rows."""
        return self.metric.kind == "share"

    @property
    def counted(self) -> bool:
        """Whether comparisons say how many rows became right, and wrong."""
        return any(one.gained is not None for pair in self.pairs for one in pair.by_language.values())

    @property
    def tests(self) -> list[str]:
        """The tests that compared models."""
        return list(dict.fromkeys(one.test for pair in self.pairs for one in pair.by_language.values()))

    @property
    def unit(self) -> str:
        """What stands beside a figure."""
        return "%" if self.share else ""

    @cached_property
    def digits(self) -> int:
        """Decimals of figures that are no shares, alike for all so that they can stand under each other: about three digits."""
        most = max((abs(score.value) for score in self.scores.values() if math.isfinite(score.value)), default=0.0)
        return _digits(most)

    def shown(self, value: float) -> str:
        """A figure, or an end of its interval, as people read it."""
        return f"{100 * value:.1f}" if self.share else f"{value:,.{self.digits}f}"

    def change(self, value: float, plus: str = "+") -> str:
        """A difference of two figures: of shares in points, of an ``exp`` in percent of the first."""
        size = self.shown(abs(value)) if self.metric.kind == "mean" else f"{100 * abs(value):.1f}"
        sign = "" if not any(digit in size for digit in "123456789") else "−" if value < 0 else plus
        return sign + size + (" %" if self.metric.kind == "exp" else "")

    def interval(self, ends: tuple[float, float]) -> str:
        """An interval in words."""
        return f"{self.shown(ends[0])} to {self.shown(ends[1])}"

    def verdict(self, comparison: Comparison, *, short: bool = False) -> str:
        """For example: "gain, +12.5 (3.1 to 21.9)"; a difference that is not told apart keeps its interval as well."""
        low, high = (self.change(end, "") for end in comparison.interval)
        return f"{comparison.verdict}, {self.change(comparison.difference)}" + ("" if short else f" ({low} to {high})")

    def unreadable(self) -> dict[tuple[str, str], Score]:
        """Scores by language and model with answers that could not be read; ``all`` is the sum of the others."""
        return {place: score for place, score in self.scores.items() if score.unreadable and place[0] != ALL}

    def beside_chance(self, name: Naming) -> Iterator[tuple[str, str]]:
        """(models, for example "not above chance in English, Chinese") where guessing would get as much, or more."""
        alike: dict[str, list[str]] = {}
        for model in self.models:
            found: dict[str, list[str]] = {}
            for language in self.languages:
                score = self.scores.get((language, model))
                if score is not None and (said := against_chance(score)):
                    found.setdefault(said, []).append(language)
            words = []
            for said, there in found.items():
                everywhere = len(there) == len(self.languages) > 1
                which = "any" if said == NO_BETTER else "every"
                words.append(f"{said} in {f'{which} language' if everywhere else ', '.join(map(name, there))}")
            if words:
                alike.setdefault("; ".join(words), []).append(model)
        for said, models in alike.items():
            yield ", ".join(models), said


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the recipe under its name, with what is known of each model. ``stale`` has models that changed after they
    were scored, or whose rows did, and what became of them in words: their figures are left out."""

    name: str
    facts: Mapping[str, Mapping[str, Any]]
    stale: Mapping[str, str]
    figures: tuple[Figures, ...]
    beside: Beside | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Those with figures, the base first, then stages, then others."""
        return tuple(self.facts)

    @property
    def any(self) -> Mapping[str, Any]:
        """The facts of the first model; what pins them is the same for the others, but for :meth:`differing`."""
        return next(iter(self.facts.values()))

    def differing(self) -> list[tuple[str, str, str]]:
        """(first model, other model, what was not the same for them) where their figures can not be compared for it."""
        first, *others = self.models or ("",)
        found = []
        for other in others:
            grave = [one.what for one in differences(self.facts[first], self.facts[other]) if one.grave]
            if grave:
                found.append((first, other, ", ".join(grave)))
        return found

    def tables(self) -> dict[str, dict[str, dict[str, Table]]]:
        """{table's name: {language: {model: table}}}."""
        found: dict[str, dict[str, dict[str, Table]]] = {}
        for model, facts in self.facts.items():
            for raw in facts["tables"]:
                table = Table(**raw)
                found.setdefault(table.name, {}).setdefault(table.language, {})[model] = table
        return found

    def always_same(self, name: Naming) -> Iterator[tuple[str, str, str]]:
        """(table, model, for example "A in Japanese, Korean") where nearly all of a model's answers in a language take one place,
        though several are asked for: it says the same whatever it is asked. Answers without a place do not count, and fewer than FEW
        show nothing."""
        for title, languages in self.tables().items():
            found: dict[str, dict[str, list[str]]] = {}
            for language, by_model in languages.items():
                for model, table in by_model.items():
                    if not table.places:
                        continue
                    cells = list(zip(table.columns, *table.cells, strict=True))
                    sums = {column: sum(counts) for column, *counts in cells if column in table.rows}
                    most, whole = max(sums, key=lambda column: sums[column]), sum(sums.values())
                    asked = sum(map(any, zip(*(counts for column, *counts in cells if column in sums), strict=True)))
                    if whole >= FEW and sums[most] >= NEARLY_ALL * whole and asked > 1:
                        found.setdefault(model, {}).setdefault(most, []).append(name(language))
            for model in (model for model in self.models if model in found):
                columns = found[model]
                yield title, model, "; ".join(f"{column} in {', '.join(there)}" for column, there in columns.items())

    def pins(self) -> Iterator[tuple[str, str]]:
        """(what, its value) of all that a rerun has to have the same."""
        facts, once = self.any, dict.fromkeys(self.any["prompts"].values())
        prompts = list(once) if len(once) == 1 else [f"{place} {prompt}" for place, prompt in facts["prompts"].items()]
        yield "evaluator", f"{facts['use']}, code {facts['code']}, langmill {facts['langmill']}"
        if prompts:
            yield "words of the questions", ", ".join(prompts)
        yield "rows", f"{facts['rows']:,} of {facts['data']}, split {facts['split']}, seed {facts['seed']}"
        yield "files, sha256", ", ".join(f"{name} {digest[:12]}" for name, digest in facts["files"].items())
        for name, value in {**facts["options"], **facts["facts"]}.items():
            if name not in ("data", "split") and value is not None:
                yield name.replace("_", " "), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def evaluations(assembly: Assembly, store: RunFolder, *, keep: bool = False) -> list[Evaluation]:
    """The evaluations of the recipe that the folder holds, in the recipe's order. ``keep``: the folder may be written to, and
    keeps what the paired tests found."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for facts in store.evaluations().values():
        if {"name", "metrics", "scores"} <= facts.keys():  # what an earlier version wrote is asked again, not shown
            found.setdefault(facts["name"], {})[facts["model"]] = facts
    chain = {stage.name: stage.start for stage in assembly.stages}
    made, today = [], Today(assembly, store)
    for use, evaluator in assembly.evaluators:
        name = evaluator.called(use)
        mine = found.get(name, {})
        order = [*(model for model in ("base", *chain) if model in evaluator.models), *evaluator.models]
        models = [model for model in dict.fromkeys(order) if model in mine]
        stale = {model: since for model in models if (since := today.since(evaluator, model, mine[model]))}
        kept = {model: mine[model] for model in models if model not in stale}
        if models:
            file = getattr(evaluator, "published", None)
            published = beside(assembly.context(name).path(file), kept) if file and kept else None
            made.append(Evaluation(name, kept, stale, tuple(_figures(store, kept, chain, keep)), published))
    return made


def against_chance(score: Score) -> str:
    """What to say of a figure that guessing would get as well, or more than it; empty for others."""
    low, high = score.interval
    if score.chance is None or low > score.chance:
        return ""
    return "below chance" if high < score.chance else NO_BETTER


def figure(value: float) -> str:
    """A figure that is no share and stands by itself."""
    return f"{value:,.{_digits(abs(value))}f}"


def _digits(size: float) -> int:
    return 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3


def _figures(
    store: RunFolder, facts: Mapping[str, Mapping[str, Any]], chain: Mapping[str, str], keep: bool
) -> Iterator[Figures]:
    """Each metric, in the order they were made in."""
    scores: dict[str, dict[tuple[str, str], Score]] = {}
    kinds: dict[str, Metric] = {}
    for model, its in facts.items():
        kinds |= {name: Metric(**metric) for name, metric in its["metrics"].items()}
        for score in map(Score.of, its["scores"]):
            scores.setdefault(score.metric, {})[score.language, model] = score
    pairs = [(pair, _tested(store, facts[pair[0]], facts[pair[1]], keep=keep)) for pair in _pairs(list(facts), chain)]
    for name, mine in scores.items():
        metric = kinds.get(name, Metric("mean", ""))
        models = tuple(model for model in facts if any(model == other for _, other in mine))
        languages = sorted({language for language, _ in mine}, key=lambda language: (language == ALL, language))
        tested = [
            Pair(first, second, by_language)
            for (first, second), comparisons in pairs
            if (by_language := {one.language: one for one in comparisons if one.metric == name})
        ]
        yield Figures(name, metric, models, tuple(languages), mine, tuple(tested))


def _pairs(models: Sequence[str], chain: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which models are worth comparing: each with the first (the base, where there is one), each stage with the one it starts
    from, and what several chains of stages end with, each with each."""
    with_first = [(models[0], model) for model in models[1:]]
    steps = [(chain[model], model) for model in models if model in chain and chain[model] in models]
    ends = combinations([model for model in models if model in chain and model not in chain.values()], 2)
    return list(dict.fromkeys([*with_first, *steps, *ends]))


_KNOWN: dict[str, list[Comparison]] = {}


def _tested(store: RunFolder, first: Mapping[str, Any], second: Mapping[str, Any], *, keep: bool) -> list[Comparison]:
    """The paired test, made once: it takes seconds for thousands of rows, and cards, page, summary and every later look tell it."""
    key = key_of(__version__, first, second)
    place = f"eval/compared/{second['name']}.{first['model']}.{second['model']}.json"
    kept = store.read_json(place) or {}
    if kept.get("key") == key:
        return [Comparison(**{**line, "interval": tuple(line["interval"])}) for line in kept["lines"]]
    if key not in _KNOWN:
        _KNOWN[key] = compared(first, second)
    if keep:
        store.write_json(place, {"key": key, "lines": [line.plain() for line in _KNOWN[key]]})
    return _KNOWN[key]
