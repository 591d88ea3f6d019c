"""Glossaries: terms that must be translated as listed. Read with every fault told by its line."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path

from langmill.api import Drop, MissingInput
from langmill_plugins.guards.lexicon import Lexicon, plain, spaced

LONG = 5  # letters from which a word may end otherwise than its term
ENDING = 4  # letters that such an ending may have
CELL = 10_000  # characters; no term is that long
_BRACKETS = re.compile(r"(.*\S)\s*\((.+)\)\s*")
_POSSIBLE = (
    "possible: a CSV file in UTF-8, parted by commas, with columns source and target: its first line is source,target "
    "or sourceLang,targetLang,sourceString,targetString"
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
        targetLang, sourceString, targetString), of which the rows of this pair of languages count, in either direction; none if it
        has none. Raises MissingInput, with path, line and what is possible, for a file that can not be read."""
        if not path.is_file():
            raise MissingInput(f"no glossary at {path}")
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise MissingInput(f"{path}:{line}: this is no UTF-8; {_POSSIBLE}") from None
        rows = csv.DictReader(StringIO(text, newline=""))
        found: list[dict[str, str | None]] = []
        try:
            columns = list(rows.fieldnames or ())
            for row in rows:
                # Not left to csv: its own limit is the process's, and loaders lift it.
                if any(len(cell) > CELL for cell in row.values() if isinstance(cell, str)):
                    raise csv.Error(f"a cell of more than {CELL:,} characters: is a quotation mark left open?")
                found.append(row)
        except csv.Error as error:
            raise MissingInput(f"{path}:{rows.reader.line_num}: {error}; {_POSSIBLE}") from None
        if {"source", "target"} <= set(columns):
            return cls((row["source"] or "", row["target"] or "") for row in found)
        if not {"sourceLang", "targetLang", "sourceString", "targetString"} <= set(columns):
            raise MissingInput(f"{path}:1: found '{','.join(columns)[:80]}'; {_POSSIBLE}")
        return cls(term for row in found for term in _of_pair(row, source, target))

    def __len__(self) -> int:
        return len(self._allowed)

    def missing(self, source: str, target: str) -> list[Drop]:
        """The terms in the source none of whose translations stands in the target: ``glossary``. Of terms that overlap the longest
        counts; words of five letters and more may end otherwise."""
        here, there = plain(source), plain(target)
        wanted: Counter[str] = Counter()
        for hit in self._lexicon.hits(here):
            tail = re.match(r"[^\W\d_]*", here[hit.end :])
            # Where words are not spaced, what follows a term is no ending of it.
            if not spaced(hit.value[-1]) or (tail and len(tail.group()) <= ENDING // 2):
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
