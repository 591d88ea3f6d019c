"""Groups of jobs: done together they come to what they come to one by one, and the caps hold whatever their order."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from langmill.ledger.books import Books
from langmill.ledger.file import open_file, packed
from langmill.ledger.jobs import Answered, Claim, Failed, Job, Use
from langmill.ledger.ledger import NANO, Call, Claimed

TABLES = ("answers", "attempts", "uses", "spending", "habits")


def call(key: str, run: str) -> Call:
    return Call(key, run, "test/model", "expand", "en", "ift")


def random_jobs(dice: random.Random, attempts: dict[int, Call], cap: int | None) -> list[Job]:
    """A group that could be queued at one moment: ends of attempts that are out, and new claims, of few calls."""
    jobs: list[Job] = []
    caps = {} if cap is None else {"run": cap, "month": 2 * cap}
    for _ in range(dice.randrange(1, 25)):
        if attempts and dice.random() < 0.5:
            attempt = dice.choice(list(attempts))
            ended = (
                attempts[attempt] if dice.random() < 0.2 else attempts.pop(attempt)
            )  # now and then an end comes twice
            if dice.random() < 0.6:
                text, check_sum = packed({"text": f"answer {attempt} {dice.randrange(9)}"})
                cost = dice.choice((None, 0, 1, 5))
                jobs.append(Answered(attempt, ended, text, check_sum, 3, dice.randrange(9), "r", cost, 0.5))
            else:
                jobs.append(Failed(attempt, "server", dice.random() < 0.5, 0.5))
        else:
            asked = call(dice.choice("abcdefgh"), dice.choice(("one", "two")))
            jobs.append(
                Use(asked) if dice.random() < 0.2 else Claim(asked, dice.choice((5, 10) if caps else (0, 5, 10)), caps)
            )
    return jobs


def copies(jobs: list[Job]) -> list[Job]:
    names = {Claim: ("call", "reserve", "caps"), Failed: ("attempt", "kind", "paid", "latency"), Use: ("call",)}
    names[Answered] = tuple(name for name in Answered.__slots__)
    return [type(job)(*(getattr(job, name) for name in names[type(job)])) for job in jobs]


def content(books: Books) -> dict[str, list[Any]]:
    return {table: sorted(books.db.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}


def rounds(books: Books, dice: random.Random, cap: int | None) -> Any:
    """Groups one after the other, each with the attempts that those before it claimed."""
    attempts: dict[int, Call] = {}
    for _ in range(6):
        jobs = random_jobs(dice, attempts, cap)
        yield jobs
        for job in jobs:
            if isinstance(job, Claim) and isinstance(job.result, Claimed):
                attempts[job.result.attempt] = job.call


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes empty books, quick ones: what is under test is not the disk."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    made = []

    def fresh(name: str) -> Books:
        db = open_file(tmp_path / name)
        db.execute("PRAGMA synchronous = OFF")
        made.append(db)
        return Books(db, tmp_path / name, "me", tmp_path)

    yield fresh
    for db in made:
        db.close()


def test_a_group_comes_to_what_its_jobs_come_to_one_by_one(opened: Any) -> None:
    for seed in range(40):
        together, alone = opened(f"{seed}-together"), opened(f"{seed}-alone")
        for jobs in rounds(together, random.Random(seed), None):
            others = copies(jobs)
            together.do(jobs)
            for job in others:
                alone.do([job])
            assert [(job.result, job.error) for job in jobs] == [(job.result, job.error) for job in others], seed
            assert content(together) == content(alone), seed
            assert {scope: alone.spent[scope] for scope in together.spent} == together.spent, seed


def test_what_is_remembered_is_what_is_on_disk_and_within_the_caps(opened: Any) -> None:
    refused = 0
    for seed in range(40):
        books = opened(str(seed))
        for jobs in rounds(books, random.Random(seed), 30):
            books.do(jobs)
            assert not [job.error for job in jobs if job.error]
            refused += sum(type(job.result).__name__ == "NoRoom" for job in jobs)
            booked = dict(books.db.execute("SELECT scope, nano FROM spending").fetchall())
            assert books.spent | booked == books.spent | {scope: books.spent[scope] for scope in booked}
            assert all(nano <= (30 if scope.startswith("run/") else 60) for scope, nano in booked.items())
            for run in ("one", "two"):
                query = "SELECT SUM(CASE status WHEN 'sent' THEN reserved ELSE COALESCE(cost, 0) END) FROM attempts WHERE run = ?"
                assert (books.db.execute(query, (run,)).fetchone()[0] or 0) == booked.get(f"run/{run}", 0), seed
    assert refused > 50


def test_money_is_whole_after_a_group_that_failed(opened: Any) -> None:
    books = opened("books")
    claims = [Claim(call(key, "one"), NANO, {"run": 3 * NANO}) for key in "abc"]
    books.do(claims)
    text, check_sum = packed({"text": "x"})
    group: list[Job] = [
        Answered(1, call("a", "one"), text, check_sum, 3, 3, "r", NANO // 2, 0.5),
        Answered(2, call("b", "one"), text, check_sum, 1 << 70, 3, "r", NANO // 2, 0.5),
        Failed(3, "server", False, 0.5),
        Claim(call("d", "one"), NANO, {"run": 3 * NANO}),
    ]
    books.do(group)
    assert [type(job.error).__name__ for job in group] == ["NoneType", "OverflowError", "NoneType", "NoneType"]
    assert isinstance(group[3].result, Claimed)
    assert books.spent["run/one"] == 2 * NANO + NANO // 2
    assert books.db.execute("SELECT nano FROM spending WHERE scope = 'run/one'").fetchone() == (2 * NANO + NANO // 2,)
