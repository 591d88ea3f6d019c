"""The learning rate, step by step. Each step learns something: transformers' own curves begin at nothing, so that a stage of a
single step with a warm-up would end as it began."""

from __future__ import annotations

import math


def warm_steps(share: float, steps: int) -> int:
    """Steps that warm up: a share of them all, rounded up. The last step never does."""
    return min(math.ceil(share * steps), steps - 1)


def rate(schedule: str, step: int, warm: int, steps: int) -> float:
    """The share of the peak learning rate that a step (from 0) learns at: a straight line up over ``warm`` steps, all of it in the
    step after them, then a ``constant``, or a ``linear`` or ``cosine`` way down that would reach 0 one step after the last."""
    if step < warm:
        return (step + 1) / (warm + 1)
    if schedule == "constant":
        return 1.0
    left = max(0.0, (steps - step) / (steps - warm))
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
