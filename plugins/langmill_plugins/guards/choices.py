"""Options of a translated item: as many, in the same order, and none become another's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from langmill.api import Drop, Pack
from langmill_plugins.guards.lexicon import plain

# How much better options must fit each other's places than their own, for each that is moved; 2 is all that there is. Learned
# from 5,700 items in en, es, fr and ja: no more than 0.5% of them look moved.
BETTER, BETTER_ROUGH = 0.08, 0.16
LEAST_ROUGH = 3  # consonants of a word in another script that may be told by them
MOST = 10  # options whose best order is looked for

_LONG_WORD = re.compile(r"[^\W\d_]{4}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[a-z\u00df-\u024f]+|[\u30a1-\u30fa\u30fc]+|[^\W\d_a-z\u00df-\u024f\u3041-\u30ff\u2e80-\u9fff]+")
# Spellings of one sound in words that languages took from Latin and Greek.
_SOUNDS = (
    ("ph", "f"),
    ("qu", "k"),
    ("ch", "k"),
    ("th", "t"),
    ("rh", "r"),
    ("ae", "e"),
    ("oe", "e"),
    ("ck", "k"),
    ("x", "ks"),
)
_SAME = str.maketrans({"c": "k", "q": "k", "y": "i", "z": "s", "w": "v", "h": "", "j": "i", "g": "k"})
# More sounds become one where scripts differ, and vowels go.
_ROUGHLY = str.maketrans({"l": "r", "b": "p", "v": "p", "f": "p", "d": "t"} | dict.fromkeys("aeiou", ""))
_CONSONANTS = re.compile("[^aeiou]+")


def shuffled(source: Sequence[str], target: Sequence[str], source_pack: Pack, target_pack: Pack) -> list[Drop]:
    """Whether options changed in number (`options_count`) or places (`options_order`), or two became one (`repeated_option`).

    Places are told by what both languages write alike: numbers, words in Latin letters, and the sound of learned words. An
    item whose options have nothing of this in common can not be told.
    """
    if len(source) != len(target):
        return [Drop("options_count", f"{len(source)} options in the source, {len(target)} in the translation")]
    latin = source_pack.identity.scripts == target_pack.identity.scripts == ("Latn",)
    return _repeated(source, target) + _moved(source, target, latin)


def in_order(letters: Sequence[str], pack: Pack, count: int) -> list[Drop]:
    """Whether a reply that gives each option the letter of its source has them all, in order: `options_count`,
    `options_order`."""
    if len(letters) != count:
        return [Drop("options_count", f"{count} options in the source, {len(letters)} in the translation")]
    wanted = list(pack.need("choice").letters[:count])
    given = [unicodedata.normalize("NFKC", letter).strip(" .():").upper() for letter in letters]
    if given == [letter.upper() for letter in wanted]:
        return []
    return [Drop("options_order", f"options are lettered {', '.join(letters)} and not {', '.join(wanted)}")]


def _repeated(source: Sequence[str], target: Sequence[str]) -> list[Drop]:
    seen: dict[str, int] = {}
    for index, option in enumerate(map(_bare, target)):
        other = seen.setdefault(option, index)
        if other != index and _bare(source[other]) != _bare(source[index]):
            return [Drop("repeated_option", f"options {other + 1} and {index + 1} became one: {target[index][:100]}")]
    return []


def _bare(option: str) -> str:
    """An option without what copies of one differ in; case counts where it has no word: genotypes AA and Aa."""
    text = " ".join(unicodedata.normalize("NFKC", option).split()).strip(" .。")
    return text.casefold() if _LONG_WORD.search(text) else text


class _Marks(NamedTuple):
    """What is the same in every language about an option."""

    numbers: frozenset[str]
    sounds: frozenset[str]


def _marks(option: str, vowels: bool) -> _Marks:
    text = plain(option)
    numbers = frozenset(number.replace(",", ".") for number in _NUMBER.findall(text))
    sounds: set[str] = set()
    size = 3 if vowels else 2
    for word in _WORD.findall(text):
        word = _sound(word, vowels)
        if len(word) >= (1 if vowels else LEAST_ROUGH):
            padded = f" {word} "
            sounds.update(padded[index : index + size] for index in range(len(padded) - size + 1))
    return _Marks(numbers, frozenset(sounds))


@lru_cache(maxsize=1 << 14)
def _sound(word: str, vowels: bool) -> str:
    """A word as it sounds, roughly, in Latin letters; empty for one in Han. Without ``vowels``, consonants alone."""
    if not word.isascii():
        word = "".join(map(_romanised, word)).strip()
    for spelling, sound in _SOUNDS:
        word = word.replace(spelling, sound)
    word = word.translate(_SAME)
    if not vowels:
        word = word.translate(_ROUGHLY)
    return "".join(letter for index, letter in enumerate(word) if not index or letter != word[index - 1])


@lru_cache(maxsize=1 << 13)
def _romanised(letter: str) -> str:
    """A letter in Latin ones, as its Unicode name has it: KATAKANA LETTER GU, HANGUL SYLLABLE GEUL, GREEK SMALL LETTER ALPHA;
    hiragana, which is for grammar, is left out. Of
    an alphabet whose letters have names, the first consonant: CYRILLIC SMALL LETTER EL, ARABIC LETTER MEEM."""
    base = "".join(part for part in unicodedata.normalize("NFD", letter) if part.isascii())
    if base:
        return base
    name = unicodedata.name(letter, "").lower()
    script, last = name.partition(" ")[0], name.rpartition(" ")[2]
    if script in ("katakana", "hangul", "greek"):
        return last
    found = _CONSONANTS.search(last) if " letter " in name and script != "hiragana" else None
    return found.group() if found else ""


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 0.0


def _moved(source: Sequence[str], target: Sequence[str], latin: bool) -> list[Drop]:
    count = len(source)
    if not 1 < count <= MOST:
        return []
    before, after = ([_marks(option, latin) for option in options] for options in (source, target))
    likeness = [
        [_alike(one.numbers, other.numbers) + _alike(one.sounds, other.sounds) for other in after] for one in before
    ]
    if all(likeness[index][index] >= max(likeness[index]) for index in range(count)):
        return []
    order = _best(likeness)
    moved = [index for index in range(count) if order[index] != index]
    gain = sum(likeness[index][order[index]] - likeness[index][index] for index in moved)
    if not moved or gain < (BETTER if latin else BETTER_ROUGH) * len(moved):
        return []
    pairs = ", ".join(f"{index + 1} stands in place {order[index] + 1}" for index in moved)
    return [Drop("options_order", f"by numbers and names, of the source's options {pairs}")]


def _best(likeness: Sequence[Sequence[float]]) -> list[int]:
    """The places in which options fit best together: for each its place."""
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for row in likeness:
        longer: dict[int, tuple[float, list[int]]] = {}
        for taken, (score, places) in best.items():
            for place, value in enumerate(row):
                if not taken >> place & 1:
                    key, total = taken | 1 << place, score + value
                    if key not in longer or longer[key][0] < total:
                        longer[key] = (total, [*places, place])
        best = longer
    return next(iter(best.values()))[1]
