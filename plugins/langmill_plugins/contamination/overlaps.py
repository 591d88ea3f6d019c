"""Compiled loops over hashes: keys of items, and how much of one set of grams another one holds."""

# mypy: allow-untyped-decorators

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from langmill_plugins.text.kernels import P, mixed

Hashes: TypeAlias = npt.NDArray[np.uint64]
Places: TypeAlias = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def item_keys(texts: Hashes, counts: Places) -> Hashes:
    """Keys of items, shape (n, 5): the question alone; question and background with the options, and with the answer; the
    answer alone; options and answer.

    ``texts`` are hashes of the items' texts, counts[i] those of question (0 or 1), background (0 or 1), options and answer of
    item i, in this order. Options and answers count in any order. A key is 0 where the item lacks what it is named for.
    """
    keys: Hashes = np.zeros((len(counts), 5), np.uint64)
    place = 0
    for item in range(len(counts)):
        asked = np.uint64(0)
        for side in (0, 1):
            for _ in range(counts[item, side]):
                asked = mixed(asked * P + texts[place] + np.uint64(1))
                place += 1
            if not side:
                keys[item, 0] = asked
        for side in (1, 2):
            count = counts[item, side + 1]
            if count:
                whole = np.uint64(side)
                for text in np.sort(texts[place : place + count]):
                    whole = mixed(whole * P + text)
                keys[item, side] = mixed(asked * P + whole)
                keys[item, 4 if side == 1 else 3] = whole
            place += count
        if keys[item, 3] and keys[item, 4]:
            keys[item, 4] = mixed(keys[item, 4] * P + keys[item, 3])
        else:
            keys[item, 4] = 0
    return keys


@njit(cache=True, nogil=True)
def pairs(rows: Places, firsts: Places, lasts: Places, owners: Places) -> Places:
    """Pairs of a row and a probe, packed as row << 32 | probe, with repeats: row rows[i] goes with owners[firsts[i] : lasts[i]]."""
    total = 0
    for index in range(len(rows)):
        total += lasts[index] - firsts[index]
    packed: Places = np.empty(total, np.int64)
    count = 0
    for index in range(len(rows)):
        for place in range(firsts[index], lasts[index]):
            packed[count] = rows[index] << 32 | owners[place]
            count += 1
    return packed


@njit(cache=True, nogil=True)
def held(rows: Places, probes: Places, values: Hashes, offsets: Places, grams: Hashes, starts: Places) -> Places:
    """How many grams of probe probes[i] row rows[i] holds; shape (n,), int64. Both are sorted, each gram once: row r has
    values[offsets[r] : offsets[r + 1]], probe p grams[starts[p] : starts[p + 1]]."""
    counts: Places = np.zeros(len(rows), np.int64)
    for index in range(len(rows)):
        low, end = offsets[rows[index]], offsets[rows[index] + 1]
        for place in range(starts[probes[index]], starts[probes[index] + 1]):
            high = end
            while low < high:
                middle = (low + high) // 2
                if values[middle] < grams[place]:
                    low = middle + 1
                else:
                    high = middle
            if low < end and values[low] == grams[place]:
                counts[index] += 1
    return counts
