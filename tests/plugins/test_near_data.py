"""Exact and near-duplicates on rows of the public sets: what is really alike is found, what only looks alike stays."""

from __future__ import annotations

import importlib
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from langmill.api import (
    Chat,
    Choice,
    DatasetFilter,
    Drop,
    Origin,
    Row,
    Text,
)
from langmill_plugins.filters.exact import Exact
from langmill_plugins.filters.minhash import MinHash
from langmill_plugins.text.shingling import shingled
from langmill_plugins.text.wording import Sides, folded

sys.path.append(str(Path(__file__).resolve().parents[1]))
sets = importlib.import_module("public_sets")
pytestmark = sets.NEEDS_DATA
CONTEXT, PACKS, load = sets.CONTEXT, sets.PACKS, sets.load


@dataclass
class InMemory:
    """Facts that are at hand."""

    table: pa.Table
    held: int = 0

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def take(self, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        return self.table.select(list(columns or self.table.column_names)).take(pa.array(positions))


def through(part: DatasetFilter, rows: Sequence[Row]) -> dict[str, Drop]:
    """A filter as the core runs it: signed in pieces, sorted by key; keys of one row alone are of no account."""
    tables, facts = [], []
    for start in range(0, len(rows), 500):
        made = part.sign(rows[start : start + 500], CONTEXT)
        places = made.keys.column("row").to_numpy().astype(np.int64) + start
        tables.append(pa.table({"key": made.keys.column("key"), "position": places}))
        facts.append(made.facts)
    table = pa.concat_tables(tables).sort_by([("key", "ascending"), ("position", "ascending")]).combine_chunks()
    drops = part.decide(iter(table.to_batches()), InMemory(pa.Table.from_batches(facts)), CONTEXT)
    return {rows[position].id: drop for position, drop in drops}


def question(row: Row) -> str:
    assert isinstance(row.body, Chat | Choice)
    return row.body.question


def jaccard(one: Sequence[str], other: Sequence[str], language: str) -> float:
    cut = PACKS[language].need("text").shingles
    left, right = (set(shingled([texts], cut.by, cut.size)[0].tolist()) for texts in (one, other))
    return len(left & right) / len(left | right)


def test_equal_questions_with_different_answers_stay_and_so_do_stock_answers() -> None:
    rows = load("medquad")
    known = {row.id: row for row in rows}
    exact, near = through(Exact(), rows), through(MinHash(), rows)
    assert len(exact) == 29 and set(exact) <= set(near)
    assert sum(count - 1 for count in Counter(folded(question(row)) for row in rows).values()) > 400
    assert len(near) < 65  # by question and answer joined there would be over a thousand
    for id, drop in near.items():
        one, other = (Sides.of(known[name].body) for name in (id, drop.like))
        assert drop.like not in near
        # A template filled with another name is no copy: the questions are all but equal, whatever the answers share.
        assert jaccard(one.question, other.question, "en") >= 0.9 and jaccard(one.answer, other.answer, "en") >= 0.45, (
            drop
        )


def test_the_same_items_in_two_layouts_are_found() -> None:
    five, four = load("five"), load("four")
    rows = [*five, *four]
    assert through(Exact(), rows) == {}  # an option is missing in each
    drops = through(MinHash(), rows)
    assert {row.id for row in four} <= set(drops) and len(drops) <= len(four) + 1
    assert all(drop.like.startswith("five/") for drop in drops.values())


def test_generic_stems_need_their_options() -> None:
    rows = load("french")
    stems = Counter(folded(question(row)) for row in rows)
    assert sum(count - 1 for count in stems.values()) > 20
    assert len(through(Exact(), rows)) == 2 and len(through(MinHash(), rows)) < 15


def test_items_that_differ_in_what_is_asked_or_in_the_answer_stay() -> None:
    for name, most in (("cmexam", 20), ("headqa", 25), ("igakuqa", 0)):
        rows = load(name)
        known = {row.id: row for row in rows}
        drops = through(MinHash(), rows)
        assert len(drops) <= most, name
        for id, drop in drops.items():
            one, other = (Sides.of(known[item].body) for item in (id, drop.like))
            assert jaccard(one.answer, other.answer, known[id].language) == 1, drop
            assert len(question(known[id])) > 35 or jaccard(one.question, other.question, known[id].language) >= 0.9, (
                drop
            )


def test_one_exam_in_two_sets_is_found_and_the_rationale_stays() -> None:
    spanish = [row for row in (*load("headqa"), *load("casimedicos")) if row.language == "es"]
    rows = [replace(row, split="train") for row in spanish]
    drops = through(Exact(), rows)
    across = [id for id, drop in drops.items() if id.startswith("headqa/") and "casimedicos/" in drop.detail]
    assert len(across) > 20
    assert Counter(drop.reason for drop in drops.values())["conflicting_answer"] > 0


def sentences(language: str) -> list[str]:
    if language == "en":
        texts = [row.body.answer for row in load("medquad") if isinstance(row.body, Chat)]
        found = [part for text in texts for part in re.split(r"(?<=[.?!])\s+", text)]
        return sorted({" ".join(part.split()) for part in found if 5 < len(part.split()) < 60})
    rows = load("cmexam" if language == "zh" else "igakuqa")
    found = [part for row in rows for part in re.split(r"(?<=[。？！])", question(row))]
    return sorted({part.strip() for part in found if 10 < len(part.strip()) < 120})


@pytest.mark.parametrize("language", ["en", "zh", "ja"])
def test_planted_near_duplicates_are_found_and_nothing_else(language: str) -> None:
    random_of = random.Random(17)
    pool, gap = sentences(language), " " if language == "en" else ""
    cut: Callable[[str], list[str]] = str.split if gap else list
    texts: list[str] = []
    for _ in range(400):
        units: list[str] = []
        while len(units) < (80 if gap else 150):
            units += cut(random_of.choice(pool))
        texts.append(gap.join(units))
    for original in random_of.sample(texts, 120):
        units, share = cut(original), random_of.choice([0, 0.005, 0.01, 0.02, 0.05])
        for place in random_of.sample(range(len(units)), int(len(units) * share)):
            units[place] = random_of.choice(cut(random_of.choice(pool)))
        texts.append(gap.join(units))
    rows = [
        Row(f"s/{index}", language, "train", str(index), Text(text), Origin("s", str(index), ("x",)))
        for index, text in enumerate(texts)
    ]
    drops = through(MinHash(threshold=0.8, recall=0.999), rows)
    cuts = PACKS[language].need("text").shingles
    values, ends = shingled([[text] for text in texts], cuts.by, cuts.size)
    sets = [set(values[start:end].tolist()) for start, end in pairwise(ends)]
    pairs = [
        (i, j) for i in range(len(rows)) for j in range(i) if len(sets[i] & sets[j]) >= 0.8 * len(sets[i] | sets[j])
    ]
    assert len(pairs) > 60
    missed = [pair for pair in pairs if all(f"s/{index}" not in drops for index in pair)]
    assert missed == []
    near = {index for pair in pairs for index in pair}
    assert all(int(id.removeprefix("s/")) in near for id in drops)
