"""No key and no word of a prompt in what an error, a log or a warning says, whatever the provider does with them."""

from __future__ import annotations

import asyncio
import html
import importlib
import json
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from langmill.api import CallError, Context, Message
from langmill_plugins.llms.litellm import LiteLLM

sys.path.append(str(Path(__file__).resolve().parents[1]))
Provider = importlib.import_module("provider").Provider

KEY = "sk-canary-3f9d1c0b7a"
PLAIN_KEY = "canaryplain3f9d1c0b7a"  # a key that does not look like one
PROMPT = "Canaryword: Mrs Featherstone, born 1950,\nhas yellow eyes. 金丝雀病人昨天开始发烧并且咳嗽"
TELLTALES = ("canary", "featherstone", "1950", "yellow eyes", "金丝雀", "发烧", "咳嗽", "3f9d", "91d1\\u4e1d")
ONE_LINE = " ".join(PROMPT.split())
BEARER = f"Incorrect API key provided: {KEY}. Authorization: Bearer {KEY}"


def error(text: str, **more: Any) -> str:
    return json.dumps({"error": {"message": text, **more}})


REPLIES: Mapping[str, Mapping[str, Any]] = {
    "401 with the key": {"status": 401, "text": error(BEARER)},
    "401 with the key, no JSON": {"status": 401, "text": BEARER, "headers": {"Content-Type": "text/plain"}},
    "401 with a key that looks like none": {"status": 401, "text": error(f"no account for '{PLAIN_KEY}'")},
    "400 with the prompt": {"status": 400, "text": error(f"can not take: {PROMPT}")},
    "400 with the prompt in JSON": {"status": 400, "text": error(f"can not take {json.dumps({'content': PROMPT})}")},
    "400 with the prompt in HTML": {"status": 400, "text": error(html.escape(f"<p>{PROMPT}</p>"))},
    "400 with the prompt in its code": {"status": 400, "text": error("no", code=ONE_LINE, type=ONE_LINE)},
    "422 with the input": {
        "status": 422,
        "text": json.dumps({"detail": [{"loc": ["body", ONE_LINE], "msg": ONE_LINE, "input": PROMPT}]}),
    },
    "404 with both": {"status": 404, "text": error(f"no model for {KEY}: {PROMPT}")},
    "429 with the prompt": {"status": 429, "text": error(ONE_LINE.lower())},
    "500 with a page": {
        "status": 500,
        "text": f"<html><pre>{PROMPT}\n{KEY}</pre></html>",
        "headers": {"Content-Type": "text/html"},
    },
    "500 with the request": {"status": 500, "text": json.dumps({"request": {"messages": [PROMPT]}, "key": KEY})},
    "200 with the prompt and no answer": {"text": json.dumps({"choices": [], "echo": PROMPT})},
    "200 with an error": {"text": error(PROMPT, code=400)},
    "200 with half a reply": {"text": json.dumps({"choices": [{"message": {"content": PROMPT}}]})[:-3]},
    "200 with an answer of another kind": {"text": json.dumps({"choices": [{"message": {"content": [PROMPT]}}]})},
}


class Kept(logging.Handler):
    """Keeps what every logger says, formatted, with its traceback."""

    def __init__(self) -> None:
        super().__init__(0)
        self.said: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


def told(llm: LiteLLM, capfd: pytest.CaptureFixture[str]) -> str:
    """All that is said of one call: its error, log records of any level, warnings, output."""

    async def work() -> BaseException | None:
        await llm.start(Context("llm", 1, {}, Path()))
        try:
            async with asyncio.timeout(llm.timeout):
                await llm.answer([Message("user", PROMPT)], seed=1, schema={"type": "object", "properties": {}})
        except (CallError, TimeoutError) as error:
            return error
        finally:
            await llm.stop()
        return None

    kept, root = Kept(), logging.getLogger()
    before = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            failure = asyncio.run(work())
    finally:
        root.removeHandler(kept)
        root.setLevel(before)
    assert failure is not None
    return "\n".join([repr(failure), *kept.said, *(str(one.message) for one in warned), *capfd.readouterr()])


@pytest.mark.parametrize("model", ["openai/some", "mistral/some"])
@pytest.mark.parametrize("trouble", [*REPLIES, "stall", "drop", "cut"])
def test_nothing_is_given_away(
    model: str, trouble: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = PLAIN_KEY if trouble.endswith("looks like none") else KEY
    monkeypatch.setenv("WRITER", key)  # nothing in the variable's name says that it holds a key
    options = {"replies": [REPLIES[trouble]]} if trouble in REPLIES else {trouble: 1.0}
    with Provider(**options) as server:
        llm = LiteLLM(model=model, api_base=server.url, api_key_env="WRITER", timeout=5 if trouble in REPLIES else 0.5)
        shown = told(llm, capfd).lower()
    assert [one for one in TELLTALES if one in shown] == [], shown
