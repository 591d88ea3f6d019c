"""The packs that ship: whole, and each language told from the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from langmill.api import Chat, Drop, Origin, Pack, Row, StepContext, packs_in
from langmill.languages import PROMPTS, faults_of
from langmill_plugins.filters.language_id import LanguageId

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CODES = ("en", "es", "fr", "ja", "ko", "ru", "zh")


def row(language: str, text: str) -> Row:
    return Row(f"s/{language}", language, "train", "s", Chat.of(text, text), Origin("s", "1", ("CC0-1.0",)))


def test_the_seven_are_there() -> None:
    assert set(PACKS) >= set(CODES)


@pytest.mark.parametrize("pack", PACKS.values(), ids=list(PACKS))
def test_a_pack_is_whole(pack: Pack) -> None:
    assert faults_of(pack) == []
    assert set(pack.templates) == set(PROMPTS)
    assert pack.text and pack.choice
    assert len(pack.choice.letters) >= 10, "exams with ten options exist"
    assert pack.identity.name != pack.identity.native_name or pack.code == "en"


def test_no_two_packs_share_a_prompt_or_a_label() -> None:
    for name in PROMPTS:
        texts = [pack.templates[name] for pack in PACKS.values()]
        assert len(set(texts)) == len(texts), f"'{name}' is in the language itself"
    labels = [label for pack in PACKS.values() for label in pack.identity.lid_labels]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("code", sorted(PACKS))
def test_the_variables_of_a_prompt_stand_in_tags(code: str) -> None:
    """Row text is fenced off, so that a model can tell it from what it is asked."""
    for name in ("expand", "ask", "translate", "translate_choice", "explain", "choice"):
        assert "</" in PACKS[code].templates[name], name


def test_each_sample_is_told_as_its_own_language_and_refused_as_another() -> None:
    context = StepContext("steps[0]", 17, PACKS, Path())
    part = LanguageId()
    own = [row(code, PACKS[code].identity.sample) for code in CODES]
    assert part.judge(own, context) == [None] * len(CODES)
    for claimed in CODES:
        others = [code for code in CODES if code != claimed]
        verdicts = part.judge([row(claimed, PACKS[code].identity.sample) for code in others], context)
        assert all(isinstance(verdict, Drop) for verdict in verdicts), (
            claimed,
            dict(zip(others, verdicts, strict=True)),
        )
