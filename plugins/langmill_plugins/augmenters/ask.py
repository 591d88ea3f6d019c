"""Questions and answers made from passages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import ClassVar

from pydantic import Field as Bounds
from pydantic import create_model

from langmill.api import Chat, Drop, Field, Row, RowFault, Skip, StepContext, Text
from langmill_plugins.augmenters.candidates import Candidate
from langmill_plugins.augmenters.guarded import Guarded
from langmill_plugins.augmenters.options import Guards, watched
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
    `…/ask.1` and so on. A passage of more than `most_characters` is skipped as `passage_too_long`: cut it when it is read.

    Guards (`guards:`): standalone (it does not say "according to the text": `not_standalone`), numbers and units (they are the
    passage's), language, chatter, leaks, loops; by the option `support`, its words occur in the passage (`not_supported`). A
    question is asked once (`repeated_question`) and has a letter (`no_question`). What they find goes back to the model once; what
    they find then rejects a pair alone, by the first fault's name.
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

        def read(said: Pairs) -> list[Candidate]:
            return [
                Candidate(
                    Chat.of(pair.question, pair.answer),
                    f"{pair.question}\n{pair.answer}",
                    name=f"pair {number}",
                    key=pair.question.casefold(),
                )
                for number, pair in enumerate(said.pairs, 1)
            ]

        def look(said: Pairs) -> list[list[Drop]]:
            from langmill_plugins.guards.pairs import answered

            asked, texts = self.asked(context, prompt, [passage]), [(pair.question, pair.answer) for pair in said.pairs]
            return answered(texts, passage, pack, self.guards.on(), asked, self.support)

        made: list[Row | Drop | Skip] = []
        found = await self.written(row, "ask", prompt, _at_most(self.count), context, read, look, source=passage)
        for index, candidate in enumerate(found):
            try:
                made.append(candidate.child(row, f"ask.{index}"))
            except RowFault as fault:
                made.append(Drop(fault.reason, fault.detail))
        return made

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """So many pairs; a model may find fewer."""
        of_english, few = context.pack(language).size.of_english, max(1.0, 0.75 * self.count)
        return JSON + few * (2 * JSON + PAIR[0] * of_english), JSON + self.count * (2 * JSON + PAIR[1] * of_english)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """So many conversations, a third of each the question."""
        filler, each = context.pack(language).filler, characters / self.count
        for index in range(self.count):
            yield row.child(f"ask.{index}", Chat.of(filler(each / 3), filler(each * 2 / 3)))
