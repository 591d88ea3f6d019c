"""What becomes of a call whose provider is out, slow on purpose, or counts nonsense."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import PrivateAttr

from langmill.api import LLM, Answer, CallError, Context, Message, Price, StepContext
from langmill.calls import sending
from langmill.calls.limits import Limiter
from langmill.errors import MissingInput, ProviderDown
from langmill.ledger.facts import MONTH_CAP

sys.path.append(str(Path(__file__).resolve().parents[1]))
asking = importlib.import_module("asking")
Direct, Provider, QUESTIONS = asking.Direct, asking.Provider, asking.QUESTIONS
ask, ask_all, engine, together = asking.ask, asking.ask_all, asking.engine, asking.together


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv(MONTH_CAP, raising=False)


class Told(LLM):
    """Says what it is told to."""

    model: str = "test/told"
    said: tuple[int, int] = (5, 5)
    pause: float = 0.0
    cost: float | None = None
    _asked: int = PrivateAttr(0)

    def price(self) -> Price:
        return Price(1e-6, 1e-6)

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        self._asked += 1
        text = f'{{"text": "answer to {messages[-1].content}"}}'
        return Answer(text, "stop", *self.said, cost=self.cost, pause=self.pause)


# --- fallback ---------------------------------------------------------------------------------------------------------


def test_a_fallback_takes_over_and_what_it_answered_stays(tmp_path: Path) -> None:
    events: list[Any] = []

    async def work(first: str, second: str, texts: Sequence[str]) -> list[str]:
        models = {"second": Direct(model="test/second", api_base=second)}
        llm = Direct(model="test/first", api_base=first, fallback="second", revision="1")
        async with engine(tmp_path, llm, events=events, **models) as opened:
            model = opened.model("llm")
            replies = [
                model.answer(asking.prompt(text), asking.Said, step="test", language="en", seed=1) for text in texts
            ]
            return [reply.marks[-1].model for reply in await asyncio.gather(*replies)]

    with Provider(key="a key that is not given") as closed, Provider() as second:
        assert asyncio.run(work(closed.url, second.url, QUESTIONS[:20])) == ["test/second"] * 20
        assert sum(closed.seen()["requests"].values()) <= 20
        notes = [event["text"] for event in events if event["event"] == "note"]
        assert len(notes) == 1 and "test/first is out: test/second takes over" in notes[0]
        with Provider() as back:
            marks = asyncio.run(work(back.url, second.url, QUESTIONS[:21]))
            assert marks == [*["test/second"] * 20, "test/first"]
            assert sum(back.seen()["requests"].values()) == 1
        assert sum(second.seen()["requests"].values()) == 20


def test_a_fallback_answers_what_the_first_one_breaks_on(tmp_path: Path) -> None:
    async def work(first: str, second: str) -> Any:
        llm = Direct(model="test/first", api_base=first, fallback="second")
        async with engine(tmp_path, llm, second=Direct(model="test/second", api_base=second)) as opened:
            return await ask_all(opened.model("llm"), QUESTIONS[:5])

    with Provider(broken=1.0) as broken, Provider() as second:
        assert asyncio.run(work(broken.url, second.url)) == {"answered": 5}
        assert set(broken.seen()["requests"].values()) == {sending.TRIES}


def test_a_row_that_the_first_one_refuses_is_not_the_fallbacks(tmp_path: Path) -> None:
    async def work(first: str, second: str) -> Any:
        llm = Direct(model="test/first", api_base=first, fallback="second")
        async with engine(tmp_path, llm, second=Direct(model="test/second", api_base=second)) as opened:
            return await ask_all(opened.model("llm"), ["one"])

    with Provider(filter=1.0) as refusing, Provider() as second:
        assert asyncio.run(work(refusing.url, second.url)) == {"refusal": 1}
        assert not second.seen()["requests"]


# --- out of order -----------------------------------------------------------------------------------------------------


def test_a_provider_on_which_every_call_fails_is_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is down would otherwise reject each of a million rows, one by one, after minutes of patience."""
    monkeypatch.setattr(sending, "NEVER_THERE", 12)

    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url, concurrency=4)) as opened:
            jobs = (ask(opened.model("llm"), text) for text in QUESTIONS)
            ended = await asyncio.gather(*jobs, return_exceptions=True)
            assert {type(end) for end in ended} == {ProviderDown}
            assert "12 calls in a row failed" in str(ended[0])

    with Provider(broken=1.0) as server:
        asyncio.run(work(server.url))
        assert 12 <= sum(server.seen()["requests"].values()) <= 16


def test_failures_between_answers_do_not_count_as_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "NEVER_THERE", 12)
    monkeypatch.setattr(sending, "OUT_OF_ORDER", 12)
    with Provider(broken=0.3) as server:
        ended = together(tmp_path, Direct(api_base=server.url), QUESTIONS[:60])
        assert sum(server.seen()["requests"].values()) > 60 + 12
    assert ended["answered"] >= 58 and set(ended) <= {"answered", "provider"}


def test_nothing_is_asked_of_a_model_that_is_still_starting(tmp_path: Path) -> None:
    class Slow(Told):
        _ready: bool = PrivateAttr(False)

        async def start(self, context: Context) -> None:
            await asyncio.sleep(0.05)
            self._ready = True

        async def answer(
            self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
        ) -> Answer:
            assert self._ready
            return await super().answer(messages, seed=seed, schema=schema)

    assert together(tmp_path, Slow(), QUESTIONS[:5]) == {"answered": 5}


# --- what the provider and the recipe ask for -------------------------------------------------------------------------


def test_nothing_is_sent_while_the_providers_headers_ask_for_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    monkeypatch.setattr(Limiter, "hold", lambda self, seconds: held.append(seconds))
    assert together(tmp_path, Told(pause=12.5), ["one"]) == {"answered": 1}
    assert held == [12.5]


def test_quotas_a_minute_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(self: Limiter, seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(Limiter, "sleep", sleep)
    assert together(tmp_path, Told(requests_per_minute=60), QUESTIONS[:10]) == {"answered": 10}
    assert [round(seconds) for seconds in sorted(slept)] == [1, 2, 3, 4, 5, 6, 7, 8]
    slept.clear()
    # A call books its prompt and its longest answer, and gives back what it did not use once it is answered.
    assert together(tmp_path, Told(tokens_per_minute=6000, max_tokens=6000), QUESTIONS[10:12]) == {"answered": 2}
    assert len(slept) == 1 and 55 < slept[0] < 90


@pytest.mark.parametrize("said", [(0, 0), (5, 0), (-5, 5), (10**20, 5), (5, 10**20)])
def test_a_count_of_tokens_that_can_not_be_costs_the_worst_case(tmp_path: Path, said: tuple[int, int]) -> None:
    async def work() -> None:
        async with engine(tmp_path, Told(said=said), budget=1.0) as opened:
            await ask(opened.model("llm"), "one")
            (usage,) = opened.account.ledger.summary("run")
            assert 1024e-6 < usage.cost < 3000e-6  # max_tokens, and a token for each byte sent

    asyncio.run(work())


# --- ends --------------------------------------------------------------------------------------------------------------


def test_a_short_outage_does_not_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many in flight fail at once: a hundred failures in a row take a moment only."""
    monkeypatch.setattr(sending, "OUT_OF_ORDER", 5)

    class Faltering(Told):
        async def answer(
            self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
        ) -> Answer:
            self._asked += 1
            if 3 < self._asked < 20:
                raise CallError("server", "down")
            return await super().answer(messages, seed=seed, schema=schema)

    assert together(tmp_path, Faltering(concurrency=2), QUESTIONS[:20]) == {"answered": 20}


def test_a_header_can_not_hold_a_run_for_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []
    monkeypatch.setattr(Limiter, "hold", lambda self, seconds: held.append(seconds))
    assert together(tmp_path, Told(pause=86400.0, timeout=20.0), ["one"]) == {"answered": 1}
    assert held == [20.0]


def test_a_row_waits_for_the_model_that_writes_its_language(tmp_path: Path) -> None:
    """A fallback that does not write it would skip the row for good."""

    class English(Told):
        @property
        def languages(self) -> frozenset[str]:
            return frozenset({"en"})

    async def work(url: str) -> None:
        first = Direct(api_base=url, fallback="second")
        async with engine(tmp_path, first, second=English(model="test/english")) as opened:
            with pytest.raises(ProviderDown):
                await ask(opened.model("llm"), "one", language="fr")
            assert await ask(opened.model("llm"), "two", language="en") == "answer to two"

    with Provider(key="a key that is not given") as closed:
        asyncio.run(work(closed.url))


def test_a_mistyped_address_does_not_claim_the_models_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "NEVER_THERE", 3)
    with Provider() as right, Provider(broken=1.0) as wrong:

        async def work(url: str) -> str:
            async with engine(tmp_path, Direct(api_base=url)) as opened:
                return str(await ask(opened.model("llm"), "one"))

        with pytest.raises(ProviderDown):
            asyncio.run(work(wrong.url))
        assert asyncio.run(work(right.url)) == "answer to one"
        assert together(tmp_path, Direct(api_base=right.url), ["two"]) == {"answered": 1}
        with pytest.raises(MissingInput, match="first seen at"):
            together(tmp_path, Direct(api_base=wrong.url), ["three"])


@pytest.mark.parametrize("cost", [float("inf"), float("nan"), -1.0])
def test_a_cost_that_is_no_amount_is_the_worst_case(tmp_path: Path, cost: float) -> None:
    async def work() -> None:
        async with engine(tmp_path, Told(cost=cost), budget=1.0) as opened:
            await ask(opened.model("llm"), "one")
            (usage,) = opened.account.ledger.summary("run")
            assert 1024e-6 < usage.cost < 3000e-6

    asyncio.run(work())


@pytest.mark.parametrize("budget", [float("inf"), float("nan"), -1.0])
def test_a_cap_is_an_amount(tmp_path: Path, budget: float) -> None:
    with pytest.raises(MissingInput, match="is no amount in US dollars"):
        together(tmp_path, Told(), ["one"], budget=budget)


def test_a_model_that_does_not_stop_hides_nothing(tmp_path: Path) -> None:
    class Stuck(Told):
        async def stop(self) -> None:
            raise OSError("does not stop")

        async def answer(
            self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
        ) -> Answer:
            raise ProviderDown("test/told: no money")

    async def work() -> None:
        async with engine(tmp_path, Stuck()) as opened:
            await ask(opened.model("llm"), "one")

    with pytest.raises(ProviderDown, match="no money"):
        asyncio.run(work())


def test_the_calls_of_a_row_all_end_before_it_does(tmp_path: Path) -> None:
    """A provider that goes out under one of a row's calls leaves none of the others behind, paid for and thrown away."""

    class Uneven(Told):
        async def answer(
            self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
        ) -> Answer:
            if messages[-1].content == "bad":
                await asyncio.sleep(0.01)
                raise CallError("auth", "no")
            await asyncio.sleep(0.1)
            return await super().answer(messages, seed=seed, schema=schema)

    async def work() -> None:
        async with engine(tmp_path, Uneven()) as opened:
            model = opened.model("llm")
            context = StepContext("steps", 1, {}, tmp_path)

            async def job(text: str) -> Any:
                return await ask(model, text)

            with pytest.raises(ProviderDown):
                await context.gather([job("bad"), job("good one"), job("good two")])
            assert opened.account.in_flight == 0
            (usage,) = opened.account.ledger.summary("run")
            assert (usage.calls, usage.failed) == (2, 1)

    asyncio.run(work())
