"""The filters on rows made for the purpose: what is dropped, what is kept, and why."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from langmill.api import (
    Body,
    Choice,
    Drop,
    Filter,
    Flag,
    Origin,
    Row,
    Split,
    StepContext,
    Text,
    packs_in,
)
from langmill_plugins.filters.length import Length
from langmill_plugins.filters.sound_choice import SoundChoice

sys.path.append(str(Path(__file__).resolve().parents[1]))
nasty_rows = importlib.import_module("nasty").nasty_rows
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
ANAEMIA = (
    "Iron deficiency develops slowly. The body first uses up its stores, then the marrow makes fewer and smaller red cells, "
    "and at last the haemoglobin falls. People feel tired, look pale and become short of breath when they climb stairs. "
    "Blood loss is the usual cause in adults, and it has to be looked for before the iron is simply replaced."
)
LUNG = (
    "Chronic obstructive disease narrows the airways for good. Smoking is its main cause, dust at work another. Breathing "
    "out takes longer, air is trapped, and the chest becomes wide. Stopping to smoke slows the loss of function at any age."
)


def row(
    id: str, body: Body, *, language: str = "en", split: Split = "train", family: str = "", source: str = "s",
    parents: tuple[str, ...] = (),
) -> Row:  # fmt: skip
    return Row(id, language, split, family or id, body, Origin(source, id, ("CC0-1.0",), parents))


def judge(part: Filter, *rows: Row, context: StepContext = CONTEXT) -> list[Drop | Flag | None]:
    verdicts = part.judge(rows, context)
    assert len(verdicts) == len(rows)
    return verdicts


def reasons(verdicts: Sequence[Drop | Flag | None]) -> list[str]:
    return [verdict.reason if isinstance(verdict, Drop) else verdict.flag if verdict else "" for verdict in verdicts]


# --- sound_choice and length ---


@pytest.mark.parametrize(
    ("language", "body", "reason"),
    [
        ("en", Choice(" ?", ("a", "b"), (0,)), "empty_question"),
        ("en", Choice("Why?", ("a",), (0,)), "too_few_options"),
        ("en", Choice("Why?", ("a", "\u3000"), (0,)), "empty_option"),
        ("ja", Choice("どれか。", ("ＣＴ", "CT"), (0,)), "repeated_option"),
        ("en", Choice("The rash is shown in the image. What is it?", ("a", "b"), (0,)), "needs_image"),
        ("en", Choice("A chest x-ray of the man is shown below. What is it?", ("a", "b"), (0,)), "needs_image"),
        ("en", Choice("A chest x-ray shows an opacity. The results are shown below: Na 140.", ("a", "b"), (0,)), ""),
        ("zh", Choice("结合模式如图所示，该结合形式是", ("甲", "乙"), (0,)), "needs_image"),
        ("zh", Choice("心电图示ST段抬高，超声见图像模糊，最可能的诊断是", ("甲", "乙"), (0,)), ""),
        ("ja", Choice("胸部エックス線写真（別冊No. 1）を別に示す。診断はどれか。", ("甲", "乙"), (0,)), "needs_image"),
        (
            "ja",
            Choice("心電図は正常である。胸部エックス線写真で異常を認めない。診断はどれか。", ("甲", "乙"), (0,)),
            "",
        ),
        ("ko", Choice("흉부 X선사진은 다음과 같다. 진단은?", ("갑", "을"), (0,)), "needs_image"),
        ("ko", Choice("흉부 X선사진에서 이상이 없었다. 진단은?", ("갑", "을"), (0,)), ""),
        ("fr", Choice("Sur la figure ci-dessous, quel est l'os 3 ?", ("a", "b"), (0,)), "needs_image"),
        ("fr", Choice("Parmi les molécules suivantes, laquelle est un antibiotique ?", ("a", "b"), (0,)), ""),
        (
            "es",
            Choice("Pregunta vinculada a la imagen nº 3. ¿Cuál es el diagnóstico?", ("a", "b"), (0,)),
            "needs_image",
        ),
        ("es", Choice("Las pruebas de imagen son normales. ¿Cuál es el diagnóstico?", ("a", "b"), (0,)), ""),
        ("ru", Choice("Какая кость показана на рисунке?", ("а", "б"), (0,)), "needs_image"),
        ("en", Choice("Slides are obtained (Figures A and B). What is it?", ("a", "b"), (0,)), "needs_image"),
        ("ja", Choice("心雑音の模式図を以下に示す。予測されるのはどれか。", ("a", "b"), (0,)), "needs_image"),
        ("en", Choice("Which genotype has sickle cell trait?", ("AA", "Aa", "aa"), (1,)), ""),
        ("en", Choice("Which genotype has sickle cell trait?", ("AA", "Aa", "A A"), (1,)), ""),
        ("en", Choice("Which genotype has sickle cell trait?", ("AA", "Aa", "\uff21\uff21"), (1,)), "repeated_option"),
        ("en", Choice("Which ion?", ("Na", "\u200b"), (0,)), "empty_option"),
        ("eo", Choice("Kiu osto vidiĝas sur la bildo?", ("a", "b"), (0,)), ""),
        ("ru", Choice("Клиническая картина при циррозе включает:", ("а", "б"), (0,)), ""),
    ],
)
def test_sound_choice(language: str, body: Choice, reason: str) -> None:
    assert reasons(judge(SoundChoice(), row("a", body, language=language))) == [reason]


def test_sound_choice_can_leave_pictures_be() -> None:
    seen = Choice("The rash is shown in the image. What is it?", ("a", "b"), (0,))
    assert judge(SoundChoice(images=False), row("a", seen)) == [None]


def test_length_is_alike_in_every_language() -> None:
    rows = [row(code, Text(PACKS[code].identity.sample), language=code) for code in sorted(PACKS)]
    assert reasons(judge(Length(least=100, most=220), *rows)) == [""] * len(rows)
    assert reasons(judge(Length(least=1), row("a", Text("… !")), row("b", Text("癌")))) == ["too_short", ""]
    assert reasons(judge(Length(most=5), row("a", Text("abcdef")), row("b", Text("肺癌")))) == ["too_long", "too_long"]


def test_a_length_that_no_row_has_is_refused() -> None:
    with pytest.raises(ValidationError, match="least: 9 is more than most: 8"):
        Length(least=9, most=8)
    assert Length(least=8, most=8)


# --- bad input ---


@pytest.mark.parametrize("code", ["en", "ja"])
def test_nothing_that_can_be_read_stops_a_filter(code: str) -> None:
    rows = nasty_rows(row, code)
    for part in (SoundChoice(), Length()):
        judge(part, *rows)
