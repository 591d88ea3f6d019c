"""Names and terms: identifiers that stay what they are, words that must not be translated, and terms that must be translated so."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from langmill.api import Drop, MissingInput
from langmill_plugins.guards.lexicon import Lexicon, plain, spaced

if TYPE_CHECKING:
    from langmill_plugins.guards.reading import Reading

LONG = 5  # letters from which a word may end otherwise than its term
ENDING = 4  # letters that such an ending may have
LATIN = 5  # letters from which a Latin word in another script is taken for a name
_LATIN = re.compile(r"(?<![a-z0-9])[a-z]+(?![a-z0-9])")
_GAPS = re.compile(r"[-\s_]")
_DIGITS = re.compile(r"\d+")
_BRACKETS = re.compile(r"(.*\S)\s*\((.+)\)\s*")


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


class Glossary:
    """Terms of one language, and what each may be called in another."""

    def __init__(self, terms: Iterable[tuple[str, str]]):
        """``terms``: pairs of a term and its translation; a term may come several times. Of a translation with another in
        brackets, AIDS (sida), either will do."""
        allowed: dict[str, list[str]] = {}
        for term, said in terms:
            if plain(term) and plain(said):
                allowed.setdefault(plain(term), []).append(said.strip())
        self._allowed = {term: tuple(dict.fromkeys(said)) for term, said in allowed.items()}
        self._patterns = {
            term: tuple(_pattern(part) for one in said for part in _parts(plain(one)))
            for term, said in self._allowed.items()
        }
        self._lexicon = Lexicon(("term", f"{term}*" if _long(term) else term, term) for term in self._allowed)

    @classmethod
    def read(cls, path: Path, source: str, target: str) -> Glossary:
        """A glossary from a CSV file with a header: columns ``source`` and ``target``, or those of TICO-19's terminologies (sourceLang,
        targetLang, sourceString, targetString), of which the rows of this pair of languages count, in either direction.
        Raises MissingInput for a file that is not there or has no such columns."""
        if not path.is_file():
            raise MissingInput(f"no glossary at {path}")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = set(rows.fieldnames or ())
            if {"source", "target"} <= columns:
                return cls((row["source"] or "", row["target"] or "") for row in rows)
            if not {"sourceLang", "targetLang", "sourceString", "targetString"} <= columns:
                raise MissingInput(
                    f"{path}: a glossary has columns source and target, or sourceLang, targetLang, sourceString and targetString"
                )
            return cls(term for row in rows for term in _of_pair(row, source, target))

    def __len__(self) -> int:
        return len(self._allowed)

    def missing(self, source: str, target: str) -> list[Drop]:
        """The terms in the source none of whose translations stands in the target: ``glossary``. Of terms that overlap the longest
        counts; words of five letters and more may end otherwise."""
        here, there = plain(source), plain(target)
        wanted: Counter[str] = Counter()
        for hit in self._lexicon.hits(here):
            tail = re.match(r"[^\W\d_]*", here[hit.end :])
            if tail and len(tail.group()) <= ENDING // 2:
                wanted[hit.value] += 1
        return [
            Drop("glossary", f"{term} must be {' or '.join(self._allowed[term])}, and is not in the translation")
            for term in wanted
            if not any(pattern.search(there) for pattern in self._patterns[term])
        ]


def _of_pair(row: dict[str, str | None], source: str, target: str) -> Iterator[tuple[str, str]]:
    languages = tuple(re.split("[-_]", row[name] or "")[0].lower() for name in ("sourceLang", "targetLang"))
    pair = row["sourceString"] or "", row["targetString"] or ""
    wanted = tuple(re.split("[-_]", code)[0] for code in (source, target))
    if languages == wanted:
        yield pair
    elif languages == wanted[::-1]:
        yield pair[::-1]


def _parts(said: str) -> tuple[str, ...]:
    found = _BRACKETS.fullmatch(said)
    return (found[1], found[2]) if found else (said,)


def _long(term: str) -> bool:
    word = re.split(r"[\s-]", term)[-1]
    return len(word) >= LONG and word.isalpha() and all(map(spaced, word))


def _pattern(term: str) -> re.Pattern[str]:
    """A pattern for a term as it may stand in running text."""
    words = re.findall(r"\w+|[^\w\s-]+", term)
    edge = ["(?<![^\\W\\d_])" if spaced(term[0]) else "", "(?![^\\W\\d_])" if spaced(term[-1]) else ""]
    said = r"[\s-]*".join(_word(word) for word in words)
    return re.compile(edge[0] + said + edge[1])


def _word(word: str) -> str:
    joined = ""
    if "\u0620" <= word[0] <= "\u064a":
        # Arabic joins the article and small words to the front.
        joined, word = rf"[\u0620-\u064a]{{0,{ENDING}}}", word.removeprefix("ال") or word
    if not (len(word) >= LONG and all(map(spaced, word))):
        return joined + re.escape(word)
    return joined + re.escape(word[: max(LONG - 1, len(word) - 3)]) + rf"[^\W\d_]{{0,{ENDING + 2}}}"
