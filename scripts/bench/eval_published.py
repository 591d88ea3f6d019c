"""Whether figures can be believed: published ones that can not be what they say, how often an interval holds what it is of, and how
often chance is called a gain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.section import ROOT, Section
from langmill.api import Item, Marked, Metric
from langmill.scores.intervals import wilson
from langmill.scores.paired import compared
from langmill.scores.published import MEAN, read_published
from langmill.scores.summing import scores_of

MMEDBENCH = ROOT / "recipes/published/mmedbench.yaml"
FLAGGED = 10  # two means, one open model's figure, seven of models behind an API
LANGUAGES = ("en", "zh", "ja", "ko", "fr", "es", "ru")
METRICS = {"right": Metric("share", "right"), "partial": Metric("mean", "partly right")}
SHARE = 0.4
ROWS = (20, 50, 200)
ALIKE, ALONE = 0.5, 0.8  # how often two models, and two editions of a question, share what makes a row hard
OFF = 0.03  # of coverage, beside what chance in so many simulations explains
SIZE = {"en": 1273, "zh": 3426, "ja": 199, "fr": 622, "ru": 256, "es": 2742}
MOST_SECONDS = 10.0


def published(quick: bool, work: Path, data: Path) -> Section:
    """Flags, coverage, false gains, time; all simulated with fixed seeds."""
    section = Section("published")
    times = 200 if quick else 1000
    flagged = _flags(section)
    section.goal("published figures that can not be what they say", flagged, "==", FLAGGED)
    coverage = _coverage(section, times)
    slack = OFF + 2 * (0.95 * 0.05 / times) ** 0.5
    for what, share in coverage.items():
        section.goal(f"coverage, {what}", share, ">=", 0.95 - slack)
    false = _false_gains(section, times // 2)
    for what, share in false.items():
        section.goal(f"{what}", share, "<=", 0.05 + 2 * (0.95 * 0.05 / (times // 2)) ** 0.5)
    seconds = _seconds()
    section.lines.append("")
    section.lines.append(
        f"two models on {sum(SIZE.values()):,} rows in {len(SIZE)} languages compared in {seconds:.2f} s"
    )
    section.goal("seconds to compare two models on a whole benchmark", seconds, "<=", MOST_SECONDS)
    section.figures = {
        "flagged": flagged,
        "coverage": coverage,
        "false": false,
        "seconds": seconds,
        "simulations": times,
    }
    return section


def _flags(section: Section) -> int:
    found = read_published(MMEDBENCH)
    flags = found.flags()
    cells = sum(len(cells.keys() - {MEAN}) for cells in found.scores.values())
    section.lines.append(f"{found.name}: {len(flags)} flags in {cells} figures and {len(found.scores)} means")
    section.table(
        ("model", "figure", "stated", "because"), [(flag.model, flag.cell, flag.stated, flag.why) for flag in flags]
    )
    return len(flags)


def _drawn(random: Any, rows: int, share: float, hard: Any, alike: float) -> Any:
    """Right and wrong, languages x rows; so often as ``alike`` a row is as hard as ``hard`` says, else as chance does."""
    shape = (len(LANGUAGES), rows)
    return np.where(random.random(shape) < alike, hard, random.random(shape)) < share


def _items(values: Any, metric: str = "right") -> tuple[Item, ...]:
    return tuple(
        Item(f"{code}-{at}", code, metric, float(value))
        for code, row_values in zip(LANGUAGES, values, strict=True)
        for at, value in enumerate(row_values)
    )


def _coverage(section: Section, times: int) -> dict[str, float]:
    """How often 95% intervals hold the true figure."""
    random, found = np.random.default_rng(11), {}
    for rows in ROWS:
        hits = dict.fromkeys(("wilson", "bootstrap", "all", "all, shared questions", "the same, families not told"), 0)
        for number in range(times):
            low, high = wilson(int(random.binomial(rows, SHARE)), rows)
            hits["wilson"] += low <= SHARE <= high
            values = random.choice([0.0, 1 / 3, 2 / 3, 1.0], (1, rows), p=[0.4, 0.2, 0.2, 0.2])
            items = tuple(Item(str(at), "en", "partial", float(value)) for at, value in enumerate(values[0]))
            low, high = scores_of(Marked(items), METRICS, number)[0].interval
            hits["bootstrap"] += low <= 0.4 <= high
            apart = _items(_drawn(random, rows, SHARE, 0.0, 0.0))
            together = _items(_drawn(random, rows, SHARE, random.random((1, rows)), ALONE))
            families = {item.row: item.row.split("-")[1] for item in together}
            for what, made, known in (
                ("all", apart, {}),
                ("all, shared questions", together, families),
                ("the same, families not told", together, {}),
            ):
                low, high = scores_of(Marked(made), METRICS, number, known)[-1].interval
                hits[what] += low <= SHARE <= high
        blind = hits.pop("the same, families not told") / times
        mine = {f"{what}, {rows} rows a language": count / times for what, count in hits.items()}
        found |= mine
        section.lines.append("")
        section.table(("95% intervals hold", f"{rows} rows"), [*mine.items(), ("  (families not told)", blind)])
    return found


def _false_gains(section: Section, times: int) -> dict[str, float]:
    """How often two models that are alike are told apart in any of seven languages, and over all; how often a gain is seen."""
    random, found, rows_shown = np.random.default_rng(12), {}, []
    for rows in ROWS:
        apart = over = seen = 0
        for _ in range(times):
            hard = random.random((len(LANGUAGES), rows))
            one, same, better = (
                _facts(_drawn(random, rows, share, hard, ALIKE)) for share in (SHARE, SHARE, SHARE + 0.1)
            )
            lines = compared(one, same)
            apart += any(line.verdict != "not told apart" for line in lines[:-1])
            over += lines[-1].verdict != "not told apart"
            seen += compared(one, better)[-1].verdict == "gain"
        found[f"told apart by chance in any language, {rows} rows"] = apart / times
        found[f"told apart by chance over all, {rows} rows"] = over / times
        rows_shown.append((f"{rows} rows a language", apart / times, over / times, seen / times))
    section.lines.append("")
    section.table(
        ("two models that are alike", "apart in any", "over all", "10 points better: a gain over all"), rows_shown
    )
    return found


def _facts(values: Any) -> dict[str, Any]:
    items = [
        {"row": item.row, "language": item.language, "metric": item.metric, "value": item.value, "weight": 1.0}
        for item in _items(values)
    ]
    kind = {"kind": "share", "about": "right", "better": "higher"}
    return {"name": "simulated", "model": "m", "metrics": {"right": kind}, "items": items}


def _seconds() -> float:
    """Processor seconds of one comparison of the published size."""
    random, sides = np.random.default_rng(13), []
    for share in (0.4, 0.45):
        items = [
            {
                "row": f"{code}-{at}",
                "language": code,
                "metric": "right",
                "value": float(random.random() < share),
                "weight": 1.0,
            }
            for code, rows in SIZE.items()
            for at in range(rows)
        ]
        sides.append({**_facts([[]] * len(LANGUAGES)), "items": items})
    began = time.process_time()
    compared(*sides)
    return time.process_time() - began
