"""Texts that can be read and mean nothing, or trouble: what every filter must get over."""

from __future__ import annotations

from collections.abc import Callable

from langmill.api import Chat, Choice, Row, Text

NASTY = [
    "", " ", "\ud800 lone surrogate of a text that is long enough to be judged", "\x00\x01\x02 control bytes in the text",
    "\u202e\u200f right-to-left marks \u202c in a text of English words", "🩺💉🧬" * 30, "\ufffd" * 20, "ａ" * 50, "1" * 100,
    "e\u0301" * 40, "𒀀𒀁𒀂" * 20, "word " * 40_000, "字" * 100_000, "A. a\n" * 1000,
]  # fmt: skip


def nasty_rows(row: Callable[..., Row], code: str) -> list[Row]:
    """Each of them as a text, a chat and a choice item of a language; ``row`` makes rows of an id and a body."""
    rows = []
    for index, text in enumerate(NASTY):
        rows.append(row(f"text/{index}", Text(text), language=code))
        rows.append(row(f"chat/{index}", Chat.of(text, text), language=code))
        rows.append(row(f"choice/{index}", Choice(text, (text, "b"), (0,), explanation=text), language=code))
    return rows
