"""How many calls may be in flight: a limit that halves when the provider says "too many" and grows back with success."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

START = 32  # calls in flight before anything is known of the provider
MANY = 0.3  # share of refusals in a round that means the limit is too high
FEW = 0.05  # share of refusals in a round up to which the limit may grow
SHORTEST_ROUND = 8  # calls


class Limiter:
    """Additive increase, multiplicative decrease, for one model.

    Until the first refusal the limit doubles with each round of successes, afterwards it grows by one a round; a round is
    as many calls as the limit allows at once. A few refusals change nothing: the provider is full, which is what we want,
    and each refused call waits on its own. Many refusals halve the limit, once: what was sent before the cut is not held
    against it. When the very last call in flight is refused, nothing at all is sent until the provider's own time is over.
    """

    def __init__(self, most: int):
        self.most = most
        self.limit = float(min(most, START))
        self.in_flight = 0
        self.cuts = 0
        self._good = self._bad = 0
        self._met_refusal = False
        self._held_until = 0.0
        self._over: Exception | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._asleep: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait for room, then count as in flight; gives the number of cuts so far, for succeeded() and refused()."""
        while True:
            if self._over:
                raise self._over
            if self._room():
                break
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # the turn may have been given to a call that is no more
                raise
        self.in_flight += 1
        try:
            yield self.cuts
        finally:
            self.in_flight -= 1
            self._wake()

    async def sleep(self, seconds: float) -> None:
        """Wait without a slot; close() ends it early with its error."""
        if self._over:
            raise self._over
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        self._asleep.add(over)
        timer = loop.call_later(seconds, _let_go, over)
        try:
            await over
        finally:
            timer.cancel()
            self._asleep.discard(over)

    def close(self, error: Exception) -> None:
        """Send no more: whoever waits, now or later, gets this error. The first one stays."""
        self._over = self._over or error
        for future in (*self._waiting, *self._asleep):
            if not future.done():
                future.set_exception(self._over)
        self._waiting.clear()

    def succeeded(self, cuts: int) -> None:
        """An answer came to a call sent after so many cuts."""
        if cuts == self.cuts:
            self._good += 1
            if not self._met_refusal:
                self.limit = min(float(self.most), self.limit + 1)
            self._round_over()
        self._wake()

    def refused(self, cuts: int, retry_after: float | None) -> None:
        """The provider said "too many" to a call sent after so many cuts; ``retry_after`` in seconds, if it named it."""
        self._met_refusal = True
        if self.in_flight <= 1 and retry_after:
            loop = asyncio.get_running_loop()
            self._held_until = loop.time() + retry_after
            loop.call_later(retry_after + 0.001, self._wake)
        if cuts != self.cuts:
            return
        self._bad += 1
        if self._bad > max(1.0, MANY * self._round()):
            self.limit = max(1.0, self.limit / 2)
            self.cuts += 1
            self._good = self._bad = 0
        self._round_over()

    def _round(self) -> int:
        return max(SHORTEST_ROUND, int(self.limit))

    def _round_over(self) -> None:
        if self._good + self._bad < self._round():
            return
        if self._met_refusal and self._bad <= FEW * self._round():
            self.limit = min(float(self.most), self.limit + 1)
        self._good = self._bad = 0

    def _room(self) -> bool:
        return self.in_flight < int(self.limit) and asyncio.get_running_loop().time() >= self._held_until

    def _wake(self) -> None:
        """Give as many turns as there is room."""
        if not self._room():
            return
        free = int(self.limit) - self.in_flight
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


def _let_go(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
