"""An index: signatures of the rows that data sets kept, in a folder that outlives runs.

Each data set that uses an index has one entry there, a folder ``NUMBER owner``. A data set is held against the entries that
were made before its own, never against its own, so that the same run twice gives the same rows; then its own entry is
written anew. What was first stays: a later data set loses the rows that an earlier one has.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.disk.signatures import SignedFile, read_signed, write_signed
from langmill.disk.store import key_of
from langmill.disk.whole import whole_folder, write_json
from langmill.errors import FactoryError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ENTRY = "entry.json"


@dataclass(frozen=True)
class Index:
    """One data set's view of an index, to be used while it is open(). ``owner`` names its entry; ``shape`` is what keys depend
    on: the step, its options, how languages are cut. Only one that is ``extended`` is written to."""

    root: Path
    place: str
    owner: str
    shape: Mapping[str, Any]
    extended: bool = True

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the index for this process: two runs that use it take turns. Raises FactoryError when it can not be written to."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a")
        except OSError as error:
            raise FactoryError(
                f"{self.place}.index: can not use {self.root}: {error.strerror}. Name another folder"
            ) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for stray in self.root.glob(".*.tmp"):  # of a run that was killed; nobody else is writing here now
                shutil.rmtree(stray)
            yield

    @cached_property
    def earlier(self) -> list[SignedFile]:
        """The signatures of the entries before this data set's own. Raises FactoryError for one that can not be compared with."""
        found: list[SignedFile] = []
        for folder, note in self._before():
            if different := sorted(_differences(note["shape"], self.shape)):
                raise FactoryError(
                    f"{self.place}.index: {folder} was made with another {', '.join(different)}: "
                    "give the step the same options, or its index another folder"
                )
            found += [SignedFile.read(path) for path in sorted(folder.glob("rows-*.json"))]
        return found

    def state(self) -> list[str]:
        """What the decision depends on: the entries before this data set's own."""
        return [note["content"] for _, note in self._before()]

    def holds(self, key: str) -> bool:
        """Whether this data set's own entry is as the decision of that key leaves it."""
        return not self.extended or any(
            note["key"] == key for _, note in self._entries() if note["owner"] == self.owner
        )

    def write(self, key: str, signed: Sequence[SignedFile], gone: Iterator[npt.NDArray[np.bool_]]) -> None:
        """Write this data set's entry: its signed rows without those that are gone (for each batch which ones)."""
        if not self.extended:
            return
        entries = list(self._entries())
        number = max((int(folder.name.split()[0]) for folder, _ in entries), default=0) + 1
        own = [folder for folder, note in entries if note["owner"] == self.owner]
        with whole_folder(own[0] if own else self.root / f"{number:06d} {self.owner}") as work:
            for place, file in enumerate(signed):
                write_signed(work / f"rows-{place:05d}.json", _kept(file, gone))
            note = {"owner": self.owner, "shape": self.shape, "key": key, "content": key_of(self.owner, key)}
            write_json(work / ENTRY, note)

    def _entries(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in sorted(self.root.glob(f"[0-9]*/{ENTRY}")):
            try:
                note = json.loads(path.read_text("utf-8"))
                note["owner"], note["shape"], note["key"], note["content"]
            except (ValueError, KeyError, TypeError):
                raise FactoryError(
                    f"{self.place}.index: {path} is damaged: delete the folder {path.parent}, and run its data set again"
                ) from None
            yield path.parent, note

    def _before(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for folder, note in self._entries():
            if note["owner"] == self.owner:
                return
            yield folder, note


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    """What is said otherwise; languages that only one of them knows share no rows."""
    return {
        name for name in {*one, *other} if not name.startswith("shingles of ") and one.get(name) != other.get(name)
    } | {name for name in {*one} & {*other} if one[name] != other[name]}


def _kept(file: SignedFile, gone: Iterator[npt.NDArray[np.bool_]]) -> Iterator[tuple[Any, Any]]:
    """Keys and facts of the rows that stay, batch by batch, rows numbered anew."""
    import numpy as np
    import pyarrow as pa

    for keys, facts in read_signed(file):
        stays = ~_next(gone, facts.num_rows)
        number = np.cumsum(stays, dtype=np.int32) - np.int32(1)
        row = keys.column("row").to_numpy()
        mine = stays[row]
        made = [keys.column("key").filter(pa.array(mine)), pa.array(number[row[mine]])]
        yield pa.record_batch(made, names=["key", "row"]), facts.filter(pa.array(stays))


def _next(gone: Iterator[npt.NDArray[np.bool_]], rows: int) -> npt.NDArray[np.bool_]:
    """The next arrays, as many as these rows are."""
    import numpy as np

    found = [next(gone)]
    while sum(map(len, found)) < rows:
        found.append(next(gone))
    return np.concatenate(found)
