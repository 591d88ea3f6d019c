"""The nine kinds of part: what each is asked, and what it gives back.

A part is one class: its fields are its options in the recipe, its docstring is its help, its one method does the work.
(The ninth kind, a language, is a pack: see langmill.languages.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from langmill.contexts import Context, SourceContext, StepContext
from langmill.errors import MissingInput, RecipeError
from langmill.rows import SPLITS, Chat, Choice, Drop, Flag, Message, Reject, Row, Skip, Split, Text

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
R = TypeVar("R")


class Part(BaseModel):
    """Anything a recipe names with ``use:``. Closed and frozen; what a part learns lives in private attributes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Expect(Part):
    """What the source should hold when it is whole; used when it is absent, and always marked as declared."""

    rows: int | None = Field(None, ge=0, description="rows")
    tokens: int | None = Field(None, ge=0, description="tokens, by a common tokenizer")


class Loader(Part):
    """Reads a source. ``path`` lies beside the recipe, or below the data folder as ``$data_dir/…``."""

    path: str = Field(description="file, glob or folder, beside the recipe; $data_dir/… lies below the data folder")
    license: str = Field(min_length=1, description="SPDX id, or 'unknown', or the source's own words")
    dev: float = Field(0.0, ge=0, lt=1, description="share of families that go to dev when the source has no split")
    test: float = Field(0.0, ge=0, lt=1, description="share of families that go to test when the source has no split")
    splits: Mapping[Split, Split | None] = Field(
        default_factory=dict,
        description="take the source's split as another, e.g. {dev: test}; null: decide by dev and test",
    )
    limit: int | None = Field(None, ge=1, description="most rows kept per language and split, the first ones")
    expect: Expect | None = Field(None, description="declared size, for plan when the source is absent")

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


class Filter(Part):
    """Drops or flags rows. ``scope`` row: judge() sees batches; ``scope`` dataset: sign() and decide() see the whole data set."""

    scope: ClassVar[Literal["row", "dataset"]] = "row"
    bodies: ClassVar[tuple[type, ...]] = (Text, Chat, Choice)
    splits: tuple[Split, ...] = Field(SPLITS, description="splits this step acts on; rows of other splits pass")

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row, in order: None keeps it, a flag is kept in the row and counted, a drop rejects it."""
        raise TypeError(f"{type(self).__name__} has scope '{self.scope}'")

    def sign(self, rows: Sequence[Row], context: StepContext) -> pa.RecordBatch:
        """Scope dataset: signatures of rows. Column ``id`` (string) is the row's; column ``key`` is what the core sorts by."""
        raise TypeError(f"{type(self).__name__} has scope '{self.scope}'")

    def decide(
        self,
        signatures: Iterator[pa.RecordBatch],
        fetch: Callable[[Sequence[str]], Mapping[str, Row]],
        context: StepContext,
    ) -> Iterator[tuple[str, Drop]]:
        """Scope dataset: which ids to drop, from signatures sorted by ``key`` and then by the row's position in the data
        set (column ``position``, int64, added by the core). ``fetch`` gives rows, to verify candidates."""
        raise TypeError(f"{type(self).__name__} has scope '{self.scope}'")


class Augmenter(Part):
    """Makes rows of rows with a model. What it returns is added to the data set."""

    bodies: ClassVar[tuple[type, ...]] = (Text, Chat, Choice)
    keep: Literal["always", "skipped", "never"] = Field(
        "always", description="the parent stays beside what is made of it; stays only where the step was skipped; goes"
    )
    splits: tuple[Split, ...] = Field(("train",), description="splits this step acts on; rows of other splits pass")
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

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float] | None:
        """For the price before a run: characters of a usual answer in ``language`` about a row, from a terse and from a
        talkative model, JSON included. None when that can not be said; the plan then takes anything up to max_tokens."""
        return None

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """For the price before a run: the rows that an answer in ``language`` of so many characters would make of a row,
        with the ids they will have and ``context.pack(language).filler(n)`` for words. Later steps are counted on them."""
        return ()


class CallError(Exception):
    """A provider call that failed. ``kind`` decides what the core does: it asks again after rate_limit, server and timeout
    (``retry_after`` in seconds when the provider named it), rejects the row after bad_request, stops the step after auth
    and quota."""

    Kind = Literal["rate_limit", "server", "timeout", "bad_request", "auth", "quota"]

    def __init__(self, kind: Kind, message: str, retry_after: float | None = None):
        self.kind, self.retry_after = kind, retry_after
        super().__init__(message)


class Unlisted(Exception):
    """The provider can not be asked which batches it has, so whether one arrived can not be told."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said. Tokens as the provider counted them; ``cost`` in US dollars, None when no price is known;
    ``pause`` is how many seconds the provider's rate-limit headers ask for before the next call, and is not kept."""

    text: str
    finish: Literal["stop", "length", "refusal", "other"] = "stop"
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cost: float | None = None
    request_id: str = ""
    pause: float = 0.0


class Price(NamedTuple):
    """US dollars a token. ``batch`` is the share of it that a call through the provider's batch API costs (0.5 is half),
    None where there is no batch API or its price is not known."""

    prompt: float
    answer: float
    batch: float | None = None


@dataclass(frozen=True)
class BatchItem:
    """One call of a batch. ``name`` tells it from the others of its batch."""

    name: str
    messages: Sequence[Message]
    seed: int
    schema: Mapping[str, Any] | None


@dataclass(frozen=True)
class Likelihood:
    """How likely a continuation is after a prompt: natural-log probability, and its number of tokens."""

    log_probability: float
    tokens: int


class LLM(Part):
    """A provider of answers. The ledger, the budget, the limits and the retries are the core's: a plugin only asks."""

    model: str = Field(description="PROVIDER/MODEL")
    temperature: float = Field(0.7, ge=0, le=2, description="sampling temperature")
    max_tokens: int = Field(1024, ge=1, description="longest answer, in the model's tokens")
    concurrency: int = Field(16, ge=1, description="most calls in flight at once")
    timeout: float = Field(120.0, gt=0, description="seconds until a call counts as lost")
    revision: str | None = Field(None, description="tells two models apart that share a name")
    requests_per_minute: int | None = Field(None, ge=1, description="most calls sent in a minute")
    tokens_per_minute: int | None = Field(None, ge=1, description="most tokens in a minute, answers at max_tokens")
    fallback: str | None = Field(None, description="name of a model under models: that takes over when this one is out")
    batch: bool = Field(False, description="send calls through the provider's batch API: half the price, up to a day")

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages the model writes; None when it does not say, and every language is tried."""
        return None

    @property
    def demonstration(self) -> bool:
        """True when the model is fit to show the way only: rows it writes are marked, cards open with that."""
        return False

    @property
    def place(self) -> str | None:
        """The address it is asked at, where its name does not say it. Answers of two places under one name are not mixed."""
        return None

    def identity(self) -> dict[str, object]:
        """What makes two answers comparable, for the call's key: model, revision, sampling. Transport is left out."""
        return {
            "model": self.model,
            "revision": self.revision,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    def price(self) -> Price | None:
        """What its tokens cost; None when that is not known."""
        return None

    def count(self, texts: Sequence[str]) -> list[int] | None:
        """Tokens of each text by the model's own tokenizer; None where that is not at hand."""
        return None

    async def start(self, context: Context) -> None:
        """Make ready (start a server, check the key). Raises ProviderDown or MissingInput; called once, before the first call."""

    async def stop(self) -> None:
        """Undo start()."""

    @abstractmethod
    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """One call. ``schema`` is a JSON schema the answer should fit. Raises CallError."""

    async def submit(self, items: Sequence[BatchItem], mark: str) -> str:
        """Hand in a batch under a mark that finds it again; returns the provider's name for it. Raises CallError."""
        raise RecipeError(f"{self.model} has no batch API: set batch: false")

    async def find_batch(self, mark: str) -> str | None:
        """The provider's name for the batch that was handed in under a mark; None when it never arrived. Raises CallError,
        Unlisted."""
        raise Unlisted(f"{self.model} has no batch API")

    async def collect(self, batch: str) -> Mapping[str, Answer | CallError] | str:
        """What came of a batch's items by name, those that failed or expired as errors; while it is under way, the provider's
        word for how far it is. Raises CallError: bad_request when the provider refused the batch as a whole."""
        raise RecipeError(f"{self.model} has no batch API: set batch: false")

    async def clear_batch(self, batch: str) -> None:
        """Delete what the provider keeps of a batch that was collected, as far as it can."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Log-probabilities of (prompt, continuation) pairs: a capability that local weights have."""
        raise RecipeError(
            f"{self.model} gives no log-probabilities, which this evaluator needs: use a local model or a trained stage"
        )


class Exporter(Part):
    """Writes a data set in one more shape."""

    @abstractmethod
    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write rows (sorted by language, then split) below ``folder``, whole or not at all; returns what was written."""


class Stage(Part):
    """One training stage of a recipe."""

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
    batch: int = Field(4, ge=1, description="rows a device and step")
    accumulate: int = Field(1, ge=1, description="batches to an optimiser step")
    save_steps: int = Field(20, ge=1, description="steps between checkpoints, what a kill can cost")
    eval_rows: int = Field(64, ge=1, description="most dev rows for the validation loss")


@dataclass(frozen=True)
class TrainJob:
    """All a trainer needs, and nothing of the sources. ``start`` is the adapter folder of the stage it starts from."""

    stage: Stage
    start: Path | None
    rows: Callable[[Split], Iterator[Row]]
    folder: Path
    context: Context
    report: Callable[[Mapping[str, Any]], None]


class Trainer(Part):
    """Trains one stage after another. Options are shared by all stages."""

    base: str = Field(description="the model to start from: local/NAME (packaged), a folder, or a hub name")
    max_tokens: int = Field(1024, ge=16, description="longest row, in tokens; longer rows are left out and counted")
    seed: int = Field(17, description="seed of order and adapter")

    @abstractmethod
    def train(self, job: TrainJob) -> Path:
        """Train a stage, resuming from its last checkpoint if there is one; returns the adapter's folder."""

    @abstractmethod
    def open(self, adapter: Path | None, context: Context) -> LLM:
        """The base (None) or a trained adapter, as a model that can be asked and scored."""


@dataclass(frozen=True)
class Score:
    """One figure. ``interval`` is the 95% Wilson interval; ``chance`` what guessing would get; ``prompt`` a hash."""

    language: str
    metric: str
    n: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    chance: float
    unreadable: int = 0
    prompt: str = ""


@dataclass(frozen=True)
class Scores:
    """An evaluation: figures, and what was chosen for each row so that two models can be compared row by row."""

    scores: tuple[Score, ...]
    items: tuple[Mapping[str, Any], ...] = ()


class Evaluator(Part):
    """Scores models on rows of a data set."""

    data: str = Field(description="the data set whose rows are asked")
    models: tuple[str, ...] = Field(min_length=1, description="'base', stages, or names under models:")
    split: Split = Field("test", description="the split that is asked")
    limit: int | None = Field(None, ge=1, description="most rows per language, chosen by a hash of the row's id")

    @abstractmethod
    def evaluate(self, rows: Sequence[Row], model: LLM, context: Context) -> Scores:
        """Figures by language and over all."""


class Executor(Part):
    """Runs a function over partitions somewhere."""

    @abstractmethod
    def map(self, work: Callable[[T], R], partitions: Sequence[T], context: Context) -> Iterator[R]:
        """Results in the order of the partitions. ``work`` is a module-level function; partitions and results are plain
        data, since they cross to other processes."""
