"""Multiple-choice items in MMedBench's layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langmill.api import Choice, Context, Exporter, Row
from langmill_plugins.exporters.items import item_of
from langmill_plugins.exporters.lines import write_lines


class ChoiceJsonl(Exporter):
    """JSON Lines of multiple-choice items as MMedBench has them: choice/LANGUAGE/SPLIT.jsonl, one object a line with
    question, options (by Latin letter in every language), answer_idx ("A", or "A,C" for several), rationale and id. A
    passage that the question is about stands before the question. Other rows are left out."""

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write choice/ below ``folder``. Raises FactoryError for an item with more options than there are letters."""
        lines = (
            (f"{row.language}/{row.split}.jsonl", {**item_of(row, row.body), "id": row.id})
            for row in rows
            if isinstance(row.body, Choice)
        )
        return write_lines(folder / "choice", lines)
