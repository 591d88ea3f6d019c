"""Which scripts a text is written in, and what that alone tells about its language."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

# ISO 15924 code -> first words of the Unicode names of its letters. A pack with another code has no script witness.
_NAMES: dict[str, tuple[str, ...]] = {
    "Arab": ("ARABIC",),
    "Armn": ("ARMENIAN",),
    "Beng": ("BENGALI",),
    "Cyrl": ("CYRILLIC",),
    "Deva": ("DEVANAGARI",),
    "Ethi": ("ETHIOPIC",),
    "Geor": ("GEORGIAN",),
    "Grek": ("GREEK",),
    "Gujr": ("GUJARATI",),
    "Guru": ("GURMUKHI",),
    "Hang": ("HANGUL",),
    "Hani": ("CJK",),
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Hebr": ("HEBREW",),
    "Hira": ("HIRAGANA",),
    "Jpan": ("CJK", "HIRAGANA", "KATAKANA"),
    "Kana": ("HIRAGANA", "KATAKANA"),
    "Khmr": ("KHMER",),
    "Knda": ("KANNADA",),
    "Kore": ("CJK", "HANGUL"),
    "Laoo": ("LAO",),
    "Latn": ("LATIN",),
    "Mlym": ("MALAYALAM",),
    "Mymr": ("MYANMAR",),
    "Sinh": ("SINHALA",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Thai": ("THAI",),
    "Tibt": ("TIBETAN",),
}
KANA = ("HIRAGANA", "KATAKANA")


def scripts_of(codes: tuple[str, ...]) -> frozenset[str] | None:
    """The script names of a language's ISO 15924 codes; None when one of them is not known here."""
    if not all(code in _NAMES for code in codes):
        return None
    return frozenset(name for code in codes for name in _NAMES[code])


@lru_cache(1 << 15)
def script(character: str) -> str:
    """A letter's script, as Unicode names it (LATIN, CYRILLIC, CJK …); empty for what is not a letter."""
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "").split(maxsplit=1)
    return name[0].split("-")[0] if name else ""


def letters_by_script(text: str) -> Counter[str]:
    """How many letters of each script a text has, after NFKC."""
    counts: Counter[str] = Counter()
    for character, times in Counter(unicodedata.normalize("NFKC", text)).items():
        name = script(character)
        if name:
            counts[name] += times
    return counts


def han_reading(text: str) -> str:
    """'zh' or 'ja' for the Han characters of a text, or '' when they do not tell.

    National character sets tell: GB 2312 (simplified) and Big5 (traditional Chinese) against JIS X 0208 (Japanese).
    脑 and 腦 against 脳, 药 and 藥 against 薬; 肺 and 癌 are common to all and tell nothing.
    """
    chinese = japanese = 0
    for character, times in Counter(text).items():
        if script(character) == "CJK":
            in_china, in_japan = _in(character, "gb2312") or _in(character, "big5"), _in(character, "euc_jp")
            chinese += times * (in_china and not in_japan)
            japanese += times * (in_japan and not in_china)
    if chinese == japanese:
        return ""
    return "zh" if chinese > japanese else "ja"


@lru_cache(1 << 15)
def _in(character: str, codec: str) -> bool:
    try:
        return len(character.encode(codec)) == 2  # three bytes in EUC-JP: JIS X 0212, rare characters
    except UnicodeEncodeError:
        return False
