#!/usr/bin/env python3
"""Evaluation: whether scores are what they say, beside another harness, and how fast they come.

    FACTORY_DATA=DIR python scripts/bench_eval.py [--quick] [--only SECTION] [--json FILE]

    control     from row to score: a mark in the right option is learnt in seven languages; with shuffled labels nothing is
    ways        the same mark learnt in two stages, and in one by priority, of the same rows and for the same tokens
    agreement   lm-evaluation-harness on the same model and rows, item by item
    speed       log-likelihoods of options a second, beside the harness
    replies     letters read out of hand-written replies in seven languages
    published   published scores that can not be what they say

--quick takes fewer rows; the goals stay. Tables go to standard error. The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from bench.section import Section, run_sections


def section(name: str) -> Callable[[bool, Path, Path], Section]:
    """A section by name, imported when it is its turn."""

    def run(quick: bool, work: Path, data: Path) -> Section:
        found: Section = getattr(import_module(f"bench.eval_{name}"), name)(quick, work, data)
        return found

    return run


SECTIONS = {name: section(name) for name in ("control", "ways", "agreement", "speed", "replies", "published")}

if __name__ == "__main__":
    sys.exit(run_sections(__doc__, SECTIONS, "fewer rows; the goals stay"))
