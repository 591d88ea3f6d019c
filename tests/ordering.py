"""Examples of no words: their languages, sources and lengths are all that an order looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from langmill_plugins.trainers.tokens.examples import Examples


def some(counts: Mapping[tuple[str, str], int], lengths: Sequence[int] | None = None) -> Examples:
    """So many examples of each (source, language), one after another; of one token each unless ``lengths`` says more."""
    sources = tuple(dict.fromkeys(source for source, _ in counts))
    languages = tuple(dict.fromkeys(language for _, language in counts))
    many = list(counts.values())
    total = sum(many)
    source = np.repeat([sources.index(one) for one, _ in counts], many).astype(np.int16)
    language = np.repeat([languages.index(one) for _, one in counts], many).astype(np.int16)
    starts: Any = np.zeros(total + 1, np.int64)
    np.cumsum(np.ones(total, np.int64) if lengths is None else lengths, out=starts[1:])
    ids: Any = np.zeros(int(starts[-1]), np.int32)
    rows: Any = np.arange(total, dtype=np.int32)
    return Examples(
        ids, ids.astype(bool), starts, rows, np.zeros(total, np.int16), language, source, languages, sources
    )


def closed_form(left: Any, weights: Any, progress: float) -> Any:
    """How many of each source are left at a part of a priority run: R_i(s) = N_i exp(-w_i s), for the s at which so much is drawn."""
    low, high = 0.0, 1e3 / float(weights.min())
    for _ in range(200):
        middle = (low + high) / 2
        drawn = 1 - float((left * np.exp(-weights * middle)).sum()) / float(left.sum())
        low, high = (middle, high) if drawn < progress else (low, middle)
    return left * np.exp(-weights * low)
