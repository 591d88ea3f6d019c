"""Whether a cap holds: random runs, some killed, some two at once, and a server that reckons what it really charges."""

from __future__ import annotations

import random
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.clients import question
from bench.section import OPENAI, Section, result, start
from bench.server import Server

KINDS = ("whole", "killed", "two at once")
TROUBLES = {
    "refuse": 0.05, "broken": 0.03, "cut": 0.03, "garbled": 0.04, "truncated": 0.04, "stall": 0.01, "drop": 0.03,
    "uncounted": 0.05, "retry_after": 0.05,
}  # fmt: skip


def budget(quick: bool, work: Path, profile: Path | None) -> Section:
    """Money spent, by the server's own account, as a share of the cap."""
    section = Section("budget")
    runs = [_one(number, work / f"budget-{number}") for number in range(15 if quick else 50)]
    table = []
    for kind in KINDS:
        for troubled in (False, True):
            stopped = [run for run in runs if (run["kind"], run["troubled"], run["stopped"]) == (kind, troubled, True)]
            if not stopped:
                continue
            spent, left = sorted(run["spent"] for run in stopped), median(run["calls_left"] for run in stopped)
            name = f"{kind}{', troubled' if troubled else ''}"
            table.append((name, len(stopped), spent[0], median(spent), spent[-1], left))
    names = ("stopped by the cap", "runs", "spent/cap: least", "median", "most", "left, in longest calls")
    section.table(names, table)
    section.lines.append(
        "left over: what was lost on the way, not counted or begun at a kill is held back as the longest possible, and so is"
        " the call that did not fit any more"
    )
    section.figures = {"runs": runs}
    section.goal("most money spent, of the cap", max(run["spent"] for run in runs), "<=", 1.0)
    section.goal("runs that the cap stopped", sum(run["stopped"] for run in runs), ">=", len(runs) // 4)
    return section


def _one(number: int, home: Path) -> dict[str, Any]:
    """One random run: its kind, its cap in US dollars, the share of it that was spent, and whether it stopped for it."""
    dice, kind = random.Random(number), KINDS[number % len(KINDS)]
    prices = (dice.uniform(0.1, 3) * 1e-6, dice.uniform(0.5, 15) * 1e-6)
    length = dice.choice(((0.05, 0.3), (0.3, 1.0), (1.0, 1.0)))
    most, rows = dice.choice((64, 256, 1024)), dice.randint(40, 150)
    need = rows * (len(question(0)) / 3 * prices[0] + most * sum(length) / 2 * prices[1])
    longest = 1_500 * prices[0] + most * prices[1]  # about what is held back for one call
    cap = max(need * dice.uniform(0.2, 1.5), 4 * longest)
    options = {
        "model": OPENAI, "rows": rows, "concurrency": dice.choice((1, 4, 16, 64)), "home": str(home), "warm": False,
        "llm": {
            "max_tokens": most, "timeout": 1.0, "prices": {"input": prices[0] * 1e6, "output": prices[1] * 1e6},
        },
    }  # fmt: skip
    troubles = TROUBLES if dice.random() < 0.7 else {}
    with Server(latency=[0.005, 0.08], prices=prices, length=length, seed=number, **troubles) as server:
        options["url"] = server.url
        if kind == "two at once":
            others = {**options, "rows": [rows // 2, rows // 2 + rows], "run": "other"}
            both = [start("engine", asked, LANGMILL_MAX_COST=repr(cap)) for asked in (options, others)]
            found = [result(process) for process in both]
        else:
            options["budget"] = cap
            for _ in range(dice.randint(1, 3) if kind == "killed" else 0):
                _kill_one(options, server, dice)
            found = [result(start("engine", options))]
        while (seen := server.stats())["in_flight"]:
            time.sleep(0.01)
    return {
        "kind": kind, "cap": cap, "charged": seen["charged"] / 1e9, "spent": seen["charged"] / 1e9 / cap,
        "calls_left": (cap - seen["charged"] / 1e9) / longest, "troubled": bool(troubles),
        "stopped": any("BudgetReached" in item["ended"] for item in found), "ended": [item["ended"] for item in found],
    }  # fmt: skip


def _kill_one(options: dict[str, Any], server: Server, dice: random.Random) -> None:
    """Start a run and kill -9 it a random while after its first request, if it has one."""
    before, process = server.stats()["requests"], start("engine", options)
    while server.stats()["requests"] == before and process.poll() is None:
        time.sleep(0.01)
    time.sleep(dice.uniform(0, 0.5))
    process.kill()
    process.communicate()
