#!/usr/bin/env python3
"""Calls to models, measured: how fast, what troubles and kills cost, whether a cap holds. Needs the extra `data`.

    .venv/bin/python scripts/bench_llm.py [--quick] [--only SECTION] [--json FILE] [--profile FILE]

A server of its own, on loopback, plays the provider; every client is a process of its own; what is compared is compared
within one run. --quick ends within ten minutes on two cores, all of it takes a quarter of an hour. Tables go to standard error. The
exit code is 1 when a goal is missed. Beside it: bench_start.py, how long the command takes to start; bench_plan.py, how well
`factory plan` foretells the price.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.faults import faults
from bench.kills import kill, two
from bench.money import budget
from bench.section import finish, say, work_folder
from bench.throughput import throughput

SECTIONS = {"throughput": throughput, "faults": faults, "kill": kill, "budget": budget, "two": two}


def main() -> int:
    """Run the sections; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows, runs and kills; the goals stay")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument("--json", type=Path, help="the figures, into a file")
    parser.add_argument("--profile", type=Path, help="cProfile's table of our engine at 512 in flight, into a file")
    options = parser.parse_args()
    done = []
    for name in [options.only] if options.only else SECTIONS:
        say(f"{name} …")
        with work_folder() as work:
            section = SECTIONS[name](options.quick, work, options.profile)
        section.tell()
        done.append(section)
    return finish(done, options.quick, options.json)


if __name__ == "__main__":
    sys.exit(main())
