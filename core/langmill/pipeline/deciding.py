"""A filter of the whole data set at work: sign, merge, decide, apply.

Each is done over files, so that memory does not grow with the corpus and the work goes to whatever executor there is: signed
files of neighbouring partitions, merged ranges of keys, one decision, then every partition without what was dropped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from langmill.api import Drop, Filter, words
from langmill.disk.indexes import Index
from langmill.disk.partitions import Partition, Tally, other_editions, rejected, write_tables
from langmill.disk.signatures import (
    RANGE_KEYS,
    FactsOnDisk,
    KeyRange,
    SignedFile,
    key_ranges,
    merge_keys,
    read_buckets,
    write_signed,
)
from langmill.disk.store import key_of
from langmill.disk.tables import read_rows, read_table, table_rows
from langmill.parts.filters import DatasetFilter
from langmill.pipeline.segments import PartRef, Workshop, acts_on

if TYPE_CHECKING:
    import pyarrow as pa

SIGNED_ROWS = 16_000  # rows to a signed file, about, of a large data set
SIGNED_FILES = 200  # about the most signed files there are: all of them are open at once
DROPS = 10_000  # drops held as Python objects before they are packed


class Mapped(Protocol):
    """An executor with its context at hand."""

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any], /) -> Iterator[Any]: ...


@dataclass(frozen=True)
class SignWork:
    """Neighbouring partitions to be signed into one file. ``own``: see Decision."""

    workshop: Workshop
    filter: PartRef
    sources: tuple[Partition, ...]
    out: Path
    own: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)


def sign_partitions(work: SignWork) -> SignedFile:
    """Sign the rows that the filter acts on, partition by partition."""
    if work.out.exists():
        return SignedFile.read(work.out)
    part = work.workshop.part(work.filter)
    assert isinstance(part, DatasetFilter)
    context = work.workshop.step_context(work.filter.place, own=work.own)

    def signed() -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        for source in work.sources:
            if rows := [row for row in read_rows(source.path) if acts_on(part, row)]:
                made = part.sign(rows, context)
                if made.facts.num_rows != len(rows):
                    raise RuntimeError(f"{work.filter.place}: {made.facts.num_rows} facts for {len(rows)} rows")
                yield made.keys, made.facts

    return write_signed(work.out, signed())


@dataclass(frozen=True)
class MergeWork:
    """Ranges of keys to be brought together from all signed files."""

    files: tuple[SignedFile, ...]
    ranges: tuple[KeyRange, ...]
    out: Path


def merge(work: MergeWork) -> Path:
    """Leave the keys that two or more rows share."""
    return work.out if work.out.exists() else merge_keys(work.files, work.ranges, work.out)


@dataclass(frozen=True)
class ApplyWork:
    """One partition and the drops decided for it, by the numbers of its rows, ascending."""

    source: Partition
    step: str
    place: str
    drops: Mapping[int, Drop]
    out: Path


def apply_drops(work: ApplyWork) -> Partition:
    """Take out the rows that were named."""
    import numpy as np

    table, numbers, tally = read_table(work.source.path), list(work.drops), Tally()
    languages = table.column("language").to_pylist()
    tally.count(work.step, "read", languages)
    for number, drop in work.drops.items():
        tally.add(work.step, languages[number], f"rejected:{drop.reason}")
    kept: Any = np.ones(len(languages), bool)
    kept[numbers] = False
    tally.count(work.step, "kept", [languages[number] for number in np.flatnonzero(kept)])
    excerpts = [words(row.body)[:200] for row in table_rows(table.take(numbers))] if numbers else []
    said = [(work.place, drop, excerpt) for drop, excerpt in zip(work.drops.values(), excerpts, strict=True)]
    return write_tables(work.out, table.filter(kept), rejected(table, numbers, said), tally)


@dataclass(frozen=True)
class Decision:
    """One such filter and the data set that it decides about. ``folder`` is for signatures, and is gone when all is applied;
    ``key`` stands for all that decides; ``own`` are the partitions, where rows are held against their own data set."""

    workshop: Workshop
    ref: PartRef
    filter: DatasetFilter
    partitions: Sequence[Partition]
    folder: Path
    key: str
    map: Mapped
    index: Index | None = None
    own: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    def drops(self) -> list[dict[int, Drop]]:
        """For each partition the rows to drop, by number, ascending."""
        own = self._sign()
        held = self.index.earlier if self.index else []
        merged = self._merge([*held, *own])
        facts = FactsOnDisk(held, own)
        context = self.workshop.step_context(self.ref.place, own=self.own)
        found = _sorted(self._others(self.filter.decide(read_buckets(merged), facts, context), own, facts))
        decided = list(self._by_row(found, facts.held))
        decided = other_editions(decided, self.partitions)
        if self.index:
            self.index.write(self.key, own, self._gone(decided))
        return decided

    def _others(
        self, drops: Iterator[tuple[int, Drop]], own: Sequence[SignedFile], facts: FactsOnDisk
    ) -> Iterator[tuple[int, Drop]]:
        """Without rows that are only like themselves, as the index has them under an older name of this data set."""
        if not facts.held:
            yield from drops
            return
        import numpy as np

        while some := sorted(islice(drops, DROPS)):
            ids = facts.take(np.array([position for position, _ in some]), ["id"]).column("id").to_pylist()
            yield from (pair for pair, id in zip(some, ids, strict=True) if pair[1].like != id)

    def clear(self) -> None:
        """Delete the signatures."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sign(self) -> list[SignedFile]:
        works = []
        for group in _groups(self.partitions):
            name = key_of("sign", self.key, [part.content for part in group])
            works.append(SignWork(self.workshop, self.ref, tuple(group), self.folder / f"{name}.json", self.own))
        return list(self.map(sign_partitions, works))

    def _merge(self, files: Sequence[SignedFile]) -> list[Path]:
        ranges = key_ranges(files)
        several = max(1, len(ranges) // max(1, sum(file.keys for file in files) // RANGE_KEYS))
        name = key_of("merge", [str(file.path) for file in files])
        works = [
            MergeWork(tuple(files), tuple(ranges[start : start + several]), self.folder / f"{name}-{start:05d}.arrow")
            for start in range(0, len(ranges), several)
        ]
        return list(self.map(merge, works))

    def _by_row(self, drops: pa.Table, held: int) -> Iterator[dict[int, Drop]]:
        """Drops by position, told apart by partition and row."""
        import numpy as np

        positions = drops.column("position").to_numpy()
        if len(positions) and (positions[0] < held or (positions[1:] == positions[:-1]).any()):
            raise RuntimeError(f"{self.ref.place}: '{self.ref.use}' drops a row of its index, or one row twice")
        start = held
        for part in self.partitions:
            numbers = np.flatnonzero(acting(self.filter, part))
            low, high = (int(np.searchsorted(positions, end)) for end in (start, start + len(numbers)))
            mine = numbers[positions[low:high] - start].tolist()
            records = drops.slice(low, high - low).select(["reason", "detail", "like"])
            yield dict(zip(mine, map(Drop, *(column.to_pylist() for column in records.columns)), strict=True))
            start += len(numbers)

    def _gone(self, decided: Sequence[Mapping[int, Drop]]) -> Iterator[pa.Array]:
        """For each partition which of its signed rows were dropped."""
        import numpy as np

        for part, drops in zip(self.partitions, decided, strict=True):
            dropped: Any = np.zeros(part.rows, bool)
            dropped[list(drops)] = True
            if (mine := acting(self.filter, part)).any():  # of a partition without such rows nothing was signed
                yield dropped[mine]


def acting(part: Filter, source: Partition) -> Any:
    """Which rows of a partition a filter acts on, as booleans; reads no text. The same as segments.acts_on."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(source.path, columns=["kind", "split"])
    kinds = pa.array([field.default for body in part.bodies for field in fields(body) if field.name == "kind"])
    splits = pa.array(part.splits)
    mine = pc.and_(pc.is_in(table.column("kind"), kinds), pc.is_in(table.column("split"), splits))
    return mine.to_numpy()


def _groups(partitions: Sequence[Partition]) -> Iterator[list[Partition]]:
    """Neighbours, SIGNED_ROWS to a group; of a small data set fewer, so that all cores have work, of a huge one more."""
    rows = sum(part.rows for part in partitions)
    most = max(min(SIGNED_ROWS, rows // 16), rows // SIGNED_FILES, 1)
    group: list[Partition] = []
    for part in partitions:
        group.append(part)
        if sum(item.rows for item in group) >= most:
            yield group
            group = []
    if group:
        yield group


def _sorted(drops: Iterator[tuple[int, Drop]]) -> pa.Table:
    """Drops in the order of their positions; packed as they come, since a corpus has many."""
    import pyarrow as pa

    schema = pa.schema([("position", pa.int64()), *((name, pa.string()) for name in Drop._fields)])
    packed = []
    while some := list(islice(drops, DROPS)):
        columns = [[position for position, _ in some], *zip(*(drop for _, drop in some), strict=True)]
        packed.append(
            pa.record_batch(
                [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
            )
        )
    return pa.Table.from_batches(packed, schema=schema).sort_by("position").combine_chunks()
