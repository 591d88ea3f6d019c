"""Short answers made longer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from langmill.api import Chat, Drop, Field, Message, Row, Skip, StepContext
from langmill_plugins.augmenters.agreement import Agreement
from langmill_plugins.augmenters.candidates import Candidate
from langmill_plugins.augmenters.guarded import Guarded
from langmill_plugins.augmenters.options import Guards, watched
from langmill_plugins.augmenters.replies import JSON, Answer, Reply, single_turn

LONGER = (240, 1000)  # characters of three to six sentences of English, from terse models to talkative ones


class Expansion(Reply):
    """The longer answer."""

    answer: Answer


class ExpansionGuards(Guards):
    """The guards over a longer answer, which may say more than the short one and nothing against it."""

    numbers: bool = Field(True, description="every number of the short answer is there; more may come")
    units: bool = Field(True, description="units, how often and which way a drug is given")
    names: bool = Field(True, description="names and codes of the short answer are there")
    negation: bool = Field(True, description="a yes does not become a no, nor the other way round")
    sides: bool = Field(True, description="left does not become right")
    claim: bool = Field(True, description="what the short answer speaks of is there")


class Expand(Guarded):
    """Has a model write a longer answer to a question that has a short one, keeping its claim.

    Acts on conversations of one question and one answer of at most `most_characters`; a system message stays as it is.
    Asks the prompt `expand` of the row's language. A reply that is not longer than the old answer is rejected as `not_longer`.
    Children are called `…/expand`.

    Guards (`guards:`): numbers, units, names, negation, sides, claim (what the short answer speaks of: `claim_lost`), language,
    chatter, leaks, loops. What they find goes back to the model once; what they find then rejects the row, by the first
    fault's name.
    """

    bodies: ClassVar[tuple[type, ...]] = (Chat,)
    most_characters: int = Field(400, ge=1, description="longest answer, in characters, that is made longer")
    guards: ExpansionGuards = watched(ExpansionGuards)
    agreement: Agreement | None = Field(None, description="hold a longer answer against further ones")

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
        pack, before = context.pack(row.language), row.body.messages[:-1]
        prompt = pack.render("expand", question=question, answer=answer)

        def read(said: Expansion) -> list[Candidate]:
            return [Candidate(Chat((*before, Message("assistant", said.answer))), said.answer)]

        def look(said: Expansion) -> list[list[Drop]]:
            from langmill_plugins.guards.pairs import expanded

            short = len(answer.strip())
            if len(said.answer) <= short:
                return [[Drop("not_longer", f"{len(said.answer)} characters for {short}")]]
            asked = self.asked(context, prompt, [question, answer])
            return [expanded(answer, said.answer, pack, self.guards.on(), asked)]

        source = f"{question}\n\n{answer}"
        [made] = await self.written(row, "expand", prompt, Expansion, context, read, look, source=source)
        return [made.child(row, "expand")]

    def agreed(self) -> Agreement | None:
        """The option."""
        return self.agreement

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """As the prompt asks, and longer than what is there."""
        of_english, now = context.pack(language).size.of_english, len((single_turn(row) or ("", ""))[1])
        return JSON + max(LONGER[0] * of_english, now), JSON + max(LONGER[1] * of_english, 2.5 * now)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """The row with a longer answer."""
        if isinstance(row.body, Chat):
            longer = Message("assistant", context.pack(language).filler(characters))
            yield row.child("expand", Chat((*row.body.messages[:-1], longer)))
