"""Rationales for known answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from langmill.api import Augmenter, Choice, Drop, Row, Skip, StepContext
from langmill_plugins.augmenters.replies import JSON, Answer, Reply

# Characters of English: doctors take 570 in the mean (CasiMedicos), models that reason at length 2,400.
REASONED = (300, 2400)


class Explanation(Reply):
    """Why the answer is right."""

    explanation: Answer


class Explain(Augmenter):
    """Has a model explain why the known answer of a multiple-choice item is right.

    Acts on items without an explanation and asks the prompt `explain` of the row's language. The child, called
    `…/explain`, has the explanation; its question, options and answers are its parent's own. It says all that the parent
    says, so recipes usually set `keep: skipped`.
    """

    bodies: ClassVar[tuple[type, ...]] = (Choice,)

    def takes(self, row: Row) -> bool:
        """An item without an explanation."""
        return super().takes(row) and isinstance(row.body, Choice) and not (row.body.explanation or "").strip()

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """The item with an explanation."""
        body = row.body
        assert isinstance(body, Choice)
        pack = context.pack(row.language)
        options = pack.lettered(body.options)
        prompt = pack.render(
            "explain",
            question=body.question,
            options=options,
            answer="\n".join(options[index] for index in body.answers),
            context=body.context or "",
        )
        reply = await context.ask(row, "explain", prompt, Explanation)
        return [row.child("explain", replace(body, explanation=reply.value.explanation), marks=reply.marks)]

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """A paragraph or several."""
        of_english = context.pack(language).size.of_english
        return JSON + REASONED[0] * of_english, JSON + REASONED[1] * of_english

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """The item with an explanation."""
        if isinstance(row.body, Choice):
            yield row.child("explain", replace(row.body, explanation=context.pack(language).filler(characters)))
