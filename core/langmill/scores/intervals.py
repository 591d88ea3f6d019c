"""95% intervals of shares, and of means of figures that have one."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.959963984540054  # two-sided 95% of the normal distribution


def wilson(right: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval of a share: unlike the plain one it stays inside 0..1 and holds for few rows. At 0 of n it begins at 0,
    at n of n it ends at 1, exactly. ``n`` is above 0, ``right`` in 0..n."""
    share, z2 = right / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return 0.0 if right <= 0 else max(0.0, middle - half), 1.0 if right >= n else min(1.0, middle + half)


def mean_interval(
    parts: Sequence[tuple[float, tuple[float, float]]], related: Sequence[Sequence[float]] | None = None
) -> tuple[float, float]:
    """95% interval of the mean of figures, from each one's value and interval. ``related`` has the correlation of each with each;
    without it they are independent.

    Distances to the limits add up as deviations do (Zou and Donner, Statistics in Medicine 27, 2008), so that it inherits what is
    good in Wilson's: languages with few rows, and shares of 0 or 1, are no trouble.
    """
    count = len(parts)
    mean = sum(value for value, _ in parts) / count
    half = []
    for end in (0, 1):
        apart = [abs(value - limits[end]) for value, limits in parts]
        square = sum(
            apart[a] * apart[b] * (float(a == b) if related is None else related[a][b])
            for a in range(count)
            for b in range(count)
        )
        half.append(math.sqrt(max(0.0, square)) / count)
    return mean - half[0], mean + half[1]
