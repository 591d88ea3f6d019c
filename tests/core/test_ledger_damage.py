"""What goes wrong with the ledger while it is open: answers damaged inside, errors of any kind, a folder that is no good."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from langmill.errors import FactoryError
from langmill.ledger import file as ledger_file
from langmill.ledger import view as ledger_view
from langmill.ledger.books import Books
from langmill.ledger.file import open_file
from langmill.ledger.jobs import Claim, Task, tell
from langmill.ledger.ledger import NANO, Call, Claimed, Found, Ledger

SECRET = "canary: dose 5 mg"
LONG = SECRET + " " + " ".join(map(str, range(900)))


def call(key: str) -> Call:
    return Call(key, "run", "test/model", "expand", "en", "ift")


def said(text: str) -> dict[str, Any]:
    return {"text": text, "finish": "stop", "prompt_tokens": 7, "answer_tokens": 5, "request_id": "r", "cost": None}


async def answer(ledger: Ledger, key: str, text: str) -> None:
    outcome = await ledger.claim(call(key), NANO, {})
    assert isinstance(outcome, Claimed)
    await ledger.answered(outcome.attempt, call(key), said(text), NANO // 100, 0.5)


def flip(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes of the file behind SQLite's back; ``old`` must be in it."""
    raw = path.read_bytes()
    assert old in raw
    assert len(old) == len(new)
    path.write_bytes(raw.replace(old, new))


def filled(folder: Path) -> Path:
    with Ledger(folder) as ledger:
        asyncio.run(answer(ledger, "short", SECRET))
        asyncio.run(answer(ledger, "long", LONG))
        asyncio.run(answer(ledger, "sound", "as it was"))
    return folder / "ledger.sqlite"


# --- answers that are not what was written -----------------------------------------------------------------------------

DAMAGE = {
    "a letter": (b"dose 5 mg", b"dose 9 mg"),
    "no text": (b"dose 5 mg", b"dose \xff mg"),
    "no JSON": (b'"finish"', b'"fini\x02h"'),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_answer_counts_as_not_there_and_the_next_one_replaces_it(tmp_path: Path, how: str) -> None:
    flip(filled(tmp_path), *DAMAGE[how])
    with Ledger(tmp_path) as ledger:
        assert not ledger.notice, "SQLite's own check does not look into values"
        assert ledger.find("short") is None
        assert ledger.find("short") is None
        told = ledger.notice
        asyncio.run(answer(ledger, "short", "anew"))
        assert ledger.find("short") == Found(said("anew"))
        assert ledger.notice == told
        assert "1 answer in" in told
        assert "canary" not in told
        assert ledger.spent("run") == 0.04, "what was paid stays paid"
    with Ledger(tmp_path) as again:
        assert again.find("short") == Found(said("anew"))
        assert not again.notice


def test_a_damaged_frame_counts_as_not_there(tmp_path: Path) -> None:
    path = filled(tmp_path)
    raw = path.read_bytes()
    start = raw.index(b"\x28\xb5\x2f\xfd")
    flip(path, raw[start : start + 200], raw[start : start + 199] + bytes([raw[start + 199] ^ 1]))
    with Ledger(tmp_path) as ledger:
        assert isinstance(asyncio.run(ledger.claim(call("long"), NANO, {})), Claimed)
        assert "1 answer in" in ledger.notice, "a claim looks too"
        assert ledger.find("long") is None
        assert ledger.find("sound") == Found(said("as it was"))


def test_the_first_answer_stays_while_it_is_sound(tmp_path: Path) -> None:
    async def work(ledger: Ledger) -> None:
        outcome = await ledger.claim(call("k"), NANO, {})
        assert isinstance(outcome, Claimed)
        for text in ("first", "second"):
            await ledger.answered(outcome.attempt, call("k"), said(text), 1, 0.5)

    with Ledger(tmp_path) as ledger:
        asyncio.run(work(ledger))
        assert ledger.find("k") == Found(said("first"))
        assert not ledger.notice


def test_an_export_leaves_damaged_answers_out_and_counts_them(tmp_path: Path) -> None:
    flip(filled(tmp_path), *DAMAGE["a letter"])
    out = tmp_path / "out.jsonl"
    assert ledger_view.export(out, None, None, tmp_path) == (2, 1)
    assert "dose 9" not in out.read_text("utf-8")


# --- errors ------------------------------------------------------------------------------------------------------------


def test_an_error_of_python_s_own_has_no_number_and_is_its_job_s_alone(tmp_path: Path) -> None:
    def fails(books: Books) -> None:
        raise sqlite3.OperationalError(f"Could not decode to UTF-8 column 'answer' with text '{SECRET}'")

    books = Books(open_file(tmp_path / "ledger.sqlite"), tmp_path / "ledger.sqlite", "me", tmp_path)
    jobs = [Task(fails), Claim(call("k"), NANO, {})]
    books.do(jobs)
    books.db.close()
    assert isinstance(jobs[0].error, FactoryError)
    assert "column 'answer'. What was committed is safe" in str(jobs[0].error)
    assert isinstance(jobs[1].result, Claimed)


def test_the_writing_thread_outlives_whatever_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(ledger._books, "do", lambda jobs: {}[len(jobs)])
            with pytest.raises(KeyError):
                asyncio.run(asyncio.wait_for(ledger.claim(call("k"), NANO, {}), 10))
        assert isinstance(asyncio.run(asyncio.wait_for(ledger.claim(call("k"), NANO, {}), 10)), Claimed)


def test_somebody_who_gave_up_at_the_last_moment_does_not_keep_the_others_waiting() -> None:
    class Late(Future[Any]):
        def done(self) -> bool:  # asked just before it was cancelled
            return False

    late, other = Late(), Future[Any]()
    late.cancel()
    tell([Task(lambda books: None, future=late), Task(lambda books: None, future=other, result=5)])
    assert other.result(0) == 5


def test_what_sqlite_says_while_reading_is_told_as_ours(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger._writer.execute("DROP TABLE answers")
        with pytest.raises(FactoryError, match=r"ledger\.sqlite: no such table: answers"):
            ledger.find("k")


# --- the folder --------------------------------------------------------------------------------------------------------


def test_a_folder_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger.locks").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "home"):
        with pytest.raises(FactoryError, match=r"ledger\.sqlite can not be opened \(.*LANGMILL_HOME"):
            Ledger(folder)


def test_a_file_that_can_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path) as ledger:
        asyncio.run(ledger.claim(call("k"), NANO, {}))  # left behind, to be settled by the next
    connect = sqlite3.connect

    def unwritable(*values: Any, **named: Any) -> sqlite3.Connection:
        db = connect(*values, **named)
        db.execute("PRAGMA query_only = ON")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", unwritable)
        with pytest.raises(FactoryError, match=r"can not be opened \(attempt to write a readonly database\)"):
            Ledger(tmp_path)
    assert [path.name for path in (tmp_path / "ledger.locks").iterdir()] == ["opening"]
    with Ledger(tmp_path) as ledger:
        assert ledger.spent("run") == 1.0


def test_a_rescue_copies_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*names: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    path = filled(tmp_path)
    raw = path.read_bytes()[:-4096] + b"\xff" * 4096
    path.write_bytes(raw)
    assert ledger_file.damage(path)
    monkeypatch.setattr(os, "link", no_links)
    with Ledger(tmp_path) as ledger:
        (aside,) = tmp_path.glob("ledger.damaged-*.sqlite")
        assert aside.name in ledger.notice
    assert aside.read_bytes() == raw
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
