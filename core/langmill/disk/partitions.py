"""A partition: a whole Parquet file of rows, with what was counted when it was made in its own metadata, and its rejects
beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.disk.content import content_hash
from langmill.disk.tables import read_facts, read_table, reject_schema, rejects_to_table, rows_to_table, write_table
from langmill.rows import Drop, Reject, Row

if TYPE_CHECKING:
    import pyarrow as pa


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

    def count(self, step: str, what: str, languages: Iterable[str]) -> None:
        """Count something that happened to rows, by their languages."""
        for language, n in Counter(languages).items():
            self.add(step, language, what, n)

    def plain(self) -> dict[str, dict[str, int]]:
        """The counts as plain data."""
        return {key: dict(sorted(counter.items())) for key, counter in sorted(self.counts.items())}


def write_partition(
    path: Path, rows: Sequence[Row], rejects: Sequence[Reject], tally: Tally, *, complete: bool = True, **facts: Any
) -> Partition:
    """Write rejects, then rows: the rows' file says that both are there."""
    return write_tables(path, rows_to_table(rows), rejects_to_table(rejects), tally, complete=complete, **facts)


def write_tables(
    path: Path, rows: pa.Table, rejects: pa.Table, tally: Tally, *, complete: bool = True, **facts: Any
) -> Partition:
    """The same for rows and rejects that are tables already."""
    if rejects.num_rows:
        write_table(rejects_beside(path), rejects)
    else:
        rejects_beside(path).unlink(missing_ok=True)
    content, counts = content_hash(rows), tally.plain()
    known = {"content": content, "rows": rows.num_rows, "counts": counts, "complete": complete, **facts}
    write_table(path, rows, known)
    return Partition(path, content, rows.num_rows, counts, complete)


def rejected(rows: pa.Table, places: Sequence[int], said: Sequence[tuple[str, Drop, str]]) -> pa.Table:
    """The rejects of the rows at these places of a table; of each the step's place, the drop and an excerpt."""
    import pyarrow as pa

    own = [(step, drop.reason, drop.detail, drop.like, excerpt) for step, drop, excerpt in said]
    columns = [pa.array(column, pa.string()) for column in (zip(*own, strict=True) if own else [()] * 5)]
    taken = rows.take(pa.array(places, pa.int64()))
    return pa.Table.from_arrays([*columns, *taken.columns], names=reject_schema().names)


def counts_of(partitions: Sequence[Partition]) -> dict[str, dict[str, int]]:
    """The partitions' counts added up."""
    tally = Tally()
    for part in partitions:
        for key, counts in part.counts.items():
            step, language = key.split("\t")
            for what, n in counts.items():
                tally.add(step, language, what, n)
    return tally.plain()


def rejects_of(partitions: Sequence[Partition]) -> Iterator[pa.Table]:
    """The partitions' rejects, in order."""
    for part in partitions:
        if part.rejects_path().exists():
            yield read_table(part.rejects_path())


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


def other_editions(drops: Sequence[Mapping[int, Drop]], partitions: Sequence[Partition]) -> list[dict[int, Drop]]:
    """The drops of each partition (by row number), and train rows that go as well: a train row of their family was dropped
    because it repeats a test or dev row. They are other editions (translations, mostly) of that row, which share no words
    with it: only the family tells."""
    likes = {drop.like for some in drops for drop in some.values() if drop.like}
    tested = {id for part in partitions for id, split, _ in _identities(part) if split != "train" and id in likes}
    families: dict[str, tuple[str, str]] = {}
    for part, some in zip(partitions, drops, strict=True):
        if any(drop.like in tested for drop in some.values()):
            rows = list(_identities(part))
            for number, drop in some.items():
                id, split, family = rows[number]
                if drop.like in tested and split == "train":
                    families.setdefault(family, (id, drop.like))
    if not families:
        return [dict(some) for some in drops]
    found = []
    for part, some in zip(partitions, drops, strict=True):
        more = dict(some)
        for number, (_, split, family) in enumerate(_identities(part)):
            if split == "train" and family in families and number not in more:
                dropped, like = families[family]
                more[number] = Drop("contaminated", f"of the family of {dropped}, which repeats {like}", like)
        found.append(dict(sorted(more.items())))
    return found


def _identities(part: Partition) -> Iterator[tuple[str, str, str]]:
    """Id, split and family of each row; no text is read."""
    import pyarrow.parquet as pq

    table = pq.read_table(part.path, columns=["id", "split", "family"])
    return zip(*(table.column(name).to_pylist() for name in ("id", "split", "family")), strict=True)
