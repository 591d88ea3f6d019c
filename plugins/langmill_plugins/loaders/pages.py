"""From the lines of a book's pages to its paragraphs: what repeats on the pages goes, lines and words are joined."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import NamedTuple

from .cutting import joined

LEAST_SHARE, LEAST_LETTERS = 0.5, 200
"""A page, or a book, is a picture of text if less than this share of its characters, or fewer than this many of them a page, are
letters and digits. Both as published with MMedC."""
EDGE = 2  # lines at the top and at the foot of a page that may be a running title or a number
OFTEN, PAGES = 0.4, 4  # a running title is on so many of the pages: left and right ones may differ
SHORT = 0.7  # a line shorter than this share of a full one ends its paragraph
_HYPHEN = re.compile(r"([^\W\d_]+)[-\u2010\u00ad]\s*\n\s*([^\W\d_]+)")
_COMPOUND = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)+")
_LINE_END = re.compile(r"[.!?…。！？:;：；]['”’»\")\]」』]*$")


class Weight(NamedTuple):
    """What a page's text weighs."""

    letters: int
    characters: int

    @classmethod
    def of(cls, text: str) -> Weight:
        """Letters and digits among all characters that are no line break."""
        return cls(sum(map(str.isalnum, text)), len(text) - text.count("\n") - text.count("\r"))


def is_picture(weights: Sequence[Weight]) -> bool:
    """Whether a book's pages are pictures of text, by the published rule."""
    letters, characters = sum(one.letters for one in weights), sum(one.characters for one in weights)
    return letters < LEAST_LETTERS * len(weights) or letters < LEAST_SHARE * characters


def page_is_picture(weight: Weight, shows: bool, book: bool) -> bool:
    """Whether one page is a picture of text: it fails the published rule, as a book of one page would, and that is not because it
    is a short one. ``shows``: there is a picture on it; ``book``: the book it is of is one of pictures."""
    unread = weight.letters < LEAST_SHARE * weight.characters
    return is_picture([weight]) and (shows or unread or (book and not weight.letters))


def front_and_back(pages: int) -> range:
    """The pages (from 0) of a text book that are read: of 100 pages and more, as published, not its front matter, up to 0.018
    times its pages plus 3, nor its last 5."""
    return range(int(0.018 * pages + 3), pages - 5) if pages >= 100 else range(pages)


def running_titles(pages: Sequence[str]) -> set[str]:
    """What stands at the top or foot of most pages, whatever numbers are in it: for :func:`lines_of`."""
    seen: Counter[str] = Counter()
    full = 0
    for page in pages:
        lines = _lines(page)
        full += bool(lines)
        seen.update({_shape(lines[index]) for index in _edges(len(lines))})
    return {shape for shape, n in seen.items() if n >= PAGES and n >= OFTEN * full}


def lines_of(page: str, titles: set[str]) -> list[str]:
    """The lines of a page, without empty ones and without running titles and numbers at its top and foot."""
    lines = _lines(page)
    edges = _edges(len(lines))
    return [line for index, line in enumerate(lines) if index not in edges or _shape(line) not in titles]


def _lines(page: str) -> list[str]:
    return [line.strip() for line in page.splitlines() if line.strip()]


def _edges(count: int) -> set[int]:
    return {index for index in (*range(EDGE), *range(count - EDGE, count)) if 0 <= index < count}


def _shape(line: str) -> str:
    """A line with its numbers alike; Roman ones only where the line is nothing else."""
    return "#" if re.fullmatch(r"[ivxlc]+", line, re.IGNORECASE) else re.sub(r"\d+", "#", line)


def paragraphs(pages: Sequence[Sequence[str]], compounds: set[str]) -> Iterator[str]:
    """Paragraphs of the lines of pages, in order; one may go on over the end of a page.

    A line that is clearly shorter than a full one ends its paragraph, for books come without blank lines. ``compounds`` are the
    words that the book writes with a hyphen in the middle of a line: these keep theirs at a line's end.
    """
    held: list[str] = []
    full = _full([len(line) for lines in pages for line in lines])
    for lines in pages:
        for line in lines:
            held.append(line)
            if len(line) < SHORT * full and not _goes_on(line):
                yield _laid(held, compounds)
                held = []
        if held and _LINE_END.search(held[-1]):
            yield _laid(held, compounds)
            held = []
    if held:
        yield _laid(held, compounds)


def compounds_in(pages: Sequence[str]) -> set[str]:
    """Words that are written with a hyphen inside a line."""
    return {word.lower().replace("\u2010", "-") for page in pages for word in _COMPOUND.findall(page)}


def _full(lengths: Sequence[int]) -> float:
    """Characters of a full line: nearly the longest, so that a heading or two do not count."""
    return quantiles(lengths, n=10)[7] if len(lengths) > 1 else max(lengths, default=0)


def _goes_on(line: str) -> bool:
    return line[-1] in "-\u2010\u00ad,、，"


def _laid(lines: Sequence[str], compounds: set[str]) -> str:
    """Lines as one, words that were parted at a line's end whole again. Letters whose case can not be told are left as they are."""

    def whole(found: re.Match[str]) -> str:
        first, second = found[1], found[2]
        if f"{first}-{second}".lower() in compounds or not (first[-1].islower() and second[0].islower()):
            return f"{first}-{second}"
        return first + second

    return joined(_HYPHEN.sub(whole, "\n".join(lines)))
