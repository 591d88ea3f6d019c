"""What a judge is shown, and how what it prefers is counted."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from langmill.api import Table

PLACES = ("first", "equal", "second")
_TAGS = re.compile(r"<(?=\s*/|\W{0,3}(?:question|reference|answer|first|second)\b)", re.IGNORECASE)


def fenced(text: str) -> str:
    """Text that can not end the tag it stands in: no answer may pass for what the prompt says. Tags are looked for as a model may
    read them: wide letters as narrow ones, without accents and without what nobody sees."""
    if "<" not in unicodedata.normalize("NFKD", text):
        return text
    plain, places = [], []
    for place, one in enumerate(text):
        for part in unicodedata.normalize("NFKD", one):
            if part.isspace() or unicodedata.category(part)[0] not in "CM":
                plain.append(part)
                places.append(place)
    opening = {places[found.start()] for found in _TAGS.finditer("".join(plain))}
    return "".join("‹" if place in opening else one for place, one in enumerate(text))


def preferred(said: str, other: str, better: Sequence[str]) -> tuple[float, tuple[str, str]]:
    """What a comparison is worth to the one who ``said`` it, and what the judge preferred, in terms of places, with that first and with
    it second. Empty answers and two that are the same were not shown: an empty one loses, equals tie."""
    if not better:
        return (0.5 if bool(said) == bool(other) else float(bool(said))), ("", "")
    first, second = better
    if (first, second) == ("first", "second"):
        return 1.0, (first, second)
    return (0.0 if (first, second) == ("second", "first") else 0.5), (first, second)


def tables(found: Iterable[tuple[str, tuple[str, str] | None]]) -> tuple[Table, ...]:
    """For each language how often the judge preferred which place in the two orders; of pairs that it was not shown, nothing."""
    by_language: dict[str, list[tuple[str, str]]] = {}
    for language, places in found:
        if places:
            by_language.setdefault(language, []).append(places)
    return tuple(_table(language, pairs) for language, pairs in sorted(by_language.items()))


def _table(language: str, pairs: Sequence[tuple[str, str]]) -> Table:
    counts = Counter(pairs)
    agreeing = counts["first", "second"] + counts["second", "first"] + counts["equal", "equal"]
    firsts, seconds = (sum(pair.count(place) for pair in pairs) for place in ("first", "second"))
    share = f"{firsts / (firsts + seconds):.0%}" if firsts + seconds else "none"
    note = (
        f"Rows: the place preferred with the model's answer first; columns: with it second. Both orders agree in {agreeing:,} of "
        f"{len(pairs):,} pairs of answers that differ; of its preferences {share} went to the first place (50% without a bias)."
    )
    cells = tuple(tuple(float(counts[row, column]) for column in PLACES) for row in PLACES)
    return Table("orders", language, PLACES, PLACES, cells, note)
