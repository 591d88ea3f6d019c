"""The words of a language pack, found in a text in one pass.

A text is looked at in its plain form (:func:`plain`); every place that a guard speaks of is a place in that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from langmill.api import Pack, missing_package
from langmill_plugins.text.wording import folded

_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−⁻﹣－ｰ"), "-")
_SIGNS = (
    _DASHES | dict.fromkeys(map(ord, "’‘ʼ＇`´"), "'") | {ord("ё"): "е", ord("⁄"): "/", ord("∕"): "/", ord("µ"): "μ"}
)
_MARKS = re.compile("[\u0640\u064b-\u0652\u0670]")  # Arabic: the stroke that only lengthens a word, and vowel signs
_DIGIT = re.compile(r"[^\x00-\x7f\D]")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
)


def plain(text: str) -> str:
    """A text as guards read it: folded (wording.folded: NFKC, lower case, single blanks, a raised digit after a caret), with
    ASCII digits, one kind of dash and apostrophe, and without Arabic vowel signs."""
    text = folded(text).translate(_SIGNS)
    if not text.isascii():
        text = _MARKS.sub("", _DIGIT.sub(lambda digit: str(unicodedata.digit(digit.group())), text))
    return text


class Hit(NamedTuple):
    """A phrase of a pack in a plain text: from ``start`` to ``end``. ``kind`` says which list it stands in (``word``, ``unit``,
    ``negation`` and so on, see :func:`phrases_of`), ``value`` what it means there; ``before`` and ``after``: the phrase wants a
    number in front of itself, or behind."""

    start: int
    end: int
    kind: str
    value: Any
    before: bool = False
    after: bool = False


class Lexicon:
    """All phrases of a pack. Of phrases of one group, the longest that begins first is found, and none inside it."""

    def __init__(self, phrases: Iterable[tuple[str, str, Any]]):
        """``phrases``: kind, phrase, value."""
        try:
            import ahocorasick_rs
        except ImportError:
            raise missing_package("guards", "ahocorasick_rs", "data") from None
        found: dict[str, list[_Phrase]] = {}
        for kind, said, value in phrases:
            phrase = _Phrase.of(kind, said, value)
            found.setdefault(phrase.text, []).append(phrase)
        self._phrases = list(found.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(found)) if found else None

    def hits(self, text: str) -> list[Hit]:
        """The phrases in a plain text, by place. Lone surrogates count as question marks."""
        if self._automaton is None:
            return []
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()
        by_group: dict[str, list[Hit]] = {}
        for number, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            for phrase in self._phrases[number]:
                if phrase.stands(text, start, end):
                    hit = Hit(start, end, phrase.kind, phrase.value, phrase.before, phrase.after)
                    by_group.setdefault(GROUPS.get(phrase.kind, phrase.kind), []).append(hit)
        return sorted(
            (hit for hits in by_group.values() for hit in _longest(hits)), key=lambda hit: (hit.start, hit.end)
        )


def _longest(hits: list[Hit]) -> Iterator[Hit]:
    hits.sort(key=lambda hit: (hit.start, -hit.end))
    reached = span = (-1, -1)
    for hit in hits:
        if (hit.start, hit.end) == span or hit.start >= reached[1]:
            span = reached = (hit.start, hit.end)
            yield hit


class _Phrase(NamedTuple):
    text: str
    kind: str
    value: Any
    free_left: bool  # may begin inside a word
    free_right: bool
    before: bool
    after: bool

    @classmethod
    def of(cls, kind: str, said: str, value: Any) -> _Phrase:
        before, after = said.startswith("_"), said.endswith("_")
        said = said.strip("_").strip()
        text = plain(said.strip("*"))
        return cls(text, kind, value, said.startswith("*") or not spaced(text[0]),
                   said.endswith("*") or not spaced(text[-1]), before, after)  # fmt: skip

    def stands(self, text: str, start: int, end: int) -> bool:
        """Whether it stands there by itself, and is not a piece of a longer word."""
        return (self.free_left or not start or not spaced(text[start - 1])) and (
            self.free_right or end == len(text) or not spaced(text[end])
        )


@lru_cache(maxsize=1 << 14)
def spaced(letter: str) -> bool:
    """Whether a letter is one of a script that parts words by spaces."""
    return unicodedata.category(letter)[0] in "LM" and not _UNSPACED.match(letter)


GROUPS: Mapping[str, str] = dict.fromkeys(("word", "hint", "scale"), "number") | dict.fromkeys(
    ("negation", "softer", "neutral"), "negation"
)
"""Kinds of which only the longest phrase counts; any other kind is a group of its own."""


def phrases_of(pack: Pack) -> Iterator[tuple[str, str, Any]]:
    """Kind, phrase and value of all that a pack says. Kinds: word, hint, scale, month, minus, counter (sections numbers); unit,
    per, frequency, route (units); negation, softer, neutral, left, right, comparison, name (cues)."""
    if numbers := pack.numbers:
        for kind, values in (("word", numbers.words), ("hint", numbers.hints), ("scale", numbers.scales)):
            for phrase, value in values.items():
                yield kind, phrase, value
        yield from (("month", phrase, value) for phrase, value in numbers.months.items())
        yield from (("minus", phrase, None) for phrase in numbers.minus)
        yield from (("counter", phrase, None) for phrase in numbers.counters)
    if units := pack.units:
        named: Mapping[Any, tuple[str, ...]]
        for kind, named in (("unit", units.names), ("frequency", units.frequencies), ("route", units.routes)):
            yield from ((kind, phrase, value) for value, phrases in named.items() for phrase in phrases)
        yield from (("per", phrase, None) for phrase in units.per)
    if cues := pack.cues:
        for kind in ("negation", "softer", "neutral", "left", "right"):
            yield from ((kind, phrase, None) for phrase in getattr(cues, kind))
        words: Mapping[Any, tuple[str, ...]]
        for kind, words in (("comparison", cues.comparisons), ("name", cues.names)):
            yield from ((kind, phrase, value) for value, phrases in words.items() for phrase in phrases)


_lexicons: dict[str, Lexicon] = {}


def lexicon(pack: Pack) -> Lexicon:
    """The lexicon of a pack, made once in a process."""
    key = pack.fingerprint or pack.code
    if key not in _lexicons:
        _lexicons[key] = Lexicon(phrases_of(pack))
    return _lexicons[key]
