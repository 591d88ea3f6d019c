"""Which rows make up which batch, for the whole stage and before its first step.

The order is a function of lengths, options and seed alone. So a stage that was killed goes on with the very batches it
would have seen, and a better mix of rows is a better function here and nothing else.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

GROUP = 16  # batches whose rows are sorted by length together: little padding, and still an order of chance


def batches(lengths: Sequence[int], batch: int, epochs: float, most: int | None, seed: int) -> list[list[int]]:
    """Row numbers batch by batch. Every row comes ``epochs`` times (a fraction: a part of the rows once more).

    ``lengths`` in tokens; ``most`` is the most batches, None for no limit. Rows of like length share a batch.
    """
    dice = random.Random(seed)
    wanted = max(1, math.ceil(len(lengths) * epochs - 1e-9))
    if most is not None:
        wanted = min(wanted, most * batch)
    stream: list[int] = []
    while len(stream) < wanted:
        epoch = list(range(len(lengths)))
        dice.shuffle(epoch)
        stream += epoch
    del stream[wanted:]
    made: list[list[int]] = []
    for start in range(0, len(stream), batch * GROUP):
        group = sorted(stream[start : start + batch * GROUP], key=lambda row: (lengths[row], row))
        cut = [group[at : at + batch] for at in range(0, len(group), batch)]
        dice.shuffle(cut)
        made += cut
    return made
