"""A second opinion: further answers of the same model, held against the first one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from langmill.api import Drop, Field, Pack, RowFault
from langmill_plugins.augmenters.guarded import USELESS, Options


class Agreement(Options):
    """How many further answers, and how alike they must be. A model at temperature 0 agrees with itself."""

    n: int = Field(3, ge=1, le=9, description="further answers")
    least: float = Field(
        0.6,
        gt=0,
        le=1,
        description="least likeness in the mean: shared words and pairs of words, none where numbers differ",
    )


async def disagreement(
    text: str, pack: Pack, least: float, answers: int, answer: Callable[[int], Awaitable[str]]
) -> list[Drop]:
    """``disagreed``: ``answers`` further texts, called for by their numbers from 1 on, are less like a text than ``least`` in the mean.
    A useless answer is like nothing."""
    from langmill_plugins.guards.pairs import alike

    found = []
    for number in range(1, answers + 1):
        try:
            found.append(alike(text, await answer(number), pack))
        except RowFault as fault:
            if fault.reason not in USELESS:
                raise
            found.append(0.0)
    mean = sum(found) / answers
    told = ", ".join(f"{each:.2f}" for each in found)
    return (
        [Drop("disagreed", f"likeness to {answers} further: {told}; least {least} in the mean")] if mean < least else []
    )
