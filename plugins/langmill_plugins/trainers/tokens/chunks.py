"""Running text in windows: every token is learnt once, with as much text before it as the window allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Chunk(NamedTuple):
    """A window [start, end) over a document's tokens; those from ``learnt`` on carry loss, those before are context."""

    start: int
    end: int
    learnt: int


def chunks(length: int, size: int, again: int) -> Iterator[Chunk]:
    """Windows of ``size`` tokens over ``length``; each repeats ``again`` tokens (fewer than ``size``) of the one before, the last one
    as many as make it full: it ends where the text ends. One window where everything fits."""
    start = learnt = 0
    while start + size < length:
        yield Chunk(start, start + size, learnt)
        learnt = start + size
        start = min(start + size - again, length - size)
    yield Chunk(start, length, learnt)
