"""Drawing again: how much a mean would move if other rows had been asked, or if two models were one.

What is drawn is a family: a row, its editions and its translations are one question, so that their values are no independent
witnesses. In every drawing each language keeps as many families of its own as it has; families that lie in several languages are
drawn together, with all that they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

DRAWS = 2000  # of a bootstrap: its ends are then good to about a fiftieth of the interval's width
FLIPS = 9999  # of a sign-flip test: the smallest p is one in ten thousand
ALL_FLIPS = 13  # families up to which every one of the 2**n flips is looked at instead
BLOCK = 4_000_000  # numbers drawn at once, which bounds memory
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, two-sided 95%, for 1 to 9 degrees of freedom, from any table of it."""


class Cell(NamedTuple):
    """One item, as far as drawing goes."""

    family: str
    language: str
    value: float
    weight: float


class Grid(NamedTuple):
    """Arrays of families x languages: the sum of value x weight, the sum of weights, the number of items."""

    sums: Any
    weights: Any
    counts: Any

    @property
    def means(self) -> Any:
        """The weighted mean of each language."""
        return self.sums.sum(axis=0) / self.weights.sum(axis=0)


def grid(cells: Iterable[Cell], families: Sequence[str], languages: Sequence[str]) -> Grid:
    """Items laid out by family and language."""
    import numpy as np

    rows, columns = ({name: at for at, name in enumerate(names)} for names in (families, languages))
    found = Grid(*(np.zeros((len(rows), len(columns))) for _ in range(3)))
    for cell in cells:
        at = rows[cell.family], columns[cell.language]
        found.sums[at] += cell.value * cell.weight
        found.weights[at] += cell.weight
        found.counts[at] += 1
    return found


def drawn(grids: Sequence[Grid], seed: int) -> list[Any]:
    """For each grid the means of the languages in DRAWS drawings, an array of drawings x languages; in each drawing all grids
    hold the same families. Nan where a language got nothing that weighs."""
    import numpy as np

    random = np.random.default_rng(seed)
    held = sum(one.counts for one in grids) > 0
    width = held.shape[1]
    table = np.hstack([array for one in grids for array in (one.sums, one.weights)])
    totals = np.zeros((DRAWS, table.shape[1]))
    several = held.sum(axis=1) > 1
    for language in range(width):
        own = table[held[:, language] & ~several]
        columns = slice(language, None, width)  # nothing of the other languages is in there
        totals[:, columns] += _drawn_sums(own[:, columns], random)
    totals += _drawn_sums(table[several], random)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = totals.reshape(DRAWS, len(grids), 2, width)
        return list(np.moveaxis(parts[:, :, 0] / parts[:, :, 1], 1, 0))


def _drawn_sums(table: Any, random: Any) -> Any:
    """The sums of a table's columns when its rows are drawn with replacement, DRAWS times. Rows that are alike are drawn as one kind:
    of right and wrong there are few, however many rows."""
    import numpy as np

    n = len(table)
    sums = np.zeros((DRAWS, table.shape[1]))
    if n:
        kinds, many = np.unique(table, axis=0, return_counts=True)
        step = max(1, BLOCK // len(kinds))
        for start in range(0, DRAWS, step):
            stop = min(start + step, DRAWS)
            sums[start:stop] = random.multinomial(n, many / n, size=stop - start) @ kinds
    return sums


def pot_count(one: Grid) -> int:
    """Of how many pots families are drawn: one for each language with families of its own, one for those in several."""
    several = (one.counts > 0).sum(axis=1) > 1
    return int((one.counts[~several] > 0).any(axis=0).sum() + several.any())


def ends(draws: Any, families: int, pots: int = 1) -> tuple[float, float]:
    """The 95% interval that drawn means span, ``families`` having been drawn of so many pots.

    Plain percentiles are too narrow for few rows. The levels are moved out so that of normal values they give Student's interval
    (Hesterberg, The American Statistician 69, 2015, "expanded percentile").
    """
    import numpy as np

    free = families - pots
    if free < 1:  # nothing was drawn twice: all draws are alike
        return float(draws[0]), float(draws[0])
    level = NormalDist().cdf(-student(free) * (families / free) ** 0.5)
    low, high = np.nanquantile(draws, [level, 1 - level])
    return float(low), float(high)


def student(free: int) -> float:
    """Student's t, two-sided 95%, to half a hundredth; from 10 degrees of freedom on by the expansion of Cornish and Fisher."""
    if free <= len(T95):
        return T95[free - 1]
    z = NormalDist().inv_cdf(0.975)
    return z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)


def flipped(parts: Any, seed: int) -> float:
    """Two-sided p of a sum of differences, were each one's sign a coin's: what it is when two models are alike (Fisher's
    randomisation test). ``parts`` has the difference of each family."""
    import numpy as np

    parts = parts[parts != 0]
    n = len(parts)
    bound = abs(parts.sum()) * (1 - 1e-9)  # sums that are equal but for the order of adding count as equal
    if n <= ALL_FLIPS:
        signs = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float((abs((2.0 * signs - 1) @ parts) >= bound).mean())
    random = np.random.default_rng(seed)
    step, as_far = max(1, BLOCK // n), 0
    for start in range(0, FLIPS, step):
        signs = random.integers(0, 2, (min(step, FLIPS - start), n), dtype=np.int8)
        as_far += int((abs((2.0 * signs - 1) @ parts) >= bound).sum())
    return (1 + as_far) / (1 + FLIPS)
