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

import sys

from bench.guard_clean import clean
from bench.guard_keys import keys
from bench.guard_peer import peer
from bench.guard_planted import planted
from bench.guard_speed import speed
from bench.section import run_sections

SECTIONS = {"clean": clean, "planted": planted, "keys": keys, "speed": speed, "peer": peer}

if __name__ == "__main__":
    sys.exit(run_sections(__doc__, SECTIONS, "fewer faults and pairs; the goals stay"))
