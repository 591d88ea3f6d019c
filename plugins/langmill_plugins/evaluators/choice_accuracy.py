"""Accuracy on multiple-choice rows by log-likelihood: nothing has to be read out of an answer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from langmill.api import (
    Answered,
    Choice,
    EvalContext,
    Evaluator,
    Item,
    Likelihood,
    Marked,
    Message,
    Metric,
    MissingInput,
    Pack,
    Question,
    Row,
)


class ChoiceAccuracy(Evaluator):
    """Share of multiple-choice rows answered right, by log-likelihood, in each language and over all.

    Every row is put in the short words of its language pack. Two figures: ``letters`` takes the likeliest letter, ``text``
    the option whose words are likeliest, their log-probability divided by their UTF-8 bytes, so that long options do not
    lose for being long. A row with k right answers is given its k likeliest options and counts as right when they are
    exactly the right ones; so the model is told how many to choose. ``all`` is the mean over languages, each weighing the
    same, whatever its number of rows. Needs a model that gives log-probabilities: the base, or a trained stage.
    """

    metrics: ClassVar[Mapping[str, Metric]] = {
        "letters": Metric("share", "the likeliest letter is right"),
        "text": Metric("share", "the option with the likeliest words, by byte, is right"),
    }

    def scored(self) -> bool:
        """It asks for log-probabilities."""
        return True

    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        """One question a row, with its letters and its options as continuations."""
        asked = [(row, row.body) for row in rows if isinstance(row.body, Choice)]
        if not asked:
            raise MissingInput(
                f"{context.place}: '{self.data}' holds no multiple-choice rows in its split '{self.split}', and "
                "choice_accuracy scores nothing else: name a data set that does"
            )
        for row, body in asked:
            pack = context.pack(row.language)
            letters = [pack.letters((option,)) for option in range(len(body.options))]
            prompt = Message("user", pack.ask_choice(body, short=True))
            yield Question(row.id, row.id, row.language, (prompt,), (*letters, *body.options))

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        """One item a row and metric, with the options that were chosen."""
        bodies = {row.id: row.body for row in rows}
        items: list[Item] = []
        for one in answered:
            body = bodies[one.question.row]
            assert isinstance(body, Choice)
            count = len(body.options)
            letters = [found.log_probability for found in one.likelihoods[:count]]
            words = [_by_byte(found, text) for found, text in zip(one.likelihoods[count:], body.options, strict=True)]
            chance = 1 / math.comb(count, len(body.answers))
            for metric, values in zip(self.metrics, (letters, words), strict=True):
                chosen = best(values, len(body.answers))
                right = chosen == list(body.answers)
                facts = {"gold": list(body.answers), "chosen": chosen}
                items.append(Item(one.question.row, one.question.language, metric, float(right), chance, facts=facts))
        packs = {item.language: context.pack(item.language) for item in items}
        return Marked(tuple(items), {language: prompt_hash([pack]) for language, pack in packs.items()})


def best(values: Sequence[float], count: int) -> list[int]:
    """The places of the ``count`` greatest values, ascending; of equals the earlier one."""
    return sorted(sorted(range(len(values)), key=lambda place: (-values[place], place))[:count])


def prompt_hash(packs: Iterable[Pack]) -> str:
    """What pins the words of the question: the packs' short prompts, and how they write options."""
    digest = hashlib.sha256()
    for pack in packs:
        facts = pack.need("choice").model_dump(mode="json")
        digest.update(json.dumps([pack.code, pack.templates["choice_short"], facts], sort_keys=True).encode())
    return f"choice_short@{digest.hexdigest()[:12]}"


def _by_byte(likelihood: Likelihood, text: str) -> float:
    return likelihood.log_probability / max(1, len(text.encode("utf-8", "surrogatepass")))
