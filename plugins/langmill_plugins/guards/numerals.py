"""How one number is written: digits with their marks, fractions, powers of ten, native numerals, and number words in a row.

All of it is exact, and none of it knows a language: what a language adds comes from its pack's section ``numbers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

Values = tuple[Fraction, ...]

LETTER = (  # a letter of a script that parts words by spaces; the scripts left out are lexicon's unspaced ones, and hangul
    r"[^\W\d_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SPACED = r"\d{1,3}(?:[ ]\d{3})+(?!\d)(?:[.,]\d+)?"
_MARKED = r"\d+(?:[.,'٫٬]\d+)*"
DIGITS = re.compile(
    rf"""(?=[.\d])(?:
    (?P<whole>\d{{1,3}})[ ](?P<half>[1-9]/[1-9]\d?)(?![\d/.])                       # 5 1/2
  | (?P<mantissa>{_MARKED})[ ]?[x×х*·⋅][ ]?10[ ]?\^[ ]?(?P<power>[-+]?\d{{1,2}})     # 3 x 10^5
  | (?P<lost>{_MARKED})[ ]?[x×х][ ]?10(?P<raised>-?\d{{1,2}})(?!\d|[.,]\d)              # 3 x 105, 3 x 10-5: raised once
  | (?<![\d.,])10\^(?P<ten>[-+]?\d{{1,2}})                                          # 10^5
  | (?P<short>{_MARKED})e(?P<by>[-+]?\d{{1,2}})(?!{LETTER}|\d)                       # 1e5
  | (?<![\d.,])(?P<share>\d{{1,3}}/\d{{1,4}})(?![\d/]|[.,]\d|[ ]\d{{3}}(?!\d))      # 1/2
  | (?<![\d.,'])(?P<spaced>{_SPACED})                                               # 10 000
  | (?P<marked>{_MARKED})
  | (?:(?<![\w.)])|(?<=(?<!\w)و))\.(?P<bare>\d+)                                                       # p < .05
    )""",
    re.VERBOSE,
)
"""One number in digits, in plain text."""

LONGEST = 60
"""Characters of a number; a longer run of digits is a wording, which must stay as it is. Python reads no more than 4,300."""
_MARK = re.compile(r"([.,'٫٬ ])")


class Written(NamedTuple):
    """One number as digits say it. ``values``: by the language's convention first, then as another convention reads it.
    ``parts``: the numbers it falls into when it is read as several, a date or a list; empty if it can not be."""

    values: Values
    parts: Values = ()


@lru_cache(maxsize=1 << 14)
def written(text: str, decimal: str) -> Written | None:
    """Digits with marks (``1,000``, ``1.234,5``, ``10 000``) by a language's marks; None where they are several numbers in a
    row, as in 1.2.2020. A single mark before three digits is read both ways: the language's own first. Marks that the
    language does not use are read as English uses them, since many texts do."""
    pieces = _MARK.split(text.replace("٫", decimal).replace("٬", "'"))
    numbers, marks = pieces[::2], pieces[1::2]
    parts = tuple(Fraction(number) for number in numbers)
    if not marks:
        return Written(parts)
    joined = "".join(numbers)
    grouped = len(numbers[0]) <= 3 and numbers[0] != "0" and all(len(number) == 3 for number in numbers[1:])
    if len(marks) == 1:
        mark = marks[0]
        as_decimal, as_group = Fraction(f"{numbers[0]}.{numbers[1]}"), Fraction(joined)
        if mark in "' ":
            return Written((as_group,), parts if mark == " " else ()) if grouped else None
        values = (as_decimal, as_group) if grouped else (as_decimal,)
        if grouped and mark != decimal:  # 3,000 is no 3 written with three noughts
            values = (as_group, as_decimal) if as_decimal.denominator > 1 else (as_group,)
        listed = mark == "," != decimal or _day_and_month(numbers)
        return Written(values, parts if listed and not grouped else ())
    if len(set(marks)) == 1:
        if not grouped:
            return None
        return Written((Fraction(joined),), parts if marks[0] == " " else ())
    last = marks[-1]
    if last in ".," and len(set(marks[:-1])) == 1 and last not in marks[:-1]:
        before = numbers[:-1]
        if len(before[0]) <= 3 and all(len(number) == 3 for number in before[1:]):
            return Written((Fraction(f"{''.join(before)}.{numbers[-1]}"),), parts if marks[0] == " " else ())
    return None


def _day_and_month(numbers: Sequence[str]) -> bool:
    return len(numbers[1]) == 2 and len(numbers[0]) <= 2 and 0 < int(numbers[0]) <= 31 and 0 < int(numbers[1]) <= 12


def digits(found: re.Match[str], decimal: str) -> Written | None:
    """What a match of DIGITS says; None where it is several numbers."""
    kind = found.lastgroup
    if found.end() - found.start() > LONGEST:
        return Written((Fraction(int.from_bytes(sha256(found.group().encode()).digest(), "big")),))
    if kind == "marked" or kind == "spaced":
        return written(found.group(), decimal)
    if kind == "bare":
        return Written((Fraction(f"0.{found['bare']}"),))
    if kind == "half":
        part = _share(found["half"])
        whole = Fraction(found["whole"])
        return Written((whole + part.values[0],), (whole, *part.parts)) if part else None
    if kind == "share":
        return _share(found["share"])
    if kind == "ten":
        return Written((_power(found["ten"]),), (Fraction(10), abs(Fraction(found["ten"]))))
    mantissa, power = {"power": ("mantissa", "power"), "raised": ("lost", "raised"), "by": ("short", "by")}[kind or ""]
    base = written(found[mantissa], decimal)
    if base is None:
        return None
    values = tuple(value * _power(found[power]) for value in base.values)
    ten = (
        (Fraction(f"10{found[power].lstrip('-')}"),)
        if kind == "raised"
        else (Fraction(10), abs(Fraction(found[power])))
    )
    return Written(values, (*base.values[:1], *ten))


def _power(said: str) -> Fraction:
    return Fraction(10) ** int(said)


def _share(text: str) -> Written | None:
    """1/2 as a half, and as 1 and 2; 120/80 and 20/400 are no fractions but two numbers."""
    above, below = map(int, text.split("/"))
    if not above < below or not (above == 1 or below <= 12):
        return None
    return Written((Fraction(above, below),), (Fraction(above), Fraction(below)))


# What stands for a digit beside a pack's own ten signs, wherever Han numerals are used.
_ALSO = {"零": 0, "〇": 0, "○": 0, "两": 2, "兩": 2, "両": 2}


class Numerals:
    """Native numerals of a script: signs for 0 to 9 and its scales, as in 二十三, 三百, 二〇二〇."""

    def __init__(self, signs: str, scales: Mapping[str, int]):
        """``scales``: single signs for 10, 100, 1000 and so on."""
        self._signs = {sign: index % 10 for index, sign in enumerate(signs)}
        if "一" in self._signs:
            self._signs = {**_ALSO, **self._signs}
        self._scales = {sign: scale for phrase, scale in scales.items() if len(sign := phrase.strip("*")) == 1}
        self.letters = frozenset({*self._signs, *self._scales})
        self.pattern = re.compile(f"[{''.join(map(re.escape, self.letters))}]+") if self._signs else None

    def value(self, text: str) -> tuple[Fraction, bool] | None:
        """The value of a run of signs, and whether it is a number for sure: one sign is not, and neither are two digits side by
        side (七八: seven or eight) or scales alone (千万). None for what is no number."""
        scaled = any(sign in self._scales for sign in text)
        if not scaled:
            number = Fraction(int("".join(str(self._signs[sign]) for sign in text)))
            return number, len(text) > 2
        total, section, digit, sure = 0, 0, None, False
        for sign in text:
            if sign in self._signs:
                if digit:
                    return None
                digit, sure = self._signs[sign], sure or len(text) > 1
                continue
            scale = self._scales[sign]
            if scale < 10_000:
                section += (1 if digit is None else digit) * scale
            else:
                section += digit or 0
                total = total + section * scale if section else max(total, 1) * scale
                section = 0
            digit = None
        return Fraction(total + section + (digit or 0)), sure


def adds(current: Fraction, value: Fraction, joined: bool, ones_first: bool) -> Fraction | None:
    """Two number words in a row as one: twenty five, cent vingt, five and twenty where ones come first. None if they are two
    numbers."""
    if value.denominator != 1:  # five and a half; two thirds
        if joined:
            return current + value
        return current * value if current.denominator == 1 and current < 20 else None
    if current.denominator != 1 or value <= 0:
        return None
    if ones_first and joined and current < 10 and value in _TENS:
        return current + value
    place = 10
    while current % (place * 10) == 0 and place < current:
        place *= 10
    if current and current % place == 0 and value < place:
        return current + value
    if current % 100 in (60, 80) and 10 <= value < 20:  # soixante-dix, quatre-vingt-dix
        return current + value
    return None


_TENS = frozenset(range(20, 100, 10))


def multiplies(
    total: Fraction, current: Fraction | None, scale: int, last: int
) -> tuple[Fraction, Fraction | None] | None:
    """What is closed and what is still open after a scale word: two hundred, five hundred thousand, 2億5000万. ``last``: the
    last scale of a thousand and more. None if the scale does not go on with the number."""
    if scale < 1000:
        if current is None:
            return None
        low = current % 1000 if current >= 1000 else current
        return (total, current - low + low * scale) if 0 < low < scale else None
    if current is None:  # 千万: one scale right after the other
        return (total * scale, None) if scale > last else None
    if last and scale > last:
        return (total + current) * scale, None
    return total + current * scale, None


class Atom(NamedTuple):
    """One number, number word or numeral in a text. ``scale``: what it multiplies the number before it by, 0 if it does not;
    ``own``: it is a number by itself, too, and no bare scale."""

    start: int
    end: int
    values: Values
    firm: bool = True
    word: bool = False
    scale: int = 0
    own: bool = True
    kind: str = ""
    parts: Values = ()


class Row(NamedTuple):
    """Atoms that make one number; ``times`` is what scales made of the first of them: a million in 1.5 million."""

    start: int
    end: int
    values: Values
    firm: bool
    word: bool
    kind: str
    parts: Values
    times: int = 1


def rows(text: str, atoms: Sequence[Atom], joint: re.Pattern[str], ones_first: bool) -> list[Row]:
    """Atoms put together: two hundred and five, 1.5 million, 2億5000万. ``joint`` is what may stand between them, its first group
    the word that joins."""
    found, index = [], 0
    while index < len(atoms):
        first = atoms[index]
        index += 1
        if first.kind not in ("", "hint") or index == len(atoms) or atoms[index].start - first.end > 8:
            found.append(Row(first.start, first.end, first.values, first.firm, first.word, first.kind, first.parts))
            continue
        total, last, times, end, firm = Fraction(0), 0, 1, first.end, first.firm
        current: Fraction | None = first.values[0]
        if first.scale >= 1000 and not first.own:
            total, current, last = Fraction(first.scale), None, first.scale
        begun = index
        while index < len(atoms):
            atom = atoms[index]
            joined = joint.fullmatch(text, end, atom.start)
            one = atom.kind == "hint" and atom.values[0] == 1 and _takes_one(first, current)
            if (atom.kind and not (one or atom.scale)) or not joined:
                break
            glued = bool(joined[1]) or (ones_first and atom.word)
            going = multiplies(total, current, atom.scale, last) if atom.scale else None
            if first.kind and not going and not last:
                break  # a hint makes no number with the words behind it, but for a scale: one million
            if going:
                times = times * atom.scale if not total or atom.scale > last else times
                total, current = going
                last = atom.scale if atom.scale >= 1000 else last
            elif not atom.own:
                break
            elif current is None:
                if not 0 < atom.values[0] < last or atom.word != first.word:
                    break
                if not atom.word and (joined[1] or not _goes_on(atoms, index, end)):
                    break
                current = atom.values[0]
            else:
                if not (first.word or last) and not (joined[1] and atom.values[0].denominator > 1):
                    break
                more = adds(current, atom.values[0], glued, ones_first) if atom.word else None
                if more is None:
                    break
                current = more
            end, firm = atom.end, firm or atom.firm or bool(first.kind)
            index += 1
        values, parts, kind = first.values, first.parts, first.kind
        if index > begun:
            kind = ""
            value = total + (current or 0)
            rest = value - first.values[0] * times
            values, parts = (value, *(other * times + rest for other in first.values[1:])), ()
        found.append(Row(first.start, end, values, firm, first.word, kind, parts, times))
    return found


def _takes_one(first: Atom, current: Fraction | None) -> bool:
    """Whether a hint at one behind it makes it 21, 31 and so on: "one" is a number word there."""
    return first.word and not first.kind and current is not None and current % 100 >= 20 and current % 10 == 0


def _goes_on(atoms: Sequence[Atom], index: int, end: int) -> bool:
    """Whether digits behind a scale belong to it: 2億5000万, 3만 5천; not 2 million 50 patients."""
    touching = atoms[index].start == end
    following = atoms[index + 1] if index + 1 < len(atoms) else None
    return touching or (following is not None and bool(following.scale) and following.start - atoms[index].end <= 1)
