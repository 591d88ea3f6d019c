"""Batches and habits in the ledger: a batch outlives its process, its money stays booked, and one process looks after it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from langmill.ledger.ledger import NANO, Call, Claimed, Found, Habit, Held, InBatch, Ledger

MODEL = "test/model"
ANSWER = {"text": "yes", "finish": "stop", "prompt_tokens": 7, "answer_tokens": 5, "request_id": "r", "cost": None}


def call(key: str, run: str = "run", step: str = "expand", language: str = "en") -> Call:
    return Call(key, run, MODEL, step, language, "ift")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


async def begin(ledger: Ledger, mark: str, keys: str) -> dict[str, int]:
    attempts = {}
    await ledger.batch_begin(mark, MODEL, "run")
    for key in keys:
        claimed = await ledger.claim(call(key), NANO, {}, mark)
        assert isinstance(claimed, Claimed)
        attempts[key] = claimed.attempt
    return attempts


async def say(ledger: Ledger, attempt: int, asked: Call, tokens: int, latency: float = 0.5) -> None:
    answer = {**ANSWER, "answer_tokens": tokens}
    await ledger.answered(attempt, asked, answer, NANO // 4, latency)


HAND_IN = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_ledger_batches import Ledger, begin, call, say
async def work(ledger):
    attempts = await begin(ledger, "mark", "abc")
    await ledger.batch_named("mark", "batch_17")
    await say(ledger, attempts["a"], call("a"), 5)
    await ledger.claim(call("alone"), 1_000_000_000, {})
ledger = Ledger(Path(sys.argv[1]))
asyncio.run(work(ledger))
print("handed in", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process: it has handed in a batch of a, b and c, booked a's answer, and has a call of its own out."""
    process = subprocess.Popen(
        [sys.executable, "-c", HAND_IN, str(tmp_path), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "handed in\n"
    yield process
    process.kill()
    process.communicate()


def test_a_batch_is_left_to_who_looks_after_it_and_taken_over_when_that_one_dies(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    async def work(ledger: Ledger) -> None:
        (there,) = ledger.open_batches(MODEL)
        assert (there.mark, there.name, there.run, set(there.attempts)) == ("mark", "batch_17", "run", {"b", "c"})
        assert not there.mine_or_free
        assert await ledger.claim(call("b", "other"), 0, {}) == Held()
        assert not await ledger.batch_adopt("mark")

        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        (there,) = ledger.open_batches(MODEL)
        assert there.mine_or_free
        assert await ledger.claim(call("b", "other"), 0, {}) == InBatch("mark")
        assert await ledger.claim(call("a", "other"), 0, {}) == Found(ANSWER)
        assert await ledger.batch_adopt("mark")
        assert await ledger.claim(call("b", "other"), 0, {}) == InBatch("mark")
        assert ledger.batch_calls("mark") == {key: (call(key), NANO) for key in "abc"}
        assert ledger.spent("run") == 3.25  # an answer at its cost, b, c and the lone call at their worst case
        await say(ledger, there.attempts["b"], call("b"), 5, 0.0)
        ledger.failed(there.attempts["c"], "server", paid=False, latency=0.0)
        ledger.batch_over("mark").result()
        assert ledger.spent("run") == 1.5
        assert ledger.open_batches(MODEL) == []
        assert not await ledger.batch_adopt("mark")
        assert isinstance(await ledger.claim(call("c"), 0, {}), Claimed)

    with Ledger(tmp_path) as ledger:
        asyncio.run(work(ledger))


def test_a_batch_outlives_its_process_where_a_lone_call_is_lost(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with Ledger(tmp_path) as ledger:
        query = "SELECT key, status FROM attempts ORDER BY key"
        assert dict(ledger._reader.execute(query).fetchall()) == {
            "a": "answered",
            "alone": "lost",
            "b": "sent",
            "c": "sent",
        }
        assert asyncio.run(ledger.batch_adopt("mark"))
        with Ledger(tmp_path) as another:  # a second process would see the same: it is looked after
            (seen,) = another.open_batches(MODEL)
            assert not seen.mine_or_free
            assert asyncio.run(another.claim(call("b"), 0, {})) == Held()
            assert not asyncio.run(another.batch_adopt("mark"))


def test_what_a_batch_leaves_open_counts_as_lost(ledger: Ledger) -> None:
    attempts = asyncio.run(begin(ledger, "mark", "ab"))
    assert asyncio.run(ledger.claim(call("a"), 0, {})) == InBatch("mark")
    asyncio.run(say(ledger, attempts["a"], call("a"), 5))
    ledger.batch_over("mark").result()
    assert ledger.spent("run") == 1.25
    assert isinstance(asyncio.run(ledger.claim(call("b"), 0, {})), Claimed)
    assert ledger.open_batches(MODEL) == []


def test_habits_sum_what_answers_came_to(ledger: Ledger, tmp_path: Path) -> None:
    async def work() -> None:
        for key, step, language, tokens, latency in (
            ("a", "expand", "en", 10, 1.0),
            ("b", "expand", "en", 20, 3.0),
            ("c", "expand", "en", 30, 0.0),  # in a batch: nobody timed it
            ("d", "expand", "ru", 5, -4.0),  # the clock jumped back
            ("e", "judge", "en", 1, 1.0),
        ):
            claimed = await ledger.claim(call(key, step=step, language=language), 0, {})
            assert isinstance(claimed, Claimed)
            await say(ledger, claimed.attempt, call(key, step=step, language=language), tokens, latency)
        claimed = await ledger.claim(call("f"), 0, {})
        assert isinstance(claimed, Claimed)
        ledger.failed(claimed.attempt, "server", paid=False, latency=9.0).result()

    asyncio.run(work())
    expected = [
        Habit("expand", "en", 3, 21, 60, 1400, 6.0),
        Habit("expand", "ru", 1, 7, 5, 25, 0.0),
        Habit("judge", "en", 1, 7, 1, 1, 1.0),
    ]
    assert ledger.habits(MODEL) == expected
    assert ledger.habits("another") == []
    ledger.close()
    with Ledger(tmp_path) as again:
        assert again.habits(MODEL) == expected
        latencies = again._reader.execute("SELECT key, latency FROM attempts").fetchall()
        assert dict(latencies) == {"a": 1.0, "b": 3.0, "c": None, "d": None, "e": 1.0, "f": 9.0}
