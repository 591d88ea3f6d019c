"""The ledger: what is committed stays, whoever dies; two processes share it; a damaged one gives back what reads."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langmill.errors import FactoryError
from langmill.ledger.ledger import NANO, Call, Claimed, Found, Held, Ledger, NoRoom, worst_case

ANSWER = {
    "text": "坏血病 \u0000 'x'",
    "finish": "stop",
    "prompt_tokens": 7,
    "answer_tokens": 5,
    "request_id": "r",
    "cost": 0.5,
}


def call(key: str, run: str = "run", step: str = "expand") -> Call:
    return Call(key, run, "test/model", step, "en", "ift")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


async def answer(ledger: Ledger, key: str, run: str = "run", cost: int | None = NANO // 2) -> None:
    claimed = await ledger.claim(call(key, run), NANO, {})
    assert isinstance(claimed, Claimed)
    await ledger.answered(claimed.attempt, call(key, run), ANSWER, cost, 0.1)


def test_an_answer_is_found_again_whole_after_reopening(ledger: Ledger, tmp_path: Path) -> None:
    asyncio.run(answer(ledger, "k"))
    ledger.close()
    with Ledger(tmp_path) as again:
        assert again.find("k") == Found(ANSWER)
        assert again.find("other") is None
        assert not again.notice


def test_only_its_owner_can_read_it(ledger: Ledger, tmp_path: Path) -> None:
    asyncio.run(answer(ledger, "k"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"ledger.sqlite", "ledger.sqlite-wal"}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {"0o600"}


def test_a_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    (tmp_path / "ledger.sqlite").chmod(0o644)
    Ledger(tmp_path).close()
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600


def test_a_newer_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (tmp_path / "ledger.sqlite").read_bytes()
    with pytest.raises(FactoryError, match=r"version 99, this one reads up to \d+.*LANGMILL_HOME"):
        Ledger(tmp_path)
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


def test_a_cap_holds_the_worst_case_back_and_gives_the_rest_again(ledger: Ledger) -> None:
    async def work() -> None:
        caps = {"run": 2 * NANO}
        first = await ledger.claim(call("a"), NANO, caps)
        second = await ledger.claim(call("b"), NANO, caps)
        assert isinstance(first, Claimed)
        assert isinstance(second, Claimed)
        assert await ledger.claim(call("c"), 1, caps) == NoRoom("run/run", 0.0)
        assert isinstance(await ledger.claim(call("c", run="another"), NANO, caps), Claimed)
        await ledger.answered(first.attempt, call("a"), ANSWER, NANO // 4, 0.1)
        assert ledger.spent("run") == 1.25
        ledger.failed(second.attempt, "server", paid=False, latency=0.1).result()
        assert ledger.spent("run") == 0.25
        third = await ledger.claim(call("b"), NANO, caps)
        assert isinstance(third, Claimed)
        ledger.failed(third.attempt, "timeout", paid=True, latency=0.1).result()
        assert ledger.spent("run") == 1.25

    asyncio.run(work())


def test_the_month_is_capped_over_all_runs(ledger: Ledger) -> None:
    async def work() -> None:
        assert isinstance(await ledger.claim(call("a", run="one"), NANO, {"month": NANO}), Claimed)
        refused = await ledger.claim(call("b", run="two"), NANO, {"month": NANO})
        assert isinstance(refused, NoRoom)
        assert refused.scope.startswith("month/")

    asyncio.run(work())


def test_what_costs_nothing_fits_under_any_cap(ledger: Ledger) -> None:
    assert isinstance(asyncio.run(ledger.claim(call("a"), 0, {"run": 0, "month": 0})), Claimed)


def test_a_summary_tells_made_from_had(ledger: Ledger) -> None:
    async def work() -> None:
        await answer(ledger, "a", "first")
        await answer(ledger, "b", "first", cost=None)
        ledger.use(call("a", "first"))  # seen again on a resume: still this run's own
        ledger.use(call("a", "second"))

    asyncio.run(work())
    (first,) = ledger.summary("first")
    assert (first.model, first.step, first.calls, first.cached, first.cost) == ("test/model", "expand", 2, 0, 0.5)
    assert (first.prompt_tokens, first.answer_tokens, first.priced) == (14, 10, False)
    (second,) = ledger.summary("second")
    assert (second.calls, second.cached, second.cost, second.priced) == (0, 1, 0.0, True)
    assert ledger.summary("third") == []


def test_one_bad_write_spoils_no_other(ledger: Ledger) -> None:
    """What is queued together is committed together, unless one of them can not be."""

    async def work() -> list[Any]:
        claims = [await ledger.claim(call(key), 0, {}) for key in "abc"]
        jobs = [
            ledger.answered(claim.attempt, call(key), {**ANSWER, "text": text}, 0, 0.1)
            for claim, key, text in zip(claims, "abc", ("one", "half \ud800", "three"), strict=True)
            if isinstance(claim, Claimed)
        ]
        return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = asyncio.run(work())
    assert [type(outcome) for outcome in outcomes] == [type(None), UnicodeEncodeError, type(None)]
    assert [bool(ledger.find(key)) for key in "abc"] == [True, False, True]


def test_a_claim_that_nobody_waits_for_any_more_is_given_back(ledger: Ledger) -> None:
    async def work() -> None:
        tasks = [asyncio.create_task(ledger.claim(call(key), NANO, {})) for key in "ab"]
        await asyncio.sleep(0)  # both are queued
        tasks[0].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert isinstance(outcomes[1], Claimed)
        assert isinstance(await ledger.claim(call("a"), NANO, {"run": 2 * NANO}), Claimed)

    asyncio.run(work())
    rows = ledger._reader.execute("SELECT key, status, kind, cost FROM attempts ORDER BY id").fetchall()
    assert rows == [("a", "failed", "CancelledError", 0), ("b", "sent", "", None), ("a", "sent", "", None)]
    assert ledger.spent("run") == 2.0


# --- other processes ---------------------------------------------------------------------------------------------------

HOLD = """
import asyncio, sys, time
from pathlib import Path
from langmill.ledger.ledger import Call, Ledger
ledger = Ledger(Path(sys.argv[1]))
asyncio.run(ledger.claim(Call("k", "run", "test/model", "expand"), 3_000_000_000, {}))
print("claimed", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the call 'k' under way."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.communicate()


def test_a_call_under_way_elsewhere_is_left_to_it_until_it_dies(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with Ledger(tmp_path) as ledger:
        assert asyncio.run(ledger.claim(call("k", run="other"), 0, {})) == Held()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert isinstance(asyncio.run(ledger.claim(call("k", run="other"), 0, {})), Claimed)
        assert ledger.spent("run") == 3.0  # nobody knows what became of it: the worst case


def test_what_a_dead_process_left_is_closed_on_opening(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with Ledger(tmp_path) as ledger:
        assert [status for (status,) in ledger._reader.execute("SELECT status FROM attempts")] == ["lost"]
        (usage,) = ledger.summary("run")
        assert (usage.failed, usage.cost) == (1, 3.0)


def test_a_forked_child_does_not_keep_its_parent_alive(tmp_path: Path) -> None:
    script = HOLD.replace("time.sleep(60)", "import os; os.fork() and os._exit(0); time.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"claimed\n"
        process.wait()
        os.killpg(process.pid, 0)  # the child lives
        until = time.monotonic() + 10  # the child lets go as soon as it runs
        with Ledger(tmp_path) as ledger:
            while not isinstance(asyncio.run(ledger.claim(call("k"), 0, {})), Claimed):
                assert time.monotonic() < until
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# --- damage ------------------------------------------------------------------------------------------------------------


def filled(folder: Path, rows: int = 300) -> Path:
    async def work() -> None:
        with Ledger(folder) as ledger:
            for number in range(rows):
                claimed = await ledger.claim(call(f"key-{number}"), 0, {})
                assert isinstance(claimed, Claimed)
                text = {**ANSWER, "text": f"{number} " + "word " * 200}
                await ledger.answered(claimed.attempt, call(f"key-{number}"), text, NANO // 100, 0.1)

    asyncio.run(work())
    return folder / "ledger.sqlite"


def test_a_damaged_ledger_is_put_aside_and_what_reads_is_kept(tmp_path: Path) -> None:
    path = filled(tmp_path)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 4096 // 2 * 4096
    raw[middle : middle + 3 * 4096] = b"\xff" * (3 * 4096)
    path.write_bytes(raw)
    with Ledger(tmp_path) as ledger:
        kept = sum(ledger.find(f"key-{number}") is not None for number in range(300))
        assert 200 < kept < 300
        assert f"{kept} answers" in ledger.notice
        assert ledger.spent("run") == pytest.approx(3.0)
        asyncio.run(answer(ledger, "new"))
    (aside,) = tmp_path.glob("ledger.damaged-*.sqlite")
    assert aside.name in ledger.notice
    assert aside.read_bytes() == raw
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Ledger(tmp_path) as again:
        assert not again.notice
        assert again.find("new")


def test_what_was_spent_is_summed_anew_when_its_page_is_lost(tmp_path: Path) -> None:
    path = filled(tmp_path, 3)
    with sqlite3.connect(path) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'spending'").fetchone()
        size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(raw)
    with Ledger(tmp_path) as ledger:
        assert ledger.notice
        assert ledger.spent("run") == pytest.approx(0.03)
        month = ledger._reader.execute("SELECT nano FROM spending WHERE scope LIKE 'month/____-__'").fetchall()
        assert month == [(3 * NANO // 100,)]


def test_a_file_that_is_no_ledger_at_all_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, " * 1000)
    with Ledger(tmp_path) as ledger:
        assert "0 answers" in ledger.notice
        asyncio.run(answer(ledger, "k"))
        assert ledger.find("k")


def test_an_answer_damaged_inside_is_not_kept(tmp_path: Path) -> None:
    path = filled(tmp_path, 3)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE answers SET answer = replace(answer, '1 word', '7 word') WHERE key = 'key-1'")
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'attempts_run'").fetchone()
        size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(raw)
    with Ledger(tmp_path) as ledger:
        assert [bool(ledger.find(f"key-{number}")) for number in range(3)] == [True, False, True]


def test_a_damaged_ledger_that_another_run_uses_is_left_alone(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("PRAGMA wal_checkpoint(FULL)")
    db.close()
    for path in (tmp_path / "ledger.sqlite", tmp_path / "ledger.sqlite-wal"):
        raw = bytearray(path.read_bytes())
        path.write_bytes(b"\xff" * len(raw))
    with pytest.raises(FactoryError, match="another run is using it"):
        Ledger(tmp_path)
    assert not list(tmp_path.glob("ledger.damaged-*"))


def test_another_process_that_ends_does_not_take_the_log_along(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """It would, if this process had lost its locks on the file: SQLite removes -wal when the last one closes."""
    Ledger(tmp_path).close()
    assert (tmp_path / "ledger.sqlite-wal").exists()


def test_dollars_are_rounded_up() -> None:
    assert [worst_case(value) for value in (0.0, 1e-10, 1.5)] == [0, 1, 1_500_000_000]
