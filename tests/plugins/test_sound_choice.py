"""Which exam questions need a picture: found where the sets say so, left alone where they do not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from langmill.api import Choice, Drop, Origin, Row, StepContext, packs_in
from langmill_plugins.filters.sound_choice import SoundChoice

DATA = Path(os.environ.get("FACTORY_DATA", ""))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set"),
]
CONTEXT = StepContext("datasets.x.steps[0]", 17, {pack.code: pack for pack in packs_in("langmill_languages")}, Path())


def headqa(folder: str) -> Iterator[tuple[str, list[str], bool]]:
    for path in sorted((DATA / "headqa" / folder).glob("*.json")):
        for exam in json.loads(path.read_text("utf-8"))["exams"].values():
            for item in exam["data"]:
                yield item["qtext"], [answer["atext"] for answer in item["answers"]], bool(item["image"])


def igakuqa() -> Iterator[tuple[str, list[str], bool]]:
    for path in sorted((DATA / "igakuqa/data").glob("*/*[A-Z].jsonl")):
        for item in map(json.loads, path.read_text("utf-8").splitlines()):
            yield item["problem_text"], item["choices"], not item["text_only"]


@pytest.mark.parametrize("language", ["ja", "es", "en"])
def test_items_that_a_set_marks_as_pictured_are_found(language: str) -> None:
    items = igakuqa() if language == "ja" else headqa("HEAD" if language == "es" else "HEAD_EN")
    told: dict[bool, list[bool]] = {True: [], False: []}
    for number, (question, options, pictured) in enumerate(items):
        body = Choice(question, tuple(options) if len(options) > 1 else ("1", "2"), (0,))
        [verdict] = SoundChoice().judge(
            [Row(f"s/{number}", language, "train", "f", body, Origin("s", "1", ("x",)))], CONTEXT
        )
        told[pictured].append(isinstance(verdict, Drop) and verdict.reason == "needs_image")
    assert len(told[True]) >= 98
    assert sum(told[True]) >= 0.98 * len(told[True])
    assert sum(told[False]) <= 0.005 * len(told[False])
