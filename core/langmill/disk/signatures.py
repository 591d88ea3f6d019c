"""Signatures of a data set on disk: signed by partition, merged by key as a stream, looked up by position.

A filter of the whole data set (parts.DatasetFilter) makes keys and facts of rows. One signed file is a stretch of the data
set: its keys lie in SLOTS slots by their highest bits, its facts in batches. Rows that share a key share its highest bits,
so that one range of keys after another is sorted in memory and the rest stays on disk. Positions count signed rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from langmill.disk.whole import write_json, write_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Positions: TypeAlias = npt.NDArray[np.int64]

SLOT_BITS = 6
SLOTS = 1 << SLOT_BITS
FACTS_ROWS, FACTS_BYTES = 1 << 14, 1 << 26  # facts in one batch of a file, about
RANGE_KEYS = 1 << 21  # keys sorted in memory at once, about: 16 bytes each, three times over
BUCKET_RECORDS = 1 << 16  # records handed to decide() at once, when no single key has more


@dataclass(frozen=True)
class SignedFile:
    """A stretch of signed rows: ``rows`` in each of its batches. Two files and this note of what they hold."""

    path: Path
    rows: tuple[int, ...]
    keys: int

    @classmethod
    def read(cls, path: Path) -> SignedFile:
        """The signed file of a note."""
        note = json.loads(path.read_text("utf-8"))
        return cls(path, tuple(note["rows"]), note["keys"])

    @property
    def total(self) -> int:
        """Signed rows."""
        return sum(self.rows)

    @property
    def keys_path(self) -> Path:
        """Its keys: one batch a slot, columns ``key`` and ``row``."""
        return self.path.with_suffix(".keys.arrow")

    @property
    def facts_path(self) -> Path:
        """Its facts, in order."""
        return self.path.with_suffix(".facts.arrow")


def write_signed(path: Path, signed: Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]) -> SignedFile:
    """Write keys and facts of neighbouring rows, whole; the note comes last. Facts go to disk stretch by stretch."""
    import numpy as np
    import pyarrow as pa

    keys: list[Any] = []
    places: list[Any] = []
    counts: list[int] = []

    def write_facts(temporary: Path) -> None:
        with ExitStack() as stack:
            writer, start = None, 0
            for batches in _stretches(signed):
                for made, facts in batches:
                    keys.append(made.column("key").to_numpy())
                    places.append(made.column("row").to_numpy() + np.int32(start))
                    start += facts.num_rows
                whole = pa.Table.from_batches([facts for _, facts in batches]).combine_chunks()
                counts.append(whole.num_rows)
                if writer is None:
                    writer = stack.enter_context(pa.ipc.new_file(temporary, whole.schema))
                writer.write_table(whole)
            if writer is None:
                temporary.touch()

    write_whole(path.with_suffix(".facts.arrow"), write_facts)
    key = np.concatenate(keys) if keys else np.empty(0, np.uint64)
    row = np.concatenate(places) if places else np.empty(0, np.int32)
    slot = (key >> np.uint64(64 - SLOT_BITS)).astype(np.uint8)
    order = np.argsort(slot, kind="stable")  # a radix sort, for bytes
    ends: list[int] = list(accumulate(map(int, np.bincount(slot, minlength=SLOTS))))
    key, row = key[order], row[order]

    def write_keys(temporary: Path) -> None:
        schema = pa.schema([("key", pa.uint64()), ("row", pa.int32())])
        with pa.ipc.new_file(temporary, schema) as writer:
            for start, end in pairwise([0, *ends]):
                writer.write_batch(pa.record_batch([pa.array(key[start:end]), pa.array(row[start:end])], schema=schema))

    write_whole(path.with_suffix(".keys.arrow"), write_keys)
    write_json(path, {"rows": counts, "keys": len(key)})
    return SignedFile(path, tuple(counts), len(key))


def _stretches(signed: Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]) -> Iterator[list[Any]]:
    """Batches that are written as one: a lookup costs something for every batch that it finds rows in."""
    held: list[Any] = []
    for pair in signed:
        held.append(pair)
        if (
            sum(facts.num_rows for _, facts in held) >= FACTS_ROWS
            or sum(facts.nbytes for _, facts in held) >= FACTS_BYTES
        ):
            yield held
            held = []
    if held:
        yield held


def read_signed(file: SignedFile) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Keys and facts as write_signed() was given them, stretch by stretch and the keys in another order. All keys are in memory."""
    import numpy as np
    import pyarrow as pa

    if not file.total:
        return
    with pa.OSFile(str(file.keys_path)) as handle, pa.ipc.open_file(handle) as reader:
        keys = reader.read_all()
    key, row = (keys.column(name).to_numpy() for name in ("key", "row"))
    order = np.argsort(row, kind="stable")
    key, row = key[order], row[order]
    start = 0
    with pa.OSFile(str(file.facts_path)) as handle, pa.ipc.open_file(handle) as reader:
        for number, rows in enumerate(file.rows):
            low, high = (int(np.searchsorted(row, end)) for end in (start, start + rows))
            mine = [pa.array(key[low:high]), pa.array(row[low:high] - np.int32(start))]
            yield pa.record_batch(mine, names=["key", "row"]), reader.get_batch(number)
            start += rows


@dataclass(frozen=True)
class KeyRange:
    """All keys whose highest ``bits`` bits are ``prefix``; at least SLOT_BITS of them, so that a range lies in one slot."""

    bits: int
    prefix: int

    @property
    def slot(self) -> int:
        """The slot it lies in."""
        return self.prefix >> (self.bits - SLOT_BITS)


def key_ranges(files: Sequence[SignedFile]) -> list[KeyRange]:
    """Ranges that hold about RANGE_KEYS keys at most, in order."""
    keys = sum(file.keys for file in files)
    bits = max(SLOT_BITS, (keys // RANGE_KEYS).bit_length())
    return [KeyRange(bits, prefix) for prefix in range(1 << bits)]


def merge_keys(files: Sequence[SignedFile], ranges: Sequence[KeyRange], out: Path) -> Path:
    """Bring together rows that share a key: columns ``key`` and ``position``, sorted by both, for keys of two or more rows."""
    import pyarrow as pa

    def write(temporary: Path) -> None:
        schema = pa.schema([("key", pa.uint64()), ("position", pa.int64())])
        with ExitStack() as stack:
            readers = [_opened(file.keys_path, stack) if file.keys else None for file in files]
            writer = stack.enter_context(pa.ipc.new_file(temporary, schema))
            for each in ranges:
                key, position = _shared(*_keys_in(files, readers, each))
                for start, end in _cuts(key):
                    columns = [pa.array(key[start:end]), pa.array(position[start:end])]
                    writer.write_batch(pa.record_batch(columns, schema=schema))

    write_whole(out, write)
    return out


def read_buckets(merged: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """The batches of merged files, in order."""
    import pyarrow as pa

    for path in merged:
        with pa.OSFile(str(path)) as handle, pa.ipc.open_file(handle) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


class FactsOnDisk:
    """Facts of signed rows by position; only what is asked for is read. ``held`` rows of an index come first."""

    def __init__(self, held: Sequence[SignedFile], own: Sequence[SignedFile]):
        self.files = [file for file in (*held, *own) if file.total]
        self.held = sum(file.total for file in held)
        self.starts = list(accumulate((file.total for file in self.files), initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    def take(self, positions: Positions, columns: Sequence[str] | None = None) -> pa.Table:
        """The facts at these positions, which are ascending and distinct; some columns, or all."""
        import numpy as np
        import pyarrow as pa

        found: list[pa.RecordBatch] = []
        cuts: Any = np.searchsorted(positions, self.starts).tolist()
        for file, start, (low, high) in zip(self.files, self.starts, pairwise(cuts), strict=False):
            if low < high:
                found += _facts_of(file, positions[low:high] - start, columns)
        if not found:
            raise IndexError("no positions to take, or none that was signed")
        return pa.Table.from_batches(found)


def _facts_of(file: SignedFile, places: Positions, columns: Sequence[str] | None) -> list[pa.RecordBatch]:
    """Records of one file, copied: its pages are in memory no longer than this call takes."""
    import numpy as np
    import pyarrow as pa

    starts = list(accumulate(file.rows, initial=0))
    cuts: Any = np.searchsorted(places, starts).tolist()
    found = []
    with pa.memory_map(str(file.facts_path)) as handle, pa.ipc.open_file(handle) as reader:
        for number, (low, high) in enumerate(pairwise(cuts)):
            if low < high:
                batch = reader.get_batch(number)
                batch = batch.select(list(columns)) if columns else batch
                found.append(batch.take(pa.array(places[low:high] - starts[number])))
    return found


def _opened(path: Path, stack: ExitStack) -> Any:
    import pyarrow as pa

    return stack.enter_context(pa.ipc.open_file(stack.enter_context(pa.OSFile(str(path)))))


def _keys_in(files: Sequence[SignedFile], readers: Sequence[Any], wanted: KeyRange) -> tuple[Any, Any]:
    """The keys of a range from all files, with positions."""
    import numpy as np

    keys: list[Any] = [np.empty(0, np.uint64)]
    positions: list[Any] = [np.empty(0, np.int64)]
    start = 0
    for file, reader in zip(files, readers, strict=True):
        if reader is not None:
            batch = reader.get_batch(wanted.slot)
            key, row = batch.column("key").to_numpy(), batch.column("row").to_numpy()
            if wanted.bits > SLOT_BITS:
                mine = key >> np.uint64(64 - wanted.bits) == wanted.prefix
                key, row = key[mine], row[mine]
            keys.append(key)
            positions.append(row + np.int64(start))
        start += file.total
    return np.concatenate(keys), np.concatenate(positions)


def _shared(key: Any, position: Any) -> tuple[Any, Any]:
    """The records whose key occurs at least twice, sorted by key and position. Keys alone sort several times faster than
    records, and few of them are shared."""
    import numpy as np

    ordered = np.sort(key)
    again = ordered[1:] == ordered[:-1]
    shared = ordered[1:][again]
    if not len(shared):
        return key[:0], position[:0]
    # Most keys are not shared: a table of bits turns them away sooner than a search does.
    flags: Any = np.zeros(1 << 20, bool)
    mix, low = np.uint64(0x9E3779B97F4A7C15), np.uint64(44)
    flags[(shared * mix) >> low] = True
    near = np.flatnonzero(flags[(key * mix) >> low])
    key, position = key[near], position[near]
    at = np.searchsorted(shared, key)
    mine = shared[np.minimum(at, len(shared) - 1)] == key
    key, position = key[mine], position[mine]
    order = np.lexsort((position, key))
    return key[order], position[order]


def _cuts(key: Any) -> Iterator[tuple[int, int]]:
    """Stretches of about BUCKET_RECORDS that end where a key ends."""
    import numpy as np

    start = 0
    while start < len(key):
        end = min(start + BUCKET_RECORDS, len(key))
        end = int(np.searchsorted(key, key[end - 1], side="right"))
        yield start, end
        start = end
