"""Documents cut into passages: at paragraph borders, a paragraph that is too long at sentence ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Scripts without blanks end their sentences without one, too.
_END = re.compile(r"[.!?…؟।]['”’»\")\]]*(?=\s)|[。！？｡][」』”’）]*|\n")
_UNSPACED = (
    r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"  # Han, kana and their punctuation: not hangul, which has blanks
)
_BREAK = re.compile(rf"(?<={_UNSPACED})[ \t]*\n[ \t]*(?={_UNSPACED})")


def passages(paragraphs: Iterable[str], most: int, between: str = "\n\n") -> Iterator[str]:
    """Paragraphs joined by ``between`` to passages of at most ``most`` characters, in order, each as soon as it is full."""
    passage = ""
    for piece in (piece for paragraph in paragraphs for piece in cut(paragraph, most)):
        if passage and len(passage) + len(between) + len(piece) <= most:
            passage += between + piece
        else:
            if passage:
                yield passage
            passage = piece
    if passage:
        yield passage


def cut(paragraph: str, most: int) -> Iterator[str]:
    """A paragraph in pieces of at most ``most`` characters: at the last sentence end that fits, else at a blank, else anywhere."""
    start = 0
    while len(paragraph) - start > most:
        head = paragraph[start : start + most + 1]
        ends = [found.end() for found in _END.finditer(head) if found.end() <= most] or [head.rfind(" ")]
        at = ends[-1] if ends[-1] > 0 else most
        if piece := head[:at].strip():
            yield piece
        start += at
    if rest := paragraph[start:].strip():
        yield rest


def joined(lines: str) -> str:
    """The lines of a paragraph as one: with a blank between them, but none between two letters of a script without blanks."""
    return " ".join(_BREAK.sub("", lines.strip()).split())
