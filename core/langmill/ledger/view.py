"""What a person asks the ledger: what it holds and cost, its answers as a file, and to forget some of them for good."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from langmill.disk.home import home
from langmill.disk.whole import write_whole
from langmill.errors import FactoryError, MissingInput, RecipeError, nearest
from langmill.ledger.facts import MONTH_CAP
from langmill.ledger.file import STORED, Lock, open_file, said, whole
from langmill.ledger.ledger import NANO, in_use

_RUNS = 10  # shown, the last ones

_SUMS = """SUM(status = 'answered') AS calls, SUM(status = 'failed') AS failed, SUM(status = 'lost') AS lost,
  SUM(COALESCE(prompt_tokens, 0)) AS prompt_tokens, SUM(COALESCE(answer_tokens, 0)) AS answer_tokens,
  SUM(CASE status WHEN 'sent' THEN reserved ELSE COALESCE(cost, 0) END) AS spent"""
_QUERIES = {
    "models": f"""
      SELECT model, sums.*, COALESCE(saved, 0) AS saved FROM (SELECT model, {_SUMS} FROM attempts GROUP BY model) AS sums
      LEFT JOIN (
        SELECT uses.model AS model, SUM(COALESCE(made.cost, 0)) AS saved FROM uses JOIN made ON made.key = uses.key
        WHERE made.run <> uses.run GROUP BY 1
      ) USING (model) ORDER BY model""",
    "months": f"SELECT strftime('%Y-%m', started, 'unixepoch') AS month, {_SUMS} FROM attempts GROUP BY 1 ORDER BY 1",
    "runs": f"""
      SELECT run, strftime('%Y-%m-%dT%H:%M:%SZ', MAX(started), 'unixepoch') AS last, {_SUMS} FROM attempts
      GROUP BY run ORDER BY MAX(started) DESC LIMIT {_RUNS}""",
    "batches": """
      SELECT mark, name, model, run, strftime('%Y-%m-%dT%H:%M:%SZ', started, 'unixepoch') AS started,
        (SELECT COUNT(*) FROM attempts WHERE batch = mark AND batch <> '' AND status = 'sent') AS calls
      FROM batches WHERE over IS NULL ORDER BY batches.started""",
}
# Which attempt an answer is of, by key. A table with an index: a join with a subquery would take the square of the rows.
_MADE = """
CREATE TEMP TABLE made (key TEXT PRIMARY KEY, run TEXT, language TEXT, cost INTEGER) WITHOUT ROWID;
INSERT OR IGNORE INTO made SELECT key, run, language, cost FROM attempts WHERE status = 'answered' ORDER BY id DESC
"""
_OF = "(:dataset IS NULL OR dataset = :dataset OR answers.key IN (SELECT key FROM uses WHERE dataset = :dataset))"


class Purge(NamedTuple):
    """What is (or would be) deleted: answers and the US dollars they cost, and how many of them other data sets use too."""

    answers: int
    cost: float
    others: Mapping[str, int]
    aside: tuple[Path, ...]


def facts(folder: Path | None = None) -> dict[str, Any]:
    """The ledger in figures: money in US dollars, tokens, times in UTC. ``saved`` is what later runs did not pay again."""
    path = (folder or home()) / "ledger.sqlite"
    if not path.exists():
        return {"path": str(path), "size": 0, "mode": "", "answers": 0, **{name: [] for name in _QUERIES}, "cap": None}
    with _opened(path) as db:
        db.row_factory = sqlite3.Row
        found: dict[str, Any] = {
            "path": str(path),
            "size": sum(file.stat().st_size for file in path.parent.glob("ledger.sqlite*")),
            "mode": f"{stat.S_IMODE(path.stat().st_mode):04o}",
            "answers": db.execute("SELECT COUNT(*) FROM answers").fetchone()[0],
        }
        db.executescript(_MADE)
        for name, query in _QUERIES.items():
            found[name] = [dict(row) for row in db.execute(query)]
            for row in found[name]:
                row.update({word: row[word] / NANO for word in ("spent", "saved") if word in row})
        month = time.strftime("%Y-%m", time.gmtime())
        booked = db.execute("SELECT nano FROM spending WHERE scope = ?", (f"month/{month}",)).fetchone()
    cap = os.environ.get(MONTH_CAP)
    found["cap"] = {"month": month, "cap": cap, "spent": (booked[0] if booked else 0) / NANO} if cap else None
    return found


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures for people."""
    if not found["mode"]:
        yield f"{found['path']}: no ledger as yet, the first call to a model makes it"
        return
    yield f"{found['path']}: {found['answers']:,} answers, {found['size'] / 1e6:,.1f} MB, mode {found['mode']}"
    for title, name, extra in (
        ("model", "models", "saved"),
        ("month", "months", ""),
        (f"last {_RUNS} runs", "runs", ""),
    ):
        rows = found[name]
        if not rows:
            continue
        label = title if name != "runs" else "run"
        wide = max(len(title), *(len(row[label]) for row in rows))
        saved = f"{'saved $':>12}" if extra else ""
        yield f"{title:<{wide}}{'calls':>10}{'failed':>8}{'lost':>8}{'tokens in':>14}{'out':>13}{'spent $':>12}{saved}"
        for row in rows:
            figures = f"{row['calls']:>10,}{row['failed']:>8,}{row['lost']:>8,}"
            tokens = f"{row['prompt_tokens']:>14,}{row['answer_tokens']:>13,}"
            saved = f"{row['saved']:>12,.4f}" if extra else ""
            when = f"  {row['last']}" if name == "runs" else ""
            yield f"{row[label]:<{wide}}{figures}{tokens}{row['spent']:>12,.4f}{saved}{when}"
    for batch in found["batches"]:
        name = batch["name"] or "not confirmed"
        yield f"open batch {batch['mark']} ({name}): {batch['calls']:,} calls of {batch['model']}, since {batch['started']}"
    if cap := found["cap"]:
        yield f"{MONTH_CAP}={cap['cap']}: ${cap['spent']:,.4f} of it used in {cap['month']}, calls under way at their worst case"


def export(out: Path, dataset: str | None, model: str | None, folder: Path | None = None) -> tuple[int, int]:
    """Write answers as JSON lines, for their owner alone; returns how many, and how many were left out since they are not what
    was written. Raises RecipeError when the file is there, and MissingInput for a name that the ledger does not know."""
    if out.exists():
        raise RecipeError(f"--out {out}: it is there already, and is left as it is. Name another file")
    query = f"""
      SELECT {STORED}, key, model, step, answers.run, dataset, answers.cost, created, COALESCE(language, '') FROM answers
      LEFT JOIN made USING (key)
      WHERE {_OF} AND (:model IS NULL OR model = :model) ORDER BY answers.rowid"""
    count = damaged = 0
    with _opened(_there(folder)) as db:
        _check(db, dataset, model)
        db.executescript(_MADE)

        def write(work: Path) -> None:
            nonlocal count, damaged
            descriptor = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                for stored, written, *row in db.execute(query, {"dataset": dataset, "model": model}):
                    if (answer := whole(stored, written)) is None:
                        damaged += 1
                        continue
                    file.write(json.dumps(_line(answer, *row), ensure_ascii=False) + "\n")
                    count += 1

        write_whole(out, write)
    return count, damaged


def _line(
    answer: Mapping[str, Any],
    key: str,
    model: str,
    step: str,
    run: str,
    dataset: str,
    cost: int | None,
    created: float,
    language: str,
) -> dict[str, object]:
    return {
        "key": key,
        "model": model,
        "step": step,
        "language": language,
        "run": run,
        "dataset": dataset,
        "cost": None if cost is None else cost / NANO,
        "prompt_tokens": answer.get("prompt_tokens"),
        "answer_tokens": answer.get("answer_tokens"),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
        "request_id": answer.get("request_id"),
        "finish": answer.get("finish"),
        "answer": answer.get("text"),
    }


def purge(dataset: str | None, older_than: float | None, *, delete: bool, folder: Path | None = None) -> Purge:
    """Delete the answers of a data set, or those older than some days, or what is both; attempts and money stay. Without
    ``delete`` it only counts them. Raises FactoryError while another process uses the ledger."""
    if dataset is None and older_than is None:
        raise RecipeError("factory ledger purge: say what: --dataset NAME, --older-than DAYS, or both")
    path = _there(folder)
    locks = path.parent / "ledger.locks"
    locks.mkdir(exist_ok=True, mode=0o700)
    with Lock(locks / "opening"), _opened(path) as db:
        if delete and in_use(path.parent):
            raise FactoryError(f"the ledger {path} is in use by a run: let that run end, then purge again")
        _check(db, dataset, None)
        before = None if older_than is None else time.time() - older_than * 86_400
        db.execute("CREATE TEMP TABLE chosen (key TEXT PRIMARY KEY)")
        db.execute(
            f"INSERT INTO chosen SELECT key FROM answers WHERE {_OF} AND (:before IS NULL OR created < :before)",
            {"dataset": dataset, "before": before},
        )
        count, nano = db.execute("SELECT COUNT(*), SUM(cost) FROM answers WHERE key IN chosen").fetchone()
        others = db.execute(
            "SELECT dataset, COUNT(*) FROM (SELECT key, dataset FROM answers UNION SELECT key, dataset FROM uses)"
            " WHERE key IN chosen AND dataset IS NOT ? GROUP BY dataset ORDER BY dataset",
            (dataset,),
        ).fetchall()
        if delete:
            _delete(db, path)
    aside = sorted(
        file for file in path.parent.glob("ledger.*") if file.name.startswith(("ledger.damaged", "ledger.rebuilt"))
    )
    return Purge(count, (nano or 0) / NANO, dict(others), tuple(aside))


def _delete(db: sqlite3.Connection, path: Path) -> None:
    """Delete what was chosen so that nothing of it is left in the file, in its log, or in a page that is free."""
    db.execute("PRAGMA secure_delete = ON")
    db.execute("DELETE FROM answers WHERE key IN chosen")
    db.execute("VACUUM")
    (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise FactoryError(
            f"{path}: another program reads it, so its log still holds the answers: purge again without that"
        )


def purge_lines(found: Purge, dataset: str | None) -> Iterator[str]:
    """What a purge is about, for people."""
    yield f"{found.answers:,} answers; they had cost ${found.cost:,.4f}, and a run that needs one again pays again"
    for name, count in found.others.items():
        used = "used by" if dataset is None else "used too by"
        yield f"  {count:,} of them {used} {f'data set {name}' if name else 'calls of no data set'}"
    for file in found.aside:
        yield f"  {file} holds answers too, and is left as it is: delete it by hand"


def _there(folder: Path | None) -> Path:
    path = (folder or home()) / "ledger.sqlite"
    if not path.exists():
        raise MissingInput(f"{path}: no ledger as yet, the first call to a model makes it")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The ledger's file. Raises FactoryError for what SQLite says of it."""
    try:
        db = open_file(path)
        try:
            yield db
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        raise FactoryError(f"{path}: {said(error)}. Mend that, then try again") from None
    except sqlite3.DatabaseError as error:
        raise FactoryError(
            f"{path} is damaged ({said(error)}): the next run that asks a model puts it aside and keeps what reads"
        ) from None


def _check(db: sqlite3.Connection, dataset: str | None, model: str | None) -> None:
    """A name that the ledger does not have is a mistake, not an empty answer."""
    for word, name, query in (
        ("dataset", dataset, "SELECT dataset FROM attempts UNION SELECT dataset FROM uses"),
        ("model", model, "SELECT DISTINCT model FROM attempts"),
    ):
        if name is not None and name not in (known := {row[0] for row in db.execute(query)} - {""}):
            raise MissingInput(f"--{word} {name}: the ledger has no such calls; {nearest(name, known)}")
