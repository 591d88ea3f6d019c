"""The ledger's file: its tables, opening it, bringing an older one up to date, telling damage, saving what reads.

An answer is JSON: as text while it is short, as a zstd frame from PACKED_FROM bytes on (``zstd -d`` reads it).

Whether a process that shares the ledger is alive is asked of the kernel: each holds a lock (flock) on a file of its own,
which is free the moment it dies, however it dies. Process numbers would be reused and differ between containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from langmill.errors import FactoryError

VERSION = 2
PACKED_FROM = 1_000  # bytes of JSON from which an answer is compressed
PACK_LEVEL = 1  # higher ones save another 2% for twice the time
STORED = "CAST(answer AS BLOB), check_sum"
"""What of a row of answers goes to :func:`whole`. As bytes, since SQLite has not looked whether damaged text is text."""
_FRAME = b"\x28\xb5\x2f\xfd"  # how a zstd frame begins, and no JSON does
_BUSY_SECONDS = 60.0
_NOT_SOUND = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TABLES = {
    "answers": "key TEXT PRIMARY KEY, answer TEXT NOT NULL, check_sum INTEGER NOT NULL, model TEXT NOT NULL, "
    "step TEXT NOT NULL, run TEXT NOT NULL, dataset TEXT NOT NULL, cost INTEGER, created REAL NOT NULL",
    "attempts": "id INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL, "
    "step TEXT NOT NULL, language TEXT NOT NULL, dataset TEXT NOT NULL, status TEXT NOT NULL, "
    "kind TEXT NOT NULL DEFAULT '', reserved INTEGER NOT NULL, cost INTEGER, prompt_tokens INTEGER, "
    "answer_tokens INTEGER, latency REAL, request_id TEXT, started REAL NOT NULL, ended REAL, "
    "batch TEXT NOT NULL DEFAULT ''",
    "batches": "mark TEXT PRIMARY KEY, name TEXT, model TEXT NOT NULL, run TEXT NOT NULL, owner TEXT NOT NULL, "
    "started REAL NOT NULL, over REAL",
    "uses": "run TEXT NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, dataset TEXT NOT NULL, "
    "PRIMARY KEY (run, step, key, dataset)",
    "spending": "scope TEXT PRIMARY KEY, nano INTEGER NOT NULL",
    "habits": "model TEXT NOT NULL, step TEXT NOT NULL, language TEXT NOT NULL, calls INTEGER NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, answer_tokens INTEGER NOT NULL, squares INTEGER NOT NULL, seconds REAL NOT NULL, "
    "timed INTEGER NOT NULL, "
    "PRIMARY KEY (model, step, language)",
    "places": "model TEXT PRIMARY KEY, place TEXT NOT NULL",
}
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS attempts_out ON attempts (key) WHERE status = 'sent'",
    "CREATE INDEX IF NOT EXISTS attempts_run ON attempts (run, model, step)",
    "CREATE INDEX IF NOT EXISTS attempts_batch ON attempts (batch) WHERE batch <> ''",
)
# Columns that came after version 1, with the table they belong to.
_ADDED = (("attempts", "batch", "TEXT NOT NULL DEFAULT ''"),)
_HABITS = """
INSERT INTO habits SELECT model, step, language, COUNT(*), SUM(COALESCE(prompt_tokens, 0)), SUM(COALESCE(answer_tokens, 0)),
  SUM(COALESCE(answer_tokens, 0) * COALESCE(answer_tokens, 0)), TOTAL(MAX(0, latency)),
  SUM(COALESCE(latency, 0) > 0)
FROM attempts WHERE status = 'answered' GROUP BY model, step, language
"""
_HELD: set[int] = set()


def _leave_in_child() -> None:
    """A forked child must not keep its parent's locks alive."""
    for descriptor in _HELD:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_leave_in_child)


class Lock:
    """An exclusive lock on a file, held until released or until the process ends. Waits for whoever holds it."""

    def __init__(self, path: Path):
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Lock:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        _HELD.add(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self, *, remove: bool = False) -> None:
        """Give it up; a second time does nothing."""
        if self._descriptor < 0:
            return
        if remove:
            self._path.unlink(missing_ok=True)
        _HELD.discard(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on a file; a file that nobody holds is removed."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def open_file(path: Path) -> sqlite3.Connection:
    """A connection, the tables made when they are missing. Raises FactoryError for a newer version or an unusable file."""
    try:
        # Made here for its mode, which SQLite gives to -wal and -shm too. A file that is there is not opened: closing it
        # would drop every lock that this process has on it through SQLite.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if os.stat(path).st_mode & 0o077:
            os.chmod(path, 0o600)
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _bring_up(path, db)
        except BaseException:
            db.close()
            raise
    except (OSError, sqlite3.OperationalError) as error:
        raise not_opened(path, error) from None
    return db


def not_opened(path: Path, error: Exception) -> FactoryError:
    """What a person is told when there is no working with a ledger."""
    return FactoryError(
        f"the ledger {path} can not be opened ({said(error)}): mend that, or name another folder with "
        "LANGMILL_HOME=/a/folder"
    )


def said(error: Exception) -> str:
    """An error's words without the value that it met, which may be an answer."""
    return str(error).partition(" with text ")[0]


def _bring_up(path: Path, db: sqlite3.Connection) -> None:
    """Make the tables, or those that an older version did not have; all of it or nothing."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise FactoryError(
            f"{path} was written by a newer langmill (ledger version {found}, this one reads up to {VERSION}): "
            "upgrade langmill, or name another folder with LANGMILL_HOME=/a/folder"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # paid answers outlive a power cut; group commit keeps it cheap
    db.execute(
        "PRAGMA cache_size = -16000"
    )  # kB: keys are hashes, so a group of answers touches pages all over an index
    if found == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    (found,) = db.execute("PRAGMA user_version").fetchone()  # another process may have been here first
    if found < VERSION:
        for table, columns in _TABLES.items():
            db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
        for table, column, kind in _ADDED:
            if column not in _columns(db, table):
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        for index in _INDEXES:
            db.execute(index)
        db.execute("DELETE FROM habits")
        db.execute(_HABITS)
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def code_of(error: Exception) -> int:
    """SQLite's number for a kind of error; 0 for those that Python raises by itself, which have none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def damage(path: Path) -> str:
    """What is wrong with the file, in SQLite's words; empty when it is sound or not there."""
    if not path.exists() or not path.stat().st_size:
        return ""
    try:
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            (words,) = db.execute("PRAGMA quick_check(1)").fetchone()
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        if code_of(error) in _NOT_SOUND:
            return said(error)
        return ""  # busy, no permission: opening it says so in its own words
    return "" if words == "ok" else str(words).splitlines()[0]


def rescue(path: Path, found: str, *, in_use: bool) -> str:
    """Build a new file of what reads, put the damaged one aside; returns what a person should be told."""
    if in_use:
        raise FactoryError(
            f"the ledger {path} is damaged ({found}) and another run is using it: let that run end, then start this again"
        )
    fresh = path.with_name("ledger.rebuilt")
    for old in _with_logs(fresh):
        old.unlink(missing_ok=True)
    into = open_file(fresh)
    kept: dict[str, int] = {}
    into.execute("BEGIN")
    for table in _TABLES:
        names = _columns(into, table)
        kept[table] = 0
        for row in _readable(path, table, names):
            if table != "answers" or check_sum(row["answer"]) == row["check_sum"]:
                into_names, marks = ", ".join(row), ", ".join("?" * len(row))
                insert = f"INSERT OR IGNORE INTO {table} ({into_names}) VALUES ({marks})"
                kept[table] += into.execute(insert, tuple(row.values())).rowcount
    # A sum may be lost where its parts are not, a batch where its attempts are not.
    for scope in ("'run/' || run", "strftime('month/%Y-%m', started, 'unixepoch')"):
        into.execute(
            f"INSERT INTO spending SELECT {scope}, SUM(COALESCE(cost, reserved)) FROM attempts WHERE true GROUP BY 1"
            " ON CONFLICT (scope) DO UPDATE SET nano = MAX(nano, excluded.nano)"
        )
    into.execute("DELETE FROM habits")
    into.execute(_HABITS)
    into.execute(
        "INSERT OR IGNORE INTO batches (mark, model, run, owner, started) SELECT batch, model, run, owner, MIN(started)"
        " FROM attempts WHERE batch <> '' AND status = 'sent' GROUP BY batch"
    )
    into.execute("COMMIT")
    into.close()
    aside = path.with_name(time.strftime("ledger.damaged-%Y%m%dT%H%M%S.sqlite", time.gmtime()))
    _twin(path, aside)
    for old, new in list(zip(_with_logs(path), _with_logs(aside), strict=True))[1:]:
        if old.exists():  # a log beside the new file would be replayed into it
            os.replace(old, new)
    os.replace(fresh, path)
    return (
        f"the ledger was damaged ({found}): it lies aside as {aside}; {kept['answers']} answers and {kept['attempts']} "
        f"attempts could be read and are in a new {path.name}. Answers that could not be read will be asked again"
    )


def _twin(path: Path, aside: Path) -> None:
    """The same file under a second name, so that the first is never without one; a copy where links are not to be had."""
    try:
        os.link(path, aside)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            shutil.copyfile(path, aside)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def _with_logs(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _readable(path: Path, table: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows that read, ranges halved around those that do not. Gives up on a table after 5,000 failures."""
    db = sqlite3.connect(path, isolation_level=None)
    failures = 0
    try:
        there = _columns(db, table)  # an older version has fewer
        names = [name for name in names if name in there]
        if not names:
            return
        try:
            (top,) = db.execute(f"SELECT max(rowid) FROM {table}").fetchone()
        except sqlite3.Error:
            top = 1 << 24
        ranges = [(1, top or 0)]
        while ranges and failures < 5_000:
            low, high = ranges.pop()
            if low > high:
                continue
            try:
                query = f"SELECT {', '.join(names)} FROM {table} WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
                for row in db.execute(query, (low, high)).fetchall():
                    yield dict(zip(names, row, strict=True))
            except sqlite3.Error:
                failures += 1
                if low < high:
                    middle = (low + high) // 2
                    ranges += [(middle + 1, high), (low, middle)]
    except sqlite3.Error:
        return
    finally:
        db.close()


_encode = json.JSONEncoder(ensure_ascii=False).encode


def packed(answer: Mapping[str, Any]) -> tuple[str | bytes, int]:
    """An answer as it is stored, and its check sum. Raises UnicodeEncodeError for half a character."""
    text = _encode(dict(answer))
    data = text.encode()
    if len(data) < PACKED_FROM:
        return text, zlib.crc32(data)
    import pyarrow as pa

    frame: bytes = pa.Codec("zstd", compression_level=PACK_LEVEL).compress(data, asbytes=True)
    return frame, zlib.crc32(frame)


def unpacked(stored: str | bytes) -> dict[str, Any]:
    """An answer of what is stored."""
    if isinstance(stored, bytes) and stored.startswith(_FRAME):
        import pyarrow as pa

        with pa.CompressedInputStream(pa.BufferReader(stored), "zstd") as stream:
            stored = stream.read()
    return dict(json.loads(stored))


def whole(stored: bytes, written: int) -> dict[str, Any] | None:
    """An answer of its bytes and the check sum of those that were written; None when they are not the same any more."""
    return unpacked(stored) if check_sum(stored) == written else None


def check_sum(stored: object) -> int:
    """CRC-32 of an answer as stored: tells a whole answer from a damaged one."""
    return zlib.crc32(stored if isinstance(stored, bytes) else str(stored).encode())
