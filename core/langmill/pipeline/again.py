"""What a step that asks a model makes of one row; and of a row that is tried again (``factory retry``), where what was fine
stays and only the rest is asked anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langmill.api import Augmenter, Drop, Model, Prompt, Reply, Row, RowFault, Schema, Skip, StepContext
from langmill.errors import LanguageNotWritten
from langmill.parts.contexts import Around

RETRY_SAMPLES = 1000  # samples between one try of a row and the next, more than any part asks for
UNANSWERED = ("provider", "bad_request")  # rejects without an answer in the ledger: the same call is simply sent again
Made = Row | Drop | Skip


async def made_of(part: Augmenter, row: Row, context: StepContext) -> Sequence[Made]:
    """The rows made of one row, and what went wrong with it."""
    try:
        return list(await part.augment(row, context))
    except LanguageNotWritten as fault:
        return [Skip(fault.reason, fault.detail)]
    except RowFault as fault:
        return [Drop(fault.reason, fault.detail)]


@dataclass(eq=False)
class _Asked:
    """One call of a row: the job of the row that made it, what was asked under which step, and what came of it."""

    job: Any
    step: str
    what: tuple[object, ...]
    key: str = ""
    fault: str = ""


@dataclass
class _Try:
    """One try of a row: all its calls, of whatever model, and by how much the samples of some are higher than they were."""

    asked: list[_Asked] = field(default_factory=list)
    samples: dict[tuple[object, ...], int] = field(default_factory=dict)

    def look_back(self, rows: Sequence[Row]) -> bool:
        """After all calls of a row were looked at, with the rows that came of them: those that must be asked anew get a higher
        sample. False when there are none.

        A row's jobs (``StepContext.gather``) stand alone, so that those count from which no row came at all; then the calls
        from which none came; and where rows came of every call, but some were dropped, every call. Of these the calls that
        failed, or else those that write: a call that only follows another one (``ask.repair`` after ``ask``) follows anew."""
        marks = {mark.call for row in rows for mark in row.origin.marks}
        fine = {id(call.job) for call in self.asked if call.key in marks}
        bad = [call for call in self.asked if id(call.job) not in fine]
        bad = bad or [call for call in self.asked if call.key not in marks] or self.asked
        failed = [call for call in bad if call.fault]
        again = failed or [call for call in bad if not self._follows(call)]
        again = again or [call for call in self.asked if not self._follows(call)]
        answered = [call for call in again if call.fault not in UNANSWERED]
        for what in {call.what for call in answered}:
            self.samples[what] = self.samples.get(what, 0) + RETRY_SAMPLES
        self.asked = []
        return bool(answered)

    def _follows(self, call: _Asked) -> bool:
        return any(other.job is call.job and call.step.startswith(f"{other.step}.") for other in self.asked)


class _Anew(Around):
    """A model that asks some of a row's calls anew: with a higher sample, so that the ledger does not know them."""

    def __init__(self, model: Model, turn: _Try):
        super().__init__(model)
        self.turn = turn

    async def answer(
        self, prompt: Prompt, schema: type[Schema], *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Schema]:
        call = _Asked(asyncio.current_task(), step, (self.name, prompt.messages, schema, step, language, sample))
        self.turn.asked.append(call)
        higher = sample + self.turn.samples.get(call.what, 0)
        try:
            reply = await self.model.answer(prompt, schema, step=step, language=language, seed=seed, sample=higher)
        except RowFault as fault:
            call.fault = fault.reason
            raise
        call.key = reply.marks[-1].call
        return reply


async def tried_again(part: Augmenter, row: Row, context: StepContext, times: int) -> Sequence[Made]:
    """What is made of a row that is tried again ``times`` times.

    First the row is done as it was: the ledger has all its answers, which tells the calls that were of no use. Those alone
    are asked anew. Rows once made stay; what the last try drops is rejected. Done over, it asks nothing and ends the same.
    """
    if context.llm is None:
        return await made_of(part, row, context)
    turn, models = _Try(), context.models
    anew = replace(context, llm=_Anew(context.llm, turn), models=models and (lambda name: _Anew(models(name), turn)))
    rows: list[Row] = []
    while True:
        made = await made_of(part, row, anew)
        known = {item.id for item in rows}
        rows += [item for item in made if isinstance(item, Row) and item.id not in known]
        others = [item for item in made if not isinstance(item, Row)]
        dropped = any(isinstance(item, Drop) for item in others)
        if not (dropped and times and turn.look_back(rows)):
            return [*rows, *others]
        times -= 1
