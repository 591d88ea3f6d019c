"""Examples put into lines of a fixed length, so that next to nothing is padded.

Best fit, longest first, over the histogram of lengths: examples of one length are interchangeable, and so are lines with the
same room left. What is looked at is each length and each room, not each example. Nothing is cut: an example lies in one line
whole.
"""

from __future__ import annotations

from typing import Any


def pack(lengths: Any, size: int) -> tuple[Any, Any]:
    """Lines of at most ``size`` tokens: the examples' places in ``lengths`` (int [n], each from 1 to ``size``), line after line,
    and where each line ends in that list; both int64. Raises ValueError for an example that is longer, or has no token."""
    import numpy as np

    if not len(lengths):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if int(lengths.min()) < 1 or int(lengths.max()) > size:
        raise ValueError(f"examples of {int(lengths.min())} to {int(lengths.max())} tokens do not fit into {size}")
    lines = _lines(np.bincount(lengths), size)
    # The examples of each length, in their order, take the places of that length. Sorting 16 bits takes a single pass.
    longest_first = np.argsort(-lengths.astype(np.int16 if size < 1 << 15 else np.int64), kind="stable")
    return longest_first[np.argsort(lines, kind="stable")], np.cumsum(np.bincount(lines))


def _lines(counts: Any, size: int) -> Any:
    """The line of each example, int32, longest first; there are ``counts[length]`` of each length."""
    import numpy as np

    rooms: list[list[range]] = [[] for _ in range(size + 1)]  # stretches of lines, by the tokens they have room for
    open_rooms = 0  # a bit for each room that a line has: the best fit is the lowest one from the length on
    begun = 0
    taken: list[tuple[int, int, int]] = []  # a stretch of lines: the first, how many, examples that each of them takes
    for length in np.flatnonzero(counts)[::-1].tolist():
        left = int(counts[length])
        while left:
            # What a line has left is the best fit for the next example of this length as long as it fits at all: it takes
            # all that go in before another line takes one, and every line with the same room does the same.
            if fitting := open_rooms >> length:
                room = length + (fitting & -fitting).bit_length() - 1
                some = rooms[room].pop()
                each = min(room // length, left)
                if rest := some[left // each :]:
                    rooms[room].append(rest)
                some = some[: left // each]
                if not rooms[room]:
                    open_rooms ^= 1 << room
            else:
                room, each = size, min(size // length, left)
                some = range(begun, begun + left // each)
                begun = some.stop
            taken.append((some.start, len(some), each))
            left -= len(some) * each
            if after := room - each * length:
                rooms[after].append(some)
                open_rooms |= 1 << after
    first, lines, each_takes = np.asarray(taken, np.int64).T
    inside = np.arange(lines.sum()) - np.repeat(np.cumsum(lines) - lines, lines)
    return np.repeat(np.repeat(first, lines) + inside, np.repeat(each_takes, lines)).astype(np.int32)
