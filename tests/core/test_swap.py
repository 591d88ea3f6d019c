"""One word of the recipe swaps the provider: a server of one's own on one side, the packaged model on the other."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))
Provider = importlib.import_module("provider").Provider
RECIPE = """
name: small
languages: [en]
llm: {{model: openai/my-server, api_base: "{url}", api_key_env: MY_KEY, prices: {{input: 1, output: 2}}, max_tokens: 80}}
sources:
  own: {{use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0, limit: 2}}
datasets:
  ift:
    from: [own]
    steps: [{{use: expand, guards: false}}]
"""


def test_a_server_of_ones_own_and_the_packaged_model_change_places_by_one_word(bench: Any) -> None:
    long = " ".join(f"word{number}" for number in range(90))
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": json.dumps({"answer": long})},
    }
    said = {"id": "r", "choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 60}}
    bench.data("qa.en.jsonl")
    models = ("openai/my-server", "local/smollm2-135m-instruct", "openai/my-server")
    with Provider(replies=[{"text": json.dumps(said)}]) as server:
        bench.write("recipe.yaml", RECIPE.format(url=server.url))
        for model in models:
            ended = bench.command("run", "recipe.yaml", "--set", f"llm.model={model}", environment={"MY_KEY": "k" * 20})
            assert ended.code == 0, ended.err
        asked = sum(server.seen()["requests"].values())
    calls = [(call["model"], call["cost"]) for call in bench.calls()]
    paid = round(50 * 1e3 + 60 * 2e3)  # in billionths of a dollar
    assert [call for call in calls if call[0] == models[0]] == [(models[0], paid)] * asked
    assert asked == 2  # the second time round they were in the ledger
    assert {model for model, _ in calls} == set(models)
    assert {cost for model, cost in calls if model == models[1]} == {0}
    (model,) = {mark.model for row in bench.rows("ift") for mark in row.origin.marks}
    assert model == models[0]
