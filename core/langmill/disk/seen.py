"""Which names were met before, in little memory."""

from __future__ import annotations

from array import array


class Seen:
    """A set of names that only grows: 64 bits of each in a table that is at most half full, 16 to 32 bytes a name where a set
    of strings takes 150. Two of a billion names meet with a chance of one in forty."""

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, name: str) -> bool:
        """Remember a name; False when it was there."""
        key = hash(name) & 0xFFFFFFFFFFFFFFFF or 1  # 0 marks a free place
        if not self._put(key):
            return False
        self._count += 1
        if self._count * 2 > len(self._table):
            old, self._table = self._table, array("Q", bytes(16 * len(self._table)))
            for each in old:
                if each:
                    self._put(each)
        return True

    def _put(self, key: int) -> bool:
        table, mask = self._table, len(self._table) - 1
        place = key & mask
        while found := table[place]:
            if found == key:
                return False
            place = (place + 1) & mask
        table[place] = key
        return True
