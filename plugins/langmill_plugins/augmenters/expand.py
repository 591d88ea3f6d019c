"""Short answers made longer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from langmill.api import Chat, Drop, Field, FollowUp, Message, Prompt, Row, Skip, StepContext
from langmill_plugins.augmenters.agreement import Agreement, disagreement
from langmill_plugins.augmenters.guarded import PASSED, SECOND, Guarded, Guards, Unit, times, watched
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
    Asks the prompt `expand` of the row's language. A reply that is not longer than the old answer is rejected as
    `not_longer`, one that has lost what the short answer speaks of as `claim_lost`, and others by the guard that found the first
    fault. Children are called `…/expand`.
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
        prompt = context.pack(row.language).render("expand", question=question, answer=answer)

        def read(said: Expansion) -> list[Unit]:
            return [Unit(said.answer, self._faults(question, answer, said.answer, row.language, prompt, context))]

        async def further(said: Expansion) -> Sequence[Drop]:
            async def again(number: int) -> str:
                reply = await context.ask(row, "expand", prompt, Expansion, sample=number)
                return reply.value.answer

            assert self.agreement is not None
            least, n = self.agreement.least, self.agreement.n
            return await disagreement(said.answer, context.pack(row.language), least, n, again)

        done = await self.written(
            row,
            "expand",
            prompt,
            Expansion,
            context,
            read,
            source=f"{question}\n\n{answer}",
            further=further if self.agreement else None,
        )
        longer = done.reply.sound().value.answer
        return [done.child(row, "expand", Chat((*row.body.messages[:-1], Message("assistant", longer))))]

    def _faults(
        self, question: str, answer: str, longer: str, language: str, prompt: Prompt, context: StepContext
    ) -> list[Drop]:
        from langmill_plugins.guards.pairs import expanded

        if len(longer) <= len(answer.strip()):
            return [Drop("not_longer", f"{len(longer)} characters for {len(answer.strip())}")]
        asked = self.asked(context, prompt, [question, answer])
        return expanded(answer, longer, context.pack(language), self.guards.on(), asked)

    def followed(self, row: Row, step: str, language: str, context: StepContext) -> Iterable[FollowUp]:
        """Further answers, too."""
        yield from super().followed(row, step, language, context)
        if self.agreement and not step.endswith((*SECOND, ".repair")):
            size = self.answer_size(row, language, context)
            yield FollowUp(self.models()[0], step, size, times(PASSED, self.agreement.n))

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """As the prompt asks, and longer than what is there."""
        of_english, now = context.pack(language).size.of_english, len((single_turn(row) or ("", ""))[1])
        return JSON + max(LONGER[0] * of_english, now), JSON + max(LONGER[1] * of_english, 2.5 * now)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """The row with a longer answer."""
        if isinstance(row.body, Chat):
            longer = Message("assistant", context.pack(language).filler(characters))
            yield row.child("expand", Chat((*row.body.messages[:-1], longer)))
