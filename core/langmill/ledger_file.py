"""The ledger's file: its tables and what is done in them, opening it, telling whether it is damaged, saving what reads.

Whether a process that shares the ledger is alive is asked of the kernel: each holds a lock (flock) on a file of its own,
which is free the moment it dies, however it dies. Process numbers would be reused and differ between containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from langmill.errors import FactoryError

VERSION = 1
_BUSY_SECONDS = 60.0
_NOT_SOUND = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TABLES = {
    "answers": "key TEXT PRIMARY KEY, answer TEXT NOT NULL, check_sum INTEGER NOT NULL, model TEXT NOT NULL, "
    "step TEXT NOT NULL, run TEXT NOT NULL, dataset TEXT NOT NULL, cost INTEGER, created REAL NOT NULL",
    "attempts": "id INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL, "
    "step TEXT NOT NULL, language TEXT NOT NULL, dataset TEXT NOT NULL, status TEXT NOT NULL, "
    "kind TEXT NOT NULL DEFAULT '', reserved INTEGER NOT NULL, cost INTEGER, prompt_tokens INTEGER, "
    "answer_tokens INTEGER, latency REAL, request_id TEXT, started REAL NOT NULL, ended REAL",
    "uses": "run TEXT NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, dataset TEXT NOT NULL, "
    "PRIMARY KEY (run, step, key, dataset)",
    "spending": "scope TEXT PRIMARY KEY, nano INTEGER NOT NULL",
    "places": "model TEXT PRIMARY KEY, place TEXT NOT NULL",
}
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS attempts_out ON attempts (key) WHERE status = 'sent'",
    "CREATE INDEX IF NOT EXISTS attempts_run ON attempts (run, model, step)",
)
SUMMARY = """
WITH asked AS (
  SELECT model, step, SUM(status = 'answered') AS calls, SUM(status <> 'answered') AS failed,
         SUM(COALESCE(prompt_tokens, 0)) AS prompt_tokens,
         SUM(COALESCE(answer_tokens, 0)) AS answer_tokens, SUM(COALESCE(cost, 0)) AS cost,
         MIN(status <> 'answered' OR cost IS NOT NULL) AS priced
  FROM attempts WHERE run = :run GROUP BY model, step),
used AS (
  SELECT model, step, COUNT(*) AS cached FROM uses WHERE run = :run AND NOT EXISTS (
    SELECT 1 FROM attempts WHERE attempts.key = uses.key AND attempts.run = :run
      AND attempts.step = uses.step AND status = 'answered')
  GROUP BY model, step),
names AS (SELECT model, step FROM asked UNION SELECT model, step FROM used)
SELECT names.model, names.step, COALESCE(calls, 0), COALESCE(cached, 0), COALESCE(failed, 0),
       COALESCE(prompt_tokens, 0), COALESCE(answer_tokens, 0), COALESCE(cost, 0), COALESCE(priced, 1)
FROM names LEFT JOIN asked USING (model, step) LEFT JOIN used USING (model, step)
ORDER BY names.step, names.model
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
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            db.close()
            raise FactoryError(
                f"{path} was written by a newer langmill (ledger version {found}, this one reads up to {VERSION}): "
                "upgrade langmill, or name another folder with LANGMILL_HOME=/a/folder"
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # paid answers outlive a power cut; group commit keeps it cheap
        if found < VERSION:
            db.execute("BEGIN IMMEDIATE")
            for table, columns in _TABLES.items():
                db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            for index in _INDEXES:
                db.execute(index)
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
    except (OSError, sqlite3.OperationalError) as error:
        raise FactoryError(
            f"the ledger {path} can not be opened ({error}): mend that, or name another folder with LANGMILL_HOME=/a/folder"
        ) from None
    return db


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
        if error.sqlite_errorcode & 0xFF in _NOT_SOUND:
            return str(error)
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
        names = [row[1] for row in into.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" * len(names))
        kept[table] = 0
        for row in _readable(path, table, names):
            if table != "answers" or check_sum(str(row[1])) == row[2]:
                kept[table] += into.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount
    # A sum may be lost where its parts are not.
    for scope in ("'run/' || run", "strftime('month/%Y-%m', started, 'unixepoch')"):
        into.execute(
            f"INSERT INTO spending SELECT {scope}, SUM(COALESCE(cost, reserved)) FROM attempts WHERE true GROUP BY 1"
            " ON CONFLICT (scope) DO UPDATE SET nano = MAX(nano, excluded.nano)"
        )
    into.execute("COMMIT")
    into.close()
    aside = path.with_name(time.strftime("ledger.damaged-%Y%m%dT%H%M%S.sqlite", time.gmtime()))
    os.link(path, aside)
    for old, new in list(zip(_with_logs(path), _with_logs(aside), strict=True))[1:]:
        if old.exists():  # a log beside the new file would be replayed into it
            os.replace(old, new)
    os.replace(fresh, path)
    return (
        f"the ledger was damaged ({found}): it lies aside as {aside}; {kept['answers']} answers and {kept['attempts']} "
        f"attempts could be read and are in a new {path.name}. Answers that could not be read will be asked again"
    )


def _with_logs(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _readable(path: Path, table: str, names: list[str]) -> Iterator[tuple[object, ...]]:
    """The rows that read, ranges halved around those that do not. Gives up on a table after 5,000 failures."""
    db = sqlite3.connect(path, isolation_level=None)
    failures = 0
    try:
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
                yield from db.execute(query, (low, high)).fetchall()
            except sqlite3.Error:
                failures += 1
                if low < high:
                    middle = (low + high) // 2
                    ranges += [(middle + 1, high), (low, middle)]
    except sqlite3.Error:
        return
    finally:
        db.close()


def check_sum(text: str) -> int:
    """CRC-32 of an answer as stored: tells a whole answer from a damaged one in a rescue."""
    return zlib.crc32(text.encode())


def find(db: sqlite3.Connection, key: str) -> dict[str, Any] | None:
    """A stored answer."""
    row = db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
    return dict(json.loads(row[0])) if row else None


def scopes(run: str, now: float) -> tuple[str, str]:
    """What a call of a run at a time (seconds since 1970) is booked under."""
    return f"run/{run}", time.strftime("month/%Y-%m", time.gmtime(now))


def spent(db: sqlite3.Connection, scope: str) -> int:
    """Billionths of a dollar booked under a scope."""
    row = db.execute("SELECT nano FROM spending WHERE scope = ?", (scope,)).fetchone()
    return int(row[0]) if row else 0


def book(db: sqlite3.Connection, under: tuple[str, ...], nano: int) -> None:
    """Add to scopes; less than nothing gives back."""
    if nano:
        for scope in under:
            db.execute(
                "INSERT INTO spending (scope, nano) VALUES (?, ?) ON CONFLICT (scope) DO UPDATE SET nano = nano + ?",
                (scope, nano, nano),
            )


def close(db: sqlite3.Connection, attempt: int, status: str, kind: str, cost: int) -> None:
    """End an attempt: the reserved worst case gives way to the cost, in the scopes it was booked in."""
    run, started, reserved = db.execute(
        "SELECT run, started, reserved FROM attempts WHERE id = ?", (attempt,)
    ).fetchone()
    book(db, scopes(run, started), cost - reserved)
    db.execute(
        "UPDATE attempts SET status = ?, kind = ?, cost = ?, ended = ? WHERE id = ?",
        (status, kind, cost, time.time(), attempt),
    )
