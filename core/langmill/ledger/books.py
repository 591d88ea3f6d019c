"""How a group of jobs is done in one transaction.

A group is done in passes: answers, failures, claims, uses, each with as few statements as there are kinds of thing to
write; the order of the queue is kept where jobs touch the same call. Sums of money are read once in a transaction, held
against the caps in order, and written once. What the process remembers of its own (attempts that are out, money spent)
changes only when the transaction was committed.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langmill.errors import FactoryError
from langmill.ledger.facts import NANO, Call, Claimed, Found, Held, InBatch, NoRoom
from langmill.ledger.file import STORED, check_sum, code_of, is_held, said, whole
from langmill.ledger.jobs import Answered, Claim, Failed, Job, Task, Use


class Out(NamedTuple):
    """An attempt as far as it is booked: the call, the scopes, billionths of a dollar; ``open`` until it ended."""

    key: str
    habit: tuple[str, str, str]
    scopes: tuple[str, str]
    booked: int
    open: bool = True


class Books:
    """The writing thread's view of the file: does groups of jobs, remembers what is out and what was spent."""

    def __init__(self, db: sqlite3.Connection, path: Path, owner: str, locks: Path):
        self.db, self.owner = db, owner
        self._path, self._locks = path, locks
        self.damaged: set[str] = set()  # calls whose stored answer is not what was written
        db.create_function("check_sum_of", 1, check_sum, deterministic=True)
        self.spent: dict[str, int] = {}  # scope: billionths of a dollar, as of the last commit that booked under it
        self._out: dict[int, Out] = {}  # attempts of this process that are under way
        self._forget()

    def _forget(self) -> None:
        """Begin anew: nothing done in this transaction."""
        self._sums: dict[str, int] = {}
        self._changes: dict[str, int] = {}
        self._habits: dict[tuple[str, str, str], list[float]] = {}
        self._opened: dict[int, Out] = {}
        self._ended: dict[int, Out] = {}

    # --- groups -----------------------------------------------------------------------------------------------------

    def do(self, jobs: Sequence[Job]) -> None:
        """Do a group in one transaction; if that fails, each job in one of its own, so that the faulty one alone bears it."""
        error = self._commit(jobs)
        if error is None:
            return
        for job in jobs:
            job.result = None
            job.error = self._commit([job]) if len(jobs) > 1 and not _locked(error) else error
            if isinstance(job.error, sqlite3.Error):
                job.error = plain(self._path, job.error)

    def _commit(self, jobs: Sequence[Job]) -> Exception | None:
        self._forget()
        try:
            self.db.execute("BEGIN IMMEDIATE")
            self._work(jobs)
            self._write_sums()
            self.db.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already; this thread must not end
                self.db.execute("ROLLBACK")
            return error
        self.spent.update(self._sums)
        self._out.update(self._opened)
        for attempt in self._ended:
            self._out.pop(attempt, None)
        return None

    def _work(self, jobs: Sequence[Job]) -> None:
        claims: list[Claim] = []
        answers: list[Answered] = []
        failures: list[Failed] = []
        uses: list[Call] = []
        claimed: set[str] = set()  # calls that the passes to come touch: a second touch waits for them
        ended: set[str] = set()

        def passes() -> None:
            if answers:
                self._answers(answers)
            if failures:
                self._failures(failures)
            if claims:
                self._claims(claims)
            if uses:
                self.db.executemany(
                    "INSERT OR IGNORE INTO uses (run, step, key, model, dataset) VALUES (?, ?, ?, ?, ?)",
                    [(call.run, call.step, call.key, call.model, call.dataset) for call in uses],
                )
            for touched in (claims, answers, failures, uses, claimed, ended):
                touched.clear()

        for job in jobs:
            if isinstance(job, Claim):
                key = job.call.key
                if key in claimed or key in ended:
                    passes()
                claimed.add(key)
                claims.append(job)
            elif isinstance(job, Answered):
                key = job.call.key
                if key in claimed or key in ended:
                    passes()
                ended.add(key)
                answers.append(job)
            elif isinstance(job, Failed):
                key = self._attempt(job.attempt).key
                if key in claimed or key in ended:
                    passes()
                ended.add(key)
                failures.append(job)
            elif isinstance(job, Use):
                uses.append(job.call)
            elif isinstance(job, Task):
                passes()
                job.result = job.work(self)
        passes()

    # --- passes -----------------------------------------------------------------------------------------------------

    def _claims(self, claims: Sequence[Claim]) -> None:
        db, now = self.db, time.time()
        keys = json.dumps([job.call.key for job in claims])
        among = "key IN (SELECT value FROM json_each(?))"
        found: dict[str, dict[str, Any]] = {}
        for key, *stored in db.execute(f"SELECT key, {STORED} FROM answers WHERE {among}", (keys,)).fetchall():
            if (answer := whole(*stored)) is not None:
                found[key] = answer
            else:
                self.damaged.add(key)
        out: dict[str, list[tuple[int, str, str]]] = {}
        for key, *attempt in db.execute(
            "SELECT key, id, COALESCE(batches.owner, attempts.owner), attempts.batch FROM attempts"
            f" LEFT JOIN batches ON mark = batch AND over IS NULL WHERE status = 'sent' AND {among}",
            (keys,),
        ).fetchall():
            out.setdefault(key, []).append((attempt[0], attempt[1], attempt[2]))
        month = month_of(now)
        top = int(db.execute("SELECT COALESCE(MAX(id), 0) FROM attempts").fetchone()[0])
        rows = []
        for job in claims:
            call, reserve = job.call, job.reserve
            if found and (answer := found.get(call.key)) is not None:
                job.result = Found(answer)
                continue
            if out and (there := out.get(call.key)) and (held := self._still_out(there, now)):
                job.result = held
                continue
            scopes = (f"run/{call.run}", month)
            if reserve and job.caps and (full := self._full(scopes, reserve, job.caps)):
                job.result = full
                continue
            top += 1
            rows.append((top, call.key, call.run, self.owner, *call[2:], reserve, now, job.batch))
            self._opened[top] = Out(call.key, call[2:5], scopes, reserve)
            self._book(scopes, reserve)
            job.result = Claimed(top)
        db.executemany(
            "INSERT INTO attempts (id, key, run, owner, model, step, language, dataset, status, reserved, started, batch)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'sent', ?, ?, ?)",
            rows,
        )

    def _still_out(self, there: Sequence[tuple[int, str, str]], now: float) -> Held | InBatch | None:
        """Who has a call under way; what a dead process left is closed as lost, at its worst case."""
        for attempt, owner, batch in there:
            mine = owner == self.owner
            if batch:
                return InBatch(batch) if mine or not self.alive(owner) else Held()
            if mine or self.alive(owner):
                return Held()
            self.db.execute(
                "UPDATE attempts SET status = 'lost', cost = reserved, ended = ? WHERE id = ?", (now, attempt)
            )
        return None

    def _full(self, scopes: tuple[str, str], reserve: int, caps: Mapping[str, int]) -> NoRoom | None:
        for scope in scopes:
            cap = caps.get(scope.partition("/")[0])
            if cap is not None and reserve > (left := cap - self._sum(scope)):
                return NoRoom(scope, left / NANO)
        return None

    def _answers(self, answers: Sequence[Answered]) -> None:
        now = time.time()
        kept, closed = [], []
        for job in answers:
            call, out = job.call, self._attempt(job.attempt)
            cost = job.cost or 0
            kept.append(
                (call.key, job.answer, job.check_sum, call.model, call.step, call.run, call.dataset, job.cost, now)
            )
            closed.append(
                (job.cost, job.prompt_tokens, job.answer_tokens, job.latency, job.request_id, now, job.attempt)
            )
            self._book(out.scopes, cost - out.booked)
            self._ended[job.attempt] = out._replace(booked=cost, open=False)
            if out.open:
                sums = self._habits.get(out.habit) or self._habits.setdefault(out.habit, [0, 0, 0, 0, 0.0, 0])
                sums[0] += 1
                sums[1] += job.prompt_tokens
                sums[2] += job.answer_tokens
                sums[3] += job.answer_tokens**2
                sums[4] += job.latency or 0.0
                sums[5] += job.latency is not None
        # The first answer of a call stays, unless it was damaged since.
        self.db.executemany(
            "INSERT INTO answers (key, answer, check_sum, model, step, run, dataset, cost, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET answer = excluded.answer,"
            " check_sum = excluded.check_sum, model = excluded.model, step = excluded.step, run = excluded.run,"
            " dataset = excluded.dataset, cost = excluded.cost, created = excluded.created"
            " WHERE check_sum_of(CAST(answers.answer AS BLOB)) <> answers.check_sum",
            kept,
        )
        self.db.executemany(
            "UPDATE attempts SET status = 'answered', kind = '', cost = ?, prompt_tokens = ?, answer_tokens = ?,"
            " latency = ?, request_id = ?, ended = ? WHERE id = ?",
            closed,
        )

    def _failures(self, failures: Sequence[Failed]) -> None:
        now = time.time()
        for job in failures:
            self.close(job.attempt, "failed", job.kind, paid=job.paid, now=now)
        self.db.executemany(
            "UPDATE attempts SET latency = ? WHERE id = ?", [(job.latency, job.attempt) for job in failures]
        )

    # --- for tasks --------------------------------------------------------------------------------------------------

    def close(self, attempt: int, status: str, kind: str, *, paid: bool, now: float) -> None:
        """End an attempt without an answer, at its worst case or for nothing."""
        out = self._attempt(attempt)
        if not out.open:
            return
        cost = out.booked if paid else 0
        self.db.execute(
            "UPDATE attempts SET status = ?, kind = ?, cost = ?, ended = ? WHERE id = ?",
            (status, kind, cost, now, attempt),
        )
        self._book(out.scopes, cost - out.booked)
        self._ended[attempt] = out._replace(booked=cost, open=False)

    def alive(self, owner: str) -> bool:
        """Whether a process that shares the ledger lives."""
        return owner == self.owner or is_held(self._locks / owner)

    # --- money ------------------------------------------------------------------------------------------------------

    def _attempt(self, attempt: int) -> Out:
        out = self._ended.get(attempt) or self._opened.get(attempt) or self._out.get(attempt)
        if out is None:  # of an earlier process, or over
            row = self.db.execute(
                "SELECT key, model, step, language, run, started, status = 'sent',"
                " CASE status WHEN 'sent' THEN reserved ELSE COALESCE(cost, 0) END FROM attempts WHERE id = ?",
                (attempt,),
            ).fetchone()
            out = Out(row[0], row[1:4], (f"run/{row[4]}", month_of(row[5])), row[7], bool(row[6]))
        return out

    def _sum(self, scope: str) -> int:
        """Billionths of a dollar booked under a scope, what this transaction added included."""
        if scope not in self._sums:
            row = self.db.execute("SELECT nano FROM spending WHERE scope = ?", (scope,)).fetchone()
            self._sums[scope] = int(row[0]) if row else 0
        return self._sums[scope]

    def _book(self, scopes: tuple[str, str], nano: int) -> None:
        """Add to scopes; less than nothing gives back."""
        if nano:
            for scope in scopes:
                self._sums[scope] = self._sum(scope) + nano
                self._changes[scope] = self._changes.get(scope, 0) + nano

    def _write_sums(self) -> None:
        if self._changes:
            self.db.executemany(
                "INSERT INTO spending (scope, nano) VALUES (?, ?)"
                " ON CONFLICT (scope) DO UPDATE SET nano = nano + excluded.nano",
                list(self._changes.items()),
            )
        if self._habits:
            self.db.executemany(
                "INSERT INTO habits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (model, step, language) DO UPDATE SET"
                " calls = calls + excluded.calls, prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
                " answer_tokens = answer_tokens + excluded.answer_tokens, squares = squares + excluded.squares,"
                " seconds = seconds + excluded.seconds, timed = timed + excluded.timed",
                [(*names, *sums) for names, sums in self._habits.items()],
            )


def month_of(seconds: float) -> str:
    """The month's scope at a time (seconds since 1970, UTC)."""
    return time.strftime("month/%Y-%m", time.gmtime(seconds))


def _locked(error: Exception) -> bool:
    """Another process would not let go for a minute: every other job of the group would wait as long."""
    return isinstance(error, sqlite3.Error) and code_of(error) == sqlite3.SQLITE_BUSY


def plain(path: Path, error: Exception) -> FactoryError:
    """SQLite's words as ours: full disk, damage, no permission."""
    return FactoryError(
        f"{path}: {said(error)}. What was committed is safe; answers under way are not. "
        "Make room or mend it, then run the same command again"
    )
