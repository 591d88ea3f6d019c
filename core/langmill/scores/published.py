"""Scores that others have published, as a file, and whether they can be what they say.

The file is YAML; ``recipes/published/mmedbench.yaml`` is one. All of it::

    name: MMedBench                        # what was asked
    about: accuracy in percent …           # how, in a sentence or two: who was asked in which way, what counts as right
    source: https://…                      # where the figures stand
    decimals: 2                            # that they are printed with
    rows: {en: 1273, ja: 199}              # rows asked, by language: the N of each figure
    settings: {ask: generation, shots: 0}  # how they were asked, as options of choice_accuracy; ask is one way
    scores:                                # percent of rows right, by model and language; `mean` is the one that is stated
      GPT-4: {en: 78.00, ja: 72.91, mean: 75.46}

A share of N rows is a whole number of rows divided by N, so most figures of two decimals can not come of N rows at all; and a stated
mean is that of its figures. What fails is flagged, and stays as it was published: it may be the mean of several runs, or of other
rows, or a slip.

A run's own figures stand beside them (:func:`beside`) only where they are of as many rows, asked in the same settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langmill.errors import FactoryError, RecipeError
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
    settings: dict[str, str | int] = Field(
        default_factory=dict, description="how it was asked: options of choice_accuracy, ask naming one way"
    )
    scores: dict[str, dict[str, Annotated[float, Field(ge=0, le=100)]]] = Field(
        min_length=1, description="percent right, by model and language"
    )

    def unlike(self, options: Mapping[str, Any]) -> list[str]:
        """In words, which settings an evaluation with these options does not have."""
        told = []
        for name, there in self.settings.items():
            here = options.get(name)
            if there not in here if isinstance(here, list | tuple) else there != here:
                said = ", ".join(map(str, here)) if isinstance(here, list | tuple) else here
                told.append(f"{name}: {said} here, {there} there")
        return told

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


@dataclass(frozen=True)
class Beside:
    """Shares of right rows, ours and published, in the languages where they are of as many rows asked alike. ``lines``: (model,
    whether it is ours, percent by language and, where all languages are there, the mean). ``apart``: what is not the same, in words."""

    name: str
    source: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, bool, tuple[float | None, ...]], ...]
    apart: tuple[str, ...]


def beside(path: Path, facts: Mapping[str, Mapping[str, Any]]) -> Beside:
    """A file of published scores and the models of an evaluation as ``eval/NAME.MODEL.json`` has them. A file that can not be read
    is told in ``apart``: a run that was paid for does not end on it."""
    try:
        published = read_published(path)
    except (FactoryError, OSError) as error:
        return Beside(path.name, "", (), (), (str(error),))
    options = next(iter(facts.values()))["options"]
    apart = published.unlike(options)
    way = published.settings.get("ask")
    ours: dict[str, dict[str, Mapping[str, Any]]] = {
        model: {score["language"]: score for score in its["scores"] if score["metric"] == way}
        for model, its in facts.items()
    }
    languages = []
    for language, n in published.rows.items():
        found = {scores[language]["n"] if language in scores else 0 for scores in ours.values()}
        if found == {n}:
            languages.append(language)
        else:
            apart.append(f"{language}: {', '.join(f'{one:,}' for one in sorted(found))} rows here, {n:,} there")
    if published.unlike(options):
        languages = []
    whole = len(languages) == len(published.rows)
    lines = [
        *_lines(
            {model: {code: 100 * its[code]["accuracy"] for code in languages} for model, its in ours.items()},
            True,
            whole,
        ),
        *_lines(
            {model: {code: cells.get(code) for code in languages} for model, cells in published.scores.items()},
            False,
            whole,
        ),
    ]
    columns = (*languages, *([MEAN] if whole else []))
    return Beside(published.name, published.source, columns, tuple(lines) if languages else (), tuple(apart))


def _lines(
    cells: Mapping[str, Mapping[str, float | None]], mine: bool, whole: bool
) -> Iterator[tuple[str, bool, tuple[float | None, ...]]]:
    """A line a model; the mean is made of the cells, since some that are published are not that of theirs."""
    for model, found in cells.items():
        values = list(found.values())
        known = [value for value in values if value is not None]
        mean = [sum(known) / len(known) if len(known) == len(values) else None] if whole and values else []
        yield model, mine, (*values, *mean)
