"""What another look at an answer says: a judge's marks, and the calls that it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import StringConstraints

from langmill.api import UNFIT, Drop, Field, Mark, Model, Prompt, RowFault
from langmill_plugins.augmenters.options import Options

# Characters of a judge's answer, from a terse model to a talkative one.
VERDICT = (70.0, 500.0)


class Judge(Options):
    """A model that marks what was written: faithful, complete and safe, 1 to 5 each."""

    llm: str | None = Field(None, description="name of a model under models:; the step's own when left out")
    least: int = Field(4, ge=1, le=5, description="least mark, in each of the three")


class Verdict(Options):
    """What a judge says of one text. The reason comes first, so that the marks follow from it."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
    faithful: Literal[1, 2, 3, 4, 5]
    complete: Literal[1, 2, 3, 4, 5]
    safe: Literal[1, 2, 3, 4, 5]


class Opinion(NamedTuple):
    """What further calls find wrong with a text, and the marks of these calls. ``mendable``: whether it may help to ask once more
    with that."""

    faults: Sequence[Drop] = ()
    marks: tuple[Mark, ...] = ()
    mendable: bool = True


async def judged(judge: Model, prompt: Prompt, step: str, language: str, least: int, seed: int) -> Opinion:
    """A judge's opinion: ``judged`` when a mark is below ``least``. A useless answer leaves the text ``not_judged``, which nobody can
    mend."""
    try:
        reply = await judge.answer(prompt, Verdict, step=step, language=language, seed=seed)
    except RowFault as fault:
        if fault.reason not in UNFIT:
            raise
        return Opinion([Drop("not_judged", f"{fault.reason}: {fault.detail}")], mendable=False)
    said = reply.value.model_dump(exclude={"reason"})
    low = [f"{name} {mark} of 5" for name, mark in said.items() if mark < least]
    return Opinion([Drop("judged", f"{', '.join(low)}: {reply.value.reason}")] if low else [], reply.marks)
