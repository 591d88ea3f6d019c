"""Multiple-choice items as the folders that MMedBench is published in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langmill.api import Choice, Context, Exporter, Row
from langmill_plugins.exporters.items import item_of
from langmill_plugins.exporters.lines import write_lines
from langmill_plugins.review.verdicts import CHECKED, DISPUTED, FAILED, told

BY_PEOPLE = {CHECKED, FAILED, DISPUTED}


class MMedBenchJsonl(Exporter):
    """MMedBench's published layout: mmedbench/Train/English.jsonl, mmedbench/Test/Chinese.jsonl and so on, one object a line with
    question, options, answer_idx, rationale, human_checked and human_check_passed, and our id. Rows of dev, which MMedBench does
    not have, lie in Dev/; other rows than multiple choice are left out. A passage stands before its question, and is part of it
    when it is read back.

    `human_checked`: people checked the rationale, with whatever outcome. `human_check_passed`: they let it pass, all of them. The
    loader `table` reads the files back (`body: choice, answer: answer_idx, explanation: rationale`).
    """

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write mmedbench/ below ``folder``. Raises FactoryError for an item with more options than there are letters."""
        lines = (
            (
                f"{row.split.capitalize()}/{context.pack(row.language).identity.name}.jsonl",
                {
                    **item_of(row, row.body),
                    "human_checked": bool(BY_PEOPLE & set(row.flags)),
                    "human_check_passed": bool(told(row.flags)),
                    "id": row.id,
                },
            )
            for row in rows
            if isinstance(row.body, Choice)
        )
        return write_lines(folder / "mmedbench", lines)
