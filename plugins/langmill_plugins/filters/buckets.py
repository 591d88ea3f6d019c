"""Rows that share a key, read from sorted signatures as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Record = dict[str, Any]


def buckets(signatures: Iterator[pa.RecordBatch]) -> Iterator[list[Record]]:
    """Every run of two or more records with one ``key``, in order; a run may cross batches.

    Records of keys that occur once never become Python objects, so that a large data set costs little here.
    """
    import numpy as np
    import pyarrow.compute as pc

    held: list[Record] = []
    for batch in signatures:
        if not batch.num_rows:
            continue
        keys = batch.column("key")
        new = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1)).to_numpy(zero_copy_only=False)
        starts = np.concatenate(([0], np.flatnonzero(new) + 1, [len(keys)]))
        runs = [(int(start), int(end)) for start, end in pairwise(starts)]
        first, last = runs[0], runs[-1]
        if held and held[0]["key"] == keys[0].as_py():
            held += _records(batch, *first)
            if len(runs) == 1:
                continue
            runs = runs[1:]
        if len(held) > 1:
            yield held
        for start, end in runs[:-1]:
            if end - start > 1:
                yield _records(batch, start, end)
        held = _records(batch, *last)
    if len(held) > 1:
        yield held


def _records(batch: pa.RecordBatch, start: int, end: int) -> list[Record]:
    return list(batch.slice(start, end - start).to_pylist())
