"""The ledger: what was asked, what was answered, what it cost. One SQLite file for all runs, in :func:`langmill.home.home`.

    answers    one row per answered call, by key: never paid for again, in whatever run, step or data set it comes up
    attempts   one row per request sent, committed before the request leaves; ``status`` is sent, answered, failed or lost
    uses       which run, step and data set used which answer
    spending   money by scope (``run/ID``, ``month/YYYY-MM``): settled costs, plus the worst case of what is still out
    places     the address under which a model's name was first seen

Money is in billionths of a US dollar, whole numbers, so that a sum is exact. Values are JSON, nothing is pickled; the file
is readable by its owner alone, since answers can hold sensitive text.

All writing goes through one thread: whatever has queued up becomes one transaction and one fsync, which is what keeps a
commit before and after every call cheap. Several processes may share the file: each holds a lock on a file of its own, so
that an attempt of a process that died (its lock is free) is told apart from one that is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from langmill.errors import FactoryError
from langmill.home import home
from langmill.ledger_file import (
    SUMMARY,
    Lock,
    book,
    check_sum,
    close,
    damage,
    find,
    is_held,
    open_file,
    rescue,
    scopes,
    spent,
)  # fmt: skip

T = TypeVar("T")
NANO = 1_000_000_000


@dataclass(frozen=True)
class Call:
    """What the ledger is told about a call: its key and whose it is. ``dataset`` may be empty."""

    key: str
    run: str
    model: str
    step: str
    language: str = ""
    dataset: str = ""


@dataclass(frozen=True)
class Found:
    """The call is answered already; ``answer`` is what was stored."""

    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Claimed:
    """The call is ours to send: the attempt is on disk."""

    attempt: int


@dataclass(frozen=True)
class Held:
    """Another process is asking this very call at this moment."""


@dataclass(frozen=True)
class NoRoom:
    """The call's worst case does not fit under a cap; ``left`` is in US dollars."""

    scope: str
    left: float


class Usage(NamedTuple):
    """What a run used of one model in one step. ``calls`` answered in this run, ``cached`` answered in an earlier one,
    ``failed`` requests without an answer; ``cost`` in US dollars, ``priced`` False when an answer's price is unknown."""

    model: str
    step: str
    calls: int
    cached: int
    failed: int
    prompt_tokens: int
    answer_tokens: int
    cost: float
    priced: bool


class Ledger:
    """An open ledger. A context manager; ``notice`` is what a person should be told about it, empty when all is well."""

    def __init__(self, folder: Path | None = None):
        """Open (or make) the ledger of ``folder``. Raises FactoryError when it is of a newer version or can not be opened."""
        folder = folder or home()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / "ledger.sqlite"
        self.notice = ""
        self.owner = uuid.uuid4().hex
        self._locks = folder / "ledger.locks"
        self._locks.mkdir(exist_ok=True, mode=0o700)
        with Lock(self._locks / "opening"):
            found = damage(self.path)
            if found:
                self.notice = rescue(self.path, found, in_use=self._others_alive())
            self._lock = Lock(self._locks / self.owner)
            self._lock.__enter__()
            try:
                self._writer = open_file(self.path)
                self._reader = open_file(self.path)
                self._settle_the_dead(self._writer)
            except BaseException:
                self._lock.release(remove=True)
                raise
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued, then close. Attempts still out count at their worst case from here on."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._reader.close()
        self._writer.close()
        self._lock.release(remove=True)

    # --- a call's life ------------------------------------------------------------------------------------------------

    def find(self, key: str) -> Found | None:
        """The answer of a call, if it was ever answered."""
        answer = find(self._reader, key)
        return None if answer is None else Found(answer)

    async def claim(self, call: Call, reserve: int, caps: Mapping[str, int]) -> Claimed | Found | Held | NoRoom:
        """Put the attempt on disk before its request leaves, with ``reserve`` billionths of a dollar held back.

        ``caps`` gives the most of a kind of scope ("run", "month"); both are booked, capped or not. Answers with what
        another process has found out in the meantime (Found), or is about to (Held).
        """
        mine: list[int] = []

        def work(db: sqlite3.Connection) -> Claimed | Found | Held | NoRoom:
            if (answer := find(db, call.key)) is not None:
                return Found(answer)
            out = db.execute("SELECT id, owner FROM attempts WHERE key = ? AND status = 'sent'", (call.key,)).fetchall()
            for attempt, owner in out:
                if owner == self.owner or is_held(self._locks / owner):
                    return Held()
                db.execute("UPDATE attempts SET status = 'lost', cost = reserved WHERE id = ?", (attempt,))
            now = time.time()
            booked = scopes(call.run, now)
            for scope in booked:
                cap = caps.get(scope.partition("/")[0])
                if reserve and cap is not None:
                    left = cap - spent(db, scope)
                    if reserve > left:
                        return NoRoom(scope, left / NANO)
            cursor = db.execute(
                "INSERT INTO attempts (key, run, owner, model, step, language, dataset, status, reserved, started)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'sent', ?, ?)",
                (call.key, call.run, self.owner, call.model, call.step, call.language, call.dataset, reserve, now),
            )
            book(db, booked, reserve)
            mine[:] = [int(cursor.lastrowid or 0)]
            return Claimed(mine[0])

        try:
            return await self._later(work)
        except asyncio.CancelledError:  # it will be on disk all the same, and nobody is left to send it
            self._soon(lambda db: _not_sent(db, mine))
            raise

    async def answered(
        self, attempt: int, call: Call, answer: Mapping[str, Any], cost: int | None, latency: float
    ) -> None:
        """Commit an answer, which is plain data with ``prompt_tokens``, ``answer_tokens`` and ``request_id``: from here on
        the call is answered for good. ``cost`` in billionths of a dollar, None when no price is known; ``latency`` in s."""

        def work(db: sqlite3.Connection) -> None:
            text = json.dumps(dict(answer), ensure_ascii=False)
            db.execute(
                "INSERT OR IGNORE INTO answers (key, answer, check_sum, model, step, run, dataset, cost, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (call.key, text, check_sum(text), call.model, call.step, call.run, call.dataset, cost, time.time()),
            )
            _use(db, call)
            close(db, attempt, "answered", "", 0 if cost is None else cost)
            db.execute(
                "UPDATE attempts SET cost = ?, prompt_tokens = ?, answer_tokens = ?, latency = ?, request_id = ?"
                " WHERE id = ?",
                (cost, answer["prompt_tokens"], answer["answer_tokens"], latency, answer["request_id"], attempt),
            )

        await self._later(work)

    def failed(self, attempt: int, kind: str, *, paid: bool, latency: float) -> Future[None]:
        """Close an attempt that brought no answer. ``paid``: it may have been billed, and counts at its worst case.
        Not awaitable on purpose: a call that is being cancelled closes its attempt too. Wait for the result if it matters."""

        def work(db: sqlite3.Connection) -> None:
            reserved = db.execute("SELECT reserved FROM attempts WHERE id = ?", (attempt,)).fetchone()[0]
            close(db, attempt, "failed", kind, reserved if paid else 0)
            db.execute("UPDATE attempts SET latency = ? WHERE id = ?", (latency, attempt))

        return self._soon(work)

    def use(self, call: Call) -> None:
        """Note that a run used an answer which the ledger had."""
        self._soon(lambda db: _use(db, call))

    # --- what it knows --------------------------------------------------------------------------------------------------

    def spent(self, run: str) -> float:
        """US dollars a run has spent over all its resumes, what is out or lost at its worst case."""
        return spent(self._reader, f"run/{run}") / NANO

    def place(self, model: str, place: str) -> str:
        """The place under which this model was first seen; ``place`` is remembered when it is the first."""

        def work(db: sqlite3.Connection) -> str:
            db.execute("INSERT OR IGNORE INTO places (model, place) VALUES (?, ?)", (model, place))
            return str(db.execute("SELECT place FROM places WHERE model = ?", (model,)).fetchone()[0])

        return self._soon(work).result()

    def summary(self, run: str) -> list[Usage]:
        """What a run used, by model and step. Waits for what is queued."""

        def work(db: sqlite3.Connection) -> list[Usage]:
            rows = db.execute(SUMMARY, {"run": run}).fetchall()
            return [Usage._make((*row[:7], row[7] / NANO, bool(row[8]))) for row in rows]

        return self._soon(work).result()

    # --- the writing thread ---------------------------------------------------------------------------------------------

    def _soon(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        done: Future[T] = Future()
        self._jobs.put(_Job(work, done.set_result, done.set_exception, None))
        return done

    async def _later(self, work: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def succeed(value: T) -> None:
            if not done.done():
                done.set_result(value)

        def fail(error: BaseException) -> None:
            if not done.done():
                done.set_exception(error)

        self._jobs.put(_Job(work, succeed, fail, loop))
        return await done

    def _write_all(self) -> None:
        stop = False
        while not stop:
            group = [self._jobs.get()]
            while not self._jobs.empty():
                group.append(self._jobs.get())
            stop = None in group
            jobs = [job for job in group if job]
            outcomes = self._commit(jobs)
            if outcomes is None:  # one of them failed: each on its own, so that it alone bears it
                outcomes = [(self._commit([job], alone=True) or [None])[0] for job in jobs]
            _tell([(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if outcome])

    def _commit(self, jobs: list[_Job], *, alone: bool = False) -> list[_Outcome | None] | None:
        db = self._writer
        try:
            db.execute("BEGIN IMMEDIATE")
            values: list[_Outcome | None] = [_Outcome(job.work(db), None) for job in jobs]
            db.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already; this thread must not end
                db.execute("ROLLBACK")
            return [_Outcome(None, self._plain(error))] if alone else None
        return values

    def _plain(self, error: Exception) -> Exception:
        """SQLite's words as ours: full disk, damage, no permission."""
        if not isinstance(error, sqlite3.Error):
            return error
        return FactoryError(
            f"{self.path}: {error}. What was committed is safe; answers under way are not. "
            "Make room or mend it, then run the same command again"
        )

    def _settle_the_dead(self, db: sqlite3.Connection) -> None:
        """Attempts of processes that are gone become 'lost': they stay booked at their worst case."""
        db.execute("BEGIN IMMEDIATE")
        for (owner,) in db.execute("SELECT DISTINCT owner FROM attempts WHERE status = 'sent'").fetchall():
            if not is_held(self._locks / owner):
                db.execute(
                    "UPDATE attempts SET status = 'lost', cost = reserved, ended = ? WHERE status = 'sent' AND owner = ?",
                    (time.time(), owner),
                )
        db.execute("COMMIT")

    def _others_alive(self) -> bool:
        return any(is_held(path) for path in self._locks.iterdir() if path.name != "opening")


@dataclass(frozen=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    succeed: Callable[[Any], None]
    fail: Callable[[BaseException], None]
    loop: asyncio.AbstractEventLoop | None


class _Outcome(NamedTuple):
    value: Any
    error: Exception | None


def _tell(done: list[tuple[_Job, _Outcome]]) -> None:
    """Hand results over, each loop woken once for all of its own."""
    loops = {job.loop for job, _ in done}
    for loop in loops:
        mine = [(job, outcome) for job, outcome in done if job.loop is loop]

        def hand_over(mine: list[tuple[_Job, _Outcome]] = mine) -> None:
            for job, outcome in mine:
                if outcome.error is None:
                    job.succeed(outcome.value)
                else:
                    job.fail(outcome.error)

        if loop is None:
            hand_over()
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever asked
                loop.call_soon_threadsafe(hand_over)


def worst_case(dollars: float) -> int:
    """US dollars as billionths, rounded up."""
    return int(-(-dollars * NANO // 1))


def _not_sent(db: sqlite3.Connection, attempts: list[int]) -> None:
    for attempt in attempts:
        close(db, attempt, "failed", "CancelledError", 0)


def _use(db: sqlite3.Connection, call: Call) -> None:
    db.execute(
        "INSERT OR IGNORE INTO uses (run, step, key, model, dataset) VALUES (?, ?, ?, ?, ?)",
        (call.run, call.step, call.key, call.model, call.dataset),
    )
