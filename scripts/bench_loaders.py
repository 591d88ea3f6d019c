#!/usr/bin/env python3
"""Loaders, audited on every public set of the data folder. Needs the extras `data` and `corpus`.

    FACTORY_DATA=DIR .venv/bin/python scripts/bench_loaders.py [--quick] [--only SECTION] [--json FILE]

    audit      records read, kept and rejected by reason, the same found by a plain reading of the raw files record by record, and
               the counts that the readme of the data folder states
    twins      items of one exam in two sets: how many exact and minhash find
    speed      web pages and PDF beside the bare libraries

Tables go to standard error. The exit code is 1 when a stated figure is not met.
"""

from __future__ import annotations

import sys

from bench.loader_audit import audit
from bench.loader_speed import speed
from bench.loader_twins import twins
from bench.section import run_sections

SECTIONS = {"audit": audit, "twins": twins, "speed": speed}

if __name__ == "__main__":
    sys.exit(run_sections(__doc__, SECTIONS, "twins in fewer sets; the goals stay"))
