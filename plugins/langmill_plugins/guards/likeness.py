"""When two numbers of a text and its translation are one: the same value, with the same unit, by every reading that is possible."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from langmill_plugins.guards.reading import Number
from langmill_plugins.guards.units import in_base, unit


def same_value(one: Number, other: Number) -> bool:
    """The same value, units apart, by one reading or another; not where one is a thing that the other can not be."""
    if one.values[0] != other.values[0] and not (_may_be(one, other) or _may_be(other, one)):
        return False
    if one.word != other.word and (one.kind in _PLACED or other.kind in _PLACED) and one.kind != other.kind:
        return False
    if one.kind == other.kind:
        return True
    kinds = {one.kind, other.kind}
    if kinds == {"label", "hint"}:  # "answer 1." is not said by an article
        return False
    return "date" in kinds if "month" in kinds else kinds != {"roman", "list"}


def _may_be(one: Number, other: Number) -> bool:
    """Whether a number is another by a second reading. One with decimals has to be open to both readings on both sides: 1,500 is
    no 1.5."""
    value = one.values[0]
    return value in other.values and (value.denominator == 1 or len(one.values) > 1 or value == -other.values[0])


_PLACED = frozenset({"day", "item"})  # 1 December and (1) are no one and no a


def same(one: Number, other: Number) -> bool:
    """The same value and unit."""
    return (
        (one.kind == "month") == (other.kind == "month")
        and one.unit == other.unit
        and same_value(one, other)
        and _over_alike(one, other)
    )


def same_hint(one: Number, other: Number) -> bool:
    """Double is said by double where both sides have it, and does not stand for a two."""
    return not one.firm and not other.firm and one.values[0] == other.values[0] != 1 and same(one, other)


def converts(one: Number, other: Number) -> bool:
    """The same amount in another unit, exactly."""
    if not one.unit or not other.unit or one.unit == other.unit:
        return False
    if unit(one.unit).dimension != unit(other.unit).dimension:
        return False
    # By the language's own marks alone: 1,900 g is no 1.9 kg by way of another reading.
    return bool(one.values[0]) and in_base(one.values[0], one.unit) == in_base(other.values[0], other.unit)


def unit_unsaid(one: Number, other: Number) -> bool:
    """The same value where a side has no unit, or shares that of its neighbour. A translation may add a unit that goes without
    saying in the source, and leave out none but years of age."""
    if (
        one.unit
        and other.unit
        and not _degrees(one, other)
        and (not (one.shared or other.shared) or _rivals(one, other))
    ):
        return False
    if (one.unit or other.unit) and "roman" in (one.kind, other.kind):
        return False
    if one.word != other.word and one.values[0] == 1 and (other.unit if one.word else one.unit):
        return False  # 1 mg is not said by any "a" of the other side
    plain = not one.word and one.kind in _PLAIN and other.kind in _PLAIN
    lost = plain and one.unit not in ("", "a") and not one.shared and (not other.unit or _guessed(other, one.unit))
    return not lost and same_value(one, other)


def _degrees(one: Number, other: Number) -> bool:
    """A 39-degree fever is one of 39 °C."""
    return {unit(one.unit).dimension, unit(other.unit).dimension} == {"angle", "temperature"}


def _guessed(number: Number, code: str) -> bool:
    """Whether a unit that a number has from its neighbour measures another thing: 10 in 12 months."""
    return number.shared and unit(number.unit).dimension != unit(code).dimension


def _rivals(one: Number, other: Number) -> bool:
    """Whether two units measure the same, and are not the same: 5 months against 5 to 17 years."""
    return one.unit != other.unit and unit(one.unit).dimension == unit(other.unit).dimension


_PLAIN = frozenset({"", "item", "counted", "label", "frequency"})


def other_unit(one: Number, other: Number) -> bool:
    """The same value with another unit, or with none: a fault in the unit."""
    return (one.firm or other.firm) and same_value(one, other)


def _over_alike(one: Number, other: Number) -> bool:
    if one.per == other.per or not one.per or not other.per:
        return True
    mine, theirs = _bases(one.per), _bases(other.per)
    return mine <= theirs or theirs <= mine


@lru_cache(maxsize=1 << 12)
def _bases(per: str) -> frozenset[tuple[str, Fraction]]:
    return frozenset(in_base(Fraction(1), code) for code in per.split("/"))
