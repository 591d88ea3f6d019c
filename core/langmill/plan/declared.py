"""Absent sources in the plan: stand-ins for the rows that they declare (``expect:``).

How long rows are is declared as well, where ``expect:`` has tokens beside rows; else they are as long as is usual of their
body. The usual lengths are in characters of an English edition, measured with our loaders on the public sets of seven languages
(each language's characters by its pack's ``of_english``); between sets the means lie apart by the factors below:

- passages: 1,120 to 1,550 characters (a textbook's sections, abstracts, TICO-19), within a set by 0.3 (standard deviation of
  the logarithm);
- questions and answers: questions of 49 to 122, by 0.4; answers of 169 (a set of short ones) to 1,537 (pages for patients), by
  0.6 to 1.0;
- exam items: questions of 70 to 740 characters with their context (1,467 with an abstract), by 0.4 to 1.3; two to ten options,
  mostly four or five, of 18 to 48; explanations of 279 to 2,572, by 0.4 to 0.8.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

from langmill.api import SPLITS, Body, Chat, Choice, Loader, Origin, Pack, Row, Split, Text
from langmill.plan.ahead import Made
from langmill.recipe.assembly import Assembly

EACH = 24  # stand-ins for the rows of one source, split and language
OPTIONS = 5
ROOM = 12  # characters that tell one stand-in from another
KINDS: Mapping[str, type[Body]] = {"text": Text, "chat": Chat, "choice": Choice}


class _Usual(NamedTuple):
    """Characters of an English edition: their mean, the factor by which sets lie above and below, and within a set the standard
    deviation of the logarithm."""

    mean: float
    apart: float
    spread: float


PASSAGE = _Usual(1300, 1.3, 0.3)
ASKED = _Usual(80, 1.6, 0.4)
ANSWERED = _Usual(550, 2.8, 0.8)
STEM = _Usual(230, 3.0, 0.7)
OPTION = _Usual(30, 1.6, 0.0)
REASONS = _Usual(700, 2.2, 0.75)


@dataclass(frozen=True)
class Declared:
    """What absent sources declare: stand-ins by source, and those sources' names whose rows are dealt out over languages that
    nobody told."""

    made: Mapping[str, list[Made]]
    dealt: tuple[str, ...]


def declared(assembly: Assembly, absent: Mapping[str, Loader], limit: int | None) -> Declared:
    """Stand-ins for the rows of absent sources that declare any; ``limit`` is --limit."""
    made, dealt = {}, []
    for name, loader in absent.items():
        if loader.expect is None or (loader.expect.total is None and loader.expect.tokens is None):
            continue
        source = _Source(name, loader, assembly, limit)
        made[name] = list(source.stand_ins())
        dealt += [name] if not source.told else []
    return Declared(made, tuple(dealt))


class _Source:
    """One source that is not there, by its options and by what its loader says of the set (``Loader.gives``)."""

    def __init__(self, name: str, loader: Loader, assembly: Assembly, limit: int | None):
        assert loader.expect is not None
        self.name, self.loader, self.expect, self.limit = name, loader, loader.expect, limit
        gives, self.packs = loader.gives, assembly.packs
        self.body = KINDS.get(getattr(loader, "body", ""), gives.body if gives else Text)
        one: str | None = getattr(loader, "language", None)
        some: tuple[str, ...] = getattr(loader, "languages", ())
        self.told = (one,) if one else some or (gives.languages if gives else ())
        self.languages = self.told or tuple(assembly.packs)
        self.explained = bool(gives and gives.explained) or _named(loader, "explanation")

    def stand_ins(self) -> Iterator[Made]:
        """For each language of the recipe that it has, and each split."""
        bounds = [bound for bound in (self.loader.limit, self.limit) if bound is not None]
        for language in self.languages:
            if language not in self.packs:
                continue
            mean = self._mean(self.packs[language])
            for split, rows in self._splits(mean).items():
                number = min([rows / len(self.languages), *bounds])
                yield from self._rows(language, split, number, mean)

    def _splits(self, mean: float) -> dict[Split, float]:
        """Rows by the split that they end in."""
        records = self.expect.rows
        if records is None:
            assert self.expect.tokens is not None
            records = round(self.expect.tokens / mean)
        left = self.expect.usable / max(1, self.expect.total) if self.expect.usable and self.expect.total else 1.0
        found: dict[Split, float] = dict.fromkeys(SPLITS, 0.0)
        given: dict[Split | None, int] = {None: records} if isinstance(records, int) else dict(records)
        for own, number in given.items():
            split = own and self.loader.splits.get(own, own)
            shares = {"dev": self.loader.dev, "test": self.loader.test} if split is None else {split: 1.0}
            shares.setdefault("train", 1 - sum(shares.values()))
            for to, share in shares.items():
                found[to] += number * share * left
        return {split: number for split, number in found.items() if number > 0}

    def _mean(self, pack: Pack) -> float:
        """Tokens of a usual row in a language."""
        return sum(map(len, _words(self._form(pack, 1.0, 0, "")))) / _rate(pack)

    def _rows(self, language: str, split: Split, number: float, mean: float) -> Iterator[Made]:
        pack, source, total = self.packs[language], self.name, self.expect.total
        ends = (-1, 1)
        scale = (1.0, 1.0)
        if self.expect.tokens is not None and total:  # how long they are is declared, but for the tokenizer
            told, ends = self.expect.tokens / total / mean, (0, 0)
            low, high = pack.size.characters_a_token
            scale = (told * low / _rate(pack), told * high / _rate(pack))
        pieces = max(1, min(EACH, round(number)))
        for index in range(pieces):
            id = f"{source}/declared/{language}.{split}-{index}"
            mark = hashlib.sha256(id.encode()).hexdigest()[:ROOM]
            point = (index + 0.5) / pieces
            short, long = (
                Row(id, language, split, id, self._form(pack, times, end, mark, point),
                    Origin(source, f"declared/{index}", (self.loader.license,)))
                for times, end in zip(scale, ends, strict=True)
            )  # fmt: skip
            yield Made(short, long, number / pieces)
