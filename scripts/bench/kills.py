"""What a kill costs, and what two processes on one ledger do to each other."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from hashlib import file_digest
from pathlib import Path
from typing import Any

from bench.clients import write_recipe
from bench.section import OPENAI, Section, environment, result, start
from bench.server import Server
from langmill.calls.limits import UNSAVED

LATENCY = 0.1
CONCURRENCY = 32
PATIENCE = 120.0  # seconds until a run counts as hanging


def kill(quick: bool, work: Path, profile: Path | None) -> Section:
    """``factory run`` killed at random moments (kill -9) and started again, beside a run that nobody disturbed."""
    section = Section("kill")
    rows, kills = (500, 5) if quick else (2_000, 20)
    with Server(latency=LATENCY) as server:
        whole = _Run(work / "whole", server, rows)
        whole.finish()
    with Server(latency=LATENCY) as server:
        run, dice = _Run(work / "killed", server, rows), random.Random(3)
        # Shares of the rows answered; the ends reach into the start of the first run and the writing of the last.
        for share in sorted(dice.uniform(-0.05, 1.05) for _ in range(kills)):
            run.kill_at(share, dice.uniform(0, 2 * LATENCY if 0 < share < 1 else 0.5))
        run.finish()
        seen = server.stats()
    attempts = run.attempts()
    asked: dict[str, int] = {}
    lost: dict[str, int] = {}
    for _, key, status in attempts:
        asked[key] = asked.get(key, 0) + 1
        lost[key] = lost.get(key, 0) + (status == "lost")
    resent, resent_seen = sum(count - 1 for count in asked.values()), seen["requests"] - seen["rows"]
    answered_resent = sum(1 for number, key, _ in attempts if number > run.answered.get(key, number))
    unexplained = sum(max(0, count - 1 - lost[key]) for key, count in asked.items())
    section.figures = {
        "rows": rows, "kills": run.kills, "rows_answered_at_kills": run.moments, "begun_at_kills": sum(lost.values()),
        "resent": resent, "resent_seen": resent_seen, "answered_resent": answered_resent, "server": seen,
        "same_bytes": run.output() == whole.output(), "seconds": run.seconds, "undisturbed_seconds": whole.seconds,
    }  # fmt: skip
    begun = sum(lost.values())
    names = (
        "rows",
        "kills",
        "begun at kills",
        "sent again",
        "that had an answer",
        "sent again (server)",
        "answered again",
    )
    figures = (rows, run.kills, begun, resent, answered_resent, resent_seen, seen["again"])
    section.table(names, [figures])
    section.lines.append("begun: in the ledger without an answer, some of them not on their way yet")
    section.lines.append("rows answered at the kills: " + " ".join(str(moment) for moment in run.moments))
    section.goal("kills that hit a living run", run.kills, ">=", kills - 2)
    section.goal("calls sent again though the ledger had their answer", answered_resent, "==", 0)
    section.goal("calls sent again that were not begun at a kill", unexplained, "==", 0)
    most = run.kills * (CONCURRENCY + CONCURRENCY // UNSAVED)
    section.goal("requests sent again (server), of those in flight or not yet on disk", resent_seen, "<=", most)
    section.goal("rows in the output", run.rows_out(), "==", rows)
    section.goal("output is the same, byte for byte", int(run.output() == whole.output()), "==", 1)
    return section


class _Run:
    """A recipe of one step in a folder, run by the command, over and over until it is done."""

    def __init__(self, folder: Path, server: Server, rows: int):
        llm = {"model": OPENAI, "api_base": server.url, "concurrency": CONCURRENCY, "max_tokens": 256}
        self.recipe = write_recipe(folder, range(rows), llm)
        self.folder, self.server, self.rows = folder, server, rows
        self.kills, self.moments, self.seconds = 0, list[int](), 0.0
        self.answered: dict[str, int] = {}  # by key: the last attempt when its answer was first seen in the ledger

    def start(self) -> subprocess.Popen[bytes]:
        """The command, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "langmill.cli", "run", str(self.recipe), "--until", "data", "--out", "out"],
            cwd=self.folder,
            env=environment(LANGMILL_HOME=str(self.folder / "home")),
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "stderr.log").open("wb"),
        )

    def finish(self) -> None:
        """Run to the end. Raises RuntimeError when it fails."""
        began = time.monotonic()
        if code := self.start().wait(PATIENCE):
            raise RuntimeError(f"factory run ended with {code}:\n{(self.folder / 'stderr.log').read_text()[-2000:]}")
        self.seconds += time.monotonic() - began

    def kill_at(self, share: float, pause: float) -> None:
        """Run until so large a share of the rows is answered and calls are in flight, and a while longer; kill -9; look at
        the ledger. A share below 0 is the start, one above 1 the end."""
        began, before = time.monotonic(), self.server.stats()["requests"]
        process = self.start()
        while share > 0 and process.poll() is None and time.monotonic() - began < PATIENCE:
            seen = self.server.stats()
            if seen["rows_answered"] >= min(share, 1.0) * self.rows and (seen["requests"] > before or share > 1):
                break
            time.sleep(0.005)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(pause)
        alive = process.poll() is None
        process.kill()
        process.wait()
        self.seconds += time.monotonic() - began
        if not alive:
            return
        self.kills += 1
        while (seen := self.server.stats())["in_flight"]:  # it ends what it had begun
            time.sleep(0.01)
        self.moments.append(seen["rows_answered"])
        if (self.folder / "home/ledger.sqlite").exists():
            last = max((number for number, _, _ in self.attempts()), default=0)
            for (key,) in self._ledger("SELECT key FROM answers"):
                self.answered.setdefault(key, last)

    def attempts(self) -> list[tuple[int, str, str]]:
        """Every request that the ledger knows of: number, key, status."""
        return self._ledger("SELECT id, key, status FROM attempts ORDER BY id")

    def _ledger(self, query: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.folder / "home/ledger.sqlite")) as db:
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError:  # killed before it had tables
                return []

    def output(self) -> dict[str, str]:
        """The data set's files and their hashes."""
        root = self.folder / "out/answers/data"
        found = {}
        for path in sorted(root.rglob("*.parquet")):
            with path.open("rb") as handle:
                found[str(path.relative_to(root))] = file_digest(handle, "sha256").hexdigest()
        return found

    def rows_out(self) -> int:
        """Rows of the finished data set."""
        import pyarrow.parquet as pq

        root = self.folder / "out/answers/data"
        return sum(pq.read_metadata(path).num_rows for path in root.rglob("*.parquet"))


def two(quick: bool, work: Path, profile: Path | None) -> Section:
    """Two processes, one ledger, the same rows at the same time."""
    section = Section("two")
    rows, rounds = 500, 2 if quick else 5
    table = []
    for number in range(rounds):
        home = work / f"two-{number}"
        with Server(latency=[0.01, 0.1], seed=number) as server:
            asked = {
                "url": server.url,
                "model": OPENAI,
                "rows": rows,
                "concurrency": (8, 64)[number % 2],
                "home": str(home),
            }
            both = [start("engine", {**asked, "run": run, "warm": False, "wait": True}) for run in ("one", "two")]
            for process in both:
                assert process.stdout is not None
                process.stdout.readline()  # it is ready
            for process in both:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            found = [result(process) for process in both]
            seen = server.stats()
        table.append(
            (asked["concurrency"], *(item["ended"].get("answered", 0) for item in found), seen["requests"], seen["again"],
             max(item["seconds"] for item in found))
        )  # fmt: skip
        section.figures[f"round {number + 1}"] = {"ended": [item["ended"] for item in found], "server": seen}
    section.table(("in flight", "answered by one", "by the other", "requests", "answered twice", "seconds"), table)
    section.goal("rows answered in each process, the fewest", min(min(row[1:3]) for row in table), "==", rows)
    section.goal("requests for 500 rows, the most", max(row[3] for row in table), "==", rows)
    section.goal("rows answered twice", sum(row[4] for row in table), "==", 0)
    return section
