"""Does a translation say the same numbers, with the same units, as often and by the same route?

Values are compared exactly. Each number of one side looks for its like on the other, from the surest to the least: the same value and
unit; a unit that converts exactly (1000 mg is 1 g); the same value where one side leaves the unit unsaid; the numbers that a date, a
fraction or a list falls into. What is left and must be answered for is a fault, unless a word, an identifier or a frequency of the
other side explains it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fractions import Fraction

from langmill.api import Drop
from langmill_plugins.guards.lexicon import Hit, spaced
from langmill_plugins.guards.likeness import converts, other_unit, same, same_hint, same_value, unit_unsaid
from langmill_plugins.guards.numerals import LETTER
from langmill_plugins.guards.reading import Number, Reading
from langmill_plugins.guards.units import MEASURES, unit


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
    What a pack does not know (numbers written out, words for units) is not asked for in its language.
    ``dropped=False`` lets numbers of the source go, ``added=False`` lets the target say more: for texts that are no translation.
    """
    drops: list[Drop] = []
    left, right, odd = _matched(source, target)
    if units:
        if not (source.pack.units and target.pack.units):  # their words are not known: symbols are
            odd = [(s, t) for s, t in odd if s.unit and t.unit]
        odd = [(s, t) for s, t in odd if t.unit or not _unit_alone(s, target, t)]
        drops += [
            Drop("changed_unit", f"{_said(source, s)} in the source, {_said(target, t)} in the translation")
            for s, t in odd
        ]
    if numbers:
        on_both = {number.kind for number in left if _clear(source, number)} & {
            number.kind for number in right if _clear(target, number)
        }
        lost = _missing(left, on_both, source, target) if dropped else []
        new = _missing(right, on_both, target, source) if added else []
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


def _missing(numbers: Sequence[Number], on_both: Collection[str], own: Reading, other: Reading) -> list[Number]:
    """Numbers without their like that are faults."""
    in_names: Collection[str] | None = None
    found = []
    for number in numbers:
        if number.kind in on_both and _clear(own, number):
            found.append(number)
        elif number.firm and not (number.word and _wordless(other)):
            if in_names is None:
                in_names = _in_names(other, own)
            if _owed(number, own, other, in_names):
                found.append(number)
    return found


def _wordless(reading: Reading) -> bool:
    """Whether nothing is known of how a language writes numbers out: none can be missed there."""
    facts = reading.pack.numbers
    return facts is None or not (facts.words or facts.numerals or facts.hints)


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
        for alike in (same_hint, same, converts, unit_unsaid) if worded else (same, converts, unit_unsaid):
            if mine and theirs and worded:  # "both" must not use up the "two" that a 2 of its side waits for
                ours, others = (
                    [[n for n in side if n.firm is firm] for firm in (True, False)] for side in (mine, theirs)
                )
                firm, soft = (_paired(*sides, alike) for sides in zip(ours, others, strict=True))
                mine, theirs = [*firm[0], *soft[0]], [*firm[1], *soft[1]]
            elif mine and theirs:
                mine, theirs, _ = _paired(mine, theirs, alike)
        left += mine
        right += theirs
    odd: list[tuple[Number, Number]] = []
    if any(number.firm for number in left) and any(number.firm for number in right):
        left, right, odd = _paired(left, right, other_unit)
    if any(number.parts for number in left) or any(number.parts for number in right):
        left, right = list(_apart(left)), list(_apart(right))
        left, right, _ = _paired(left, right, same_value)
    return left, right, odd


def _worded(number: Number) -> bool:
    return number.word and number.kind != "month"


def _paired(
    left: Sequence[Number], right: Sequence[Number], alike: Likeness
) -> tuple[list[Number], list[Number], list[tuple[Number, Number]]]:
    """Numbers taken together one by one; those that must be answered for choose first, of these those with their neighbour's unit, and
    each of them its like in that."""
    free = list(right)
    rest: list[Number] = []
    pairs: list[tuple[Number, Number]] = []
    near = _by_value(right) if len(left) > _MANY < len(right) and alike is not converts else None
    for number in sorted(left, key=lambda number: (not number.firm, number.word, not number.shared)):
        some = free if near is None else [other for value in number.values for other in near.get(value, ())]
        like = [other for other in some if alike(number, other)]
        if like:
            best = min(like, key=lambda other: (not other.firm, other.word, other.shared != number.shared))
            pairs.append((number, best))
            free.remove(best)
            if near is not None:
                for value in best.values:
                    near[value].remove(best)
        else:
            rest.append(number)
    return rest, free, pairs


_MANY = 12  # numbers, from which on looking them up by value is quicker than trying all


def _by_value(numbers: Sequence[Number]) -> dict[Fraction, list[Number]]:
    found: dict[Fraction, list[Number]] = defaultdict(list)
    for number in numbers:
        for value in number.values:
            found[value].append(number)
    return found


def _measure(number: Number) -> bool:
    return bool(number.unit) and not number.shared and unit(number.unit).dimension in MEASURES


def _apart(numbers: Sequence[Number]) -> Iterator[Number]:
    """Dates, fractions and lists as the numbers they are made of."""
    for number in numbers:
        if number.parts:
            kind = number.kind or "date"
            yield from (number._replace(values=(part,), parts=(), kind=kind) for part in number.parts)
        else:
            yield number


def _owed(number: Number, own: Reading, other: Reading, in_names: Collection[str]) -> bool:
    """Whether a firm number without its like is a fault. ``in_names``: digits that the other side says in names alone."""
    if number.word and number.kind != "month" and number.values[0] in _silent(own) | _silent(other):
        return False
    if number.values[0] == 1 and (
        (number.kind == "counted" and not _counts(other)) or (not _measure(number) and _unit_alone(number, other))
    ):
        return False
    if _said_twice(number, own) and any(same_value(number, found) for found in other.numbers):
        return False
    if any(value.denominator == 1 and str(value.numerator) in in_names for value in number.values):
        return False
    if any(found.kind == "decade" and found.values[0] // 100 + 1 == number.values[0] for found in other.numbers):
        return False  # the 1930s are the 30s of the 20th century
    if number.kind == "frequency" and _codes(own, "frequency") & _codes(other, "frequency"):
        return False
    return not any(value in _in_frequencies(other) for value in number.values)


def _counts(reading: Reading) -> bool:
    """Whether the language says 1 with a counter where others have an article or nothing."""
    facts = reading.pack.numbers
    return facts is not None and bool(facts.counters)


def _unit_alone(number: Number, other: Reading, near: Number | None = None) -> bool:
    """Whether the other side names the unit without a number before it: a month ago, the past year, weeks 8 to 15. ``near``: beside
    that number."""
    return bool(number.unit) and any(
        hit.kind == "unit"
        and hit.value == number.unit
        and _by_itself(other.text, hit, near is not None)
        and not any(found.left <= hit.start and hit.end <= found.right for found in other.numbers)
        and (near is None or _beside(other.text, hit, near))
        for hit in other.hits
    )


def _beside(text: str, hit: Hit, number: Number) -> bool:
    """15 derniers jours; before the number with no word between: days 8 to 15."""
    if hit.start >= number.right:
        return hit.start < number.right + _BESIDE
    return number.left - _BESIDE < hit.end <= number.left and not _WORD.search(text, hit.end, number.left)


_WORD = re.compile(rf"{LETTER}{{4}}")


def _by_itself(text: str, hit: Hit, near: bool) -> bool:
    """Whether a unit may stand there without a number: as a word of its own, or inside one in a script without spaces (last year
    is one word there), but not where a number is missing before it."""
    return spaced(text[hit.start]) or (not near and hit.start > 0 and text[hit.start - 1].isalpha())


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


def _in_names(reading: Reading, other: Reading) -> frozenset[str]:
    """Digits that stand in more identifiers than in the other text, or that a name of the pack's means and does not show. Of
    identifiers in two scripts the digits alone can be compared."""
    if not reading.names and not any(hit.kind == "name" for hit in reading.hits):
        return frozenset()
    mine, theirs = (_digits(name.key for name in side.names) for side in (reading, other))
    meant = _digits(_meant(reading, shown=False)) - _digits(_meant(other, shown=True)) - (theirs - mine)
    return frozenset(mine - theirs) | frozenset(meant)


def _meant(reading: Reading, shown: bool) -> Iterator[str]:
    """What the names of the pack stand for, identifiers apart. ``shown``: those as well that have their digits beside them, which
    are numbers of the text."""
    inside = {place for name in reading.names for place in (name.start, name.end)}
    for hit in reading.hits:
        if hit.kind != "name" or {hit.start, hit.end} & inside:
            continue
        if shown or not _DIGITS.search(reading.text, hit.start, hit.end + 3):
            yield _key(hit)


def _digits(keys: Iterable[str]) -> Counter[str]:
    return Counter(str(int(digits)) for key in keys for digits in _DIGITS.findall(key) if len(digits) < 10)


def _key(hit: Hit) -> str:
    return str(hit.value).replace("-", "").casefold()


def _codes(reading: Reading, kind: str) -> set[str]:
    return {str(hit.value) for hit in reading.hits if hit.kind == kind}


def _in_frequencies(reading: Reading) -> set[Fraction]:
    return {
        Fraction(digits) for code in _codes(reading, "frequency") for digits in _DIGITS.findall(code) if digits != "1"
    }
