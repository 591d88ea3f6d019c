"""What a table holds, as one hash: the same for the same values, however they lie in memory, in chunks or in files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def content_hash(table: pa.Table) -> str:
    """sha256 over a table's columns, one after another: lengths, then values; nulls by their places."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\0{len(column)}\0".encode())
        _feed(digest, _one(column))
    return digest.hexdigest()


def _one(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _feed(digest: Any, array: pa.Array) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if array.null_count:
        missing = np.flatnonzero(pc.is_null(array).to_numpy(zero_copy_only=False))
        digest.update(b"nulls" + missing.astype("<i8").tobytes())
        array = array.drop_null()
    kind = array.type
    if pa.types.is_string(kind):
        digest.update(pc.binary_length(array).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        if len(array):
            _, places, values = array.buffers()
            ends = np.frombuffer(places, "<i4", len(array) + 1, 4 * array.offset)
            digest.update(memoryview(values)[ends[0] : ends[-1]] if values is not None else b"")
    elif pa.types.is_list(kind):
        digest.update(pc.list_value_length(array).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        _feed(digest, array.flatten())
    elif pa.types.is_struct(kind):
        for part in array.flatten():
            _feed(digest, part)
    elif pa.types.is_integer(kind):
        digest.update(array.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
    else:
        raise TypeError(f"no hash is defined for a column of {kind}")
