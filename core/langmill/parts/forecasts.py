"""What a stage of training would take, told before it is trained: asked of a trainer by plan.

Ranges are (low, high). Memory is in bytes, time in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from langmill.rows import Row

Reach = tuple[float, float]
"""From low to high."""


@dataclass(frozen=True, slots=True)
class RowAhead:
    """A train row that a stage will find, there already or yet to be made, in its shortest and its longest form. It stands for
    ``weight`` such rows, of which the low end counts ``share``."""

    short: Row
    long: Row
    weight: float = 1.0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Room:
    """A stage on one kind of device.

    ``total``: the memory of one of this machine's own devices; None for a kind that it does not have. ``held``: how the model
    lies there. ``steps``: the optimiser's; they may differ, where lines are packed on one kind of device and not on another.
    ``memory``: what takes how much; empty where the base is not at hand. ``cards``: sizes in GB (2^30 bytes) of those it fits;
    ``seconds`` on ``timed_on``; ``advice``: what to change where it does not fit, with what it takes then.
    """

    device: str
    total: int | None
    held: str
    steps: Reach
    memory: Mapping[str, int]
    cards: tuple[int, ...] = ()
    seconds: Reach | None = None
    timed_on: str = ""
    advice: tuple[str, ...] = ()

    @property
    def need(self) -> int:
        """All of its memory."""
        return sum(self.memory.values())


@dataclass(frozen=True, slots=True)
class StageForecast:
    """One stage: train rows that are there for it, those left out as too long, examples that it draws, and their tokens.
    ``parameters`` of the base and ``trained`` are None where the base is not at hand. ``notes`` say what is not known."""

    stage: str
    data: str
    base: str
    rows: Reach
    left_out: Reach
    examples: Reach
    tokens: Reach
    parameters: int | None = None
    trained: int | None = None
    rooms: tuple[Room, ...] = ()
    notes: tuple[str, ...] = field(default=())
