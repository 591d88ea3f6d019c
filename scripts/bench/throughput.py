"""How fast: rows a second and CPU a call, beside bare loops on the same server in the same run."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from bench.section import CLAUDE, OPENAI, Section, result, say, start
from bench.server import Server

LATENCY = 0.2
GENERAL_CONCURRENCY = 64
FLOORS = {"engine": {128: 0.95, 512: 0.80}, "pipeline": {128: 0.85, 512: 0.60}}
"""Of the bare loop's rows a second, by calls in flight. The pipeline's time holds all of a run: reading rows, making and
writing a data set of them, its card and the report."""
MOST_CPU = {"engine": 0.4, "pipeline": 0.8}
"""Milliseconds a call on a machine where the bare loop takes 0.2, and so many more where it takes more."""
BARE_CPU = 0.2
GENERAL_FLOOR = 0.9


def throughput(quick: bool, work: Path, profile: Path | None) -> Section:
    """One-step rows at 200 ms, ramp-up, ledger and validation included; ideal: rows * latency / calls in flight."""
    section = Section("throughput")
    rounds, rows, general_rows = (1, 5_000, 1_000) if quick else (2, 20_000, 1_000)
    runs: list[dict[str, Any]] = []

    def measure(client: str, model: str, rows: int, concurrency: int, **more: Any) -> None:
        folder = work / f"{client}-{len(runs)}"
        options = {"model": model, "rows": rows, "concurrency": concurrency, "folder": str(folder), **more}
        with Server(latency=LATENCY) as server:
            url = server.url if model == OPENAI else server.origin
            found = result(start(client, {**options, "url": url, "home": str(folder / "home")}))
            seen = server.stats()
        answered = found["ended"].get("answered", 0)
        if answered != rows or seen["again"]:
            raise RuntimeError(f"{client}: {answered} of {rows} rows answered, {seen['again']} twice: {found['ended']}")
        runs.append(
            {
                "client": client, "model": model, "concurrency": concurrency, "rows": rows, "seconds": found["seconds"],
                "rows_per_second": rows / found["seconds"], "efficiency": rows * LATENCY / concurrency / found["seconds"],
                "cpu_ms": 1000 * found["cpu"] / rows, "rss_mb": found["rss"],
                "phases": found.get("phases", {}), "server_cpu_us": 1e6 * seen["cpu"] / seen["requests"],
            }
        )  # fmt: skip
        say(f"  {client} {model} at {concurrency}: {found['seconds']:.2f} s")

    for number in range(rounds):
        for concurrency in FLOORS["engine"]:
            for client in ("bare", "engine", "pipeline"):
                measure(client, OPENAI, rows, concurrency)
        for client in ("litellm", "engine"):
            measure(client, CLAUDE, general_rows, GENERAL_CONCURRENCY)
        say(f"  round {number + 1} of {rounds}")
    if profile is not None:
        measure("engine", OPENAI, rows, max(FLOORS["engine"]), profile=str(profile))
        del runs[-1]

    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["model"], run["client"], run["concurrency"]), []).append(run)
    middle = {
        place: {
            name: median(run[name] for run in same) for name in ("rows_per_second", "efficiency", "cpu_ms", "rss_mb")
        }
        for place, same in groups.items()
    }
    table = []
    for (model, client, concurrency), figures in middle.items():
        floor = middle[model, "bare" if model == OPENAI else "litellm", concurrency]
        ratio = figures["ratio"] = figures["rows_per_second"] / floor["rows_per_second"]
        name = {"bare": "bare aiohttp", "litellm": "bare acompletion"}.get(client, f"ours, {client}")
        table.append(
            (f"{name}{' (general)' if model != OPENAI else ''}", concurrency, *list(figures.values())[:4], ratio)
        )
        if client in ("bare", "litellm"):
            continue
        if model != OPENAI:
            section.goal("general path, of a bare acompletion loop", ratio, ">=", GENERAL_FLOOR)
            continue
        section.goal(f"{client} at {concurrency}, of a bare aiohttp loop", ratio, ">=", FLOORS[client][concurrency])
        most = MOST_CPU[client] * max(1.0, floor["cpu_ms"] / BARE_CPU)
        section.goal(f"{client} at {concurrency}, CPU milliseconds a call", figures["cpu_ms"], "<=", most)
    section.table(("client", "in flight", "rows/s", "of ideal", "CPU ms/call", "peak MB", "of bare"), table)
    for run in runs:
        if phases := ", ".join(f"{name} {seconds:.2f} s" for name, seconds in run["phases"].items()):
            section.lines.append(f"pipeline at {run['concurrency']}: {phases}")
    section.lines.append(f"server: {median(run['server_cpu_us'] for run in runs):.0f} microseconds of CPU a request")
    section.figures = {"runs": runs, "latency": LATENCY}
    return section
