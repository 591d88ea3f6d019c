"""What somebody gets who guesses, exactly.

Guessing is drawing from all sets of options that could be the answer, each as likely: of a size that is told (one where one option is
right; whatever the model is held to), or of any size but none.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from math import comb


def overlap(chosen: Collection[int], right: Collection[int]) -> float:
    """The options that are in both over those that are in either: the Jaccard index, 0..1. FrenchMedMCQA's authors call its mean
    over rows the Hamming score (arXiv 2304.04280)."""
    both = set(chosen) & set(right)
    return len(both) / len(set(chosen) | set(right))


@lru_cache(maxsize=512)
def chance_exact(options: int, right: int, *, told: bool) -> float:
    """The chance of exactly the right set: of ``right`` options where the number is ``told``, else of 1 to ``options``."""
    return 1 / (comb(options, right) if told else 2**options - 1)


@lru_cache(maxsize=512)
def chance_partial(options: int, right: int, *, told: bool) -> float:
    """The overlap to be expected of a guess."""
    wrong = options - right
    total = 0.0
    for hits in range(1, right + 1):
        for misses in range(wrong + 1):
            if not told or hits + misses == right:
                total += comb(right, hits) * comb(wrong, misses) * hits / (right + misses)
    return total * chance_exact(options, right, told=told)
