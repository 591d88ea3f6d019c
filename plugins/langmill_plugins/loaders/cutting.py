"""Documents cut into passages: at paragraph borders, a paragraph that is too long at sentence ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

# Where a long paragraph may be cut, the best place first. Scripts without blanks end their sentences without one, too. A dot before
# a figure or a small letter is one of an abbreviation, and so is one after a title or a single letter.
_SHORT = "".join(rf"(?<!\b{word})" for word in ("[A-Z]", "Dr", "Mr", "Ms", "Mrs", "Prof", "Fig"))
_CLOSING = r"['”’»\")\]]*"
_BORDERS = (
    re.compile(rf"(?:[!?…؟।॥։።]|{_SHORT}\.(?!{_CLOSING}\s+[\da-zа-яёà-ÿ])){_CLOSING}(?=\s)|[。！？｡။។]+[」』”’）]*|\n"),
    re.compile(rf"[.!?]{_CLOSING}(?=\s)"),
    re.compile(r"[,;:،؛](?=\s)|[，、；：]"),
    re.compile(r"\s"),
)
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
    """A paragraph in pieces of at most ``most`` characters: at the last sentence end that fits, else after a comma, else at a blank,
    else anywhere that is not inside a letter with its marks."""
    start = 0
    while len(paragraph) - start > most:
        at = _border(paragraph[start : start + most + 1], most)
        if piece := paragraph[start : start + at].strip():
            yield piece
        start += at
    if rest := paragraph[start:].strip():
        yield rest


def _border(head: str, most: int) -> int:
    """How many characters of ``head``, one more than fit, make the next piece."""
    for border in _BORDERS:
        ends = [found.end() for found in border.finditer(head) if found.end() <= most]
        if ends and head[: ends[-1]].strip():
            return ends[-1]
    at = most
    while at > 1 and (unicodedata.category(head[at])[0] == "M" or "\u200d" in head[at - 1 : at + 1]):
        at -= 1
    return at if at > 1 else most


def joined(lines: str) -> str:
    """The lines of a paragraph as one: with a blank between them, but none between two letters of a script without blanks."""
    return " ".join(_BREAK.sub("", lines.strip()).split())
