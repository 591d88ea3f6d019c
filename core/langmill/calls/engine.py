"""Calls to models: the ledger, the budget, the limits, the retries and the schema, round any LLM part.

A call's key is the sha256 of what decides its answer: messages, the model's identity, the schema, the sample's number.
Transport (address, time-outs, concurrency) is not in it; the seed is derived from it. An answer that is in the ledger is
never asked for again. The one unavoidable window: calls in flight when the process is killed count at their worst case and
are sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from types import TracebackType
from typing import Any

from pydantic import BaseModel

from langmill.api import LLM, Answer, Context, Mark, Message, Prompt, Reply, Schema
from langmill.calls.account import Account, Report, Stopped
from langmill.calls.answers import ANY_TEXT, Shape, parsed, shape_of
from langmill.calls.batches import BatchSender
from langmill.calls.sending import Sender
from langmill.errors import LanguageNotWritten, MissingInput, ProviderDown, RowFault
from langmill.ledger.facts import MONTH_CAP
from langmill.ledger.ledger import Call, Ledger, worst_case

KEY_VERSION = 1
REASKS = {"schema": 2, "truncated": 1, "empty": 1, "refusal": 0}  # times an unusable answer is asked for again, and why


def _key(identity: str, messages: Sequence[Message], shape: str, sample: int, again: int) -> str:
    """The name of a call, for the ledger. ``again`` counts how often an answer was of no use, so that a model which repeats
    itself word for word is really asked again. ``identity`` and ``shape`` are canonical text already, the same for thousands of
    calls; the messages are written as canonical() would write them, without the encoder that it builds each time."""
    said = ",".join(f"[{encode_basestring(message.role)},{encode_basestring(message.content)}]" for message in messages)
    text = (
        f'{{{f""""again":{again},""" if again else ""}"messages":[{said}],"model":{identity},"sample":{sample},'
        f'"schema":{shape},"version":{KEY_VERSION}}}'
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Engine:
    """All models of a recipe behind one ledger. An async context manager: models start at their first call, stop at its end."""

    def __init__(
        self,
        models: Mapping[str, LLM],
        ledger: Ledger,
        *,
        run: str,
        budget: float | None,
        context: Context,
        report: Report,
    ):
        """``budget`` in US dollars, over all resumes of ``run``; None for no cap. Raises MissingInput for a cap, on the run or
        on the month (LANGMILL_MAX_COST), that is no amount."""
        caps = {} if budget is None else {"run": _amount("the cap on this run", "--max-cost 5", budget)}
        if month := os.environ.get(MONTH_CAP):
            caps["month"] = _amount(MONTH_CAP, f"{MONTH_CAP}=50", month)
        self.stopped: Stopped | None = None  # set once it was asked to stop
        self.account = Account(ledger, run, caps, context, report)
        self._models = dict(models)
        self._senders: dict[tuple[str, int], Sender] = {}
        for name in models:
            self._sender(name)

    def _sender(self, name: str, max_tokens: int | None = None) -> Sender:
        llm = self._models[name]
        most = llm.max_tokens if max_tokens is None else max_tokens
        if (name, most) not in self._senders:
            bounded = llm if most == llm.max_tokens else llm.model_copy(update={"max_tokens": most})
            self._senders[name, most] = (BatchSender if llm.batch else Sender)(self.account, bounded)
            if self.stopped:
                self._senders[name, most].limiter.close(self.stopped)
        return self._senders[name, most]

    def model(self, name: str, dataset: str = "", max_tokens: int | None = None) -> BoundModel:
        """A model of the recipe, as an augmenter sees it; the ledger notes the data set that its answers go to. With ``max_tokens`` its
        answers are as long as that at most, whatever the recipe gives it: to the ledger that is another model."""
        sender = self._sender(name, max_tokens)
        fallback = sender.llm.fallback
        return BoundModel(sender, dataset, self.model(fallback, dataset) if fallback else None)

    def drain(self) -> None:
        """Send no new call; those in flight are waited for and kept."""
        self.stopped = Stopped("stopped as asked: what was answered is kept, the same command continues")
        for sender in self._senders.values():
            sender.limiter.close(self.stopped)
        self.account.settle()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.account.close()
        ended = await asyncio.gather(*(sender.close() for sender in self._senders.values()), return_exceptions=True)
        for failed in ended:
            if isinstance(failed, BaseException) and error is None:  # it must not hide what went wrong before
                raise failed


@dataclass(frozen=True)
class BoundModel:
    """One model behind the engine: what an augmenter or an evaluator is handed (:class:`langmill.api.Model`).
    ``fallback`` answers once this one is out."""

    sender: Sender
    dataset: str = ""
    fallback: BoundModel | None = None

    @property
    def name(self) -> str:
        """PROVIDER/MODEL, as it is named in the call's key: a replay leaves the marks of the model it stands for."""
        return self.sender.name

    @property
    def languages(self) -> frozenset[str] | None:
        """What the model says it writes."""
        return self.sender.llm.languages

    async def answer(
        self, prompt: Prompt, schema: type[Schema], *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Schema]:
        """An answer that fits the schema; one that can not be used is asked for again with the reason (REASKS), then the
        row is rejected with it. ``seed`` decides nothing: the call's own seed follows from its key."""
        if self.languages is not None and language not in self.languages:
            raise LanguageNotWritten(self.name, language)
        asked = _Question(self, prompt, schema, step, language, sample)
        if self.fallback is None:
            return await asked.reply()
        # What the fallback answered for in its turn is paid for: it stays, also when this model is back.
        if (
            known := asked.known() or _Question(self.fallback, prompt, schema, step, language, sample).known()
        ) is not None:
            return known
        try:
            return await asked.reply()
        except (ProviderDown, RowFault) as fault:
            if isinstance(fault, RowFault) and fault.reason != "provider":
                raise
            if self.fallback.languages is not None and language not in self.fallback.languages:
                raise  # the row waits for this model: a skip would be for good
            if isinstance(fault, ProviderDown):
                self.sender.give_way(self.fallback.name, fault)
        return await self.fallback.answer(prompt, schema, step=step, language=language, seed=seed, sample=sample)

    async def reply(self, messages: Sequence[Message], *, step: str, language: str) -> Answer:
        """What the model says, as it says it: whoever examines a model wants its empty, cut off and odd answers, too, so nothing is
        asked again and no other model takes over. Raises RowFault: provider, bad_request."""
        key = _key(self.sender.identity, messages, ANY_TEXT.text, 0, 0)
        call = Call(key, self.sender.account.run, self.sender.name, step, language, self.dataset)
        return await self.sender.ask(call, messages, ANY_TEXT)


class _Question:
    """One question to one model: the first call, and those that ask again."""

    def __init__(
        self, model: BoundModel, prompt: Prompt, schema: type[BaseModel], step: str, language: str, sample: int
    ) -> None:
        self.model, self.prompt, self.schema, self.sample = model, prompt, schema, sample
        self.step, self.language = step, language
        self.messages: tuple[Message, ...] = prompt.messages
        self.shape: Shape = shape_of(schema)
        self.again = 0
        self.fault: RowFault | None = None

    async def reply(self) -> Reply[Any]:
        """The reply, from the ledger or from the provider."""
        while True:
            call = self._call()
            try:
                answer = await self.model.sender.ask(call, self.messages, self.shape)
            except RowFault as found:
                if self.fault and found.reason == "bad_request":  # the talk has grown beyond what the model takes
                    raise self.fault from None
                raise
            if (reply := self._read(call, answer)) is not None:
                return reply

    def known(self) -> Reply[Any] | None:
        """The reply that the ledger holds; None when there is none, or none of use."""
        while (answer := self.model.sender.known(call := self._call())) is not None:
            try:
                if (reply := self._read(call, answer)) is not None:
                    return reply
            except RowFault:
                break
        self.messages, self.again, self.fault = self.prompt.messages, 0, None
        return None

    def _call(self) -> Call:
        sender = self.model.sender
        key = _key(sender.identity, self.messages, self.shape.text, self.sample, self.again)
        return Call(key, sender.account.run, sender.name, self.step, self.language, self.model.dataset)

    def _read(self, call: Call, answer: Answer) -> Reply[Any] | None:
        """The answer as a reply; None when it is to be asked for again. Raises RowFault when it was asked for often enough."""
        try:
            value = parsed(answer, self.schema)
        except RowFault as found:
            self.fault = found
        else:
            return Reply(value, (Mark(self.step, call.model, self.prompt.hash, call.key),))
        if self.again >= REASKS[self.fault.reason]:
            raise self.fault
        self.again += 1
        again = f"That answer can not be used: {self.fault.detail}. Answer once more, with JSON that fits the schema."
        said = Message("assistant", answer.text[:2000] or "(nothing)")
        self.messages = (*self.prompt.messages, said, Message("user", again))
        return None


def _amount(name: str, example: str, said: str | float) -> int:
    """US dollars as billionths. Raises MissingInput for what is no amount."""
    try:
        amount = float(said)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise MissingInput(f"{name}: {said} is no amount in US dollars: a number, e.g. {example}")
    return worst_case(amount)
