"""What each code point is folded to, as a table that compiled code can read."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from langmill_plugins.text.wording import letters_only, word_list

Table: TypeAlias = npt.NDArray[np.uint32]

POINTS = 0x110000
NOTHING, TOGETHER, GAP, DOT = POINTS, POINTS + 1, POINTS + 2, POINTS + 3
"""Entries beside the code points: it is taken out; what it becomes depends on its neighbours, or is several code points; it
parts words; it parts words, and stays between two digits where letters are cut."""
_BLOCK = 128
_BUSY = (range(0, 0x20000, _BLOCK), range(0x2F000, 0x30000, _BLOCK), range(0xE0000, 0xE1000, _BLOCK))
# All other points are ideographs, private or not assigned, and stay as they are.
_RAISED = "²³¹⁰⁴⁵⁶⁷⁸⁹"
_JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))  # vowels and final consonants: they join the syllable before


@lru_cache(maxsize=1)
def table() -> Table:
    """For each code point the one that wording.word_list makes of it, or NOTHING, TOGETHER, GAP or DOT; shape (0x110000,).

    A text without a point of TOGETHER is folded point by point: NFKC joins points only where the second is a mark or one of
    the Hangul jamo, case folding looks at one point at a time, and only a raised digit can get a caret. Takes about 0.1
    seconds, once in a process.
    """
    entries: Table = np.arange(POINTS, dtype=np.uint32)
    for start in chain(*_BUSY):
        points = [chr(point) for point in range(start, start + _BLOCK)]
        apart = "a".join(points)
        if letters_only(apart) != apart:
            entries[start : start + _BLOCK] = [_entry(point) for point in points]
        elif any(map(_joins, points)):
            entries[start : start + _BLOCK] = [TOGETHER if _joins(point) else ord(point) for point in points]
    return entries


def _entry(point: str) -> int:
    match word_list(f"a{point}b"):
        case ["ab"]:
            return NOTHING
        case ["a", "b"]:
            return DOT if letters_only(f"1{point}1") == "1.1" else GAP
        case [word] if len(word) == 3 and not _joins(point) and not _joins(word[1]):
            return ord(word[1])
    return TOGETHER


def _joins(point: str) -> bool:
    """Whether what a point becomes may depend on the one before it."""
    return unicodedata.category(point) in ("Mn", "Mc", "Me") or ord(point) in _JAMO or point in _RAISED
