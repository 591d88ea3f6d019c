"""Multiple-choice items in MMedBench's layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from langmill.api import Choice, Context, Exporter, FactoryError, Row
from langmill_plugins.exporters.lines import write_lines


class ChoiceJsonl(Exporter):
    """JSON Lines of multiple-choice items as MMedBench has them: choice/LANGUAGE/SPLIT.jsonl, one object a line with
    question, options (by Latin letter in every language), answer_idx ("A", or "A,C" for several), rationale and id. A
    passage that the question is about stands before the question. Other rows are left out."""

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write choice/ below ``folder``. Raises FactoryError for an item with more options than there are letters."""
        return write_lines(folder / "choice", _lines(rows))


def _lines(rows: Iterable[Row]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in rows:
        body = row.body
        if not isinstance(body, Choice):
            continue
        if len(body.options) > len(ascii_uppercase):
            raise FactoryError(
                f"row '{row.id}' has {len(body.options)} options, this layout has letters for {len(ascii_uppercase)}: "
                "drop the row with a filter, or take write: [{use: choice_jsonl}] out"
            )
        options = dict(zip(ascii_uppercase, body.options, strict=False))
        yield (
            f"{row.language}/{row.split}.jsonl",
            {
                "question": f"{body.context}\n{body.question}" if body.context else body.question,
                "options": options,
                "answer_idx": ",".join(ascii_uppercase[index] for index in body.answers),
                "rationale": body.explanation or "",
                "id": row.id,
            },
        )
