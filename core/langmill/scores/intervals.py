"""95% intervals of shares and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Z = 1.959963984540054  # two-sided 95% of the normal distribution
DRAWS = 2000  # resamples of a bootstrap: the ends of an interval are then good to about a twentieth of its width


def wilson(right: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share: unlike the plain one it stays inside 0..1 and holds for few rows."""
    share, z2 = right / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(parts: Sequence[tuple[float, tuple[float, float]]]) -> tuple[float, float]:
    """95% interval of the mean of independent figures, from each one's value and interval.

    Squared distances to the limits add up (Zou and Donner, Statistics in Medicine 27, 2008), so that it inherits what is
    good in Wilson's: languages with few rows, and shares of 0 or 1, are no trouble.
    """
    count = len(parts)
    mean = sum(value for value, _ in parts) / count
    down = math.sqrt(sum((value - low) ** 2 for value, (low, _) in parts)) / count
    up = math.sqrt(sum((high - value) ** 2 for value, (_, high) in parts)) / count
    return mean - down, mean + up


def bootstrap(values: Sequence[float], weights: Sequence[float], seed: int) -> tuple[float, float]:
    """95% percentile interval of the weighted mean, rows drawn again with replacement DRAWS times (Efron 1979)."""
    import numpy as np

    value, weight = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    random = np.random.default_rng(seed)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        rows = random.integers(0, len(value), len(value))
        means[draw] = np.average(value[rows], weights=weight[rows]) if weight[rows].any() else np.nan
    ends: Any = np.nanquantile(means, [0.025, 0.975])
    return float(ends[0]), float(ends[1])
