"""The filters on rows of the public sets: what is really alike is found, what only looks alike stays."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from langmill.api import (
    Chat,
    Choice,
    Drop,
    Filter,
    Row,
    StepContext,
)
from langmill_plugins.filters.sound_choice import SoundChoice

sys.path.append(str(Path(__file__).resolve().parents[1]))
sets = importlib.import_module("public_sets")
pytestmark = sets.NEEDS_DATA
CONTEXT, PACKS, load = sets.CONTEXT, sets.PACKS, sets.load


def question(row: Row) -> str:
    assert isinstance(row.body, Chat | Choice)
    return row.body.question


def rejected(part: Filter, rows: Sequence[Row], context: StepContext = CONTEXT) -> list[Row]:
    verdicts = part.judge(rows, context)
    return [row for row, verdict in zip(rows, verdicts, strict=True) if isinstance(verdict, Drop)]


# --- items ---


def test_sound_items_stay() -> None:
    for name in ("five", "cmexam", "igakuqa", "french", "headqa", "korean"):
        rows = [row for row in load(name) if isinstance(row.body, Choice)]
        assert len(rejected(SoundChoice(), rows)) <= 0.01 * len(rows), name
    spoilt = replace(load("french")[0], body=Choice("Quel est l'os ?", ("Fémur", "fémur "), (0,)))
    assert rejected(SoundChoice(), [spoilt]) == [spoilt]
