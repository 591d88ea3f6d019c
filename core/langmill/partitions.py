"""A partition: a whole Parquet file of rows, with what was counted when it was made in its own metadata, and its rejects
beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langmill.rows import Drop, Reject, Row
from langmill.tables import (
    content_hash,
    read_facts,
    read_rejects,
    read_rows,
    rejects_to_table,
    rows_to_table,
    write_table,
)


@dataclass(frozen=True)
class Partition:
    """A file of rows: where it is, what it holds, and what was counted when it was made."""

    path: Path
    content: str
    rows: int
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    complete: bool = True

    @classmethod
    def read(cls, path: Path) -> Partition:
        """The partition in a file that :func:`write_partition` left."""
        facts = read_facts(path)
        return cls(path, facts["content"], facts["rows"], facts["counts"], facts["complete"])

    def rejects_path(self) -> Path:
        """The rejects made beside it."""
        return rejects_beside(self.path)


def rejects_beside(path: Path) -> Path:
    """Where the rejects of a partition lie."""
    return path.with_name(path.stem + ".rejected.parquet")


class Tally:
    """Counts of one segment: {"step\\tlanguage": {"read": n, "kept": n, "rejected:REASON": n, "skipped:REASON": n, …}}."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}

    def add(self, step: str, language: str, what: str, n: int = 1) -> None:
        """Count something that happened to rows of a language in a step."""
        self.counts.setdefault(f"{step}\t{language}", Counter())[what] += n

    def plain(self) -> dict[str, dict[str, int]]:
        """The counts as plain data."""
        return {key: dict(sorted(counter.items())) for key, counter in sorted(self.counts.items())}


def write_partition(
    path: Path, rows: Sequence[Row], rejects: Sequence[Reject], tally: Tally, *, complete: bool = True, **facts: Any
) -> Partition:
    """Write rejects, then rows: the rows' file says that both are there."""
    if rejects:
        write_table(rejects_beside(path), rejects_to_table(rejects))
    else:
        rejects_beside(path).unlink(missing_ok=True)
    content = content_hash(rows)
    counts = tally.plain()
    known = {"content": content, "rows": len(rows), "counts": counts, "complete": complete, **facts}
    write_table(path, rows_to_table(rows), known)
    return Partition(path, content, len(rows), counts, complete)


def counts_of(partitions: Sequence[Partition]) -> dict[str, dict[str, int]]:
    """The partitions' counts added up."""
    tally = Tally()
    for part in partitions:
        for key, counts in part.counts.items():
            step, language = key.split("\t")
            for what, n in counts.items():
                tally.add(step, language, what, n)
    return tally.plain()


def rejects_of(partitions: Sequence[Partition]) -> Iterator[Reject]:
    """The partitions' rejects, in order."""
    for part in partitions:
        if part.rejects_path().exists():
            yield from read_rejects(part.rejects_path())


# --- ids ---


def ids_of(partition: Partition) -> list[str]:
    """The ids of a partition's rows, in order."""
    import pyarrow.parquet as pq

    ids: list[str] = pq.read_table(partition.path, columns=["id"]).column("id").to_pylist()
    return ids


def repeated_ids(partitions: Sequence[Partition]) -> list[set[str]]:
    """For each partition the ids that an earlier one has too."""
    seen: set[str] = set()
    found = []
    for partition in partitions:
        ids = set(ids_of(partition))
        found.append(ids & seen)
        seen |= ids
    return found


def offspring_elsewhere(partitions: Sequence[Partition]) -> list[frozenset[str]]:
    """For each partition the ids of rows that were made of its own and lie in another: a child's id may be taken there."""
    home = {id: index for index, partition in enumerate(partitions) for id in ids_of(partition)}
    found: list[set[str]] = [set() for _ in partitions]
    for id, index in home.items():
        end = id.rfind("/")
        while end > 0:
            parent = home.get(id[:end], index)
            if parent != index:
                found[parent].add(id)
            end = id.rfind("/", 0, end)
    return [frozenset(ids) for ids in found]


class Fetch:
    """Rows by id, read from their partitions when a filter verifies candidates; the last partition read stays at hand."""

    def __init__(self, partitions: Sequence[Partition]):
        self.partitions = partitions
        self.home: dict[str, int] = {}
        self.loaded: dict[int, dict[str, Row]] = {}

    def __call__(self, ids: Sequence[str]) -> dict[str, Row]:
        if not self.home:
            self.home = {id: index for index, part in enumerate(self.partitions) for id in ids_of(part)}
        found: dict[str, Row] = {}
        for index in sorted({self.home[id] for id in ids}):
            if index not in self.loaded:
                if len(self.loaded) >= 16:
                    self.loaded.pop(next(iter(self.loaded)))
                self.loaded[index] = {row.id: row for row in read_rows(self.partitions[index].path)}
            found.update({id: self.loaded[index][id] for id in ids if self.home[id] == index})
        return found


def other_editions(drops: Mapping[str, Drop], partitions: Sequence[Partition]) -> dict[str, Drop]:
    """Train rows that go as well: a train row of their family was dropped because it repeats a test or dev row. They are
    other editions (translations, mostly) of that row, which share no words with it: only the family tells."""
    fetch, families = Fetch(partitions), dict[str, tuple[str, str]]()
    named = {id: drop.like for id, drop in drops.items() if drop.like}
    rows = fetch(sorted({*named, *named.values()})) if named else {}
    for id, like in named.items():
        if rows[id].split == "train" and rows[like].split != "train":
            families.setdefault(rows[id].family, (id, like))
    found: dict[str, Drop] = {}
    for part in partitions if families else ():
        for row in read_rows(part.path):
            if row.split == "train" and row.family in families and row.id not in drops:
                id, like = families[row.family]
                found[row.id] = Drop("contaminated", f"of the family of {id}, which repeats {like}", like)
    return found
