"""What the models of one run share: the ledger, the caps on money, and the counts that its person sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from langmill.api import Context
from langmill.errors import FactoryError
from langmill.ledger.ledger import Ledger

TOLD_PAUSE = 0.05  # seconds between two reports of the counts
Report = Callable[[Mapping[str, Any]], None]


class Stopped(FactoryError):
    """The run was asked to stop: no new call is sent."""


class Account:
    """One run's. ``caps`` in billionths of a dollar, by kind of scope."""

    def __init__(self, ledger: Ledger, run: str, caps: Mapping[str, int], context: Context, report: Report):
        self.ledger, self.run, self.caps, self.context, self.report = ledger, run, caps, context, report
        self.answered = self.cached = self.in_flight = self.answer_tokens = 0
        self.out = self.settled = 0  # attempts under way that hold money back, and those that no longer do
        self._waiting: list[asyncio.Future[None]] = []
        self._told = 0.0
        self._closed = False

    def settle(self) -> None:
        """Tell those who wait for money that some may have come back."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def settled_since(self, settled: int) -> None:
        """Wait until an attempt has settled after ``settled`` had."""
        if self.settled == settled:
            self._waiting.append(future := asyncio.get_running_loop().create_future())
            await future

    def tell(self) -> None:
        """Report the counts, not more often than a person can read."""
        now = time.monotonic()
        if self._closed or (self.in_flight and now - self._told < TOLD_PAUSE):
            return
        self._told = now
        self.report(
            {
                "event": "calls",
                "in_flight": self.in_flight,
                "answered": self.answered,
                "cached": self.cached,
                "answer_tokens": self.answer_tokens,
                "spent": self.ledger.spent(self.run),
            }
        )

    def close(self) -> None:
        """Report nothing more."""
        self._closed = True
