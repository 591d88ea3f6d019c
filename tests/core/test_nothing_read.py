"""Sources whose records become no rows: all of them (a run ends there), or some (plan and summary say so)."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("packs_once")
RECIPE = """\
name: small
languages: [en]
run: {workers: 1}
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  good: {use: table, path: good.jsonl, body: choice, language: en, license: MIT}
  keys: {use: table, path: keys.jsonl, body: choice, language: en, license: MIT}
  tongues: {use: table, path: tongues.jsonl, body: choice, license: MIT}
datasets:
  made: {from: [good], steps: [{use: explain, guards: false}]}
  all: {from: [made, keys, tongues]}
"""


def item(number: int, **fields: str) -> str:
    asked = {
        "id": f"r{number}",
        "question": f"What is asked in item {number}?",
        "options": ["one", "two"],
        "answer": "A",
    }
    return json.dumps({**asked, **fields}) + "\n"


@pytest.fixture
def lossy(bench):
    """A sound source, one with keys outside its options, and one of languages that the recipe does not have."""
    bench.script()
    bench.write("small.yaml", RECIPE)
    bench.write("good.jsonl", item(1) + item(2))
    bench.write("keys.jsonl", item(1, answer="Q") + item(2, answer="R"))
    bench.write("tongues.jsonl", item(1, language="de") + item(2, language="de") + item(3, language="it"))
    return bench


def test_a_run_ends_before_any_call_and_names_all_sources_of_which_nothing_is_left(lossy):
    said = lossy.factory("run", "small.yaml")
    assert said.code == 4, said.err
    assert "sources.keys: none of 2 records became a row: rejected: bad_key 2\n" in said.err
    assert "the first bad_key: r1: keys.jsonl:1: " in said.err
    (kept,) = (lossy.folder / "runs/small/sources/work/keys").glob("*.rejected.parquet")
    assert f"all rejects: {kept.relative_to(lossy.folder)}\n" in said.err
    assert "sources.tongues: none of 3 records became a row: skipped: language_not_in_recipe 3\n" in said.err
    assert "their languages: de, it: add them to the recipe's languages:" in said.err
    assert "sources.good" not in said.err and lossy.calls() == []
    assert lossy.factory("run", "small.yaml").code == 4, "what was kept is no better"


def test_one_row_is_enough_and_the_summary_shows_the_first_reject(lossy):
    lossy.write("keys.jsonl", item(1, answer="Q") + item(2))
    lossy.write("tongues.jsonl", item(1, language="de") + item(2, language="en"))
    said = lossy.factory("run", "small.yaml", "--limit", "1")
    assert said.code == 0, said.err
    assert "  keys, the first reject: r1: bad_key: keys.jsonl:1: " in said.err
    assert "tongues, the first reject" not in said.err, "what is skipped is no reject"


def test_a_plan_shows_what_it_lost(lossy):
    said = lossy.factory("plan", "small.yaml")
    assert said.code == 0
    assert "good: 2 rows   en 2\nkeys: 0 rows\n  rejected: bad_key 2\n" in said.err, said.err
    assert "tongues: 0 rows\n  skipped: language_not_in_recipe 3\n" in said.err
    lost = json.loads(lossy.factory("plan", "small.yaml", "--json").out)["lost"]
    assert lost == {
        "good": {},
        "keys": {"rejected": {"bad_key": 2}},
        "tongues": {"skipped": {"language_not_in_recipe": 3}},
    }


def test_a_recipe_tried_in_fewer_languages_says_what_it_leaves_out(lossy):
    lossy.write("keys.jsonl", item(1))
    sets = ("--set", "datasets.made.steps=[]")
    said = lossy.factory("run", "small.yaml", *sets)
    assert said.code == 0, said.err
    assert "note: sources.tongues: no record is in a language of the recipe: de, it" in said.err
    said = lossy.factory(
        "run", "small.yaml", *sets, "--set", "datasets.made.from=[tongues]", "--set", "datasets.all.from=[made]"
    )
    assert said.code == 4 and "their languages: de, it: add them to the recipe's languages:" in said.err, said.err


def test_a_language_of_all_records_is_one_of_the_recipe(lossy):
    said = lossy.factory("check", "small.yaml", "--set", "sources.keys.language=de")
    assert said.code == 0
    assert (
        "note: sources.keys.language: 'de' is none of the recipe's languages (en): its records are skipped" in said.err
    )
    said = lossy.factory("check", "small.yaml", "--set", "sources.keys.language=english")
    assert said.code == 2 and "found the text 'english': must be a language code such as en" in said.err
