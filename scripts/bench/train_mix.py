"""Draws held against their laws: the priority sampler against its closed form and the published curve, counts, languages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.section import Section
from langmill_plugins.trainers.options import AdapterStage, Balance
from langmill_plugins.trainers.order.drawing import Drawn, draw
from langmill_plugins.trainers.order.steps import arranged
from langmill_plugins.trainers.tokens.examples import Examples

ROWS_OF_WEB_CN, ROWS_OF_SFT, SFT_EPOCHS = 640_621, 142_248, 3
FIRST_MIX = {
    "web_cn": 0.305, "lit_en": 0.215, "web_en": 0.188, "book_cn": 0.121, "ency_cn": 0.051, "book_en": 0.050, "lit_cn": 0.043,
    "ency_en": 0.018,
}  # fmt: skip
"""HuatuoGPT-II (arXiv 2311.09774), figure 3: the share of each source where the run begins. With the weights of its training
code and the rows above they say how many rows each source has."""
WEIGHTS = {"web": 32.0, "lit": 16.0, "ency": 8.0, "book": 4.0, "sft": 1.0}
READ_OFF = [
    (0.60, {"book_cn": 0.45, "book_en": 0.19, "sft": 0.03, "ency_cn": 0.105}),
    (0.80, {"book_cn": 0.58, "book_en": 0.25, "sft": 0.075, "ency_cn": 0.065}),
    (0.86, {"book_cn": 0.59, "book_en": 0.25, "sft": 0.10, "ency_cn": 0.045}),
    (0.965, {"book_cn": 0.385, "book_en": 0.16, "sft": 0.45, "ency_cn": 0.0}),
    (0.99, {"sft": 0.91}),
]
"""The same figure, later in the run, as far as it can be read."""
POINTS = [0.05 + 0.1 * number for number in range(10)]
WIDTH = 0.02  # of the run, around a point: so many draws that chance is below half a percent
MOST_ERROR, MOST_FROM_FIGURE, MOST_SECONDS = 0.01, 0.04, 30.0
PLAIN = AdapterStage(name="one", data="all")
SIZE = 4096  # tokens a line, as published


def mix(quick: bool, work: Path, data: Path) -> Section:
    """A run of the published size (a fifth of it, where it has to be quick), drawn, packed and counted."""
    section = Section("mix")
    examples, stage = _published(0.2 if quick else 1.0)
    began = time.process_time()
    drawn = draw(examples, stage, lambda *parts: 17)
    seconds = time.process_time() - began
    packed, fill = _packed(examples, drawn)
    many, weights = _sources(examples, stage)
    worst = _points(section, examples, many, weights, {"drawn": drawn.example, "packed": packed})
    figure = _figure(section, examples, drawn.example)
    section.goal("largest difference from the closed form, drawn", worst["drawn"], "<=", MOST_ERROR)
    section.goal("largest difference from the closed form, packed", worst["packed"], "<=", MOST_ERROR)
    section.goal("largest difference from the published figure", figure, "<=", MOST_FROM_FIGURE)
    counts = np.bincount(drawn.example, minlength=len(examples))
    wrong = int((counts != np.where(examples.source == examples.sources.index("sft"), SFT_EPOCHS, 1)).sum())
    section.goal("examples that do not come exactly their epochs times", wrong, "==", 0)
    section.goal("largest difference of equal weights from uniform", _uniform(examples), "<=", MOST_ERROR)
    section.goal("largest difference of languages by temperature", _languages(section, quick), "<=", 0.001)
    times = _times(section, 1_000_000 if quick else 5_000_000)
    section.goal("seconds to draw, priority", times["priority"], "<=", MOST_SECONDS)
    section.figures = {
        "draws": len(drawn.example), "seconds": seconds, "window": int(drawn.windows[0]), "fill": fill, "error": worst,
        "from_figure": figure, "times": times,
    }  # fmt: skip
    return section


# --- the published run ---


def _examples(counts: Mapping[tuple[str, str], int], lengths: Any = None) -> Examples:
    """So many examples of each (source, language), without words."""
    sources, languages = (tuple(dict.fromkeys(key[at] for key in counts)) for at in (0, 1))
    many = list(counts.values())
    total = sum(many)
    starts: Any = np.arange(total + 1) if lengths is None else np.append(0, np.cumsum(lengths))
    none: Any = np.zeros(0, np.int32)
    row: Any = np.arange(total, dtype=np.int32)
    source = np.repeat(np.asarray([sources.index(key[0]) for key in counts], np.int16), many)
    language = np.repeat(np.asarray([languages.index(key[1]) for key in counts], np.int16), many)
    return Examples(none, none, starts, row, row, language, source, languages, sources)


def _published(scale: float) -> tuple[Examples, AdapterStage]:
    """The sources of the published run with so large a part of their rows, and its stage."""
    whole = ROWS_OF_WEB_CN * WEIGHTS["web"] / FIRST_MIX["web_cn"]
    rows = {name: whole * share / WEIGHTS[name.split("_")[0]] for name, share in FIRST_MIX.items()}
    counts = {(name, "zh"): round(count * scale) for name, count in {**rows, "sft": float(ROWS_OF_SFT)}.items()}
    dice = np.random.default_rng(5)
    lengths = np.clip(dice.lognormal(np.log(180), 0.8, sum(counts.values())), 8, SIZE).astype(np.int64)
    weights = {name: WEIGHTS[name.split("_")[0]] for name, _ in counts}
    stage = AdapterStage(
        name="one", data="all", sampler="priority", weights=weights, source_epochs={"sft": float(SFT_EPOCHS)}
    )
    return _examples(counts, lengths), stage


def _sources(examples: Examples, stage: AdapterStage) -> tuple[Any, Any]:
    """Draws and weight of each source."""
    epochs = np.asarray([stage.source_epochs.get(name, 1.0) for name in examples.sources])
    return np.bincount(examples.source) * epochs, np.asarray([stage.weights[name] for name in examples.sources])


def _packed(examples: Examples, drawn: Drawn) -> tuple[Any, float]:
    """The examples in the order in which lines bring them, and how full the lines are."""
    steps = arranged(
        drawn.example, drawn.windows, examples.lengths, batch=4, accumulate=4, most_steps=None, size=SIZE, seed=17
    )
    return steps.examples, float(examples.lengths[steps.examples].sum() / (len(steps.lines) * SIZE))


def _left(many: Any, weights: Any, progress: float) -> Any:
    """How many of each source are left at a part of the run: each falls as exp(-weight · s), for the s that leaves so many."""
    low, high = 0.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        gone = 1 - (many * np.exp(-weights * middle)).sum() / many.sum()
        low, high = (middle, high) if gone < progress else (low, middle)
    return many * np.exp(-weights * low)


def _mix(examples: Examples, order: Any, begin: float, end: float) -> Any:
    stretch = examples.source[order[round(begin * len(order)) : round(end * len(order))]]
    return np.bincount(stretch, minlength=len(examples.sources)) / len(stretch)


def _points(
    section: Section, examples: Examples, many: Any, weights: Any, orders: Mapping[str, Any]
) -> dict[str, float]:
    """The mix at ten points of the run, as it should be and as it is; the largest difference of each order."""
    worst = dict.fromkeys(orders, 0.0)
    shown_sources = [examples.sources.index(name) for name in ("web_cn", "book_cn", "sft")]
    rows = []
    for point in POINTS:
        begin, end = point - WIDTH / 2, point + WIDTH / 2
        due = _left(many, weights, begin) - _left(many, weights, end)
        due /= due.sum()
        found = {name: _mix(examples, order, begin, end) for name, order in orders.items()}
        errors = {name: float(np.abs(share - due).max()) for name, share in found.items()}
        worst = {name: max(worst[name], error) for name, error in errors.items()}
        shown = [f"{due[at]:.3f} {found['drawn'][at]:.3f}" for at in shown_sources]
        rows.append((f"{point:.2f}", *shown, *(f"{error:.4f}" for error in errors.values())))
    names = [examples.sources[at] for at in shown_sources]
    section.lines.append(f"{int(many.sum()):,} draws; due and drawn, {WIDTH:.0%} of the run around each point")
    section.table(("part of the run", *names, *(f"off, {name}" for name in orders)), rows)
    return worst


def _figure(section: Section, examples: Examples, order: Any) -> float:
    """The largest difference from what the published figure shows, which can be read to a few hundredths."""
    rows, worst = [], 0.0
    for point, shares in READ_OFF:
        found = _mix(examples, order, point - 0.004, point + 0.004)
        cells = []
        for name in READ_OFF[0][1]:
            mine, share = float(found[examples.sources.index(name)]), shares.get(name)
            worst = worst if share is None else max(worst, abs(mine - share))
            cells.append(f"{'-' if share is None else f'{share:.3f}'} {mine:.3f}")
        rows.append((f"{point:.3f}", *cells))
    section.lines.append("")
    section.lines.append("the published figure and this run")
    section.table(("part of the run", *READ_OFF[0][1]), rows)
    return worst


def _uniform(examples: Examples) -> float:
    """The largest difference of a source's share from its share of the whole, at any of the ten points, all weights alike."""
    order = draw(examples, PLAIN.model_copy(update={"sampler": "priority"}), lambda *parts: 17).example
    due = np.bincount(examples.source) / len(examples)
    return max(
        float(np.abs(_mix(examples, order, point - WIDTH / 2, point + WIDTH / 2) - due).max()) for point in POINTS
    )


# --- languages, and time ---


def _languages(section: Section, quick: bool) -> float:
    """The largest difference of a language's share from its share to the power of 1/temperature, for three temperatures."""
    many = {"en": 0.50, "zh": 0.25, "ja": 0.10, "es": 0.07, "fr": 0.05, "ru": 0.02, "ko": 0.01}
    total = 100_000 if quick else 1_000_000
    examples = _examples({("all", name): round(share * total) for name, share in many.items()})
    rows, worst = [], 0.0
    for temperature in (1.0, 2.0, 5.0):
        drawn = draw(
            examples,
            PLAIN.model_copy(update={"languages": Balance(temperature=temperature)}),
            lambda *parts: 17,
        )
        due = np.asarray(list(many.values())) ** (1 / temperature)
        found = np.bincount(examples.language[drawn.example]) / len(drawn.example)
        worst = max(worst, float(np.abs(found - due / due.sum()).max()), abs(len(drawn.example) / total - 1))
        rows.append((f"{temperature:.0f}", *(f"{share:.3f}" for share in found)))
    section.lines.append("")
    section.table(("temperature", *many), rows)
    return worst


def _times(section: Section, count: int) -> dict[str, float]:
    """Processor seconds to draw so many examples of five sources and seven languages, and to make steps of them."""
    dice = np.random.default_rng(7)
    lengths = np.clip(dice.lognormal(np.log(180), 0.8, count), 8, SIZE).astype(np.int64)
    keys = [(source, language) for source in "abcde" for language in ("en", "zh", "ja", "ko", "fr", "es", "ru")]
    each = {key: count // len(keys) + (number < count % len(keys)) for number, key in enumerate(keys)}
    examples = _examples(each, lengths)
    found, rows = {}, []
    for sampler in ("shuffle", "priority"):
        stage = PLAIN.model_copy(update={"sampler": sampler, "weights": {"a": 32.0} if sampler == "priority" else {}})
        began = time.process_time()
        drawn = draw(examples, stage, lambda *parts: 17)
        found[sampler] = time.process_time() - began
        _, fill = _packed(examples, drawn)
        rows.append((sampler, found[sampler], time.process_time() - began - found[sampler], f"{fill:.4f}"))
    section.lines.append("")
    section.lines.append(f"{count:,} examples")
    section.table(("sampler", "s to draw", "s to pack", "fill"), rows)
    return found
