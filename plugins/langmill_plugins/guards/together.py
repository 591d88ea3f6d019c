"""What numbers say together: ranges and lists that share a unit, dates, quotients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from langmill_plugins.guards.lexicon import Hit
from langmill_plugins.guards.measured import YEAR, Number
from langmill_plugins.guards.numerals import Row

_DATE = re.compile(r"(?<![\d/.-])(?:\d{4}([-./])\d\d?\1\d\d?|\d\d?([-./])\d\d?\2(?:\d{4}|\d\d))(?![\d/-])")
_SIGN = re.compile(r" ?([年月日년월일])(?![数間龄])")
_SIGNS = {"年": "year", "月": "month", "日": "day", "년": "year", "월": "month", "일": "day"}
_QUOTIENT = re.compile(r" ?(?:分之|分の|분의) ?")
_PRESSURES = frozenset({"mm[Hg]", "kPa", "cm[H2O]"})
_NEAR = re.compile(r"[ ,.]{0,2}(?:de |of )?")


def share(text: str, numbers: list[Number], rows: Sequence[Row], between: re.Pattern[str]) -> None:
    """Numbers before one with a unit or a scale have it, too: 5 to 10 mg, 5, 10 and 15 mg, 1 to 2 million. ``between``: what may
    stand between them. A year has no unit from behind it."""
    for index in range(len(numbers) - 2, -1, -1):
        number, following = numbers[index], numbers[index + 1]
        times = rows[index + 1].times if rows[index].times == 1 else 1
        if number.unit or number.kind == "month" or not (following.unit or times > 1):
            continue
        if YEAR.fullmatch(text, number.start, number.end) or not between.fullmatch(text, number.right, following.left):
            continue
        if text[number.right : following.left].strip() == "/" and following.unit not in _PRESSURES:
            continue  # 120/80 mmHg, but not 10 mg / 4 hours
        values = (*number.values, *(value * times for value in number.values)) if times > 1 else number.values
        numbers[index] = number._replace(
            values=values, unit=following.unit, per=following.per, shared=bool(following.unit)
        )


def dated(text: str, numbers: list[Number]) -> None:
    """Days, months and years of dates, which are no durations."""
    for index, number in enumerate(numbers):
        before = numbers[index - 1] if index else None
        if whole := _DATE.match(text, number.start):
            for place in range(index, len(numbers)):
                if numbers[place].end <= whole.end():
                    numbers[place] = numbers[place]._replace(kind="date", unit="", per="", shared=False)
        elif number.kind == "month" and number.word:
            _beside(text, numbers, index)
        elif kind := _by_sign(text, number, before):
            numbers[index] = number._replace(unit="", per="", kind=kind, shared=False, firm=True)
        elif before and _ends_a_span(text, before, number):  # 1957-58 ends in 1958
            century = before.values[0] - before.values[0] % 100
            numbers[index] = number._replace(values=(*number.values, century + number.values[0]))


def _ends_a_span(text: str, before: Number, number: Number) -> bool:
    two_digits = not number.word and number.end - number.start == 2
    return (
        two_digits
        and text[before.end : number.start] in ("-", "/")
        and bool(YEAR.fullmatch(text, before.start, before.end))
    )


def _by_sign(text: str, number: Number, before: Number | None) -> str:
    """The part of a date that a number with a Han or hangul sign behind it is."""
    sign = _SIGN.match(text, number.end)
    value = number.values[0]
    if not sign or value.denominator != 1:
        return ""
    kind = _SIGNS[sign[1]]
    if kind == "year":
        return kind if 1800 <= value < 2200 else ""
    if kind == "month":
        return kind if value <= 12 else ""
    return kind if before and before.kind == "month" and number.start - before.right <= 2 else ""


def _beside(text: str, numbers: list[Number], index: int) -> None:
    """The day before or behind the name of a month. A number there makes sure of a name that is another word as well (may)."""
    month = numbers[index]
    for place in (index - 1, index + 1):
        if not 0 <= place < len(numbers):
            continue
        number = numbers[place]
        first, second = (number, month) if place < index else (month, number)
        if not _NEAR.fullmatch(text, first.right, second.start) or (number.unit and not number.shared):
            continue
        day = 0 < number.values[0] < 32 and number.values[0].denominator == 1
        if day:
            numbers[place] = number._replace(kind="day", unit="", per="", shared=False)
        if not number.word and place > index:  # "answer 1 may" is no date
            numbers[index] = numbers[index]._replace(firm=True)


def halves(text: str, numbers: Sequence[Number], units: Mapping[int, Hit], joint: re.Pattern[str]) -> list[Number]:
    """Two years and a half, 2時間半, a year and a half: a half behind a unit belongs to the number before that unit, or to the one
    that goes without saying. ``joint``: what joins, its first group the word."""
    kept: list[Number] = []
    for number in numbers:
        if number.values[0] == _HALF and number.word and not number.unit:
            before = kept[-1] if kept else None
            if (
                before
                and before.unit
                and before.values[0].denominator == 1
                and _joined(text, before.right, number, joint)
            ):
                kept[-1] = before._replace(
                    values=(before.values[0] + _HALF,), firm=True, end=number.end, right=number.end
                )
                continue
            for unit in units.values():
                if unit.value and unit.end <= number.start and _joined(text, unit.end, number, joint):
                    number = number._replace(values=(1 + _HALF, *number.values), unit=unit.value, left=unit.start)
        kept.append(number)
    return kept


_HALF = Fraction(1, 2)


def _joined(text: str, at: int, number: Number, joint: re.Pattern[str]) -> bool:
    """Whether a half goes on with what ends there."""
    if at == number.start:
        return text[at] == "半" and text[at + 1 : at + 2] not in _HALVED
    joined = joint.fullmatch(text, at, number.start)
    return joined is not None and bool(joined[1])


_HALVED = frozenset("年月日夜身数量分径减")  # 半年 is half a year, 半数 half of them


def quotients(text: str, numbers: Sequence[Number]) -> list[Number]:
    """三分之二 is 2/3."""
    kept: list[Number] = []
    for number in numbers:
        if kept and number.values[0] and kept[-1].values[0] and _QUOTIENT.fullmatch(text, kept[-1].end, number.start):
            below = kept.pop()
            value = number.values[0] / below.values[0]
            kept.append(
                number._replace(
                    start=below.start,
                    left=below.left,
                    values=(value,),
                    parts=(below.values[0], number.values[0]),
                    firm=True,
                )
            )
        else:
            kept.append(number)
    return kept
