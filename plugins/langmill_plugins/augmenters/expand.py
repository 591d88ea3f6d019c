"""Short answers made longer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from langmill.api import Augmenter, Chat, Drop, Field, Message, Row, Skip, StepContext
from langmill_plugins.augmenters.replies import JSON, Answer, Reply, single_turn

LONGER = (240, 1000)  # characters of three to six sentences of English, from terse models to talkative ones


class Expansion(Reply):
    """The longer answer."""

    answer: Answer


class Expand(Augmenter):
    """Has a model write a longer answer to a question that has a short one, keeping its claim.

    Acts on conversations of one question and one answer of at most `most_characters`; a system message stays as it is.
    Asks the prompt `expand` of the row's language. A reply that is not longer than the old answer is rejected as
    `not_longer`. Children are called `…/expand`.
    """

    bodies: ClassVar[tuple[type, ...]] = (Chat,)
    most_characters: int = Field(400, ge=1, description="longest answer, in characters, that is made longer")

    def takes(self, row: Row) -> bool:
        """One question and a short answer."""
        turns = single_turn(row)
        return super().takes(row) and turns is not None and len(turns[1].strip()) <= self.most_characters

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """The row with a longer answer."""
        turns = single_turn(row)
        if turns is None or not isinstance(row.body, Chat):
            return [Skip("not_single_turn", "only one question with one answer is expanded")]
        question, answer = turns
        prompt = context.pack(row.language).render("expand", question=question, answer=answer)
        reply = await context.ask(row, "expand", prompt, Expansion)
        longer = reply.value.answer
        if len(longer) <= len(answer.strip()):
            return [Drop("not_longer", f"{len(longer)} characters for {len(answer.strip())}")]
        body = Chat((*row.body.messages[:-1], Message("assistant", longer)))
        return [row.child("expand", body, marks=reply.marks)]

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """As the prompt asks, and longer than what is there."""
        of_english, now = context.pack(language).size.of_english, len((single_turn(row) or ("", ""))[1])
        return JSON + max(LONGER[0] * of_english, now), JSON + max(LONGER[1] * of_english, 2.5 * now)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """The row with a longer answer."""
        if isinstance(row.body, Chat):
            longer = Message("assistant", context.pack(language).filler(characters))
            yield row.child("expand", Chat((*row.body.messages[:-1], longer)))
