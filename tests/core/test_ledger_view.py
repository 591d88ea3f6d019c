"""factory ledger: what it shows, writes to a file and forgets for good."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from langmill.ledger.ledger import NANO, Call, Claimed, Found, Ledger

CANARY = "canary-7f3a patient named Ivanova"
LONG = f"{CANARY} " + "with a long history of scurvy and little else to tell " * 60


def call(key: str, run: str, model: str = "test/one", dataset: str = "ift") -> Call:
    return Call(key, run, model, "expand", "ru", dataset)


async def ask(ledger: Ledger, asked: Call, text: str, cost: int | None) -> None:
    claimed = await ledger.claim(asked, NANO, {})
    assert isinstance(claimed, Claimed)
    answer = {"text": text, "finish": "stop", "prompt_tokens": 100, "answer_tokens": 20, "request_id": f"r-{asked.key}"}
    await ledger.answered(claimed.attempt, asked, answer, cost, 0.5)


async def fill(ledger: Ledger) -> None:
    """Two runs: the second takes two answers of the first, one of them for another data set."""
    await ask(ledger, call("a", "first"), f"short {CANARY}", NANO // 4)
    await ask(ledger, call("b", "first"), LONG, NANO // 2)
    await ask(ledger, call("c", "first", "test/two", "exams"), "other", None)
    ledger.use(call("a", "first"))  # a resume: nothing saved
    ledger.use(call("a", "second"))
    ledger.use(call("b", "second", dataset="exams"))
    for kind, paid in (("server", False), ("timeout", True)):
        claimed = await ledger.claim(call("d", "second"), NANO, {})
        assert isinstance(claimed, Claimed)
        ledger.failed(claimed.attempt, kind, paid=paid, latency=1.0).result()
    await ledger.batch_begin("mark", "test/one", "second")
    assert isinstance(await ledger.claim(call("e", "second"), NANO, {}, "mark"), Claimed)
    await ledger.batch_named("mark", "batch_17")


@pytest.fixture
def filled(bench):
    with Ledger(bench.home) as ledger:
        asyncio.run(fill(ledger))
    return bench


def raw(home: Path) -> bytes:
    """Every byte in the ledger's files."""
    return b"".join(path.read_bytes() for path in sorted(home.glob("ledger*")) if path.is_file())


# --- show --------------------------------------------------------------------------------------------------------------


def test_show_tells_calls_money_and_what_was_saved(filled):
    said = filled.factory("ledger", "show", "--json")
    assert said.code == 0
    facts = json.loads(said.out)
    assert (facts["answers"], facts["mode"], facts["path"]) == (3, "0600", str(filled.home / "ledger.sqlite"))
    assert facts["size"] > 4096
    one, two = facts["models"]
    sums = ("model", "calls", "failed", "lost", "prompt_tokens", "answer_tokens", "spent", "saved")
    assert [one[name] for name in sums] == ["test/one", 2, 2, 0, 200, 40, 2.75, 0.75]
    assert [two[name] for name in sums] == ["test/two", 1, 0, 0, 100, 20, 0.0, 0.0]
    (month,) = facts["months"]
    assert (month["month"], month["calls"], month["spent"]) == (time.strftime("%Y-%m", time.gmtime()), 3, 2.75)
    assert [(run["run"], run["calls"], run["failed"], run["spent"]) for run in facts["runs"]] == [
        ("second", 0, 2, 2.0),
        ("first", 3, 0, 0.75),
    ]
    (batch,) = facts["batches"]
    assert (batch["mark"], batch["name"], batch["calls"]) == ("mark", "batch_17", 1)
    assert facts["cap"] is None


def test_show_for_people_keeps_answers_to_itself(filled):
    filled.monkeypatch.setenv("LANGMILL_MAX_COST", "50")
    said = filled.factory("ledger", "show")
    assert said.code == 0
    assert said.out == ""
    words = " ".join(said.err.split())
    for part in (
        "3 answers", "mode 0600", "test/one 2 2 0 200 40 2.7500 0.7500", "open batch mark (batch_17): 1 calls of test/one",
        "LANGMILL_MAX_COST=50: $2.7500 of it used in",
    ):  # fmt: skip
        assert part in words, part
    assert CANARY not in said.err


def test_a_lost_call_is_counted_at_its_worst_case(bench):
    with Ledger(bench.home) as ledger:
        asyncio.run(ledger.claim(call("gone", "first"), NANO, {}))
    Ledger(bench.home).close()
    (model,) = json.loads(bench.factory("ledger", "show", "--json").out)["models"]
    assert (model["calls"], model["lost"], model["spent"]) == (0, 1, 1.0)


def test_without_a_ledger_there_is_nothing_to_show_and_nothing_to_do(bench):
    said = bench.factory("ledger", "show")
    assert (said.code, "no ledger as yet" in said.err) == (0, True)
    assert json.loads(bench.factory("ledger", "show", "--json").out)["answers"] == 0
    for words in (("export", "--out", "x.jsonl"), ("purge", "--older-than", "1")):
        said = bench.factory("ledger", *words)
        assert (said.code, "no ledger as yet" in said.err) == (2, True)
    assert not (bench.home / "ledger.sqlite").exists()


def test_a_damaged_ledger_is_told_and_left_as_it_is(bench):
    (bench.home / "ledger.sqlite").write_bytes(b"not a database, " * 1000)
    before = (bench.home / "ledger.sqlite").read_bytes()
    for words in (("show",), ("export", "--out", "x.jsonl"), ("purge", "--older-than", "0", "--yes")):
        said = bench.factory("ledger", *words)
        assert said.code == 1
        assert "is damaged" in said.err
    assert (bench.home / "ledger.sqlite").read_bytes() == before


# --- export ------------------------------------------------------------------------------------------------------------


def test_export_writes_one_object_for_each_answer(filled):
    assert filled.factory("ledger", "export", "--out", "all.jsonl").code == 0
    path = filled.folder / "all.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["key"] for row in rows] == ["a", "b", "c"]
    created = rows[1].pop("created")
    assert abs(time.mktime(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())) < 600
    assert rows[1] == {
        "key": "b", "model": "test/one", "step": "expand", "language": "ru", "run": "first", "dataset": "ift", "cost": 0.5,
        "prompt_tokens": 100, "answer_tokens": 20, "request_id": "r-b", "finish": "stop", "answer": LONG,
    }  # fmt: skip
    assert rows[2]["cost"] is None


def test_export_of_a_data_set_or_a_model_and_never_over_a_file(filled):
    for words, keys in (
        (("--dataset", "exams"), ["b", "c"]),
        (("--model", "test/one"), ["a", "b"]),
        (("--dataset", "exams", "--model", "test/one"), ["b"]),
    ):
        path = filled.folder / f"{'-'.join(keys)}.jsonl"
        assert filled.factory("ledger", "export", *words, "--out", path.name).code == 0
        assert [json.loads(line)["key"] for line in path.read_text("utf-8").splitlines()] == keys
    path.write_text("mine")
    said = filled.factory("ledger", "export", "--out", path.name)
    assert (said.code, path.read_text()) == (2, "mine")
    assert "is there already" in said.err
    said = filled.factory("ledger", "export", "--dataset", "exam", "--out", "new.jsonl")
    assert said.code == 2
    assert "Did you mean 'exams'?" in said.err
    assert not (filled.folder / "new.jsonl").exists()


# --- purge -------------------------------------------------------------------------------------------------------------


def test_purge_says_first_what_it_would_delete(filled):
    before = filled.factory("ledger", "show", "--json").out
    said = filled.factory("ledger", "purge", "--dataset", "ift")
    assert said.code == 0
    assert "2 answers; they had cost $0.7500" in said.err
    assert "1 of them used too by data set exams" in said.err
    assert "add --yes" in said.err
    assert filled.factory("ledger", "show", "--json").out == before
    said = filled.factory("ledger", "purge")
    assert said.code == 2
    assert "--dataset NAME, --older-than DAYS" in said.err


def test_what_is_purged_is_in_none_of_the_files_while_money_and_attempts_stay(filled):
    with contextlib.closing(sqlite3.connect(filled.home / "ledger.sqlite")) as db:
        attempts = db.execute("SELECT * FROM attempts").fetchall()
        spending = db.execute("SELECT * FROM spending").fetchall()
        packed = db.execute("SELECT answer FROM answers WHERE key = 'b'").fetchone()[0]
    assert CANARY.encode() in raw(filled.home)
    assert packed[8:] in raw(filled.home)

    said = filled.factory("ledger", "purge", "--dataset", "ift", "--yes")
    assert said.code == 0
    assert "2 answers deleted for good" in said.err
    assert CANARY.encode() not in raw(filled.home)
    assert packed[8:40] not in raw(filled.home)
    assert {path.name for path in filled.home.glob("ledger*") if path.is_file()} == {"ledger.sqlite"}
    assert stat.S_IMODE((filled.home / "ledger.sqlite").stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(filled.home / "ledger.sqlite")) as db:
        assert db.execute("SELECT * FROM attempts").fetchall() == attempts
        assert db.execute("SELECT * FROM spending").fetchall() == spending
    with Ledger(filled.home) as ledger:
        assert [bool(ledger.find(key)) for key in "abc"] == [False, False, True]
        assert ledger.spent("first") == 0.75
        asyncio.run(ask(ledger, call("a", "third"), "again", NANO))
        assert isinstance(ledger.find("a"), Found)
        assert [(usage.step, usage.calls, usage.cached) for usage in ledger.summary("second")] == [("expand", 0, 2)]


def test_a_purge_right_after_a_kill_clears_the_log_too(filled):
    """The answers of a process that was killed lie in -wal alone."""
    script = """if True:
        import asyncio, os, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_ledger_view import CANARY, Ledger, ask, call
        ledger = Ledger(Path(sys.argv[1]))
        asyncio.run(ask(ledger, call("k", "killed"), "in the log " + CANARY, 1))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", script, str(filled.home), str(Path(__file__).parent)], check=False)
    assert b"in the log canary" in (filled.home / "ledger.sqlite-wal").read_bytes()
    assert filled.factory("ledger", "purge", "--older-than", "0", "--yes").code == 0
    assert CANARY.encode() not in raw(filled.home)


def test_purge_by_age_and_by_data_set_takes_what_is_both(filled):
    with contextlib.closing(sqlite3.connect(filled.home / "ledger.sqlite")) as db, db:
        db.execute("UPDATE answers SET created = created - 10 * 86400 WHERE key IN ('b', 'c')")
    said = filled.factory("ledger", "purge", "--older-than", "9")
    assert "2 answers; they" in said.err
    assert "1 of them used by data set ift" in said.err
    said = filled.factory("ledger", "purge", "--older-than", "9.5", "--dataset", "ift", "--yes")
    assert "1 answers deleted" in said.err
    with Ledger(filled.home) as ledger:
        assert [bool(ledger.find(key)) for key in "abc"] == [True, False, True]


def test_purge_waits_for_no_run_it_refuses(filled):
    with Ledger(filled.home) as ledger:
        said = filled.factory("ledger", "purge", "--dataset", "ift", "--yes")
        assert said.code == 1
        assert "in use by a run" in said.err
        assert ledger.find("a")
        assert filled.factory("ledger", "purge", "--dataset", "ift").code == 0  # counting takes nothing away


def test_a_purge_that_a_reader_kept_from_its_end_is_ended_by_the_next(filled, monkeypatch):
    """Somebody looks into the file with another program: the deletion counts, the log can not be emptied yet."""
    monkeypatch.setattr("langmill.ledger.file._BUSY_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(filled.home / "ledger.sqlite", isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("SELECT COUNT(*) FROM answers").fetchone()
        said = filled.factory("ledger", "purge", "--dataset", "ift", "--yes")
        assert said.code == 1
        assert "another program reads it" in said.err
    said = filled.factory("ledger", "purge", "--dataset", "ift", "--yes")
    assert said.code == 0
    assert CANARY.encode() not in raw(filled.home)


def test_purge_names_the_damaged_files_that_it_leaves(filled):
    path = filled.home / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[:8192] + b"\xff" * 4096 + path.read_bytes()[12288:])
    with Ledger(filled.home) as ledger:
        assert ledger.notice
    (aside,) = filled.home.glob("ledger.damaged-*.sqlite")
    said = filled.factory("ledger", "purge", "--older-than", "0", "--yes")
    assert f"{aside} holds answers too" in said.err
    assert aside.exists()


def test_a_run_is_whole_after_its_answers_were_purged(bench):
    bench.data("qa.en.jsonl")
    bench.script()
    bench.write(
        "small.yaml",
        "name: small\nlanguages: [en]\nllm: {model: scripted/writer, answers: script.jsonl}\nsources:\n"
        "  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}\n"
        "datasets:\n  open: {from: [qa], steps: [{use: expand, guards: false, limit: 3}]}\n",
    )
    assert bench.factory("run", "small.yaml").code == 0
    rows, calls = bench.rows("open"), bench.calls()
    assert len(calls) == 3
    said = bench.factory("ledger", "purge", "--dataset", "open", "--yes")
    assert "3 answers deleted" in said.err
    assert bench.factory("run", "small.yaml").code == 0
    assert bench.rows("open") == rows
    assert bench.calls() == calls
