"""The engine against a real server in a process of its own: nothing paid twice, caps held, every row answered or rejected.

Run as a script it asks: python test_calls.py HOME URL RUN N [BUDGET]; prints a line when all N have an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from langmill.api import LLM, Answer, Context, Message
from langmill.calls import sending
from langmill.calls.account import Stopped
from langmill.calls.answers import canonical
from langmill.calls.engine import Engine, _key
from langmill.errors import BudgetReached, LanguageNotWritten, MissingInput, ProviderDown, RowFault
from langmill.ledger.facts import MONTH_CAP
from langmill.ledger.ledger import Ledger

sys.path.append(str(Path(__file__).resolve().parents[1]))
asking = importlib.import_module("asking")
provider = asking.provider
Direct, Provider, QUESTIONS, Said = asking.Direct, asking.Provider, asking.QUESTIONS, asking.Said
ask, ask_all, engine, prompt, together = asking.ask, asking.ask_all, asking.engine, asking.prompt, asking.together


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv(MONTH_CAP, raising=False)


# --- keys --------------------------------------------------------------------------------------------------------------


def call_key(llm: LLM, messages: Sequence[Message], schema: Any, sample: int, again: int = 0) -> str:
    return _key(canonical(llm.identity()), messages, canonical(schema), sample, again)


MESSAGES = (Message("system", "Antworte."), Message("user", "Was hilft gegen Skorbut? 坏血病"))


def test_a_key_stays_the_same_from_version_to_version() -> None:
    """A change here makes every user pay for every answer again: raise KEY_VERSION only if that is meant."""
    llm = Direct(model="test/direct", api_base="http://127.0.0.1:1/v1", temperature=0.5, max_tokens=64)
    assert call_key(llm, MESSAGES, {"type": "object"}, 0) == (
        "024d4e8903676f7dbaaedad75801d9f02c6d1e274e1fa55b75eb855fbd6e35ce"
    )


@pytest.mark.parametrize("again", [0, 2])
def test_a_key_is_the_hash_of_canonical_json(again: int) -> None:
    """However it is put together: quotes, control characters, half characters and every script are written as JSON writes them."""
    llm = Direct(api_base="http://127.0.0.1:1/v1")
    messages = (*MESSAGES, Message("assistant", 'a "b" \\ \n\t\x00\x7f\u2028 </script> é 坏 😀 \ud800'))
    facts = {"messages": [list(message) for message in messages], "model": llm.identity(), "sample": 3, "version": 1}
    facts |= {"schema": {"b": 1, "a": [None, "é"]}} | ({"again": again} if again else {})
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert (
        call_key(llm, messages, facts["schema"], 3, again)
        == hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    )


def test_a_key_depends_on_what_decides_the_answer_and_on_nothing_else() -> None:
    def key(messages: Sequence[Message] = MESSAGES, schema: Any = None, sample: int = 0, **options: Any) -> str:
        return call_key(Direct(**{"api_base": "http://127.0.0.1:1/v1", **options}), messages, schema, sample)

    same = [key(), key(api_base="http://elsewhere/v1"), key(timeout=5), key(concurrency=1), key(temperature=0.70)]
    assert len(set(same)) == 1
    other = [
        key(temperature=0.8), key(max_tokens=5), key(model="test/another"), key(revision="2"), key(sample=1),
        key(schema={"type": "object"}), key(MESSAGES[1:]), key((MESSAGES[0], Message("assistant", MESSAGES[1].content))),
        key((Message("system", "Antworte.W"), Message("user", "as hilft gegen Skorbut? 坏血病"))),
    ]  # fmt: skip
    assert len({*same, *other}) == len(other) + 1
    assert key(schema={"a": 1, "b": 2}) == key(schema={"b": 2, "a": 1})


# --- nothing paid twice ------------------------------------------------------------------------------------------------


def test_an_answer_is_asked_for_once_over_steps_runs_and_at_once(tmp_path: Path) -> None:
    events: list[Any] = []

    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url), events=events) as opened:
            model = opened.model("llm", "ift")
            assert set(await asyncio.gather(*(ask(model, "one") for _ in range(20)))) == {"answer to one"}
            assert await ask(model, "one", step="another", seed=2) == "answer to one"
            assert await ask(model, "one", sample=1) == "answer to one"
            mark = (await model.answer(prompt("one"), Said, step="test", language="en", seed=1)).marks[-1]
            assert (mark.step, mark.model, mark.prompt) == ("test", "test/direct", "en/test@0")
            assert opened.account.ledger.find(mark.call)
        async with engine(tmp_path, Direct(api_base=url), run="another") as opened:
            assert await ask(opened.model("llm"), "one") == "answer to one"
            (usage,) = opened.account.ledger.summary("another")
            assert (usage.calls, usage.cached) == (0, 1)

    with Provider(latency=0.05) as server:
        asyncio.run(work(server.url))
        assert server.seen()["requests"] == {"one": 2}
    counts = {"in_flight": 0, "answered": 2, "cached": 2, "spent": 0.0}
    assert events[-1] == {"event": "calls", **counts, "answer_tokens": events[-1]["answer_tokens"]}
    assert events[-1]["answer_tokens"] > 0


def key_of(text: str) -> str:
    return call_key(Direct(api_base=""), prompt(text).messages, Said.model_json_schema(), 0)


def asker(home: Path, url: str, run: str = "run") -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, str(home), url, run, "200"], stdout=subprocess.PIPE, text=True)


def test_a_kill_loses_no_answer_and_sends_none_again(tmp_path: Path) -> None:
    """Answers that were on their way at a kill can not be known; there are no more of them than calls in flight."""
    with Provider(latency=0.03) as server:
        kills, settled = 0, {}
        for wanted in (40, 120):
            process = asker(tmp_path, server.url)
            while len(server.seen()["answered"]) < wanted:
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            time.sleep(0.1)  # the server ends what it had begun
            with Ledger(tmp_path) as ledger:
                kept = {row[0] for row in ledger._reader.execute("SELECT key FROM answers")}
                lost = ledger._reader.execute("SELECT COUNT(*) FROM attempts WHERE status = 'lost'").fetchone()[0]
            assert len(kept) + lost >= wanted
            before = server.seen()["requests"]
            settled.update({text: before[text] for text in QUESTIONS if key_of(text) in kept and text not in settled})
            assert len(settled) == len(kept)
        process = asker(tmp_path, server.url)
        assert process.communicate()[0] == "200\n"
        seen = server.seen()
    again = sum(count - 1 for count in seen["requests"].values())
    assert len(seen["requests"]) == 200
    # In flight, answered and not yet on disk, and on disk but not yet sent: limits.NEAR says how many.
    assert again <= lost <= 16 * 2 * kills
    assert sum(before.values()) < 200
    assert {text: seen["requests"][text] for text in settled} == settled  # what was answered was not sent again
    with Ledger(tmp_path) as ledger:
        sent = dict(ledger._reader.execute("SELECT key, COUNT(*) FROM attempts GROUP BY key").fetchall())
        answered = ledger._reader.execute("SELECT key, COUNT(*) FROM attempts WHERE status = 'answered' GROUP BY key")
        assert {count for _, count in answered.fetchall()} == {1}
        assert sum(sent.values()) - 200 == lost


def test_an_answer_counts_once_it_is_on_disk_and_not_before(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def look(event: Mapping[str, Any]) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
            told.append((event["answered"], db.execute("SELECT COUNT(*) FROM answers").fetchone()[0]))

    async def work(url: str) -> None:
        with Ledger(tmp_path) as ledger:
            context = Context("llm", 1, {}, tmp_path)
            llm = {"llm": Direct(api_base=url)}
            async with Engine(llm, ledger, run="run", budget=None, context=context, report=look) as opened:
                await ask_all(opened.model("llm"), QUESTIONS[:40])

    with Provider(latency=0.01) as server:
        asyncio.run(work(server.url))
    assert told[-1] == (40, 40)
    assert all(counted <= kept for counted, kept in told)


def test_two_processes_at_once_answer_each_call_once(tmp_path: Path) -> None:
    with Provider(latency=0.01) as server:
        both = [asker(tmp_path, server.url, run) for run in ("one", "two")]
        assert [process.communicate(timeout=50)[0] for process in both] == ["200\n", "200\n"]
        assert [process.returncode for process in both] == [0, 0]
        assert set(server.seen()["requests"].values()) == {1}
    with Ledger(tmp_path) as ledger:
        uses = [(usage.calls, usage.cached) for run in ("one", "two") for usage in ledger.summary(run)]
        assert [calls + cached for calls, cached in uses] == [200, 200]
        assert sum(calls for calls, _ in uses) == 200


# --- trouble -----------------------------------------------------------------------------------------------------------


def test_every_row_ends_as_an_answer_or_with_a_reason(tmp_path: Path) -> None:
    trouble = {
        "refuse": 0.2,
        "broken": 0.05,
        "garbage": 0.02,
        "drop": 0.02,
        "truncate": 0.04,
        "unfit": 0.04,
        "filter": 0.02,
    }
    with Provider(latency=0.005, empty=0.03, **trouble) as server:
        ended = together(tmp_path, Direct(api_base=server.url), QUESTIONS)
        before = server.seen()["requests"]
        assert together(tmp_path, Direct(api_base=server.url), QUESTIONS) == ended
        assert server.seen()["requests"] == before  # what was rejected stays rejected, at no cost
    assert sum(ended.values()) == 200
    assert set(ended) <= {"answered", "schema", "truncated", "empty", "refusal"}
    assert ended["answered"] > 180
    assert ended["refusal"] > 0


@pytest.mark.parametrize(
    ("trouble", "reason", "requests"),
    [("unfit", "schema", 3), ("truncate", "truncated", 2), ("empty", "empty", 2), ("filter", "refusal", 1), ("broken", "provider", 5)],
)  # fmt: skip
def test_one_trouble_without_end(tmp_path: Path, trouble: str, reason: str, requests: int) -> None:
    with Provider(**{trouble: 1.0}) as server:
        assert together(tmp_path, Direct(api_base=server.url), ["one"]) == {reason: 1}
        assert sum(server.seen()["requests"].values()) == requests


def test_a_row_rejected_for_its_provider_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    with Provider(broken=1.0) as server:
        assert together(tmp_path, Direct(api_base=server.url, revision="1"), ["one"]) == {"provider": 1}
    with Provider() as server:
        assert together(tmp_path, Direct(api_base=server.url, revision="1"), ["one"]) == {"answered": 1}


def test_the_model_is_told_what_was_wrong(tmp_path: Path) -> None:
    with Provider(unfit=1.0) as server:
        together(tmp_path, Direct(api_base=server.url), ["one"])
        asked = list(server.seen()["requests"])
    assert asked[0] == "one"
    assert "text: Field required" in asked[1]
    assert "answer: Extra inputs are not permitted" in asked[1]


def test_a_provider_that_takes_few_at_once_gets_few(tmp_path: Path) -> None:
    with Provider(latency=0.02, room=8, retry_after=0.05) as server:
        ended = together(tmp_path, Direct(api_base=server.url, concurrency=64), QUESTIONS)
        seen = server.seen()
    assert ended == {"answered": 200}
    assert seen["most"] == 8
    assert set(seen["answered"].values()) == {1}
    assert sum(seen["requests"].values()) < 500


def test_refused_calls_wait_however_often(tmp_path: Path) -> None:
    with Provider(refuse=0.9, retry_after=0.01) as server:
        assert together(tmp_path, Direct(api_base=server.url), QUESTIONS[:20]) == {"answered": 20}
        assert max(server.seen()["requests"].values()) > sending.TRIES


def test_a_provider_that_wants_to_be_left_alone_for_the_day_is(tmp_path: Path) -> None:
    """Nobody waits a day in silence, and no row is rejected for it: the run ends, in the provider's words."""

    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url, concurrency=2)) as opened:
            model = opened.model("llm")
            jobs = asyncio.gather(*(ask(model, text) for text in QUESTIONS), return_exceptions=True)
            ended = await asyncio.wait_for(jobs, 30)
            assert {type(end) for end in ended} == {ProviderDown}
            assert "no call for the next 86400 s: too many" in str(ended[0])

    with Provider(refuse=1.0, retry_after=86400) as server:
        asyncio.run(work(server.url))
        assert sum(server.seen()["requests"].values()) <= 2


def test_patience_begins_with_a_calls_first_turn(tmp_path: Path) -> None:
    """The last of these waits for its turn longer than a call may be in trouble; it is sent again all the same."""
    with Provider(broken=0.5, latency=0.06, seed=1) as server:
        ended = together(tmp_path, Direct(api_base=server.url, concurrency=1, timeout=0.2), QUESTIONS[:30])
        assert set(server.seen()["requests"].values()) > {1}
        few = {text for text, count in server.seen()["requests"].items() if count >= sending.TRIES}
    assert ended["answered"] >= 30 - len(few)


def test_patience_ends(tmp_path: Path) -> None:
    with Provider(refuse=1.0, retry_after=0.1) as server:
        assert together(tmp_path, Direct(api_base=server.url, timeout=0.05), QUESTIONS[:3]) == {"provider": 3}


def test_a_call_without_an_answer_in_time_is_sent_again_and_counts_at_its_worst_case(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url, timeout=0.05, priced=True), budget=1.0) as opened:
            with pytest.raises(RowFault, match=r"timeout: no answer within 0\.05 s"):
                await ask(opened.model("llm"), "one")
            (usage,) = opened.account.ledger.summary("run")
            assert usage.failed >= 2
            assert usage.cost >= usage.failed * 1024 * provider.PRICES[1]

    with Provider(latency=10.0) as server:
        asyncio.run(work(server.url))


def test_a_wrong_key_stops_everything_at_once_in_the_providers_words(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url, concurrency=4)) as opened:
            model = opened.model("llm")
            ended = await asyncio.gather(*(ask(model, text) for text in QUESTIONS), return_exceptions=True)
            assert {type(end) for end in ended} == {ProviderDown}
            assert "test/direct: status 401" in str(ended[0])

    with Provider(key="right") as server:
        asyncio.run(work(server.url))
        assert sum(server.seen()["requests"].values()) <= 4


def test_a_bug_in_a_provider_is_shown_as_one(tmp_path: Path) -> None:
    class Broken(LLM):
        model: str = "test/broken"

        async def answer(self, messages: Sequence[Message], *, seed: int, schema: Any = None) -> Answer:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        together(tmp_path, Broken(), ["one"])


class Known(LLM):
    """Says what it is told, or notes what happens to it."""

    model: str = "test/known"
    text: str = '{"text": "yes"}'
    log: list[str] = []
    writes: frozenset[str] | None = None

    @property
    def languages(self) -> frozenset[str] | None:
        return self.writes

    async def start(self, context: Context) -> None:
        self.log.append("start")
        if self.text == "no start":
            raise MissingInput("no key")

    async def stop(self) -> None:
        self.log.append("stop")

    async def answer(self, messages: Sequence[Message], *, seed: int, schema: Any = None) -> Answer:
        self.log.append(f"seed {seed}")
        return Answer(self.text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('```json\n{"text": "ok"}\n```', "ok"),
        ('Here it is:\n```\n{"text": "ok"}\n```\nDone.', "ok"),
        (' {"text": "```\\ncode\\n```"} ', "```\ncode\n```"),
        ('{"text": "half \\ud83d"}', None),
    ],
)
def test_what_counts_as_json(tmp_path: Path, text: str, read: str | None) -> None:
    async def work() -> None:
        async with engine(tmp_path, Known(text=text)) as opened:
            if read is None:
                with pytest.raises(RowFault, match="schema"):
                    await ask(opened.model("llm"), "one")
            else:
                assert await ask(opened.model("llm"), "one") == read

    asyncio.run(work())


def test_a_model_starts_at_its_first_call_and_stops_at_the_end(tmp_path: Path) -> None:
    async def work() -> list[str]:
        llm = Known(log=[])
        async with engine(tmp_path, llm) as opened:
            assert llm.log == []
            await asyncio.gather(*(ask(opened.model("llm"), text) for text in ("one", "two")))
        return llm.log

    log = asyncio.run(work())
    assert (log[0], log[-1], log.count("start"), log.count("stop")) == ("start", "stop", 1, 1)
    assert log[1] != log[2]  # the seed follows from the call
    assert asyncio.run(work()) == []  # all is known: no server, no key


def test_a_model_that_can_not_start_is_tried_once(tmp_path: Path) -> None:
    async def work() -> None:
        llm = Known(text="no start", log=[])
        async with engine(tmp_path, llm) as opened:
            ended = await asyncio.gather(*(ask(opened.model("llm"), t) for t in QUESTIONS), return_exceptions=True)
            assert {str(end) for end in ended} == {"no key"}
        assert llm.log == ["start", "stop"]

    asyncio.run(work())


def test_a_language_that_the_model_does_not_write_is_not_asked_for(tmp_path: Path) -> None:
    async def work() -> None:
        llm = Known(log=[], writes=frozenset({"en"}))
        async with engine(tmp_path, llm) as opened:
            with pytest.raises(LanguageNotWritten, match="test/known does not write fr"):
                await ask(opened.model("llm"), "one", language="fr")
        assert llm.log == []

    asyncio.run(work())


def test_one_name_at_two_places_needs_a_revision(tmp_path: Path) -> None:
    with Provider() as first, Provider() as second:
        together(tmp_path, Direct(api_base=first.url), ["one"])
        with pytest.raises(MissingInput, match=f"first seen at {first.url} and is now at {second.url}.*revision"):
            together(tmp_path, Direct(api_base=second.url), ["two"])
        assert together(tmp_path, Direct(api_base=second.url, revision="2"), ["two"]) == {"answered": 1}


# --- money -------------------------------------------------------------------------------------------------------------


def until_the_cap(home: Path, url: str, texts: Sequence[str], budget: float, **options: Any) -> tuple[int, int]:
    """(answered, stopped at the cap)."""

    async def work() -> tuple[int, int]:
        llm = Direct(api_base=url, priced=True, revision="1", **options)
        async with engine(home, llm, budget=budget) as opened:
            ended = await asyncio.gather(*(ask(opened.model("llm"), text) for text in texts), return_exceptions=True)
            assert opened.account.ledger.spent("run") <= budget
        capped = sum(isinstance(end, BudgetReached) for end in ended)
        answered = sum(isinstance(end, str) for end in ended)
        assert capped + answered + sum(isinstance(end, RowFault) for end in ended) == len(texts)
        return answered, capped

    return asyncio.run(work())


def test_what_was_spent_never_exceeds_the_cap(tmp_path: Path) -> None:
    """Random runs, each in two goes, with lost calls and broken answers; the server keeps the true account."""
    reached = 0
    with Provider(latency=0.002, drop=0.05, unfit=0.1, refuse=0.1, retry_after=0.01) as server:
        for number in range(20):
            dice = random.Random(number)
            budget, before = dice.uniform(0.0005, 0.02), server.seen()["spent"]
            options = {"concurrency": dice.choice((1, 5, 30)), "max_tokens": dice.choice((50, 400))}
            texts = [f"{number} {'x' * dice.randint(1, 800)} {index}" for index in range(30)]
            home = tmp_path / str(number)
            until_the_cap(home, server.url, texts[:15], budget, **options)
            _, capped = until_the_cap(home, server.url, texts, budget, **options)
            assert server.seen()["spent"] - before <= budget
            reached += capped > 0
    assert 3 < reached < 20


def test_tokens_that_the_provider_does_not_count_cost_the_most_they_can(tmp_path: Path) -> None:
    worst = 1024 * provider.PRICES[1]
    with Provider(count=False) as server:
        answered, capped = until_the_cap(tmp_path, server.url, QUESTIONS[:9], 5 * worst)
        assert answered < 5
        assert answered + capped == 9


def test_a_cap_is_used_up_before_it_stops_a_run(tmp_path: Path) -> None:
    """Money held back for calls in flight comes back: who does not fit waits for it instead of giving up."""
    worst = 1024 * provider.PRICES[1] + 1000 * provider.PRICES[0]
    with Provider(latency=0.005) as server:
        _, capped = until_the_cap(tmp_path, server.url, QUESTIONS[:60], 20 * worst, concurrency=50)
        assert capped > 0
        assert server.seen()["spent"] > 18 * worst


def test_a_cap_of_nothing_sends_nothing_that_costs(tmp_path: Path) -> None:
    assert BudgetReached.exit_code == 3
    with Provider() as server:
        assert until_the_cap(tmp_path, server.url, QUESTIONS[:5], 0.0) == (0, 5)
        assert server.seen()["requests"] == {}
        assert together(tmp_path, Direct(api_base=server.url, revision="1"), ["free"], budget=0.0) == {"answered": 1}


def test_a_model_without_a_price_is_refused_under_a_cap(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"no price is known for test/known.*prices:"):
        together(tmp_path, Known(log=[]), ["one"], budget=1.0)


def test_the_month_has_a_cap_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Provider() as server:
        monkeypatch.setenv(MONTH_CAP, "0.001")
        with pytest.raises(BudgetReached, match="the month"):
            together(tmp_path, Direct(api_base=server.url, priced=True), ["one"])
        monkeypatch.setenv(MONTH_CAP, "10 dollars")
        with pytest.raises(MissingInput, match="10 dollars is no amount"):
            together(tmp_path, Direct(api_base=server.url, priced=True), ["one"])


# --- stopping ----------------------------------------------------------------------------------------------------------


def test_draining_ends_what_is_in_flight_and_sends_nothing_more(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url, concurrency=5)) as opened:
            model = opened.model("llm")
            jobs = [asyncio.ensure_future(ask(model, text)) for text in QUESTIONS[:30]]
            while not opened.account.answered:
                await asyncio.sleep(0.01)
            opened.drain()
            ended = await asyncio.gather(*jobs, return_exceptions=True)
            made = sum(isinstance(end, str) for end in ended)
            assert {type(end) for end in ended} == {str, Stopped}
            assert made == opened.account.answered
            assert await ask(model, QUESTIONS[0]) == "answer to question 0"  # what is known is still given

    with Provider(latency=0.1) as server:
        asyncio.run(work(server.url))
        seen = server.seen()
        assert seen["requests"] == seen["answered"]
        assert len(seen["requests"]) < 30


def test_draining_does_not_wait_for_a_retry(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url, timeout=600.0)) as opened:
            job = asyncio.ensure_future(ask(opened.model("llm"), "one"))
            await asyncio.sleep(0.2)
            opened.drain()
            with pytest.raises(Stopped):
                await asyncio.wait_for(job, 5)

    with Provider(refuse=1.0, retry_after=300) as server:
        asyncio.run(work(server.url))


def test_a_cancelled_call_counts_at_its_worst_case_and_can_be_asked_again(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        async with engine(tmp_path, Direct(api_base=url, priced=True), budget=1.0) as opened:
            model = opened.model("llm")
            job = asyncio.ensure_future(ask(model, "one"))
            await asyncio.sleep(0.15)
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            assert await ask(model, "one") == "answer to one"
            (usage,) = opened.account.ledger.summary("run")
            assert (usage.calls, usage.failed) == (1, 1)
            assert opened.account.ledger.spent("run") > 1024 * provider.PRICES[1]

    with Provider(latency=0.3) as server:
        asyncio.run(work(server.url))


if __name__ == "__main__":
    place, url, run_id, count = sys.argv[1:5]
    print(together(Path(place), Direct(api_base=url), QUESTIONS[: int(count)], run=run_id)["answered"], flush=True)
