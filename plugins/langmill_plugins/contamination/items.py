"""What a row asks, offers and answers, in whatever layout: options lose their letters, an item written out as text is read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from langmill.api import Choice, Row
from langmill_plugins.text.wording import Sides

# A letter or number in front of an option: "A. ", "(B) ", "c) ", "１．", "4 - ", "①", "- A. ", "**A.** "; not the start of
# "2.5 mg" or "B-cell".
_LABEL = re.compile(
    r"\s*(?:[-*+•]\s+)?(?:\*\*|__)?(?:[(（\[【]?\s*([A-Ja-jＡ-Ｊａ-ｊА-Ка-к]|10|[0-9０-９])\s*(?:[)）\]】、]|[.．:：](?![0-9０-９])|-\s)|([①-⑩]))(?:\*\*|__)?\s*(?=\S)"
)
# The same amid a line, where less counts as one: "(A) ", "B) ", "c. ", "③", after a blank or the end of a sentence.
_INLINE = re.compile(
    r"(?<![^\s?？。：；、])(?:[(（\[【]?([A-Ja-jＡ-Ｊａ-ｊА-Ка-к]|10|[0-9０-９])(?:[)）\]】]|[.．](?![0-9０-９]))|([①-⑩]))\s*(?=\S)"
)
FEWEST, LONGEST = 3, 4000  # options of an item in one line; characters of a text that may be one
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
    """Question and options of an item written as lines of text, or three options and more in one line; no options where the
    text has no such layout. Of several lists the last one is meant: a question may have a number of its own."""
    if text.count("\n") < 2:
        return _in_a_line(text)
    lines = text.splitlines()
    marked = _last_run([(number, match) for number, line in enumerate(lines) if (match := _LABEL.match(line))])
    if not marked or not marked[0][0]:
        return _in_a_line(text)
    question = "\n".join(lines[: marked[0][0]]).strip()
    return question, tuple(lines[number][match.end() :].strip() for number, match in marked)


def _in_a_line(text: str) -> tuple[str, tuple[str, ...]]:
    if len(text) > LONGEST:
        return text, ()
    marked = _last_run([(match.start(), match) for match in _INLINE.finditer(text)])
    if len(marked) < FEWEST or not marked[0][0]:
        return text, ()
    ends = [*(start for start, _ in marked[1:]), len(text)]
    options = tuple(text[match.end() : end].strip() for (_, match), end in zip(marked, ends, strict=True))
    return text[: marked[0][0]].strip(), options


def _last_run(marked: Sequence[tuple[int, re.Match[str]]]) -> Sequence[tuple[int, re.Match[str]]]:
    """The last of the marked places that are in order from the first label on; empty where no two are."""
    marks = [_number(match) for _, match in marked]
    end = len(marks)
    for start in range(len(marks) - 1, -1, -1):
        goes_on = start and marks[start] == marks[start - 1] + 1
        if _in_order(marks[start:end]) and not goes_on:
            return marked[start:end]
        if not goes_on:
            end = start
    return ()


def _number(match: re.Match[str]) -> int:
    """The label's place in its row: A and 1 and ① are the first."""
    import unicodedata

    mark = unicodedata.normalize("NFKC", match[1] or match[2]).casefold()
    if mark.isdecimal():
        return int(mark)
    return _CYRILLIC.index(mark) + 1 if mark in _CYRILLIC else ord(mark) - ord("a") + 1


def _in_order(marks: Sequence[int]) -> bool:
    return len(marks) > 1 and marks[0] in (0, 1) and all(later == earlier + 1 for earlier, later in pairwise(marks))
