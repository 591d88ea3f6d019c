"""Parquet, a thousand records at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from langmill.api import MissingInput, RowFault

if TYPE_CHECKING:
    import pyarrow as pa

BUFFER = 1 << 20  # bytes read at once from a column


def parquet_rows(path: Path, columns_of: Callable[[Sequence[str]], Sequence[str]]) -> Iterator[tuple[int, Any]]:
    """The records of a file with their numbers. Raises MissingInput when it is not whole, after the records before the break."""
    import pyarrow as pa

    number = 0
    try:
        for number, value in parquet_records(path, columns_of, BUFFER):
            yield number, value
    except MemoryError:  # Arrow's is an ArrowException, too, and no fault of the file
        raise
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines() or [""]
        raise MissingInput(
            f"{path}: is not a whole Parquet file (after record {number}): {reason[0].rstrip('.')}. Fetch the file again"
        ) from None


def parquet_records(
    source: Path | IO[bytes], columns_of: Callable[[Sequence[str]], Sequence[str]], buffer: int
) -> Iterator[tuple[int, Any]]:
    """Records with their numbers from 1. ``columns_of`` says which of the columns at hand are read; none of them is all.
    ``buffer``: bytes read at once from a column. Raises what Arrow raises."""
    import pyarrow.parquet as pq

    number = 0
    # Buffered ahead, what was read stays in memory until the file is closed.
    with pq.ParquetFile(source, pre_buffer=False, buffer_size=buffer) as file:
        columns = list(columns_of(file.schema_arrow.names)) or None
        for batch in file.iter_batches(batch_size=1000, columns=columns, use_threads=False):
            for value in _records(batch):
                number += 1
                yield number, value


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
