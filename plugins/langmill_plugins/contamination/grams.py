"""Sets of grams that are looked for in rows: the rarest grams of each propose, all of them decide."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from langmill_plugins.contamination import overlaps
from langmill_plugins.contamination.overlaps import Hashes, Places

SEEN_BITS = 22  # of a gram, to see at once that no set has it: 4 MB


@dataclass
class Grams:
    """Sets of grams to be looked for. A row that holds ``least`` of a set holds one of any grams of it that are more than the
    rest, so only so many are indexed, the rarest ones; what they propose is counted over the whole set."""

    values: list[Hashes] = field(default_factory=list)
    starts: Places = field(default_factory=lambda: np.zeros(1, np.int64))
    grams: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    keys: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    owners: Places = field(default_factory=lambda: np.empty(0, np.int64))
    seen: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1 << SEEN_BITS, np.bool_))

    def add(self, values: Hashes) -> int:
        """One more set, sorted and each gram once; its number."""
        self.values.append(values)
        return len(self.values) - 1

    def build(self, least: float, mates: Mapping[int, int] | None = None, unlisted: Set[int] = frozenset()) -> None:
        """Index the sets that were added. A set with a mate is proposed by the one of the two that is rarer, under the
        set's own number; one that is unlisted is not proposed."""
        mates = mates or {}
        sizes = [len(values) for values in self.values]
        self.starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        self.grams = np.concatenate([self.grams, *self.values])
        _, inverse, counts = np.unique(self.grams, return_inverse=True, return_counts=True)
        common: Places = np.asarray(counts[inverse])
        asides = {*mates.values(), *unlisted}
        chosen: list[Places] = []
        owners: list[Places] = []
        for number in range(len(sizes)):
            if number in asides:
                continue
            few = [self._rarest(common, one, least) for one in (number, *([mates[number]] if number in mates else []))]
            best = min(few, key=lambda places: int(common[places].sum()))
            chosen.append(best)
            owners.append(np.full(len(best), number))
        places = np.concatenate([np.empty(0, np.int64), *chosen])
        keys, owned = self.grams[places], np.concatenate([np.empty(0, np.int64), *owners])
        order = np.argsort(keys, kind="stable")
        self.keys, self.owners, self.values = keys[order], owned[order], []
        self.seen[self.keys >> np.uint64(64 - SEEN_BITS)] = True

    def _rarest(self, common: Places, number: int, least: float) -> Places:
        start, end = self.starts[number], self.starts[number + 1]
        most = int(end - start) - int(np.ceil(least * (end - start) - 1e-9)) + 1
        return start + np.sort(np.argsort(common[start:end], kind="stable")[:most])

    def proposed(self, values: Hashes, offsets: Places) -> tuple[Places, Places]:
        """Rows and sets that may belong together, as two arrays; each pair once, sorted."""
        some = np.flatnonzero(self.seen[values >> np.uint64(64 - SEEN_BITS)])
        firsts: Any = np.searchsorted(self.keys, values[some], side="left")
        lasts: Any = np.searchsorted(self.keys, values[some], side="right")
        hit = lasts > firsts
        rows: Places = np.asarray(np.searchsorted(offsets, some[hit], side="right") - 1)
        packed = np.unique(overlaps.pairs(rows, firsts[hit], lasts[hit], self.owners))
        return packed >> 32, packed & 0xFFFFFFFF

    def set(self, number: int) -> Hashes:
        """The grams of a set."""
        return self.grams[self.starts[number] : self.starts[number + 1]]

    def share(self, rows: Places, sets: Places, values: Hashes, offsets: Places) -> npt.NDArray[np.float64]:
        """The share of each set, 0 to 1, that its row holds."""
        counts = overlaps.held(rows, sets, values, offsets, self.grams, self.starts)
        return counts / np.maximum(1, self.starts[sets + 1] - self.starts[sets])
