"""Accuracy on multiple-choice rows by log-likelihood: nothing has to be read out of an answer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langmill.api import LLM, Choice, Context, Evaluator, Likelihood, MissingInput, Pack, Row, Score, Scores

Z = 1.959963984540054  # two-sided 95% of the normal distribution
METRICS = ("letters", "text")


class ChoiceAccuracy(Evaluator):
    """Share of multiple-choice rows answered right, by log-likelihood, in each language and over all.

    Every row is put in the short words of its language pack. Two figures: ``letters`` takes the likeliest letter, ``text``
    the option whose words are likeliest, their log-probability divided by their UTF-8 bytes, so that long options do not
    lose for being long. A row with k right answers is given its k likeliest options and counts as right when they are
    exactly the right ones; so the model is told how many to choose. ``all`` is the mean over languages, each weighing the
    same, whatever its number of rows. Needs a model that gives log-probabilities: the base, or a trained stage.
    """

    def evaluate(self, rows: Sequence[Row], model: LLM, context: Context) -> Scores:
        """Figures by language and over all; one item a row and metric, with the options that were chosen."""
        asked = [(row, row.body) for row in rows if isinstance(row.body, Choice)]
        if not asked:
            raise MissingInput(
                f"{context.place}: '{self.data}' holds no multiple-choice rows in its split '{self.split}', and "
                "choice_accuracy scores nothing else: name a data set that does"
            )
        pairs: list[tuple[str, str]] = []
        for row, body in asked:
            pack = context.pack(row.language)
            prompt = pack.ask_choice(body, short=True)
            pairs += [(prompt, pack.letters((option,))) for option in range(len(body.options))]
            pairs += [(prompt, option) for option in body.options]
        found = iter(model.score(pairs))
        items: list[dict[str, Any]] = []
        chances: dict[str, list[float]] = {}
        for row, body in asked:
            letters = [next(found).log_probability for _ in body.options]
            words = [_by_byte(next(found), option) for option in body.options]
            for metric, values in zip(METRICS, (letters, words), strict=True):
                items.append(
                    {
                        "id": row.id, "language": row.language, "metric": metric,
                        "gold": list(body.answers), "chosen": best(values, len(body.answers)),
                    }
                )  # fmt: skip
            chances.setdefault(row.language, []).append(1 / math.comb(len(body.options), len(body.answers)))
        packs = {language: context.pack(language) for language in sorted(chances)}
        scores = [score for metric in METRICS for score in _scores(metric, items, chances, packs)]
        return Scores(tuple(scores), tuple(items))


def best(values: Sequence[float], count: int) -> list[int]:
    """The places of the ``count`` greatest values, ascending; of equals the earlier one."""
    return sorted(sorted(range(len(values)), key=lambda place: (-values[place], place))[:count])


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share: unlike the plain one it stays inside 0..1 and holds for few rows."""
    share, z2 = right / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(parts: Sequence[tuple[float, tuple[float, float]]]) -> tuple[float, float]:
    """95% interval of the mean of independent shares, from each one's share and interval.

    Squared distances to the limits add up (Zou and Donner, Statistics in Medicine 27, 2008), so that it inherits what is
    good in Wilson's: languages with few rows, and shares of 0 or 1, are no trouble.
    """
    count = len(parts)
    mean = sum(share for share, _ in parts) / count
    down = math.sqrt(sum((share - low) ** 2 for share, (low, _) in parts)) / count
    up = math.sqrt(sum((high - share) ** 2 for share, (_, high) in parts)) / count
    return max(0.0, mean - down), min(1.0, mean + up)


def prompt_hash(packs: Iterable[Pack]) -> str:
    """What pins the words of the question: the packs' short prompts, and how they write options."""
    digest = hashlib.sha256()
    for pack in packs:
        facts = pack.need("choice").model_dump(mode="json")
        digest.update(json.dumps([pack.code, pack.templates["choice_short"], facts], sort_keys=True).encode())
    return f"choice_short@{digest.hexdigest()[:12]}"


def _by_byte(likelihood: Likelihood, text: str) -> float:
    return likelihood.log_probability / max(1, len(text.encode("utf-8", "surrogatepass")))


def _scores(
    metric: str,
    items: Sequence[Mapping[str, Any]],
    chances: Mapping[str, Sequence[float]],
    packs: Mapping[str, Pack],
) -> list[Score]:
    """One metric's scores: each language, then ``all``."""
    made: list[Score] = []
    for language, pack in packs.items():
        mine = [item for item in items if item["metric"] == metric and item["language"] == language]
        right, n = sum(item["chosen"] == item["gold"] for item in mine), len(mine)
        chance = sum(chances[language]) / n
        made.append(Score(language, metric, n, right, right / n, wilson(right, n), chance, 0, prompt_hash([pack])))
    count = len(made)
    over_all = Score(
        "all",
        metric,
        sum(score.n for score in made),
        sum(score.correct for score in made),
        sum(score.accuracy for score in made) / count,
        mean_interval([(score.accuracy, score.interval) for score in made]),
        sum(score.chance for score in made) / count,
        0,
        prompt_hash(packs.values()),
    )
    return [*made, over_all]
