"""Examples before the question: train rows that give nothing away of what is asked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from langmill.api import Choice, Row
from langmill_plugins.text.wording import choice_key, letters_only

GRAM = 12  # characters of a piece of text that two items may share
ALIKE = 0.5  # share of the pieces of an asked item that, found in an example, make it a near copy
BRIEF = 40  # letters of a question that is anybody's: what it is asked about tells two items apart


class Examples(NamedTuple):
    """The examples of a language, and of how many train rows they were chosen."""

    rows: tuple[Row, ...]
    pool: int
    near: int
    """Rows of the pool, among those looked at, that are of an asked row's family or a near copy of one."""


def examples_for(
    asked: Sequence[Row], pool: Iterable[Row], count: int, seed: int, languages: Iterable[str]
) -> dict[str, Examples]:
    """``count`` rows of the pool for each of the languages, fewer where no more are safe; the first ones by a hash of the seed
    and the id, so that all rows of a language are asked behind the same ones, whichever of them are asked.

    Never one of an asked row's family in any language; never a near copy of an asked row of its own language: the same question (of
    40 letters or more), the same question and options, or half of an asked item's pieces of 12 letters.
    """
    families = {row.family for row in asked}
    by_language: dict[str, list[tuple[bytes, Row]]] = {language: [] for language in sorted(languages)}
    pools: Counter[str] = Counter()
    for row in pool:
        if row.language in by_language and isinstance(row.body, Choice):
            pools[row.language] += 1
            if row.family not in families:
                rank = hashlib.sha256(f"{seed}\0{row.id}".encode("utf-8", "surrogatepass")).digest()
                by_language[row.language].append((rank, row))
    return {
        language: _chosen(
            [row for row in asked if row.language == language],
            [row for _, row in sorted(ranked, key=lambda one: one[0])],
            count,
            pools[language],
        )
        for language, ranked in by_language.items()
    }


def _chosen(asked: Sequence[Row], ranked: Sequence[Row], count: int, pool: int) -> Examples:
    found: list[Row] = []
    near = pool - len(ranked)
    step = 4 * count
    for start in range(0, len(ranked), step):
        some = ranked[start : start + step]
        copies = _copies(asked, some)
        near += len(copies)
        found += [row for row in some if row.id not in copies]
        if len(found) >= count:
            break
    return Examples(tuple(found[:count]), pool, near)


def _copies(asked: Sequence[Row], some: Sequence[Row]) -> set[str]:
    """The ids of those rows that are near copies of asked ones."""
    keys: dict[object, list[str]] = {}
    grams: dict[str, list[str]] = {}
    for row in some:
        for key in _keys(row):
            keys.setdefault(key, []).append(row.id)
        for gram in set(_grams(row)):
            grams.setdefault(gram, []).append(row.id)
    found: set[str] = set()
    for row in asked:
        found.update(*(keys.get(key, ()) for key in _keys(row)))
        pieces = set(_grams(row))
        held = Counter(name for gram in pieces for name in grams.get(gram, ()))
        found.update(name for name, times in held.items() if times >= ALIKE * len(pieces))
    return found


def _keys(row: Row) -> Iterator[object]:
    body = row.body
    assert isinstance(body, Choice)
    yield choice_key((body.context or "", body.question), body.options)
    question = letters_only(body.question)
    if len(question) >= BRIEF:
        yield question


def _grams(row: Row) -> Iterator[str]:
    body = row.body
    assert isinstance(body, Choice)
    text = letters_only("\n".join((body.context or "", body.question, *body.options)))
    yield from (text[place : place + GRAM] for place in range(max(1, len(text) - GRAM + 1)))


def told(examples: Mapping[str, Examples], count: int) -> str:
    """Which languages have too few examples, in words; empty where all have enough."""
    return "; ".join(
        f"{language} has {len(one.rows)} (of {one.pool:,} train rows, {one.near:,} are asked rows' family or near copies of them)"
        for language, one in sorted(examples.items())
        if len(one.rows) < count
    )
