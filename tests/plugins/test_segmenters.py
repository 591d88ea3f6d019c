"""Words of texts in every language a pack is at hand for, and in some it is not."""

from __future__ import annotations

import sys
from dataclasses import replace
from unicodedata import normalize

import pytest
from tests.public_sets import NEEDS_DATA, PACKS, load

from langmill.api import Choice, MissingInput
from langmill_plugins.text import segmenters
from langmill_plugins.text.segmenters import segmenter_of

WORDS = {
    "en": ("Don't stop. It is 2.5 mg, e.g. aspirin!", "Do n't stop . It is 2.5 mg , e.g. aspirin !"),
    "es": ("¿Hay fiebre? Sí, de 38,5 °C.", "¿Hay fiebre ? Sí , de 38,5 °C ."),
    "fr": ("Le foie «sain». Il n'est pas gros.", "Le foie « sain » . Il n'est pas gros ."),
    "ru": ("Дефицит железа. «Анемия»!", "Дефицит железа . « Анемия » !"),
    "ko": ("혈압이 높다. 약을 준다.", "혈압이 높다 . 약을 준다 ."),
    "zh": ("缺铁是贫血最常见的原因。", "缺铁是 贫血 最 常见 的 原因 。"),
    "ja": ("鉄欠乏は貧血の原因である。", "鉄 欠乏 は 貧血 の 原因 で ある 。"),
}


@pytest.mark.parametrize("code", WORDS)
def test_each_language_is_cut_into_its_words(code: str) -> None:
    text, words = WORDS[code]
    assert segmenter_of(PACKS[code], "eval[0]").words(text) == words.split()


@pytest.mark.parametrize("code", WORDS)
def test_blanks_are_never_words_and_nothing_is_lost(code: str) -> None:
    text = f"  {WORDS[code][0]}\n\n\u3000{WORDS[code][0]}\t"
    words = segmenter_of(PACKS[code], "eval[0]").words(text)
    assert "".join(words) == "".join(text.split())
    assert segmenter_of(PACKS[code], "eval[0]").words(" \n\u3000") == []


@pytest.mark.parametrize("code", WORDS)
def test_letters_in_parts_are_the_letters(code: str) -> None:
    """A model may write é or 한 in parts; the words are the same ones."""
    cut = segmenter_of(PACKS[code], "eval[0]").words
    assert cut(normalize("NFD", WORDS[code][0])) == cut(normalize("NFC", WORDS[code][0]))


def test_its_name_tells_the_version() -> None:
    from importlib.metadata import version

    assert segmenter_of(PACKS["zh"], "x").name == f"rjieba {version('rjieba')}"
    assert segmenter_of(PACKS["ja"], "x").name == f"fugashi {version('fugashi')}, ipadic {version('ipadic')}"
    assert segmenter_of(PACKS["ru"], "x").name == f"nltk {version('nltk')}"


def test_a_language_without_blanks_and_without_a_segmenter_is_cut_into_letters() -> None:
    thai = replace(PACKS["ja"], identity=PACKS["ja"].identity.model_copy(update={"code": "th", "scripts": ("Thai",)}))
    assert segmenter_of(thai, "x").words("ยา 25 mg นี้") == ["ย", "า", "25", "mg", "นี้"]


def test_traditional_chinese_is_chinese() -> None:
    taiwan = replace(PACKS["zh"], identity=PACKS["zh"].identity.model_copy(update={"code": "zh-Hant"}))
    assert segmenter_of(taiwan, "x").name.startswith("rjieba")


@pytest.mark.parametrize(
    ("code", "package"), [("zh", "rjieba"), ("ja", "fugashi"), ("en", "nltk.tokenize.destructive")]
)
def test_a_package_that_is_not_there_is_told(code: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for maker in (segmenters._chinese, segmenters._japanese, segmenters._spaced):
        maker.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingInput, match=r"eval\[3\]: .* is not installed: pip install 'langmill\[eval\]'"):
        segmenter_of(PACKS[code], "eval[3]")


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS_DATA) for name in ("cmexam", "igakuqa", "russian")])
def test_real_rows_are_cut_without_loss(name: str) -> None:
    for row in load(name)[:200]:
        assert isinstance(row.body, Choice)
        text = row.body.question
        words = segmenter_of(PACKS[row.language], "x").words(text)
        plain = "".join(normalize("NFC", text).split())
        if row.language in ("zh", "ja"):
            assert "".join(words) == plain, row.id
        assert all(word and not word.isspace() for word in words)
        assert len(words) > len(plain) / 12, row.id
