"""Which rows make up which batch, for the whole stage and before its first step.

The order is a function of lengths, options and seed alone. So a stage that was killed goes on with the very batches it
would have seen, and a better mix of rows is a better function here and nothing else.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


def batches(
    lengths: Sequence[int], batch: int, accumulate: int, epochs: float, most_steps: int | None, seed: int
) -> list[list[int]]:
    """Row numbers batch by batch, ``accumulate`` batches to a step. Every row comes ``epochs`` times (a fraction: a part of
    the rows once more), unless ``most_steps`` comes first.

    ``lengths`` in tokens. A step's rows are drawn by chance and then sorted by length, so that rows of like length share a
    batch and little is padded (nothing at all where batch is 1). Sorting over many steps would pad less still, but length
    tells the language (a character is a token in one, three in another): each step would learn one language only.
    """
    dice = random.Random(seed)
    wanted = max(1, math.ceil(len(lengths) * epochs - 1e-9))
    if most_steps is not None:
        wanted = min(wanted, most_steps * batch * accumulate)
    stream: list[int] = []
    while len(stream) < wanted:
        epoch = list(range(len(lengths)))
        dice.shuffle(epoch)
        stream += epoch
    del stream[wanted:]
    made: list[list[int]] = []
    for start in range(0, wanted, batch * accumulate):
        step = sorted(stream[start : start + batch * accumulate], key=lambda row: (lengths[row], row))
        made += [step[at : at + batch] for at in range(0, len(step), batch)]
    return made
