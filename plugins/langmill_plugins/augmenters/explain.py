"""Rationales for known answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from langmill.api import Choice, Drop, Field, Row, Skip, StepContext
from langmill_plugins.augmenters.candidates import Candidate
from langmill_plugins.augmenters.guarded import Guarded
from langmill_plugins.augmenters.options import Guards, watched
from langmill_plugins.augmenters.replies import JSON, Answer, Reply

# Characters of English: doctors take 570 in the mean (CasiMedicos), models that reason at length 2,400.
REASONED = (300, 2400)


class Explanation(Reply):
    """Why the answer is right."""

    explanation: Answer


class ExplanationGuards(Guards):
    """The guards over the rationale of an answer that is known."""

    conclusion: bool = Field(True, description="it comes to the right answer and calls no other one right")


class Explain(Guarded):
    """Has a model explain why the known answer of a multiple-choice item is right.

    Acts on items without an explanation and asks the prompt `explain` of the row's language. The child, called
    `…/explain`, has the explanation; its question, options and answers are its parent's own. It says all that the parent
    says, so recipes usually set `keep: skipped`.

    Guards (`guards:`): conclusion (it calls no other option right: `argues_for_another`; it comes to the answer: `no_conclusion`),
    language, chatter, leaks, loops. What they find goes back to the model once; what they find then rejects the row, by the
    first fault's name.
    """

    bodies: ClassVar[tuple[type, ...]] = (Choice,)
    guards: ExplanationGuards = watched(ExplanationGuards)

    def takes(self, row: Row) -> bool:
        """An item without an explanation."""
        return super().takes(row) and isinstance(row.body, Choice) and not (row.body.explanation or "").strip()

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """The item with an explanation."""
        body = row.body
        assert isinstance(body, Choice)
        pack = context.pack(row.language)
        options = pack.lettered(body.options)
        answer = "\n".join(options[index] for index in body.answers)
        prompt = pack.render(
            "explain", question=body.question, options=options, answer=answer, context=body.context or ""
        )

        def read(said: Explanation) -> list[Candidate]:
            return [Candidate(replace(body, explanation=said.explanation), said.explanation)]

        def look(said: Explanation) -> list[list[Drop]]:
            from langmill_plugins.guards.pairs import explained

            asked = self.asked(context, prompt, [body.question, *options, body.context or ""])
            return [explained(said.explanation, body.options, body.answers, pack, self.guards.on(), asked)]

        source = "\n".join(filter(None, (body.context, body.question, *options, "", answer)))
        [made] = await self.written(row, "explain", prompt, Explanation, context, read, look, source=source)
        return [made.child(row, "explain")]

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """A paragraph or several."""
        of_english = context.pack(language).size.of_english
        return JSON + REASONED[0] * of_english, JSON + REASONED[1] * of_english

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """The item with an explanation."""
        if isinstance(row.body, Choice):
            yield row.child("explain", replace(row.body, explanation=context.pack(language).filler(characters)))
