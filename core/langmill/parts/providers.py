"""Providers of answers: the part that asks a model, what it gives back, and how it fails."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import Field

from langmill.errors import RecipeError
from langmill.parts.contexts import Context
from langmill.parts.part import Part
from langmill.rows import Message


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


@dataclass(frozen=True)
class Question:
    """What an evaluator asks about a row. ``name`` tells it from all others of its evaluation. With ``continuations`` the model says
    how likely each of them is as the beginning of its answer; without it answers, in ``max_tokens`` of its own tokens at most (its own
    bound where that is None; a provider is given the highest bound of an evaluation). Without messages the one continuation is a text
    by itself, from its beginning. ``facts`` are the evaluator's own, for when it reads the answer; they are not asked.
    """

    name: str
    row: str
    language: str
    messages: tuple[Message, ...]
    continuations: tuple[str, ...] = ()
    max_tokens: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


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
    terms: str | None = Field(None, min_length=1, description="what its terms say about using its answers, in words")
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

    def deciding(self, context: Context) -> Mapping[str, Any]:
        """All that decides what it says, as JSON has it: what was said under the same facts is kept. Of files the content counts.
        Raises MissingInput where one is not there."""
        return self.identity()

    def missing(self, context: Context) -> Iterable[str]:
        """A line for each thing that would keep it from answering, as far as that can be told in a moment: a key that is not set, a
        package or a file that is not there. Nothing heavy is imported, nothing is fetched, nobody is asked."""
        return ()

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

    @property
    def here(self) -> bool:
        """Whether the model is weights in this process: it costs nothing to ask, gives log-probabilities, and is examined in a
        process of its own, through :meth:`score` and :meth:`reply`."""
        return False

    def score(self, questions: Sequence[Question]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """How likely each continuation of each question is: (number of the question, one for each continuation), in any order, as
        soon as they are known. A capability of models that are ``here``."""
        raise RecipeError(
            f"{self.model} gives no log-probabilities, which this evaluator needs: use a local model or a trained stage"
        )

    def reply(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """The likeliest answer to each question: (number of the question, answer), in any order, as soon as they are known. A
        capability of models that are ``here``; others are asked through :meth:`answer`."""
        raise RecipeError(f"{self.model} is no model of this process")
