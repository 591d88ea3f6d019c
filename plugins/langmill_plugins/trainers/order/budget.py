"""How many passes over the data a budget of tokens is."""

from __future__ import annotations

from typing import Any

HALVINGS = 80  # of a float64: the search then stands between two neighbouring numbers


def passes(rate: Any, phase: Any, lengths: Any, tokens: int) -> float:
    """The most epochs whose draws come to no more than ``tokens``, by :func:`times`: they fall short of it by less than one
    example has. ``rate`` and ``phase`` float64 [n], ``lengths`` int [n] in tokens."""
    import numpy as np

    sizes = lengths.astype(np.int64)
    low, high = 0.0, 1.0
    while len(sizes) and int(times(rate * high, phase) @ sizes) <= tokens:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if int(times(rate * middle, phase) @ sizes) <= tokens:
            low = middle
        else:
            high = middle
    return low


def times(wanted: Any, phase: Any) -> Any:
    """How often each example comes, int64 [n], where it should ``wanted`` times (float64 [n]): the whole number, and once more where
    its phase (in (0, 1)) lies below what is left."""
    import numpy as np

    wanted = np.round(wanted, 9)
    return np.floor(wanted + (phase < wanted % 1)).astype(np.int64)
