"""Two models on the same rows: what the second gained or lost, and whether that is more than chance.

A language where each row is right or wrong is tested by McNemar's exact test: of the rows that one model alone has right, half would
be the second's if the two were alike. It is the exact test and not its mid-p form, which is stronger but may call a gain that is
none a little oftener than once in twenty: a gain is to be called one only when it is. Where values lie between, where rows weigh
differently, and over all languages, the signs of the differences are flipped at random instead (see :func:`flipped`). Languages are
several tests: their p are corrected after Holm (Scandinavian Journal of Statistics 6, 1979). The line over all is one test of its own.
A metric is not corrected for the others, nor one pair of models for the next.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from langmill.parts.evaluation import ALL
from langmill.rows import Row
from langmill.scores.intervals import wilson
from langmill.scores.resampling import Cell, Grid, drawn, ends, flipped, grid, pot_count

SEED = 17
LEVEL = 0.05
Verdict = Literal["gain", "loss", "not told apart"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric in one language (or ``all``), the second model against the first.

    ``before`` and ``after`` are of the paired rows alone. ``difference`` is after - before, of a metric of kind ``exp`` after / before
    - 1; ``interval`` holds 95% of it. ``gained`` and ``lost`` count rows that became right and wrong, None where values lie between.
    ``paired`` rows were compared; ``only_first`` and ``only_second`` have no partner, ``changed`` have one of the same id that
    holds other words or another key. ``corrected`` is ``p`` after Holm. ``verdict`` is a gain when ``corrected`` is below 0.05 and the
    interval excludes 0, whichever direction is the better one.
    """

    name: str
    metric: str
    language: str
    first: str
    second: str
    paired: int
    only_first: int
    only_second: int
    changed: int
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    gained: int | None
    lost: int | None
    test: Literal["McNemar", "sign flips"]
    p: float
    corrected: float
    verdict: Verdict

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "interval": list(self.interval)}


def pairing(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """What an evaluation keeps of the rows that it asked, so that two can be compared: ``contents``, a hash of each row's words and key,
    and ``families`` of the rows that share theirs with another one."""
    many = Counter(row.family for row in rows)
    contents = {}
    for row in rows:
        text = json.dumps(asdict(row.body), sort_keys=True)
        contents[row.id] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return {"contents": contents, "families": {row.id: row.family for row in rows if many[row.family] > 1}}


class _Side(NamedTuple):
    """One model's items of a metric by (language, row), those of a row together, and what the rows hold."""

    items: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
    contents: Mapping[str, str]


def compared(first: Mapping[str, Any], second: Mapping[str, Any], seed: int = SEED) -> list[Comparison]:
    """The second evaluation against the first, both as ``eval/NAME.MODEL.json`` has them: for each metric that both have a line
    for each language, then one over all languages, each weighing the same. Metrics and languages without a paired row are left
    out; what has no partner is counted in the line over all."""
    families = {**first.get("families", {}), **second.get("families", {})}
    lines: list[Comparison] = []
    for metric, kind in second["metrics"].items():
        if first["metrics"].get(metric, {}).get("kind") != kind["kind"]:
            continue
        sides = _side(first, metric), _side(second, metric)
        both = [key for key in sides[0].items if key in sides[1].items]
        changed = {key for key in both if len({side.contents.get(key[1], "") for side in sides}) > 1}
        pairs = sorted(key for key in both if key not in changed)
        if pairs:
            names = second["name"], metric, first["model"], second["model"]
            lines += _Test(names, kind, sides, pairs, changed, families, seed).lines()
    return lines


def _side(facts: Mapping[str, Any], metric: str) -> _Side:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in facts["items"]:
        if item["metric"] == metric and item["weight"]:
            found.setdefault((item["language"], item["row"]), []).append(item)
    return _Side(found, facts.get("contents", {}))


@dataclass(frozen=True, slots=True)
class _Test:
    """One metric of two models. ``names`` are the evaluation's, the metric's and the models'; ``pairs`` and ``changed`` are
    (language, row)."""

    names: tuple[str, str, str, str]
    kind: Mapping[str, Any]
    sides: tuple[_Side, _Side]
    pairs: Sequence[tuple[str, str]]
    changed: Collection[tuple[str, str]]
    families: Mapping[str, str]
    seed: int

    def lines(self) -> Iterator[Comparison]:
        """A line for each language, then the one over all, p corrected."""
        each = [self._line([language], language) for language in self._languages()]
        over = self._line(self._languages(), ALL)
        for one, p in zip([*each, over], [*holm([one.p for one in each]), over.p], strict=True):
            yield replace(one, corrected=p, verdict=_verdict(one, p, self.kind["better"]))

    def _languages(self) -> list[str]:
        return sorted({language for language, _ in self.pairs})

    def _line(self, languages: Sequence[str], called: str) -> Comparison:
        """What the languages say together; p not corrected yet."""
        kind = self.kind["kind"]
        pairs = [key for key in self.pairs if key[0] in languages]
        grids = self._grids(pairs, languages)
        moved = _moved(self.sides, pairs)
        p, test = _p(grids, moved if len(languages) == 1 else None, self.seed)
        before, after = (float(one.means.mean()) for one in grids)
        difference, interval = after - before, _interval(grids, kind, self.seed)
        if kind == "exp":
            before, after, difference = math.exp(before), math.exp(after), math.expm1(difference)
            interval = math.expm1(interval[0]), math.expm1(interval[1])

        def count(keys: Iterable[tuple[str, str]]) -> int:
            return sum(called in (ALL, language) for language, _ in keys)

        first, second = (side.items.keys() for side in self.sides)
        lone = count(first - second), count(second - first), count(self.changed)
        gained, lost = moved or (None, None)
        name, metric, *models = self.names
        return Comparison(
            name, metric, called, models[0], models[1], len(pairs), *lone, before, after, difference, interval, gained, lost, test,
            p, p, "not told apart",
        )  # fmt: skip

    def _grids(self, pairs: Sequence[tuple[str, str]], languages: Sequence[str]) -> list[Grid]:
        """Each model's items of the pairs by family and language, in the same order."""
        families = {key: self.families.get(key[1], key[1]) for key in pairs}
        names = sorted(set(families.values()))
        return [
            grid(
                (
                    Cell(families[key], key[0], item["value"], item["weight"])
                    for key in pairs
                    for item in side.items[key]
                ),
                names,
                languages,
            )
            for side in self.sides
        ]


def _moved(sides: tuple[_Side, _Side], pairs: Sequence[tuple[str, str]]) -> tuple[int, int] | None:
    """How many rows became right, and wrong; None where they are not simply right or wrong."""
    gained = lost = 0
    for key in pairs:
        one, other = (side.items[key] for side in sides)
        if len(one) != 1 or len(other) != 1 or not {one[0]["value"], other[0]["value"]} <= {0, 1}:
            return None
        if one[0]["weight"] != other[0]["weight"] or one[0]["weight"] != 1:
            return None
        gained += other[0]["value"] > one[0]["value"]
        lost += other[0]["value"] < one[0]["value"]
    return gained, lost


def _p(
    grids: Sequence[Grid], moved: tuple[int, int] | None, seed: int
) -> tuple[float, Literal["McNemar", "sign flips"]]:
    """Two-sided, of the differences of families; ``moved`` is there where rows of one language are right or wrong."""
    one, other = grids
    if moved is not None and one.counts.max() <= 1:  # rows of one family are no independent coins
        return mcnemar(*moved), "McNemar"
    middle = (one.means + other.means) / 2
    parts = [(each.sums - middle * each.weights) / each.weights.sum(axis=0) for each in (one, other)]
    return flipped((parts[1] - parts[0]).mean(axis=1), seed), "sign flips"


def _interval(grids: Sequence[Grid], kind: str, seed: int) -> tuple[float, float]:
    """95% of the difference: the same rows drawn for both. Where all rows differ by the same, mostly by nothing, drawing shows no
    spread; of a share it is then as wide as Wilson's is for no hit among so many."""
    families = len(grids[0].counts)
    before, after = drawn(grids, seed)
    low, high = ends((after - before).mean(axis=1), families, pot_count(grids[0]))
    if kind != "share":
        return low, high
    if high - low < 1e-9:
        half = wilson(0, families)[1]
        low, high = low - half, high + half
    return max(-1.0, low), min(1.0, high)


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p of McNemar's test: of gained + lost coins so few or fewer on the rarer side, twice. Whole numbers
    throughout, so that it is exact for many, too."""
    n, few = gained + lost, min(gained, lost)
    term = total = 1
    for k in range(1, few + 1):
        term = term * (n - k + 1) // k
        total += term
    return min(1.0, total / 2 ** (n - 1)) if n else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """p of several tests, corrected so that all of them together call a difference that is none once in twenty times."""
    found, least = [1.0] * len(ps), 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=lambda at: ps[at])):
        least = max(least, min(1.0, ps[at] * (len(ps) - rank)))
        found[at] = least
    return found


def _verdict(line: Comparison, p: float, better: str) -> Verdict:
    low, high = line.interval
    if p >= LEVEL or low <= 0 <= high:
        return "not told apart"
    return "gain" if (line.difference > 0) == (better == "higher") else "loss"
