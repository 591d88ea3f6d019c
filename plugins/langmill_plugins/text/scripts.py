"""Which scripts texts are written in, and what that alone tells about their language. Needs numpy."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Script, as the first word of the Unicode names of its letters -> ISO 15924 codes that it is part of.
_CODES: dict[str, tuple[str, ...]] = {
    "LATIN": ("Latn",),
    "CJK": ("Hani", "Hans", "Hant", "Jpan", "Kore"),
    "HIRAGANA": ("Hira", "Jpan", "Kana"),
    "KATAKANA": ("Jpan", "Kana"),
    "HANGUL": ("Hang", "Kore"),
    "CYRILLIC": ("Cyrl",),
    "ARABIC": ("Arab",),
    "ARMENIAN": ("Armn",),
    "BENGALI": ("Beng",),
    "DEVANAGARI": ("Deva",),
    "ETHIOPIC": ("Ethi",),
    "GEORGIAN": ("Geor",),
    "GREEK": ("Grek",),
    "GUJARATI": ("Gujr",),
    "GURMUKHI": ("Guru",),
    "HEBREW": ("Hebr",),
    "KANNADA": ("Knda",),
    "KHMER": ("Khmr",),
    "LAO": ("Laoo",),
    "MALAYALAM": ("Mlym",),
    "MYANMAR": ("Mymr",),
    "ORIYA": ("Orya",),
    "SINHALA": ("Sinh",),
    "TAMIL": ("Taml",),
    "TELUGU": ("Telu",),
    "THAI": ("Thai",),
    "TIBETAN": ("Tibt",),
}
SCRIPTS = ("", "other", *_CODES)  # a column each; the first one counts what is not a letter
LATIN, HAN, HIRAGANA, KATAKANA, HANGUL = (SCRIPTS.index(name) for name in list(_CODES)[:5])
WEIGHTS = np.array([3 if column in (HAN, HIRAGANA, KATAKANA, HANGUL) else column > 0 for column in range(len(SCRIPTS))])
"""What a letter of each script weighs: one Han, kana or hangul letter says as much as three of an alphabet."""

MOST = 1 << 16  # characters of a text that are counted; of a longer one, stretches from all over it
_STRETCHES = 16
_AT_ONCE = 1 << 20  # characters that are looked up together: bounds the memory

RARE, FOREIGN = 0.5, 4.0  # how strange a character is that its national set has on level 2, or not at all
WORD = 1.0  # how strange a Chinese word is in Japanese, which writes its grammar in kana
CHINESE_WORDS = "的了是在有这這那们們你您我他她它吗嗎呢吧把被也都就还還很没沒么麼着与與或及"
_SETS = (("gb2312", b"\xd8"), ("big5", b"\xc6\xa1"), ("euc_jp", b"\xd0"))  # where level 2 begins
NO_KANA = (
    0.05  # how strange a Han character is in Japanese for standing in a text without kana, up to half a point in all
)
MUCH_KANA = 0.1  # above this share of kana among Han and kana a text is Japanese
EAST_ASIAN = 0.4  # from this share of the weight on, Han, kana and hangul name the language, Latin abbreviations or not
STEEPNESS = 2.44  # of the way from strangeness to a score: 0.9 stranger is a score of 0.9


class Measured(NamedTuple):
    """What was counted in n texts. ``letters`` (n, len(SCRIPTS)): letters by script. ``strange`` (n, 3): how strange the Han
    characters are in simplified Chinese, in traditional Chinese and in Japanese, see :func:`strangeness`."""

    letters: npt.NDArray[np.int64]
    strange: npt.NDArray[np.float64]

    @property
    def weight(self) -> npt.NDArray[np.int64]:
        """(n,): the weight of the letters of each text."""
        return self.letters @ WEIGHTS


class Reading(NamedTuple):
    """What a text reads as: a label of lid.176, empty when it can not be told; its score, 0 to 1; and whether the letters
    themselves say so, which outweighs any model."""

    label: str
    score: float
    by_script: bool = False


@lru_cache
def columns_of(codes: tuple[str, ...]) -> list[int] | None:
    """The columns of a language's ISO 15924 codes; None when one of them is not known here."""
    if not set(codes) <= {code for known in _CODES.values() for code in known}:
        return None
    return [column for column, name in enumerate(SCRIPTS) if not {*codes}.isdisjoint(_CODES.get(name, ()))]


def measure(texts: Sequence[str]) -> Measured:
    """Counts of all texts at once, a table look-up a character: 40 characters take about half a microsecond."""
    parts = [_counted(some) for some in _together([sampled(text) for text in texts])]
    if not parts:
        return Measured(np.zeros((0, len(SCRIPTS)), np.int64), np.zeros((0, 3)))
    return Measured(np.concatenate([part.letters for part in parts]), np.concatenate([part.strange for part in parts]))


def sampled(text: str) -> str:
    """The text; stretches from all over it where it is longer than MOST."""
    if len(text) <= MOST:
        return text
    size = MOST // _STRETCHES
    starts = [index * (len(text) - size) // (_STRETCHES - 1) for index in range(_STRETCHES)]
    return "".join(text[start : start + size] for start in starts)


def by_script(measured: Measured) -> list[Reading | None]:
    """What the letters alone tell: hangul is Korean, kana Japanese, Han without kana Chinese or Japanese by the characters'
    strangeness, with a score near 0.5 where they are at home in both. None for every other script."""
    han, kana = measured.letters[:, HAN], measured.letters[:, HIRAGANA] + measured.letters[:, KATAKANA]
    hangul = measured.letters[:, HANGUL]
    share = 3 * (han + kana + hangul) / np.maximum(1, measured.weight)
    found: list[Reading | None] = [None] * len(han)
    telling = np.flatnonzero((share >= EAST_ASIAN) & (han + kana + hangul > 0))
    chinese, japanese = (
        measured.strange[:, :2].min(1),
        measured.strange[:, 2] + np.minimum(NO_KANA * han, 0.5) - WORD * kana,
    )
    scores = 1 / (1 + np.exp(-STEEPNESS * np.clip(japanese - chinese, -20, 20)))
    for index in telling.tolist():
        if hangul[index] >= max(han[index], kana[index]):
            found[index] = Reading("ko", float(share[index]), True)
        elif kana[index] > MUCH_KANA * (han[index] + kana[index]):
            found[index] = Reading("ja", float(share[index]), True)
        else:
            score = float(scores[index])
            found[index] = Reading("zh", score, True) if score >= 0.5 else Reading("ja", 1 - score, True)
    return found


def _together(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = size = 0
    for index, text in enumerate(texts):
        if size and size + len(text) > _AT_ONCE:
            yield texts[start:index]
            start, size = index, 0
        size += len(text)
    if start < len(texts):
        yield texts[start:]


def _counted(texts: Sequence[str]) -> Measured:
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    owner: npt.NDArray[np.int64] = np.repeat(np.arange(len(texts)), np.fromiter(map(len, texts), np.int64, len(texts)))
    column, width = _columns()[points], len(SCRIPTS)
    letters = np.bincount(owner * width + column, minlength=len(texts) * width).reshape(-1, width)
    letters[:, 0] = 0
    han = np.flatnonzero(column == HAN)
    if not len(han):
        return Measured(letters, np.zeros((len(texts), 3)))
    costs = strangeness()[:, np.minimum(points[han], 0xFFFF)]  # beyond it no national set has any
    strange = [np.bincount(owner[han], cost, minlength=len(texts)) for cost in costs]
    return Measured(letters, np.stack(strange, axis=1))


@lru_cache(1)
def _columns() -> npt.NDArray[np.uint8]:
    """The column of every code point. A letter counts for the script of its compatibility form: full-width a is Latin. Of a
    hangul syllable written in parts the first part counts alone."""
    found: npt.NDArray[np.uint8] = np.zeros(0x110000, np.uint8)
    known = {name: column for column, name in enumerate(SCRIPTS)}
    for point in range(0x20000):
        character = chr(point)
        if character.isalpha():
            name: Any = unicodedata.name(unicodedata.normalize("NFKC", character)[0], "?").split()[0]
            found[point] = known.get(name.split("-")[0], 1)
    found[0x1160:0x1200] = 0  # vowels and final consonants
    found[0x20000:0x323B0] = HAN
    return found


@lru_cache(1)
def strangeness() -> npt.NDArray[np.float64]:
    """How strange a Han character is in simplified Chinese, traditional Chinese and Japanese: (3, 65536).

    By the national character sets: nothing on level 1 (everyday use) of GB 2312, Big5 or JIS X 0208, RARE on level 2, FOREIGN
    where the set does not have it. 脑 is simplified, 腦 traditional, 脳 Japanese; 肺 and 癌 tell nothing.
    """
    found: npt.NDArray[np.float64] = np.full((3, 0x10000), FOREIGN)
    for point in (*range(0x3400, 0xA000), *range(0xF900, 0xFB00)):
        for place, (codec, rare) in enumerate(_SETS):
            try:
                code = chr(point).encode(codec)
            except UnicodeEncodeError:
                continue
            if len(code) == 2:  # three bytes in EUC-JP: JIS X 0212, which nobody uses
                found[place, point] = 0 if code < rare else RARE
    for character in CHINESE_WORDS:
        found[2, ord(character)] += WORD
    return found
