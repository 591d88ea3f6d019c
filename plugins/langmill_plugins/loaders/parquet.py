"""Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langmill.api import MissingInput, Row, RowFault, SourceContext

from .fields import Fields
from .records import Entry, FileLoader

if TYPE_CHECKING:
    import pyarrow as pa


BUFFER = 1 << 20  # bytes read at once from a column


class Parquet(Fields, FileLoader):
    """Reads Parquet files, a thousand records at a time; options say which column holds what."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a record, named by its number from 1 unless it has an id. Columns that no field names are not read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        split = self.file_split(path, context)
        number = 0
        try:
            # Buffered ahead, what was read stays in memory until the file is closed.
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
                columns = self.columns_of(file.schema_arrow.names)
                for batch in file.iter_batches(batch_size=1000, columns=columns or None, use_threads=False):
                    for value in _records(batch):
                        number += 1
                        position = self.position(path, context, number)
                        yield self.entry(value, position, f"{path.name}:{number}", split)
        except MemoryError:  # Arrow's is an ArrowException, too, and no fault of the file
            raise
        except (pa.ArrowException, OSError) as error:
            reason = str(error).strip().splitlines() or [""]
            raise MissingInput(
                f"{path}: is not a whole Parquet file (after record {number}): {reason[0].rstrip('.')}. "
                "Fetch the file again"
            ) from None

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row the fields tell."""
        return self.made(entry, context)


def _records(batch: pa.RecordBatch) -> list[Any]:
    """Records as objects; a value that is no text, or no date of a calendar, is the fault of its record alone."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):
        return [_record(batch.slice(number, 1)) for number in range(batch.num_rows)]


def _record(batch: pa.RecordBatch) -> Any:
    try:
        return batch.to_pylist()[0]
    except UnicodeDecodeError as error:
        return RowFault("not_utf8", f"byte {error.start + 1} of a value is not UTF-8")
    except (ValueError, OverflowError) as error:
        return RowFault("broken_value", str(error))
