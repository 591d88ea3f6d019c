#!/usr/bin/env python3
"""One GPU, measured: whether the trainer learns, resumes and stays in memory there, and how fast it is beside the peers.

    [FACTORY_DATA=DIR] python scripts/bench_gpu.py --out DIR [--part NAME] [--quick] [--json FILE]

    environment   versions, driver, memory, what a matrix product and a copy reach
    learn         both stages through `factory run`: losses, scores by language before and after
    curves        the same rows in the same steps, ours beside the peers: losses
    speed-2048    an 8B-shaped QLoRA on real lengths: tokens a second, memory and use of the card, six ways
    speed-4096    the same at 4,096 tokens
    estimate      the plan's memory and time beside what was measured, four combinations
    resume        kill -9 and again
    oom           memory runs out: less at once, the same rows
    portable      an adapter trained here answers alike on a CPU
    fit           the longest line by card and model, told and tried
    idle          the share of time in which no kernel runs

Each part takes less than eight minutes on an H100 and leaves NAME.json in the output's folder, where trainings that are done
are not done again (--again: they are). Without --part all are measured. The table at the end is over everything that lies there.
Nothing is fetched: models have random weights, written once to --models. --prepare alone writes rows and tokenizer, to be
carried to a machine that has neither the public sets nor the packaged model, and named there by --prepared. What a package or a
card is missing for is told and does not stop the rest. Without a GPU --quick tries everything that a CPU can, and ends
with 0 whatever it could not measure. The exit code is 1 when something broke off, and on a GPU when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.gpu_kit import Kit
from bench.gpu_sizes import prepare
from bench.gpu_sound import fit, learn, oom, portable, resume
from bench.gpu_speed import curves, environment_of, estimate, idle, read, speed
from bench.section import Section, say

PARTS: Mapping[str, Callable[[Kit], Section]] = {
    "environment": environment_of, "learn": learn, "curves": curves, "speed-2048": lambda kit: speed(kit, 2048),
    "speed-4096": lambda kit: speed(kit, 4096), "estimate": estimate, "resume": resume, "oom": oom, "portable": portable, "fit": fit,
    "idle": idle,
}  # fmt: skip


def main(said: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".langmill/gpu"), help="the folder of full figures; added to")
    parser.add_argument("--part", choices=PARTS, action="append", help="one part; repeatable")
    parser.add_argument("--quick", action="store_true", help="a tiny model and a few steps: is everything in order?")
    parser.add_argument("--json", type=Path, help="the figures of all parts, into one file")
    parser.add_argument("--prepare", action="store_true", help="write rows and tokenizer, and nothing else")
    parser.add_argument("--prepared", type=Path, help="a folder that --prepare wrote; in --out when left out")
    parser.add_argument(
        "--models", type=Path, help="where models of random weights lie (23 GB); in --out when left out"
    )
    parser.add_argument("--base", help="the model that learns, as in train.base; the packaged one when left out")
    parser.add_argument("--again", action="store_true", help="measure again what is in the folder already")
    options = parser.parse_args(said)
    if options.prepare:
        say(f"rows and tokenizer: {prepare(options.prepared or options.out / 'prepared', options.quick)}")
        return 0
    kit = Kit.here(options.out, options.prepared, options.models, options.base, options.quick, options.again)
    if not kit.gpu and not options.quick:
        parser.error("there is no GPU: --quick tries what a CPU can")
    for name in options.part or PARTS:
        say(f"{name} …")
        kit.missing, kit.failed = [], []
        try:
            section = PARTS[name](kit)
        except Exception as fault:  # one part's failure must not cost the figures of the others
            section = Section(name)
            kit.broke(name, f"{type(fault).__name__}: {fault}")
            kit.lacking(name, "it broke off")
        section.tell()
        kit.keep(name, section)
    return finish(kit, options.json)


def finish(kit: Kit, to: Path | None) -> int:
    """A short table over all parts in the folder, what was not measured, and the exit code."""
    parts = {name: read(kit.out / f"{name}.json") for name in PARTS if (kit.out / f"{name}.json").is_file()}
    if to is not None:
        to.write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", "utf-8")
    say(f"\n{len(parts)} of {len(PARTS)} parts in {kit.out}")
    missed = failed = 0
    for name, part in parts.items():
        away = [goal for goal in part["goals"] if not goal["met"]]
        broken = part.get("failed", [])
        missed, failed = missed + len(away), failed + len(broken)
        words = f"{len(part['goals']) - len(away)} goals met, {len(away)} missed" + (
            f", {len(broken)} broke off" if broken else ""
        )
        say(f"  {name:<12} {part['device']:<24} {words}")
        for line in broken:
            say(f"    BROKE OFF {line}")
        for goal in away:
            say(f"    MISSED {goal['what']}: {goal['value']:.4g}, goal {goal['sign']} {goal['bound']:g}")
    for part in parts.values():
        for line in part["not_measured"]:
            say(f"  not measured: {line}")
    for name in PARTS:
        if name not in parts:
            say(f"  not measured: {name}")
    return 1 if failed or (missed and kit.gpu) else 0


if __name__ == "__main__":
    sys.exit(main())
