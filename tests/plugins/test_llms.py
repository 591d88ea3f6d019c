"""The built-in providers: litellm against a real server, the packaged model really served, the script, the replay."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from langmill.api import LLM, Answer, CallError, Context, Message, MissingInput, Prompt, ProviderDown, RecipeError
from langmill.calls.engine import Engine
from langmill.errors import RowFault
from langmill.ledger.ledger import Ledger
from langmill_plugins.llms.litellm import LiteLLM, Prices, call_error
from langmill_plugins.llms.local import Local
from langmill_plugins.llms.openai_wire import closed
from langmill_plugins.llms.replay import Replay
from langmill_plugins.llms.scripted import NotScripted, Scripted

sys.path.append(str(Path(__file__).resolve().parents[1]))
Provider = importlib.import_module("provider").Provider

CANARY = "canary-4711-do-not-show"
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


class Said(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1)


def context(folder: Path, **options: Any) -> Context:
    return Context("llm", 1, {}, folder, **options)


def answer(llm: LLM, folder: Path, *texts: str, schema: Mapping[str, Any] | None = SCHEMA) -> list[Answer | Exception]:
    """What the model says to each text, one after the other, or how it fails."""

    async def work() -> list[Answer | Exception]:
        said: list[Answer | Exception] = []
        await llm.start(context(folder))
        try:
            for text in texts:
                try:
                    said.append(await llm.answer([Message("user", text)], seed=7, schema=schema))
                except CallError as error:
                    said.append(error)
        finally:
            await llm.stop()
        return said

    return asyncio.run(work())


def ask(llm: LLM, home: Path, *texts: str, run: str = "run") -> list[tuple[str, str]]:
    """Through the engine: (the answer's text, the model in its mark)."""

    async def work() -> list[tuple[str, str]]:
        said = []
        with Ledger(home) as ledger:
            async with Engine(
                {"llm": llm}, ledger, run=run, budget=None, context=context(home), report=lambda event: None
            ) as engine:
                for text in texts:
                    prompt = Prompt((Message("user", text),), "en/test@0")
                    reply = await engine.model("llm").answer(prompt, Said, step="test", language="en", seed=1)
                    said.append((reply.value.text, reply.marks[-1].model))
        return said

    return asyncio.run(work())


# --- litellm -----------------------------------------------------------------------------------------------------------


def test_litellm_asks_any_server_that_speaks_the_dialect(tmp_path: Path) -> None:
    with Provider() as server:
        (said,) = answer(LiteLLM(model="openai/some", api_base=server.url, max_tokens=50), tmp_path, "坏血病?")
    assert isinstance(said, Answer)
    assert json.loads(said.text) == {"text": "answer to 坏血病?"}
    assert (said.finish, said.cost) == ("stop", None)
    assert said.prompt_tokens == len("坏血病?".encode()) // 3
    assert 1 <= said.answer_tokens <= 50
    assert said.request_id


@pytest.mark.parametrize("model", ["openai/some", "mistral/some"])  # over our wire, and through litellm
@pytest.mark.parametrize(
    ("trouble", "kind", "retry_after"),
    [
        ({"refuse": 1.0, "retry_after": 7}, "rate_limit", 7.0),
        ({"quota": False}, "quota", 0.05),
        ({"key": "another"}, "auth", None),
        ({"models": [], "unknown": 404}, "auth", None),
        ({"models": [], "unknown": 400}, "auth", None),
        ({"broken": 1.0}, "server", None),
        ({"drop": 1.0}, "timeout", None),
        ({"cut": 1.0}, "timeout", None),
        ({"garbage": 1.0}, "timeout", None),
    ],
)
def test_errors_are_told_apart(
    tmp_path: Path, model: str, trouble: dict[str, Any], kind: str, retry_after: float | None
) -> None:
    with Provider(**trouble) as server:
        (said,) = answer(LiteLLM(model=model, api_base=server.url), tmp_path, "one")
        assert server.seen()["requests"] == {"one": 1}  # retries are the core's
    assert isinstance(said, CallError)
    assert (said.kind, said.retry_after) == (kind, retry_after)


@pytest.mark.parametrize("model", ["openai/some", "mistral/some"])
def test_a_call_that_stalls_is_given_up_and_the_next_one_is_not(tmp_path: Path, model: str) -> None:
    async def work(url: str) -> Answer:
        llm = LiteLLM(model=model, api_base=url, timeout=0.4)
        await llm.start(context(tmp_path))
        try:
            with pytest.raises(
                (CallError, TimeoutError)
            ) as end:  # the deadline is the core's; litellm has one of its own
                async with asyncio.timeout(0.5):
                    await llm.answer([Message("user", "stalls")], seed=1)
            assert getattr(end.value, "kind", "timeout") == "timeout"
            return await llm.answer([Message("user", "does not")], seed=1)
        finally:
            await llm.stop()

    with Provider(stall=0.5, seed=1) as server:
        assert json.loads(asyncio.run(work(server.url)).text) == {"text": "answer to does not"}
        assert server.seen()["requests"] == {"stalls": 1, "does not": 1}


def test_litellm_tells_a_server_that_is_not_there_and_one_that_lacks_the_model(tmp_path: Path) -> None:
    (gone,) = answer(LiteLLM(model="openai/some", api_base="http://127.0.0.1:9/v1"), tmp_path, "one")
    with Provider() as server:
        (lacks,) = answer(LiteLLM(model="openai/some", api_base=f"{server.url}/nowhere"), tmp_path, "one")
    assert isinstance(gone, CallError)
    assert isinstance(lacks, CallError)
    assert (gone.kind, lacks.kind) == ("server", "auth")


def replied(folder: Path, *replies: Mapping[str, Any], prompt: str = "one") -> list[Answer | Exception]:
    """What becomes of each of these replies."""
    with Provider(replies=replies) as server:
        return answer(LiteLLM(model="openai/some", api_base=server.url), folder, *[prompt] * len(replies))


def whole(**choice: Any) -> str:
    """A whole reply, as text; without a choice, one that has none."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    facts = {"id": "r", "object": "chat.completion", "created": 0, "model": "some", "usage": usage}
    return json.dumps({**facts, "choices": [{"index": 0, "finish_reason": "stop", **choice}] if choice else []})


def says(content: Any, **more: Any) -> str:
    return whole(message={"role": "assistant", "content": content}, **more)


def test_litellm_reads_when_to_come_back(tmp_path: Path) -> None:
    headers = [
        {"Retry-After": "Tue, 21 Nov 2045 05:40:00 GMT"},
        {"Retry-After": "Sat, 21 Nov 1999 05:40:00 GMT"},
        {"retry-after-ms": "1500"},
        {"Retry-After": "-3"},
        {"Retry-After": "soon"},
        {},
    ]
    text = '{"error": {"message": "slow down"}}'
    waits = []
    for said in replied(tmp_path, *({"status": 429, "headers": one, "text": text} for one in headers)):
        assert isinstance(said, CallError)
        assert said.kind == "rate_limit"
        waits.append(said.retry_after)
    assert waits[0] is not None
    assert 1e8 < waits[0] < 1e10
    assert waits[1:] == [0, 1.5, 0, None, None]


def test_an_answer_that_no_one_can_read_is_a_lost_call_and_no_crash(tmp_path: Path) -> None:
    texts = ["", "[]", "null", "{}", "<html>", whole(), whole(message=None), says(5)]
    for said in replied(tmp_path, *({"text": text} for text in texts)):
        assert isinstance(said, CallError)
        assert said.kind == "timeout"  # it may be billed


def test_a_refusal_beside_an_ordinary_finish_is_one_and_nothing_counts_below_nothing(tmp_path: Path) -> None:
    refused = whole(message={"role": "assistant", "content": None, "refusal": "I will not"})
    below = says("{}").replace(": 3", ": -3").replace(": 2", ": -2")
    first, second = replied(tmp_path, {"text": refused}, {"text": below})
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.finish, second.finish) == ("refusal", "stop")
    assert (second.prompt_tokens, second.answer_tokens) == (0, 0)


def test_a_provider_that_quotes_the_prompt_is_not_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    prompt = "Mrs Petrova, born 1950, has 坏血病 and\nno teeth"
    caplog.set_level(0)
    text = json.dumps({"error": {"message": f"can not take: {prompt}!", "code": "x"}})
    status = (200, 400, 401, 422, 429, 500, 503)
    for said in replied(tmp_path, *({"status": one, "text": text} for one in status), prompt=prompt):
        assert isinstance(said, CallError)
        assert "can not take" in str(said)
        shown = "".join([str(said), caplog.text, *capfd.readouterr()])
        assert [words for words in ("Petrova", "1950", "坏血病", "teeth") if words in shown] == []


def test_what_can_not_be_read_is_not_quoted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    texts = (
        f"<html>{CANARY}</html>",
        json.dumps([CANARY]),
        says([{"type": "text", "text": CANARY}]),
        f'{{"a": {CANARY}',
    )
    for said in replied(tmp_path, *({"text": text} for text in texts)):
        assert isinstance(said, CallError)
        assert CANARY not in str(said)
    assert CANARY not in "".join(capfd.readouterr())


def test_no_answer_in_the_words_of_a_reject(tmp_path: Path) -> None:
    texts = [
        *(says(CANARY), says(json.dumps({"text": 5, "more": CANARY})), says(json.dumps({CANARY: 1}))),  # one row
        *(says(CANARY, finish_reason="length") for _ in range(2)),
        says(CANARY, finish_reason="content_filter"),
    ]
    reasons = []
    with Provider(replies=[{"text": text} for text in texts]) as server:
        for row in ("one", "two", "three"):
            with pytest.raises(RowFault) as fault:
                ask(LiteLLM(model="openai/some", api_base=server.url), tmp_path, row)
            reasons.append(fault.value.reason)
            assert CANARY not in str(fault.value)
    assert reasons == ["schema", "truncated", "refusal"]


def test_an_account_without_money_stops_everything_at_once(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        llm = LiteLLM(model="openai/some", api_base=url, concurrency=4)
        with Ledger(tmp_path) as ledger:
            async with Engine(
                {"llm": llm}, ledger, run="run", budget=None, context=context(tmp_path), report=lambda event: None
            ) as engine:
                prompts = [Prompt((Message("user", str(number)),), "en/test@0") for number in range(50)]
                model = engine.model("llm")
                jobs = [model.answer(one, Said, step="test", language="en", seed=1) for one in prompts]
                ended = await asyncio.gather(*jobs, return_exceptions=True)
        assert {type(end) for end in ended} == {ProviderDown}
        assert "insufficient_quota" in str(ended[0])

    with Provider(quota=False) as server:
        asyncio.run(work(server.url))
        assert sum(server.seen()["requests"].values()) <= 4


def test_offline_calls_nothing_beyond_this_machine_and_gives_what_is_known(tmp_path: Path) -> None:
    async def work(llm: LLM, text: str) -> str:
        with Ledger(tmp_path) as ledger:
            offline = context(tmp_path, offline=True)
            async with Engine(
                {"llm": llm}, ledger, run="run", budget=None, context=offline, report=lambda event: None
            ) as engine:
                prompt = Prompt((Message("user", text),), "en/test@0")
                reply = await engine.model("llm").answer(prompt, Said, step="test", language="en", seed=1)
                return reply.value.text

    with Provider() as server:
        near = LiteLLM(model="openai/some", api_base=server.url)
        assert asyncio.run(work(near, "one")) == "answer to one"
    far = LiteLLM(model="openai/some")
    assert asyncio.run(work(far, "one")) == "answer to one"
    elsewhere = LiteLLM(model="openai/another", api_base="http://127.0.0.1.example.org/v1")
    for llm in (far, elsewhere):
        with pytest.raises(MissingInput, match=f"{llm.model} is not on this machine, and --offline"):
            asyncio.run(work(llm, "two"))


@pytest.mark.parametrize(("trouble", "finish"), [("truncate", "length"), ("filter", "refusal")])
def test_litellm_says_how_an_answer_ended(tmp_path: Path, trouble: str, finish: str) -> None:
    with Provider(**{trouble: 1.0}) as server:
        (said,) = answer(LiteLLM(model="openai/some", api_base=server.url), tmp_path, "one")
    assert isinstance(said, Answer)
    assert said.finish == finish


def test_no_key_no_prompt_in_words_logs_or_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_API_KEY", CANARY)
    caplog.set_level(0)
    with Provider(key="another") as server:  # its error message repeats the key
        llm = LiteLLM(model="openai/some", api_base=server.url, api_key_env="MY_API_KEY")
        with pytest.raises(ProviderDown, match="Incorrect API key provided") as down:
            ask(llm, tmp_path, "private words of a patient")
    with Provider(key=CANARY) as server:
        llm = LiteLLM(model="openai/some", api_base=server.url, api_key_env="MY_API_KEY", revision="2")
        assert ask(llm, tmp_path, "private words of a patient") == [
            ("answer to private words of a patient", "openai/some")
        ]
    shown = "".join([str(down.value), caplog.text, *capfd.readouterr()])
    assert CANARY not in shown
    assert "private words" not in shown
    for path in tmp_path.rglob("ledger*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()


def test_what_looks_like_a_key_is_left_out_of_words() -> None:
    class Refused(Exception):
        status_code = 401

    words = str(call_error(Refused("Incorrect key 'sk-proj-abcdef', header Authorization: Bearer abc.def, model x")))
    assert "abcdef" not in words
    assert "abc.def" not in words
    assert "model x" in words


def test_litellm_names_the_variable_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    (line,) = LiteLLM(model="mistral/mistral-small-latest").missing(context(tmp_path))
    assert (
        line
        == "llm: mistral/mistral-small-latest needs the environment variable MISTRAL_API_KEY: export MISTRAL_API_KEY=…"
    )
    offline = context(tmp_path, offline=True)
    assert "--offline calls nothing beyond it" in "".join(LiteLLM(model="mistral/some").missing(offline))
    assert not list(LiteLLM(model="openai/some", api_base="http://127.0.0.1:1/v1").missing(offline))
    assert not list(Replay(model="replay/mistral/some").missing(offline))
    with pytest.raises(MissingInput, match=r"llm: mistral/mistral-small-latest needs.*export MISTRAL_API_KEY="):
        answer(LiteLLM(model="mistral/mistral-small-latest"), tmp_path)
    with pytest.raises(MissingInput, match="MY_OWN_KEY is not set"):
        answer(LiteLLM(model="mistral/mistral-small-latest", api_key_env="MY_OWN_KEY"), tmp_path)


def test_litellm_does_not_take_keys_from_a_file_that_lies_about(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MISTRAL_API_KEY=from-a-file\n")
    script = "import os; from langmill_plugins.llms.litellm import _litellm; _litellm(); print(os.environ.get('MISTRAL_API_KEY'))"
    environment = {key: value for key, value in os.environ.items() if key not in ("LITELLM_MODE", "MISTRAL_API_KEY")}
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (shown.returncode, shown.stdout) == (0, "None\n")


def test_litellm_refuses_a_provider_that_it_does_not_know(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match=r"llm\.model: litellm knows no provider for 'nobody/model'"):
        answer(LiteLLM(model="nobody/model"), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_prices_come_from_the_recipe_or_from_litellm() -> None:
    known = LiteLLM(model="openai/gpt-4o-mini").price()
    assert known is not None
    assert 0 < known.prompt < known.answer < 1e-5
    assert known.batch == 0.5
    assert LiteLLM(model="openai/gpt-4o-mini", prices=Prices(input=2, output=6)).price() == (2e-6, 6e-6, None)
    assert LiteLLM(model="openai/some", prices=Prices(input=2, output=6, batch=0.4)).price() == (2e-6, 6e-6, 0.4)
    assert LiteLLM(model="openai/nobody-knows").price() is None
    assert LiteLLM(model="openai/nobody-knows", api_base="http://127.0.0.1:8000/v1").price() == (0.0, 0.0, None)


def test_tokens_are_counted_where_the_tokenizer_is_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    texts = ["hello world", "", "<|endoftext|>"]
    assert LiteLLM(model="openai/gpt-4o-mini").count(texts) == [2, 0, 7]
    assert LiteLLM(model="azure/gpt-4").count(["hello world"]) == [2]
    assert Replay(model="replay/openai/gpt-4o-mini").count(texts) == [2, 0, 7]
    for unknown in ("anthropic/claude-3-5-haiku-latest", "openai/some", "openai/text-davinci-001"):
        assert LiteLLM(model=unknown).count(texts) is None
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing was fetched


def test_a_price_of_the_recipe_is_what_is_booked(tmp_path: Path) -> None:
    with Provider() as server:
        llm = LiteLLM(model="openai/gpt-4o-mini", api_base=server.url, prices=Prices(input=1e6, output=0))
        ask(llm, tmp_path, "123456")
    with Ledger(tmp_path) as ledger:
        assert ledger.spent("run") == 2.0


def test_a_schema_is_closed_on_every_level() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}, "b": {"type": "integer"}}}
    shape = closed({"type": "object", "properties": {"list": {"type": "array", "items": inner}}, "$defs": {"x": inner}})
    for item in (shape, shape["properties"]["list"]["items"], shape["$defs"]["x"]):
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])
    assert inner == {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 9}, "b": {"type": "integer"}},
    }


# --- the packaged model ------------------------------------------------------------------------------------------------


def test_the_packaged_model_answers_in_the_schema(tmp_path: Path) -> None:
    shape = {
        "type": "object",
        "properties": {"letter": {"enum": ["A", "B"]}, "sure": {"type": "boolean"}},
        "required": ["letter", "sure"],
    }
    llm = Local(model="local/smollm2-135m-instruct", temperature=0, max_tokens=40)
    said, free, long = answer(
        llm,
        tmp_path,
        "Vitamin C prevents A) scurvy B) measles. Which?",
        "Which is right, A or B?",
        "word " * 3000,
        schema=shape,
    )
    assert isinstance(said, Answer)
    assert isinstance(free, Answer)
    for one in (said, free):
        assert set(json.loads(one.text)) == {"letter", "sure"}
        assert one.finish == "stop"
        assert one.prompt_tokens > 5
    assert isinstance(long, CallError)
    assert long.kind == "bad_request"
    counted = llm.count(["Vitamin C prevents A) scurvy B) measles. Which?", "Which is right, A or B?"])
    assert counted is not None
    assert counted[0] - counted[1] == said.prompt_tokens - free.prompt_tokens  # the template around them is the same
    assert llm._server is None
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [path.read_bytes() for pid in children if (path := Path(f"/proc/{pid}/cmdline")).exists()]
    assert not [command for command in commands if b"local_server" in command]  # its process is gone


def test_the_packaged_model_says_what_it_is() -> None:
    llm = Local(model="local/smollm2-135m-instruct")
    assert llm.languages == {"en"}
    assert llm.demonstration
    assert llm.price() == (0.0, 0.0, None)
    assert len(str(llm.identity()["sha256"])) == 64
    with pytest.raises(ValueError, match=r"no packaged model is called 'another'.*smollm2-135m-instruct"):
        Local(model="local/another")


def test_a_server_of_the_packaged_model_that_ends_stops_the_run(tmp_path: Path) -> None:
    async def work() -> None:
        llm = Local(model="local/smollm2-135m-instruct")
        await llm.start(context(tmp_path))
        assert llm._server is not None
        os.kill(llm._server.pid, signal.SIGKILL)
        try:
            with pytest.raises(ProviderDown, match=r"its server ended \(exit code -9\)"):
                await llm.answer([Message("user", "one")], seed=1)
        finally:
            await llm.stop()

    asyncio.run(work())


def test_the_server_of_the_packaged_model_ends_with_its_run(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, time\n"
        "from langmill.api import Context\n"
        "from langmill_plugins.llms.local import Local\n"
        "async def main():\n"
        "    llm = Local(model='local/smollm2-135m-instruct')\n"
        "    await llm.start(Context('llm', 1, {}, pathlib.Path('.')))\n"
        "    print(llm._server.pid, flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert run.stdout is not None
    server = int(run.stdout.readline())
    os.kill(server, 0)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    for _ in range(100):
        state = Path(f"/proc/{server}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    os.kill(server, signal.SIGKILL)
    pytest.fail("the server outlived its run")


# --- script and replay -------------------------------------------------------------------------------------------------


def scripted(folder: Path, *lines: object) -> Scripted:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "script.jsonl").write_text(text, "utf-8")
    return Scripted(model="scripted/known", answers="script.jsonl")


def test_a_script_answers_what_it_knows_and_fails_loudly_otherwise(tmp_path: Path) -> None:
    llm = scripted(
        tmp_path, {"match": ["skorbut", "warum"], "answer": {"text": "坏血病"}}, {"match": "skorbut", "answer": "plain"}
    )
    first, second = answer(llm, tmp_path, "warum skorbut", "skorbut")
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.text, second.text) == ('{"text": "坏血病"}', "plain")
    with pytest.raises(NotScripted, match="no answer for: beriberi"):
        answer(llm, tmp_path, "beriberi")
    with pytest.raises(NotScripted):
        ask(llm, tmp_path, "beriberi")  # the engine makes no reject of it


def test_every_bad_line_of_a_script_is_named(tmp_path: Path) -> None:
    llm = scripted(
        tmp_path, "no json", {"match": "a", "answer": "b"}, {"match": "a"}, {"match": 3, "answer": "b", "x": 1}
    )
    with pytest.raises(RecipeError) as found:
        answer(llm, tmp_path)
    assert all(f"script.jsonl:{number}: " in str(found.value) for number in (1, 3, 4))
    assert "script.jsonl:2" not in str(found.value)
    with pytest.raises(MissingInput, match=r"llm\.answers: no script at 'none\.jsonl'"):
        answer(Scripted(model="scripted/x", answers="none.jsonl"), tmp_path)


def test_a_replay_gives_the_rows_of_the_first_run_and_sends_nothing(tmp_path: Path) -> None:
    with Provider() as server:
        first = ask(LiteLLM(model="openai/some", api_base=server.url), tmp_path, "one", "two")
        base = server.url
    again = Replay(model="replay/openai/some", api_base=base)
    assert ask(again, tmp_path, "one", "two", run="again") == first
    with pytest.raises(MissingInput, match=r"no answer for this call.*--set llm\.model=openai/some"):
        ask(again, tmp_path, "three", run="again")
    with pytest.raises(MissingInput):
        ask(Replay(model="replay/openai/some", temperature=0.1), tmp_path, "one", run="again")


def test_a_replay_does_not_hand_over_to_a_model_that_sends(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        second = LiteLLM(model="openai/second", api_base=url)
        prompt = Prompt((Message("user", "one"),), "en/test@0")
        with Ledger(tmp_path) as ledger:

            async def ask(name: str, **models: LLM) -> str:
                about = {"run": name, "budget": None, "context": context(tmp_path), "report": lambda event: None}
                async with Engine({**models, "second": second}, ledger, **about) as engine:
                    return (
                        await engine.model("llm").answer(prompt, Said, step="test", language="en", seed=1)
                    ).value.text

            replay = Replay(model="replay/openai/first", fallback="second")
            with pytest.raises(MissingInput, match="replay sends none"):
                await ask("miss", llm=replay)
            down = LiteLLM(model="openai/first", api_base=f"{url}/nowhere", fallback="second")
            assert await ask("handed over", llm=down) == "answer to one"
            assert await ask("replayed", llm=replay) == "answer to one"

    with Provider() as server:
        asyncio.run(work(server.url))
        assert server.seen()["requests"] == {"one": 1}


def test_a_replay_of_the_packaged_model_is_that_model() -> None:
    options: dict[str, Any] = {"temperature": 0.2, "max_tokens": 30}
    replay = Replay(model="replay/local/smollm2-135m-instruct", **options)
    local = Local(model="local/smollm2-135m-instruct", **options)
    assert replay.identity() == local.identity()
    assert (replay.languages, replay.demonstration) == (local.languages, True)


def test_one_word_swaps_the_provider(tmp_path: Path) -> None:
    """The same call through another provider: nothing else changes, and the answers are kept apart."""
    with Provider() as server:
        assert ask(LiteLLM(model="openai/some", api_base=server.url), tmp_path, "one") == [
            ("answer to one", "openai/some")
        ]
        assert ask(LiteLLM(model="openai/other", api_base=server.url), tmp_path, "one") == [
            ("answer to one", "openai/other")
        ]
        assert server.seen()["requests"] == {"one": 2}


def test_a_row_too_long_for_a_model_is_rejected_and_no_more(tmp_path: Path) -> None:
    class Short(LLM):
        async def answer(self, messages: Any, *, seed: int, schema: Any = None) -> Answer:
            raise CallError("bad_request", "too long")

    with pytest.raises(RowFault, match="bad_request: too long"):
        ask(Short(model="test/short"), tmp_path, "one")
