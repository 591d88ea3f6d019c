#!/usr/bin/env python3
"""The trainer: how fast rows become tokens and lines, how full lines are, whether draws come as they should, what two stages learn.

    FACTORY_DATA=DIR python scripts/bench_trainer.py [--quick] [--only SECTION] [--json FILE]

    tokens    200,000 rows rendered, tokenised and masked, beside TRL's own preparation of the same rows
    packing   200,000 lengths put into lines, beside TRL's; how full lines are on the real lengths of seven languages
    mix       priority sampling beside its closed form, languages by temperature
    stages    the packaged model through two stages on real rows of seven languages: losses, hand-overs, packed and not

--quick ends within ten minutes on two cores. Tables go to standard error. The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import sys

from bench.section import run_sections
from bench.train_mix import mix
from bench.train_packing import packing
from bench.train_stages import stages
from bench.train_tokens import tokens

SECTIONS = {"tokens": tokens, "packing": packing, "mix": mix, "stages": stages}

if __name__ == "__main__":
    sys.exit(run_sections(__doc__, SECTIONS, "fewer rows, rounds and steps; the goals stay"))
