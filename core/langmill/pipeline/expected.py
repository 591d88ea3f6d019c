"""What was read of a source, held against what the recipe declares that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from langmill.api import Expect
from langmill.disk.partitions import counts_of
from langmill.pipeline.segments import Loaded


@dataclass(frozen=True)
class Read:
    """The records of a source: all that were met, how many of them were rejected, and how many the source itself puts in each
    split (empty name: in none). ``expected`` is the recipe's declared number, all together or by split."""

    read: int
    rejected: int
    splits: Mapping[str, int]
    expected: int | Mapping[str, int] | None

    @property
    def difference(self) -> str:
        """In words, what is not as declared; empty where nothing is declared or all is as it should be."""
        if self.expected is None:
            return ""
        if not isinstance(self.expected, Mapping):
            if self.read == self.expected:
                return ""
            return f"expected {self.expected:,}, read {self.read:,}, {self.rejected:,} rejected"
        lacking = [n - self.splits.get(name, 0) for name, n in self.expected.items()]
        unsplit = self.splits.get("", 0)
        if (
            min(lacking, default=0) >= 0
            and sum(lacking) == unsplit <= self.rejected
            and self.read == sum(self.expected.values())
        ):
            return ""  # what was rejected before its split was known may be of any
        if sum(lacking) == unsplit == self.expected.get("train", 0) - self.splits.get("train", 0) and min(lacking) >= 0:
            return ""  # what the source puts in no split is learnt from
        names = [*self.expected, *(name for name in self.splits if name not in self.expected)]
        told = [
            f"{name or 'no split'}: expected {self.expected.get(name, 0):,}, read {self.splits.get(name, 0):,}"
            for name in names
            if self.expected.get(name, 0) != self.splits.get(name, 0)
        ]
        return "; ".join([*told, f"{self.rejected:,} rejected"]) if told else ""

    def facts(self) -> dict[str, object]:
        """It as plain data, as the manifest has it."""
        expected = dict(self.expected) if isinstance(self.expected, Mapping) else self.expected
        found = {"read": self.read, "rejected": self.rejected, "splits": dict(self.splits)}
        return {**found, "expected": expected, "difference": self.difference}


def held_against(expect: Expect | None, loaded: Loaded) -> Read:
    """What was read of a source beside what is declared of it."""
    counts = counts_of(loaded.partitions).values()
    read = sum(each.get("read", 0) for each in counts)
    rejected = sum(n for each in counts for what, n in each.items() if what.startswith("rejected:"))
    rows = expect.rows if expect else None
    return Read(read, rejected, loaded.records, dict(rows.items()) if isinstance(rows, Mapping) else rows)
