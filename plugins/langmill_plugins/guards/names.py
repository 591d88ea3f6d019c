"""Names: identifiers that stay what they are, and words that must not be translated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from langmill.api import Drop
from langmill_plugins.guards.lexicon import plain, spaced

if TYPE_CHECKING:
    from langmill_plugins.guards.reading import Reading

LATIN = 5  # letters from which a Latin word in another script is taken for a name
_LATIN = re.compile(r"(?<![a-z0-9])[a-z]+(?![a-z0-9])")
_GAPS = re.compile(r"[-\s_]")
_DIGITS = re.compile(r"\d+")


def changed_names(source: Reading, target: Reading) -> list[Drop]:
    """Identifiers and names in Latin letters that a translation has as others: ``changed_name``.

    An identifier (il-6, b12, covid-19) for which the other side has another one of the same letters is changed. One that is
    only left out is none of this: texts put a pronoun or a full name for it. In a text of another script, a Latin word that is
    in its source but for a letter or two is misspelt.
    """
    return [*_renamed(source, target), *_misspelt(source, target)]


def _renamed(source: Reading, target: Reading) -> Iterator[Drop]:
    if not source.names or not target.names:
        return
    here, there = _keys(source), _keys(target)
    swaps = [*_others(here, there), *((was, now) for now, was in _others(there, here))]
    for was, now in dict.fromkeys(swaps):
        yield Drop("changed_name", f"{was} in the source, {now} in the translation")


def _others(mine: dict[str, str], theirs: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Identifiers that the other side does not have, each beside one of the same letters that it has."""
    shapes = {_DIGITS.sub("#", key): said for key, said in theirs.items()}
    for key, said in mine.items():
        if key not in theirs and (other := shapes.get(_DIGITS.sub("#", key))):
            yield said, other


def _keys(reading: Reading) -> dict[str, str]:
    """What a text names, by codes without hyphens and blanks, as it is written there."""
    found = {name.key: reading.text[name.start : name.end] for name in reading.names}
    taken = {place for name in reading.names for place in range(name.start, name.end)}
    for hit in reading.hits:
        if hit.kind == "name" and hit.start not in taken:
            found.setdefault(_code(hit.value), reading.text[hit.start : hit.end])
    return found


@lru_cache(maxsize=1024)
def _code(name: str) -> str:
    return _GAPS.sub("", plain(name))


def _misspelt(source: Reading, target: Reading) -> Iterator[Drop]:
    latin = ["Latn" in reading.pack.identity.scripts for reading in (source, target)]
    if all(latin) or (target.text.isascii() and not latin[1]):
        return
    here, there = (set(_LATIN.findall(reading.text)) for reading in (source, target))
    # Where one side is written in Latin letters, only the words of the other can be names.
    names, others = (there - here, here - there) if not latin[1] else (here - there, there - here)
    for name in names:
        if len(name) >= LATIN and (other := next((word for word in others if _slipped(name, word)), "")):
            was, now = (name, other) if latin[1] else (other, name)
            yield Drop("changed_name", f"{was} in the source, {now} in the translation")


def _slipped(one: str, other: str) -> bool:
    """Whether two words differ by one letter, or two neighbours changed places; an s at the end is a plural."""
    if abs(len(one) - len(other)) > 1 or one.rstrip("s") == other.rstrip("s"):
        return False
    left = 0
    while left < min(len(one), len(other)) and one[left] == other[left]:
        left += 1
    one, other = one[left:], other[left:]
    if len(one) == len(other):
        return one[1:] == other[1:] or (one[:2] == other[1::-1] and one[2:] == other[2:])
    return one[1:] == other or one == other[1:]


def not_kept(source: str, target: str, terms: Sequence[str]) -> list[Drop]:
    """The terms that stand in the source and not in the translation, letter for letter but for case and width: ``not_kept``."""
    if not terms:
        return []
    here, there = plain(source), plain(target)
    return [
        Drop("not_kept", f"{term} in the source must stay {term}, and is not in the translation")
        for term in terms
        if _stands(plain(term), here) and not _stands(plain(term), there)
    ]


def _stands(term: str, text: str) -> bool:
    """Whether a term stands in a text by itself; an ending in another script may be joined to it."""
    start = text.find(term) if term else -1
    while start >= 0:
        end = start + len(term)
        if not _goes_on(text[start - 1 : start], term[0]) and not _goes_on(text[end : end + 1], term[-1]):
            return True
        start = text.find(term, start + 1)
    return False


def _goes_on(beside: str, edge: str) -> bool:
    if not beside or not beside.isalnum() or not edge.isalnum():
        return False
    return (
        beside.isdigit() if edge.isdigit() else spaced(beside) and spaced(edge) and beside.isascii() == edge.isascii()
    )
