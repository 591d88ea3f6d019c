"""What the ledger is told, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

NANO = 1_000_000_000
MONTH_CAP = "LANGMILL_MAX_COST"
"""The environment variable with the most US dollars that a month may cost, over all runs."""


class Call(NamedTuple):
    """What the ledger is told about a call: its key and whose it is. ``dataset`` may be empty."""

    key: str
    run: str
    model: str
    step: str
    language: str = ""
    dataset: str = ""


class Found(NamedTuple):
    """The call is answered already; ``answer`` is what was stored."""

    answer: Mapping[str, Any]


class Claimed(NamedTuple):
    """The call is ours to send: the attempt is on disk."""

    attempt: int


@dataclass(frozen=True)
class Held:
    """This very call is under way: another process or this one is asking it, or another process has it in a batch."""


@dataclass(frozen=True)
class InBatch:
    """The call lies in a batch that no other living process looks after."""

    mark: str


@dataclass(frozen=True)
class NoRoom:
    """The call's worst case does not fit under a cap; ``left`` is in US dollars."""

    scope: str
    left: float


Outcome = Claimed | Found | Held | InBatch | NoRoom


class Usage(NamedTuple):
    """What a run used of one model in one step. ``calls`` answered in this run, ``cached`` answered in an earlier one,
    ``failed`` requests without an answer; ``cost`` in US dollars, ``priced`` False when an answer's price is unknown."""

    model: str
    step: str
    calls: int
    cached: int
    failed: int
    prompt_tokens: int
    answer_tokens: int
    cost: float
    priced: bool


class Habit(NamedTuple):
    """What a model's answers in a step and language came to, over all runs: ``squares`` sums the squared lengths of its
    answers in tokens, ``seconds`` how long they took (those that were not timed, as in a batch, as long as the others; 0 when
    none was)."""

    step: str
    language: str
    calls: int
    prompt_tokens: int
    answer_tokens: int
    squares: int
    seconds: float


@dataclass(frozen=True)
class Batch:
    """A batch that is not over. ``name`` is the provider's, None until it was noted; ``attempts`` are those without an answer
    as yet, by key; ``started`` in seconds since 1970; ``mine_or_free``: no other living process looks after it."""

    mark: str
    name: str | None
    model: str
    run: str
    attempts: Mapping[str, int]
    started: float
    mine_or_free: bool
