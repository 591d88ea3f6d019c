"""Calls to models: the ledger, the budget, the limits, the retries and the schema, round any LLM part.

A call's key is the sha256 of what decides its answer: messages, the model's identity, the schema, the sample's number.
Transport (address, time-outs, concurrency) is not in it; the seed is derived from it. An answer that is in the ledger is
never asked for again. The one unavoidable window: calls in flight when the process is killed count at their worst case and
are sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from langmill.answers import parsed, shape_of
from langmill.api import LLM, Context, Mark, Message, Prompt, Reply, Schema
from langmill.errors import LanguageNotWritten, MissingInput, RowFault
from langmill.ledger import Call, Ledger, worst_case
from langmill.sending import MONTH_CAP, Account, Report, Sender, Stopped

KEY_VERSION = 1
REASKS = {"schema": 2, "truncated": 1, "empty": 1, "refusal": 0}  # times an unusable answer is asked for again, and why


def call_key(
    llm: LLM, messages: Sequence[Message], schema: Mapping[str, Any] | None, sample: int, again: int = 0
) -> str:
    """The name of a call, for the ledger. ``again`` counts how often an answer was of no use, so that a model which repeats
    itself word for word is really asked again."""
    facts = {
        "version": KEY_VERSION,
        "messages": [list(message) for message in messages],
        "model": llm.identity(),
        "schema": schema,
        "sample": sample,
        **({"again": again} if again else {}),
    }
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
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
        """``budget`` in US dollars, over all resumes of ``run``; None for no cap. Raises MissingInput for a cap on the month
        (LANGMILL_MAX_COST) that is no amount."""
        caps = {} if budget is None else {"run": worst_case(budget)}
        if month := os.environ.get(MONTH_CAP):
            caps["month"] = worst_case(_amount(month))
        self.stopped: Stopped | None = None  # set once it was asked to stop
        self.account = Account(ledger, run, caps, context, report)
        self._senders = {name: Sender(self.account, llm) for name, llm in models.items()}

    def model(self, name: str, dataset: str = "") -> BoundModel:
        """A model of the recipe, as an augmenter sees it; the ledger notes the data set that its answers go to."""
        return BoundModel(self._senders[name], dataset)

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
        self.account.closed = True
        await asyncio.gather(*(sender.llm.stop() for sender in self._senders.values() if sender.started))


@dataclass(frozen=True)
class BoundModel:
    """One model behind the engine: what an augmenter is handed (:class:`langmill.api.Model`)."""

    sender: Sender
    dataset: str = ""

    @property
    def name(self) -> str:
        """PROVIDER/MODEL, as it is named in the call's key: a replay leaves the marks of the model it stands for."""
        return str(self.sender.llm.identity()["model"])

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
        shape = shape_of(schema)
        messages, asked, fault = prompt.messages, 0, None
        while True:
            key = call_key(self.sender.llm, messages, shape, sample, asked)
            call = Call(key, self.sender.account.run, self.name, step, language, self.dataset)
            try:
                answer = await self.sender.ask(call, messages, shape)
            except RowFault as found:
                if fault and found.reason == "bad_request":  # the talk has grown beyond what the model takes
                    raise fault from None
                raise
            try:
                return Reply(parsed(answer, schema), Mark(step, self.name, prompt.hash, key))
            except RowFault as found:
                fault = found
            if asked >= REASKS[fault.reason]:
                raise fault
            asked += 1
            again = f"That answer can not be used: {fault.detail}. Answer once more, with JSON that fits the schema."
            said = Message("assistant", answer.text[:2000] or "(nothing)")
            messages = (*prompt.messages, said, Message("user", again))


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise MissingInput(f"{MONTH_CAP}={text} is no amount in US dollars: a number, e.g. {MONTH_CAP}=50")
    return amount
