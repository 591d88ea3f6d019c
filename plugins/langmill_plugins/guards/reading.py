"""What a text says in numbers: each with its unit, the identifiers beside them, and the pack's phrases.

A number is read by the language's own convention first. Where another is possible it is kept as a second value: 1,000 may be one
with three decimals, and many French and Spanish texts write 0.05 and 1,234 as English does. What is no number to answer for:

- identifiers (covid-19, hba1c, il-6, 5-fu, h1n1, vitamin b12), addresses of the web: they are ``names``;
- the numbering of a list at the beginning of a line (``1.``, ``2)``): it may change in a translation;
- Roman numerals: they may stand for digits on the other side, and are compared where both sides have them.

References in brackets, page numbers, numbers in tables and formulas are numbers like any other. LaTeX is read as what it shows:
``\\frac{1}{2}`` is 1/2, ``10^{5}`` is 10^5, ``x_2`` a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from langmill.api import Pack
from langmill_plugins.guards.lexicon import Hit, lexicon, plain
from langmill_plugins.guards.measured import Marks, Number, measured
from langmill_plugins.guards.numerals import DIGITS, LETTER, Atom, Numerals, digits, rows
from langmill_plugins.guards.together import dated, halves, quotients, share

__all__ = ["Name", "Number", "Reading", "read"]


class Name(NamedTuple):
    """An identifier with digits in it; ``key`` is it without hyphens and blanks."""

    start: int
    end: int
    key: str


class Reading(NamedTuple):
    """A text as the guards see it. Places are places in ``text``, which is plain (lexicon.plain)."""

    text: str
    pack: Pack
    hits: tuple[Hit, ...]
    numbers: tuple[Number, ...]
    names: tuple[Name, ...]


def read(text: str, pack: Pack) -> Reading:
    """The reading of a text by a pack; kept for texts that come again."""
    return reader(pack).read(text)


_readers: dict[str, Reader] = {}


def reader(pack: Pack) -> Reader:
    """What reads by a pack, made once in a process."""
    key = pack.fingerprint or pack.code
    found = _readers.get(key)
    if found is None:
        found = _readers[key] = Reader(pack)
    return found


_CIRCLED = {0x2460 + index: f"({index + 1})" for index in range(20)}
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")  # 5½, which NFKC makes 51/2
_RAISED_MINUS = re.compile(r"(?<=\d)[⁻⁺](?=[\u00b2\u00b3\u00b9\u2070\u2074-\u2079])")
_DIOPTRES = re.compile(r"(?<=\d[.,]\d)D\b|(?<=\d[.,]\d\d)D\b")  # a d is a day elsewhere
_MOLAR = re.compile(r"(?<=[\d\s])([mµμun])M\b")
_ORDINAL_DEGREE = re.compile(r"(?<=\d) ?º ?(?=[CF]\b)")
_FORMULA = re.compile(r"\$[^$]*[_^][^$]*\$")
_TEX = (
    (re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}"), r" \1/\2"),
    (re.compile(r"\^\{?([-+]?\d+)\}?"), r"^\1"),
    (re.compile(r"\$?_\{?(\d+)\}?\$?"), r"\1"),
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"\\(?=[%&])|\\[,;]|\$"), ""),
)


def prepared(text: str) -> str:
    """A text in plain form, with what folding would spoil put in words first: 5½, 10⁻⁵, mM (which is not mm) and LaTeX."""
    if not text.isascii():
        text = text.translate(_CIRCLED).replace("，", ", ")  # folding makes one mark of 6.47，95%
        text = _RAISED_MINUS.sub("^-", _VULGAR.sub(" ", text))
        text = _ORDINAL_DEGREE.sub("°", text)
    if "D" in text:
        text = _DIOPTRES.sub("dpt", text)
    if "M" in text:
        text = _MOLAR.sub(r"\1mol/L", text)
    if "\\" in text or ("$" in text and _FORMULA.search(text)):
        for pattern, by in _TEX:
            text = pattern.sub(by, text)
    return plain(text)


_DIGIT = re.compile(r"\d")
_PLAIN = re.compile(r"\d+")
_IDENTIFIER = (
    rf"(?<![^\W_])(?<!°)(?![وفبلك]?(?:ال|ل)?\d)(?:{LETTER}++[-_]?+)++\d(?:{LETTER}|\d)*+(?:-{LETTER}*+\d(?:{LETTER}|\d)*+)*+"
    rf"|(?<![\w.,])\d+-?{LETTER}{{1,3}}-?\d+(?:{LETTER}|\d)*+"
)
_NAME = re.compile(_IDENTIFIER)
_ADDRESS = re.compile(rf"(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+\.\w[\w.]*|\bdoi:? ?10\.\S+|{_IDENTIFIER}")
_ADDRESSED = re.compile(r"://|www\.|@|doi")
_UNIT = re.compile(r"[cdkmμ]?m[23]|cmh2o")
_NO_NAME = re.compile(r"\d+[ckmnμ]?m-[123]|[xх]10-?\d{0,2}|\d+(?:x|х|e-?|mg|ml|g)\d+|\w{3,}-(?:19|20)\d\ds?")
_LOOSE = re.compile(r"[-_ ]")
_LIST_MARK = re.compile(r"\d{1,2}(?:[.)、:](?!\d)|$)")
_ROMAN = re.compile(r"(?<![a-z0-9])(?=[xvi])(?!x ?\d)x{0,3}(?:i[vx]|v?i{0,3})(?=(?:e|è?me|er)?(?!-?[a-zà-ÿ0-9']))")
_SIGNS = {"i": 1, "v": 5, "x": 10}


class Reader:
    """Reads texts by one pack."""

    def __init__(self, pack: Pack):
        self.pack = pack
        facts = pack.numbers
        numerals = facts.numerals if facts else ""
        self._lexicon = lexicon(pack)
        self._decimal = facts.decimal if facts else "."
        self._ones_first = bool(facts and facts.ones_first)
        self._numerals = Numerals(numerals, dict(facts.scales) if facts else {})
        self._in_words = any("\uac00" <= sign <= "\ud7a3" for sign in numerals)
        joiners = _any_of(facts.joiners if facts else ())
        ranges = _any_of((*facts.ranges, *facts.joiners) if facts else ())
        self._joiner = re.compile(rf"(?:{joiners}) " if joiners else "(?!)")
        self._joint = re.compile(rf"\+?[ -]?(?:({joiners})[ -]?)?" if joiners else "\\+?[ -]?()")
        self._list = re.compile(rf" ?[-,/、،~+±]? ?(?:{ranges})? ?| {LETTER}{{1,3}} | ?[\u3041-\u9fff]{{1,2}} ?")
        self.read = lru_cache(maxsize=1 << 12)(self._read)

    def _read(self, text: str) -> Reading:
        parts = [part for line in text.splitlines() if (part := prepared(line))]
        lines, at = set(), 0
        for part in parts:
            lines.add(at)
            at += len(part) + 1
        whole = " ".join(parts)
        lines = lines if len(parts) > 1 else set()
        hits = tuple(self._lexicon.hits(whole))
        months = {hit.start for hit in hits if hit.kind == "month"}
        names = tuple(_names(whole, months)) if _DIGIT.search(whole) else ()
        numbers = tuple(self._numbers(whole, hits, names, lines))
        return Reading(whole, self.pack, hits, numbers, tuple(name for name in names if name.key))

    def _numbers(self, text: str, hits: Sequence[Hit], names: Sequence[Name], lines: set[int]) -> list[Number]:
        marks = Marks(hits)
        atoms = self._atoms(text, hits, names, lines, marks)
        if not atoms:
            return []
        found = rows(text, atoms, self._joint, self._ones_first)
        numbers = [measured(text, row, marks) for row in found]
        share(text, numbers, found, self._list)
        dated(text, numbers)
        numbers = quotients(text, numbers)
        if any(number.values[0].denominator == 2 for number in numbers):
            numbers = halves(text, numbers, marks.units, self._joint)
        if marks.frequencies:
            numbers = [_covered(number, marks) for number in numbers]
        return numbers

    def _atoms(
        self, text: str, hits: Sequence[Hit], names: Sequence[Name], lines: set[int], marks: Marks
    ) -> list[Atom]:
        """Numbers and number words one by one, by place; where two overlap, the one that begins first and is longer."""
        atoms = list(self._digits(text, names, lines)) if _DIGIT.search(text) else []
        hints = {hit.start for hit in hits if hit.kind == "hint"}
        ends = {hit.end for hit in hits if hit.kind == "hint"} if self._in_words else set()
        for hit in hits:
            kind, value = hit.kind, hit.value
            if kind == "scale":
                if any(before.start <= hit.start < before.end for before in marks.units_before.values()):
                    continue  # 百分之_ is a unit
                if hit.start in ends:
                    continue  # 하나만 is only one
                atoms.append(Atom(hit.start, hit.end, (Fraction(value),), False, True, value, False))
            elif kind == "word" or kind == "hint":
                values = value if isinstance(value, tuple) else (value,)
                alone = kind == "hint" and not (
                    values and values[0].denominator > 1
                )  # half a million is one number, century eighty is not
                start = hit.start
                if not alone and (joiner := self._joiner.match(text, start)):  # "y medio" after what it is joined to
                    start = joiner.end()
                atoms.append(Atom(start, hit.end, values, kind == "word", True, kind="hint" if alone else ""))
            elif kind == "month":
                # One that is a hint as well ("may") or short ("mar") is a month for sure only beside a number.
                firm = hit.end - hit.start > 3 and hit.start not in hints
                atoms.append(Atom(hit.start, hit.end, (Fraction(value),), firm, True, kind=kind))
        if self._numerals.pattern:
            atoms.extend(self._native(text, hits, marks))
        atoms.extend(_romans(text, names))
        atoms.sort(key=lambda atom: (atom.start, -atom.end, atom.scale, atom.kind == "hint"))
        kept: list[Atom] = []
        reached = 0
        for atom in atoms:
            if atom.start >= reached:
                kept.append(atom)
                reached = atom.end
            elif atom.scale and (before := kept[-1])[:2] == atom[:2] and not before.scale:  # vingt: 20, and times 20
                kept[-1] = before._replace(scale=atom.scale)
        return [atom for atom in kept if atom.values]  # a hint at nothing keeps other phrases out of its place

    def _digits(self, text: str, names: Sequence[Name], lines: set[int]) -> Iterator[Atom]:
        """Digits, those in names apart."""
        at, upcoming = 0, iter((*names, Name(len(text) + 1, 0, "")))
        name = next(upcoming)
        while found := DIGITS.search(text, at):
            start, at = found.span()
            while name.end <= start and name.end:
                name = next(upcoming)
            if start >= name.start or at > name.start:
                at = name.end  # "SpO2 100 %": digits may begin in a name and go on behind it
                continue
            said = digits(found, self._decimal)
            if said is None:
                for piece in _PLAIN.finditer(text, start, at):
                    yield Atom(*piece.span(), (Fraction(piece.group()),))
            elif start in lines and _LIST_MARK.match(text, start):
                yield Atom(start, at, said.values, False, kind="list")
            else:
                yield Atom(start, at, said.values, parts=said.parts)

    def _native(self, text: str, hits: Sequence[Hit], marks: Marks) -> Iterator[Atom]:
        """Native numerals. One sign alone is a number only beside a counter or a unit, and only hints at one elsewhere."""
        assert self._numerals.pattern
        covered = [
            (hit.start, hit.end) for hit in hits if hit.end - hit.start > 1 and hit.kind in ("unit", "name", "month")
        ]
        for found in self._numerals.pattern.finditer(text):
            start, end = found.span()
            if any(left <= start and end <= right and end - start < right - left for left, right in covered):
                continue
            counted = end in marks.counters or end in marks.units or start in marks.counters_before
            if self._in_words and (
                (start and "\uac00" <= text[start - 1] <= "\ud7a3")
                or (end < len(text) and "\uac00" <= text[end] <= "\ud7a3" and not counted)
            ):
                continue
            if start and text[start - 1].isdigit():  # 5千万: scales of the digits before them
                continue
            value = self._numerals.value(found.group())
            if value:
                yield Atom(start, end, (value[0],), value[1] or counted, True)


def _covered(number: Number, marks: Marks) -> Number:
    """A number inside a frequency."""
    if any(start <= number.start and number.end <= end for start, end in marks.frequencies):
        return number._replace(kind="frequency")
    return number


def _any_of(words: Sequence[str]) -> str:
    return "|".join(re.escape(plain(word.strip("_*"))) for word in sorted(words, key=len, reverse=True))


def _names(text: str, months: set[int]) -> Iterator[Name]:
    """Identifiers and addresses; units that end in a digit (cm3) with no key: they are neither names nor numbers."""
    pattern = _ADDRESS if _ADDRESSED.search(text) else _NAME
    for found in pattern.finditer(text):
        if found.start() not in months and not _NO_NAME.fullmatch(found.group()):
            unit = _UNIT.fullmatch(found.group())
            yield Name(*found.span(), "" if unit else _LOOSE.sub("", found.group()))


def _romans(text: str, names: Sequence[Name]) -> Iterator[Atom]:
    for found in _ROMAN.finditer(text):
        if any(name.start <= found.start() < name.end for name in names):
            continue
        signs = [_SIGNS[sign] for sign in found.group()]
        value = sum(-sign if sign < max(signs[place:]) else sign for place, sign in enumerate(signs))
        yield Atom(found.start(), found.end(), (Fraction(value),), False, True, kind="roman")
