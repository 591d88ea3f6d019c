"""The orders in which an item's options are shown."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from langmill.api import Choice


def orders_of(count: int, most: int, seed: int) -> list[tuple[int, ...]]:
    """``most`` different orders of ``count`` options, fewer where there are no more; the published one is the first.

    An order holds, place by place, the number of the option shown there. Orders come in rounds of rotations of one order: in a whole
    round each option stands in each place once, and in a round cut short no option stands anywhere twice. The first round turns the
    published order; which turns come first is drawn from the seed, so that over many items the key visits every place alike.
    """
    draw = random.Random(seed)
    base = list(range(count))
    found: dict[tuple[int, ...], None] = {tuple(base): None}
    while len(found) < min(most, math.factorial(count)):
        for turn in draw.sample(range(count), count):
            found.setdefault((*base[turn:], *base[:turn]))
        draw.shuffle(base)
    return list(found)[:most]


def shown(body: Choice, order: Sequence[int]) -> Choice:
    """An item with its options in an order; the right ones stay right."""
    return replace(
        body,
        options=tuple(body.options[number] for number in order),
        answers=tuple(sorted(order.index(answer) for answer in body.answers)),
    )
