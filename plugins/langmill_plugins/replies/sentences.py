"""Where the sentences of a signed reply begin and end."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

_ENDS = re.compile(r"[.!?…]+(?=[\s\"'”’»)]|$)|[。！？؟؛]|\n")


def outermost(text: str, start: int, end: int) -> bool:
    """Whether a place is in the first or the last sentence."""
    begin, until = bounds(text, start, end)
    return not text[:begin].strip() or not text[until:].strip()


def unfinished(text: str, start: int, end: int) -> bool:
    """Whether a place is in a last sentence that breaks off, where the one before it in its line was brought to an end."""
    begin, until = bounds(text, start, end)
    if until < len(text) or not text[until - 1].isalnum() or begin == 0:
        return False
    return "\n" not in text[begin - 1 : begin] and any(one.isalnum() for one in text[end:])


def bounds(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the sentence that holds a place begins and ends."""
    stops = _stops(text)
    before, behind = bisect_right(stops, start), bisect_right(stops, end)
    return stops[before - 1] if before else 0, stops[behind] if behind < len(stops) else len(text)


def clause(text: str, place: tuple[int, int, int], parts: Sequence[re.Pattern[str] | None]) -> tuple[int, int]:
    """Where the clause that holds a place begins and ends. ``place`` is that place and where its sentence begins and ends."""
    start, begin, until = place
    for pattern in parts:
        for hit in pattern.finditer(text, begin, until) if pattern else ():
            begin, until = (hit.end(), until) if hit.start() <= start else (begin, min(until, hit.start()))
    return begin, until


@lru_cache(maxsize=4)
def _stops(text: str) -> list[int]:
    """Where the sentences of a text end."""
    return [hit.end() for hit in _ENDS.finditer(text)]
