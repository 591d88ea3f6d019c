#!/usr/bin/env python3
"""Filters, measured: what they find, what they wrongly take, how fast, in how much memory. Needs the extras `data` and `ray`.

    FACTORY_DATA=DIR .venv/bin/python scripts/bench_filters.py [--quick] [--only SECTION] [--json FILE]

    near       near-duplicates with a known truth, beside datasketch and rensa
    language   which language a text is in, beside bare fastText
    medical    which text is medical, by published and by own keywords
    planted    real items planted in other wordings, layouts and languages
    chain      all filters over a large Parquet file: the same bytes by every executor and after kills; memory

Peers run in BENCH_PEERS, a Python that has them, and by their own scripts in BENCH_SCRIPTS; what is not there is left out and said.
--quick ends within ten minutes on two cores. Tables go to standard error. The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import sys

from bench.chain import chain
from bench.language import language
from bench.medical import medical
from bench.near import near
from bench.planted import planted
from bench.section import run_sections

SECTIONS = {"near": near, "language": language, "medical": medical, "planted": planted, "chain": chain}

if __name__ == "__main__":
    sys.exit(run_sections(__doc__, SECTIONS, "smaller corpora; the goals stay"))
