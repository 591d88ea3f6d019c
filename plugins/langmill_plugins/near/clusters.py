"""Rows that are near one another, found among the rows of a bucket: verified, joined into clusters, all but the best dropped.

Nothing is held for a row but the number of its cluster. Facts are read about BLOCK_BYTES at a time and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from langmill.api import Drop, Facts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Positions: TypeAlias = npt.NDArray[np.int64]
    Records: TypeAlias = tuple[npt.NDArray[np.uint64], Positions]

RECORDS = 1 << 20  # records of buckets looked at together
BLOCK_BYTES = 1 << 26
FIRST_ROWS = 1 << 14  # rows read at once until their size is known
APART = 1 << 20  # pairs remembered as not near, 8 bytes each; a forgotten one is compared again


SETS = ("kind", "right", "shingles", "question", "options")  # the facts that a comparison needs


class Sets(NamedTuple):
    """The sides of some rows as comparing.py takes them."""

    values: npt.NDArray[np.uint32]
    offsets: Positions
    kinds: npt.NDArray[np.int8]
    rights: npt.NDArray[np.uint64]
    scratch: npt.NDArray[np.uint64]


class Near:
    """Finds which rows to drop.

    Two rows of a bucket are compared unless they are of one cluster by then; in a bucket of more than comparing.WINDOW rows
    each is compared with so many before it, so that boilerplate costs no square. Which rows are compared depends on the
    buckets alone, not on how they are cut into batches. A row that is near one of a cluster of thousands is compared
    with the last comparing.KEPT that were kept of it.
    """

    def __init__(self, facts: Facts, threshold: float):
        import numpy as np

        self.facts, self.threshold = facts, threshold
        self.parent: Any = np.arange(len(facts), dtype=np.int32 if len(facts) < 1 << 31 else np.int64)
        self.apart: Any = np.zeros(APART, np.uint64)
        self.compared, self.bytes_read, self.rows_read = 0, 0, 0

    def drops(self, buckets: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, Drop]]:
        """Positions of the rows to drop: inside a cluster rows are taken best first, and a row is dropped when it is near one that
        was kept. A chain of small changes thus never drops a row that is far from all that stay."""
        from langmill_plugins.near import comparing

        for keys, positions in _blocks(buckets):
            self._join(keys, positions)
        comparing.flatten(self.parent)
        for members in self._clusters():
            yield from self._settle(members)

    def _join(self, keys: Any, positions: Positions) -> None:
        import numpy as np

        from langmill_plugins.near import comparing

        seen = 0  # of the records that are left so many were compared with those before them
        while True:
            open = comparing.undecided(keys, positions, self.parent, self.apart)
            seen = int(open[:seen].sum())
            keys, positions = keys[open], positions[open]
            if seen == len(keys):
                return
            end = min(seen + self._rows(), len(keys))
            some, own = (part[max(0, seen - comparing.WINDOW) : end] for part in (keys, positions))
            read, rows = np.unique(own, return_inverse=True)
            sets = self._sets(self._take(read, SETS))
            self.compared += comparing.join(
                some, own, rows, self.parent, self.apart, *sets[:4], self.threshold, sets.scratch
            )
            done = max(0, end - comparing.WINDOW)
            keys, positions, seen = keys[done:], positions[done:], end - done

    def _clusters(self) -> Iterator[Positions]:
        """The rows of clusters, cluster by cluster; as many whole clusters at once as can be read at once, at least one."""
        import numpy as np

        joined = np.flatnonzero(self.parent != np.arange(len(self.parent), dtype=self.parent.dtype))
        members = np.union1d(joined, self.parent[joined])
        members = members[np.argsort(self.parent[members], kind="stable")]
        ends: Any = np.flatnonzero(np.diff(self.parent[members], append=-1)) + 1
        start = 0
        while start < len(members):
            first = int(np.searchsorted(ends, start, side="right"))
            last = int(np.searchsorted(ends, start + self._rows(), side="right")) - 1
            end = int(ends[max(first, last)])
            yield members[start:end]
            start = end

    def _settle(self, members: Positions) -> Iterator[tuple[int, Drop]]:
        import numpy as np

        from langmill_plugins.near import comparing

        members, ids, table = self._ordered(members)
        clusters = self.parent[members]
        held = members < self.facts.held
        carried: Any = np.empty(0, np.int64)
        start = 0
        while start < len(members):
            end = len(members) if table is not None else min(start + self._rows(), len(members))
            places = np.concatenate((carried, np.arange(start, end)))
            read, rows = np.unique(members[places], return_inverse=True)
            sets = self._sets(self._take(read) if table is None else table)
            fixed = held[places]
            fixed[: len(carried)] = True
            better, alike = comparing.settle(clusters[places], rows, fixed, *sets[:4], self.threshold, sets.scratch)
            for record in np.flatnonzero(better >= 0).tolist():
                kept = ids[places[better[record]]]
                detail = f"Jaccard {alike[record]:.2f} with {kept}"
                yield int(members[places[record]]), Drop("near_duplicate", detail, kept)
            stay = places[better < 0]
            carried = stay[clusters[stay] == clusters[end]][-comparing.KEPT :] if end < len(members) else stay[:0]
            start = end

    def _ordered(self, members: Positions) -> tuple[Positions, list[str], pa.Table | None]:
        """Rows of some clusters, each cluster best first, and their ids; their facts, by position, if they were read at once.

        The earlier of two sources is the one whose first row in the cluster comes first in the data set."""
        import numpy as np

        places = np.sort(members)
        records: list[tuple[Any, ...]] = []
        start = 0
        first: dict[tuple[int, str], int] = {}
        while start < len(places):
            some = places[start : start + self._rows()]
            start += len(some)
            table = self._take(some)
            light = table.select(["rank", "source", "length", "id"]).to_pydict()
            roots = self.parent[some].tolist()
            for position, root, rank, source, length, id in zip(some.tolist(), roots, *light.values(), strict=True):
                order = first.setdefault((root, source), position)
                records.append((root, position >= self.facts.held, rank, order, -length, id, position))
        records.sort()
        ordered = np.array([record[-1] for record in records], np.int64)
        return ordered, [record[-2] for record in records], table if len(some) == len(places) else None

    # --- facts ---

    def _rows(self) -> int:
        """Rows that may be read at once, by the size of those that were."""
        return max(1, BLOCK_BYTES * self.rows_read // self.bytes_read) if self.bytes_read else FIRST_ROWS

    def _take(self, positions: Positions, columns: Sequence[str] | None = None) -> pa.Table:
        table = self.facts.take(positions, columns)
        self.rows_read += table.num_rows
        self.bytes_read += table.nbytes
        return table

    def _sets(self, table: pa.Table) -> Sets:
        import numpy as np

        from langmill_plugins.near import comparing

        table = table.combine_chunks()
        lists = table.column("shingles").chunk(0)
        ends = np.empty((table.num_rows, 3), np.int64)
        ends[:, 0] = table.column("question").to_numpy()
        ends[:, 1] = ends[:, 0] + table.column("options").to_numpy()
        starts = lists.offsets.to_numpy().astype(np.int64)
        starts -= starts[0]
        ends[:, :2] += starts[:-1, None]
        ends[:, 2] = starts[1:]
        longest = int(np.diff(starts).max())
        scratch = np.zeros((comparing.places(2 * longest) + 1, 2), np.uint64)
        kinds, rights = (table.column(name).to_numpy() for name in ("kind", "right"))
        return Sets(lists.flatten().to_numpy(), np.concatenate(([0], ends.reshape(-1))), kinds, rights, scratch)


def _blocks(buckets: Iterator[pa.RecordBatch]) -> Iterator[Records]:
    """RECORDS records at a time; a bucket that is cut goes on with the records of it that a later one may be compared with."""
    import numpy as np

    from langmill_plugins.near.comparing import WINDOW

    keys: Any = np.empty(0, np.uint64)
    positions: Any = np.empty(0, np.int64)
    seen = 0
    for batch in buckets:
        keys = np.concatenate((keys, batch.column("key").to_numpy()))
        positions = np.concatenate((positions, batch.column("position").to_numpy()))
        while len(keys) >= seen + RECORDS:
            yield keys[: seen + RECORDS], positions[: seen + RECORDS]
            done = seen + RECORDS - WINDOW
            keys, positions, seen = keys[done:], positions[done:], WINDOW
    yield keys, positions
