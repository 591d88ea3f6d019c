"""An index: signatures of the rows that data sets kept, in a folder that outlives runs.

Each data set that uses an index has one entry there, a folder ``NUMBER owner``. A data set is held against the entries that
were made before its own, never against its own, so that the same run twice gives the same rows; then its own entry is
written anew. What was first stays: a later data set loses the rows that an earlier one has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
SIGNED = "rows.json"


@dataclass(frozen=True)
class Index:
    """One data set's view of an index. ``owner`` names its entry (RECIPE.DATASET.STEP); ``shape`` is what keys depend on: the
    part and its options. Entries of another shape can not be compared with."""

    root: Path
    place: str
    owner: str
    shape: str

    def earlier(self) -> list[SignedFile]:
        """The entries before this data set's own. Raises FactoryError for an entry of another shape."""
        found = []
        for folder in self._entries():
            note = _note(folder)
            if note["owner"] == self.owner:
                break
            if note["shape"] != self.shape:
                raise FactoryError(
                    f"{self.place}.index: {folder} was signed by {note['shape']}, this step signs by {self.shape}: "
                    "give the step the same options, or its index another folder"
                )
            found.append(SignedFile.read(folder / SIGNED))
        return found

    def state(self) -> list[str]:
        """What the decision depends on: the entries before this data set's own."""
        return [_note(file.path.parent)["content"] for file in self.earlier()]

    def holds(self, key: str) -> bool:
        """Whether this data set's own entry is there and was made by the decision of that key."""
        own = self._own()
        return own is not None and _note(own)["key"] == key

    def write(self, key: str, signed: Sequence[SignedFile], gone: Iterator[npt.NDArray[np.bool_]]) -> None:
        """Write this data set's entry: its signed rows without those that are gone (for each batch which ones)."""
        import fcntl

        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs must not take one number
            numbers = [int(folder.name.split()[0]) for folder in self._entries()]
            folder = self._own() or self.root / f"{max(numbers, default=0) + 1:06d} {self.owner}"
            with whole_folder(folder) as work:
                write_signed(work / SIGNED, _kept(signed, gone))
                note = {"owner": self.owner, "shape": self.shape, "key": key, "content": key_of(self.owner, key)}
                write_json(work / ENTRY, note)

    def _entries(self) -> list[Path]:
        return sorted(path.parent for path in self.root.glob(f"[0-9]*/{ENTRY}"))

    def _own(self) -> Path | None:
        return next((folder for folder in self._entries() if _note(folder)["owner"] == self.owner), None)


def _note(folder: Path) -> dict[str, Any]:
    note: dict[str, Any] = json.loads((folder / ENTRY).read_text("utf-8"))
    return note


def _kept(signed: Sequence[SignedFile], gone: Iterator[npt.NDArray[np.bool_]]) -> Iterator[tuple[Any, Any]]:
    """Keys and facts of the rows that stay, batch by batch, rows numbered anew."""
    import numpy as np
    import pyarrow as pa

    for file in signed:
        for keys, facts in read_signed(file):
            stays = ~next(gone)
            number = np.cumsum(stays, dtype=np.int32) - np.int32(1)
            row = keys.column("row").to_numpy()
            mine = stays[row]
            made = [keys.column("key").filter(pa.array(mine)), pa.array(number[row[mine]])]
            yield pa.record_batch(made, names=["key", "row"]), facts.filter(pa.array(stays))
