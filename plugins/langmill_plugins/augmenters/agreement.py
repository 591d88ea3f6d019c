"""A second opinion: further answers of the same model, held against the first one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from langmill.api import UNFIT, Drop, Field, Mark, Pack, RowFault
from langmill_plugins.augmenters.candidates import read_by_guards
from langmill_plugins.augmenters.opinions import Opinion
from langmill_plugins.augmenters.options import Options

Another = Callable[[int], Awaitable[tuple[str, tuple[Mark, ...]]]]
"""Asks for the nth further text, from 1 on, and gives it with the marks of its call."""


class Agreement(Options):
    """How many further answers, and how alike they must be. A model at temperature 0 agrees with itself: its answers tell nothing,
    and a step can not see the temperature of its model."""

    n: int = Field(3, ge=1, le=9, description="further answers; of use at a temperature above 0 only")
    least: float = Field(
        0.6,
        gt=0,
        le=1,
        description="least likeness in the mean: shared words and pairs of words, none where numbers differ",
    )

    def calls(self) -> tuple[str, int]:
        """What the step of its calls ends with, and how many there are."""
        return "", self.n

    def told(self) -> str:
        """What it is, for the card."""
        return f"{self.n} further answer{'s' * (self.n > 1)}, {self.least:g} alike at least"


async def disagreement(
    text: str, pack: Pack, least: float, answers: int, another: Another, called: tuple[str, str]
) -> Opinion:
    """``disagreed``: ``answers`` further texts are less like a text than ``least`` in the mean. A useless one is like nothing.
    ``called``: what people call the text and a further one. Only numbers that differ can be looked at once more, and mended."""
    from langmill_plugins.guards.pairs import alike

    found: list[float] = []
    marks: tuple[Mark, ...] = ()
    differing: list[str] = []
    for number in range(1, answers + 1):
        try:
            other, own = await another(number)
        except RowFault as fault:
            if fault.reason not in UNFIT:
                raise
            found.append(0.0)
            continue
        names = called[0], f"{called[1]} {number}" if answers > 1 else called[1]
        marks += own
        likeness, faults = await read_by_guards(len(text) + len(other), partial(alike, text, other, pack, names))
        found.append(likeness)
        differing += [fault.detail for fault in faults]
    if sum(found) >= least * answers:
        return Opinion(marks=marks)
    told = ", ".join(f"{each:.2f}" for each in found)
    detail = "; ".join(
        [*dict.fromkeys(differing), f"likeness to {answers} further: {told}; least {least:g} in the mean"]
    )
    return Opinion([Drop("disagreed", detail)], marks, mendable=bool(differing))
