"""One data set of a recipe as it will be made, what its rows are held against, and the trainer's gate: data that was not held
against what the recipe scores models on is not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from langmill.parts.contexts import EVAL, held_against
from langmill.parts.evaluation import Evaluator
from langmill.parts.filters import Filter
from langmill.parts.kinds import Augmenter, Exporter, Stage
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
    """The data sets that all train rows of a data set were held against, by its own steps or where they came from; what a
    model writes afterwards was held against nothing."""
    earlier = [held(datasets[name], datasets) if name in datasets else set() for name in plan.inputs]
    known = set.intersection(*earlier) if earlier else set()
    for step in plan.steps:
        if isinstance(step.part, Augmenter):
            known = set()
        elif "train" in step.part.splits:
            known |= set(step.against)
    return known


def against_faults(part: Filter | Augmenter, made: Sequence[str], asked: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What is wrong with what a step is held against. ``made`` are the data sets that are there by then, the step's own last;
    ``asked`` are those that evaluators ask, with the split."""
    said: str | Sequence[str] | None = getattr(part, "against", None)
    if said is not None and not said:
        yield "against: names no data set: leave it out, or name some"
    if said is not None and EVAL in ((said,) if isinstance(said, str) else said):
        if not asked:
            yield "there is no eval: that asks a data set, so nothing to hold rows against: name data sets in against:"
        for later in dict.fromkeys(data for data, _ in asked if data not in made):
            yield f"eval: asks '{later}', which is made after this: move it above datasets.{made[-1]}"
    tested = {"test", "dev", *(split for data, split in asked if data == made[-1])}
    if made[-1] in held_against(said, [data for data, _ in asked]) and (lost := sorted(tested & set(part.splits))):
        yield (
            f"this would drop the {' and '.join(lost)} rows of '{made[-1]}', which are what it holds rows against: "
            "say splits: [train], and score on another split than train"
        )


def gate(
    stages: Sequence[Stage], datasets: Mapping[str, DatasetPlan], benchmarks: Iterable[str]
) -> Iterator[tuple[int, str]]:
    """What keeps a stage from being trained: its number and a message, for data that was not held against a benchmark."""
    asked = tuple(benchmarks)
    for number, stage in enumerate(stages):
        known = held(datasets[stage.data], datasets)
        if missing := [name for name in asked if name not in known]:
            names = ", ".join(f"'{name}'" for name in missing)
            message = (
                f"'{stage.data}' is not held against {names}, which eval: asks: add {{use: decontaminate}} to "
                f"datasets.{stage.data}.steps, after the last step that asks a model, or say allow_unchecked: true under "
                "train:, which the cards will tell"
            )
            yield number, message
