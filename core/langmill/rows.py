"""The row: what flows through every step, and the two ways it can leave (`Drop` inside a part, `Reject` on disk).

A row is closed and frozen: a step never changes one, it makes a child with :meth:`Row.child`. The split and the family are
fixed when a row enters and are inherited, so a question, its longer answer and its translations never straddle train and test.
Slotted dataclasses and not pydantic models: rows are on the hot path (a pydantic row costs about ten times as much to make).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
Role = Literal["system", "user", "assistant"]


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Text:
    """Running text: a passage or a document."""

    text: str
    kind: Literal["text"] = field(default="text", init=False, repr=False)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation that ends with the assistant."""

    messages: tuple[Message, ...]
    kind: Literal["chat"] = field(default="chat", init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1].role != "assistant":
            raise ValueError("a conversation ends with the assistant")

    @classmethod
    def of(cls, question: str, answer: str) -> Chat:
        """The commonest conversation: one question, one answer."""
        return cls((Message("user", question), Message("assistant", answer)))

    @property
    def question(self) -> str:
        """The last thing the user said."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        """The assistant's last words."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Choice:
    """A multiple-choice item. No letters: the language pack adds them. ``answers`` are indices into ``options``, ascending."""

    question: str
    options: tuple[str, ...]
    answers: tuple[int, ...]
    explanation: str | None = None
    context: str | None = None
    kind: Literal["choice"] = field(default="choice", init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.answers or list(self.answers) != sorted(set(self.answers)):
            raise ValueError("answers are distinct and ascending, at least one")
        if self.answers[0] < 0 or self.answers[-1] >= len(self.options):
            raise ValueError(f"an answer points outside the {len(self.options)} options")


Body = Text | Chat | Choice


class Mark(NamedTuple):
    """What one model call did to a row: the step, the model, the prompt's hash and the call's key in the ledger."""

    step: str
    model: str
    prompt: str
    call: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row came from. ``licenses`` is the union over all parents, sorted; ``parents`` are row ids, nearest last."""

    source: str
    record: str
    licenses: tuple[str, ...]
    parents: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a data set. ``id`` spells its history: ``source/record/step/step.language``."""

    id: str
    language: str
    split: Split
    family: str
    body: Body
    origin: Origin
    flags: tuple[str, ...] = ()

    def child(self, name: str, body: Body, *, language: str | None = None, marks: Iterable[Mark] = ()) -> Row:
        """A new row made from this one: same split, family and licences, one parent more, and a mark for each call."""
        origin = replace(
            self.origin,
            parents=(*self.origin.parents, self.id),
            marks=(*self.origin.marks, *marks),
        )
        return replace(
            self, id=f"{self.id}/{name}", language=language or self.language, body=body, origin=origin, flags=()
        )

    def flagged(self, *flags: str) -> Row:
        """The same row with these flags added; each flag once, in the order given."""
        return replace(self, flags=tuple(dict.fromkeys((*self.flags, *flags))))


class Drop(NamedTuple):
    """Why a part lets a row go: ``reason`` is a word that can be counted, ``detail`` is for people, ``like`` is the id of the
    row that it repeats, where that is why."""

    reason: str
    detail: str = ""
    like: str = ""


class Flag(NamedTuple):
    """Something to keep in the row and to count, without dropping it."""

    flag: str


class Skip(NamedTuple):
    """Work a step can not do by its nature (a language the model does not write): counted apart from rejects."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row or a source record that left, with its reason. ``row`` is None when the record never became a row; ``like`` is the
    id of the row that it repeats."""

    source: str
    record: str
    step: str
    reason: str
    detail: str = ""
    excerpt: str = ""
    language: str = ""
    row: Row | None = None
    like: str = ""

    @classmethod
    def of(cls, row: Row, step: str, drop: Drop) -> Reject:
        """The reject of a row that a step dropped."""
        excerpt = words(row.body)[:200]
        source, record = row.origin.source, row.origin.record
        return cls(source, record, step, drop.reason, drop.detail, excerpt, row.language, row, drop.like)


def words(body: Body) -> str:
    """Everything a reader of the body would read, parts separated by line breaks."""
    match body:
        case Text(text=text):
            return text
        case Chat(messages=messages):
            return "\n".join(message.content for message in messages)
        case Choice():
            parts = (body.context or "", body.question, *body.options, body.explanation or "")
            return "\n".join(part for part in parts if part)


def split_of(family: str, seed: int, shares: Iterable[tuple[Split, float]]) -> Split:
    """The split a family falls into: a hash decides, so that every edition of an item lands on the same side.

    ``shares`` gives the share of dev and test in 0..1; what is left is train.
    """
    digest = hashlib.sha256(f"{seed}\0{family}".encode("utf-8", "surrogatepass")).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    for split, share in shares:
        if point < share:
            return split
        point -= share
    return "train"
