"""How many calls may be in flight, and how often one may be sent: a limit that halves when the provider says "too many" and
grows back with success, and the quotas a minute that the recipe names.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

START = 128  # calls in flight before anything is known of the provider
MANY = 0.3  # share of refusals in a round that means the limit is too high
FEW = 0.05  # share of refusals in a round up to which the limit may grow
SHORTEST_ROUND = 8  # calls
NEAR = 2  # one call for so many in flight is made ready to follow
BURST = 1.0  # seconds of a quota that may be used at once


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
        self.in_flight = self.unsaved = 0
        self.cuts = 0
        self._good = self._bad = 0
        self._met_refusal = False
        self._held_until = 0.0
        self._over: Exception | None = None
        self._near = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._nearing: deque[asyncio.Future[None]] = deque()
        self._asleep: set[asyncio.Future[None]] = set()

    async def approach(self) -> None:
        """Wait to be among the next few that will enter: time to put the attempt on disk while others are in flight, so that no
        room stands empty for it. Raises the error of close()."""
        if self._over:
            raise self._over
        if self._nearing or self._near >= self._most_near():
            await self._turn(self._nearing, self.depart)
        else:
            self._near += 1

    def depart(self) -> None:
        """Who approached has entered, or will not."""
        self._near -= 1
        self._wake_near()

    async def enter(self) -> int:
        """Wait for room, then count as in flight until leave() and as unsaved until saved(); gives the number of cuts so far, for
        succeeded() and refused(). Raises the error of close()."""
        if self._over:
            raise self._over
        if self._waiting or self._room() <= 0:
            await self._turn(self._waiting, self._not_entered)
        else:
            self._enter()
        return self.cuts

    async def _turn(self, queue: deque[asyncio.Future[None]], back: Callable[[], None]) -> None:
        """Wait in a queue. Whoever gives the turn has counted it already, so that nobody who comes later can take it; a turn that
        is given to a call which is no more is given ``back``."""
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                back()
            raise

    def _enter(self) -> None:
        self.in_flight += 1
        self.unsaved += 1

    def _not_entered(self) -> None:
        self.unsaved -= 1
        self.leave()

    def leave(self) -> None:
        """The call that entered is in flight no more."""
        self.in_flight -= 1
        self._wake()

    def saved(self) -> None:
        """What came of the call is on disk. A disk that is slower than the provider holds the calls up, so that a kill never
        loses many more answers than are in flight."""
        self.unsaved -= 1
        self._wake()

    async def sleep(self, seconds: float) -> None:
        """Wait; close() ends it early with its error."""
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
        for future in (*self._nearing, *self._waiting, *self._asleep):
            if not future.done():
                future.set_exception(self._over)
        self._waiting.clear()
        self._nearing.clear()

    def hold(self, seconds: float) -> None:
        """Let nothing more in for a time: the provider said when it has room again."""
        loop = asyncio.get_running_loop()
        if (until := loop.time() + seconds) > self._held_until:
            self._held_until = until
            loop.call_later(seconds + 0.001, self._wake)

    def succeeded(self, cuts: int) -> None:
        """An answer came to a call sent after so many cuts."""
        if cuts == self.cuts:
            self._good += 1
            if not self._met_refusal:
                self.limit = min(float(self.most), self.limit + 1)
            self._round_over()

    def refused(self, cuts: int, retry_after: float | None) -> None:
        """The provider said "too many" to a call sent after so many cuts; ``retry_after`` in seconds, if it named it."""
        self._met_refusal = True
        if self.in_flight <= 1 and retry_after:
            self.hold(retry_after)
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

    def _room(self) -> int:
        """How many more may be in flight now."""
        if self._held_until and asyncio.get_running_loop().time() < self._held_until:
            return 0
        limit = int(self.limit)
        return min(limit - self.in_flight, limit + self._most_near() - self.unsaved)

    def _wake(self) -> None:
        """Give as many turns as there is room."""
        if self._waiting:
            free = self._room()
            while free > 0 and _give_turn(self._waiting):
                self._enter()
                free -= 1

    def _most_near(self) -> int:
        return max(1, int(self.limit) // NEAR)

    def _wake_near(self) -> None:
        while self._near < self._most_near() and _give_turn(self._nearing):
            self._near += 1


class Quota:
    """So many a minute, spread evenly: a second's worth may go at once, then each waits for its own moment."""

    def __init__(self, a_minute: int):
        self.seconds_each = 60.0 / a_minute
        self._free_at = 0.0

    def take(self, count: float) -> float:
        """Book ``count`` of it; returns the seconds to wait before using them. What is asked for at once has its turn in the
        order it was asked; a negative count gives back what was booked and not used."""
        now = asyncio.get_running_loop().time()
        wait = max(0.0, self._free_at - now - BURST)
        self._free_at = max(self._free_at, now) + count * self.seconds_each
        return wait


def _give_turn(waiting: deque[asyncio.Future[None]]) -> bool:
    """To the first that still waits; False when none does."""
    while waiting:
        turn = waiting.popleft()
        if not turn.done():
            turn.set_result(None)
            return True
    return False


def _let_go(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
