"""Batches through litellm, against a real server on loopback: what is sent, what comes back, and a whole recipe."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Answer, BatchItem, CallError, Context, Message, Price, RecipeError
from langmill.calls import batches
from langmill_plugins.llms.batches import PROVIDERS, UNDER_WAY
from langmill_plugins.llms.litellm import LiteLLM
from langmill_plugins.llms.replay import Replay

sys.path.append(str(Path(__file__).resolve().parents[1]))
BatchProvider = importlib.import_module("batch_provider").BatchProvider
POSTING = f"""
import importlib
import sys

from langmill.api import hookimpl

sys.path.append({str(Path(__file__).resolve().parents[1])!r})
posting = importlib.import_module("posting")
for (module, name), seconds in posting.QUICK.items():
    setattr(module, name, seconds)


@hookimpl
def register_llms():
    return {{"test": posting.Posted}}
"""
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 90}}}
CANARY = "sk-canary-0123456789"
ITEMS = [BatchItem(f"item{n}", (Message("user", f"question {n} 血"),), n, SCHEMA) for n in range(40)]


def use(server: Any, **options: Any) -> LiteLLM:
    return LiteLLM(**{"model": "openai/x", "api_base": server.url, "batch": True, **options})


async def through(llm: LiteLLM, items: list[BatchItem] = ITEMS) -> Mapping[str, Answer | CallError]:
    """Hand in, look until it is done, clear."""
    await llm.start(Context("llm", 1, {}, Path()))
    try:
        name = await llm.submit(items, "langmill-mark")
        assert await llm.find_batch("langmill-mark") == name
        assert await llm.find_batch("langmill-other") is None
        while isinstance(found := await llm.collect(name), str):
            assert found in UNDER_WAY
        await llm.clear_batch(name)
    finally:
        await llm.stop()
    return found


def test_what_is_sent_is_what_a_single_call_would_send() -> None:
    with BatchProvider() as server:
        asyncio.run(through(use(server, temperature=0.5, max_tokens=33)))
        line = server.seen()["lines"][0]
    shape = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}
    answer = {"name": "answer", "schema": {**shape, "required": ["text"]}, "strict": True}
    assert line == {
        "custom_id": "item0",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "x",
            "messages": [{"role": "user", "content": "question 0 血"}],
            "temperature": 0.5,
            "max_tokens": 33,
            "seed": 0,
            "response_format": {"type": "json_schema", "json_schema": answer},
        },
    }


def test_a_reasoning_model_gets_its_own_names_for_options(monkeypatch: pytest.MonkeyPatch) -> None:
    with BatchProvider(key=CANARY) as server:
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        asyncio.run(through(LiteLLM(model="openai/o3-mini", batch=True), ITEMS[:1]))
        body = server.seen()["lines"][0]["body"]
    assert body["max_completion_tokens"] == 1024 and not body.keys() & {"max_tokens", "temperature"}


@pytest.mark.parametrize("late", [False, True])
def test_what_comes_back_is_told_by_name_whatever_its_order(late: bool) -> None:
    shares = {"refused": 0.15, "broken": 0.15, "expired": 0.15, "missing": 0.15, "unread": 0.15}
    with BatchProvider(late=late, **shares) as server:
        found = asyncio.run(through(use(server)))
        seen = server.seen()
    answers = {name: answer.text for name, answer in found.items() if isinstance(answer, Answer)}
    assert 5 < len(answers) < 30
    assert all(json.loads(text)["text"] == f"answer to question {name[4:]} 血" for name, text in answers.items())
    kinds = {error.kind for error in found.values() if isinstance(error, CallError)}
    assert kinds == {"bad_request", "server"} and len(found) < 40  # what can not be read is left out
    answer = next(answer for answer in found.values() if isinstance(answer, Answer))
    assert (answer.prompt_tokens, answer.answer_tokens, answer.cost) == (20, 10, None)
    assert seen["files"] == [] and seen["events"]["content"] == 2  # litellm does not read it all again for itself


def test_a_batch_of_which_nothing_can_be_read_is_not_taken_for_one_without_answers() -> None:
    with BatchProvider(unread=1.0) as server, pytest.raises(CallError, match="no shape that can be read") as failed:
        asyncio.run(through(use(server)))
    assert failed.value.kind == "auth"  # for good: the run stops, and the batch stays open


def test_a_cancelled_batch_gives_what_it_has() -> None:
    with BatchProvider(cancelled=True) as server:
        assert len(asyncio.run(through(use(server)))) == 20


def test_a_batch_is_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langmill_plugins.llms.batches.PAGE", 2)

    async def find() -> None:
        llm = use(server)
        await llm.start(Context("llm", 1, {}, Path()))
        names = [await llm.submit(ITEMS[:1], f"langmill-{number}") for number in range(5)]
        assert await llm.find_batch("langmill-1") == names[1]
        await llm.stop()

    with BatchProvider() as server:
        asyncio.run(find())
        assert server.seen()["events"]["list"] == 2


def test_azure_takes_batches_at_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with BatchProvider(key=CANARY, broken=0.2) as server:
        for name, value in {"KEY": CANARY, "BASE": server.root, "VERSION": "2024-10-21"}.items():
            monkeypatch.setenv(f"AZURE_API_{name}", value)
        found = asyncio.run(through(LiteLLM(model="azure/mine", batch=True)))
        assert len(found) == 40 and server.seen()["files"] == []
        assert server.seen()["lines"][0]["body"]["model"] == "mine"


def test_a_batch_refused_as_a_whole_says_why() -> None:
    words = f"Invalid key {CANARY} in line 1"
    with BatchProvider(invalid=words) as server, pytest.raises(CallError, match=r"Invalid key .* in line 1") as refused:
        asyncio.run(through(use(server)))
    assert refused.value.kind == "bad_request" and CANARY not in str(refused.value)


@pytest.mark.parametrize("event", ["upload", "create", "list", "retrieve", "content"])
def test_no_key_and_no_prompt_in_an_error_or_a_log(
    event: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", CANARY)
    with BatchProvider(fail={event: 99}) as server, pytest.raises(CallError) as failed:
        asyncio.run(through(use(server, api_key_env="MY_KEY")))
    assert failed.value.kind == "server"
    told = "".join((str(failed.value), caplog.text, *capfd.readouterr()))
    assert CANARY not in told and "question" not in told


def test_a_wrong_key_is_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", CANARY)
    with BatchProvider(key="another") as server, pytest.raises(CallError) as failed:
        asyncio.run(through(use(server, api_key_env="MY_KEY")))
    assert failed.value.kind == "auth" and CANARY not in str(failed.value)


def test_a_provider_without_batches_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    llm = LiteLLM(model="anthropic/claude-3-5-haiku-latest", batch=True)
    with pytest.raises(
        RecipeError, match=r"llm.batch: litellm makes no batches for 'anthropic'.*set batch: false"
    ) as told:
        asyncio.run(llm.start(Context("llm", 1, {}, Path())))
    assert all(name in str(told.value) for name in PROVIDERS)


def test_a_replay_of_a_model_with_batches_sends_none() -> None:
    assert not Replay(model="replay/openai/x", batch=True).batch


# --- a whole recipe ---

RECIPE = """\
name: small
languages: [en]
run: {{workers: 1}}
{}
sources:
  qa: {{use: table, path: rows.jsonl, body: chat, license: CC0-1.0}}
datasets:
  open: {{from: [qa], steps: [{{use: expand, guards: false}}]}}
"""
LITELLM = 'llm: {{model: openai/x, api_base: "{}", batch: true, prices: {{input: 1, output: 3, batch: 0.5}}}}'


@pytest.fixture
def many(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """300 rows beside a recipe that is still to be written."""
    rows = [
        {"id": f"r{n}", "language": "en", "split": "train", "question": f"What is number {n}?", "answer": f"It is {n}."}
        for n in range(300)
    ]
    bench.write("rows.jsonl", "\n".join(map(json.dumps, rows)))
    for (module, name), seconds in importlib.import_module("posting").QUICK.items():
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(batches, "QUIET", 0.2)
    return bench


def made(bench: Any, name: str = "small") -> list[Any]:
    return [row for row in bench.rows("open", name) if row.origin.marks]


def test_a_recipe_through_a_batch_makes_the_rows_of_single_calls_at_half_the_price(many: Any) -> None:
    with BatchProvider(polls=4, broken=0.05, expired=0.03) as server:
        many.write("small.yaml", RECIPE.format(LITELLM.format(server.url)))
        said = many.factory("run", "small.yaml")
        assert said.code == 0, said.err
        assert "batch of 300 calls handed in (batch_0)" in said.err
        seen = server.seen()
        assert len(seen["batches"]) == 1 and set(seen["items"].values()) == {1} and len(seen["items"]) == 300
        alone = sum(seen["chats"].values())
        assert 5 < alone < 60 and seen["files"] == []
        assert sum(call["cost"] for call in many.calls()) == pytest.approx(1e9 * seen["spent"])
        many.monkeypatch.setenv("LANGMILL_HOME", str(many.folder / "another"))
        again = many.factory("run", "small.yaml", "--set", "llm.batch=false", "--out", "runs/single")
        assert again.code == 0, again.err
        assert sum(server.seen()["chats"].values()) == alone + 300
    assert len(made(many)) == 300 and made(many) == made(many, "single")


def test_a_recipe_stopped_and_killed_while_it_waits_hands_in_nothing_twice(many: Any) -> None:
    """The run is what is tested, so its model is one that starts at once."""
    many.write("quick.py", POSTING)
    with BatchProvider(hold=True) as server:
        options = f'model: test/posted, api_base: "{server.url}"'
        many.write("small.yaml", RECIPE.format(f"plugins: [quick.py]\nllm: {{{options}}}"))

        def looks() -> int:
            return int(server.seen()["events"].get("retrieve", 0))

        stopped = many.kill_when(lambda: looks() > 1, "run", "small.yaml", by=signal.SIGINT)
        assert stopped.code == 1 and "the same command continues" in stopped.err, stopped.err
        seen = looks()
        killed = many.kill_when(lambda: looks() > seen + 1, "run", "small.yaml")
        assert killed.code == -signal.SIGKILL
        assert {call["status"] for call in many.calls()} == {"sent"}
        server.finish()
        said = many.factory("run", "small.yaml")
        assert said.code == 0, said.err
        found = server.seen()
    assert len(found["batches"]) == 1 and set(found["items"].values()) == {1} and not found["chats"]
    assert len(made(many)) == 300 and len(many.answered()) == 300


def test_half_the_price_is_known() -> None:
    assert LiteLLM(model="openai/gpt-4o-mini").price() == Price(1.5e-7, 6e-7, 0.5)
