"""What a row asks, offers and answers, in whatever layout: options lose their letters, an item written out as text is read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from langmill.api import Choice, Row
from langmill_plugins.text.wording import Sides

# A letter or number in front of an option: "A. ", "(B) ", "c) ", "１．", "4 - ", "①"; not the start of "2.5 mg" or "B-cell".
_LABEL = re.compile(
    r"\s*(?:[(（\[【]?\s*([A-Ja-jＡ-Ｊａ-ｊА-Ка-к]|10|[0-9０-９])\s*(?:[)）\]】、]|[.．:：](?![0-9０-９])|-\s)|([①-⑩]))\s*(?=\S)"
)
_CYRILLIC = "абвгдежзик"


class Item(NamedTuple):
    """What a row says. ``question`` is what it asks, ``options`` what it offers, without letters, ``answer`` what it answers;
    ``background`` is what is asked about, and ``rest`` whatever else a reader would read."""

    question: str
    options: tuple[str, ...]
    answer: tuple[str, ...]
    background: str = ""
    rest: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Row) -> Item:
        """The row as an item. A conversation or a text whose lines end in lettered options offers those."""
        body = row.body
        if isinstance(body, Choice):
            options = unlabelled(body.options)
            answer = tuple(options[index] for index in body.answers)
            return cls(
                body.question, options, answer, body.context or "", (body.explanation,) if body.explanation else ()
            )
        sides = Sides.of(body)
        if not sides.question:
            question, options = written_out(sides.answer[0])
            return cls(question, options, (), rest=sides.answer) if options else cls("", (), sides.answer)
        question, options = written_out(sides.question[-1])
        if options:
            return cls(question, options, sides.answer, rest=sides.question)
        return cls("\n".join(sides.question), (), sides.answer)

    def told(self) -> tuple[str, ...]:
        """Every text of the row, right options once."""
        answer = [text for text in self.answer if text not in self.options]
        return tuple(text for text in (self.background, self.question, *self.options, *answer, *self.rest) if text)


def unlabelled(options: Sequence[str]) -> tuple[str, ...]:
    """Options without the letters or numbers in front of them, when all have one and in order; else as they are."""
    found = [_LABEL.match(option) for option in options]
    marks = [_number(match) for match in found if match]
    if len(marks) < len(options) or not _in_order(marks):
        return tuple(options)
    return tuple(option[match.end() :].strip() for option, match in zip(options, found, strict=True) if match)


def written_out(text: str) -> tuple[str, tuple[str, ...]]:
    """Question and options of an item written as lines of text; no options where the text has no such layout."""
    if text.count("\n") < 2:
        return text, ()
    lines = text.splitlines()
    marked = [(number, match) for number, line in enumerate(lines) if (match := _LABEL.match(line))]
    if len(marked) < 2 or not _in_order([_number(match) for _, match in marked]) or not marked[0][0]:
        return text, ()
    question = "\n".join(lines[: marked[0][0]]).strip()
    return question, tuple(lines[number][match.end() :].strip() for number, match in marked)


def _number(match: re.Match[str]) -> int:
    """The label's place in its row: A and 1 and ① are the first."""
    import unicodedata

    mark = unicodedata.normalize("NFKC", match[1] or match[2]).casefold()
    if mark.isdecimal():
        return int(mark)
    return _CYRILLIC.index(mark) + 1 if mark in _CYRILLIC else ord(mark) - ord("a") + 1


def _in_order(marks: Sequence[int]) -> bool:
    return len(marks) > 1 and marks[0] in (0, 1) and all(later == earlier + 1 for earlier, later in pairwise(marks))
