"""The filters on rows of the public sets: what is really alike is found, what only looks alike stays."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pytest

from langmill.api import (
    Chat,
    Choice,
    Drop,
    Filter,
    Flag,
    Loader,
    Origin,
    Row,
    SourceContext,
    StepContext,
    Text,
    packs_in,
)
from langmill_plugins.filters.decontaminate import Decontaminate
from langmill_plugins.filters.exact import Exact
from langmill_plugins.filters.language_id import LanguageId
from langmill_plugins.filters.minhash import MinHash, likeness, shingle_sets
from langmill_plugins.filters.sound_choice import SoundChoice
from langmill_plugins.filters.wording import folded
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.medquad import MedQuad
from langmill_plugins.loaders.rumeddanet import RuMedDaNet

DATA = Path(os.environ.get("FACTORY_DATA", ""))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set"),
]
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
SETS: dict[str, Callable[[], Loader]] = {
    "five": lambda: MedQA(path="$data_dir/medqa-usmle", license="x"),
    "four": lambda: MedQA(path="$data_dir/medqa-usmle-4opt", license="x"),
    "medquad": lambda: MedQuad(path="$data_dir/medquad", license="x"),
    "cmexam": lambda: CMExam(path="$data_dir/cmexam", license="x"),
    "igakuqa": lambda: IgakuQA(path="$data_dir/igakuqa", license="x"),
    "french": lambda: FrenchMedMCQA(path="$data_dir/frenchmedmcqa", license="x"),
    "headqa": lambda: HeadQA(path="$data_dir/headqa", license="x"),
    "casimedicos": lambda: CasiMedicos(path="$data_dir/casimedicos", license="x"),
    "korean": lambda: KorMedMCQACoT(path="$data_dir/kormedmcqa-cot", license="x"),
    "russian": lambda: RuMedDaNet(path="$data_dir/rumedbench/data/RuMedDaNet", license="x"),
}


@lru_cache
def load(name: str) -> tuple[Row, ...]:
    loader = SETS[name]()
    context = SourceContext("sources.s", 17, PACKS, Path(), DATA, source=name, license="x", splits=loader.splits)
    return tuple(item for item in loader.load(context) if isinstance(item, Row))


def through(part: Filter, rows: Sequence[Row]) -> dict[str, Drop]:
    """A filter of scope dataset as the core runs it: signed in pieces, sorted, streamed in pieces."""
    tables = []
    for start in range(0, len(rows), 500):
        some = rows[start : start + 500]
        batch = part.sign(some, CONTEXT)
        place = {item.id: start + index for index, item in enumerate(some)}
        position = pa.array([place[id] for id in batch.column("id").to_pylist()], pa.int64())
        tables.append(pa.Table.from_batches([batch]).append_column("position", position))
    table = pa.concat_tables(tables).sort_by([("key", "ascending"), ("position", "ascending")])
    known = {item.id: item for item in rows}
    return dict(part.decide(iter(table.to_batches(1000)), lambda ids: {id: known[id] for id in ids}, CONTEXT))


def question(row: Row) -> str:
    assert isinstance(row.body, Chat | Choice)
    return row.body.question


def rejected(part: Filter, rows: Sequence[Row], context: StepContext = CONTEXT) -> list[Row]:
    verdicts = part.judge(rows, context)
    return [row for row, verdict in zip(rows, verdicts, strict=True) if isinstance(verdict, Drop)]


# --- near-duplicates ---


def test_equal_questions_with_different_answers_stay_and_so_do_stock_answers() -> None:
    rows = load("medquad")
    known = {row.id: row for row in rows}
    exact, near = through(Exact(), rows), through(MinHash(), rows)
    assert len(exact) == 29 and set(exact) <= set(near)
    asked = Counter(folded(question(row)) for row in rows)
    repeated = [row for row in rows if asked[folded(question(row))] > 1]
    assert len(repeated) > 800
    left = Counter(folded(question(row)) for row in rows if row.id not in near)
    assert sum(left[name] for name, count in asked.items() if count > 1) >= len(repeated) - len(near)
    assert len(near) < 50  # by question and answer joined there would be over a thousand
    for id, drop in near.items():
        kept = known[drop.detail.split(" with ")[1]]
        both = likeness(shingle_sets(known[id], CONTEXT), shingle_sets(kept, CONTEXT), 0.0)
        assert both >= 0.8 and kept.id not in near, drop


def test_the_same_items_in_two_layouts_are_found() -> None:
    five, four = load("five"), load("four")
    rows = [*five, *four]
    assert through(Exact(), rows) == {}  # an option is missing in each
    drops = through(MinHash(), rows)
    assert set(drops) == {row.id for row in four}
    for id, drop in drops.items():
        assert drop.detail.split(" with ")[1].startswith("five/"), id


def test_generic_stems_need_their_options() -> None:
    rows = load("french")
    stems = Counter(folded(question(row)) for row in rows)
    assert sum(count - 1 for count in stems.values()) > 20
    assert len(through(Exact(), rows)) == 2 and len(through(MinHash(), rows)) < 15


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
    drops = through(MinHash(), rows)
    sets = [shingle_sets(row, CONTEXT) for row in rows]
    pairs = [(i, j) for i in range(len(rows)) for j in range(i) if likeness(sets[i], sets[j], 0.8) >= 0.8]
    assert len(pairs) > 60
    missed = [pair for pair in pairs if all(f"s/{index}" not in drops for index in pair)]
    assert missed == []
    near = {index for pair in pairs for index in pair}
    assert all(int(id.removeprefix("s/")) in near for id in drops)


# --- language ---


@pytest.mark.parametrize(
    ("language", "name", "most"),
    [
        ("en", "medquad", 0.002), ("zh", "cmexam", 0.002), ("ja", "igakuqa", 0.009), ("fr", "french", 0.002),
        ("es", "headqa", 0.002), ("ru", "russian", 0.005),
    ],
)  # fmt: skip
def test_rows_in_their_language_stay_and_are_found_under_another_name(language: str, name: str, most: float) -> None:
    rows = [row for row in load(name) if row.language == language][:1200]
    assert len(rows) > 1000
    assert len(rejected(LanguageId(), rows)) / len(rows) <= most
    for claim in PACKS:
        if claim != language:
            verdicts = LanguageId().judge([replace(row, language=claim) for row in rows], CONTEXT)
            told = [verdict for verdict in verdicts if verdict != Flag("too_short_to_tell")]
            assert sum(isinstance(verdict, Drop) for verdict in told) / len(told) >= 0.95, claim


def test_english_reasoning_in_korean_answers_is_found() -> None:
    rows = load("korean")

    def hangul(row: Row) -> float:
        assert isinstance(row.body, Choice)
        korean = len(re.findall("[가-힣]", row.body.explanation or ""))
        return korean / max(1, korean + len(re.findall("[A-Za-z]", row.body.explanation or "")))

    english = [row for row in rows if hangul(row) < 0.3]
    korean = [row for row in rows if hangul(row) > 0.5]
    assert len(english) > 350 and len(korean) > 500
    assert len(rejected(LanguageId(), english)) >= 0.98 * len(english)
    assert len(rejected(LanguageId(), korean)) <= 0.01 * len(korean)


# --- items and contamination ---


def test_sound_items_stay() -> None:
    for name in ("five", "cmexam", "igakuqa", "french", "headqa", "korean"):
        rows = [row for row in load(name) if isinstance(row.body, Choice)]
        assert len(rejected(SoundChoice(), rows)) <= 0.01 * len(rows), name
    spoilt = replace(load("french")[0], body=Choice("Quel est l'os ?", ("Fémur", "fémur "), (0,)))
    assert rejected(SoundChoice(), [spoilt]) == [spoilt]


def test_test_items_are_found_among_training_rows() -> None:
    five, four = load("five"), load("four")
    context = replace(CONTEXT, rows=lambda name, split: iter([row for row in five if row.split == split]))
    train = [replace(row, split="train") for row in four]
    assert rejected(Decontaminate(against="bench"), train, context) == train
    others = [row for row in load("headqa") if row.language == "en"][:500]
    assert rejected(Decontaminate(against="bench"), others, context) == []


def test_an_exam_of_one_year_is_clean_of_another_but_for_repeated_items() -> None:
    rows = [row for row in load("headqa") if row.language == "es"]
    dev = [row for row in rows if row.split == "dev"]
    train = [row for row in rows if row.split == "train"]
    context = replace(CONTEXT, rows=lambda name, split: iter(dev if split == "dev" else ()))
    assert 1 <= len(rejected(Decontaminate(against="bench"), train, context)) <= 10
