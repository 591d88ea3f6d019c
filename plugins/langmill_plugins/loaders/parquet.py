"""Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import MissingInput, Row, SourceContext

from .fields import Fields
from .reading import readable
from .records import Entry, FileLoader


class Parquet(Fields, FileLoader):
    """Reads Parquet files, a thousand records at a time; options say which column holds what."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a record, named by its number from 1 unless it has an id."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        split = self.file_split(path, context)
        number = 0
        try:
            with readable(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1000):
                    for value in batch.to_pylist():
                        number += 1
                        position = self.position(path, context, number)
                        yield self.entry(value, position, f"{path.name}:{number}", split)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise MissingInput(
                f"{path}: is not a whole Parquet file (after record {number}): {error}. Fetch the file again"
            ) from None

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row the fields tell."""
        return self.made(entry, context)
