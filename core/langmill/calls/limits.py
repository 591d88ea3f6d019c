"""How many calls may be in flight, and how often one may be sent: a limit that comes down by the share that the provider
refuses and grows back with answers, and the quotas a minute that the recipe names.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

START = 128  # calls in flight before anything is known of the provider
SHORTEST_ROUND = 4  # calls
SHUT = 0.1  # what is left of the limit where a whole round was refused
PROBE = 10  # rounds (fewer where few are in flight) without more refusals than usual before the limit is tried higher
STILL = 0.6  # of the former share of refusals: with more, a cut has not helped
DOUBT = 2.5  # standard deviations by which refusals must exceed the usual ones to mean something
REST = 1.0  # seconds that a refused call's place stays empty while no answer has come yet
NEAR = 2  # one call for so many in flight is made ready to follow
UNSAVED = 4  # one answer for so many in flight may still be on its way to disk
BURST = 1.0  # seconds of a quota that may be used at once


class Limiter:
    """How many calls of one model may be in flight.

    Until the first refusal the limit doubles with each round of answers; a round is as many calls as the limit allows at once.
    The share of a round that was refused says how much too high the limit is, and it comes down by that: a provider that takes
    32 of 128 is asked 32 at once from the next round on. Where refusals stay as frequent after a cut as they were before, they
    do not come from the number in flight: the cut is undone, and that share is the usual one from then on. After PROBE
    rounds without more refusals than usual the limit is tried higher: by one, two, four, until it is too high again.

    A refused call's place stays empty for as long as an answer takes: else it would be given to one call after another, all
    refused within milliseconds. When the very last call in flight is refused, nothing at all is sent until the provider's own
    time is over.
    """

    def __init__(self, most: int):
        self.most = most
        self.limit = float(min(most, START))
        self.in_flight = self.unsaved = 0
        self.cuts = 0  # how often the limit changed for a reason: calls sent before do not count for what comes after
        self.usual = 0.0  # share of refusals that has nothing to do with how many are in flight
        self._good = self._bad = 0
        self._ramp = True  # doubling with each round of answers
        self._shut = False  # nothing was taken when last asked: the first answers let the limit double again
        self._clean = 0  # rounds since the last cut
        self._step = 1.0
        self._tried: tuple[float, float] | None = None  # limit and share of refusals before a cut that is being judged
        self._resting = 0  # places of refused calls that stay empty for a while
        self._seconds = 0.0  # that an answer takes, lately
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

    @property
    def closed(self) -> bool:
        """Whether nothing is sent any more."""
        return self._over is not None

    def hold(self, seconds: float) -> None:
        """Let nothing more in for a time: the provider said when it has room again."""
        loop = asyncio.get_running_loop()
        if (until := loop.time() + seconds) > self._held_until:
            self._held_until = until
            loop.call_later(seconds + 0.001, self._wake)

    def succeeded(self, cuts: int, seconds: float) -> None:
        """An answer came, after so many seconds, to a call sent after so many cuts."""
        self._seconds += (seconds - self._seconds) * (0.1 if self._seconds else 1.0)
        if cuts == self.cuts:
            self._good += 1
            if self._ramp:
                self.limit = min(float(self.most), self.limit + 1)
            self._round_over()

    def refused(self, cuts: int, retry_after: float | None) -> None:
        """The provider said "too many" to a call sent after so many cuts; ``retry_after`` in seconds, if it named it."""
        if self.in_flight <= 1 and retry_after:
            self.hold(retry_after)
        self._ramp = self._ramp and self._shut
        if cuts == self.cuts:
            self._bad += 1
        if self._bad > self._bearable(max(self._round(), self._good + self._bad)):
            self._resting += 1
            asyncio.get_running_loop().call_later(self._seconds or REST, self._rested, self.cuts)
        self._round_over()

    def _round(self) -> int:
        return max(SHORTEST_ROUND, int(self.limit))

    def _bearable(self, calls: int) -> float:
        """Refusals among so many calls that mean nothing new."""
        return self.usual * calls + DOUBT * math.sqrt(self.usual * calls)

    def _round_over(self) -> None:
        calls = self._good + self._bad
        if calls < self._round():
            return
        share, too_many, shut = self._bad / calls, self._bad > self._bearable(calls), not self._good
        self._good = self._bad = 0
        if self._tried and STILL < share / self._tried[1] < 1 / STILL and not shut:
            (self.limit, before), self._tried = self._tried, None
            self.usual = (share + before) / 2
            self._changed()
        elif too_many:
            self._tried = (self.limit, share)
            self._ramp = self._shut = shut
            self.limit = max(1.0, self.limit * (SHUT if shut else (1 - share) / (1 - self.usual)))
            self._changed()
        else:
            self._tried = None
            self.usual += (share - self.usual) / 5 if self.usual else 0.0
            self._clean += 1
            if self._clean > min(PROBE, self.limit / 2) and not self._ramp:
                self.limit = min(float(self.most), self.limit + self._step)
                self._step = min(2 * self._step, self.limit / 4)

    def _changed(self) -> None:
        self.cuts += 1
        self._clean, self._step = 0, 1.0
        self._resting = 0  # the limit itself keeps those places empty now

    def _rested(self, cuts: int) -> None:
        if cuts == self.cuts:
            self._resting -= 1
            self._wake()

    def _room(self) -> int:
        """How many more may be in flight now."""
        if self._held_until and asyncio.get_running_loop().time() < self._held_until:
            return 0
        limit = int(self.limit)
        return min(limit - self.in_flight - self._resting, limit + max(1, limit // UNSAVED) - self.unsaved)

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
