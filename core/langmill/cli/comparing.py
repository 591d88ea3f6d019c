"""``factory compare``: the scores of two runs, of the models inside one, or of a run and what others have published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langmill.cli.arguments import Json, Run, give, opened, say
from langmill.cli.lines import table, wrapped
from langmill.errors import MissingInput

if TYPE_CHECKING:
    from langmill.report.scores import Evaluation
    from langmill.scores.differing import Difference
    from langmill.scores.paired import Comparison

LEGEND = (
    "A gain or a loss is p < 0.05 and an interval without 0. Of right and wrong p is McNemar's, exact; else of flipped signs. That of a "
    "language is corrected for the number of languages (Holm)."
)
SHOWN = 3  # differences of a kind that are written out
VALUE = 30  # characters of a value that differs


def compare(
    run: Run,
    other: Annotated[
        Path | None, typer.Argument(help="Another run's folder, or a file of published scores.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="This evaluation alone.")] = None,
    model: Annotated[str | None, typer.Option(help="This model alone: base, a stage, a name under models:.")] = None,
    json_: Json = False,
) -> None:
    """Hold scores side by side, with the paired test: two runs, or the models of one; or published scores, without it."""
    if other is not None and other.is_file():
        from langmill.cli.beside import beside

        beside(_kept(run, name), run, other, model, json_)
        return
    matches = _inside(run, name, model) if other is None else _between(run, other, name, model)
    if json_:
        give([match.plain() for match in matches])
    for match in matches:
        for line in match.lines():
            say(line)
    say("")
    for line in wrapped(LEGEND, "", "  "):
        say(line)


@dataclass(frozen=True)
class Match:
    """Two models that were asked the same evaluation. ``first`` and ``second`` are the facts of their evaluations, ``labels`` what they
    are called."""

    name: str
    labels: tuple[str, str]
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    differences: Sequence[Difference]
    comparisons: Sequence[Comparison]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "first": self.labels[0],
            "second": self.labels[1],
            "differences": [one._asdict() for one in self.differences],
            "comparisons": [one.plain() for one in self.comparisons],
            "scores": {"first": self.first["scores"], "second": self.second["scores"]},
        }

    def lines(self) -> Iterator[str]:
        """For people, at most ``WIDTH`` of `langmill.cli.lines` wide."""
        yield ""
        yield f"{self.name}"
        yield from wrapped(f"A: {self.labels[0]}", "  ", "     ")
        yield from wrapped(f"B: {self.labels[1]}", "  ", "     ")
        yield from _difference_lines(self.differences)
        for metric, kind in self.second["metrics"].items():
            yield from self._metric_lines(metric, kind)

    def _metric_lines(self, metric: str, kind: Mapping[str, Any]) -> Iterator[str]:
        tested = {one.language: one for one in self.comparisons if one.metric == metric}
        rows = [_tested(one, kind["kind"]) for one in tested.values()]
        before, after = (
            {score["language"]: score for score in facts["scores"] if score["metric"] == metric}
            for facts in (self.first, self.second)
        )
        rows += [
            _untested(language, before[language], after[language], kind["kind"])
            for language in after
            if language in before and not tested
        ]
        if not rows:
            return
        unit = {"share": ", % of rows", "exp": ", change in %", "mean": ""}[kind["kind"]]
        lower = ", lower is better" if kind["better"] == "lower" else ""
        yield ""
        yield from wrapped(f"{metric}: {kind['about']}{unit}{lower}", "  ", "    ")
        head = ("", "rows", "A", "B", "B − A", "95%", "gained", "lost", "p", "")
        yield from table(head, rows)
        for line in [tested[language] for language in list(tested)[-1:]]:
            yield from _unpaired_lines(line)
        unread = [
            sum(score["unreadable"] for score in side.values() if score["language"] != "all")
            for side in (before, after)
        ]
        if any(unread):
            yield f"    answers that could not be read, and count as wrong: A {unread[0]:,}, B {unread[1]:,}"


def _kept(run: Path, name: str | None) -> list[Evaluation]:
    """A run's evaluations, or the one of a name. Raises MissingInput where there is none."""
    from langmill.report.scores import evaluations

    if run.is_file():
        raise MissingInput(f"{run} is a file: a run's folder comes first, then what it is compared with")
    found = evaluations(*opened(run))
    for one in found:
        for model, since in one.stale.items():
            say(f"{run}: {model} {since} after {one.name} was asked: factory run {run} --only eval scores it again")
    found = [one for one in found if one.facts]
    if not found:
        raise MissingInput(f"{run} holds no scores: factory run {run} --only eval, where its recipe has an eval:")
    if name is not None and not any(one.name == name for one in found):
        raise MissingInput(f"{run} has no evaluation '{name}': possible are {', '.join(one.name for one in found)}")
    return [one for one in found if name in (None, one.name)]


def _inside(run: Path, name: str | None, model: str | None) -> list[Match]:
    """The models of one run: each with the first, and each stage with the one before it."""
    from langmill.scores.differing import differences

    kept, matches = _kept(run, name), []
    for one in kept:
        found: dict[tuple[str, str], list[Comparison]] = {}
        for figures in one.figures:
            for pair in figures.pairs:
                found.setdefault((pair.first, pair.second), []).extend(pair.by_language.values())
        for (first, second), comparisons in found.items():
            if model in (None, first, second):
                facts = one.facts[first], one.facts[second]
                apart = differences(*facts)
                matches.append(Match(one.name, (first, second), *facts, apart, comparisons))
    if not matches:
        asked = "; ".join(f"{one.name} asked {', '.join(one.models)}" for one in kept)
        what = "no two models that one evaluation asked" if model is None else f"nothing to compare '{model}' with"
        raise MissingInput(f"{run} holds {what} ({asked}): name more under models: of eval:, or name a second run")
    return matches


def _between(run: Path, other: Path, name: str | None, model: str | None) -> list[Match]:
    """Every evaluation and model that two runs have in common."""
    from langmill.scores.differing import differences
    from langmill.scores.paired import compared

    if not other.exists():
        raise MissingInput(f"there is no {other}: name another run's folder, or a file of published scores")
    mine, theirs = _kept(run, None), _kept(other, None)
    matches = []
    for one in mine:
        for another in theirs:
            for asked in one.models:
                if (
                    one.name == another.name
                    and asked in another.facts
                    and name in (None, one.name)
                    and model in (None, asked)
                ):
                    facts = one.facts[asked], another.facts[asked]
                    labels = f"{asked} of {run}", f"{asked} of {other}"
                    matches.append(Match(one.name, labels, *facts, differences(*facts), compared(*facts)))
    if not matches:
        held = [", ".join(f"{one.name} ({' '.join(one.models)})" for one in kept) for kept in (mine, theirs)]
        wanted = "".join(f" {word}" for word in (name, model) if word)
        raise MissingInput(
            f"no evaluation and model{wanted} that both runs have: {run} has {held[0]}; {other} has {held[1]}. Give the evaluations "
            "the same name: in both recipes"
        )
    return matches


# --- lines ---


def _tested(line: Comparison, kind: str) -> tuple[str, ...]:
    low, high = (signed(kind, end) for end in line.interval)
    moved = ("–", "–") if line.gained is None else (f"{line.gained:,}", f"{line.lost:,}")
    p = "<0.001" if line.corrected < 0.001 else f"{line.corrected:.3f}"
    shown_values = shown(kind, line.before), shown(kind, line.after), signed(kind, line.difference)
    return (line.language, f"{line.paired:,}", *shown_values, f"{low} to {high}", *moved, p, line.verdict)


def _untested(language: str, before: Mapping[str, Any], after: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    one, two = (score.get("accuracy", score.get("value")) for score in (before, after))
    return (language, f"{after['n']:,}", shown(kind, one), shown(kind, two), "–", "–", "–", "–", "–", "not tested")


def _unpaired_lines(line: Comparison) -> Iterator[str]:
    """What the last line, over all, says of rows that were not compared."""
    lone = [f"{n:,} of {side}" for n, side in ((line.only_first, "A"), (line.only_second, "B")) if n]
    if lone:
        yield f"    rows that the other was not asked, left out here: {' and '.join(lone)}"
    if line.changed:
        yield f"    rows of one id with other words or another key, left out here: {line.changed:,}"


def _difference_lines(found: Sequence[Difference]) -> Iterator[str]:
    for grave, some in groupby(found, key=lambda one: one.grave):
        if grave:
            yield "  NOT THE SAME: THESE FIGURES ARE OF DIFFERENT THINGS, and a gain may come of the difference"
        else:
            yield "  also not the same, which may not matter"
        for _, alike in groupby(some, key=lambda one: one.what.split()[0]):
            listed = list(alike)
            for one in listed[:SHOWN]:
                yield from wrapped(f"{one.what}: {_short(one.first)} / {_short(one.second)}", "    ", "      ")
            if len(listed) > SHOWN:
                yield f"    and {len(listed) - SHOWN:,} more of {listed[0].what.split()[0]}"


def _short(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= VALUE else text[: VALUE - 1] + "…"


def shown(kind: str, value: float) -> str:
    """A figure as people read it: shares in percent, others with about three digits that say something."""
    if kind == "share":
        return f"{100 * value:.1f}"
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def signed(kind: str, value: float) -> str:
    """A difference: of shares in points, of an ``exp`` in percent of the first."""
    text = shown(kind if kind == "mean" else "share", abs(value))
    return text if not text.strip("0.") else ("−" if value < 0 else "+") + text
