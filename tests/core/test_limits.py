"""How many calls are in flight: less after refusals, more after success, none while the provider asks for quiet."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from langmill.calls.limits import BURST, NEAR, START, UNSAVED, Limiter, Quota


@contextlib.asynccontextmanager
async def slot(limiter: Limiter) -> AsyncIterator[int]:
    cuts = await limiter.enter()
    try:
        yield cuts
    finally:
        limiter.leave()
        limiter.saved()


def test_the_limit_doubles_until_the_first_refusal() -> None:
    async def work() -> None:
        limiter = Limiter(3 * START)
        assert limiter.limit == START
        for _ in range(START):
            limiter.succeeded(limiter.cuts, 0.1)
        assert limiter.limit == 2 * START
        for _ in range(2 * START):
            limiter.succeeded(limiter.cuts, 0.1)
        assert limiter.limit == 3 * START

    asyncio.run(work())


def test_a_provider_that_says_when_it_has_room_again_is_not_asked_before() -> None:
    async def work() -> None:
        limiter = Limiter(4)
        limiter.hold(0.2)
        limiter.hold(0.01)  # the longest holds
        entering = [asyncio.ensure_future(limiter.enter()) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(job.done() for job in entering)
        assert await asyncio.wait_for(asyncio.gather(*entering), 5) == [0, 0, 0]

    asyncio.run(work())


def test_a_slow_disk_holds_the_calls_up() -> None:
    async def work() -> None:
        limiter = Limiter(16)
        for _ in range(16):
            await limiter.enter()
        for _ in range(16):
            limiter.leave()  # answered, not yet on disk
        for _ in range(16 // UNSAVED):
            await asyncio.wait_for(limiter.enter(), 5)
        waiting = asyncio.ensure_future(limiter.enter())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        limiter.saved()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(work())


def test_few_approach_before_they_have_room() -> None:
    async def work() -> None:
        limiter = Limiter(4)
        near = [asyncio.ensure_future(limiter.approach()) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert sum(job.done() for job in near) == 4 // NEAR
        for _ in range(3):
            limiter.depart()
        await asyncio.wait_for(asyncio.gather(*near), 5)
        late = asyncio.ensure_future(limiter.approach())
        await asyncio.sleep(0)
        limiter.close(ValueError("over"))
        with pytest.raises(ValueError, match="over"):
            await late

    asyncio.run(work())


@pytest.mark.parametrize("door", ["approach", "enter"])
def test_nobody_is_overtaken(door: str) -> None:
    async def work() -> None:
        limiter, order = Limiter(1), []
        out = limiter.depart if door == "approach" else limiter.leave

        async def one(number: int) -> None:
            await getattr(limiter, door)()
            order.append(number)
            if door == "enter":
                limiter.saved()
            asyncio.get_running_loop().call_soon(out)
            await asyncio.sleep(0)

        first = [asyncio.ensure_future(one(number)) for number in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        later = [asyncio.ensure_future(one(number)) for number in range(10, 20)]
        await asyncio.wait_for(asyncio.gather(*first, *later), 5)
        assert order == list(range(20))

    asyncio.run(work())


def test_a_quota_lets_a_seconds_worth_go_at_once_and_spreads_the_rest() -> None:
    async def work() -> None:
        quota = Quota(600)  # ten a second
        waits = [quota.take(1) for _ in range(31)]
        assert waits[:10] == [0.0] * 10
        assert waits[20] == pytest.approx(20 * 0.1 - BURST, abs=0.05)
        assert waits[30] == pytest.approx(30 * 0.1 - BURST, abs=0.05)
        quota.take(-31)
        assert quota.take(1) == 0.0

    asyncio.run(work())


def test_a_provider_that_takes_nothing_is_left_alone_for_as_long_as_it_says() -> None:
    async def work() -> None:
        limiter = Limiter(4)
        async with slot(limiter) as cuts:
            limiter.refused(cuts, 0.2)
        entered: list[int] = []

        async def enter() -> None:
            async with slot(limiter):
                entered.append(1)

        waiting = asyncio.ensure_future(enter())
        await asyncio.sleep(0.05)
        assert not entered
        await waiting

    asyncio.run(work())


def test_a_cancelled_call_takes_no_turn_along() -> None:
    async def work() -> None:
        limiter = Limiter(1)
        order: list[str] = []

        async def enter(name: str) -> None:
            async with slot(limiter):
                order.append(name)

        async with slot(limiter):
            first, second = (asyncio.ensure_future(enter(name)) for name in ("first", "second"))
            await asyncio.sleep(0)
        first.cancel()  # its turn has come, and it does not take it
        await asyncio.wait_for(second, 5)
        assert order == ["second"]
        assert limiter.in_flight == 0

    asyncio.run(work())


# --- a whole provider, in a loop whose clock jumps from one event to the next --------------------------------------------


class JumpingLoop(asyncio.SelectorEventLoop):
    """Nobody waits in it: time goes to whatever is due next."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def jump(timeout: float | None = None) -> list[Any]:
            self._now += timeout or 0.0
            return list(select(0))

        self._selector.select = jump

    def time(self) -> float:
        return self._now


class Simulated:
    """A provider that answers after 0.2 s, give or take. ``room`` is how many it takes at once, from which second on;
    ``share`` of calls refused whatever is in flight; ``a_second`` calls, ``shut`` seconds in which it refuses all."""

    def __init__(
        self,
        room: Sequence[tuple[float, int]] = ((0.0, 1 << 30),),
        share: float = 0.0,
        a_second: int = 0,
        shut: float = 0.0,
    ):
        self.room, self.share, self.a_second, self.shut = room, share, a_second, shut
        self.dice = random.Random(7)
        self.here = self.refused = self.answered = 0
        self.tokens, self.filled = float(a_second), 0.0

    async def takes(self) -> bool:
        now = asyncio.get_running_loop().time()
        room = [most for since, most in self.room if now >= since][-1]
        self.tokens = min(float(self.a_second), self.tokens + (now - self.filled) * self.a_second)
        self.filled = now
        refuses = now < self.shut or self.here >= room or self.dice.random() < self.share
        if refuses or (self.a_second and self.tokens < 1):
            await asyncio.sleep(0.002)
            self.refused += 1
            return False
        self.tokens -= 1
        self.here += 1
        await asyncio.sleep(0.2 * self.dice.uniform(0.95, 1.05))
        self.here -= 1
        self.answered += 1
        return True


def simulate(provider: Simulated, calls: int, most: int) -> float:
    """Seconds of the provider's time until all calls are answered."""

    async def work() -> float:
        limiter, dice = Limiter(most), random.Random(3)
        loop = asyncio.get_running_loop()

        async def one() -> None:
            while True:
                cuts = await limiter.enter()
                began = loop.time()
                taken = await provider.takes()
                if taken:
                    limiter.succeeded(cuts, loop.time() - began)
                else:
                    limiter.refused(cuts, 1.0)
                limiter.leave()
                limiter.saved()
                if taken:
                    return
                await limiter.sleep(dice.uniform(1.0, 1.3))

        await asyncio.gather(*(one() for _ in range(calls)))
        assert (limiter.in_flight, limiter.unsaved) == (0, 0)
        return loop.time()

    with contextlib.closing(JumpingLoop()) as loop:
        seconds = loop.run_until_complete(work())
    assert provider.answered == calls
    return seconds


@pytest.mark.parametrize("room", [8, 32, 50, 100])
def test_a_provider_that_takes_so_many_is_asked_that_many(room: int) -> None:
    provider = Simulated(room=[(0.0, room)])
    calls = 31 * room
    assert (
        simulate(provider, calls, 128) < 1.15 * calls * 0.2 / room + 1.5
    )  # the first ones refused wait a second and more
    assert provider.refused < 128 + 0.15 * calls


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2, 0.4])
def test_refusals_that_come_whatever_is_in_flight_slow_nothing_down(share: float) -> None:
    """Halving at each burst of refusals would end at one call at a time."""
    provider = Simulated(share=share)
    tries = 3000 / (1 - share)
    assert simulate(provider, 3000, 64) < 1.3 * tries * 0.2 / 64 + 6  # a row may be refused a few times in a row
    assert provider.refused < 1.3 * (tries - 3000)


def test_a_provider_that_takes_so_many_a_second_gets_about_that() -> None:
    provider = Simulated(a_second=100)
    assert simulate(provider, 2000, 64) < 1.4 * 2000 / 100
    assert provider.refused < 2000


def test_a_provider_that_is_shut_is_asked_little_and_found_open_again() -> None:
    provider = Simulated(shut=10.0)
    assert simulate(provider, 1000, 64) < 10 + 2 * 1000 * 0.2 / 64
    assert provider.refused < 150


def test_a_provider_whose_room_changes_is_followed() -> None:
    provider = Simulated(room=[(0.0, 64), (5.0, 16), (15.0, 64)])
    ideal = 15 + (6000 - 5 * 64 / 0.2 - 10 * 16 / 0.2) * 0.2 / 64
    assert simulate(provider, 6000, 128) < 1.3 * ideal
    assert provider.refused < 400


def test_refusals_of_calls_sent_before_a_cut_do_not_cut_again() -> None:
    async def work() -> None:
        limiter = Limiter(32)
        for _ in range(16):
            limiter.succeeded(0, 0.1)
        for _ in range(16):
            limiter.refused(0, None)
        assert (limiter.limit, limiter.cuts) == (16, 1)
        for _ in range(200):
            limiter.refused(0, 5.0)
            limiter.succeeded(0, 0.1)
        assert (limiter.limit, limiter.cuts) == (16, 1)

    asyncio.run(work())


def test_the_limit_stays_between_one_and_the_most() -> None:
    async def work() -> None:
        limiter = Limiter(5)
        for _ in range(300):
            limiter.refused(limiter.cuts, None)
        assert limiter.limit == 1
        for _ in range(300):
            limiter.succeeded(limiter.cuts, 0.1)
        assert limiter.limit == 5

    asyncio.run(work())


def test_no_more_than_the_limit_are_in_flight_and_all_have_their_turn() -> None:
    async def work() -> None:
        limiter, most, done = Limiter(7), 0, 0

        async def one() -> None:
            nonlocal most, done
            async with slot(limiter) as cuts:
                most = max(most, limiter.in_flight)
                await asyncio.sleep(0)
                done += 1
            limiter.succeeded(cuts, 0.1)

        await asyncio.wait_for(asyncio.gather(*(one() for _ in range(300))), 10)
        assert (most, done, limiter.in_flight) == (7, 300, 0)

    asyncio.run(work())


def test_closing_reaches_those_who_wait_those_who_sleep_and_those_who_come_later() -> None:
    async def work() -> None:
        limiter = Limiter(1)

        async def enter() -> None:
            async with slot(limiter):
                pass

        async with slot(limiter):
            jobs = [asyncio.ensure_future(enter()), asyncio.ensure_future(limiter.sleep(600))]
            await asyncio.sleep(0)
            limiter.close(ValueError("first"))
            limiter.close(ValueError("second"))
            ended = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 5)
            assert [str(end) for end in ended] == ["first", "first"]
        for late in (enter(), limiter.sleep(600)):
            with pytest.raises(ValueError, match="first"):
                await late
        assert limiter.in_flight == 0  # who was in flight has ended as usual

    asyncio.run(work())
