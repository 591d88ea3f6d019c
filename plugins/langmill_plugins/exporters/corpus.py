"""Running text as other programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from langmill.api import Context, Exporter, Field, Row, Text, whole_folder
from langmill_plugins.exporters.lines import write_lines


class Corpus(Exporter):
    """Running text by language, a document (or a passage of one) a line: corpus/LANGUAGE/SPLIT.jsonl with text, id, document,
    language, source and licenses. With `form: txt` corpus/LANGUAGE/SPLIT.txt holds the text alone, pieces parted by a blank line as
    the loader `text` reads them with `documents: blank_line`, and SPLIT.sources.jsonl beside it says the rest, line n of the nth
    piece. Other rows are left out."""

    form: Literal["jsonl", "txt"] = Field("jsonl", description="objects with source and licence, or plain text")

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write corpus/ below ``folder``."""
        texts = (row for row in rows if isinstance(row.body, Text))
        if self.form == "jsonl":
            return write_lines(folder / "corpus", _lines(texts))
        target = folder / "corpus"
        with whole_folder(target) as work:
            for (language, split), group in groupby(texts, key=lambda row: (row.language, row.split)):
                place = work / language
                place.mkdir(exist_ok=True)
                with ExitStack() as stack:
                    plain, beside = (
                        stack.enter_context((place / f"{split}{ending}").open("w", encoding="utf-8", newline="\n"))
                        for ending in (".txt", ".sources.jsonl")
                    )
                    for row in group:
                        assert isinstance(row.body, Text)
                        plain.write("\n".join(line for line in row.body.text.splitlines() if line.strip()) + "\n\n")
                        beside.write(json.dumps(_told(row), ensure_ascii=False) + "\n")
        return target


def _lines(rows: Iterable[Row]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in rows:
        assert isinstance(row.body, Text)
        yield f"{row.language}/{row.split}.jsonl", {"text": row.body.text, **_told(row)}


def _told(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "document": row.family,
        "language": row.language,
        "source": row.origin.source,
        "licenses": list(row.origin.licenses),
    }
