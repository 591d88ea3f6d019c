"""Questions and answers made from passages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import ClassVar

from pydantic import Field as Bounds
from pydantic import create_model

from langmill.api import Chat, Drop, Field, Pack, Prompt, Row, Skip, StepContext, Text
from langmill_plugins.augmenters.guarded import Guarded, Guards, Unit, together, watched
from langmill_plugins.augmenters.replies import JSON, Pair, Reply

PAIR = (160, 600)  # characters of an English question and its answer, from terse models to talkative ones


class Pairs(Reply):
    """Questions and answers."""

    pairs: list[Pair]


@lru_cache
def _at_most(count: int) -> type[Pairs]:
    return create_model("Pairs", __base__=Pairs, pairs=(list[Pair], Bounds(min_length=1, max_length=count)))


class PairGuards(Guards):
    """The guards over a question and its answer, beside the passage that they are made from."""

    numbers: bool = Field(True, description="every number is in the passage")
    units: bool = Field(True, description="with its unit, how often and which way a drug is given")
    standalone: bool = Field(True, description="neither speaks of the passage: according to the text")


class Ask(Guarded):
    """Has a model write questions, each with its answer, about a passage.

    Asks the prompt `ask` of the row's language for `count` pairs. Each pair becomes a conversation, called `…/ask.0`,
    `…/ask.1` and so on, and is rejected alone: one that speaks of the passage ("according to the text") as `not_standalone`, by
    the phrases of the language's pack; one whose question came before as `repeated_question`; one without a letter in its
    question as `no_question`; one whose words hardly occur in the passage as `not_supported`; others by the guard that found the
    first fault. A passage of more than `most_characters` is skipped as `passage_too_long`: cut it when it is read.
    """

    bodies: ClassVar[tuple[type, ...]] = (Text,)
    count: int = Field(2, ge=1, le=10, description="pairs asked for per passage")
    most_characters: int = Field(8000, ge=1, description="longest passage, in characters")
    support: float = Field(0.25, ge=0, le=1, description="least share of a pair's terms that the passage has too")
    guards: PairGuards = watched(PairGuards)

    def guarded(self) -> Mapping[str, bool]:
        """Each guard, support among them, and whether it is on."""
        return {**super().guarded(), "support": self.support > 0}

    def parts(self) -> int:
        """Each pair is judged by itself."""
        return self.count

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """A conversation for each pair that stands alone."""
        assert isinstance(row.body, Text)
        passage = row.body.text.strip()
        if len(passage) > self.most_characters:
            return [Skip("passage_too_long", f"{len(passage)} characters, most {self.most_characters}")]
        pack = context.pack(row.language)
        prompt = pack.render("ask", passage=passage, count=self.count)

        def read(said: Pairs) -> list[Unit]:
            return self._units(said, passage, pack, prompt, context)

        done = await self.written(row, "ask", prompt, _at_most(self.count), context, read, source=passage)
        made: list[Row | Drop | Skip] = []
        for index, (pair, unit) in enumerate(zip(done.reply.value.pairs, done.units, strict=True)):
            if unit.faults:
                made.append(together(unit.faults))
            else:
                made.append(done.child(row, f"ask.{index}", Chat.of(pair.question, pair.answer)))
        return made

    def _units(self, said: Pairs, passage: str, pack: Pack, prompt: Prompt, context: StepContext) -> list[Unit]:
        from langmill_plugins.guards.pairs import answered

        asked = self.asked(context, prompt, [passage])
        texts = [(pair.question, pair.answer) for pair in said.pairs]
        told = answered(texts, passage, pack, self.guards.on(), asked, self.support)
        return [
            Unit(f"{question}\n{answer}", faults, f"pair {number}")
            for number, ((question, answer), faults) in enumerate(zip(texts, told, strict=True), 1)
        ]

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """So many pairs; a model may find fewer."""
        of_english, few = context.pack(language).size.of_english, max(1.0, 0.75 * self.count)
        return JSON + few * (2 * JSON + PAIR[0] * of_english), JSON + self.count * (2 * JSON + PAIR[1] * of_english)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """So many conversations, a third of each the question."""
        filler, each = context.pack(language).filler, characters / self.count
        for index in range(self.count):
            yield row.child(f"ask.{index}", Chat.of(filler(each / 3), filler(each * 2 / 3)))
