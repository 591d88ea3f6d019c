"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Row, SourceContext

from .fields import Fields
from .reading import json_lines
from .records import Entry, FileLoader


class JsonLines(Fields, FileLoader):
    """Reads JSON Lines files, one object a line; options say which field holds what.

    A line that is not JSON, is longer than 10 MB or lacks what its body needs is rejected with its file and line.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line."""
        split = self.file_split(path, context)
        for number, value in json_lines(path):
            position = self.position(path, context, number)
            yield self.entry(value, position, f"{path.name}:{number}", split)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row the fields tell."""
        return self.made(entry, context)
