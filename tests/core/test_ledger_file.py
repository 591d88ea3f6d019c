"""The ledger's file: older versions, compressed answers, damage, a full disk, a clock that jumps, two processes at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from langmill.errors import FactoryError
from langmill.ledger import books as ledger_books
from langmill.ledger.file import PACKED_FROM, VERSION, packed, unpacked
from langmill.ledger.ledger import NANO, Call, Claimed, Found, Habit, Ledger, NoRoom

MODEL = "test/model"
ANSWER = {"text": "yes", "finish": "stop", "prompt_tokens": 7, "answer_tokens": 5, "request_id": "r", "cost": None}


def call(key: str, run: str = "run") -> Call:
    return Call(key, run, MODEL, "expand", "en", "ift")


def said(text: str) -> dict[str, Any]:
    return {**ANSWER, "text": text}


async def claimed(ledger: Ledger, key: str, batch: str = "") -> int:
    outcome = await ledger.claim(call(key), NANO, {}, batch)
    assert isinstance(outcome, Claimed)
    return outcome.attempt


async def answer(ledger: Ledger, key: str, text: str, cost: int = NANO // 100) -> None:
    attempt = await claimed(ledger, key)
    await ledger.answered(attempt, call(key), said(text), cost, 0.5)


# --- version 1 ---------------------------------------------------------------------------------------------------------

V1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL, check_sum INTEGER NOT NULL, model TEXT NOT NULL,
  step TEXT NOT NULL, run TEXT NOT NULL, dataset TEXT NOT NULL, cost INTEGER, created REAL NOT NULL);
CREATE TABLE attempts (id INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, owner TEXT NOT NULL,
  model TEXT NOT NULL, step TEXT NOT NULL, language TEXT NOT NULL, dataset TEXT NOT NULL, status TEXT NOT NULL,
  kind TEXT NOT NULL DEFAULT '', reserved INTEGER NOT NULL, cost INTEGER, prompt_tokens INTEGER,
  answer_tokens INTEGER, latency REAL, request_id TEXT, started REAL NOT NULL, ended REAL);
CREATE TABLE uses (run TEXT NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, dataset TEXT NOT NULL,
  PRIMARY KEY (run, step, key, dataset));
CREATE TABLE spending (scope TEXT PRIMARY KEY, nano INTEGER NOT NULL);
CREATE TABLE places (model TEXT PRIMARY KEY, place TEXT NOT NULL);
CREATE INDEX attempts_out ON attempts (key) WHERE status = 'sent';
CREATE INDEX attempts_run ON attempts (run, model, step);
PRAGMA user_version = 1;
"""


def version_1(folder: Path, rows: int = 300) -> Path:
    """A ledger as version 1 left it: answers short and long, one attempt failed, one out when its process died."""
    path = folder / "ledger.sqlite"
    now = time.time()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(V1)
        for number in range(rows):
            key, text = (
                f"key-{number}",
                json.dumps(said(f"{number} " + "слово " * (number % 2 * 300)), ensure_ascii=False),
            )
            row = (key, text, zlib.crc32(text.encode()), MODEL, "expand", "run", "ift", NANO // 100, now)
            db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            db.execute("INSERT INTO uses VALUES ('run', 'expand', ?, ?, 'ift')", (key, MODEL))
            db.execute(
                "INSERT INTO attempts VALUES (NULL, ?, 'run', 'gone', ?, 'expand', 'en', 'ift', 'answered', '', ?, ?, 7, 5,"
                " 0.5, 'r', ?, ?)",
                (key, MODEL, NANO, NANO // 100, now, now),
            )
        for key, status, cost in (("failed", "failed", 0), ("out", "sent", None)):
            db.execute(
                "INSERT INTO attempts VALUES (NULL, ?, 'run', 'gone', ?, 'expand', 'en', 'ift', ?, '', ?, ?, NULL, NULL,"
                " NULL, NULL, ?, NULL)",
                (key, MODEL, status, NANO, cost, now),
            )
        db.execute("INSERT INTO spending VALUES ('run/run', ?)", (rows * NANO // 100 + NANO,))
        db.execute("INSERT INTO spending VALUES (?, ?)", (ledger_books.month_of(now), rows * NANO // 100 + NANO))
        db.execute("INSERT INTO places VALUES (?, 'http://first')", (MODEL,))
    return path


def test_a_ledger_of_version_1_keeps_every_answer_and_its_money(tmp_path: Path) -> None:
    path = version_1(tmp_path)
    with Ledger(tmp_path) as ledger:
        assert not ledger.notice
        texts = [f"{number} " + "слово " * (number % 2 * 300) for number in range(300)]
        assert [ledger.find(f"key-{number}") for number in range(300)] == [Found(said(text)) for text in texts]
        assert ledger.spent("run") == 4.0
        (usage,) = ledger.summary("run")
        assert (usage.calls, usage.cached, usage.failed, usage.cost) == (300, 0, 2, 4.0)
        assert ledger.habits(MODEL) == [Habit("expand", "en", 300, 2100, 1500, 7500, 150.0)]
        assert ledger.place(MODEL, "http://second") == "http://first"
        outcome = asyncio.run(ledger.claim(call("new"), 1, {"month": 4 * NANO}))
        assert outcome == NoRoom(ledger_books.month_of(time.time()), 0.0)
        asyncio.run(answer(ledger, "out", "новый " * 500))
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    with Ledger(tmp_path) as again:
        assert again.find("out") == Found(said("новый " * 500))
        assert again.habits(MODEL)[0].calls == 301


def test_version_1_stays_whole_when_there_is_no_room_to_change_it(tmp_path: Path, monkeypatch: Any) -> None:
    path = version_1(tmp_path, 3)
    connect = sqlite3.connect

    def full(*values: Any, **named: Any) -> sqlite3.Connection:
        db = connect(*values, **named)
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        with pytest.raises(FactoryError, match=r"ledger\.sqlite can not be opened \(.*full.*LANGMILL_HOME"):
            Ledger(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    with Ledger(tmp_path) as ledger:
        assert ledger.find("key-1")


def test_a_damaged_ledger_of_version_1_gives_back_what_reads(tmp_path: Path) -> None:
    path = version_1(tmp_path)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 4096 // 2 * 4096
    raw[middle : middle + 3 * 4096] = b"\xff" * (3 * 4096)
    path.write_bytes(raw)
    with Ledger(tmp_path) as ledger:
        kept = sum(ledger.find(f"key-{number}") is not None for number in range(300))
        assert 200 < kept <= 300
        assert f"{kept} answers" in ledger.notice
        assert ledger.spent("run") == pytest.approx(4.0)


# --- answers as they are stored ------------------------------------------------------------------------------------------


def test_short_answers_are_text_and_long_ones_are_compressed(tmp_path: Path) -> None:
    long = "Сначала промойте рану. " * 100
    with Ledger(tmp_path) as ledger:
        asyncio.run(answer(ledger, "short", "坏血病 \u0000 'x'"))
        asyncio.run(answer(ledger, "long", long))
        assert ledger.find("short") == Found(said("坏血病 \u0000 'x'"))
        assert ledger.find("long") == Found(said(long))
        stored = dict(ledger._reader.execute("SELECT key, answer FROM answers").fetchall())
    assert json.loads(stored["short"])["text"] == "坏血病 \u0000 'x'"
    assert isinstance(stored["long"], bytes)
    assert len(stored["long"]) < len(long.encode()) / 10


def test_every_answer_comes_back_as_it_was() -> None:
    dice = random.Random(7)
    letters = 'aß坏血ё\n"\\\u0000\U0001f9ea'
    for size in [*range(0, 3 * PACKED_FROM, 97), 200_000]:
        kept = said("".join(dice.choices(letters, k=size)))
        stored, check_sum = packed(kept)
        assert unpacked(stored) == kept
        assert check_sum == zlib.crc32(stored if isinstance(stored, bytes) else stored.encode())


def test_what_is_compressed_or_in_a_batch_survives_damage(tmp_path: Path) -> None:
    """A frame with a flipped byte is dropped by its check sum; a batch whose own row is lost is told by its attempts."""

    async def work() -> dict[str, int]:
        with Ledger(tmp_path) as ledger:
            for number in range(3):
                await answer(ledger, f"key-{number}", f"{number} " + "word " * 400)
            await ledger.batch_begin("mark", MODEL, "run")
            attempts = {key: await claimed(ledger, key, batch="mark") for key in ("a", "b")}
            await ledger.batch_named("mark", "batch_17")
        return attempts

    attempts = asyncio.run(work())
    path = tmp_path / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        size = db.execute("PRAGMA page_size").fetchone()[0]
        pages = dict(db.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage"))
        frame = db.execute("SELECT answer FROM answers WHERE key = 'key-1'").fetchone()[0]
    raw = path.read_bytes()
    assert raw.count(frame) == 1
    raw = raw.replace(frame, frame[:-5] + bytes([frame[-5] ^ 1]) + frame[-4:])
    for name in ("batches", "habits", "attempts_run"):
        raw = raw[: (pages[name] - 1) * size] + b"\xff" * size + raw[pages[name] * size :]
    path.write_bytes(raw)
    with Ledger(tmp_path) as ledger:
        assert [bool(ledger.find(f"key-{number}")) for number in range(3)] == [True, False, True]
        (batch,) = ledger.open_batches(MODEL)
        assert (batch.mark, batch.name, batch.attempts, batch.mine_or_free) == ("mark", None, attempts, True)
        assert ledger.spent("run") == pytest.approx(2.03)
        assert [habit.calls for habit in ledger.habits(MODEL)] == [3]


# --- one bad write, a full disk ------------------------------------------------------------------------------------------


def test_one_write_that_fails_takes_no_other_of_its_group_along(tmp_path: Path) -> None:
    async def work(ledger: Ledger) -> list[Any]:
        attempts = [await claimed(ledger, key) for key in "abc"]
        bad = {**ANSWER, "answer_tokens": 1 << 70}  # more than SQLite holds
        jobs = [
            ledger.answered(attempt, call(key), bad if key == "b" else ANSWER, NANO // 4, 0.1)
            for attempt, key in zip(attempts, "abc", strict=True)
        ]
        return await asyncio.gather(*jobs, ledger.claim(call("d"), NANO, {}), return_exceptions=True)

    with Ledger(tmp_path) as ledger:
        outcomes = asyncio.run(work(ledger))
        assert [type(outcome) for outcome in outcomes] == [type(None), OverflowError, type(None), Claimed]
        assert [bool(ledger.find(key)) for key in "abc"] == [True, False, True]
        assert ledger.spent("run") == 2.5  # b and d are out
        assert ledger.habits(MODEL)[0].calls == 2


def test_a_disk_that_fills_up_in_the_middle_costs_what_was_under_way_alone(tmp_path: Path) -> None:
    async def work(ledger: Ledger) -> tuple[list[str], list[BaseException]]:
        done, errors = [], []

        async def one(key: str) -> None:
            try:
                await answer(ledger, key, "".join(random.Random(key).choices("abcdefgh", k=20_000)))
            except FactoryError as error:
                errors.append(error)
            else:
                done.append(key)

        await asyncio.gather(*(one(f"k{number}") for number in range(100)))
        return done, errors

    with Ledger(tmp_path) as ledger:
        pages = ledger._writer.execute("PRAGMA page_count").fetchone()[0]
        ledger._writer.execute(f"PRAGMA max_page_count = {pages + 60}")
        done, errors = asyncio.run(work(ledger))
        assert 0 < len(done) < 100
        assert len(done) + len(errors) == 100
        assert {str(error) for error in errors} == {str(errors[0])}
        assert "ledger.sqlite: database or disk is full" in str(errors[0])
        assert "run the same command again" in str(errors[0])
        spent = ledger.spent("run")
        assert spent == pytest.approx(ledger._reader.execute("SELECT nano FROM spending").fetchone()[0] / NANO)
    with Ledger(tmp_path) as again:
        assert {key for key in (f"k{number}" for number in range(100)) if again.find(key)} == set(done)
        assert again.spent("run") == spent  # what was out counts at its worst case
        done_now, errors = asyncio.run(work_rest(again, done))
        assert not errors
        assert len(done) + done_now == 100


async def work_rest(ledger: Ledger, done: list[str]) -> tuple[int, list[BaseException]]:
    rest = [f"k{number}" for number in range(100) if f"k{number}" not in done]
    outcomes = await asyncio.gather(*(answer(ledger, key, "short") for key in rest), return_exceptions=True)
    return len(rest), [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


# --- the clock -----------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_back_loses_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    """A call counts for the month it was sent in, also when it ends in an earlier one, or after a restart."""
    december, november = 1_796_100_000.0, 1_793_500_000.0
    clock = [december]
    monkeypatch.setattr(ledger_books.time, "time", lambda: clock[0])

    async def work(ledger: Ledger) -> None:
        attempts = {key: await claimed(ledger, key) for key in "abc"}
        clock[0] = november
        await ledger.answered(attempts["a"], call("a"), ANSWER, NANO // 4, -2_600_000.0)
        ledger.failed(attempts["b"], "server", paid=False, latency=-1.0).result()
        await claimed(ledger, "d")

    with Ledger(tmp_path) as ledger:
        asyncio.run(work(ledger))
        months = dict(ledger._reader.execute("SELECT scope, nano FROM spending WHERE scope LIKE 'month/%'").fetchall())
        assert months == {"month/2026-12": NANO + NANO // 4, "month/2026-11": NANO}
        assert ledger.find("a")
        rows = ledger._reader.execute("SELECT key, latency FROM attempts WHERE latency IS NOT NULL").fetchall()
        assert rows == []
    with Ledger(tmp_path) as again:
        assert again.spent("run") == 2.25
        assert [row[0] for row in again._reader.execute("SELECT status FROM attempts ORDER BY key")] == [
            "answered",
            "failed",
            "lost",
            "lost",
        ]


# --- two processes at once -------------------------------------------------------------------------------------------------

SHARE = """
import asyncio, random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from langmill.ledger.ledger import NANO, Claimed, Found, Held, Ledger
from test_ledger_file import call, said
async def one(ledger, key, run):
    while True:
        outcome = await ledger.claim(call(key, run), NANO // 100, {"month": 50 * NANO})
        if isinstance(outcome, Claimed):
            await asyncio.sleep(random.random() / 100)
            await ledger.answered(outcome.attempt, call(key, run), said(run), NANO // 1000, 0.1)
            return "made"
        if isinstance(outcome, Found):
            ledger.use(call(key, run))
            return "found"
        assert outcome == Held(), outcome
        await asyncio.sleep(0.002)
async def main(ledger, run):
    keys = [f"k{number}" for number in range(300)]
    random.Random(run).shuffle(keys)
    turns = asyncio.Semaphore(32)
    async def turn(key):
        async with turns:
            return await one(ledger, key, run)
    outcomes = await asyncio.gather(*(turn(key) for key in keys))
    print(outcomes.count("made"), outcomes.count("found"))
print("ready", flush=True)
sys.stdin.readline()
with Ledger(Path(sys.argv[1])) as ledger:
    asyncio.run(main(ledger, sys.argv[3]))
"""


def test_two_processes_on_one_ledger_answer_no_call_twice(tmp_path: Path) -> None:
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", SHARE, str(tmp_path), str(Path(__file__).parent), run],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for run in ("one", "two")
    ]  # fmt: skip
    for process in pair:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], [errors for _, errors in ends]
    made = [tuple(int(word) for word in out.split()) for out, _ in ends]
    assert sum(one for one, _ in made) == 300
    assert all(one + other == 300 and one and other for one, other in made), made
    with Ledger(tmp_path) as ledger:
        sent = Counter(ledger._reader.execute("SELECT key, status FROM attempts").fetchall())
        assert set(sent.values()) == {1}
        assert {status for _, status in sent} == {"answered"}
        assert ledger.spent("one") + ledger.spent("two") == pytest.approx(0.3)
        assert [ledger.summary(run)[0].cached for run in ("one", "two")] == [other for _, other in made]
