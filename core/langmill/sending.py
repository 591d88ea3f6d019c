"""One model's calls on their way: from the ledger, from the same call under way, or from the provider, sent until there is an
answer or a reason to give up.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from langmill.api import LLM, Answer, CallError, Context, Message, Price
from langmill.errors import BudgetReached, FactoryError, MissingInput, ProviderDown, RowFault
from langmill.ledger import NANO, Call, Claimed, Found, Held, Ledger, NoRoom, worst_case
from langmill.limits import Limiter

TRIES = 5  # times a call is sent that meets a broken server
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries, doubling
PATIENCE = 6  # time-outs that a call may wait in all, rate limits included
HELD_PAUSE = 0.2  # seconds between two looks at a call that another process has under way
MONTH_CAP = "LANGMILL_MAX_COST"
Report = Callable[[Mapping[str, Any]], None]


class Stopped(FactoryError):
    """The run was asked to stop: no new call is sent."""


class Account:
    """What the models of one run share: the ledger, the caps, and the counts that its person sees."""

    def __init__(self, ledger: Ledger, run: str, caps: Mapping[str, int], context: Context, report: Report):
        self.ledger, self.run, self.caps, self.context, self.report = ledger, run, caps, context, report
        self.answered = self.cached = self.in_flight = 0
        self.out = self.settled = 0  # attempts under way that hold money back, and those that no longer do
        self.change = asyncio.Event()  # set, and made anew, whenever one settles
        self.closed = False

    def settle(self) -> None:
        """Tell those who wait for money that some may have come back."""
        self.change.set()
        self.change = asyncio.Event()

    def tell(self) -> None:
        """Report the counts; nothing once the run's models are closed."""
        if self.closed:
            return
        counts = {"in_flight": self.in_flight, "answered": self.answered, "cached": self.cached}
        self.report({"event": "calls", **counts, "spent": self.ledger.spent(self.run)})


class Sender:
    """The calls of one model: from the ledger, from the same call under way, or from the provider."""

    def __init__(self, account: Account, llm: LLM):
        self.account, self.llm, self.limiter = account, llm, Limiter(llm.concurrency)
        self.started = False
        self._price: Price | None = None
        self._starting = asyncio.Lock()
        self._under_way: dict[str, asyncio.Future[Answer]] = {}

    async def ask(self, call: Call, messages: Sequence[Message], schema: Mapping[str, Any]) -> Answer:
        """The answer of a call. Raises RowFault, or what ends the run: BudgetReached, ProviderDown, MissingInput, Stopped."""
        if found := self.account.ledger.find(call.key):
            answer = self._cached(call, found)
            self.account.tell()
            return answer
        if call.key in self._under_way:
            answer = await asyncio.shield(self._under_way[call.key])
            self.account.ledger.use(call)
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
            self.account.tell()

    def _cached(self, call: Call, found: Found) -> Answer:
        self.account.cached += 1
        self.account.ledger.use(call)
        return Answer(**found.answer)

    async def _send(self, call: Call, messages: Sequence[Message], schema: Mapping[str, Any]) -> Answer:
        """Send until there is an answer, or a reason to give up."""
        account, reserve = self.account, self._reserve(messages, schema)
        patience = PATIENCE * self.llm.timeout
        troubled = 0.0  # seconds of attempts and pauses; waiting for a turn is no trouble
        tries = refusals = 0
        while True:
            pause, trouble = HELD_PAUSE, "another process has had this call under way all the time"
            async with self.limiter.slot() as cuts:
                began, settled, change = time.monotonic(), account.settled, account.change
                outcome = await account.ledger.claim(call, reserve, account.caps)
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
                    if account.settled == settled and not account.out:
                        cap = "this run" if scope.startswith("run/") else f"the month ({MONTH_CAP}, {scope[6:]})"
                        raise BudgetReached(
                            f"the cap of {cap} is met: ${max(0.0, left):.4f} is left, and the next call of {self.llm.model} "
                            f"may cost ${reserve / 1e9:.4f}. What is done is kept; raise the cap and run again to continue"
                        )
                    if account.settled == settled:
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
        account, began = self.account, time.monotonic()
        account.out += bool(reserve)
        account.in_flight += 1

        def failed(kind: str, *, paid: bool) -> None:
            account.ledger.failed(attempt, kind, paid=paid, latency=time.monotonic() - began)

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
            await account.ledger.answered(attempt, call, asdict(answer), nano, time.monotonic() - began)
        finally:
            account.out -= bool(reserve)
            account.in_flight -= 1
            account.settled += 1
            account.settle()
        self.limiter.succeeded(cuts)
        account.answered += 1
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
                await self.llm.start(self.account.context)
                self._price = self.llm.price()
                if self._price is None and self.account.caps:
                    raise MissingInput(
                        f"no price is known for {self.llm.model}, so a budget can not hold it: give prices: {{input: …, "
                        "output: …}} in llm: (US dollars per million tokens), or take the budget away"
                    )
            except Exception as error:
                self.limiter.close(error)
                raise

    async def _check_place(self) -> None:
        place, llm = getattr(self.llm, "api_base", None), self.llm
        if place and not llm.revision and (first := self.account.ledger.place(llm.model, place)) != place:
            raise MissingInput(
                f"the model {llm.model} was first seen at {first} and is now at {place}: answers of two models under one "
                "name would be mixed. Tell them apart (or, if they are the same, say so from now on) with revision: in llm:"
            )
