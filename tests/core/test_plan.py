"""What a recipe would cost, and a few rows tried out, before it is run."""

import asyncio
import json
from pathlib import Path

import pytest

from langmill.assembly import assemble
from langmill.errors import MissingInput
from langmill.plan import facts, lines, plan
from langmill.preview import preview

ROWS = Path(__file__).parents[2] / "recipes" / "data"
RECIPE = """
name: small
languages: [en, fr]
llm: {{model: scripted/one, answers: script.jsonl, max_tokens: 100{llm}}}
sources:
  qa: {{use: jsonl, path: 'qa.*.jsonl', body: chat, license: CC0-1.0}}
{sources}
datasets:
  ift:
    from: [qa{more}]
    steps:
      - {{use: expand, most_characters: 160}}
      - {{use: translate, into: [en, fr], limit: 2}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    for language in ("en", "fr"):
        (tmp_path / f"qa.{language}.jsonl").write_bytes((ROWS / f"qa.{language}.jsonl").read_bytes())
    answers = [
        {
            "match": "",
            "answer": {"answer": "An answer that is a good deal longer than the one that was there before it. " * 3},
        }
    ]
    (tmp_path / "script.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return tmp_path


def assembled(folder, llm="", sources="", more=""):
    path = folder / "small.yaml"
    path.write_text(RECIPE.format(llm=llm, sources=sources, more=more))
    return assemble(path)


def test_the_plan_counts_what_the_steps_would_ask_and_asks_nothing(folder):
    planned = asyncio.run(plan(assembled(folder)))
    short = {}
    for language in ("en", "fr"):
        rows = [json.loads(line) for line in (ROWS / f"qa.{language}.jsonl").read_text("utf-8").splitlines()]
        short[language] = sum(row["split"] == "train" and len(row["answer"]) <= 160 for row in rows)
    assert planned.rows == {"qa": {"en": 20, "fr": 20}}
    counted = {(cost.step, cost.language): cost.rows for cost in planned.steps}
    assert counted[("expand", "en")] == short["en"] and counted[("expand", "fr")] == short["fr"]
    assert counted[("translate", "en")] == counted[("translate", "fr")] == 2, "the bound holds, one target each"
    assert [cost.made_on_top for cost in planned.steps] == [False, False, True, True]
    assert lines(planned)[-1].startswith("all: $0.00 to $0.00")
    assert json.loads(json.dumps(facts(planned)))["skipped"] == {}
    assert not (folder / "runs").exists()


def test_an_absent_source_is_listed_with_what_it_declares_and_the_rest_is_counted(folder):
    declared = "  gone: {use: jsonl, path: gone.jsonl, body: chat, license: MIT, expect: {rows: 1200}}"
    planned = asyncio.run(plan(assembled(folder, sources=declared, more=", gone")))
    [line] = planned.absent
    assert "gone.jsonl" in line and "declared: 1,200 rows" in line
    assert planned.rows == {"qa": {"en": 20, "fr": 20}}


def test_a_preview_shows_prompts_answers_and_rows(folder):
    recipe = folder / "small.yaml"
    assembled(folder)
    recipe.write_text(recipe.read_text().split("      - {use: translate")[0])
    shown = "\n".join(asyncio.run(preview(assemble(recipe), 1, None)))
    assert "--- expand in en, prompt en/expand@" in shown
    assert "<question>" in shown and '=> {"answer":' in shown
    assert "ift: qa/en-qa-01/expand (en, train)" in shown


def test_a_preview_of_absent_sources_says_so(folder):
    declared = "  gone: {use: jsonl, path: gone.jsonl, body: chat, license: MIT}"
    with pytest.raises(MissingInput, match=r"gone\.jsonl"):
        asyncio.run(preview(assembled(folder, sources=declared, more=", gone"), 1, None))
