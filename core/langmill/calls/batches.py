"""Calls through a provider's batch API: many in one file, half the price, up to a day.

Calls gather until no new one comes, are claimed in the ledger like any other and handed in under a mark that is on disk
before anything leaves. So a run may end at any moment: the next one finds the batch by its name, or by its mark where the name
was lost on the way, and waits on. What failed or expired in the batch is sent alone, as an ordinary call.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from langmill.api import LLM, Answer, BatchItem, CallError, Message
from langmill.calls.account import Account, Stopped
from langmill.calls.answers import Shape
from langmill.calls.delivery import Delivery, Refused
from langmill.calls.sending import ABSURD, HELD_PAUSE, KEPT, Sender, most_tokens
from langmill.errors import ProviderDown, RecipeError
from langmill.ledger.ledger import NANO, Call, Claimed, Found, InBatch, NoRoom

QUIET = 1.0  # seconds without a new call after which those that are there go out
MOST_CALLS = 50_000  # in one batch: OpenAI's limit
MOST_BYTES = 150_000_000  # of prompts in one batch: OpenAI takes files of 200 MB
LONGEST_HELD = 60.0  # seconds between two looks at a call that another process has in a batch, growing
NOTHING = CallError("timeout", "nothing came back for it")  # which may be billed all the same
LONGEST_CLEARING = 30.0  # seconds for deleting what the provider keeps
_LOOKED_AFTER: set[str] = set()  # marks of batches that a sender of this process looks after


class _Full(NamedTuple):
    """There was no room for a call; how many attempts had settled by then."""

    no_room: NoRoom
    settled: int


class _Again:
    """The ledger is to be asked once more: the call is free again, or another process has it."""


_Outcome = Answer | CallError | Found | _Full | _Again


@dataclass(eq=False)
class _Waiting:
    """A call that waits to be handed in, then for what comes of it. ``reserve`` in billionths of a dollar."""

    call: Call
    messages: Sequence[Message]
    shape: Shape
    most: int
    reserve: int
    outcome: asyncio.Future[_Outcome]

    def tell(self, outcome: _Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # seen: whoever asked may be gone


@dataclass(eq=False)
class _Out:
    """A batch that is out: its attempts, calls and what is held back for each, by key, and those who wait for it."""

    mark: str
    started: float
    attempts: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, tuple[Call, int]] = field(default_factory=dict)
    name: str = ""
    waiting: list[_Waiting] = field(default_factory=list)

    @property
    def holding(self) -> int:
        """Attempts that hold money back."""
        return sum(1 for _, reserve in self.calls.values() if reserve)


class BatchSender(Sender):
    """The calls of one model, in batches."""

    def __init__(self, account: Account, llm: LLM):
        super().__init__(account, llm)
        self._delivery = Delivery(llm, self.limiter, self._note)
        self._queue: list[_Waiting] = []
        self._arrived = 0
        self._batches: dict[str, _Out] = {}
        self._gathering = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Look no more at the batches that are out: they stay in the ledger for the next run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().close()

    async def _start(self) -> None:
        if type(self.llm).submit is LLM.submit:
            error = RecipeError(f"{self.account.context.place}: {self.llm.model} has no batch API: set batch: false")
            self.limiter.close(error)
            raise error
        await super()._start()

    async def _send(self, call: Call, messages: Sequence[Message], shape: Shape) -> Answer:
        """In a batch; alone when it failed there."""
        most, pause = most_tokens(messages, shape), HELD_PAUSE
        reserve = self._shared(self._worst_case(most))
        while True:
            outcome = await self._in_batch(call, messages, shape, most, reserve)
            match outcome:
                case Answer():
                    return outcome
                case Found():
                    return self._cached(call, outcome)
                case CallError():
                    return await super()._send(call, messages, shape)
                case _Full(no_room, settled):
                    await self._room(no_room, settled, reserve)
                case _Again():
                    await self.limiter.sleep(pause * random.uniform(1.0, 1.3))
                    pause = min(LONGEST_HELD, pause * 1.5)

    async def _in_batch(
        self, call: Call, messages: Sequence[Message], shape: Shape, most: int, reserve: int
    ) -> _Outcome:
        waiting = _Waiting(call, messages, shape, most, reserve, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._arrived += 1
        if not self._gathering:
            self._gathering = True
            self._task(self._gather())
        return await waiting.outcome

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _gather(self) -> None:
        """Hand in what is there, lot by lot, each time that no new call has come for a moment."""
        lot: list[_Waiting] = []
        try:
            while self._queue:
                seen = -1
                while seen != self._arrived and len(self._queue) < MOST_CALLS:
                    seen = self._arrived
                    await self.limiter.sleep(QUIET)
                lot = self._lot()
                await self._hand_in(lot)
        except BaseException as error:
            told = error if isinstance(error, Exception) else Stopped("the run was stopped")
            for waiting in (*lot, *self._queue):
                waiting.fail(told)
            self._queue.clear()
            if not isinstance(error, Exception):
                raise
        finally:
            self._gathering = False

    def _lot(self) -> list[_Waiting]:
        """The first calls of the queue, as many as one batch takes, without those whose asker has gone."""
        lot: list[_Waiting] = []
        size = taken = 0
        while taken < len(self._queue) and len(lot) < MOST_CALLS and size < MOST_BYTES:
            waiting = self._queue[taken]
            taken += 1
            if not waiting.outcome.done():
                lot.append(waiting)
                size += waiting.most + 500
        del self._queue[:taken]
        return lot

    async def _hand_in(self, lot: Sequence[_Waiting]) -> None:
        ledger, account = self.account.ledger, self.account
        await self._adopt({waiting.call.key for waiting in lot})
        batch = _Out(f"langmill-{uuid.uuid4().hex}", time.time())
        self._look_after(batch)
        try:
            await ledger.batch_begin(batch.mark, self.name, account.run)
            await self._claim_all(batch, lot)
            if not batch.attempts:
                ledger.batch_over(batch.mark)
                self._remove(batch)
                return
            items = [
                BatchItem(key, waiting.messages, int(key[:8], 16) & 0x7FFFFFFF, waiting.shape.schema)
                for waiting in batch.waiting
                if (key := waiting.call.key)
            ]
            batch.name = await self._delivery.submit(items, batch.mark)
            await ledger.batch_named(batch.mark, batch.name)
        except Refused as refused:
            await self._drop(batch, refused)
            self._out(
                f"a batch of {len(batch.attempts):,} calls was not taken: {refused}. Mend that, then run the same again"
            )
        except BaseException:
            self._remove(batch)
            raise
        self._note(
            f"batch of {len(batch.attempts):,} calls handed in ({batch.name}); the provider takes up to 24 h; you can stop "
            "now: running again continues to wait for it"
        )
        account.tell()
        self._task(self._see_through(batch))

    async def _claim_all(self, batch: _Out, lot: Sequence[_Waiting]) -> None:
        """Claim the calls of a lot for a batch; those that can not be had are told."""
        account, mine = self.account, {}
        settled = account.settled
        claims = (account.ledger.claim(waiting.call, waiting.reserve, account.caps, batch.mark) for waiting in lot)
        for waiting, outcome in zip(lot, await asyncio.gather(*claims), strict=True):
            match outcome:
                case Claimed(attempt):
                    mine[waiting.call.key] = attempt
                    batch.waiting.append(waiting)
                case InBatch(mark) if mark in self._batches:
                    self._batches[mark].waiting.append(waiting)
                case NoRoom():
                    waiting.tell(_Full(outcome, settled))
                case Found():
                    waiting.tell(outcome)
                case _:
                    waiting.tell(_Again())
        calls = {waiting.call.key: (waiting.call, waiting.reserve) for waiting in batch.waiting}
        self._count(batch, mine, calls)

    async def _adopt(self, keys: Collection[str]) -> None:
        """Look after the batches of this model that a process left behind. One without a name only when it holds some of these
        calls: a model of the same name elsewhere would be asked in vain, and it would be taken for one that never arrived."""
        ledger = self.account.ledger
        for left in ledger.open_batches(self.name):
            if left.mark in _LOOKED_AFTER or not left.mine_or_free:
                continue
            if (not left.name and left.attempts.keys().isdisjoint(keys)) or not await ledger.batch_adopt(left.mark):
                continue
            batch = _Out(left.mark, left.started, name=left.name or "")
            self._look_after(batch)
            self._count(batch, left.attempts, ledger.batch_calls(left.mark))
            self._task(self._see_through(batch))

    # --- back ---------------------------------------------------------------------------------------------------------

    async def _see_through(self, batch: _Out) -> None:
        """Wait until a batch is done, then book its answers; whatever goes wrong is told to those who wait for it."""
        ledger, mark = self.account.ledger, batch.mark
        try:
            if not batch.name:
                batch.name = await self._delivery.arrived(mark, batch.started)
                await ledger.batch_named(mark, batch.name)
            found = await self._delivery.wait(batch.name, len(batch.attempts), batch.started)
            await self._book(batch, found)
        except Refused as refused:
            await self._drop(batch, refused)
            if refused.kind == "lost":
                for waiting in batch.waiting:
                    waiting.tell(_Again())
            elif not batch.waiting:
                self._note(f"{self.llm.model}: {refused}")
            else:
                down = ProviderDown(f"{self.llm.model}: {refused}. Mend that, then run the same again")
                self._fail(batch, down)
        except Exception as error:
            self._fail(batch, error)
        except BaseException:
            self._fail(batch, Stopped("the run was stopped"))
            raise

    async def _book(self, batch: _Out, found: Mapping[str, Answer | CallError]) -> None:
        """Put on disk what came of each call, then have what the provider keeps of it deleted, then tell who asked."""
        ledger, account = self.account.ledger, self.account
        outcomes: dict[str, Answer | CallError] = {}
        writing: list[Coroutine[Any, Any, None]] = []
        for key, attempt in batch.attempts.items():
            call, reserve = batch.calls[key]
            outcome = found.get(key) or NOTHING
            if isinstance(outcome, Answer):
                nano = self._cost_shared(outcome, reserve)
                cost = None if nano is None else nano / NANO
                text, request_id = (  # half characters can not be kept
                    said.encode("utf-8", "replace").decode() for said in (outcome.text, outcome.request_id)
                )
                outcome = replace(outcome, text=text, request_id=request_id, cost=cost)
                kept = {name: getattr(outcome, name) for name in KEPT}
                writing.append(ledger.answered(attempt, call, kept, nano, 0.0))
                account.answered += 1
                account.answer_tokens += outcome.answer_tokens
            else:
                ledger.failed(attempt, outcome.kind, paid=outcome.kind == "timeout", latency=0.0)
            outcomes[key] = outcome
        await asyncio.gather(*writing)
        await asyncio.wrap_future(ledger.batch_over(batch.mark))
        alone = len(outcomes) - len(writing)
        rest = f"; the other {alone:,} are sent one by one" if alone else ""
        self._note(f"the batch {batch.name} is done: {len(writing):,} of {len(outcomes):,} calls answered{rest}")
        with contextlib.suppress(CallError, TimeoutError):
            async with asyncio.timeout(LONGEST_CLEARING):
                await self.llm.clear_batch(batch.name)
        self._remove(batch)
        for waiting in batch.waiting:
            waiting.tell(outcomes.get(waiting.call.key) or _Again())

    async def _drop(self, batch: _Out, refused: Refused) -> None:
        """Close a batch that brings no answers."""
        for attempt in batch.attempts.values():
            self.account.ledger.failed(attempt, refused.kind, paid=refused.paid, latency=0.0)
        await asyncio.wrap_future(self.account.ledger.batch_over(batch.mark))
        self._remove(batch)

    def _fail(self, batch: _Out, error: Exception) -> None:
        """Wait no more. A batch that was not closed stays open in the ledger."""
        self._remove(batch)
        if isinstance(error, ProviderDown):
            if batch.waiting:
                self.limiter.close(error)
            else:
                self._note(str(error))
        for waiting in batch.waiting:
            waiting.fail(error)

    def _look_after(self, batch: _Out) -> None:
        self._batches[batch.mark] = batch
        _LOOKED_AFTER.add(batch.mark)

    def _count(self, batch: _Out, attempts: Mapping[str, int], calls: Mapping[str, tuple[Call, int]]) -> None:
        """Put calls into a batch: they are in flight from here on, and hold money back."""
        batch.attempts, batch.calls = attempts, calls
        self.account.in_flight += len(attempts)
        self.account.out += batch.holding

    def _remove(self, batch: _Out) -> None:
        """Look after it no more."""
        _LOOKED_AFTER.discard(batch.mark)
        if self._batches.pop(batch.mark, None):
            self.account.in_flight -= len(batch.attempts)
            self.account.out -= batch.holding
            self.account.settled += len(batch.attempts)
            self.account.settle()

    # --- small things -------------------------------------------------------------------------------------------------

    @property
    def _share(self) -> float:
        return 1.0 if self._price is None or self._price.batch is None else self._price.batch

    def _shared(self, nano: int) -> int:
        return int(-(-nano * self._share // 1))

    def _cost_shared(self, answer: Answer, reserve: int) -> int | None:
        """Like a single call's, times the share; the worst case where the count of tokens is none."""
        full = self._cost(answer, (answer.prompt_tokens, answer.answer_tokens), int(reserve / (self._share or 1.0)))
        nano = None if full is None else self._shared(full)
        return reserve if nano and reserve and nano > ABSURD * reserve else nano

    def _note(self, text: str) -> None:
        self.account.report({"event": "note", "text": text})

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
