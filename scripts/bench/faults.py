"""What troubles cost: refusals, errors, broken answers, and a provider that takes fewer at once than it is asked."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

from bench.section import OPENAI, Section, result, start
from bench.server import REFUSAL_SECONDS, Server

LATENCY = 0.2
PATIENCE = 8  # times the ideal until a run counts as hanging
REASONS = ("answered", "schema", "truncated", "empty", "refusal", "provider")  # how a row may end


def faults(quick: bool, work: Path, profile: Path | None) -> Section:
    """Every row ends as an answer or as a reject with a reason, and the provider's limit is used."""
    section = Section("faults")
    hard = {"refuse": 0.2, "broken": 0.05, "cut": 0.01, "garbled": 0.01, "retry_after": 1}
    every = {
        "refuse": 0.1, "broken": 0.03, "cut": 0.02, "garbled": 0.02, "truncated": 0.02, "stall": 0.01, "drop": 0.02,
        "uncounted": 0.02, "retry_after": 1,
    }  # fmt: skip
    runs: list[tuple[str, int, int, dict[str, Any], float]] = [
        ("20% 429, 5% 500, 2% malformed", 3_000, 64, hard, 60.0),
        ("every trouble", 500 if quick else 1_000, 64, every, 3.0),
        ("room for 32, 128 asked", 1_000, 128, {"room": 32, "retry_after": 1}, 60.0),
    ]
    table = []
    for name, count, concurrency, options, timeout in runs:
        found, seen, ideal = _run(work / name.replace(" ", "-"), count, concurrency, options, timeout)
        ended = found["ended"]
        lost = count - sum(ended.get(reason, 0) for reason in REASONS)
        rejected = count - lost - ended.get("answered", 0)
        section.figures[name] = {
            "rows": count, "concurrency": concurrency, "seconds": found["seconds"], "ideal_seconds": ideal, "ended": ended,
            "lost": lost, "doubled": seen["again"], "requests_per_row": seen["requests"] / count, "server": seen,
        }  # fmt: skip
        share = ideal / found["seconds"]
        table.append(
            (name, count, ended.get("answered", 0), rejected, lost, seen["again"], seen["requests"] / count,
             seen["refused"], found["seconds"], ideal, share)
        )  # fmt: skip
        section.goal(f"{name}: rows lost, or not ended in time", lost, "==", 0)
        section.goal(f"{name}: rows answered twice", seen["again"], "==", 0)
        if options is hard:
            section.goal(f"{name}: goodput, of what the server allows", share, ">=", 0.75)
        if "room" in options:
            section.goal(f"{name}: seconds (rows * latency / room is 6.25)", found["seconds"], "<=", 7.5)
            section.goal(f"{name}: rows answered", ended.get("answered", 0), "==", count)
    names = (
        "trouble",
        "rows",
        "answered",
        "rejected",
        "lost",
        "twice",
        "requests/row",
        "429s",
        "seconds",
        "ideal",
        "of ideal",
    )
    section.table(names, table)
    section.lines.append(
        "ideal: no place is idle while there is something to send, what failed is sent again at once, what was refused as"
        " soon as Retry-After is over"
    )
    return section


def _run(
    folder: Path, rows: int, concurrency: int, options: dict[str, Any], timeout: float
) -> tuple[dict[str, Any], dict[str, Any], float]:
    """What the client found, what the server saw, and the ideal in seconds."""
    with Server(latency=LATENCY, **options) as server:
        asked = {"url": server.url, "model": OPENAI, "rows": rows, "concurrency": concurrency, "home": str(folder)}
        places = min(concurrency, server.options["room"] or concurrency)
        ideal = ideal_seconds(server, rows, places, timeout)
        client = start("engine", {**asked, "llm": {"timeout": timeout}, "warm": False})
        return result(client, PATIENCE * ideal), server.stats(), ideal


def ideal_seconds(server: Server, rows: int, places: int, timeout: float) -> float:
    """How long it takes at least: the rows in order over so many places, none of which is ever idle while there is something
    to send. A request that is taken holds its place for the latency, a refused one until it is refused, one that is never
    answered until the time-out; a row is asked again before a new one is begun, a refused one once Retry-After is over."""
    free = [0.0] * places
    again: list[tuple[float, int, int]] = []
    begun, last = 0, 0.0
    while begun < rows or again:
        now = heapq.heappop(free)
        if begun == rows or (again and again[0][0] <= now):
            due, row, attempt = heapq.heappop(again)
            now = max(now, due)
        else:
            row, attempt, begun = begun, 1, begun + 1
        trouble = server.fate(row, attempt)
        now += {"refuse": REFUSAL_SECONDS, "stall": timeout}.get(trouble, LATENCY)
        heapq.heappush(free, now)
        last = max(last, now)
        if trouble not in ("", "uncounted"):
            wait = server.options["retry_after"] if trouble == "refuse" else 0.0
            heapq.heappush(again, (now + wait, row, attempt + 1))
    return last
