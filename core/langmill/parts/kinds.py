"""The nine kinds of part: what each is asked, and what it gives back.

A part is one class: its fields are its options in the recipe, its docstring is its help, its one method does the work.
(Filters are in langmill.parts.filters, LLMs in langmill.parts.providers. The ninth kind, a language, is a pack: langmill.parts.languages.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import Discriminator, Field, Tag

from langmill.errors import MissingInput
from langmill.parts.contexts import Context, SourceContext, StepContext
from langmill.parts.evaluation import Table
from langmill.parts.forecasts import RowAhead, StageForecast
from langmill.parts.part import Part
from langmill.parts.providers import LLM
from langmill.rows import Chat, Choice, Drop, Reject, Row, Skip, Split, Text

if TYPE_CHECKING:
    from langmill.parts.languages import Prompt

T = TypeVar("T")
R = TypeVar("R")


_Number = Annotated[int, Field(ge=0)]
_Records = Annotated[  # told apart before they are read, so that a fault is told once
    Annotated[_Number, Tag("number")] | Annotated[Mapping[Split, _Number], Tag("splits")],
    Discriminator(lambda value: "splits" if isinstance(value, Mapping) else "number"),
]


class Expect(Part):
    """What the source holds when it is whole. Shown as declared while it is absent; held against what was read once it is there."""

    rows: _Records | None = Field(
        None, description="records, of all splits together or by split, e.g. {train: 10178, test: 1273}"
    )
    usable: int | None = Field(
        None, ge=1, description="how many of the records can become rows, where that is not all; plan reckons with them"
    )
    explained: _Records | None = Field(
        None, description="records with an explanation, where that is not all or none; plan reckons with them"
    )
    tokens: int | None = Field(None, ge=0, description="tokens of what can be used, by a common tokenizer")

    @property
    def total(self) -> int | None:
        """All records, None where that is not declared."""
        return sum(self.rows.values()) if isinstance(self.rows, Mapping) else self.rows


class Gives(NamedTuple):
    """What a loader says of the set that it is for, so that a plan can reckon with rows that are not there yet: what a row's body
    is, the set's languages, and whether exam items bring explanations."""

    body: type[Text] | type[Chat] | type[Choice]
    languages: tuple[str, ...] = ()
    explained: bool = False


class Loader(Part):
    """Reads a source. ``path`` lies beside the recipe, or below the data folder as ``$data_dir/…``."""

    gives: ClassVar[Gives | None] = None
    """What the set's rows are, where no option says it (``body``, ``language``, ``languages``)."""
    path: str = Field(description="file, glob or folder, beside the recipe; $data_dir/… lies below the data folder")
    license: str = Field(min_length=1, description="SPDX id, or 'unknown', or the source's own words")
    dev: float = Field(0.0, ge=0, lt=1, description="share of families that go to dev when the source has no split")
    test: float = Field(0.0, ge=0, lt=1, description="share of families that go to test when the source has no split")
    splits: Mapping[Split, Split | None] = Field(
        default_factory=dict,
        description="take the source's split as another, e.g. {dev: test}; null: decide by dev and test",
    )
    limit: int | None = Field(None, ge=1, description="most rows kept per language and split, the first ones")
    home: str = Field("", description="where the set is to be had and how, in words; told where it is absent")
    expect: Expect | None = Field(
        None, description="declared size, for plan when the source is absent, checked when it is there"
    )

    @abstractmethod
    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        """Yield rows and rejects in the source's own order, streaming. A record that can not be used is a reject."""

    def root(self, context: Context) -> Path:
        """``path`` as far as it has no wildcard: a file, or the folder that holds the source's files."""
        steps = PurePath(self._pattern()).parts
        return context.path(self.path).parents[len(steps) - 1] if steps else context.path(self.path)

    def _pattern(self) -> str:
        """``path`` from its first step with a wildcard on; empty when it has none."""
        steps = PurePath(self.path).parts
        marked = [any(mark in step for mark in "*?[") for step in steps]
        return "/".join(steps[marked.index(True) :]) if any(marked) else ""

    def files(self, context: Context) -> list[Path]:
        """The files this source is made of, sorted: their content is the source's identity. Raises MissingInput if none."""
        path, pattern = self.root(context), self._pattern()
        if pattern:
            found = sorted(item for item in path.glob(pattern) if item.is_file())
        elif path.is_dir():
            found = sorted(item for item in path.rglob("*") if item.is_file())
        else:
            found = [path] if path.is_file() else []
        if not found:
            raise MissingInput(f"{context.place}.path: nothing at '{self.path}' ({context.path(self.path)})")
        return found


class FollowUp(NamedTuple):
    """A call that may follow an answer: to mend it, to have it judged, or to go on from it. ``share``: to how many of the answers, at
    the least and at the most; ``size``: characters of its own answer, from a terse and from a talkative model. Its prompt holds the
    first one's and the answer, unless another ``prompt`` stands for it."""

    model: str
    step: str
    size: tuple[float, float]
    share: tuple[float, float]
    prompt: Prompt | None = None


class Augmenter(Part):
    """Makes rows of rows with a model. What it returns is added to the data set."""

    bodies: ClassVar[tuple[type, ...]] = (Text, Chat, Choice)
    keep: Literal["always", "unmade", "skipped", "never"] = Field(
        "always",
        description="the parent stays beside what is made of it; stays where nothing was made of it, for whatever reason; stays only "
        "where the step was skipped; goes",
    )
    splits: tuple[Split, ...] = Field(
        ("train",), min_length=1, description="splits this step acts on; rows of other splits pass"
    )
    llm: str | None = Field(None, description="name of a model under models:; the recipe's llm: when left out")
    limit: int | None = Field(
        None, ge=1, description="most rows per language it acts on, chosen by a hash of the row's id"
    )

    def takes(self, row: Row) -> bool:
        """Whether this step acts on a row; others pass unchanged."""
        return isinstance(row.body, self.bodies) and row.split in self.splits

    @abstractmethod
    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """The rows made of one row (``row.child(...)``). A RowFault that escapes rejects this row's work alone."""

    def guarded(self) -> Mapping[str, bool]:
        """The guards over what this step makes, and whether each is on: the card names those that are off."""
        return {}

    def further_checks(self) -> tuple[str, ...]:
        """What else the card tells of how this step's work is checked, in words: who judges it, what is switched off."""
        return ()

    def models(self) -> tuple[str, ...]:
        """The names of the models that this step asks; the first one writes."""
        return (self.llm or "llm",)

    def files(self, context: Context) -> list[Path]:
        """Files besides the rows that decide what is made. Raises MissingInput for one that is not there."""
        return []

    def followed(self, row: Row, step: str, language: str, context: StepContext) -> Iterable[FollowUp]:
        """For the price before a run: the calls that an answer to a call of ``step`` in ``language`` may bring about."""
        return ()

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float] | None:
        """For the price before a run: characters of a usual answer in ``language`` about a row, from a terse and from a
        talkative model, JSON included. None when that can not be said; the plan then takes anything up to max_tokens."""
        return None

    def call_size(self, row: Row, step: str, language: str, context: StepContext) -> tuple[float, float] | None:
        """As :meth:`answer_size`, for a part whose calls of different steps have answers of different sizes."""
        return self.answer_size(row, language, context)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """For the price before a run: the rows that an answer in ``language`` of so many characters would make of a row,
        with the ids they will have and ``context.pack(language).filler(n)`` for words. Later steps are counted on them."""
        return ()


class Exporter(Part):
    """Writes a data set in one more shape."""

    @abstractmethod
    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write rows (sorted by language, then split) below ``folder``, whole or not at all; returns what was written."""

    def tables(self, folder: Path) -> Sequence[Table]:
        """For the report: small tables of what it wrote below ``folder``, rows and columns as :class:`Table` has them."""
        return ()


class Stage(Part):
    """One training stage of a recipe: what every trainer understands. A trainer may know more (``Trainer.stage``)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="the stage's name; 'base' is taken")
    data: str = Field(description="the data set it learns from (split train; dev is for the validation loss)")
    start: str = Field("base", description="'base' or an earlier stage")
    handover: Literal["continue", "merge", "new"] = Field(
        "continue", description="continue the same adapter, merge it and start a new one, or a new one on the base"
    )
    epochs: float = Field(1.0, gt=0, description="passes over the data")
    max_steps: int | None = Field(None, ge=1, description="stop after this many optimiser steps")
    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="learning-rate schedule")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps that warm up")
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        4,
        description="examples a device goes through at once; where they are packed, lines of them at most; auto: as many as its "
        "free memory holds, where the trainer can tell, and a step learns from accumulate examples",
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="a step learns from batch times accumulate examples, packed or not, on one device or several",
    )
    save_steps: int = Field(20, ge=1, description="steps between checkpoints, what a kill can cost")
    eval_rows: int = Field(64, ge=1, description="most dev rows for the validation loss")

    @property
    def width(self) -> int:
        """Examples that a step learns from, however many a device goes through at once."""
        return self.accumulate * (1 if self.batch == "auto" else self.batch)


@dataclass(frozen=True)
class TrainJob:
    """All a trainer needs, and nothing of the sources. ``start`` is what the stage it starts from has left; ``command`` runs this
    very job, for a launcher of several processes."""

    stage: Stage
    start: Path | None
    rows: Callable[[Split], Iterator[Row]]
    folder: Path
    context: Context
    report: Callable[[Mapping[str, Any]], None]
    command: tuple[str, ...] = ()


class Trainer(Part):
    """Trains one stage after another. Options are shared by all stages; ``stage`` is the class of a stage's own."""

    stage: ClassVar[type[Stage]] = Stage
    base: str = Field(description="the model to start from: local/NAME (packaged), a folder, or a hub name")
    max_tokens: int = Field(1024, ge=16, description="longest row, in tokens; longer rows are left out and counted")
    seed: int = Field(17, description="seed of order and adapter")

    @abstractmethod
    def train(self, job: TrainJob) -> Path:
        """Train a stage, resuming from its last checkpoint if there is one; returns the folder of what was trained."""

    def faults(
        self, stages: Sequence[Stage], sources: Collection[str], languages: Collection[str]
    ) -> Iterable[tuple[int, str, str]]:
        """What is wrong with stages that are each sound: the stage's number, the option (a key inside of it behind a dot), a
        message. ``sources`` (names) and ``languages`` (codes) are the recipe's."""
        return ()

    def deciding(self, stage: Stage | None, context: Context) -> Mapping[str, Any]:
        """All but rows and start that decides what a stage comes to, or (None) what the base answers once it is opened: what was
        made under the same facts is kept. As JSON has it. Raises MissingInput where a base that has to be looked at is not there."""
        return {"trainer": self.model_dump(mode="json"), "stage": stage and stage.model_dump(mode="json")}

    def missing(self, stages: Sequence[Stage], context: Context) -> Iterable[str]:
        """A line for each thing that would keep the stages from being trained on this machine, as far as that can be told in a
        moment: nothing heavy is imported, nothing is fetched."""
        return ()

    def forecast(self, stage: Stage, rows: Sequence[RowAhead], context: Context) -> StageForecast | None:
        """For the plan before a run: what a stage would take, without loading or fetching anything. None: can not be said."""
        return None

    @abstractmethod
    def open(self, adapter: Path | None, context: Context) -> LLM:
        """The base (None) or what a stage has left, as a model that can be asked and scored."""

    def exports(self) -> Mapping[str, str]:
        """What :meth:`export` can make of a stage: {kind: what that is, in words}."""
        return {}

    def export(self, kind: str, trained: Path, folder: Path, context: Context) -> str:
        """Write what a stage has left as ``kind``, one of :meth:`exports`, into an empty folder; README.md is not its to write.
        Returns, in Markdown, how to use it."""
        raise MissingInput(f"{type(self).__name__} exports nothing")


class Executor(Part):
    """Runs a function over partitions somewhere."""

    @abstractmethod
    def map(self, work: Callable[[T], R], partitions: Sequence[T], context: Context) -> Iterator[R]:
        """Results in the order of the partitions. ``work`` is a module-level function; partitions and results are plain
        data, since they cross to other processes."""
