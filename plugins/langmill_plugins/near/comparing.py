"""Compiled comparison of rows: Jaccard of their sides, clusters of rows that are near, and who goes in a cluster.

Rows come as one array of hashes with offsets: items 3 * i to 3 * i + 2 are question, options and answer of row i. ``kinds`` are
minhash.KINDS, ``rights`` the digests of choice items' right answers, 0 for others.
"""

# Types are inferred by the compiler, for what it is called with.
# mypy: allow-untyped-defs, disable-error-code="var-annotated"

from __future__ import annotations

import numpy as np
from numba import njit

from langmill_plugins.text.kernels import P, mixed

WINDOW = 256  # most earlier records of one bucket that a record is compared with, the nearest ones
KEPT = 1000  # most kept rows of one cluster that a row is compared with, the last ones
SHORT, NAMED = 40, 0.9
"""What must be alike in short questions. "What are the symptoms of X?" and "… of Y?" share half of their shingles and more, and
their answers are often cut from one template: there the name is what is asked."""


@njit(cache=True, nogil=True)
def likeness(values, offsets, kinds, rights, one, other, least, table):
    """The lowest Jaccard over what must be near: the answers; the questions, if there are any; of choice items the questions, and
    those with their options, and the right answers must be the same. 0 when one is below ``least``, or for two kinds of row. Questions
    that have less than SHORT shingles in all must share at least NAMED of them."""
    if kinds[one] != kinds[other] or rights[one] != rights[other]:
        return 0.0
    shared, whole = _overlap(values, offsets, 3 * one + 2, 3 * other + 2, table)
    answers = shared / whole if whole else 1.0
    if kinds[one] != 2 and answers < least:
        return 0.0
    if kinds[one] == 0:
        return answers
    shared, whole = _overlap(values, offsets, 3 * one, 3 * other, table)
    questions = shared / whole if whole else 1.0
    if questions < least or (whole < SHORT and questions < NAMED):
        return 0.0
    if kinds[one] == 1:
        return min(questions, answers)
    more, more_whole = _overlap(values, offsets, 3 * one + 1, 3 * other + 1, table)
    whole += more_whole
    items = (shared + more) / whole if whole else 1.0
    return min(questions, items) if items >= least else 0.0


@njit(cache=True, nogil=True)
def places(values):
    """Places of a hash table for so many values: a power of two, at most half full."""
    count = 4
    while count < 2 * values:
        count *= 2
    return count


@njit(cache=True, nogil=True)
def _overlap(values, offsets, one, other, table):
    """How many values two items share and how many they have in all, repeats not counted.

    ``table`` is scratch for a hash table, shape (places(values of both) + 1 or more, 2), zeros at first: a value, and the number
    of the set that wrote it, so that it is never cleared. The last line is no place: table[-1, 1] counts the sets.
    """
    left, right = values[offsets[one] : offsets[one + 1]], values[offsets[other] : offsets[other + 1]]
    mask = np.uint64(places(len(left) + len(right)) - 1)
    first = table[-1, 1] + np.uint64(1)
    second = first + np.uint64(1)
    table[-1, 1] = second
    shared, whole = 0, 0
    for value in left:
        place = np.int64(np.uint64(value) & mask)
        while table[place, 1] == first and table[place, 0] != value:
            place = np.int64(np.uint64(place + 1) & mask)
        if table[place, 1] != first:
            table[place, 0], table[place, 1] = value, first
            whole += 1
    for value in right:
        place = np.int64(np.uint64(value) & mask)
        while table[place, 1] >= first and table[place, 0] != value:
            place = np.int64(np.uint64(place + 1) & mask)
        if table[place, 1] < first:
            table[place, 0], table[place, 1] = value, second
            whole += 1
        elif table[place, 1] == first:
            table[place, 1] = second
            shared += 1
    return shared, whole


@njit(cache=True, nogil=True)
def _root(parent, position):
    """The first row of a row's cluster; shortens the way there."""
    while parent[position] != position:
        parent[position] = parent[parent[position]]
        position = parent[position]
    return position


@njit(cache=True, nogil=True, inline="always")
def _pair(one, other):
    return mixed(np.uint64(one) * P + np.uint64(other))


@njit(cache=True, nogil=True)
def undecided(keys, positions, parent, apart):
    """Which records are of a pair that was not compared and is not in one cluster; shape (records,), bool."""
    found = np.zeros(len(keys), np.bool_)
    mask = np.uint64(len(apart) - 1)
    start = 0
    for end in range(1, len(keys) + 1):
        if end < len(keys) and keys[end] == keys[start]:
            continue
        if not _one_cluster(positions[start:end], parent):
            for late in range(start + 1, end):
                for early in range(late - 1, max(start, late - WINDOW) - 1, -1):
                    if _root(parent, positions[early]) != _root(parent, positions[late]):
                        pair = _pair(positions[early], positions[late])
                        if apart[np.int64(pair & mask)] != pair:
                            found[early] = found[late] = True
        start = end
    return found


@njit(cache=True, nogil=True)
def _one_cluster(positions, parent):
    first = _root(parent, positions[0])
    for position in positions[1:]:  # noqa: SIM110 (numba compiles no generator)
        if _root(parent, position) != first:
            return False
    return True


@njit(cache=True, nogil=True)
def join(keys, positions, rows, parent, apart, values, offsets, kinds, rights, least, table):
    """Join the clusters of all pairs in a bucket that are near; ``rows`` are the records' places in ``values``. Remember the
    others in ``apart``, as far as it has room. How many pairs were compared."""
    compared = 0
    mask = np.uint64(len(apart) - 1)
    for late in range(len(keys)):
        early = late - 1
        while early >= 0 and late - early <= WINDOW and keys[early] == keys[late]:
            one, other = _root(parent, positions[early]), _root(parent, positions[late])
            if one != other:
                pair = _pair(positions[early], positions[late])
                if apart[np.int64(pair & mask)] != pair:
                    compared += 1
                    if likeness(values, offsets, kinds, rights, rows[early], rows[late], least, table) > 0:
                        parent[max(one, other)] = min(one, other)
                    else:
                        apart[np.int64(pair & mask)] = pair
            early -= 1
    return compared


@njit(cache=True, nogil=True)
def flatten(parent):
    """Points every row at the first of its cluster."""
    for position in range(len(parent)):
        parent[position] = parent[parent[position]]


@njit(cache=True, nogil=True)
def settle(clusters, rows, fixed, values, offsets, kinds, rights, least, table):
    """For each record, best first in its cluster, the kept record that it is near, or -1 if it is kept, and their Jaccard.
    Those that are ``fixed`` are kept in any case."""
    better = np.full(len(rows), -1, np.int64)
    alike = np.zeros(len(rows))
    kept = np.empty(len(rows), np.int64)
    count = 0
    for record in range(len(rows)):
        if record and clusters[record] != clusters[record - 1]:
            count = 0
        if not fixed[record]:
            for place in range(max(0, count - KEPT), count):
                found = likeness(values, offsets, kinds, rights, rows[kept[place]], rows[record], least, table)
                if found > 0:
                    better[record], alike[record] = kept[place], found
                    break
        if better[record] < 0:
            kept[count] = record
            count += 1
    return better, alike
