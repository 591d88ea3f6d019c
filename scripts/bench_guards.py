#!/usr/bin/env python3
"""Integrity guards, measured: what they find of planted faults, what they wrongly find in real translations, how fast.

    FACTORY_DATA=DIR .venv/bin/python scripts/bench_guards.py [--quick] [--only SECTION] [--json FILE]

    clean      real translations: false alarms by set and guard, with and without the errors that are the data's own
    planted    numbers, units, negations, sides, names, languages, options: share caught, by kind and language
    keys       rationales beside another key than they argue for, and replies with their letters out of order
    speed      rows a second of one core, all default guards, and where the time goes
    peer       the numeral filter of OpusFilter on the same faults and the same clean pairs

OpusFilter runs in BENCH_PEERS, a Python that has it; without it the section says so. --quick takes 100 faults of each kind and language
for 500, and 300 pairs of each set for all. Tables go to standard error. The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bench.guard_clean import clean
from bench.guard_keys import keys
from bench.guard_peer import peer
from bench.guard_planted import planted
from bench.guard_speed import speed
from bench.section import finish, say, work_folder

SECTIONS = {"clean": clean, "planted": planted, "keys": keys, "speed": speed, "peer": peer}


def main() -> int:
    """Run the sections; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer faults and pairs; the goals stay")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument("--json", type=Path, help="the figures, into a file")
    options = parser.parse_args()
    data = os.environ.get("FACTORY_DATA")
    if data is None or not Path(data).is_dir():
        parser.error("these figures are of public sets: set FACTORY_DATA to the folder that holds them")
    done = []
    for name in [options.only] if options.only else SECTIONS:
        say(f"{name} …")
        with work_folder() as work:
            section = SECTIONS[name](options.quick, work, Path(data))
        section.tell()
        done.append(section)
    return finish(done, options.quick, options.json)


if __name__ == "__main__":
    sys.exit(main())
