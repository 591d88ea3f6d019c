"""Small words that carry the sense: does a translation still deny, name the same side, and bound a number the same way?"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from langmill.api import Drop

if TYPE_CHECKING:
    from langmill_plugins.guards.lexicon import Hit
    from langmill_plugins.guards.reading import Reading

SPAN = 140  # characters of the shorter text within which a word may have moved in translation
DRIFT = 0.06  # and the share of the whole that it may have moved besides
AHEAD = 8  # characters between a bound and the number after it
NEAR = 3  # characters before a word that may stand for a number: over a dozen, al menos un 60 %
DENIED = 30  # characters, of three words, between a negation and the bound that it turns round: ne doit pas prendre plus de 4 g
FINDINGS = 3  # negations of a text that may be a list of findings
MANY = 40_000  # pairs of negations that are looked at one by one; of more only the numbers are compared
BEHIND = 24  # characters between a number and the bound after it: its unit stands there
_CLAUSE = re.compile(r"[.,;:!?()\n、。،؛؟«»\"]")
_SYMBOL = re.compile(r"&[lg][te];|[<>]=|=[<>]|[<>≤≥≦≧⩽⩾≪≫]")
_SYMBOLS = {
    "&lt;": "<", "&gt;": ">", "&le;": "<=", "&ge;": ">=", "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "≦": "<=", "≧": ">=",
    "⩽": "<=", "⩾": ">=", "≪": "<", "≫": ">",
}  # fmt: skip
_TURNS = ((True, False), (False, True), (True, True))
_BARRIER = re.compile(r"[\d;:!?()<>≤≥、。،؛]|, |\. ")


def changed_cues(
    source: Reading, target: Reading, *, negation: bool = True, sides: bool = True, comparisons: bool = True
) -> list[Drop]:
    """What a translation denies, which sides it names and which bounds it sets, against its source.

    ``changed_negation``: a firm negation (``cues.negation``) that has neither a firm nor a softer one near the same place on
    the other side, for either of the two. ``changed_side``: left there is right here;
    a side left out is no fault.
    ``changed_comparison``: a number that both have is bound the other way, or by another sign, or has lost its sign.
    A language whose pack says nothing of negations, or of bounds, is not held to them.
    """
    known = [reading.pack.cues for reading in (source, target)]
    negation = negation and all(cues and cues.negation for cues in known)
    comparisons = comparisons and all(cues and cues.comparisons for cues in known)

    def found(turned: tuple[bool, bool]) -> list[Drop]:
        denied = [*_changed_negation(source, target, turned)] if negation else []
        return denied + ([*_changed_comparison(source, target, turned)] if comparisons else [])

    drops = found((False, False))
    if drops and any(_turning(hit, reading) for reading in (source, target) for hit in reading.hits):
        # "no puede tomar más de 5" is "no more than 5": who says it one way may mean what who says it the other way means.
        drops = next((less for turned in _TURNS if not (less := found(turned))), drops)
    return drops + ([*_changed_side(source, target)] if sides else [])


# Negation


class _Negation(NamedTuple):
    start: int
    end: int
    firm: bool


def _changed_negation(source: Reading, target: Reading, turned: tuple[bool, bool]) -> Iterator[Drop]:
    here, there = _negations(source, turned[0]), _negations(target, turned[1])
    if not here and not there:
        return
    gone, come = _unanswered(here, there, source, target), _unanswered(there, here, target, source)
    if min(len(here), len(there)) >= FINDINGS:
        # Findings are listed in another order, and merged: what is left on both sides answers one another.
        equal = min(len(gone), len(come))
        gone, come = gone[equal:], come[equal:]
    for lost in gone:
        yield Drop(
            "changed_negation", f"{_quoted(source, lost)} denies in the source, nothing denies in the translation"
        )
    for added in come:
        yield Drop(
            "changed_negation", f"nothing denies in the source, {_quoted(target, added)} denies in the translation"
        )


def _negations(reading: Reading, turned: bool) -> list[_Negation]:
    """The negations of a text. A word that a pack has in both lists (nobody, in a language that says "nobody does not") is firm
    only where its clause has no other firm one. ``turned``: those that turn a bound round are part of it."""
    kinds: dict[tuple[int, int], set[str]] = {}
    bounds: list[Hit] = []
    for hit in reading.hits:
        if hit.kind in ("negation", "softer"):
            kinds.setdefault((hit.start, hit.end), set()).add(hit.kind)
        elif hit.kind == "comparison":
            bounds.append(hit)
    for bound in bounds:
        # The "no" of "no more than 5" is a part of the bound.
        inside = [span for span in kinds if span[0] < bound.end and bound.start < span[1]]
        inside += [span for span in _turning(bound, reading) if turned and span in kinds]
        if inside and _bounded(bound, reading) is not None:
            for span in inside:
                del kinds[span]
    if not kinds:
        return []
    found = [_Negation(*span, "negation" in said) for span, said in kinds.items()]
    double = {span for span, said in kinds.items() if len(said) == 2}
    if not double:
        return found
    ends = [match.end() for match in _CLAUSE.finditer(reading.text)]
    denied: set[int] = set()  # clauses with a firm negation
    for negation in sorted(found, key=lambda one: (one[:2] in double, one.start)):
        clause = bisect(ends, negation.start)
        if negation[:2] in double and clause in denied:
            found[found.index(negation)] = negation._replace(firm=False)
        elif negation.firm:
            denied.add(clause)
    return found


def _unanswered(mine: list[_Negation], theirs: list[_Negation], here: Reading, there: Reading) -> list[_Negation]:
    """The firm ones that cannot each have one of their own on the other side. Firm answers firm first, then a softer one a softer
    one (unknown, desconocido), and what is left of those may answer for a firm one."""
    firm = [negation for negation in mine if negation.firm]
    if not firm:
        return []
    if len(mine) * len(theirs) > MANY:
        return firm[len(theirs) :]
    pairs = [
        (2 if negation.firm != answer.firm else not negation.firm, gap, ours, other)
        for ours, negation in enumerate(mine)
        for other, answer in enumerate(theirs)
        if (gap := _gap(negation.start, here, answer.start, there)) is not None
    ]
    answered = {ours for ours, _ in _matched(pairs)}
    return [negation for ours, negation in enumerate(mine) if negation.firm and ours not in answered]


def _gap(mine: int, here: Reading, theirs: int, there: Reading) -> float | None:
    """How far apart two places are, as shares of their texts; nothing when a translation moves no word so far."""
    length, other = len(here.text), len(there.text)
    gap = abs(mine / length - theirs / other)
    return gap if gap <= DRIFT + SPAN / min(length, other) else None


def _matched(pairs: list[tuple[int, float, int, int]]) -> list[tuple[int, int]]:
    """What goes with what, the best pairs first; what is taken once is not taken again."""
    found: list[tuple[int, int]] = []
    ours: set[int] = set()
    others: set[int] = set()
    for _, _, mine, theirs in sorted(pairs):
        if mine not in ours and theirs not in others:
            found.append((mine, theirs))
            ours.add(mine)
            others.add(theirs)
    return found


def _quoted(reading: Reading, hit: _Negation, around: int = 20) -> str:
    start = max(0, hit.start - around)
    return f'"{reading.text[start : hit.end + around].strip()}"'


# Sides


def _changed_side(source: Reading, target: Reading) -> Iterator[Drop]:
    here, there = ([hit for hit in reading.hits if hit.kind in ("left", "right")] for reading in (source, target))
    if not here or not there:
        return
    pairs = [
        (int(mine.kind != theirs.kind), gap, ours, other)
        for ours, mine in enumerate(here)
        for other, theirs in enumerate(there)
        if (gap := _gap(mine.start, source, theirs.start, target)) is not None
    ]
    swapped = {
        (here[ours].kind, there[other].kind) for ours, other in _matched(pairs) if here[ours].kind != there[other].kind
    }
    for was, now in (("left", "right"), ("right", "left")):
        had, has = (sum(hit.kind == now for hit in hits) for hits in (here, there))
        lost = sum(hit.kind == was for hit in here) > sum(hit.kind == was for hit in there)
        if (was, now) in swapped or (has > had and (lost or not had)):
            yield Drop("changed_side", f"{was} in the source, {now} in the translation")


# Comparisons


class _Bound(NamedTuple):
    sign: str  # <, <=, > or >=
    symbol: bool  # a sign, and no words


def _changed_comparison(source: Reading, target: Reading, turned: tuple[bool, bool]) -> Iterator[Drop]:
    if not source.numbers or not target.numbers:
        return
    here, there = _bounds(source, turned[0]), _bounds(target, turned[1])
    if not here and not there:
        return
    ours, others = _Places(source), _Places(target)
    for values in dict.fromkeys(number.values for number in source.numbers if number.values):
        value = next((value for value in values if others.of(value)), values[0])
        mine, theirs = ours.of(value), others.of(value)
        was = [bound for place in mine for bound in here.get(place, ())]
        now = [bound for place in theirs for bound in there.get(place, ())]
        if theirs and (was or now) and _contradict(was, now):
            number = source.numbers[mine[0]]
            said = source.text[number.start : number.end]
            yield Drop(
                "changed_comparison", f"{_signs(was)} {said} in the source, {_signs(now)} {said} in the translation"
            )


class _Places:
    """Where a text has which value."""

    def __init__(self, reading: Reading):
        self._first: dict[Fraction, list[int]] = {}
        self._any: dict[Fraction, list[int]] = {}
        for place, number in enumerate(reading.numbers):
            if number.kind != "month":
                self._first.setdefault(number.values[0], []).append(place)
                for value in number.values:
                    self._any.setdefault(value, []).append(place)

    def of(self, value: Fraction) -> list[int]:
        """The numbers that are a value, or may be it where none is."""
        return self._first.get(value) or self._any.get(value) or []


def _contradict(was: Sequence[_Bound], now: Sequence[_Bound]) -> bool:
    """Whether bounds point another way, are other signs, or were signs and are gone."""
    had, has = ({bound.sign[0] for bound in bounds} for bounds in (was, now))
    if had and has and had != has:
        return True
    up, down = (sum(bound.sign[0] == way for bound in was) - sum(bound.sign[0] == way for bound in now) for way in "><")
    if (up > 0 > down) or (down > 0 > up):
        return True
    signs, others = ({bound.sign for bound in bounds} for bounds in (was, now))
    changed = not signs or not others or not (signs <= others or others <= signs)
    return changed and all(bound.symbol for bound in (*was, *now))


def _signs(bounds: Sequence[_Bound]) -> str:
    return " and ".join(bound.sign for bound in bounds) or "no bound on"


def _bounds(reading: Reading, turned: bool) -> dict[int, list[_Bound]]:
    """What bounds each number of a text, by the number's place in ``reading.numbers``. Words give way to a sign."""
    found: dict[int, list[_Bound]] = {}
    for hit in reading.hits:
        if hit.kind == "comparison" and (place := _bounded(hit, reading)) is not None:
            sign = "<=" if turned and _turning(hit, reading) else hit.value
            found.setdefault(place, []).append(_Bound(sign, False))
    for match in _SYMBOL.finditer(reading.text):
        place = _next_number(reading, match.end())
        if place is not None and reading.numbers[place].firm:
            found[place] = [_Bound(_SYMBOLS.get(match.group(), match.group()), True)]
    return found


def _turning(bound: Hit, reading: Reading) -> list[tuple[int, int]]:
    """The firm negations before "more than" that turn it round: not … more than 5 is 5 at the most."""
    if bound.kind != "comparison" or bound.value != ">" or bound.before:
        return []
    hits, place = reading.hits, bisect(reading.hits, bound.start, key=lambda hit: hit.start) - 1
    found: list[tuple[int, int]] = []
    while place >= 0 and hits[place].start >= bound.start - DENIED - 8:
        hit, place = hits[place], place - 1
        if hit.end > bound.start:
            continue
        if hit.kind == "comparison":
            break
        if hit.kind == "negation":
            gap = reading.text[hit.end : bound.start]
            if len(gap) <= DENIED and gap.count(" ") <= 4 and not _CLAUSE.search(gap):
                found.append((hit.start, hit.end))
    return found


def _bounded(hit: Hit, reading: Reading) -> int | None:
    """The number that a bound in words is set on."""
    place = _next_number(reading, hit.end)
    if not hit.before or (before := _last_number(reading, hit.start)) is None:
        return place
    # "65 and over", but "and over 65": of phrases that overlap only the longest is found, so that the nearer number counts.
    if place is None or reading.text.startswith(", ", hit.end):
        return before
    return place if reading.numbers[place].start - hit.end < hit.start - reading.numbers[before].end else before


def _next_number(reading: Reading, end: int) -> int | None:
    """The number right after a place; of "at least a dozen" and "al menos un 60 %" the one that counts."""
    found, reached = None, end
    for place in range(bisect(reading.numbers, end - 1, key=lambda number: number.start), len(reading.numbers)):
        number = reading.numbers[place]
        if number.start - end > AHEAD or not _joined(reading.text[end : number.start]):
            break
        near = number.start <= reached + NEAR
        if number.firm and (near or found is None):
            return place
        if near:
            found, reached = place, number.end
    return found


def _last_number(reading: Reading, start: int) -> int | None:
    """The number before a place, its unit in between."""
    place = bisect(reading.numbers, start, key=lambda number: number.end) - 1
    if place < 0:
        return None
    gap = reading.text[reading.numbers[place].end : start]
    return place if len(gap) <= BEHIND and _joined(gap) else None


def _joined(gap: str) -> bool:
    return not _BARRIER.search(gap.removeprefix(", "))
