"""A number with all that belongs to it: its unit, what that is counted on, its sign, what is glued to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from langmill_plugins.guards.lexicon import Hit
from langmill_plugins.guards.numerals import LETTER, Row, Values
from langmill_plugins.guards.units import GLUED, SYMBOLS


class Number(NamedTuple):
    """A number in a plain text, from ``start`` to ``end`` without its unit, from ``left`` to ``right`` with it.

    ``values``: the reading by the language's convention first; ``firm``: the other side must have it; ``word``: it is written
    out; ``shared``: its unit stands at the next number (5 to 10 mg); ``unit`` and ``per``: UCUM codes or nothing; ``kind``: what
    else it is: month, day, year, date, ordinal, decade, clock, item (``(1)``), list (``1.`` before an item), roman, hint, counted
    (it stands before a counter), frequency, label (a 1 that counts nothing); ``parts``: what it is if read as several numbers.
    """

    start: int
    end: int
    values: Values
    firm: bool = True
    word: bool = False
    unit: str = ""
    per: str = ""
    kind: str = ""
    shared: bool = False
    parts: Values = ()
    left: int = 0
    right: int = 0

    @property
    def sign(self) -> int:
        """-1 for a number below zero, else 1."""
        return -1 if self.values[0] < 0 else 1


class Marks:
    """The hits round numbers, by place."""

    def __init__(self, hits: Sequence[Hit]):
        self.units: dict[int, Hit] = {}
        self.units_before: dict[int, Hit] = {}
        self.per: dict[int, int] = {}
        self.minus: set[int] = set()
        self.counters: set[int] = set()
        self.counters_before: set[int] = set()
        self.frequencies: list[tuple[int, int]] = []
        for hit in hits:
            match hit.kind:
                case "unit" if hit.after:
                    self.units_before[hit.end] = hit
                case "unit":
                    self.units[hit.start] = hit
                case "per":
                    self.per[hit.start] = hit.end
                case "minus":
                    self.minus.add(hit.end)
                case "counter" if hit.after:
                    self.counters_before.add(hit.end)
                case "counter":
                    self.counters.add(hit.start)
                case "frequency":
                    self.frequencies.append((hit.start, hit.end))


YEAR = re.compile(r"(?:19|20)\d\d")
_UNIT = re.compile(rf"° ?[cf](?![a-z])|mm hg\b|cm h2o\b|[a-zμå]+[23]?(?!{LETTER}|\d)|[%‰°]")
_SLASH = re.compile(r" ?[/⋅·] ?")
_BEHIND = re.compile(rf"-?({LETTER}+)")
_ORDINALS = re.compile(
    "st|nd|rd|th|er|re|ere|ère|e|eme|ème|ième|nde|a|o|os|as|ro|do|to|mo|vo|no|s|"
    "й|я|е|ое|го|му|м|х|ти|ми|ых|их|ый|ой|ая|ую|ом|ого|ому|ые"
)  # what makes 1st, 2ème, 3º, 4-й of a number
_DECADE = re.compile(rf"(?:\d\d)?\d0(?:'?s|-?[ех])(?!{LETTER})")
_MERIDIEM = re.compile(r"(?::\d\d)? ?[ap](?:m\b|\. ?m\.)")
_COUNTS = re.compile(rf" {LETTER}|[\u2e80-\ud7a3]")  # something stands behind that it counts: not in "answer 1."
_NUMBERED = re.compile(rf"{LETTER}{{4}} ")  # something stands before that is numbered: type 1 diabetes
_OPENS = frozenset(" (=<>≤≥~[,:;")  # what may stand before the sign of a negative number


def measured(text: str, row: Row, marks: Marks) -> Number:
    """A number with its unit, its sign, and what stands glued to it."""
    start, end, values, firm, word, kind, parts, _ = row
    left, right, unit, per = start, end, "", ""
    if kind in ("month", "roman"):
        return Number(start, end, values, firm, word, kind=kind, left=left, right=right)
    if before := marks.units_before.get(start):
        unit, left = before.value, before.start
    elif not word and (decade := _DECADE.match(text, start)) and end < decade.end():
        kind, right = "decade", decade.end()
        values = (*values, values[0] % 100) if values[0] > 99 else values
    elif found := unit_at(text, end, marks, plainly=not YEAR.fullmatch(text, start, end)):
        unit, right = found
        while over := _over(text, right, marks):
            per, right = f"{per}/{over[0]}" if per else over[0], over[1]
        if "/" in unit:
            unit, _, own = unit.partition("/")
            per = f"{own}/{per}" if per else own
    elif not word and (glued := _BEHIND.match(text, end)):
        if _ORDINALS.fullmatch(glued[1]):
            kind, right = kind or "ordinal", glued.end()
        elif text[end] != "-" or len(glued[1]) < 4:  # 2b, 229e; 5-fu
            firm = False
    elif end - start == 2 and text.startswith(":00", start - 1):  # 4:00 is 4
        firm = False
    elif meridiem := _MERIDIEM.match(text, end):
        kind, right = "clock", meridiem.end()
        values = (*values, values[0] + 12 if values[0] < 12 else values[0] - 12)
    elif text[start - 1 : start] == "(" and text[end : end + 1] == ")" and end - start < 3:
        kind, firm = "item", False
    elif end in marks.counters or (end + 1 in marks.counters and text[end] == " "):
        kind = "counted"
    numbered = not _COUNTS.match(text, end) or _NUMBERED.fullmatch(text, max(0, start - 5), start)
    if not (kind or word or unit) and values[0] == 1 and numbered:
        kind = "label"
    if start and text[start - 1] == "-":
        ahead = text[start - 2] if start > 1 else ""
        if not ahead or (ahead == " " and start > 2 and text[start - 3].isdigit()):  # a bullet; 5 -10
            values = (*values, *(-value for value in values))
        elif ahead in _OPENS and text[end : end + 1] != "-":  # but -3-chloro
            values, left = tuple(-value for value in values), left - 1
    elif start in marks.minus or start - 1 in marks.minus:
        values = tuple(-value for value in values)
    return Number(start, end, values, firm, word, unit, per, kind, False, parts, left, right)


def unit_at(
    text: str, at: int, marks: Marks, *, plainly: bool = True, after_slash: bool = False
) -> tuple[str, int] | None:
    """The unit that begins there, or behind a blank or a hyphen, and where it ends. ``plainly`` False: not one of one letter
    (2020 г. is no gram)."""
    start = at + 1 if text[at : at + 1] in (" ", "-") else at
    hit = marks.units.get(start)
    code, end = (hit.value, hit.end) if hit else ("", start)
    if (symbol := _UNIT.match(text, start)) and symbol.end() > end:
        said = symbol.group().replace(" ", "")
        if (known := SYMBOLS.get(said)) and (
            said not in GLUED or start == at or after_slash or _SLASH.match(text, symbol.end())
        ):
            code, end = known, symbol.end()
    if not code or (end - start == 1 and text[start].isalpha() and (not plainly or text[end : end + 1] == "'")):
        return None
    return code, end


def _over(text: str, at: int, marks: Marks) -> tuple[str, int] | None:
    """The next unit below the line: /kg, per day."""
    if slash := _SLASH.match(text, at):
        return unit_at(text, slash.end(), marks, after_slash=True)
    end = marks.per.get(at) or (marks.per.get(at + 1) if text[at : at + 1] == " " else None)
    return unit_at(text, end, marks) if end else None
