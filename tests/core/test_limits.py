"""How many calls are in flight: less after refusals, more after success, none while the provider asks for quiet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from langmill.limits import BURST, NEAR, START, Limiter, Quota


@contextlib.asynccontextmanager
async def slot(limiter: Limiter) -> AsyncIterator[int]:
    cuts = await limiter.enter()
    try:
        yield cuts
    finally:
        limiter.leave()
        limiter.saved()


def test_a_burst_of_refusals_halves_the_limit_once() -> None:
    async def work() -> None:
        limiter = Limiter(32)
        async with contextlib.AsyncExitStack() as stack:
            sent = [await stack.enter_async_context(slot(limiter)) for _ in range(32)]
            for cuts in sent:
                limiter.refused(cuts, None)
        assert (limiter.limit, limiter.cuts) == (16, 1)
        for _ in range(16):
            limiter.succeeded(limiter.cuts)
        assert limiter.limit == 17
        for _ in range(17 + 18):
            limiter.succeeded(limiter.cuts)
        assert limiter.limit == 19

    asyncio.run(work())


def test_the_limit_doubles_until_the_first_refusal() -> None:
    async def work() -> None:
        limiter = Limiter(3 * START)
        assert limiter.limit == START
        for _ in range(START):
            limiter.succeeded(limiter.cuts)
        assert limiter.limit == 2 * START
        for _ in range(2 * START):
            limiter.succeeded(limiter.cuts)
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
        limiter = Limiter(8)
        for _ in range(8):
            await limiter.enter()
        for _ in range(8):
            limiter.leave()  # answered, not yet on disk
        for _ in range(8 // NEAR):
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


def test_refusals_of_calls_sent_before_a_cut_do_not_cut_again() -> None:
    async def work() -> None:
        limiter = Limiter(32)
        for _ in range(32):
            limiter.refused(0, None)
        for _ in range(200):
            limiter.refused(0, 5.0)
            limiter.succeeded(0)
        assert (limiter.limit, limiter.cuts) == (16, 1)

    asyncio.run(work())


def test_few_refusals_change_nothing() -> None:
    async def work() -> None:
        limiter = Limiter(32)
        for _ in range(50):
            for _ in range(4):
                limiter.refused(limiter.cuts, None)
            for _ in range(28):
                limiter.succeeded(limiter.cuts)
        assert (limiter.limit, limiter.cuts) == (32, 0)

    asyncio.run(work())


def test_the_limit_stays_between_one_and_the_most() -> None:
    async def work() -> None:
        limiter = Limiter(5)
        for _ in range(300):
            limiter.refused(limiter.cuts, None)
        assert limiter.limit == 1
        for _ in range(300):
            limiter.succeeded(limiter.cuts)
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
            limiter.succeeded(cuts)

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
