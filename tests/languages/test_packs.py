"""The packs that ship: whole, and each language told from the others."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from langmill.api import Chat, Drop, Origin, Pack, Row, StepContext, packs_in
from langmill.errors import RecipeError
from langmill.parts.languages import PROMPTS, faults_of, read_pack
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


def test_the_size_of_a_language_is_measured() -> None:
    """What real tokenizers make of our own rows lies in the range that the pack states."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("litellm carries the tokenizers")
    from langmill_plugins.llms.counting import openai_tokens

    rows = Path(__file__).parents[2] / "recipes" / "data"
    english = 0
    for code in CODES:
        records = [
            json.loads(line)
            for kind in ("qa", "passages")
            for line in (rows / f"{kind}.{code}.jsonl").read_text("utf-8").splitlines()
        ]
        text = "\n".join(record.get("text") or f"{record['question']}\n{record['answer']}" for record in records)
        english = english or len(text)
        size = PACKS[code].size
        for model in ("openai/gpt-4o", "openai/gpt-4"):
            tokens = openai_tokens(model, [text])
            assert tokens
            low, high = size.characters_a_token
            assert low * 0.95 <= len(text) / tokens[0] <= high, (code, model, len(text) / tokens[0])
        assert 0.8 < len(text) / english / size.of_english < 1.25, (code, len(text) / english)


def test_a_pack_that_does_not_say_its_size_has_a_wide_one_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    text = (PACKS["es"].folder or Path()).joinpath("pack.yaml").read_text("utf-8")
    folder = tmp_path / "es"
    folder.mkdir()
    (folder / "pack.yaml").write_text(text[: text.index("\nsize:") + 1], "utf-8")
    low, high = read_pack(folder).size.characters_a_token
    own = PACKS["es"].size.characters_a_token
    assert low < own[0] and high > own[1]
    (folder / "pack.yaml").write_text(text.replace("[3.2, 4.6]", "[4.6, 3.2]"), "utf-8")
    with pytest.raises(RecipeError, match="lower one first"):
        read_pack(folder)


def test_filler_is_the_language_at_the_length_asked_for() -> None:
    pack = PACKS["ko"]
    assert len(pack.filler(1000)) == 1000 and len(pack.filler(0)) == 1
    assert pack.filler(1000).startswith(pack.identity.sample)
