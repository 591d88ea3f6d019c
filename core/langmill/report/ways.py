"""The ways of a recipe side by side: chains of stages from one base, what each took, and what it scored at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from langmill.api import Score
from langmill.disk.store import RunFolder
from langmill.parts.evaluation import ALL
from langmill.parts.kinds import Stage
from langmill.parts.training import result
from langmill.recipe.assembly import Assembly
from langmill.report.scores import Evaluation, Figures
from langmill.scores.paired import Comparison

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Cell:
    """A score over all languages, and the paired test against the base, where both were asked."""

    figures: Figures
    score: Score
    against: Comparison | None

    def words(self) -> str:
        """For example: "37.1% (22.0 to 53.5)"."""
        return (
            f"{self.figures.shown(self.score.value)}{self.figures.unit} ({self.figures.interval(self.score.interval)})"
        )


@dataclass(frozen=True)
class Way:
    """The base alone (no stages), or a chain of stages by its last one's name. ``rows``: learnt from, once for each stage that did;
    ``examples``: how often one was learnt from; ``tokens``: read over all steps, padding not counted; ``learnt``: those of them that
    carried loss; ``steps``; ``seconds`` of the steps. None where a stage is not trained yet, or did not tell."""

    name: str
    stages: tuple[str, ...]
    scores: tuple[Cell | None, ...]
    rows: int | None = None
    examples: int | None = None
    tokens: int | None = None
    learnt: int | None = None
    steps: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Ways:
    """``heads``: (evaluation, its metric) of each column of scores."""

    heads: tuple[tuple[str, Figures], ...]
    rows: tuple[Way, ...]

    def lines(self) -> Iterator[str]:
        """For a terminal: a line for what each way took, and one for each of its scores."""
        for way in self.rows:
            took = [
                f"{value:,.0f} {words}"
                for value, words in (
                    (way.rows, "rows"), (way.examples, "examples"), (way.tokens, "tokens"), (way.learnt, "of them learnt"),
                    (way.steps, "steps"), (way.seconds, "s"),
                )
                if value is not None
            ]  # fmt: skip
            yield f"  {' → '.join(way.stages) or way.name}" + (f": {', '.join(took)}" if took and way.stages else "")
            for (evaluation, figures), cell in zip(self.heads, way.scores, strict=True):
                if cell is not None:
                    apart = f"; on the base: {figures.verdict(cell.against)}" if cell.against else ""
                    yield f"    {evaluation} {figures.name}: {cell.words()}{apart}"


def ways(assembly: Assembly, store: RunFolder, found: Sequence[Evaluation]) -> Ways | None:
    """The base and each chain of stages. None where there are fewer than two chains: then there is nothing to hold side by side."""
    ends = [stage for stage in assembly.stages if not any(one.start == stage.name for one in assembly.stages)]
    if len(ends) < 2:
        return None
    heads = tuple((one.name, figures) for one in found for figures in one.figures)
    rows = [Way("base", (), _cells(heads, "base"))]
    for end in ends:
        chain = _chain(assembly, end)
        told = [result(store, stage.name) for stage in chain]
        draws = [sum(n for by in one.draws.values() for n in by.values()) or None for one in told]
        learnt = [sum(one.trained_tokens.values()) or None for one in told]
        rows.append(
            Way(
                end.name,
                tuple(stage.name for stage in chain),
                _cells(heads, end.name),
                rows=_sum([one.rows for one in told]),
                examples=_sum(draws),
                tokens=_sum([one.tokens for one in told]),
                learnt=_sum(learnt),
                steps=_sum([one.steps for one in told]),
                seconds=_sum([one.seconds for one in told]),
            )
        )
    return Ways(heads, tuple(rows))


def _chain(assembly: Assembly, end: Stage) -> list[Stage]:
    by_name = {stage.name: stage for stage in assembly.stages}
    chain = [end]
    while chain[0].start != "base":
        chain.insert(0, by_name[chain[0].start])
    return chain


def _sum(values: Sequence[Number | None]) -> Number | None:
    """None where one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _cells(heads: Sequence[tuple[str, Figures]], model: str) -> tuple[Cell | None, ...]:
    return tuple(_cell(figures, model) for _, figures in heads)


def _cell(figures: Figures, model: str) -> Cell | None:
    """Over all languages, or in the only one."""
    language = ALL if ALL in figures.languages else figures.languages[-1]
    score = figures.scores.get((language, model))
    if score is None:
        return None
    against = [pair.by_language.get(language) for pair in figures.pairs if (pair.first, pair.second) == ("base", model)]
    return Cell(figures, score, next(iter(against), None))
