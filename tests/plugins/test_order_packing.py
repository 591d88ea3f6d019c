"""Packing: nothing cut, nothing lost, lines all but full, and the same lines that best fit makes one example at a time."""

from __future__ import annotations

import bisect
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langmill_plugins.trainers.order.packing import pack


def lines_of(lengths: Any, size: int) -> list[list[int]]:
    """The places in each line."""
    places, ends = pack(lengths, size)
    assert (places.dtype, ends.dtype) == (np.int64, np.int64)
    return [line.tolist() for line in np.split(places, ends[:-1])] if len(ends) else []


def best_fit(lengths: list[int], size: int) -> Counter[tuple[int, ...]]:
    """Lines by what they hold, made one example at a time: the longest first, each into the line where it leaves least."""
    rooms: list[tuple[int, int]] = []
    lines: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        at = bisect.bisect_left(rooms, (length, 0))
        if at == len(rooms):
            rooms.append((size, len(lines)))
            lines.append([])
            at = len(rooms) - 1
        room, line = rooms.pop(at)
        lines[line].append(length)
        bisect.insort(rooms, (room - length, line))
    return Counter(tuple(line) for line in lines)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.lists(st.integers(1, size), max_size=120))))
def test_every_example_lies_in_one_line_and_lines_are_those_of_best_fit(case: tuple[int, list[int]]) -> None:
    size, lengths = case
    lines = lines_of(np.asarray(lengths, np.int32), size)
    assert sorted(place for line in lines for place in line) == list(range(len(lengths)))
    assert all(lines)
    assert max((sum(lengths[place] for place in line) for line in lines), default=0) <= size
    sizes = Counter(tuple(sorted((lengths[place] for place in line), reverse=True)) for line in lines)
    by_room = Counter(sum(line) for line in sizes.elements())
    assert by_room == Counter(sum(line) for line in best_fit(lengths, size).elements())


def test_examples_of_one_length_keep_their_order() -> None:
    assert lines_of(np.asarray([3, 5, 3, 5, 3, 3]), 8) == [[1, 0], [3, 2], [4, 5]]


@pytest.mark.parametrize("size", [2048, 4096, 40_000])
def test_lines_are_all_but_full(size: int) -> None:
    dice = np.random.default_rng(5)
    lengths = np.clip(dice.lognormal(np.log(180), 0.8, 50_000), 8, 2048).astype(np.int32)
    places, ends = pack(lengths, size)
    assert sorted(places.tolist()) == list(range(50_000))
    assert np.add.reduceat(lengths[places], np.append(0, ends[:-1])).max() <= size
    assert lengths.sum() / (len(ends) * size) >= (0.9995 if size < 10_000 else 0.995)


def test_what_can_not_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 9 tokens do not fit into 8"):
        pack(np.asarray([1, 9]), 8)
    with pytest.raises(ValueError, match="0 to 4 tokens"):
        pack(np.asarray([0, 4]), 8)
    assert lines_of(np.asarray([], np.int32), 8) == []
