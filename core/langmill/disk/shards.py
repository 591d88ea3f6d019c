"""A table written as a stream: files of FILE_GROUPS row groups, of which only one is in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.disk.tables import table_writer

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 5000
FILE_GROUPS = 10


class Shards:
    """Files ``STEM-00000.parquet`` and so on, in a folder that nobody reads yet; close() ends the last one. What is in which
    file does not depend on the pieces that it came in. ``rows`` says how many rows went to each file."""

    def __init__(self, folder: Path, stem: str):
        self.folder, self.stem = folder, stem
        self.rows: dict[Path, int] = {}
        self._waiting: list[pa.Table] = []
        self._writer: Any = None

    def add(self, table: pa.Table) -> None:
        """Write more rows."""
        self._waiting.append(table)
        while sum(piece.num_rows for piece in self._waiting) >= GROUP_ROWS:
            self._write(GROUP_ROWS)

    def close(self) -> None:
        """Write what is left and end the last file."""
        if left := sum(piece.num_rows for piece in self._waiting):
            self._write(left)
        self._end()

    def _write(self, rows: int) -> None:
        """One row group, of the rows that have waited longest."""
        import pyarrow as pa

        whole = pa.concat_tables(self._waiting)
        self._waiting = [whole.slice(rows)]
        if self._writer is None:
            path = self.folder / f"{self.stem}-{len(self.rows):05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.rows[path] = 0
            self._writer = table_writer(path, whole.schema)
        self._writer.write_table(whole.slice(0, rows).combine_chunks())
        self.rows[next(reversed(self.rows))] += rows
        if self.rows[next(reversed(self.rows))] >= GROUP_ROWS * FILE_GROUPS:
            self._end()

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            with next(reversed(self.rows)).open("rb") as handle:
                os.fsync(handle.fileno())
