"""A language that another package brings: one folder, found through its entry point, used like any other."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
RECIPE = """\
name: small
languages: [en, eo]
run: {workers: 1}
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0, limit: 4}
datasets:
  open: {from: [qa], steps: [{use: translate, guards: false, into: [eo]}, {use: language_id}]}
"""


@pytest.fixture
def outside(bench, monkeypatch):
    """The package on the path, as an installed one would be."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    importlib.invalidate_caches()
    yield bench
    for name in ("langmill_esperanto", "langmill_arabic"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("code", "name"), [("eo", "Esperanto (Esperanto)"), ("ar", "Arabic (العربية)")])
def test_a_language_from_outside_is_found_and_sound(outside, code, name):
    listed = outside.factory("languages")
    assert listed.code == 0
    assert f"{code}   {name}, 13 prompts" in listed.err
    checked = outside.factory("languages", "check", code)
    assert checked.code == 0, checked.err
    assert f"{code}: sound" in checked.err


def test_a_recipe_uses_it(outside):
    outside.data("qa.en.jsonl")
    good = {
        "question": "Kiu valvo apartigas la maldekstran atrion de la maldekstra ventriklo?",
        "answer": "Tio estas la mitrala valvo, la sola kora valvo kiu havas nur du foliojn.",
    }
    outside.script(("Traduku la suban medicinan demandon", good))
    outside.write("small.yaml", RECIPE)
    done = outside.factory("run", "small.yaml")
    assert done.code == 0, done.err
    made = [row for row in outside.rows("open") if row.language == "eo"]
    assert len(made) == 4
    assert {row.id for row in made} == {f"qa/{row.origin.record}/translate.eo" for row in made}
    assert {mark.prompt.split("@")[0] for row in made for mark in row.origin.marks} == {"eo/translate"}
    manifest = outside.run().read_json("manifest.json")
    assert "esperanto (langmill-esperanto 0.1.0)" in manifest["plugins"]
    assert (outside.run().root / "open/data/eo/train-00000.parquet").is_file()


def test_its_facts_guard_a_translation(outside):
    asked = {"question": "How much of the drug does an adult with this infection take?", "language": "en"}
    for number, dose in enumerate(("5 mg twice daily for 14 days", "7 mg twice daily for 14 days"), start=1):
        asked |= {"id": f"dose-{number}", "answer": f"An adult with this infection takes {dose}, with a meal."}
        rows = outside.folder / "data/doses.jsonl"
        rows.parent.mkdir(exist_ok=True)
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asked) + "\n")
    said = {
        "question": "ما مقدار الدواء الذي يتناوله البالغ المصاب بهذه العدوى؟",
        "answer": "يتناول البالغ المصاب بهذه العدوى ٥ ملغ مرتين يوميًا لمدة أسبوعين مع الطعام.",
    }
    outside.script(("ترجم السؤال الطبي", said))
    recipe = RECIPE.replace("qa.en.jsonl", "doses.jsonl").replace("eo", "ar").replace("guards: false, ", "")
    outside.write("small.yaml", recipe)
    done = outside.factory("run", "small.yaml")
    assert done.code == 0, done.err
    assert [row.id for row in outside.rows("open") if row.language == "ar"] == ["qa/dose-1/translate.ar"]
    (reject,) = outside.rejects("open")
    assert (reject.record, reject.reason) == ("dose-2", "changed_number")
    assert "7 mg" in reject.detail and "5 ملغ" in reject.detail


def test_without_the_package_the_recipe_says_what_is_missing(bench):
    bench.data("qa.en.jsonl")
    bench.script()
    bench.write("small.yaml", RECIPE)
    said = bench.factory("run", "small.yaml")
    assert said.code == 2
    assert "small.yaml:2: languages[1]: there is no language pack 'eo'" in said.err
    assert "factory new language eo" in said.err
