"""From items to scores: each language, then the mean over languages.

Rows of one family are one question in several forms, in one language or in many, and a model that knows one of them mostly knows the
others. So a family is what is drawn again for an interval, and the interval over all languages counts how far languages rise and fall
together in the families that they share: without that it would be too narrow by half where a set is the same in seven languages.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from langmill.api import Item, Marked, Metric, Score
from langmill.errors import FactoryError
from langmill.parts.evaluation import ALL
from langmill.scores.intervals import mean_interval, wilson
from langmill.scores.resampling import Cell, Grid, drawn, ends, grid

MOST_LOG = 700.0
"""Beyond it the exponential is no number of 64 bits, or 0."""


def scores_of(
    marked: Marked, metrics: Mapping[str, Metric], seed: int, families: Mapping[str, str] | None = None
) -> list[Score]:
    """A score for each metric and language that has items, in the order they come in, each metric's ``all`` last; then the
    evaluator's own. ``seed`` decides the draws of the bootstrap; ``families`` has the family of rows that share theirs.

    A share of rows that are right or wrong has Wilson's interval; where values lie between, rows weigh differently, or a family has
    several rows, it is the bootstrap's. Of a mean of one item, or of items that are all alike, drawing shows no spread: the interval is
    the mean itself. Items that weigh 0 count for nothing. Raises FactoryError for an item that no mean can be made of.
    """
    groups: dict[str, dict[str, list[Item]]] = {}
    for item in marked.items:
        _check(item, metrics)
        counted = groups.setdefault(item.metric, {}).setdefault(item.language, [])
        if item.weight:
            counted.append(item)
    made: list[Score] = []
    for metric, found in groups.items():
        kind, by_language = metrics[metric], dict(sorted(found.items()))
        for language, items in by_language.items():
            if not items:
                raise FactoryError(f"{metric}, {language}: all items weigh 0, so they have no mean")
        cells = [
            Cell((families or {}).get(item.row, item.row), language, item.value, item.weight)
            for language, items in by_language.items()
            for item in items
        ]
        table = grid(cells, sorted({cell.family for cell in cells}), list(by_language))
        mine = []
        for column, (language, items) in enumerate(by_language.items()):
            part = Grid(*(array[:, [column]] for array in table))
            mine.append(_score(metric, kind, language, items, part, _prompt(marked, language, metric), seed))
        made += [*mine, _over_all(metric, kind, mine, _related(table))]
    return [*made, *marked.scores]


def _check(item: Item, metrics: Mapping[str, Metric]) -> None:
    """Raises FactoryError with the row for what would spoil a mean without a word."""
    where = f"row {item.row}, {item.metric}"
    if item.metric not in metrics:
        raise FactoryError(f"{where}: the evaluator has no such metric; it has {', '.join(metrics)}")
    if not math.isfinite(item.value) or not math.isfinite(item.weight) or item.weight < 0:
        raise FactoryError(f"{where}: a value of {item.value} that weighs {item.weight} has no mean")
    kind = metrics[item.metric].kind
    if kind == "share" and not 0 <= item.value <= 1:
        raise FactoryError(f"{where}: a value of {item.value} is no share: shares are 0 to 1")
    if kind == "exp" and abs(item.value) > MOST_LOG:
        raise FactoryError(f"{where}: the exponential of {item.value} is no number")


def _prompt(marked: Marked, language: str, metric: str) -> str:
    return marked.prompts.get(f"{language} {metric}") or marked.prompts.get(language, "")


def _score(
    metric: str, kind: Metric, language: str, items: Sequence[Item], part: Grid, prompt: str, seed: int
) -> Score:
    n, mean = len(items), float(part.means[0])
    families = int((part.counts > 0).sum())
    right = sum(item.value for item in items)
    plain = families == n and len({item.weight for item in items}) == 1 and {item.value for item in items} <= {0, 1}
    if kind.kind == "share" and plain:
        interval = wilson(right, n)
    else:
        interval = ends(drawn([part], seed)[0][:, 0], families)
        if kind.kind == "share" and interval[1] - interval[0] < 1e-9:
            interval = wilson(mean * families, families)
    value = mean
    if kind.kind == "exp":
        value, interval = math.exp(mean), (math.exp(interval[0]), math.exp(interval[1]))
    known = [(item.chance, item.weight) for item in items if item.chance is not None]
    weight = sum(weight for _, weight in known)
    chance = sum(chance * weight for chance, weight in known) / weight if weight else None
    unreadable = sum(not item.readable for item in items)
    correct = right if kind.kind == "share" else None
    return Score(language, metric, n, value, interval, correct, chance, unreadable, prompt)


def _related(table: Grid) -> Any:
    """How far the means of languages rise and fall together: the correlation of each with each by the families that lie in both. Below
    0 it is taken for chance."""
    import numpy as np

    apart = table.sums - table.means * table.weights
    together = np.clip(apart.T @ apart, 0, None)
    alone = np.sqrt(np.diag(together))
    scale = np.outer(alone, alone)
    related = np.divide(together, scale, out=np.zeros_like(scale), where=scale > 0)
    np.fill_diagonal(related, 1)
    return related


def _over_all(metric: str, kind: Metric, scores: Sequence[Score], related: Any) -> Score:
    """The mean over languages. Of perplexities it is the geometric one: the exponential of the mean."""

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    if kind.kind == "exp":
        logs = [(math.log(s.value), (math.log(s.interval[0]), math.log(s.interval[1]))) for s in scores]
        value = math.exp(mean([log for log, _ in logs]))
        low, high = (math.exp(end) for end in mean_interval(logs, related))
    else:
        value = mean([score.value for score in scores])
        low, high = mean_interval([(score.value, score.interval) for score in scores], related)
    if kind.kind == "share":
        low, high = max(0.0, low), min(1.0, high)
    prompts = "+".join(score.prompt for score in scores)
    correct = [score.correct for score in scores if score.correct is not None]
    chances = [score.chance for score in scores if score.chance is not None]
    return Score(
        ALL,
        metric,
        sum(score.n for score in scores),
        value,
        (low, high),
        sum(correct) if kind.kind == "share" else None,
        mean(chances) if chances else None,
        sum(score.unreadable for score in scores),
        hashlib.sha256(prompts.encode()).hexdigest()[:12] if prompts.strip("+") else "",
    )
