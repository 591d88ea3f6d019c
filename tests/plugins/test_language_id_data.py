"""Language identification on rows of the public sets: right claims stay, wrong ones go, foreign passages are found."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from langmill.api import (
    Choice,
    Drop,
    Flag,
    Origin,
    Row,
    Text,
)
from langmill_plugins.filters.language_id import LanguageId

sys.path.append(str(Path(__file__).resolve().parents[1]))
sets = importlib.import_module("public_sets")
pytestmark = sets.NEEDS_DATA
CONTEXT, PACKS, load = sets.CONTEXT, sets.PACKS, sets.load


def dropped(part: LanguageId, rows: Sequence[Row]) -> float:
    """The share of rows that are dropped, of those that are long enough to tell."""
    told = [found for found in part.judge(rows, CONTEXT) if found != Flag("too_short_to_tell")]
    return sum(isinstance(found, Drop) for found in told) / len(told)


@pytest.mark.parametrize("identifier", ["fasttext", "eldc"])
@pytest.mark.parametrize(
    ("language", "name", "most", "least"),
    [
        ("en", "medquad", 0.0, 0.99), ("zh", "cmexam", 0.0, 0.99), ("ja", "igakuqa", 0.004, 0.98),
        ("fr", "french", 0.001, 0.98), ("es", "headqa", 0.001, 0.95), ("ru", "russian", 0.002, 0.98),
    ],
)  # fmt: skip
def test_rows_in_their_language_stay_and_are_found_under_another_name(
    identifier: str, language: str, name: str, most: float, least: float
) -> None:
    part = LanguageId(identifier=identifier)
    rows = [row for row in load(name) if row.language == language][:1000]
    assert len(rows) == 1000
    assert dropped(part, rows) <= most
    for claim in PACKS:
        if claim != language:
            assert dropped(part, [replace(row, language=claim) for row in rows[::5]]) >= least, claim


def hangul(row: Row) -> float:
    assert isinstance(row.body, Choice)
    korean = len(re.findall("[가-힣]", row.body.explanation or ""))
    return korean / max(1, korean + len(re.findall("[A-Za-z]", row.body.explanation or "")))


@pytest.mark.parametrize("identifier", ["fasttext", "eldc"])
def test_english_reasoning_in_korean_answers_is_found(identifier: str) -> None:
    part = LanguageId(identifier=identifier)
    english = [row for row in load("korean") if hangul(row) < 0.3]
    korean = [row for row in load("korean") if hangul(row) > 0.5]
    assert len(english) > 350 and len(korean) > 500
    assert dropped(part, english) >= 0.98
    assert dropped(part, korean) <= 0.01


def test_one_english_sentence_in_a_translation_is_found() -> None:
    texts: dict[str, list[str]] = {"en": [], "es": [], "fr": []}
    for item in load("casimedicos"):
        if isinstance(item.body, Choice) and item.body.explanation:
            texts[item.language].append(item.body.explanation)
    english = [part for text in texts["en"] for part in re.split(r"(?<=[.?!])\s+", text) if len(part) > 80]
    origin = Origin("s", "1", ("x",))
    for language in ("es", "fr"):
        hosts = [re.split(r"(?<=[.?!])\s+", text) for text in texts[language] if text.count(". ") > 5]
        spoilt = [
            Row(str(index), language, "train", "s", Text(" ".join([*parts[:2], english[index], *parts[3:]])), origin)
            for index, parts in enumerate(hosts)
        ]
        found = LanguageId().judge(spoilt, CONTEXT)
        told = [one for one in found if one == Flag("foreign_passage") or (one and one[0] == "mixed_language")]
        assert len(found) > 50 and len(told) >= 0.9 * len(found)
