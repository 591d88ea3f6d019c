"""Does a translation say the same numbers, with the same units, as often and by the same route?

Values are compared exactly. Each number of one side looks for its like on the other, from the surest to the least: the same value and
unit; a unit that converts exactly (1000 mg is 1 g); the same value where one side leaves the unit unsaid; the numbers that a date, a
fraction or a list falls into. What is left and must be answered for is a fault, unless a word, an identifier or a frequency of the
other side explains it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from langmill.api import Drop
from langmill_plugins.guards.lexicon import Hit
from langmill_plugins.guards.reading import Number, Reading
from langmill_plugins.guards.units import MEASURES, in_base, unit


def changed_numbers(
    source: Reading,
    target: Reading,
    *,
    numbers: bool = True,
    units: bool = True,
    dropped: bool = True,
    added: bool = True,
) -> list[Drop]:
    """What changed between a text and its translation, or nothing.

    Reasons: ``changed_number`` (a value that the other side does not have), ``changed_unit`` (a value whose unit is another one and
    does not convert exactly), ``changed_frequency`` and ``changed_route`` (both sides say how often, or which way, and not the same).
    ``dropped=False`` lets numbers of the source go, ``added=False`` lets the target say more: for texts that are no translation.
    """
    drops: list[Drop] = []
    left, right, odd = _matched(source, target)
    if units:
        odd = [(s, t) for s, t in odd if t.unit or not _unit_alone(s, target, t)]
        drops += [
            Drop("changed_unit", f"{_said(source, s)} in the source, {_said(target, t)} in the translation")
            for s, t in odd
        ]
    if numbers:
        on_both = {number.kind for number in left if _clear(source, number)} & {
            number.kind for number in right if _clear(target, number)
        }
        lost = (
            [
                number
                for number in left
                if (number.kind in on_both and _clear(source, number)) or _owed(number, source, target)
            ]
            if dropped
            else []
        )
        new = (
            [
                number
                for number in right
                if (number.kind in on_both and _clear(target, number)) or _owed(number, target, source)
            ]
            if added
            else []
        )
        drops += _faults(source, target, lost, new)
    if units:
        for kind, reason in (("frequency", "changed_frequency"), ("route", "changed_route")):
            here, there = ({code for code in _codes(side, kind) if code not in _WHENEVER} for side in (source, target))
            if _gone(here - there, target) and _gone(there - here, source):
                drops.append(
                    Drop(
                        reason,
                        f"{', '.join(sorted(here))} in the source, {', '.join(sorted(there))} in the translation",
                    )
                )
    return drops


def _gone(codes: set[str], other: Reading) -> bool:
    """Whether the other side does not say these in another way: 5 daily doses."""
    values = {value for number in other.numbers for value in number.values}
    return any(not code[:1].isdigit() or Fraction(_DIGITS.findall(code)[0]) not in values for code in codes)


def _clear(reading: Reading, number: Number) -> bool:
    """Roman numerals and the numbering of lists are held against one another only where both sides have them; one letter
    may be a word, and iv a vein."""
    return number.kind in ("list", "item") or (
        number.kind == "roman" and _ROMAN.match(reading.text, number.start) is not None
    )


_ROMAN = re.compile(r"(?!iv\b)\w{2}")


def _faults(source: Reading, target: Reading, lost: Sequence[Number], new: Sequence[Number]) -> list[Drop]:
    if len(lost) == len(new) == 1:
        return [
            Drop(
                "changed_number", f"{_said(source, lost[0])} in the source, {_said(target, new[0])} in the translation"
            )
        ]
    drops = [
        Drop("changed_number", f"{_said(source, number)} in the source, missing in the translation") for number in lost
    ]
    return drops + [
        Drop("changed_number", f"{_said(target, number)} in the translation, not in the source") for number in new
    ]


def _said(reading: Reading, number: Number) -> str:
    return reading.text[number.left : number.right]


Likeness = Callable[[Number, Number], bool]


def _matched(source: Reading, target: Reading) -> tuple[list[Number], list[Number], list[tuple[Number, Number]]]:
    """What finds no like on either side, and the pairs that differ in their unit. Digits look among digits first, and words
    among words: an article that may mean one stands for a 1 only where it is not said on both sides."""
    left: list[Number] = []
    right: list[Number] = []
    for worded in (False, True, None):
        mine, theirs = ([n for n in reading.numbers if _worded(n) is worded] for reading in (source, target))
        if worded is None:
            mine, theirs, left, right = left, right, [], []
        for alike in (_same, _converts, _unit_unsaid):
            if mine and theirs:
                mine, theirs, _ = _paired(mine, theirs, alike)
        left += mine
        right += theirs
    odd: list[tuple[Number, Number]] = []
    if any(number.firm for number in left) and any(number.firm for number in right):
        left, right, odd = _paired(left, right, _other_unit)
    if any(number.parts for number in left) or any(number.parts for number in right):
        left, right = list(_apart(left)), list(_apart(right))
        left, right, _ = _paired(left, right, _same_value)
    return left, right, odd


def _worded(number: Number) -> bool:
    return number.word and number.kind != "month"


def _paired(
    left: Sequence[Number], right: Sequence[Number], alike: Likeness
) -> tuple[list[Number], list[Number], list[tuple[Number, Number]]]:
    """Numbers taken together one by one; those that must be answered for choose first."""
    free = list(right)
    rest: list[Number] = []
    pairs: list[tuple[Number, Number]] = []
    for number in sorted(left, key=lambda number: (not number.firm, number.word)):
        like = [other for other in free if alike(number, other)]
        if like:
            best = min(like, key=lambda other: (not other.firm, other.word))
            pairs.append((number, best))
            free.remove(best)
        else:
            rest.append(number)
    return rest, free, pairs


def _same_value(one: Number, other: Number) -> bool:
    if one.values[0] != other.values[0] and one.values[0] not in other.values and other.values[0] not in one.values:
        return False
    if one.word != other.word and (one.kind in _PLACED or other.kind in _PLACED) and one.kind != other.kind:
        return False
    if one.kind == other.kind:
        return True
    kinds = {one.kind, other.kind}
    if kinds == {"label", "hint"}:  # "answer 1." is not said by an article
        return False
    return "date" in kinds if "month" in kinds else kinds != {"roman", "list"}


_PLACED = frozenset({"day", "item"})  # 1 December and (1) are no one and no a


def _same(one: Number, other: Number) -> bool:
    return (
        (one.kind == "month") == (other.kind == "month")
        and one.unit == other.unit
        and _same_value(one, other)
        and _over_alike(one, other)
    )


def _converts(one: Number, other: Number) -> bool:
    if not one.unit or not other.unit or one.unit == other.unit:
        return False
    if unit(one.unit).dimension != unit(other.unit).dimension:
        return False
    # By the language's own marks alone: 1,900 g is no 1.9 kg by way of another reading.
    return bool(one.values[0]) and in_base(one.values[0], one.unit) == in_base(other.values[0], other.unit)


def _unit_unsaid(one: Number, other: Number) -> bool:
    """The same value where a side has no unit, or shares that of its neighbour. A translation may add a unit that goes without
    saying in the source, and leave out none but years of age."""
    if one.unit and other.unit and not (one.shared or other.shared or one.kind or other.kind):
        return False
    if one.word != other.word and one.values[0] == 1 and (other.unit if one.word else one.unit):
        return False  # 1 mg is not said by any "a" of the other side
    plain = not one.word and one.kind in _PLAIN and other.kind in _PLAIN
    lost = plain and one.unit not in ("", "a") and not one.shared and not other.unit
    return not lost and _same_value(one, other)


_PLAIN = frozenset({"", "item", "counted", "label"})


def _measure(number: Number) -> bool:
    return bool(number.unit) and not number.shared and unit(number.unit).dimension in MEASURES


def _other_unit(one: Number, other: Number) -> bool:
    return (one.firm or other.firm) and _same_value(one, other)


def _over_alike(one: Number, other: Number) -> bool:
    if one.per == other.per or not one.per or not other.per:
        return True
    mine, theirs = _bases(one.per), _bases(other.per)
    return mine <= theirs or theirs <= mine


@lru_cache(maxsize=1 << 12)
def _bases(per: str) -> frozenset[tuple[str, Fraction]]:
    return frozenset(in_base(Fraction(1), code) for code in per.split("/"))


def _apart(numbers: Sequence[Number]) -> Iterator[Number]:
    """Dates, fractions and lists as the numbers they are made of."""
    for number in numbers:
        if number.parts:
            kind = number.kind or "date"
            yield from (number._replace(values=(part,), parts=(), kind=kind) for part in number.parts)
        else:
            yield number


def _owed(number: Number, own: Reading, other: Reading) -> bool:
    """Whether a number without its like is a fault."""
    if not number.firm:
        return False
    if number.word and number.kind != "month" and number.values[0] in _silent(own) | _silent(other):
        return False
    if number.values[0] == 1 and (number.kind == "counted" or (not _measure(number) and _unit_alone(number, other))):
        return False
    if _said_twice(number, own) and any(_same_value(number, found) for found in other.numbers):
        return False
    if any(value.denominator == 1 and str(value.numerator) in _in_names(other, own) for value in number.values):
        return False
    if any(found.kind == "decade" and found.values[0] // 100 + 1 == number.values[0] for found in other.numbers):
        return False  # the 1930s are the 30s of the 20th century
    if number.kind == "named" and _named(number, own, other):
        return False
    if number.kind == "frequency" and _codes(own, "frequency") & _codes(other, "frequency"):
        return False
    return not any(value in _in_frequencies(other) for value in number.values)


def _named(number: Number, own: Reading, other: Reading) -> bool:
    """Whether a number inside a name is said by the same name of the other side, as often."""
    code = next(hit.value for hit in own.hits if hit.kind == "name" and hit.start <= number.start < hit.end)
    mine, theirs = (sum(hit.value == code for hit in side.hits if hit.kind == "name") for side in (own, other))
    return bool(mine <= theirs)


def _unit_alone(number: Number, other: Reading, near: Number | None = None) -> bool:
    """Whether the other side names the unit without a number before it: a month ago, the past year, weeks 8 to 15. ``near``: beside
    that number."""
    return bool(number.unit) and any(
        hit.kind == "unit"
        and hit.value == number.unit
        and not any(found.right == hit.end for found in other.numbers)
        and (near is None or near.left - _BESIDE < hit.start < near.right + _BESIDE)
        for hit in other.hits
    )


_BESIDE = 16  # characters, for "15 derniers jours"


def _said_twice(number: Number, reading: Reading) -> bool:
    """Whether it is the month of one end of a span, said at the other end as well: 1 March to 5 March."""
    if number.kind != "month":
        return False
    return any(
        0 < abs(number.start - found.start) < _A_SPAN
        and found.values[0] == number.values[0]
        and found.kind == number.kind
        for found in reading.numbers
    )


_A_SPAN = 30  # characters


def _silent(reading: Reading) -> frozenset[Fraction]:
    facts = reading.pack.numbers
    return frozenset(facts.silent) if facts else frozenset()


_WHENEVER = frozenset({"as_needed", "bedtime", "stat"})  # said beside a frequency, or left out
_DIGITS = re.compile(r"\d+")


def _in_names(reading: Reading, other: Reading) -> set[str]:
    """Digits of identifiers, and of what the language says for them, that the other text does not have."""
    written = {_key(hit) for hit in other.hits if hit.kind == "name" and _DIGITS.search(other.text, hit.start, hit.end)}
    keys = {name.key for name in reading.names} | {_key(hit) for hit in reading.hits if hit.kind == "name"}
    keys -= written | {name.key for name in other.names}
    return {str(int(digits)) for key in keys for digits in _DIGITS.findall(key) if len(digits) < 10}


def _key(hit: Hit) -> str:
    return str(hit.value).replace("-", "").casefold()


def _codes(reading: Reading, kind: str) -> set[str]:
    return {str(hit.value) for hit in reading.hits if hit.kind == kind}


def _in_frequencies(reading: Reading) -> set[Fraction]:
    return {
        Fraction(digits) for code in _codes(reading, "frequency") for digits in _DIGITS.findall(code) if digits != "1"
    }
