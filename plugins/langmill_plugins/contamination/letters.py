"""Short questions compared letter by letter, among items with the same options and the same right answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from langmill_plugins.contamination.grams import Grams
from langmill_plugins.contamination.overlaps import Hashes, Places
from langmill_plugins.contamination.said import Said
from langmill_plugins.text.shingling import shingled

CUT = 3  # letters to a gram: what a typo spoils least
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two hashes become one; the high bits are what Grams looks at


@dataclass
class Letters:
    """The questions of test items by their letters. ``offered`` are the keys of options and answer that they have."""

    grams: Grams = field(default_factory=Grams)
    tests: list[int] = field(default_factory=list)
    offered: set[int] = field(default_factory=set)

    def add(self, said: Said, numbers: Sequence[int], first: int) -> None:
        """Items of test rows, the first of which has the number ``first``; those without options and answer are left out."""
        numbers = [number for number in numbers if said.keys[number, 4]]
        values, offsets = _cut(said, numbers)
        for index, number in enumerate(numbers):
            self.grams.add(values[offsets[index] : offsets[index + 1]])
            self.tests.append(first + number)
            self.offered.add(int(said.keys[number, 4]))

    def alike(self, said: Said, least: float) -> Iterator[tuple[int, int, float]]:
        """Rows, the number of the test row that each is most like, and the share of letters that the two questions have in
        common, of the longer one's: a long question holds the letters of any short one."""
        keys = said.keys[:, 4].tolist()
        found = [number for number, key in enumerate(keys) if key in self.offered and not said.items[number].background]
        values, offsets = _cut(said, found)
        rows, sets = self.grams.proposed(values, offsets)
        sizes, own = np.diff(self.grams.starts)[sets], np.diff(offsets)[rows]
        shares = self.grams.share(rows, sets, values, offsets) * sizes / np.maximum(1, np.maximum(sizes, own))
        enough = np.flatnonzero(shares >= least)
        best = enough[np.lexsort((-shares[enough], rows[enough]))]
        best = best[np.diff(rows[best], prepend=-1) > 0]
        for row, one, share in zip(rows[best].tolist(), sets[best].tolist(), shares[best].tolist(), strict=True):
            yield found[row], self.tests[one], share


def _cut(said: Said, numbers: Sequence[int]) -> tuple[Hashes, Places]:
    """Grams of the questions of items. They are other ones under other options or another answer: only questions that have
    both in common have grams in common, so that a thousand yes-or-no items are not paired with all others."""
    values, offsets = shingled([(said.items[number].question,) for number in numbers], "character", CUT)
    owners: Any = np.repeat(np.arange(len(numbers)), np.diff(offsets))
    values = (values ^ said.keys[numbers, 4][owners]) * SPREAD
    return values[np.lexsort((values, owners))], offsets
