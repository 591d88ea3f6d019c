"""What was read of a source, held against what the recipe declares that it holds; and what was lost of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from langmill.api import Expect
from langmill.disk.partitions import counts_of
from langmill.disk.tables import read_rejects
from langmill.errors import NothingRead
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


LOST = ("rejected", "skipped")
FOREIGN = "language_not_in_recipe"
NO_RECORDS = "no_records"
"""The reason that loaders give for a file that is there and empty: it stands for no record."""


def lost(loaded: Loaded) -> dict[str, dict[str, int]]:
    """The records of a source that became no row: {rejected: {reason: number}, skipped: …}, most of all first, without what is empty."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in LOST}
    for counts in counts_of(loaded.partitions).values():
        for what, n in counts.items():
            kind, _, reason = what.partition(":")
            if kind in found:
                found[kind][reason] += n
    return {kind: dict(reasons.most_common()) for kind, reasons in found.items() if reasons}


def lost_words(of: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The same in words, one line each for what was rejected and what was skipped."""
    return [f"{kind}: {', '.join(f'{reason} {n:,}' for reason, n in reasons.items())}" for kind, reasons in of.items()]


def refuse_empty(sources: Sequence[Loaded], note: Callable[[str], None]) -> None:
    """Raises NothingRead, naming all sources that have records of which none became a row, with what became of them. Those that hold
    no record are not meant, nor those of which a limit wants none. Those that are merely in other languages, as when a recipe is
    tried in one language, are noted, unless there are no others."""
    empty = [(loaded, gone) for loaded in sources if (gone := _all_lost(loaded))]
    foreign = [loaded for loaded, gone in empty if gone.keys() == {"skipped"} and gone["skipped"].keys() == {FOREIGN}]
    if len(foreign) == len(empty) < len(sources):
        for loaded in foreign:
            note(f"sources.{loaded.source}: no record is in a language of the recipe: {', '.join(_languages(loaded))}")
        return
    if lines := [line for loaded, gone in empty for line in _empty(loaded, gone)]:
        way = "mend the options or the records of these sources, or leave them out of from:"
        raise NothingRead("\n".join(("nothing was read that can be used:", *(f"  {line}" for line in (*lines, way)))))


def _all_lost(loaded: Loaded) -> dict[str, dict[str, int]]:
    """What became of a source's records if none became a row; empty for others."""
    gone = lost(loaded)
    if "over_limit" in gone.get("skipped", ()) or any(part.rows for part in loaded.partitions):
        return {}
    return gone if _records(gone) else {}


def _languages(loaded: Loaded) -> list[str]:
    """Those of a source that the recipe does not have."""
    counts = counts_of(loaded.partitions).items()
    return [key.partition("\t")[2] or "none" for key, n in counts if f"skipped:{FOREIGN}" in n]


def _empty(loaded: Loaded, gone: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A source of which nothing is left: how many records for each reason, the first of them, and where all are."""
    yield f"sources.{loaded.source}: none of {_records(gone):,} records became a row: {'; '.join(lost_words(gone))}"
    if FOREIGN in gone.get("skipped", ()):
        yield f"  their languages: {', '.join(_languages(loaded))}: add them to the recipe's languages:"
    files = [path for part in loaded.partitions if (path := part.rejects_path()).exists()]
    told = set()
    for reject in (one for path in files for one in read_rejects(path)):
        if reject.reason not in told:
            told.add(reject.reason)
            yield f"  the first {reject.reason}: {reject.record}{f': {reject.detail}' if reject.detail else ''}"
        if len(told) == len(gone["rejected"]):
            break
    if files:
        yield f"  all rejects: {files[0]}{f' and {len(files) - 1:,} more beside it' if files[1:] else ''}"


def _records(gone: Mapping[str, Mapping[str, int]]) -> int:
    return sum(n for reasons in gone.values() for reason, n in reasons.items() if reason != NO_RECORDS)
