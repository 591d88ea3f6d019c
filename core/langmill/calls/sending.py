"""One model's calls on their way: from the ledger, from the same call under way, or from the provider, sent until there is an
answer or a reason to give up.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NoReturn

from langmill.api import LLM, Answer, CallError, Message, Price
from langmill.calls.account import Account, Stopped
from langmill.calls.answers import Shape, canonical
from langmill.calls.limits import Limiter, Quota
from langmill.errors import BudgetReached, FactoryError, MissingInput, ProviderDown, RecipeError, RowFault
from langmill.ledger.facts import MONTH_CAP
from langmill.ledger.ledger import NANO, Call, Claimed, Found, InBatch, NoRoom, Outcome, worst_case

TRIES = 5  # times a call is sent that meets a broken server
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries, doubling
PATIENCE = 6  # time-outs that a call may wait in all, rate limits included
OUT_OF_ORDER = 100  # failures in a row, over all calls of a model, after which it counts as out
NEVER_THERE = 30  # failures in a row after which a model that has not answered once in this run counts as out
OUTAGE = 30.0  # seconds that such failures must last where answers came before: many fail at once in a short one
HELD_PAUSE = 0.2  # seconds between two looks at a call that another process has under way
ABSURD = 100  # times the most tokens there can be: more is no count
KEPT = ("text", "finish", "prompt_tokens", "answer_tokens", "cost", "request_id")  # of an answer, in the ledger


@dataclass
class Trouble:
    """What one call has met so far. Waiting for a turn is no trouble; seconds are those of attempts and pauses."""

    seconds: float = 0.0
    tries: int = 0
    refusals: int = 0
    last: str = ""

    def met(self, error: CallError) -> float:
        """Count a failure; returns the seconds to wait before the next try."""
        refused = error.kind == "rate_limit"
        self.refusals, self.tries = self.refusals + refused, self.tries + (not refused)
        self.last = f"{error.kind}: {error}"
        doubled = FIRST_PAUSE * 2 ** (min(self.refusals if refused else self.tries, 9) - 1)
        return error.retry_after or min(LONGEST_PAUSE, doubled)


class Sender:
    """The calls of one model."""

    def __init__(self, account: Account, llm: LLM):
        self.account, self.llm, self.limiter = account, llm, Limiter(llm.concurrency)
        self.started = self._ready = False  # begun, so that it must be stopped; fit to be asked
        self.name = str(llm.identity()["model"])
        self._requests = llm.requests_per_minute and Quota(llm.requests_per_minute)
        self._tokens = llm.tokens_per_minute and Quota(llm.tokens_per_minute)
        self._price: Price | None = None
        self._patience = PATIENCE * llm.timeout
        self._starting = asyncio.Lock()
        self._under_way: dict[str, asyncio.Future[Answer]] = {}
        self._failures = 0  # in a row
        self._last_answer = 0.0  # when one came, by the monotonic clock
        self._gave_way = False

    @cached_property
    def identity(self) -> str:
        """What makes two answers of the model comparable, for the keys of calls. Of a file the content counts, so that it must be
        there when this is first asked for. Raises MissingInput."""
        return canonical(self.llm.deciding(self.account.context))

    # --- one call -----------------------------------------------------------------------------------------------------

    async def ask(self, call: Call, messages: Sequence[Message], shape: Shape) -> Answer:
        """The answer of a call. Raises RowFault, or what ends the run: BudgetReached, ProviderDown, MissingInput, Stopped."""
        if (known := self.known(call)) is not None:
            self.account.tell()
            return known
        if call.key in self._under_way:
            answer = await asyncio.shield(self._under_way[call.key])
            self.account.ledger.use(call)
            return answer
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._under_way[call.key] = future
        try:
            if not self._ready:
                await self._start()
            answer = await self._send(call, messages, shape)
            future.set_result(answer)
            return answer
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else Stopped("the run was stopped"))
            future.exception()  # seen: nobody else may be waiting
            raise
        finally:
            del self._under_way[call.key]
            self.account.tell()

    def known(self, call: Call) -> Answer | None:
        """The answer that the ledger has."""
        found = self.account.ledger.find(call.key)
        return None if found is None else self._cached(call, found)

    def give_way(self, to: str, fault: Exception) -> None:
        """Say, once, that another model takes over."""
        if not self._gave_way:
            self._gave_way = True
            self.account.report({"event": "note", "text": f"{self.llm.model} is out: {to} takes over. {fault}"})

    def _cached(self, call: Call, found: Found) -> Answer:
        self.account.cached += 1
        self.account.ledger.use(call)
        return Answer(**found.answer)

    async def _send(self, call: Call, messages: Sequence[Message], shape: Shape) -> Answer:
        """Send until there is an answer, or a reason to give up."""
        most = most_tokens(messages, shape)
        reserve = self._worst_case(most)
        trouble = Trouble()
        while True:
            outcome, settled = await self._claim(call, reserve)
            if isinstance(outcome, Claimed):
                try:
                    return await self._attempt(outcome.attempt, call, messages, shape, most, reserve, trouble)
                except CallError as error:
                    self._give_up(error)
                    pause = trouble.met(error)
            elif isinstance(outcome, Found):
                return self._cached(call, outcome)
            elif isinstance(outcome, NoRoom):
                await self._room(outcome, settled, reserve)
                continue
            elif isinstance(outcome, InBatch):
                raise RecipeError(
                    f"{self.llm.model}: calls of this step are out in a batch, which an earlier run handed in: set batch: true to "
                    "wait for it"
                )
            else:
                pause, trouble.last = HELD_PAUSE, "another process has had this call under way all the time"
            pause *= random.uniform(1.0, 1.2)
            trouble.seconds += pause
            if trouble.tries >= TRIES or trouble.seconds > self._patience:
                raise RowFault("provider", trouble.last)
            await self.limiter.sleep(pause)

    async def _claim(self, call: Call, reserve: int) -> tuple[Outcome, int]:
        """What the ledger says to sending this call, and how many attempts had settled before. Whoever may send it stays near
        the limiter's door until it is in."""
        account = self.account
        await self.limiter.approach()
        claimed = False
        try:
            settled = account.settled
            outcome = await account.ledger.claim(call, reserve, account.caps)
            claimed = isinstance(outcome, Claimed)
        finally:
            if not claimed:
                self.limiter.depart()
        return outcome, settled

    async def _attempt(
        self,
        attempt: int,
        call: Call,
        messages: Sequence[Message],
        shape: Shape,
        most: int,
        reserve: int,
        trouble: Trouble,
    ) -> Answer:
        """One request in its turn, and its end in the ledger, whatever that is."""
        account, booked = self.account, most + self.llm.max_tokens
        account.out += bool(reserve)
        try:
            cuts = await self._turn(attempt, most)
            began, used = time.monotonic(), booked
            try:
                try:
                    answer = await self._exchange(attempt, call, messages, shape, cuts)
                except CallError as error:
                    used = booked if error.kind == "timeout" else 0
                    raise
                finally:
                    seconds = time.monotonic() - began
                    trouble.seconds += seconds
                counts = _possible(answer.prompt_tokens, most), _possible(answer.answer_tokens, self.llm.max_tokens)
                used = sum(counts)
                nano = self._cost(answer, counts, reserve)
                cost = None if nano is None else nano / NANO
                answer = replace(answer, prompt_tokens=counts[0], answer_tokens=counts[1], cost=cost)
                kept = {name: getattr(answer, name) for name in KEPT}
                await account.ledger.answered(attempt, call, kept, nano, seconds)
            finally:
                self.limiter.saved()
                if self._tokens:
                    self._tokens.take(min(0, used - booked))
        finally:
            account.out -= bool(reserve)
            account.settled += 1
            account.settle()
        account.answered += 1
        account.answer_tokens += answer.answer_tokens
        return answer

    async def _turn(self, attempt: int, most: int) -> int:
        """Wait for a turn to send, which ends with the limiter's leave(); the number of the limiter's cuts so far."""
        try:
            try:
                cuts = await self.limiter.enter()
            finally:
                self.limiter.depart()
            try:
                await self._quotas(most)
            except BaseException:
                self.limiter.leave()
                self.limiter.saved()
                raise
        except BaseException:
            self.account.ledger.failed(attempt, "not_sent", paid=False, latency=0.0)
            raise
        return cuts

    async def _exchange(self, attempt: int, call: Call, messages: Sequence[Message], shape: Shape, cuts: int) -> Answer:
        """The provider's answer; anything else closes the attempt."""
        account, began, llm = self.account, time.monotonic(), self.llm

        def failed(kind: str, *, paid: bool) -> None:
            account.ledger.failed(attempt, kind, paid=paid, latency=time.monotonic() - began)

        account.in_flight += 1
        try:
            try:
                async with asyncio.timeout(llm.timeout):
                    seed = int(call.key[:8], 16) & 0x7FFFFFFF
                    answer = await llm.answer(messages, seed=seed, schema=shape.schema)
            except TimeoutError:
                raise CallError("timeout", f"no answer within {llm.timeout:g} s") from None
            self._failures, self._last_answer = 0, time.monotonic()
            self.limiter.succeeded(cuts, time.monotonic() - began)
            if answer.pause:
                self.limiter.hold(
                    min(answer.pause, llm.timeout)
                )  # one that really must wait longer says so in a refusal
            # Half characters can not be kept.
            text, id = (said.encode("utf-8", "replace").decode() for said in (answer.text, answer.request_id))
            return (
                answer if (text, id) == (answer.text, answer.request_id) else replace(answer, text=text, request_id=id)
            )
        except CallError as error:
            failed(error.kind, paid=error.kind == "timeout")  # a call that was lost on the way may still be billed
            if error.kind == "rate_limit":
                self.limiter.refused(cuts, error.retry_after)
            if error.kind in ("auth", "quota"):  # before this call leaves, or another one goes in
                self._out(f"{error}. Mend that, then run the same again")
            raise
        except BaseException as error:
            failed(type(error).__name__, paid=not isinstance(error, FactoryError))  # who knows how far it came
            if isinstance(error, ProviderDown):
                self.limiter.close(error)
            raise
        finally:
            account.in_flight -= 1
            self.limiter.leave()

    def _give_up(self, error: CallError) -> None:
        """Raise what ends the row, or the run, where sending again is of no use."""
        if error.kind == "bad_request":
            raise RowFault("bad_request", str(error)) from None
        if error.kind == "rate_limit":
            if (error.retry_after or 0.0) > self._patience:  # the day's share is used up
                self._out(
                    f"it takes no call for the next {error.retry_after:.0f} s: {error}. What is done is kept; run the same "
                    "again then"
                )
            return
        self._failures += 1
        if self._last_answer:
            out = self._failures >= OUT_OF_ORDER and time.monotonic() - self._last_answer >= OUTAGE
        else:
            out = self._failures >= NEVER_THERE
        if out:
            self._out(f"{self._failures} calls in a row failed, the last with: {error}. What is done is kept")

    def _out(self, words: str) -> NoReturn:
        """The model is out for good: who waits fails at once."""
        down = ProviderDown(f"{self.llm.model}: {words}")
        self.limiter.close(down)
        raise down from None

    # --- money and quotas ---------------------------------------------------------------------------------------------

    async def _room(self, no_room: NoRoom, settled: int, reserve: int) -> None:
        """Wait until money may have come back. Raises BudgetReached when none is out."""
        account = self.account
        if account.settled == settled and not account.out:
            scope = no_room.scope
            cap = "this run" if scope.startswith("run/") else f"the month ({MONTH_CAP}, {scope[6:]})"
            raise BudgetReached(
                f"the cap of {cap} is met: ${max(0.0, no_room.left):.4f} is left, and the next call of {self.llm.model} "
                f"may cost ${reserve / NANO:.4f}. What is done is kept; raise the cap and run again to continue"
            )
        await account.settled_since(settled)

    async def _quotas(self, most: int) -> None:
        wait = self._requests.take(1) if self._requests else 0.0
        if self._tokens:
            wait = max(wait, self._tokens.take(most + self.llm.max_tokens))
        if wait:
            await self.limiter.sleep(wait)

    def _cost(self, answer: Answer, counts: tuple[int, int], reserve: int) -> int | None:
        """What an answer of so many tokens (prompt, answer) cost, in billionths of a dollar; the worst case where the provider
        did not count them."""
        if answer.cost is not None:
            return worst_case(answer.cost) if 0 <= answer.cost < math.inf else reserve
        if not self._price:
            return None
        if not counts[0] or counts[1] < bool(answer.text):
            return reserve
        return worst_case(counts[0] * self._price.prompt + counts[1] * self._price.answer)

    def _worst_case(self, most: int) -> int:
        """Of a call whose prompt takes so many tokens at most, in billionths of a dollar."""
        if not self._price:
            return 0
        return worst_case(most * self._price.prompt + self.llm.max_tokens * self._price.answer)

    # --- start --------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop the model, if it was started."""
        if self.started:
            await self.llm.stop()

    async def _start(self) -> None:
        """Make the model ready, once; when that fails, every other call fails with the same words."""
        async with self._starting:
            if self._ready or self.limiter.closed:
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
                self._ready = True
            except Exception as error:
                self.limiter.close(error)
                raise

    async def _check_place(self) -> None:
        place, llm = self.llm.place, self.llm
        if place and not llm.revision and (first := self.account.ledger.place(llm.model, place)) != place:
            raise MissingInput(
                f"the model {llm.model} was first seen at {first} and is now at {place}: answers of two models under one "
                "name would be mixed. Tell them apart (or, if they are the same, say so from now on) with revision: in llm:"
            )


def most_tokens(messages: Sequence[Message], shape: Shape) -> int:
    """The most tokens a prompt can take: one for each byte sent. The provider wraps the schema in words of its own."""
    sent = sum(len(message.content.encode("utf-8", "replace")) + 16 for message in messages)
    return sent + 2 * len(shape.text.encode()) + 256


def _possible(count: int, most: int) -> int:
    """A provider's count of tokens; zero, which is no count, where it can not be one."""
    return count if 0 <= count <= ABSURD * most else 0
