"""How many rows a second the default guards look at on one core, and where the time goes."""

from __future__ import annotations

import cProfile
import pstats
import random
from pathlib import Path
from time import process_time

from bench.guard_check import asked_of, check
from bench.guard_pairs import pairs
from bench.section import Section

SETS = ("tico-en-zh", "tico-en-ru", "tico-en-fr", "tico-en-es", "tico-en-ar", "headqa-es-en", "headqa-en-es")
MANY, QUICK = 400, 200  # of each set
LEAST = 1000
TOP = 10


def speed(quick: bool, work: Path, data: Path) -> Section:
    """Running text by units and exam items whole, one by one as `translate` has them checked; the prompts are there already."""
    section = Section("speed")
    table: list[tuple[object, ...]] = []
    spent, rows, everything = 0.0, 0, []
    for number, name in enumerate(SETS):
        every = pairs(name, data)[number :: len(SETS)]  # no text comes twice, since a text is read once
        some = random.Random(17).sample(every, min(len(every), QUICK if quick else MANY))
        asked = [asked_of(pair) for pair in some]
        check(pairs(name, data)[number - 1], asked=asked[0])  # opens models and tables
        began = process_time()
        for pair, what in zip(some, asked, strict=True):
            check(pair, asked=what)
        seconds = process_time() - began
        spent, rows = spent + seconds, rows + len(some)
        characters = sum(len(source) + len(target) for pair in some for _, source, target in pair.pieces()) / len(some)
        table.append((name, len(some), characters, len(some) / seconds))
        everything += list(zip(some, asked, strict=True))
    section.table(("pair", "rows", "characters of both", "rows a second of one core"), table)
    section.figures = {"rows": rows, "rows_per_cpu_second": rows / spent, "sets": table}
    section.goal("row pairs a second of one core, all default guards", rows / spent, ">=", LEAST)
    profile = cProfile.Profile()
    some_rows = random.Random(17).sample(everything, min(len(everything), 1000))
    profile.enable()
    for pair, what in some_rows:
        check(pair, asked=what)
    profile.disable()
    stats = pstats.Stats(profile)
    whole = float(stats.total_tt)  # type: ignore[attr-defined]
    own = sorted(((entry[2], place) for place, entry in stats.stats.items()), reverse=True)[:TOP]  # type: ignore[attr-defined]
    section.lines += ["", "where the time goes, by functions' own time"]
    section.table(
        ("function", "share"), [(f"{Path(file).name}:{name}", f"{time / whole:.1%}") for time, (file, _, name) in own]
    )
    section.figures["profile"] = [(f"{Path(file).name}:{name}", time / whole) for time, (file, _, name) in own]
    return section
