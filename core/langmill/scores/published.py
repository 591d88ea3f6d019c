"""Scores that others have published, as a file, and whether they can be what they say.

The file is YAML; ``recipes/published/mmedbench.yaml`` is one. All of it::

    name: MMedBench                        # what was asked
    about: accuracy in percent …           # how, in a sentence or two: who was asked in which way, what counts as right
    source: https://…                      # where the figures stand
    decimals: 2                            # that they are printed with
    rows: {en: 1273, ja: 199}              # rows asked, by language: the N of each figure
    scores:                                # percent of rows right, by model and language; `mean` is the one that is stated
      GPT-4: {en: 78.00, ja: 72.91, mean: 75.46}

A share of N rows is a whole number of rows divided by N, so most figures of two decimals can not come of N rows at all; and a stated
mean is that of its figures. What fails is flagged, and stays as it was published: it may be the mean of several runs, or of other
rows, or a slip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langmill.errors import RecipeError
from langmill.parts.evaluation import ALL
from langmill.recipe.shape import explained, validated
from langmill.scores.intervals import mean_interval, wilson
from langmill.yaml12 import load_file

MEAN = "mean"
SLACK = 1e-9  # of percent: what adding and dividing may lose


class Flag(NamedTuple):
    """A figure that can not be what it says. ``cell`` is a language or ``mean``; figures in percent."""

    model: str
    cell: str
    stated: float
    near: float
    why: str


class Figure(NamedTuple):
    """A share of ``n`` rows with its 95% interval."""

    n: int
    value: float
    interval: tuple[float, float]


class Published(BaseModel):
    """A file of published scores; the module says what it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="what was asked")
    about: str = Field(description="how it was asked, and what counts as right")
    source: str = Field(description="where the figures stand")
    decimals: int = Field(ge=0, le=6, description="decimals that the figures are printed with")
    rows: dict[str, Annotated[int, Field(ge=1)]] = Field(min_length=1, description="rows asked, by language")
    scores: dict[str, dict[str, Annotated[float, Field(ge=0, le=100)]]] = Field(
        min_length=1, description="percent right, by model and language"
    )

    def flags(self) -> list[Flag]:
        """What can not be, model by model."""
        return [flag for model, cells in self.scores.items() for flag in self._flags(model, cells)]

    def _flags(self, model: str, cells: Mapping[str, float]) -> Iterator[Flag]:
        unit = 10.0**-self.decimals
        for language, n in self.rows.items():
            if language in cells:
                stated = cells[language]
                least = math.ceil((stated - unit / 2 - SLACK) * n / 100)
                if 100 * least / n >= stated + unit - SLACK:  # a figure may be rounded or cut off
                    near = 100 * round(stated * n / 100) / n
                    why = f"no multiple of 1/{n:,}; the nearest is {near:.{self.decimals + 1}f}"
                    yield Flag(model, language, stated, near, why)
        if MEAN in cells and cells.keys() >= self.rows.keys():
            mean = sum(cells[language] for language in self.rows) / len(self.rows)
            if abs(cells[MEAN] - mean) > unit + SLACK:  # half of it for the figures, half for the mean
                why = f"the mean of its figures is {mean:.{self.decimals}f}"
                yield Flag(model, MEAN, cells[MEAN], mean, why)

    def figure(self, model: str, language: str) -> Figure | None:
        """A model's share in a language, with Wilson's interval for its number of rows; None where none is published."""
        share = self.scores[model].get(language)
        if share is None:
            return None
        n = self.rows[language]
        return Figure(n, share / 100, wilson(share / 100 * n, n))


def read_published(path: Path) -> Published:
    """Read a file. Raises RecipeError with the line of everything wrong."""
    document = load_file(path)
    data = document.data if isinstance(document.data, dict) else {}
    try:
        found = validated(Published, data)
    except ValidationError as error:
        wrong = explained(error, Published, data)
        raise RecipeError([document.fault(loc, message) for loc, message in wrong]) from None
    faults = [
        document.fault(("scores", model, cell), f"'{cell}' is no language of rows: {', '.join(found.rows)}, or {MEAN}")
        for model, cells in found.scores.items()
        for cell in cells
        if cell not in found.rows and cell != MEAN
    ]
    faults += [
        document.fault(("rows", name), "this word is kept for a mean") for name in (MEAN, ALL) if name in found.rows
    ]
    if faults:
        raise RecipeError(faults)
    return found


def over(figures: Mapping[str, Figure]) -> Figure:
    """The mean over languages, each weighing the same."""
    parts = [(one.value, one.interval) for one in figures.values()]
    low, high = mean_interval(parts)
    value = sum(value for value, _ in parts) / len(parts)
    return Figure(sum(one.n for one in figures.values()), value, (max(0.0, low), min(1.0, high)))
