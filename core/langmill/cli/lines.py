"""Lines of text for the terminal: not too wide, and in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

WIDTH = 100


def wrapped(text: str, first: str, then: str) -> list[str]:
    """Text in lines that are not too wide."""
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=then)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table, indented: the first and the last column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    last = len(head) - 1
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("    " + "  ".join(cells)).rstrip()
