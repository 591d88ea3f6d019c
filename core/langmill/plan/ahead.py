"""Rows that a plan reckons with before they are there: those that steps will make, and those that an absent source declares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from langmill.api import DatasetFilter, Filter, Row
from langmill.recipe.dataset_plan import StepPlan

LEFT = 0.7  # share of such rows that checks and filters leave, at the low end


@dataclass(frozen=True)
class Made:
    """A row that is yet to be, in its shortest and its longest form (``weight`` such rows, of which the low end counts
    ``share``). ``grown`` is how many tokens longer than that it may be in the worst case."""

    short: Row
    long: Row
    weight: float = 1.0
    share: float = 1.0
    grown: int = 0


def filtered(flow: Iterable[Made], steps: Sequence[StepPlan]) -> list[Made]:
    """Each stand-in once, as a data set's steps leave it: the low end loses a share of what is still whole where any of
    them filters such rows. (What a step makes has lost its share when it was made.)"""
    filters = [step.part for step in steps if isinstance(step.part, Filter | DatasetFilter)]
    return [
        replace(item, share=LEFT)
        if item.share == 1.0
        and any(isinstance(item.long.body, part.bodies) and item.long.split in part.splits for part in filters)
        else item
        for item in {item.long.id: item for item in flow}.values()
    ]
