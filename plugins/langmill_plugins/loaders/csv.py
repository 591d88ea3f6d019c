"""Comma-separated values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Field, Row, SourceContext

from .fields import Fields
from .reading import csv_rows
from .records import Entry, FileLoader


class Csv(Fields, FileLoader):
    """Reads CSV files; options say which column holds what.

    Exams with a column an option: ``body: choice``, ``options: [A, B, C, D]``. A file without a header needs ``columns``.
    A record with too few or too many cells, a cell over 10 MB or a quotation that never ends is rejected with its line.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    columns: tuple[str, ...] = Field((), description="names of the columns, for files without a header")
    delimiter: str = Field(",", min_length=1, max_length=1, description="what stands between two cells")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a record, named by its first line unless it has an id."""
        split = self.file_split(path, context)
        for number, value in csv_rows(path, self.delimiter, self.columns):
            position = self.position(path, context, number)
            yield self.entry(value, position, f"{path.name}:{number}", split)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row the fields tell."""
        return self.made(entry, context)
