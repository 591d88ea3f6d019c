"""Evaluation: what is asked of a model, what came back, and what an evaluator makes of it.

An evaluator says what to ask (:meth:`Evaluator.questions`) and what the answers are worth (:meth:`Evaluator.mark`). In between the
core has the model answer, and keeps every answer: a changed way of reading answers asks nobody again. From the items that
``mark`` returns the core computes shares, intervals and comparisons, alike for every evaluator.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, Field

from langmill.errors import MissingInput
from langmill.parts.contexts import Context, Model
from langmill.parts.languages import Prompt
from langmill.parts.part import Part
from langmill.parts.providers import Answer, Likelihood, Question
from langmill.rows import Row, Split

ALL = "all"
"""In a score's language: the mean over languages, each weighing the same."""


@dataclass(frozen=True)
class Answered:
    """A question and what a model said to it: ``answer`` to one without continuations, else ``likelihoods``, one each."""

    question: Question
    answer: Answer | None = None
    likelihoods: tuple[Likelihood, ...] = ()

    @property
    def text(self) -> str:
        """What the model wrote; empty where it wrote nothing."""
        return self.answer.text if self.answer else ""


@dataclass(frozen=True)
class Metric:
    """What a figure is. ``kind``: a ``share`` of rows that are right (items of 0..1, an interval after Wilson or, where items lie
    between, by the bootstrap), a ``mean`` of items, or ``exp``, the exponential of their mean (perplexity). ``about`` is for
    people, in a few words."""

    kind: Literal["share", "mean", "exp"]
    about: str
    better: Literal["higher", "lower"] = "higher"


@dataclass(frozen=True)
class Item:
    """One row by one metric. ``value`` is 0..1 for shares; ``weight`` is its weight in the mean of its language; ``readable`` is
    False where no answer could be read out of what the model said; ``chance`` is what guessing would get. ``facts`` are plain data
    for whoever wants to know why (what was chosen, what was right, in which order)."""

    row: str
    language: str
    metric: str
    value: float
    chance: float | None = None
    readable: bool = True
    weight: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """One figure. ``correct`` (the sum of the items) and ``chance`` are there for shares alone; ``interval`` holds 95%; ``prompt`` is
    a hash of the words of the questions."""

    language: str
    metric: str
    n: int
    value: float
    interval: tuple[float, float]
    correct: float | None = None
    chance: float | None = None
    unreadable: int = 0
    prompt: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it. A share is called ``accuracy``, with ``correct`` and ``chance`` beside it; anything else ``value``."""
        facts: dict[str, Any] = asdict(self)
        value, correct, chance = facts.pop("value"), facts.pop("correct"), facts.pop("chance")
        head = {"language": facts.pop("language"), "metric": facts.pop("metric"), "n": facts.pop("n")}
        if correct is None:
            return {**head, "value": value, **facts}
        whole = int(correct) if correct == int(correct) else correct
        return {**head, "correct": whole, "accuracy": value, **facts, "chance": chance}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Score:
        """What :meth:`plain` wrote."""
        rest = {name: value for name, value in facts.items() if name not in ("accuracy", "value", "interval")}
        low, high = facts["interval"]
        return cls(value=facts["accuracy"] if "accuracy" in facts else facts["value"], interval=(low, high), **rest)


@dataclass(frozen=True)
class Table:
    """Counts in two directions, for the report: ``cells`` has a row for each of ``rows``, a column for each of ``columns``.
    ``note`` says in a sentence what to see in it. ``places``: the rows are what was asked for and the columns what the model took of
    the same; a column that is no row counts answers without one. Where nearly all are in one column, reports say so."""

    name: str
    language: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[float, ...], ...]
    note: str = ""
    places: bool = False


@dataclass(frozen=True)
class Marked:
    """What an evaluator made of the answers: items, a hash of the words of the questions by language (by ``LANGUAGE METRIC`` for a
    metric whose questions have others), figures that are no mean of items, tables, and facts that pin down how answers were read."""

    items: tuple[Item, ...]
    prompts: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    tables: tuple[Table, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvalContext(Context):
    """What an evaluator is handed. ``rows(dataset, split)`` streams a data set; ``models(name)`` is another of the recipe's models,
    behind the ledger and without its fallback; ``answered(name)`` is what a model that was examined before this one said to the same
    questions. While answers are marked ``model`` is the recipe's name of the one that gave them, ``provider`` its PROVIDER/MODEL
    (empty for what train: makes), and ``tell(done, of)`` may be told how far a judge is."""

    rows: Callable[[str, Split | None], Iterator[Row]] = field(default=lambda dataset, split: iter(()))
    models: Callable[[str], Model] | None = None
    answered: Callable[[str], Sequence[Answered]] | None = None
    model: str = ""
    provider: str = ""
    tell: Callable[[int, int], None] = field(default=lambda done, of: None)


class JudgeCall(NamedTuple):
    """A call to a judge, as it would be made: the judge's name, the step, the prompt, the answer's schema, and characters of its own
    answer, from a terse and from a talkative judge."""

    judge: str
    step: str
    prompt: Prompt
    schema: type[BaseModel]
    size: tuple[float, float]


class Evaluator(Part):
    """Examines models on rows of a data set."""

    metrics: ClassVar[Mapping[str, Metric]] = {}
    name: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9_]*$", description="what the scores are called; DATA.EVALUATOR when left out"
    )
    data: str = Field(description="the data set whose rows are asked")
    models: tuple[str, ...] = Field(min_length=1, description="'base', stages, or names under models:")
    split: Split = Field("test", description="the split that is asked")
    limit: int | None = Field(None, ge=1, description="most rows per language, chosen by a hash of the row's id")

    def called(self, use: str) -> str:
        """What its scores are called, and the file they are in; ``use`` is the part's name."""
        return self.name or f"{self.data}.{use}"

    def scored(self) -> bool:
        """Whether it asks for log-probabilities, which weights on this machine alone can give."""
        return False

    def reads(self) -> tuple[str, ...]:
        """Data sets beside ``data`` whose rows it reads: what it asks changes with them."""
        return ()

    def judges(self) -> tuple[str, ...]:
        """Names under models: (or 'llm') that it asks itself, to judge answers."""
        return ()

    def compared(self) -> tuple[str, ...]:
        """Models, of those it names, whose answers it reads beside those that it marks: ``EvalContext.answered``."""
        return ()

    def judge_calls(
        self, row: Row, question: Question, model: str, said: Mapping[str, str], context: EvalContext
    ) -> Iterable[JudgeCall]:
        """For the price before a run: what judges are asked about a model's answer to a question. ``said`` has its words, and those
        of the models in :meth:`compared`, by name."""
        return ()

    @abstractmethod
    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        """What to ask about the rows, each question with a name of its own; the same for every model. Raises MissingInput where
        there is nothing to ask."""

    @abstractmethod
    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        """What the answers are worth; ``answered`` has the questions in their order."""

    def exports(self) -> Mapping[str, str]:
        """What :meth:`export` can write for other programs: {kind: what that is, in words}."""
        return {}

    def export(
        self, kind: str, rows: Sequence[Row], answered: Sequence[Answered], folder: Path, context: EvalContext
    ) -> str:
        """Write the questions (``answered`` is empty) or a model's answers as ``kind`` into an empty folder. Returns, in Markdown,
        how to use it."""
        raise MissingInput(f"{type(self).__name__} exports nothing")
