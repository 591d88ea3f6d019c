"""The last look before figures are believed: rows that are asked and that were learnt, too, by any name.

Near copies and quotes are the filter ``decontaminate``'s to find while data is made; this finds what is the same, whatever the
recipe left out: a row by its id, an edition or a translation by its family, a text by its letters and digits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from langmill.api import Chat, Choice, RecipeError, Row, Text
from langmill.disk.store import RunFolder

SHOWN = 10  # rows that an error lists
LEAST_LETTERS = 40  # of a question that is the same in an exam item and in a conversation: shorter ones are anybody's


class Leak(NamedTuple):
    """A row that is asked, and where it was learnt, and by what the two are the same."""

    asked: str
    data: str
    learnt: str
    by: str


def leaks(asked: Sequence[Row], learnt: Iterable[tuple[str, Row]]) -> Iterator[Leak]:
    """Each asked row that lies in what was learnt (data set, row), once."""
    known: dict[str, tuple[str, str]] = {}
    for row in asked:
        for by, key in _keys(row, learnt=False):
            known.setdefault(key, (row.id, by))
    told: set[str] = set()
    for data, row in learnt:
        for _, key in _keys(row, learnt=True):
            found = known.get(key)
            if found and found[0] not in told:
                told.add(found[0])
                yield Leak(found[0], data, row.id, found[1])


def refuse_leaks(store: RunFolder, name: str, asked: Sequence[Row], datasets: Sequence[str]) -> None:
    """Raises RecipeError, with the rows, where rows that an evaluation asks are train rows of one of the data sets."""
    learnt = ((data, row) for data in datasets for row in store.rows(data, "train"))
    found = list(leaks(asked, learnt))
    if found:
        listed = "\n".join(
            f"  {leak.asked}   is {leak.learnt} of {leak.data} (the same {leak.by})" for leak in found[:SHOWN]
        )
        more = f"\n  and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        raise RecipeError(
            f"{len(found):,} of {len(asked):,} rows that {name} asks are learnt in training, so its scores would be worth nothing:"
            f"\n{listed}{more}\nAdd {{use: decontaminate}} to the steps of {' and '.join(dict.fromkeys(leak.data for leak in found))}, "
            "after the last one that asks a model, or ask other rows"
        )


def _keys(row: Row, learnt: bool) -> Iterator[tuple[str, str]]:
    """What makes two rows the same. Two exam items with one question and other options are two; a conversation about an item's
    question is not."""
    yield "row", f"id {row.id}"
    yield "family", f"family {row.family}"
    match row.body:
        case Choice(question=question, options=options, context=context):
            whole = (_plain(question), _plain(context or ""), *sorted(map(_plain, options)))
            yield "question and options", "item " + "\0".join(whole)
            yield from _question(question, ("chat",) if learnt else ("choice",))
        case Chat(messages=messages):
            question = next((message.content for message in messages if message.role == "user"), "")
            yield from _question(question, ("chat", "choice") if learnt else ("chat",))
        case Text(text=text):
            yield "text", f"text {_plain(text)}"


def _question(text: str, kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
    plain = _plain(text)
    if len(plain) >= LEAST_LETTERS:
        for kind in kinds:
            yield "question", f"{kind} question {plain}"


def _plain(text: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())
