"""Filters: row by row, or over the whole data set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from pydantic import Field

from langmill.parts.contexts import Context, StepContext
from langmill.parts.part import Part
from langmill.rows import SPLITS, Chat, Choice, Drop, Flag, Row, Split, Text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


class Filter(Part):
    """Drops or flags rows, each by itself; judge() sees them in batches, so that it can be fast."""

    bodies: ClassVar[tuple[type, ...]] = (Text, Chat, Choice)
    splits: tuple[Split, ...] = Field(
        SPLITS, min_length=1, description="splits this step acts on; rows of other splits pass"
    )

    def files(self, context: Context) -> list[Path]:
        """Files that its options name and its verdicts depend on: when one changes, the step is done again."""
        return []

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row, in order: None keeps it, a flag is kept in the row and counted, a drop rejects it."""
        raise TypeError(f"{type(self).__name__} judges no rows by themselves")


class Signed(NamedTuple):
    """What a filter of the whole data set makes of some rows.

    ``keys``: columns ``row`` (int32, an index into those rows) and ``key`` (uint64, a hash of which every bit is as good as
    another): rows that share a key are brought together. ``facts``: one record a row, in their order: whatever decide()
    asks of a single row.
    """

    keys: pa.RecordBatch
    facts: pa.RecordBatch


class Facts(Protocol):
    """The facts of all signed rows, on disk. Positions count the rows that were signed, in the order of the data set; those
    below ``held`` are of an index, and stay."""

    @property
    def held(self) -> int: ...
    def __len__(self) -> int: ...
    def take(self, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """The facts at these positions, which are ascending and distinct; some columns, or all."""
        ...


class DatasetFilter(Filter):
    """A filter that must see the whole data set: sign() runs over partitions anywhere, decide() once, out of memory."""

    @abstractmethod
    def sign(self, rows: Sequence[Row], context: StepContext) -> Signed:
        """Keys and facts of rows of one partition."""

    @abstractmethod
    def decide(
        self, buckets: Iterator[pa.RecordBatch], facts: Facts, context: StepContext
    ) -> Iterator[tuple[int, Drop]]:
        """Which positions to drop. ``buckets``: columns ``key`` (uint64) and ``position`` (int64), sorted by both; only keys
        that at least two rows share; the records of one key never straddle two batches."""


class IndexedFilter(DatasetFilter):
    """A filter of the whole data set that can be held against what earlier data sets kept, in this run or another. Its facts
    have a column ``id``; a ``form`` that is raised tells that keys or facts are made otherwise than before."""

    form: ClassVar[int] = 1
    index: str | None = Field(
        None,
        min_length=1,
        description="a folder, beside the recipe, of what data sets kept: rows like theirs are dropped, rows that stay are added",
    )
