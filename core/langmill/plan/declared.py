"""Absent sources in the plan: stand-ins for the rows that they declare (``expect:``).

How long the rows are is declared as well where ``expect:`` has tokens; else they are as long as is usual of their body. The
usual lengths are in characters of an English edition (a language's own by its pack's ``of_english``), measured with our loaders
on public sets in seven languages. From set to set the means lie apart by the factors below; within a set lengths lie apart by
the standard deviation of their logarithm:

- passages: 1,120 to 1,550 characters (a textbook's sections, abstracts, articles), by 0.2 to 0.7 within a set;
- questions and answers: questions of 49 to 122, by 0.2 to 0.4; answers of 169 (short replies) to 1,537 (pages for patients),
  by 0.6 to 1.0;
- exam items: questions with their context of 70 to 740 (1,467 with an abstract), by 0.4 to 1.3; two to ten options, mostly four
  or five, of 18 to 48 each; explanations of 279 to 2,572, by 0.4 to 0.8.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from langmill.api import SPLITS, Body, Chat, Choice, Expect, Loader, Origin, Pack, Row, Split, Text, words
from langmill.plan.ahead import Made
from langmill.recipe.assembly import Assembly

EACH = 24  # stand-ins for the rows of one source, split and language
OPTIONS = 5
TOLD = 1.1  # factor by which rows lie apart whose tokens are declared: tokenizers differ
MARK = 12  # characters that tell one stand-in from another: what is asked twice is paid once
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
    """What absent sources declare: stand-ins by source, and the names of those whose rows are dealt out over all languages of the
    recipe, since nobody tells theirs."""

    made: Mapping[str, Sequence[Made]]
    dealt: tuple[str, ...]


def declared(assembly: Assembly, absent: Iterable[str], limit: int | None) -> Declared:
    """Stand-ins for the rows of absent sources, of those that declare any; ``limit`` is --limit."""
    sources = [_Source(name, assembly, limit) for name in absent if _declares(assembly.sources[name])]
    return Declared(
        {source.name: list(source.stand_ins()) for source in sources},
        tuple(source.name for source in sources if not source.told),
    )


def _declares(loader: Loader) -> bool:
    return loader.expect is not None and (loader.expect.total is not None or loader.expect.tokens is not None)


class _Part(NamedTuple):
    """The rows of one split: all, and those with an explanation."""

    rows: float
    explained: float


class _Source:
    """One source that is not there, by its options and by what its loader says of the set (``Loader.gives``)."""

    def __init__(self, name: str, assembly: Assembly, limit: int | None):
        loader = assembly.sources[name]
        self.name, self.loader, self.packs = name, loader, assembly.packs
        self.bounds = [most for most in (loader.limit, limit) if most is not None]
        self.expect = loader.expect or Expect()
        gives = loader.gives
        self.body = KINDS.get(getattr(loader, "body", ""), gives.body if gives else Text)
        one: str | None = getattr(loader, "language", None)
        self.told = (one,) if one else tuple(getattr(loader, "languages", ())) or (gives.languages if gives else ())
        self.explained = _names_explanations(loader) or bool(gives and gives.explained)

    def stand_ins(self) -> Iterator[Made]:
        """For each language, of those that the recipe has, and each split."""
        languages = self.told or tuple(self.packs)
        for pack in (self.packs[language] for language in languages if language in self.packs):
            for split, part in self._splits(pack).items():
                rows = part.rows / len(languages)
                yield from self._rows(pack, split, min([rows, *self.bounds]), part.explained / part.rows)

    # --- how many ---

    def _splits(self, pack: Pack) -> dict[Split, _Part]:
        """Rows of all languages by the split that they end in."""
        rows = self._records(pack) if self.expect.rows is None else self.expect.rows
        left = self.expect.usable / self.expect.total if self.expect.usable and self.expect.total else 1.0
        found: dict[Split, _Part] = {}
        for own, number in (rows if isinstance(rows, Mapping) else {"": rows}).items():
            with_reasons = self._with_reasons(own, number)
            for split, share in self._shares(own):
                so_far = found.get(split, _Part(0.0, 0.0))
                times = share * left
                found[split] = _Part(so_far.rows + number * times, so_far.explained + with_reasons * times)
        return {split: part for split, part in found.items() if part.rows >= 0.5}

    def _records(self, pack: Pack) -> float:
        """Of a source that declares tokens alone."""
        return (self.expect.tokens or 0) * _rate(pack) / self._usual(pack)

    def _with_reasons(self, own: str, number: float) -> float:
        told = self.expect.explained
        if isinstance(told, Mapping):
            return {**told}.get(own, 0)  # type: ignore[call-overload,no-any-return]
        if told is not None:
            return number * told / max(1, self.expect.total or 0)
        return number if self.explained else 0.0

    def _shares(self, own: str) -> Iterator[tuple[Split, float]]:
        """Where rows of one of the source's own splits end: as the recipe says, else by chance."""
        for split in SPLITS:
            if split == own and self.loader.splits.get(split, split) is not None:
                yield self.loader.splits.get(split, split) or split, 1.0
                return
        yield "dev", self.loader.dev
        yield "test", self.loader.test
        yield "train", 1 - self.loader.dev - self.loader.test

    # --- how long ---

    def _rows(self, pack: Pack, split: Split, number: float, reasons: float) -> Iterator[Made]:
        told = self._told(pack)
        pieces = max(1, min(EACH, round(number)))
        for index in range(pieces):
            id = f"{self.name}/declared/{pack.code}.{split}-{index}"
            mark = hashlib.sha256(id.encode()).hexdigest()[:MARK]
            z = NormalDist().inv_cdf((index + 0.5) / pieces)
            explained = math.floor((index + 1) * reasons + 1e-9) > math.floor(index * reasons + 1e-9)
            origin = Origin(self.name, f"declared/{index}", (self.loader.license,))
            short, long = (
                Row(id, pack.code, split, id, self._body(pack, _Length(end, z, told), mark, explained), origin)
                for end in (-1, 1)
            )
            yield Made(short, long, number / pieces)

    def _told(self, pack: Pack) -> float | None:
        """How much longer than usual its rows are, where their tokens are declared."""
        if self.expect.tokens is None:
            return None
        rows = self.expect.usable or self.expect.total or self._records(pack)
        return self.expect.tokens / rows * _rate(pack) / self._usual(pack)

    def _usual(self, pack: Pack) -> float:
        """Characters of a usual row."""
        return len(words(self._body(pack, _Length(0, 0.0, None), "", self.explained)))

    def _body(self, pack: Pack, length: _Length, mark: str, explained: bool) -> Body:
        """A stand-in's words, which ``mark`` tells from another's."""

        def text(usual: _Usual, mark: str = mark) -> str:
            most = getattr(self.loader, "most_characters", None) or math.inf
            return (mark + pack.filler(min(most, length.of(usual) * pack.size.of_english)))[: -len(mark) or None]

        if self.body is Text:
            return Text(text(PASSAGE))
        if self.body is Chat:
            return Chat.of(text(ASKED), text(ANSWERED))
        options = tuple(f"{number} {text(OPTION, '')}" for number in range(OPTIONS))
        return Choice(text(STEM), options, (0,), text(REASONS) if explained else None)


class _Length(NamedTuple):
    """Which row of a set it is: of the shortest or of the longest likely set (``end`` -1, 1), ``z`` standard deviations from its
    middle, ``told`` times as long as usual where that is declared."""

    end: int
    z: float
    told: float | None

    def of(self, usual: _Usual) -> float:
        """Characters of an English edition."""
        apart = usual.apart if self.told is None else TOLD
        spread = math.exp(usual.spread * self.z - usual.spread**2 / 2) if self.z else 1.0
        return usual.mean * (self.told or 1.0) * apart**self.end * spread


def _rate(pack: Pack) -> float:
    """Characters a token in a language, about."""
    low, high = pack.size.characters_a_token
    return math.sqrt(low * high)


def _names_explanations(loader: Loader) -> bool:
    """Whether its options name a field of explanations."""
    option = type(loader).model_fields.get("explanation")
    said = getattr(loader, "explanation", None)
    return option is not None and bool(said) and said != option.default
