"""The ledger: what was asked, what was answered, what it cost. One SQLite file for all runs, in :func:`langmill.disk.home.home`.

    answers    one row per answered call, by key: never paid for again, in whatever run, step or data set it comes up
    attempts   one row per request sent, committed before the request leaves; ``status`` is sent, answered, failed or lost
    batches    attempts that went to a provider's batch API together, committed before they were handed in
    uses       which run, step and data set took an answer that was there already
    spending   money by scope (``run/ID``, ``month/YYYY-MM``): settled costs, plus the worst case of what is still out
    habits     sums over answered attempts by model, step and language, for estimates
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
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from langmill.disk.home import home
from langmill.ledger.books import Books, plain
from langmill.ledger.facts import NANO, Batch, Call, Claimed, Found, Habit, Held, InBatch, NoRoom, Outcome, Usage
from langmill.ledger.file import STORED, Lock, damage, is_held, not_opened, open_file, packed, rescue, whole
from langmill.ledger.jobs import Answered, Claim, Failed, Job, Task, Use, tell

__all__ = (
    "NANO", "Batch", "Call", "Claimed", "Found", "Habit", "Held", "InBatch", "Ledger", "NoRoom", "Outcome", "Usage",
    "in_use", "worst_case",
)  # fmt: skip

T = TypeVar("T")
_MANY = 8  # jobs in a group that mean that more are on their way
_GATHER = 0.002  # seconds to wait for them

_SUMMARY = """
WITH asked AS (
  SELECT model, step, SUM(status = 'answered') AS calls, SUM(status <> 'answered') AS failed,
         SUM(COALESCE(prompt_tokens, 0)) AS prompt_tokens,
         SUM(COALESCE(answer_tokens, 0)) AS answer_tokens, SUM(COALESCE(cost, 0)) AS cost,
         MIN(status <> 'answered' OR cost IS NOT NULL) AS priced
  FROM attempts WHERE run = :run GROUP BY model, step),
used AS (
  SELECT model, step, COUNT(*) AS cached FROM uses WHERE run = :run AND (step, key) NOT IN (
    SELECT step, key FROM attempts WHERE run = :run AND status = 'answered')
  GROUP BY model, step),
names AS (SELECT model, step FROM asked UNION SELECT model, step FROM used)
SELECT names.model, names.step, COALESCE(calls, 0), COALESCE(cached, 0), COALESCE(failed, 0),
       COALESCE(prompt_tokens, 0), COALESCE(answer_tokens, 0), COALESCE(cost, 0), COALESCE(priced, 1)
FROM names LEFT JOIN asked USING (model, step) LEFT JOIN used USING (model, step)
ORDER BY names.step, names.model
"""


class Ledger:
    """An open ledger. A context manager."""

    def __init__(self, folder: Path | None = None):
        """Open (or make) the ledger of ``folder``. Raises FactoryError when it is of a newer version, or can not be opened or
        written."""
        folder = folder or home()
        self.path = folder / "ledger.sqlite"
        self.owner = uuid.uuid4().hex
        self._rescued = ""
        try:
            self._open(folder)
        except (OSError, sqlite3.Error) as error:
            raise not_opened(self.path, error) from None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def _open(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        locks = folder / "ledger.locks"
        locks.mkdir(exist_ok=True, mode=0o700)
        with Lock(locks / "opening"), contextlib.ExitStack() as undo:
            if found := damage(self.path):
                self._rescued = rescue(self.path, found, in_use=in_use(folder))
            self._lock = Lock(locks / self.owner)
            self._lock.__enter__()
            undo.callback(self._lock.release, remove=True)
            self._writer = open_file(self.path)
            undo.callback(self._writer.close)
            self._reader = open_file(self.path)
            undo.callback(self._reader.close)
            self._books = Books(self._writer, self.path, self.owner, locks)
            self._settle_the_dead()
            undo.pop_all()

    @property
    def notice(self) -> str:
        """What a person should be told about the ledger, empty when all is well: that it was rescued when it was opened, and
        how many answers were met since that are not what was written."""
        n = len(self._books.damaged)
        damaged = f"{n:,} answers in {self.path} are" if n > 1 else f"1 answer in {self.path} is"
        told = f"{damaged} damaged: what was written there does not count, and is asked again" if n else ""
        return "\n".join(filter(None, (self._rescued, told)))

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
        """The answer of a call, if it was ever answered and is still what was written. Raises FactoryError for what SQLite says
        of the file."""
        rows = self._read(f"SELECT {STORED} FROM answers WHERE key = ?", key)
        if not rows:
            return None
        answer = whole(*rows[0])
        if answer is None:
            self._books.damaged.add(key)
            return None
        return Found(answer)

    async def claim(self, call: Call, reserve: int, caps: Mapping[str, int], batch: str = "") -> Outcome:
        """Put the attempt on disk before its request leaves, with ``reserve`` billionths of a dollar held back.

        ``caps`` gives the most of a kind of scope ("run", "month"); both are booked, capped or not. Answers with what
        another process has found out in the meantime (Found), or is about to (Held), or that it lies in a batch (InBatch).
        ``batch`` is the mark of a batch that was begun, where the attempt is to go out with one.
        """
        loop = asyncio.get_running_loop()
        job = Claim(call, reserve, caps, batch, future=loop.create_future(), loop=loop)
        self._jobs.put(job)
        try:
            outcome: Outcome = await job.future  # type: ignore[misc]
        except asyncio.CancelledError:  # it will be on disk all the same, and nobody is left to send it
            self._jobs.put(Task(lambda books: _not_sent(books, job)))
            raise
        return outcome

    async def answered(
        self, attempt: int, call: Call, answer: Mapping[str, Any], cost: int | None, latency: float
    ) -> None:
        """Commit an answer, which is plain data with ``prompt_tokens``, ``answer_tokens`` and ``request_id``: from here on
        the call is answered for good. ``cost`` in billionths of a dollar, None when no price is known; ``latency`` in s, 0
        when it was not timed."""
        stored, check_sum = packed(answer)
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        tokens = answer["prompt_tokens"], answer["answer_tokens"]
        self._jobs.put(
            Answered(
                attempt,
                call,
                stored,
                check_sum,
                *tokens,
                answer["request_id"],
                cost,
                _lasted(latency),
                future=future,
                loop=loop,
            )
        )
        await future

    def failed(self, attempt: int, kind: str, *, paid: bool, latency: float) -> Future[None]:
        """Close an attempt that brought no answer. ``paid``: it may have been billed, and counts at its worst case.
        Not awaitable on purpose: a call that is being cancelled closes its attempt too. Wait for the result if it matters."""
        done: Future[None] = Future()
        self._jobs.put(Failed(attempt, kind, paid, _lasted(latency), future=done))
        return done

    def use(self, call: Call) -> None:
        """Note that a run used an answer which the ledger had."""
        self._jobs.put(Use(call))

    # --- batches --------------------------------------------------------------------------------------------------------

    async def batch_begin(self, mark: str, model: str, run: str) -> None:
        """Put an empty batch on disk, before anything of it is claimed or handed in. What is claimed for it stays under way, at
        its worst case, even when this process dies, until it is answered or failed, or the batch is over."""
        row = (mark, model, run, self.owner, time.time())
        insert = "INSERT INTO batches (mark, model, run, owner, started) VALUES (?, ?, ?, ?, ?)"
        await self._later(lambda books: _run(books, insert, row))

    async def batch_named(self, mark: str, name: str) -> None:
        """Note the provider's name for a batch."""
        await self._later(lambda books: _run(books, "UPDATE batches SET name = ? WHERE mark = ?", (name, mark)))

    def batch_over(self, mark: str) -> Future[None]:
        """A batch is done with: attempts of it that were neither answered nor failed count as lost, at their worst case."""

        def work(books: Books) -> None:
            now = time.time()
            _run(books, "UPDATE batches SET over = ? WHERE mark = ?", (now, mark))
            for (attempt,) in _run(books, f"SELECT id FROM attempts WHERE {_IN_BATCH}", (mark,)):
                books.close(attempt, "lost", "", paid=True, now=now)

        return self._soon(work)

    def open_batches(self, model: str) -> list[Batch]:
        """The batches of a model that are not over, the oldest first."""
        query = "SELECT mark, name, run, started, owner FROM batches WHERE over IS NULL AND model = ? ORDER BY started"
        batches = []
        for mark, name, run, started, owner in self._read(query, model):
            attempts = dict(self._read(f"SELECT key, id FROM attempts WHERE {_IN_BATCH}", mark))
            free = not self._books.alive(owner)
            batches.append(Batch(mark, name, model, run, attempts, started, owner == self.owner or free))
        return batches

    def batch_calls(self, mark: str) -> dict[str, tuple[Call, int]]:
        """The calls of a batch by key, those that ended meanwhile too, each with the billionths of a dollar held for it."""
        columns = ", ".join((*Call._fields, "reserved"))
        query = f"SELECT {columns} FROM attempts WHERE batch = ? AND batch <> ''"
        return {row[0]: (Call._make(row[:-1]), row[-1]) for row in self._read(query, mark)}

    async def batch_adopt(self, mark: str) -> bool:
        """Look after a batch from here on; False when it is over, or another living process does."""

        def work(books: Books) -> bool:
            rows = _run(books, "SELECT owner FROM batches WHERE mark = ? AND over IS NULL", (mark,))
            if not rows or (rows[0][0] != self.owner and books.alive(rows[0][0])):
                return False
            _run(books, "UPDATE batches SET owner = ? WHERE mark = ?", (self.owner, mark))
            _run(books, f"UPDATE attempts SET owner = ? WHERE {_IN_BATCH}", (self.owner, mark))
            return True

        return await self._later(work)

    # --- what it knows --------------------------------------------------------------------------------------------------

    def spent(self, run: str) -> float:
        """US dollars a run has spent over all its resumes, what is out or lost at its worst case. As of this process's last
        commit for the run: what another process books under it at the same time shows with the next one."""
        scope = f"run/{run}"
        nano = self._books.spent.get(scope)
        if nano is None:
            rows = self._read("SELECT nano FROM spending WHERE scope = ?", scope)
            nano = int(rows[0][0]) if rows else 0
        return nano / NANO

    def habits(self, model: str) -> list[Habit]:
        """What the answers of a model came to, by step and language."""
        query = (
            "SELECT step, language, calls, prompt_tokens, answer_tokens, squares, seconds * calls / MAX(1, timed)"
            " FROM habits WHERE model = ? ORDER BY step, language"
        )
        return [Habit._make(row) for row in self._read(query, model)]

    def place(self, model: str, place: str) -> str:
        """The place under which this model first answered; ``place`` is remembered when it never did."""

        def work(books: Books) -> str:
            answered = _run(books, "SELECT 1 FROM habits WHERE model = ? LIMIT 1", (model,))
            keep = "IGNORE" if answered else "REPLACE"  # a mistyped address must not claim the name
            _run(books, f"INSERT OR {keep} INTO places (model, place) VALUES (?, ?)", (model, place))
            return str(_run(books, "SELECT place FROM places WHERE model = ?", (model,))[0][0])

        return self._soon(work).result()

    def summary(self, run: str) -> list[Usage]:
        """What a run used, by model and step. Waits for what is queued."""

        def work(books: Books) -> list[Usage]:
            rows = books.db.execute(_SUMMARY, {"run": run}).fetchall()
            return [Usage._make((*row[:7], row[7] / NANO, bool(row[8]))) for row in rows]

        return self._soon(work).result()

    def _read(self, query: str, value: str) -> list[Any]:
        try:
            return self._reader.execute(query, (value,)).fetchall()
        except sqlite3.Error as error:
            raise plain(self.path, error) from None

    # --- the writing thread ---------------------------------------------------------------------------------------------

    def _soon(self, work: Callable[[Books], T]) -> Future[T]:
        done: Future[T] = Future()
        self._jobs.put(Task(work, future=done))
        return done

    async def _later(self, work: Callable[[Books], T]) -> T:
        return await asyncio.wrap_future(self._soon(work))

    def _write_all(self) -> None:
        stop, many = False, False
        while not stop:
            group = [self._jobs.get()]
            if many:  # a slightly larger group saves more than the wait costs
                time.sleep(_GATHER)
            while not self._jobs.empty():
                group.append(self._jobs.get())
            stop, many = None in group, len(group) >= _MANY
            jobs = [job for job in group if job is not None]
            if jobs:
                try:
                    self._books.do(jobs)
                except Exception as error:  # a fault of ours: without this thread everybody would wait for ever
                    for job in jobs:
                        job.error = job.error or error
                tell(jobs)

    def _settle_the_dead(self) -> None:
        """Attempts of processes that are gone become 'lost', those of open batches apart: they stay booked at their worst
        case."""
        db = self._writer
        db.execute("BEGIN IMMEDIATE")
        out = "status = 'sent' AND batch NOT IN (SELECT mark FROM batches WHERE over IS NULL)"
        for (owner,) in db.execute(f"SELECT DISTINCT owner FROM attempts WHERE {out}").fetchall():
            if not self._books.alive(owner):
                db.execute(
                    f"UPDATE attempts SET status = 'lost', cost = reserved, ended = ? WHERE {out} AND owner = ?",
                    (time.time(), owner),
                )
        db.execute("COMMIT")


_IN_BATCH = "batch = ? AND batch <> '' AND status = 'sent'"


def in_use(folder: Path) -> bool:
    """Whether a living process has the ledger of a folder open. Asked under its lock "opening"."""
    return any(is_held(path) for path in (folder / "ledger.locks").iterdir() if path.name != "opening")


def worst_case(dollars: float) -> int:
    """US dollars as billionths, rounded up."""
    return int(-(-dollars * NANO // 1))


def _lasted(latency: float) -> float | None:
    """Seconds; None when nobody timed it, or the clock jumped back."""
    return latency if latency > 0 else None


def _run(books: Books, query: str, values: tuple[object, ...]) -> list[Any]:
    return books.db.execute(query, values).fetchall()


def _not_sent(books: Books, job: Claim) -> None:
    if job.error is None and isinstance(job.result, Claimed):
        books.close(job.result.attempt, "failed", "CancelledError", paid=False, now=time.time())
