"""The last look before figures are believed: rows that are asked and that were learnt, too, by any name.

Near copies and quotes are the filter ``decontaminate``'s to find while data is made; this finds what is the same, whatever the
recipe left out or allowed (``allow_unchecked``, too: what it lifts is the duty to look, never what is found): a row by its id, an
edition or a translation by its family, a text by its letters and digits. A conversation is the same by all that its user says up to
there, so that a first turn which many share is no alarm; an exam item is found in any turn of a user, also among other words:
with all its options, or alone where it is long. What is learnt as an answer or as running text is left to that filter.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from langmill.api import Chat, Choice, RecipeError, Row, Text
from langmill.disk.store import RunFolder

LOOK = 2  # of this module: what was looked at by another one is looked at again
SHOWN = 10  # rows that an error lists
LEAST_LETTERS = 40  # of a question that is the same in an exam item and in a conversation: shorter ones are anybody's
ALONE = 80  # letters of a question that is found among other words, without its options
_MARKS = re.compile(r"[\n.:;?!。：；？！]+")  # where a question may begin and end inside of a turn
_NO_LETTERS = re.compile(r"[\W_]+")
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")  # these say as much as two letters


class Leak(NamedTuple):
    """A row that an evaluation asks, and where it was learnt, and by what the two are the same."""

    evaluation: str
    asked: str
    data: str
    learnt: str
    by: str


class HeldOut:
    """The rows that evaluations ask, to hold others against. ``learnt``: the data sets whose train rows the models of an evaluation
    learn from, by its name."""

    def __init__(self, learnt: Mapping[str, Sequence[str]]):
        self.learnt = learnt
        self.rows: dict[str, int] = {}
        self._known: dict[bytes, list[tuple[str, str, str]]] = {}
        self._told: set[tuple[str, str]] = set()
        self._lengths: set[int] = set()  # letters of exam questions
        self._options: dict[tuple[str, str], tuple[str, ...]] = {}  # of exam items, by evaluation and row

    def add(self, evaluation: str, rows: Sequence[Row]) -> None:
        """Rows that an evaluation asks."""
        self.rows[evaluation] = len(rows)
        for row in rows:
            for by, key in _keys(row, learnt=False):
                self._known.setdefault(key, []).append((evaluation, row.id, by))
            if isinstance(row.body, Choice) and _said(question := plain_text(row.body.question)) >= LEAST_LETTERS:
                self._lengths.add(len(question))
                self._options[evaluation, row.id] = tuple(map(plain_text, row.body.options))

    def leaks(self, data: str, rows: Iterable[Row]) -> Iterator[Leak]:
        """Each asked row that lies in what is learnt, at the first place where it does."""
        for row in rows:
            for _, key in _keys(row, learnt=True):
                for evaluation, asked, by in self._known.get(key, ()):
                    if data in self.learnt[evaluation] and (evaluation, asked) not in self._told:
                        self._told.add((evaluation, asked))
                        yield Leak(evaluation, asked, data, row.id, by)
            if isinstance(row.body, Chat):
                yield from self._quoted(data, row.id, row.body)

    def _quoted(self, data: str, learnt: str, body: Chat) -> Iterator[Leak]:
        """Exam items that a user puts among other words."""
        longest = max(self._lengths, default=0)
        for message in body.messages:
            parts = [plain_text(part) for part in _MARKS.split(message.content)] if message.role == "user" else []
            for begin in range(len(parts)):
                letters = 0
                for end in range(begin, len(parts)):
                    letters += len(parts[end])
                    if letters > longest:
                        break
                    if parts[end] and letters in self._lengths:
                        found = "".join(parts[begin : end + 1])
                        for evaluation, asked, by in self._known.get(_hash("choice", found), ()):
                            place, whole = (evaluation, asked), "".join(parts)
                            alike = _said(found) >= ALONE or all(one in whole for one in self._options[place])
                            if alike and data in self.learnt[evaluation] and place not in self._told:
                                self._told.add(place)
                                yield Leak(evaluation, asked, data, learnt, by)


def refuse_leaks(store: RunFolder, held_out: HeldOut) -> None:
    """Raises RecipeError, with the rows, where rows that an evaluation asks are train rows of what its models learn from. Every data
    set is read once."""
    datasets = dict.fromkeys(data for names in held_out.learnt.values() for data in names)
    found = [leak for data in datasets for leak in held_out.leaks(data, store.rows(data, "train"))]
    if not found:
        return
    lines: list[str] = []
    for evaluation, count in held_out.rows.items():
        mine = [leak for leak in found if leak.evaluation == evaluation]
        if mine:
            lines.append(f"{len(mine):,} of {count:,} rows that {evaluation} asks are learnt in training:")
            lines += [f"  {leak.asked}   is {leak.learnt} of {leak.data} (the same {leak.by})" for leak in mine[:SHOWN]]
            lines += [f"  and {len(mine) - SHOWN:,} more"] * (len(mine) > SHOWN)
    raise RecipeError(
        "\n".join(lines)
        + "\nScores on them would be worth nothing, and allow_unchecked does not change that. Add {use: decontaminate} to the steps of "
        f"{' and '.join(dict.fromkeys(leak.data for leak in found))}, after the last one that asks a model, or ask other rows"
    )


def _keys(row: Row, learnt: bool) -> Iterator[tuple[str, bytes]]:
    """What makes two rows the same. Two exam items with one question and other options, or about another passage, are two; a
    conversation about an item's question is not."""
    yield "row", _hash("id", row.id)
    yield "family", _hash("family", row.family)
    match row.body:
        case Choice(question=question, options=options, context=context):
            plain = plain_text(question)
            whole = (plain, plain_text(context or ""), *sorted(map(plain_text, options)))
            if plain:
                yield "question and options", _hash("item", *whole)
            yield from _question("chat" if learnt else "choice", plain)
        case Chat(messages=messages):
            said = [plain_text(message.content) for message in messages if message.role != "system"]
            yield "conversation", _hash("conversation", *said)
            turns = [plain_text(message.content) for message in messages if message.role == "user"]
            if not learnt:
                yield from _question("chat", *turns)
                return
            for turn in turns:
                yield from _question("chat", turn)
                yield from _question("choice", turn)
            for end in range(2, len(turns) + 1):
                yield from _question("chat", *turns[:end])
        case Text(text=text):
            if plain := plain_text(text):
                yield "text", _hash("text", plain)


def _question(kind: str, *plain: str) -> Iterator[tuple[str, bytes]]:
    if sum(map(_said, plain)) >= LEAST_LETTERS:
        yield "question", _hash(kind, *plain)


def _said(plain: str) -> int:
    """How much a text says, in letters."""
    return len(plain) + len(_WIDE.findall(plain))


def _hash(*words: str) -> bytes:
    return hashlib.blake2b("\0".join(words).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def plain_text(text: str) -> str:
    """Letters and digits alone, in their plainest form."""
    return _NO_LETTERS.sub("", unicodedata.normalize("NFKC", text).casefold())
