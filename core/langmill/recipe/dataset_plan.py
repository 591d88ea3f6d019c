"""One data set of a recipe as it will be made, what its rows are held against, and the trainer's gate: data that was not held
against what the recipe scores models on is not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from langmill.parts.filters import Filter
from langmill.parts.kinds import Augmenter, Evaluator, Exporter, Stage
from langmill.rows import Split

StepKind = Literal["filters", "augmenters"]


@dataclass(frozen=True)
class StepPlan:
    """One step of a data set. ``place`` is its place in the recipe, ``code_id`` tells two states of its code apart,
    ``against`` are the data sets that it holds rows against."""

    place: str
    use: str
    kind: StepKind
    part: Filter | Augmenter
    code_id: str
    against: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetPlan:
    """One data set: the sources and data sets it is made from, its steps, and how it is written."""

    name: str
    inputs: tuple[str, ...]
    steps: tuple[StepPlan, ...]
    write: tuple[tuple[str, Exporter], ...]


def benchmarks_of(evaluators: Iterable[tuple[str, Evaluator]]) -> dict[str, tuple[Split, ...]]:
    """The data sets that evaluators ask, each with its splits that are asked."""
    found: dict[str, tuple[Split, ...]] = {}
    for _, evaluator in evaluators:
        found[evaluator.data] = tuple(dict.fromkeys((*found.get(evaluator.data, ()), evaluator.split)))
    return found


def held(plan: DatasetPlan, datasets: Mapping[str, DatasetPlan]) -> set[str]:
    """The data sets that all train rows of a data set were held against, by its own steps or where they came from."""
    own = {
        name
        for step in plan.steps
        if isinstance(step.part, Filter) and "train" in step.part.splits
        for name in step.against
    }
    earlier = [held(datasets[name], datasets) if name in datasets else set() for name in plan.inputs]
    return own | (set.intersection(*earlier) if earlier else set())


def gate(
    stages: Sequence[Stage], datasets: Mapping[str, DatasetPlan], benchmarks: Iterable[str]
) -> Iterator[tuple[int, str]]:
    """What keeps a stage from being trained: its number and a message, for data that was not held against a benchmark."""
    asked = tuple(benchmarks)
    for number, stage in enumerate(stages):
        known = held(datasets[stage.data], datasets)
        if missing := [name for name in asked if name not in known]:
            names = ", ".join(f"'{name}'" for name in missing)
            yield (
                number,
                (
                    f"'{stage.data}' is not held against {names}, which eval: asks: add {{use: decontaminate}} to "
                    f"datasets.{stage.data}.steps, or say allow_unchecked: true under train:, which the cards will tell"
                ),
            )
