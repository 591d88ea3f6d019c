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
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ValidationError

from langmill.api import LLM, Answer, CallError, Context, Mark, Message, Prompt, Reply, Schema
from langmill.errors import BudgetReached, FactoryError, LanguageNotWritten, MissingInput, ProviderDown, RowFault
from langmill.ledger import NANO, Call, Claimed, Found, Held, Ledger, NoRoom, worst_case
from langmill.limits import Limiter

KEY_VERSION = 1
REASKS = {"schema": 2, "truncated": 1, "empty": 1, "refusal": 0}  # times an unusable answer is asked for again, and why
TRIES = 5  # times a call is sent that meets a broken server
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries, doubling
PATIENCE = 6  # time-outs that a call may wait in all, rate limits included
HELD_PAUSE = 0.2  # seconds between two looks at a call that another process has under way
MONTH_CAP = "LANGMILL_MAX_COST"
Report = Callable[[Mapping[str, Any]], None]


class Stopped(FactoryError):
    """The run was asked to stop: no new call is sent."""


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
        self.ledger, self.run, self.context, self.report = ledger, run, context, report
        self.answered = self.cached = 0
        self.stopped: Stopped | None = None  # set once it was asked to stop
        self.caps = {} if budget is None else {"run": worst_case(budget)}
        if month := os.environ.get(MONTH_CAP):
            self.caps["month"] = worst_case(_amount(month))
        self.out = self.settled = 0  # attempts under way that hold money back, and those that no longer do
        self.change = asyncio.Event()  # set, and made anew, whenever one settles
        self._closed = False
        self._senders = {name: Sender(self, llm) for name, llm in models.items()}

    def model(self, name: str, dataset: str = "") -> BoundModel:
        """A model of the recipe, as an augmenter sees it; the ledger notes the data set that its answers go to."""
        return BoundModel(self._senders[name], dataset)

    def drain(self) -> None:
        """Send no new call; those in flight are waited for and kept."""
        self.stopped = Stopped("stopped as asked: what was answered is kept, the same command continues")
        for sender in self._senders.values():
            sender.limiter.close(self.stopped)
        self.settle()

    def settle(self) -> None:
        """Tell those who wait for money that some may have come back."""
        self.change.set()
        self.change = asyncio.Event()

    def tell(self) -> None:
        """Report the counts; nothing once the engine is closed."""
        if self._closed:
            return
        in_flight = sum(sender.limiter.in_flight for sender in self._senders.values())
        spent = self.ledger.spent(self.run)
        counts = {"in_flight": in_flight, "answered": self.answered, "cached": self.cached, "spent": spent}
        self.report({"event": "calls", **counts})

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
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
        shape = _shape(schema)
        messages, asked, fault = prompt.messages, 0, None
        while True:
            key = call_key(self.sender.llm, messages, shape, sample, asked)
            call = Call(key, self.sender.engine.run, self.name, step, language, self.dataset)
            try:
                answer = await self.sender.ask(call, messages, shape)
            except RowFault as found:
                if fault and found.reason == "bad_request":  # the talk has grown beyond what the model takes
                    raise fault from None
                raise
            try:
                return Reply(_parsed(answer, schema), Mark(step, self.name, prompt.hash, key))
            except RowFault as found:
                fault = found
            if asked >= REASKS[fault.reason]:
                raise fault
            asked += 1
            again = f"That answer can not be used: {fault.detail}. Answer once more, with JSON that fits the schema."
            said = Message("assistant", answer.text[:2000] or "(nothing)")
            messages = (*prompt.messages, said, Message("user", again))


class Sender:
    """The calls of one model: from the ledger, from the same call under way, or from the provider."""

    def __init__(self, engine: Engine, llm: LLM):
        self.engine, self.llm, self.limiter = engine, llm, Limiter(llm.concurrency)
        self.started = False
        self._price: tuple[float, float] | None = None
        self._starting = asyncio.Lock()
        self._under_way: dict[str, asyncio.Future[Answer]] = {}

    async def ask(self, call: Call, messages: Sequence[Message], schema: Mapping[str, Any]) -> Answer:
        """The answer of a call. Raises RowFault, or what ends the run: BudgetReached, ProviderDown, MissingInput, Stopped."""
        if found := self.engine.ledger.find(call.key):
            answer = self._cached(call, found)
            self.engine.tell()
            return answer
        if call.key in self._under_way:
            answer = await asyncio.shield(self._under_way[call.key])
            self.engine.ledger.use(call)
            return answer
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._under_way[call.key] = future
        try:
            await self._start()
            answer = await self._send(call, messages, schema)
            future.set_result(answer)
            return answer
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else Stopped("the run was stopped"))
            future.exception()  # seen: nobody else may be waiting
            raise
        finally:
            del self._under_way[call.key]
            self.engine.tell()

    def _cached(self, call: Call, found: Found) -> Answer:
        self.engine.cached += 1
        self.engine.ledger.use(call)
        return Answer(**found.answer)

    async def _send(self, call: Call, messages: Sequence[Message], schema: Mapping[str, Any]) -> Answer:
        """Send until there is an answer, or a reason to give up."""
        engine, reserve = self.engine, self._reserve(messages, schema)
        patience = PATIENCE * self.llm.timeout
        troubled = 0.0  # seconds of attempts and pauses; waiting for a turn is no trouble
        tries = refusals = 0
        while True:
            pause, trouble = HELD_PAUSE, "another process has had this call under way all the time"
            async with self.limiter.slot() as cuts:
                began, settled, change = time.monotonic(), engine.settled, engine.change
                outcome = await engine.ledger.claim(call, reserve, engine.caps)
                if isinstance(outcome, Claimed):
                    try:
                        return await self._attempt(outcome.attempt, call, messages, schema, reserve, cuts)
                    except ProviderDown as error:
                        self.limiter.close(error)
                        raise
                    except CallError as error:
                        if error.kind in ("auth", "quota"):  # for good: who waits fails at once
                            down = ProviderDown(f"{self.llm.model}: {error}. Mend that, then run the same again")
                            self.limiter.close(down)
                            raise down from None
                        if error.kind == "bad_request":
                            raise RowFault("bad_request", str(error)) from None
                        refused = error.kind == "rate_limit"
                        if refused and (error.retry_after or 0.0) > patience:  # the day's share is used up
                            down = ProviderDown(
                                f"{self.llm.model}: it takes no call for the next {error.retry_after:.0f} s: {error}. "
                                "What is done is kept; run the same again then"
                            )
                            self.limiter.close(down)
                            raise down from None
                        refusals, tries = refusals + refused, tries + (not refused)
                        pause = error.retry_after or FIRST_PAUSE * 2 ** (min(refusals if refused else tries, 9) - 1)
                        pause = pause if error.retry_after else min(LONGEST_PAUSE, pause)
                        trouble = f"{error.kind}: {error}"
                troubled += time.monotonic() - began
            match outcome:
                case Found():
                    return self._cached(call, outcome)
                case NoRoom(scope, left):
                    if engine.settled == settled and not engine.out:
                        cap = "this run" if scope.startswith("run/") else f"the month ({MONTH_CAP}, {scope[6:]})"
                        raise BudgetReached(
                            f"the cap of {cap} is met: ${max(0.0, left):.4f} is left, and the next call of {self.llm.model} "
                            f"may cost ${reserve / 1e9:.4f}. What is done is kept; raise the cap and run again to continue"
                        )
                    if engine.settled == settled:
                        await change.wait()
                    continue
                case Held() | Claimed():
                    pass
            pause *= random.uniform(1.0, 1.3)
            troubled += pause
            if tries >= TRIES or troubled > patience:
                raise RowFault("provider", trouble)
            await self.limiter.sleep(pause)

    async def _attempt(
        self, attempt: int, call: Call, messages: Sequence[Message], schema: Mapping[str, Any], reserve: int, cuts: int
    ) -> Answer:
        """One request, and its end in the ledger, whatever that is."""
        engine, began = self.engine, time.monotonic()
        engine.out += bool(reserve)

        def failed(kind: str, *, paid: bool) -> None:
            engine.ledger.failed(attempt, kind, paid=paid, latency=time.monotonic() - began)

        try:
            try:
                async with asyncio.timeout(self.llm.timeout):
                    answer = await self.llm.answer(messages, seed=int(call.key[:8], 16) & 0x7FFFFFFF, schema=schema)
            except TimeoutError:
                raise CallError("timeout", f"no answer within {self.llm.timeout:g} s") from None
            answer = replace(
                answer, text=answer.text.encode("utf-8", "replace").decode()
            )  # half characters can not be kept
            nano = self._cost(answer, reserve)
            answer = replace(answer, cost=None if nano is None else nano / NANO)
        except CallError as error:
            failed(error.kind, paid=error.kind == "timeout")  # a call that was lost on the way may still be billed
            if error.kind == "rate_limit":
                self.limiter.refused(cuts, error.retry_after)
            raise
        except BaseException as error:
            failed(type(error).__name__, paid=isinstance(error, asyncio.CancelledError))
            raise
        else:
            await engine.ledger.answered(attempt, call, asdict(answer), nano, time.monotonic() - began)
        finally:
            engine.out -= bool(reserve)
            engine.settled += 1
            engine.settle()
        self.limiter.succeeded(cuts)
        engine.answered += 1
        return answer

    def _cost(self, answer: Answer, reserve: int) -> int | None:
        """What an answer cost, in billionths of a dollar; the worst case where the provider did not count its tokens."""
        if answer.cost is not None:
            return worst_case(answer.cost)
        if not self._price:
            return None
        if answer.prompt_tokens <= 0 or answer.answer_tokens < bool(answer.text):
            return reserve
        return worst_case(answer.prompt_tokens * self._price[0] + answer.answer_tokens * self._price[1])

    def _reserve(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> int:
        """The call's worst case in billionths of a dollar: a token for each byte sent, and the longest answer."""
        if not self._price:
            return 0
        sent = sum(len(message.content.encode("utf-8", "replace")) + 16 for message in messages)
        sent += (
            2 * len(json.dumps(schema, ensure_ascii=False).encode()) + 256
        )  # the provider wraps it in words of its own
        return worst_case(sent * self._price[0] + self.llm.max_tokens * self._price[1])

    async def _start(self) -> None:
        """Make the model ready, once; when that fails, every other call fails with the same words."""
        async with self._starting:
            if self.started:
                return
            try:
                await self._check_place()
                self.started = True  # what was begun is stopped
                await self.llm.start(self.engine.context)
                self._price = self.llm.price()
                if self._price is None and self.engine.caps:
                    raise MissingInput(
                        f"no price is known for {self.llm.model}, so a budget can not hold it: give prices: {{input: …, "
                        "output: …}} in llm: (US dollars per million tokens), or take the budget away"
                    )
            except Exception as error:
                self.limiter.close(error)
                raise

    async def _check_place(self) -> None:
        place, llm = getattr(self.llm, "api_base", None), self.llm
        if place and not llm.revision and (first := self.engine.ledger.place(llm.model, place)) != place:
            raise MissingInput(
                f"the model {llm.model} was first seen at {first} and is now at {place}: answers of two models under one "
                "name would be mixed. Tell them apart (or, if they are the same, say so from now on) with revision: in llm:"
            )


@lru_cache(maxsize=256)
def _shape(schema: type[BaseModel]) -> dict[str, Any]:
    return schema.model_json_schema()


def _parsed(answer: Answer, schema: type[Schema]) -> Schema:
    """The answer as the schema has it. Raises RowFault with the reason that is counted."""
    if answer.finish == "refusal":
        raise RowFault("refusal", "the model declined to answer")
    if answer.finish == "length":
        raise RowFault("truncated", "it was cut off at the longest length allowed; make it shorter")
    text = answer.text.strip()
    if not text:
        raise RowFault("empty", "it was empty")
    if not text.startswith("{") and (fenced := re.search(r"```(?:json)?\s*\n(.*?)```", text, re.DOTALL)):
        text = fenced[1]
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        faults = []
        for item in error.errors(include_input=False)[:3]:
            ours = item["type"] != "extra_forbidden"  # a key too many is the answer's own word
            place = item["loc"] if ours else item["loc"][:-1]
            faults.append(f"{'.'.join(map(str, place)) or 'answer'}: {item['msg']}")
        raise RowFault("schema", "; ".join(faults)) from None


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise MissingInput(f"{MONTH_CAP}={text} is no amount in US dollars: a number, e.g. {MONTH_CAP}=50")
    return amount
