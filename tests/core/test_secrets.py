"""No key, prompt or answer where it should not be: not in a log, not in the terminal, not in an error, whatever goes wrong."""

from __future__ import annotations

import importlib
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))
Provider = importlib.import_module("provider").Provider
KEY = "sk-canary-0123456789abcdef"
ASKED, ANSWERED = "kanarienvogel-frage", "answer to"
RECIPE = """
name: small
languages: [en]
llm: {{model: openai/canary, api_base: "{url}", api_key_env: CANARY_KEY, concurrency: 4, timeout: 2, max_tokens: 300}}
sources:
  own: {{use: table, path: rows.jsonl, body: chat, license: CC0-1.0}}
datasets:
  ift:
    from: [own]
    steps: [{{use: expand, guards: false}}]
"""


def prepared(bench: Any, url: str) -> None:
    rows = [
        {"id": f"r{number}", "language": "en", "split": "train", "question": f"{ASKED} {number}?", "answer": "Short."}
        for number in range(8)
    ]
    bench.write("rows.jsonl", "\n".join(map(json.dumps, rows)) + "\n")
    bench.write("recipe.yaml", RECIPE.format(url=url))


def completion(content: str) -> str:
    """A whole answer of the dialect."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 9}
    return json.dumps({"id": "r", "object": "chat.completion", "choices": [choice], "usage": usage})


@pytest.mark.parametrize(
    "trouble",
    [
        {"replies": [{"text": completion(json.dumps({"answer": f"An {ANSWERED} it that is longer."}))}]},
        {"unfit": 0.3, "truncate": 0.2, "filter": 0.2, "garbage": 0.1, "broken": 0.1},
        {"key": "another"},
        {"quota": False},
        {"replies": [{"status": 400, "text": json.dumps({"error": {"message": f"{ASKED} 1? is no question"}})}]},
        {"replies": [{"status": 401, "text": json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}})}]},
        {"replies": [{"status": 500, "text": f"<html>{ASKED} 1? {KEY}</html>"}]},
    ],
    ids=["no trouble", "mixed", "wrong key", "no money", "prompt echoed", "key echoed", "page echoed"],
)
def test_nothing_of_it_is_told(bench: Any, trouble: dict[str, Any]) -> None:
    with Provider(**trouble) as server:
        prepared(bench, server.url)
        said = bench.command("run", "recipe.yaml", environment={"CANARY_KEY": KEY})
        assert said.code in (0, 1), said.err
        assert sum(server.seen()["requests"].values()) > 0
    run = bench.run()
    told = {"terminal": said.out + said.err, "log": (run.root / "log.jsonl").read_text("utf-8")}
    for place, text in told.items():
        assert text
        assert not [word for word in (KEY, ASKED, ANSWERED) if word in text], place
    files = [path for root in (run.root, bench.home) for path in root.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert stat.S_IMODE((bench.home / "ledger.sqlite").stat().st_mode) == 0o600


def test_a_key_that_is_not_set_is_named_before_anything_is_sent(bench: Any) -> None:
    with Provider() as server:
        prepared(bench, server.url)
        said = bench.command("run", "recipe.yaml")
        assert said.code == 2
        assert "the environment variable CANARY_KEY is not set: export CANARY_KEY=" in said.err
        assert not server.seen()["requests"]
