"""How a step is cut into micro-batches, and whether layers are computed twice, from what is free of a device's memory.

Neither changes what is learnt: all examples of a step are learnt from before the weights change. Layers that keep what the way back
needs are not computed again, which of an adapter's training saves a third of the operations; it takes memory, so lines that do
not fit that way are as many as fit the other way. More tokens at once than fill a device are no faster and only pad more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from langmill_plugins.trainers.forecast.devices import GB
from langmill_plugins.trainers.forecast.memory import Setting, memory
from langmill_plugins.trainers.forecast.shape import Shape
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer

CAUTION = 0.85  # of what is free: the forecast is a forecast
FILLS = {True: (2048, 16384), False: (1, 1024)}  # tokens at once that a device needs, and that it gains nothing beyond


class Cut(NamedTuple):
    """``batch`` examples or lines at once; ``keeps``: layers keep what the way back needs, on a GPU; ``need`` of ``room`` bytes,
    0 where neither could be told."""

    batch: int
    keeps: bool
    need: int = 0
    room: int = 0

    def told(self, stage: AdapterStage, packed: bool) -> str:
        """For people, of a stage with ``batch: auto``."""
        why = (
            f"takes about {self.need / GB:.1f} of {self.room / GB:.1f} GB that are free"
            if self.room
            else "sizes not told"
        )
        kept = ", layers are not computed again" if self.keeps else ""
        much = (
            f"up to {self.batch} packed lines" if packed else f"{self.batch}, {stage.width // self.batch} times a step"
        )
        return f"{stage.name}: batch: auto takes {much}: {why}{kept}"


def batches(trainer: AdapterTrainer, stage: AdapterStage) -> list[int]:
    """The sizes that a stage's batch may have, from large to small: such as deal a step out evenly to all processes."""
    if stage.batch != "auto":
        return [stage.batch]
    share = max(1, stage.width // trainer.processes)
    return [size for size in range(share, 0, -1) if share % size == 0]


def of_batch(stage: AdapterStage, batch: int) -> AdapterStage:
    """The stage with so many examples at once, and as many to a step as before."""
    return stage.model_copy(update={"batch": batch, "accumulate": stage.width // batch})


def chosen(shape: Shape, ways: list[tuple[int, Setting]], room: int) -> Cut:
    """Of settings by batch, from large to small, the one to train with in ``room`` bytes: the largest whose layers keep what the way
    back needs, if it fills a GPU; else the largest; else the smallest there is."""
    gpu = ways[0][1].gpu
    enough, most = FILLS[gpu]
    some = [way for way in ways if _tokens(way[1]) <= most] or ways[-1:]
    full = min(enough, _tokens(some[0][1]))
    for batch, how in _tried(some, gpu):
        need = sum(memory(shape, how).values())
        if need <= CAUTION * room and (not how.keeps or _tokens(how) >= full):
            return Cut(batch, how.keeps, need, room)
    return Cut(some[-1][0], False, sum(memory(shape, some[-1][1]).values()), room)


def _tried(ways: list[tuple[int, Setting]], gpu: bool) -> Iterator[tuple[int, Setting]]:
    for keeps in (True, False) if gpu else (False,):
        for batch, how in ways:
            yield batch, replace(how, keeps=keeps)


def _tokens(how: Setting) -> int:
    return how.batch * how.line
