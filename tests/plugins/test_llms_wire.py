"""The wire to endpoints of OpenAI's dialect: what is sent, what is read, and what is learned from a refusal."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from langmill.api import Answer, CallError, Context, Message, MissingInput, RecipeError
from langmill_plugins.llms import openai_wire
from langmill_plugins.llms.errors import clean, pause_of, retry_after
from langmill_plugins.llms.litellm import LiteLLM
from langmill_plugins.llms.local import Local
from langmill_plugins.llms.openai_wire import Wire, closed
from langmill_plugins.llms.replay import Replay

sys.path.append(str(Path(__file__).resolve().parents[1]))
provider = importlib.import_module("provider")
Provider = provider.Provider

SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 99}}, "required": ["text"]}
OTHER = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
BODY = {"model": "some", "temperature": 0.5, "max_tokens": 50, "seed": True}


def asked(url: str, *texts: str, schema: Mapping[str, Any] | None = SCHEMA) -> list[Answer | CallError]:
    """What comes of each text, one after the other over one wire."""

    async def work() -> list[Answer | CallError]:
        wire, said = Wire(url, BODY, key="sk-test"), []
        await wire.open()
        for text in texts:
            try:
                said.append(await wire.answer([Message("user", text)], 7, schema))
            except CallError as error:
                said.append(error)
        await wire.close()
        return said

    return asyncio.run(work())


def replied(*replies: Mapping[str, Any]) -> list[Answer | CallError]:
    """What becomes of each of these replies."""
    with Provider(replies=replies) as server:
        return asked(server.url, *["one"] * len(replies))


def failed(said: Answer | CallError) -> CallError:
    assert isinstance(said, CallError)
    return said


def says(content: object, **more: object) -> str:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return json.dumps({"id": "r", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}, **more})


def test_what_is_sent() -> None:
    text = 'a "quoted" line\n\x00\u2028 坏血病 \ud83e'  # the last is half a character
    with Provider() as server:
        (said,) = asked(server.url, text)
        last = server.seen()["last"]
    assert isinstance(said, Answer)
    shape = {"name": "answer", "schema": closed(SCHEMA), "strict": True}
    assert last["body"] == {
        "model": "some",
        "temperature": 0.5,
        "max_tokens": 50,
        "seed": 7,
        "messages": [{"role": "user", "content": text[:-1] + "?"}],
        "response_format": {"type": "json_schema", "json_schema": shape},
    }
    assert last["headers"]["authorization"] == "Bearer sk-test"
    assert "cookie" not in last["headers"]


def test_an_endpoint_of_yours_needs_no_litellm(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from langmill.api import Context, Message\n"
        "from langmill_plugins.llms.litellm import LiteLLM\n"
        "async def main():\n"
        "    llm = LiteLLM(model='openai/some', api_base=sys.argv[1])\n"
        "    await llm.start(Context('llm', 1, {}, pathlib.Path('.')))\n"
        "    print(llm.price(), (await llm.answer([Message('user', 'one')], seed=1)).finish)\n"
        "    await llm.stop()\n"
        "asyncio.run(main())\n"
        "print('litellm' in sys.modules)\n"
    )
    with Provider() as server:
        run = subprocess.run([sys.executable, "-c", script, server.url], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.splitlines() == ["Price(prompt=0.0, answer=0.0, batch=None) stop", "False"], run.stderr


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, '{"error": {"message": "too long", "code": "context_length_exceeded"}}', "bad_request"),
        (400, '{"error": {"message": "no", "code": "model_not_found"}}', "auth"),
        (400, '{"error": {"message": "Model Not Exist"}}', "auth"),
        (400, '{"error": {"message": "some is not a valid model ID", "code": 400}}', "auth"),
        (400, '{"message": "Invalid model: some", "type": "invalid_model"}', "auth"),
        (400, '{"error": {"message": "Your credit balance is too low"}}', "quota"),
        (401, '{"error": "no"}', "auth"),
        (402, "{}", "quota"),
        (403, "[]", "auth"),
        (404, "<html>nothing here</html>", "auth"),
        (408, "", "timeout"),
        (413, "too large", "bad_request"),
        (422, '{"detail": [{"loc": ["body", "messages"], "msg": "bad", "input": "one"}]}', "bad_request"),
        (429, '{"error": {"message": "You exceeded your current quota, please check your plan"}}', "quota"),
        (429, '{"error": {"message": "You exceeded your current quota. Please retry in 37.5s."}}', "rate_limit"),
        (429, '{"error": {"message": "Insufficient Balance"}}', "quota"),
        (500, '{"error": {"message": "boom"}}', "server"),
        (503, "", "server"),
        (200, '{"error": {"message": "slow down", "code": 429}}', "rate_limit"),
        (200, '{"error": {"message": "upstream failed"}}', "server"),
    ],
)
def test_the_kind_of_an_error(status: int, text: str, kind: str) -> None:
    (said,) = replied({"status": status, "text": text})
    assert failed(said).kind == kind


def test_a_content_filter_is_a_refusal_and_a_redirect_is_not_followed() -> None:
    filtered, moved = replied(
        {"status": 400, "text": '{"error": {"message": "filtered", "code": "content_filter"}}'},
        {"status": 307, "text": "", "headers": {"Location": "http://127.0.0.1:9/", "Set-Cookie": "a=b"}},
    )
    assert filtered == Answer("", "refusal")
    assert (failed(moved).kind, str(moved)) == ("auth", "HTTP 307: it gave no reason")


def test_the_words_of_every_shape_of_error_are_told() -> None:
    shapes = [
        '{"error": {"message": "so it is"}}',
        '{"error": "so it is"}',
        '{"message": "so it is"}',
        '{"detail": "so it is"}',
        '{"detail": [{"loc": ["body"], "msg": "so it is", "input": "one"}]}',
        '{"object": "error", "message": "so it is", "code": 400}',
    ]
    for said in replied(*({"status": 400, "text": text} for text in shapes)):
        assert "so it is" in str(failed(said))
    plain = {"status": 502, "headers": {"Content-Type": "text/plain"}}
    page, line = replied({**plain, "text": "<html>so it is</html>"}, {**plain, "text": "so it is"})
    assert (str(page), str(line)) == ("HTTP 502: it gave no reason", "HTTP 502: so it is")


def test_when_to_come_back() -> None:
    window = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
    for headers, words, seconds in [
        ({"retry-after-ms": "1500", "retry-after": "7"}, "", 1.5),
        ({"retry-after": "7"}, "", 7.0),
        (window, "", 360.0),
        ({}, "Please try again in 1m2.5s. Visit", 62.5),
        ({}, "Please retry in 250ms", 0.25),
        ({"retry-after": "soon"}, "try later", None),
        ({"retry-after": "inf", "retry-after-ms": "nan"}, "", None),
        ({"retry-after": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, "", None),
        ({"retry-after": "Mon, 01 Jan 999999999999999999999 00:00:00 GMT"}, "", None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, "", None),
        ({"retry-after": "99999999999999999999"}, "", None),
    ]:
        assert retry_after(headers, words) == seconds


@pytest.mark.parametrize(
    ("left", "reset", "pause"),
    [
        *[
            ("0", "1s", 1.0),
            ("0", "6m0s", 360.0),
            ("0", "120ms", 0.12),
            ("0", "2.5", 2.5),
            ("0", "1h1m1s", 3661.0),
            ("0", "60000", 60000.0),
        ],
        *[("1", "1s", 0.0), ("0", "", 0.0), ("0", "soon", 0.0), ("0", "-4", 0.0), ("0", "nan", 0.0), ("0", "inf", 0.0)],
        *[("0", "1999-01-01T00:00:00Z", 0.0), ("0", "1.2.3s", 0.0)],
    ],
)
def test_what_rate_limit_headers_ask_for(left: str, reset: str, pause: float) -> None:
    headers = {"x-ratelimit-remaining-requests": left, "x-ratelimit-reset-requests": reset}
    assert retry_after(headers) == (pause or None)
    assert pause_of(headers) == min(60.0, pause)  # 60000 are milliseconds at some servers; a true wait is a 429


@pytest.mark.parametrize("model", ["openai/some", "mistral/some"])
def test_an_answer_brings_the_pause_that_its_headers_ask_for(model: str, tmp_path: Path) -> None:
    async def work(url: str) -> float:
        llm = LiteLLM(model=model, api_base=url)
        await llm.start(Context("llm", 1, {}, tmp_path))
        answer = await llm.answer([Message("user", "one")], seed=1)
        await llm.stop()
        return answer.pause

    two = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
    two |= {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "3s"}
    with Provider(headers=two) as server:
        assert asyncio.run(work(server.url)) == 3.0


@pytest.mark.parametrize("model", ["openai/some", "mistral/some"])
def test_an_endpoint_that_takes_no_schema_is_told_it_in_words(model: str, tmp_path: Path) -> None:
    async def work(url: str) -> list[Answer]:
        llm = LiteLLM(model=model, api_base=url)
        await llm.start(Context("llm", 1, {}, tmp_path))
        calls = [Message("user", "one")], [Message("user", "two")]
        answers = [await llm.answer(messages, seed=1, schema=SCHEMA) for messages in calls]
        await llm.stop()
        return answers

    with Provider(no_schema=True) as server:
        answers = asyncio.run(work(server.url))
        seen = server.seen()
    assert ["JSON schema" in answer.text for answer in answers] == [True, True]
    assert json.dumps(SCHEMA) in seen["last"]["body"]["messages"][0]["content"]
    assert [len(prompt) > 3 for prompt in seen["requests"]] == [False, True, True]  # it was refused once


def test_other_refusals_of_a_schema_and_what_is_none() -> None:
    refused = {"status": 500, "text": '{"error": {"message": "json_schema is not supported"}}'}
    other = {"status": 400, "text": '{"error": {"message": "too long"}}'}
    told, whole = replied(refused, {"text": says("{}")}, other)[:2]
    assert isinstance(told, Answer)
    assert failed(whole).kind == "bad_request"


def test_parameters_that_a_model_does_not_take_are_renamed_or_left_out() -> None:
    with Provider(no=["max_tokens", "temperature", "seed"]) as server:
        first, second = asked(server.url, "one", "two")
        seen = server.seen()
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert seen["requests"] == {"one": 4, "two": 1}
    assert {"max_completion_tokens": 50}.items() <= seen["last"]["body"].items()
    assert not {"max_tokens", "temperature", "seed"} & seen["last"]["body"].keys()


def test_an_endpoint_that_takes_no_limit_on_answers_is_not_asked_without_one() -> None:
    with Provider(no=["max_tokens", "max_completion_tokens"]) as server:
        for said in asked(server.url, "one", "two"):
            assert failed(said).kind == "bad_request"
            assert str(said).startswith("this endpoint takes no limit on the length of answers")
        assert server.seen()["requests"] == {"one": 2, "two": 1}
        assert "max_completion_tokens" in server.seen()["last"]["body"]


@pytest.mark.parametrize("model", ["openai/some", "mistral/some"])
def test_half_characters_lose_no_answer(model: str, tmp_path: Path) -> None:
    async def work(url: str) -> Answer:
        llm = LiteLLM(model=model, api_base=url)
        await llm.start(Context("llm", 1, {}, tmp_path))
        try:
            return await llm.answer([Message("user", "one")], seed=1)
        finally:
            await llm.stop()

    half = {"created": 0, "model": "\ud800", "object": "chat.completion"}
    text = says("half \ud83e", id="\ud800" * 300, **half).replace('"stop"', '"\\ud800"')
    with Provider(replies=[{"text": text}]) as server:
        said = asyncio.run(work(server.url))
    assert (said.text, said.request_id, said.answer_tokens) == ("half ?", "?" * 200, 2)
    assert said.finish in ("other", "stop")


def test_litellm_knows_what_a_model_of_openai_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def work(model: str) -> None:
        llm = LiteLLM(model=model, max_tokens=50)
        await llm.start(Context("llm", 1, {}, tmp_path))
        await llm.answer([Message("user", model)], seed=1, schema=SCHEMA)
        await llm.stop()

    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj")
    with Provider() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        bodies = {}
        for model in ("openai/o3-mini", "openai/gpt-4o-mini", "openai/gpt-3.5-turbo"):
            asyncio.run(work(model))
            bodies[model] = server.seen()["last"]["body"]
        assert sum(server.seen()["requests"].values()) == 3
        headers = server.seen()["last"]["headers"]
    reasoning, usual, old = bodies.values()
    assert (reasoning["model"], reasoning["max_completion_tokens"]) == ("o3-mini", 50)
    assert not {"max_tokens", "temperature"} & reasoning.keys()
    assert (usual["max_tokens"], usual["temperature"]) == (50, 0.7)
    assert "response_format" in usual
    assert "response_format" not in old
    assert "JSON schema" in old["messages"][0]["content"]
    assert (headers["authorization"], headers["openai-project"]) == ("Bearer sk-own", "proj")


def test_a_count_that_can_not_be_believed_is_none() -> None:
    wrong = [{"text": says("x", usage=usage)} for usage in provider.WRONG_USAGES]
    for said in replied(*wrong, {"text": json.dumps({"choices": [{"message": {"content": "x"}}]})}):
        assert isinstance(said, Answer)
        assert said.prompt_tokens == 0
        assert said.answer_tokens == 0


def test_a_reply_beyond_all_bounds_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_wire, "LARGEST", 1000)
    large, deep = replied({"text": says("x" * 2000)}, {"text": "[" * 900})
    assert (failed(large).kind, failed(deep).kind) == ("timeout", "timeout")  # both may be billed
    assert "x" * 10 not in str(large)


def test_connections_are_kept_and_one_that_was_closed_meanwhile_costs_nothing() -> None:
    async def work(server: Any) -> None:
        wire = Wire(server.url, BODY, key="none")
        await wire.open()
        for number in range(20):
            await wire.answer([Message("user", str(number))], 7, None)
        assert server.seen()["connections"] == 1
        while server.seen()["open"]:  # not awaited: the loop does not hear that the server closes it
            pass
        await wire.answer([Message("user", "last")], 7, None)
        await wire.close()

    with Provider(idle=0.5) as server:
        asyncio.run(work(server))
        assert server.seen()["requests"]["last"] == 1


WRONG_ADDRESSES = (
    *(
        "",
        "127.0.0.1:8000",
        "ftp://example.org",
        "http:/me:secret@example.org",
        "http//example.org",
        "http://",
        "http://a..b/v1",
    ),
    *("https://me:secret@example.org/v1", "https://secret@example.org/v1", "https://:secret@example.org", "http://@h"),
    *("http://example.org:secret/v1", "http://[secret/v1", "http://a\u2100secret/v1", "http://secret example.org/v1"),
    *(
        "http://example.org/v1?key=secret",
        "http://example.org/v1#secret",
        "http://example.org/secret\n",
        "http://h/\ud800",
    ),
)


@pytest.mark.parametrize("model", ["openai/some", "local/smollm2-135m-instruct", "replay/openai/some"])
def test_an_address_that_is_none_or_holds_a_key_is_refused_unseen(model: str) -> None:
    kind = {"local": Local, "replay": Replay}.get(model.partition("/")[0], LiteLLM)
    for base in WRONG_ADDRESSES:
        with pytest.raises(ValidationError, match="no address of a server") as found:
            kind(model=model, api_base=base)
        assert "secret" not in f"{found.value!s}{found.value!r}"
    for base in ("http://127.0.0.1:8000/v1", "https://[::1]:8000", "https://my_host.example.org./v1/"):
        assert kind(model=model, api_base=base).api_base == base


def test_a_mistyped_address_is_found_with_its_place_and_kept_nowhere(bench: Any) -> None:
    recipe = "name: small\nlanguages: [en]\nllm:\n  model: openai/x\n  api_base: http://me:secret@example.org/v1\n"
    bench.data("qa.en.jsonl")
    recipe += "sources: {qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}}\n"
    bench.write("small.yaml", f"{recipe}datasets: {{open: {{from: [qa], steps: [{{use: expand, guards: false}}]}}}}\n")
    for command in ("check", "run"):
        said = bench.factory(command, "small.yaml")
        assert said.code == 2 and "small.yaml:5: llm.api_base: no address of a server: http://HOST:PORT/v1" in said.err
        assert "secret" not in said.out + said.err
    assert not (bench.folder / "runs").exists()
    assert not [path for path in bench.home.glob("ledger*") if b"secret" in path.read_bytes()]


@pytest.mark.parametrize("model", ["openai/some", "mistral/some"])
def test_a_key_out_of_a_file_of_secrets_is_read_without_its_last_line_end(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(**options: Any) -> None:
        async def work() -> None:
            llm = LiteLLM(model=model, **options)
            await llm.start(Context("llm", 1, {}, tmp_path))
            try:
                await llm.answer([Message("user", "one")], seed=1)
            finally:
                await llm.stop()

        asyncio.run(work())

    with Provider(key="sk-canary") as server:
        own = f"{model.partition('/')[0].upper()}_API_KEY"
        for name, where in (("MY_KEY", {"api_base": server.url, "api_key_env": "MY_KEY"}), (own, {})):
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            monkeypatch.setenv("MISTRAL_AZURE_API_BASE", server.url)
            monkeypatch.setenv(name, "\tsk-canary\r\n")
            ask(**where)
            for wrong in ("sk-can\nary", "sk-can\u2028ary", "sk-can\x7fary", "sk-can\udc80ary"):
                monkeypatch.setenv(name, wrong)
                with pytest.raises(MissingInput, match=f"the environment variable {name} holds characters") as found:
                    ask(**where)
                assert "can" not in str(found.value).replace("can not", "")
        monkeypatch.setenv("MY_KEY", "\n")
        with pytest.raises(MissingInput, match="MY_KEY is not set"):
            ask(api_base=server.url, api_key_env="MY_KEY")
        assert server.seen()["requests"] == {"one": 2}


def test_proxies_are_for_what_lies_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "near.example.org")
    with Provider() as server:
        (said,) = asked(server.url, "one")
    assert isinstance(said, Answer)
    proxy = openai_wire._proxy
    assert proxy("https://far.example.org/v1") == {"proxy": "http://127.0.0.1:9"}
    assert proxy("https://near.example.org/v1") == {}
    (beyond,) = asked("http://far.example.org/v1", "one")
    assert failed(beyond).kind == "server"  # nothing was sent
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(RecipeError, match="HTTPS_PROXY=http://HOST:PORT, or NO_PROXY=far"):
        proxy("https://far.example.org/v1")


@pytest.mark.parametrize(
    "quote",
    [
        "Frau Müller, geboren 1950, hat 坏血病很严重了",
        json.dumps("Frau Müller, geboren 1950, hat 坏血病很严重了"),
        repr({"content": "FRAU MÜLLER, GEBOREN 1950, hat 坏血病很严重了"}),
        "Frau M&uuml;ller, geboren 1950, hat 坏血病很严重了",
    ],
)
def test_a_quoted_prompt_is_taken_out_however_it_is_written(quote: str) -> None:
    messages: Sequence[Message] = [Message("user", "Frau Müller,\n geboren 1950, hat 坏血病很严重了")]
    words = clean(f"can not take {quote} as it is", messages)
    assert words.startswith("can not take")
    assert "as it is" in words
    assert [part for part in ("ller", "LLER", "1950", "坏血", "严重", "574f", "574F") if part in words] == []
