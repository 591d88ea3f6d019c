"""From items to scores: each language, then the mean over languages."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from langmill.api import Item, Marked, Metric, Score
from langmill.parts.evaluation import ALL
from langmill.scores.intervals import bootstrap, mean_interval, wilson


def scores_of(marked: Marked, metrics: Mapping[str, Metric], seed: int) -> list[Score]:
    """A score for each metric and language that has items, in the order they come in, each metric's ``all`` last; then the
    evaluator's own. ``seed`` decides the draws of the bootstrap."""
    groups: dict[str, dict[str, list[Item]]] = {}
    for item in marked.items:
        groups.setdefault(item.metric, {}).setdefault(item.language, []).append(item)
    made: list[Score] = []
    for metric, by_language in groups.items():
        kind = metrics[metric]
        mine = [
            _score(metric, kind, language, items, marked.prompts.get(language, ""), seed)
            for language, items in sorted(by_language.items())
        ]
        made += [*mine, _over_all(metric, kind, mine)]
    return [*made, *marked.scores]


def _score(metric: str, kind: Metric, language: str, items: Sequence[Item], prompt: str, seed: int) -> Score:
    values, weights = [item.value for item in items], [item.weight for item in items]
    n, total = len(items), sum(weights)
    mean = sum(value * weight for value, weight in zip(values, weights, strict=True)) / total if total else 0.0
    correct = sum(values) if kind.kind == "share" else None
    if kind.kind == "share" and all(value in (0, 1) for value in values):
        interval = wilson(sum(values), n)
    else:
        interval = bootstrap(values, weights, seed)
    if kind.kind == "exp":
        mean, interval = math.exp(mean), (math.exp(interval[0]), math.exp(interval[1]))
    known = [item.chance for item in items if item.chance is not None]
    chance = sum(known) / len(known) if known else None
    unreadable = sum(not item.readable for item in items)
    return Score(language, metric, n, mean, interval, correct, chance, unreadable, prompt)


def _over_all(metric: str, kind: Metric, scores: Sequence[Score]) -> Score:
    """The mean over languages. Of perplexities it is the geometric one: the exponential of the mean."""

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    if kind.kind == "exp":
        logs = [(math.log(s.value), (math.log(s.interval[0]), math.log(s.interval[1]))) for s in scores]
        value = math.exp(mean([log for log, _ in logs]))
        low, high = (math.exp(end) for end in mean_interval(logs))
    else:
        value = mean([score.value for score in scores])
        low, high = mean_interval([(score.value, score.interval) for score in scores])
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
