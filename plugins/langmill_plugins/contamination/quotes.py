"""Test items quoted in running text: the question word for word, then its options or its right answer, in whatever layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from langmill.api import Choice
from langmill_plugins.contamination.grams import Grams
from langmill_plugins.contamination.items import Item
from langmill_plugins.contamination.overlaps import Hashes, Places
from langmill_plugins.contamination.said import Said
from langmill_plugins.text.wording import Sides, letters_only, word_list

# The right answer is enough after a question only where the two have as many words (or characters) together: a stem of five
# words and one word of answer meet by chance.
LEAST = {"word": 8, "character": 12}
# Letters beside the options themselves that may stand between a question and the end of its options, and in a text between
# a question and the end of its answer: labels, brackets, "The correct answer is".
BETWEEN, BEFORE_ANSWER = 100, 40

By: TypeAlias = Literal["word", "character"]


class Quote(NamedTuple):
    """A test item that a row quotes: their numbers, what comes with the question ("options" or "right answer"), and the question."""

    row: int
    test: int
    with_what: str
    question: str


class _Wording(NamedTuple):
    """A test item as spelt() gives its texts."""

    test: int
    question: str
    options: tuple[str, ...]
    answer: tuple[str, ...]
    enough: bool  # question and answer have LEAST words


@dataclass
class Quotes:
    """The short items of a test by their wording, each proposed by the rarest shingle of its question."""

    grams: Grams = field(default_factory=Grams)
    known: list[_Wording] = field(default_factory=list)

    def add(self, test: int, item: Item, by: By, question: Hashes) -> None:
        """One more test item; ``question`` has the shingles of its question, of which it must have one."""
        options, answer = (
            tuple(text for text in (spelt(text, by) for text in side) if text.strip())
            for side in (item.options, item.answer)
        )
        asked = spelt(item.question, by)
        size = sum(len(text.split()) if by == "word" else len(text) for text in (asked, *answer))
        complete = len(options) == len(item.options)
        self.grams.add(question)
        self.known.append(_Wording(test, asked, options if complete else (), answer, size >= LEAST[by]))

    def found(self, said: Said, cuts: Sequence[By], values: Hashes, offsets: Places) -> Iterator[Quote]:
        """The first item that each text or conversation quotes. ``values`` and ``offsets`` are the rows' shingles, ``cuts``
        what they are runs of. A text with options of its own must have the item's: its answer may be any of them."""
        numbers, sets = self.grams.proposed(values, offsets)
        whole = self.grams.share(numbers, sets, values, offsets) >= 1.0
        last, quoted = -1, False
        for number, one in zip(numbers[whole].tolist(), sets[whole].tolist(), strict=True):
            if isinstance(said.rows[number].body, Choice) or (quoted and number == last):
                continue
            if number != last:
                sides = Sides.of(said.rows[number].body)
                told = spelt("\n".join((*sides.question, *sides.answer)), cuts[number])
                answer = spelt("\n".join(sides.answer), cuts[number]) if sides.question else ""
            last, quoted = number, False
            any_answer = bool(sides.question) or not said.items[number].options
            what = _quoted(self.known[one], told, answer)
            if what == "options" or (what and any_answer):
                quoted = True
                yield Quote(number, self.known[one].test, what, self.known[one].question.strip())


def spelt(text: str, by: By) -> str:
    """The wording of a text so that a part of it is found with `in`: words with a blank on either side, or letters."""
    return f" {' '.join(word_list(text))} " if by == "word" else letters_only(text)


def _quoted(item: _Wording, told: str, answer: str) -> str:
    """What of an item comes with its question; empty where nothing does. ``answer`` is empty where no side of its own answers."""
    place = told.find(item.question)
    while place >= 0:
        end = place + len(item.question) - item.question.endswith(" ")
        near = told[end : end + 2 * sum(map(len, item.options)) + BETWEEN]
        if item.options and all(option in near for option in item.options):
            return "options"
        if item.enough and item.answer:
            replied = answer or told[end : end + sum(map(len, item.answer)) + BEFORE_ANSWER]
            if all(text in replied for text in item.answer):
                return "right answer"
        place = told.find(item.question, place + 1)
    return ""
