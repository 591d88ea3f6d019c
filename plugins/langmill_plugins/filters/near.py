"""Candidate pairs verified, joined into clusters, and one row kept for each neighbourhood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from langmill.api import Choice, Drop, Row
from langmill_plugins.filters.exact import rank
from langmill_plugins.filters.wording import Sides

S = TypeVar("S")
OPEN = 4096  # rows read at once to be compared
COMPARED = 1000  # most earlier rows of one bucket that a row is compared with, the nearest ones


@dataclass(frozen=True)
class _Seen(Generic[S]):
    """A row as the comparison needs it."""

    id: str
    position: int
    rank: int
    source: str
    length: int
    sets: S


class Near(Generic[S]):
    """Takes buckets of candidates, answers with drops.

    Holds ids and positions of candidates only; rows are read ``OPEN`` at a time and forgotten. Clusters are the
    connected parts of the graph of verified pairs. Inside a cluster rows are taken best first, and a row is dropped
    when it is near one that was kept: a chain of small changes never drops a row that is far from all that stay.
    """

    def __init__(
        self,
        threshold: float,
        fetch: Callable[[Sequence[str]], Mapping[str, Row]],
        sets: Callable[[Row], S],
        likeness: Callable[[S, S, float], float],
    ):
        self.threshold, self.fetch, self.sets, self.likeness = threshold, fetch, sets, likeness
        self.ids: dict[int, str] = {}
        self.parent: dict[int, int] = {}
        self.apart: set[tuple[int, int]] = set()
        self.waiting: list[list[int]] = []
        self.rows_waiting = 0

    def add(self, bucket: Sequence[tuple[int, str]]) -> None:
        """Candidates of one band: (position, id), all to be compared with each other."""
        members = sorted({position for position, _ in bucket})
        if not self._open(members):
            return
        self.ids.update(bucket)
        self.waiting.append(members)
        self.rows_waiting += len(members)
        if self.rows_waiting >= OPEN:
            self._verify()

    def drops(self) -> Iterator[tuple[str, Drop]]:
        """The rows to drop, clusters in order of their first row."""
        self._verify()
        clusters: dict[int, list[int]] = {}
        for position in sorted(self.parent):
            clusters.setdefault(self._root(position), []).append(position)
        queue: list[list[int]] = []
        for members in clusters.values():
            queue.append(members)
            if sum(map(len, queue)) >= OPEN:
                yield from self._settle(queue)
                queue = []
        yield from self._settle(queue)

    # --- clusters ---

    def _root(self, position: int) -> int:
        """The first row of a row's cluster; shortens the way there."""
        root = position
        while (above := self.parent.get(root, root)) != root:
            root = above
        while (above := self.parent.get(position, position)) != root:
            self.parent[position] = root
            position = above
        return root

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self._root(one), self._root(other)))
        self.parent[low] = low
        self.parent[high] = low

    def _open(self, members: Sequence[int]) -> bool:
        """Whether a bucket may still hold a pair that was not decided."""
        if len(members) > 32:
            first = self._root(members[0])
            return any(self._root(member) != first for member in members)
        return any(
            (earlier, member) not in self.apart and self._root(earlier) != self._root(member)
            for index, member in enumerate(members)
            for earlier in members[:index]
        )

    # --- rows ---

    def _read(self, positions: Sequence[int]) -> dict[int, _Seen[S]]:
        rows = self.fetch([self.ids[position] for position in positions])
        return {position: self._seen(rows[self.ids[position]], position) for position in positions}

    def _seen(self, row: Row, position: int) -> _Seen[S]:
        explained = row.body.explanation if isinstance(row.body, Choice) else None
        length = sum(map(len, Sides.of(row.body).answer)) + len(explained or "")
        return _Seen(row.id, position, rank(row), row.origin.source, length, self.sets(row))

    def _verify(self) -> None:
        todo = [members for members in self.waiting if self._open(members)]
        self.waiting, self.rows_waiting = [], 0
        seen = self._read(sorted({member for members in todo for member in members}))
        for members in todo:
            for index, member in enumerate(members):
                for earlier in members[max(0, index - COMPARED) : index]:
                    pair = (earlier, member)
                    if pair in self.apart or self._root(earlier) == self._root(member):
                        continue
                    if self.likeness(seen[earlier].sets, seen[member].sets, self.threshold) >= self.threshold:
                        self._join(earlier, member)
                    else:
                        self.apart.add(pair)

    def _settle(self, clusters: Sequence[Sequence[int]]) -> Iterator[tuple[str, Drop]]:
        seen = self._read([member for members in clusters for member in members])
        for members in clusters:
            rows = [seen[member] for member in members]
            order = {source: index for index, source in enumerate(dict.fromkeys(row.source for row in rows))}
            kept: list[_Seen[S]] = []
            for row in sorted(rows, key=lambda row: (row.rank, order[row.source], -row.length, row.id)):
                for better in kept:
                    alike = self.likeness(better.sets, row.sets, self.threshold)
                    if alike >= self.threshold:
                        yield row.id, Drop("near_duplicate", f"Jaccard {alike:.2f} with {better.id}", better.id)
                        break
                else:
                    kept.append(row)
