"""The filter for medical text: what counts as a keyword in every script, thresholds, lists of one's own, bad input."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest

from langmill.api import Drop, MissingInput, Origin, Row, StepContext, Text, packs_in
from langmill.errors import RecipeError
from langmill.parts.languages import faults_of, read_pack
from langmill_plugins.filters.medical_text import Finder, MedicalText

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
WITH_DATA = pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
WEATHER = {
    "en": "The river rose all night, and in the morning the lower fields stood under water. Nobody had seen that since the mill.",
    "es": "El río creció toda la noche y por la mañana los campos bajos estaban cubiertos de agua; nadie recordaba algo parecido.",
    "fr": "La rivière a monté toute la nuit, et au matin les prés étaient sous l'eau. Personne n'avait vu cela depuis le moulin.",
    "ja": "一晩中雨が降り続き、朝になると川の水は橋のたもとまで届いていた。こんな景色を見たのは祖父の代以来だという。",
    "ko": "밤새 비가 내려 아침이 되자 강물이 다리 아래까지 차올랐다. 마을 사람들은 물레방아가 멈춘 뒤로 이런 풍경을 본 적이 없다고 했다.",
    "ru": "Река поднималась всю ночь, и к утру нижние луга стояли под водой. Такого никто не видел с тех пор, как сгорела мельница.",
    "zh": "雨下了一整夜，早晨河水已经漫到桥下的石阶。村里的老人说，自从磨坊停了以后，就再也没有见过这样的景象。",
}


def row(text: str, language: str = "en") -> Row:
    return Row("s/1", language, "train", "1", Text(text), Origin("s", "1", ("CC0-1.0",)))


def dropped(part: MedicalText, rows: Sequence[Row], context: StepContext = CONTEXT) -> list[bool]:
    verdicts = part.judge(rows, context)
    assert all(
        verdict is None or (isinstance(verdict, Drop) and verdict.reason == "not_medical") for verdict in verdicts
    )
    return [verdict is not None for verdict in verdicts]


@pytest.mark.parametrize("code", sorted(WEATHER))
def test_medicine_is_told_from_the_weather(code: str) -> None:
    sample = PACKS[code].identity.sample  # one sentence: too short for four keywords
    part = MedicalText(least_keywords=3)
    assert dropped(part, [row(sample, code), row(WEATHER[code], code)]) == [False, True]


def test_a_drop_says_what_was_found() -> None:
    [verdict] = MedicalText().judge(
        [row("The doctor went to the river, the river rose, and the fields were under water.")], CONTEXT
    )
    assert isinstance(verdict, Drop)
    assert verdict.detail == "1 keywords (least 4), density 0.080 (least 0.02)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Cell, gene (virus); «blood».", 4),  # right beside punctuation
        ("CELL\u3000gene-virus blood's", 4),
        ("ｃｅｌｌ gene\u200b virus/blood", 4),  # full-width, zero-width
        ("cells genetic bloody retrovirus", 0),  # short keywords are whole words
        ("cellular gene.virus\nblood", 3),
    ],
)
def test_words_are_whole_and_stand_beside_punctuation(text: str, found: int) -> None:
    assert Finder(("Cell", "Gene", "virus", "Blood", "cell"), "word").share(text).keywords == found


def test_long_words_and_stems_may_have_endings() -> None:
    finder = Finder(("inflammation", "ulcer*", "T cell", "bone marrow"), "word")
    assert finder.share("inflammations ulcerative bone-marrows").keywords == 3
    assert finder.share("neuroinflammation of a peptic-ulcer").keywords == 1
    assert finder.share("T-cell").keywords == 1 and finder.share("T-cells").keywords == 1
    russian = Finder(PACKS["ru"].keywords, "word")
    assert (
        russian.share("больной жаловался на кашель; назначены антибиотики, через неделю пневмонию излечили").keywords
        >= 4
    )


def test_unspaced_scripts_are_searched_anywhere_but_latin_letters_are_whole_words() -> None:
    finder = Finder(("糖尿病", "CT", "B型肝炎", "B型肝炎ワクチン"), "character")
    assert finder.share("２型糖\n尿病の患者にＣＴ検査とＢ 型肝炎の検査").keywords == 3
    assert finder.share("factory, CTA, HB型肝炎").keywords == 0
    assert Finder(("당뇨",), "character").share("당뇨병성 망막증을").keywords == 1


def test_density_counts_a_character_once() -> None:
    finder = Finder(("red blood cell", "blood", "blood cell", "cell"), "word")
    found = finder.share("red blood cell")
    assert (found.keywords, found.density) == (4, 1.0)
    assert finder.share("a red blood cell, a cell").density == pytest.approx(18 / 23)
    assert Finder(("心筋", "心筋梗塞", "梗塞"), "character").share("急性心筋梗塞、").density == pytest.approx(4 / 7)
    assert Finder(("abc", "bcd", "cde"), "character").share("ab癌").density == 0
    assert Finder(("肺癌", "癌症"), "character").share("肺癌症").density == 1.0


def test_thresholds_are_the_packs_or_the_steps() -> None:
    text = row("Fever, cough and a rash. " + WEATHER["en"])
    assert dropped(MedicalText(), [text]) == [True]
    assert dropped(MedicalText(least_keywords=3), [text]) == [False]
    assert dropped(MedicalText(least_keywords=3, least_density=0.2), [text]) == [True]
    assert dropped(MedicalText(least_keywords=3, least_density=0), [text]) == [False]


def test_keywords_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "en_1.txt").write_text("\ufeffRiver\n\nMill\n", "utf-8")
    (tmp_path / "en_2.txt").write_text("# not a keyword\nfields\nwater\nmorning\n", "utf-8")
    context = replace(CONTEXT, folder=tmp_path)
    both = [row(WEATHER["en"]), row(PACKS["en"].identity.sample)]
    assert dropped(MedicalText(keywords="{lang}_*.txt"), both, context) == [False, True]
    assert dropped(MedicalText(keywords={"en": "en_?.txt"}), both, context) == [False, True]
    assert dropped(MedicalText(keywords={"fr": "fr.txt"}), both, context) == [True, False], "English keeps its pack's"
    with pytest.raises(MissingInput, match=r"steps\[0\]\.keywords: nothing at 'fr_"):
        MedicalText(keywords="{lang}_*.txt").judge([row(WEATHER["fr"], "fr")], context)
    (tmp_path / "es.txt").write_bytes("niño".encode("latin-1"))
    with pytest.raises(MissingInput, match="not UTF-8"):
        MedicalText(keywords="es.txt").judge([row(WEATHER["es"], "es")], context)


def test_keyword_files_that_are_not_there_are_told_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("river\n", "utf-8")
    (tmp_path / "fr.txt").write_text("# none yet\n", "utf-8")
    here = replace(CONTEXT, folder=tmp_path, languages={code: PACKS[code] for code in ("en", "fr")})
    assert MedicalText().files(here) == []
    assert MedicalText(keywords="{lang}.txt").files(here) == [tmp_path / "en.txt", tmp_path / "fr.txt"]
    with pytest.raises(MissingInput, match=r"^datasets\.x\.steps\[0\]\.keywords: nothing at 'fr_\*.txt' \(/.*\)"):
        MedicalText(keywords={"en": "en.txt", "fr": "fr_*.txt"}).files(here)
    with pytest.raises(
        MissingInput, match=r"keywords: 'fra' is no language of the recipe: possible: en, fr. Did you mean"
    ):
        MedicalText(keywords={"fra": "fr.txt"}).files(here)
    with pytest.raises(MissingInput, match=r"no keywords at fr\.txt"):
        MedicalText(keywords="{lang}.txt").judge([row(WEATHER["fr"], "fr")], here)


def test_what_a_pack_lacks_is_said_plainly(tmp_path: Path) -> None:
    bare = replace(PACKS["en"], medical=None)
    with pytest.raises(MissingInput, match="has no section 'medical'"):
        MedicalText().judge([row("x")], replace(CONTEXT, languages={"en": bare}))
    (tmp_path / "ko.txt").write_text("강물\n", "utf-8")
    context = replace(CONTEXT, folder=tmp_path)
    with pytest.raises(MissingInput, match="no thresholds were published for 'ko'"):
        MedicalText(keywords="ko.txt").judge([row(WEATHER["ko"], "ko")], context)
    own = MedicalText(keywords="ko.txt", least_keywords=1, least_density=0.01)
    assert dropped(own, [row(WEATHER["ko"], "ko")], context) == [False]


def test_a_step_can_be_sent_to_another_process_after_it_was_used() -> None:
    part, rows = MedicalText(), [row(PACKS["en"].identity.sample), row(WEATHER["en"])]
    assert dropped(part, rows) == dropped(ForkingPickler.loads(ForkingPickler.dumps(part)), rows) == [False, True]


def test_bad_input_gets_a_verdict() -> None:
    nasty = [
        "",
        " \u200b\u200f",
        "\ud800 fever \udfff",
        "😷🤒",
        "\x00\x01\x02",
        "ｆｅｖｅｒ",
        "שלום \u202eabc",
        "—" * 99,
        "a" * 100_000,
    ]
    for code in PACKS:
        assert all(dropped(MedicalText(), [row(text, code) for text in nasty]))
    long = row("fever and cough, a rash or pain. " * 300_000)
    assert dropped(MedicalText(), [long]) == [False]


@pytest.mark.parametrize("code", sorted(PACKS))
def test_the_packs_keywords_are_found_in_themselves_and_are_specific(code: str) -> None:
    pack = PACKS[code]
    finder = Finder(pack.keywords, pack.need("medical").by)
    assert len(pack.keywords) >= 150
    missed = [word for word in pack.keywords if not finder.share(word.rstrip("*")).keywords]
    assert missed == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Spanish pack, to be spoilt."""
    return Path(shutil.copytree(PACKS["es"].folder or "", tmp_path / "es"))


def test_keywords_are_part_of_what_a_pack_is(folder: Path) -> None:
    before = read_pack(folder)
    assert before.keywords == PACKS["es"].keywords and before.fingerprint == PACKS["es"].fingerprint
    (folder / "keywords.txt").write_text("# one\n\n gripe \ngripe*\n", "utf-8")
    pack = read_pack(folder)
    assert pack.keywords == ("gripe", "gripe*") and pack.fingerprint != before.fingerprint
    assert faults_of(pack) == []
    (folder / "keywords.txt").write_text("gripe\ngripe\n", "utf-8")
    assert faults_of(read_pack(folder)) == ["keywords.txt holds a keyword twice"]
    text = (folder / "pack.yaml").read_text("utf-8")
    start, end = text.index("medical:"), text.index("pictures:")
    (folder / "pack.yaml").write_text(text[:start] + text[end:], "utf-8")
    assert read_pack(folder).medical is None
    assert "keywords.txt is read only beside a section 'medical'" in faults_of(read_pack(folder))


def test_a_pack_that_is_wrong_is_told_with_its_line(folder: Path) -> None:
    (folder / "keywords.txt").write_bytes("niño".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"keywords\.txt:1: keywords: is not UTF-8"):
        read_pack(folder)
    (folder / "keywords.txt").unlink()
    with pytest.raises(RecipeError, match=r"pack\.yaml:\d+: medical: needs keywords\.txt"):
        read_pack(folder)
    (folder / "keywords.txt").write_text("gripe\n", "utf-8")
    lines = (folder / "pack.yaml").read_text("utf-8").splitlines()
    at = lines.index("  judged:") + 1
    lines.insert(at, "    - '(figura'")
    (folder / "pack.yaml").write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(RecipeError, match=rf"pack\.yaml:{at + 1}: .*is no regular expression"):
        read_pack(folder)


def test_phrases_for_pictures_take_time_in_proportion_to_the_text() -> None:
    for code, pack in PACKS.items():
        assert pack.pictures, code
        words = [
            *pack.pictures.picture.split("|"),
            "se muestra la ",
            "shown in the ",
            "图",
            "を",
            "図",
            " ",
            "a ",
            "사진",
            "на ",
        ]
        for word in words:
            assert not pack.pictures.pattern.search((word.strip("\\.") + " a") * 20_000 + "\n") or word in (
                "図",
                "사진",
            ), (code, word)


@pytest.mark.data
@WITH_DATA
def test_the_published_lists_can_be_pointed_to() -> None:
    data = Path(os.environ["FACTORY_DATA"])
    names = {
        code: f"$data_dir/mmedc-keywords/{'jp' if code == 'ja' else code}_*.txt" for code in WEATHER if code != "ko"
    }
    part = MedicalText(keywords=names)
    context = replace(CONTEXT, data_dir=data)
    text = (data / "openstax-anatomy-physiology/text/m46710.txt").read_text("utf-8")
    rows = [row(text), *(row(WEATHER[code], code) for code in names)]
    assert dropped(part, rows, context) == [False] + [True] * len(names)
