"""A multiple-choice item as MMedBench writes it."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from langmill.api import Choice, FactoryError, Row


def item_of(row: Row, body: Choice) -> dict[str, Any]:
    """Question (a passage that it is about stands before it), options by Latin letter in every language, the right letters joined by
    commas, and the rationale, empty where there is none. Raises FactoryError for more options than there are letters."""
    if len(body.options) > len(ascii_uppercase):
        raise FactoryError(
            f"row '{row.id}' has {len(body.options)} options, this layout has letters for {len(ascii_uppercase)}: "
            "drop the row with a filter, or take this exporter out of write:"
        )
    return {
        "question": f"{body.context}\n{body.question}" if body.context else body.question,
        "options": dict(zip(ascii_uppercase, body.options, strict=False)),
        "answer_idx": ",".join(ascii_uppercase[index] for index in body.answers),
        "rationale": body.explanation or "",
    }
