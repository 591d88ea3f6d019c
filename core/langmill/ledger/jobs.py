"""What the ledger's writing thread is handed: plain data, with somebody to tell when it is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from langmill.ledger.facts import Call


@dataclass(eq=False, slots=True)
class Job:
    """One thing to write. ``future`` (of asyncio with its ``loop``, or of a thread) is told how it ended, if anybody asks."""

    future: asyncio.Future[Any] | Future[Any] | None = field(default=None, kw_only=True)
    loop: asyncio.AbstractEventLoop | None = field(default=None, kw_only=True)
    result: Any = field(default=None, kw_only=True)
    error: Exception | None = field(default=None, kw_only=True)


@dataclass(eq=False, slots=True)
class Claim(Job):
    """An attempt to put on disk, ``reserve`` billionths of a dollar held back under ``caps``, in a ``batch`` if it has a mark."""

    call: Call
    reserve: int
    caps: Mapping[str, int]
    batch: str = ""


@dataclass(eq=False, slots=True)
class Answered(Job):
    """An answer, packed for the file, with its check sum; ``cost`` in billionths, ``latency`` in s."""

    attempt: int
    call: Call
    answer: str | bytes
    check_sum: int
    prompt_tokens: int
    answer_tokens: int
    request_id: str
    cost: int | None
    latency: float | None


@dataclass(eq=False, slots=True)
class Failed(Job):
    """An attempt without an answer; ``paid`` counts it at its worst case."""

    attempt: int
    kind: str
    paid: bool
    latency: float | None


@dataclass(eq=False, slots=True)
class Use(Job):
    """A run took an answer that was there."""

    call: Call


@dataclass(eq=False, slots=True)
class Task(Job):
    """Anything rarer."""

    work: Callable[[Any], Any]  # of the Books that do it


def tell(jobs: Sequence[Job]) -> None:
    """Hand results over, each loop woken once for all of its own."""
    loops: dict[asyncio.AbstractEventLoop | None, list[Job]] = {}
    for job in jobs:
        if job.future is not None:
            loops.setdefault(job.loop, []).append(job)
    for loop, mine in loops.items():
        if loop is None:
            _hand_over(mine)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever asked
                loop.call_soon_threadsafe(_hand_over, mine)


def _hand_over(jobs: Sequence[Job]) -> None:
    for job in jobs:
        future = job.future
        if future is None or future.done():
            continue
        with contextlib.suppress(InvalidStateError):  # given up by another thread since the line above
            if job.error is None:
                future.set_result(job.result)
            else:
                future.set_exception(job.error)
