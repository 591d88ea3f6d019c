"""The command: what it lists, what it finds wrong, what it prints where."""

from __future__ import annotations

import json
import re

import pytest

SOUND = """\
name: small
languages: [en]
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
  far: {use: medquad, path: $data_dir/medquad, license: CC-BY-4.0}
datasets:
  open: {from: [qa], steps: [{use: exact}, {use: expand, guards: false}]}
"""

FAULTY = """\
name: small recipe
seed: minus one
languages: [en, xx, en]
purpose: comercial
budgt: 3
plugins: [../up.py]
llm: {model: scripted/writer, temperature: 9}
models:
  base: {model: scripted/other, answers: a.jsonl}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat}
  odd: {use: tabel, path: data/x.jsonl, license: CC0-1.0}
datasets:
  open:
    from: [qa, exams, nothing]
    steps:
      - {use: exact, split: [train]}
      - {use: expnad}
      - {use: expand, guards: false, limit: 0, llm: other}
      - {use: decontaminate, against: exams}
    write: [{use: parqet}]
  exams: {from: [odd]}
train:
  use: peft
  base: local/smollm2-135m-instruct
  stages:
    - {name: first, data: opn, start: second}
    - {name: second, data: open, learning_rate: fast}
eval:
  - {use: choice_accuracy, data: exams, models: [base, third]}
"""

PLANTED = [
    (1, "name"), (2, "seed"), (3, "languages[1]"), (3, "languages[2]"), (4, "purpose"), (5, "budgt"), (6, "plugins[0]"),
    (7, "llm.answers"), (7, "llm.temperature"), (9, "models.base"), (11, "sources.qa.license"), (12, "sources.odd.use"),
    (15, "datasets.open.from[1]"), (15, "datasets.open.from[2]"), (17, "datasets.open.steps[0].split"),
    (18, "datasets.open.steps[1].use"), (19, "datasets.open.steps[2].limit"),
    (20, "datasets.open.steps[3].against"), (21, "datasets.open.write[0].use"), (27, "train.stages[0].data"),
    (27, "train.stages[0].start"), (28, "train.stages[1].learning_rate"), (30, "eval[0].models[1]"),
]  # fmt: skip


def test_check_finds_every_planted_fault_at_once_with_its_line(bench):
    bench.write("small.yaml", FAULTY)
    said = bench.command("check", "small.yaml")
    assert said.code == 2
    assert "Traceback" not in said.err
    found = {
        (int(line), place) for line, place in re.findall(r"^(?:factory: )?small\.yaml:(\d+): (\S+): ", said.err, re.M)
    }
    assert set(PLANTED) - found == set()
    assert found - set(PLANTED) == set(), "nothing is called wrong that is not"
    for words in ("Did you mean 'budget'?", "Did you mean 'expand'?", "Did you mean 'table'?", "possible: "):
        assert words in said.err
    run = bench.factory("run", "small.yaml")
    assert run.code == 2
    assert not (bench.folder / "runs").exists()


def test_check_of_a_sound_recipe_lists_what_is_absent(bench):
    bench.data("qa.en.jsonl")
    bench.write("small.yaml", SOUND)
    said = bench.factory("check", "small.yaml", "--json")
    assert said.code == 0, said.err
    assert "small.yaml: sound. 2 sources, 1 data sets, 0 stages" in said.err
    told = json.loads(said.out)
    assert len(told["absent"]) == 1
    assert told["absent"][0]["name"] == "far"
    assert "FACTORY_DATA" in told["absent"][0]["why"]
    assert not (bench.folder / "runs").exists()
    assert bench.calls() == []
    assert bench.factory("run", "small.yaml").code == 2, "run refuses what check only lists"


def test_the_shipped_recipe_is_sound_in_every_profile(bench):
    from pathlib import Path

    recipes = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        profiles = re.findall(r"(?m)^  (\w+):", path.read_text("utf-8").partition("\nprofiles:")[2])
        for words in ((), *(("--profile", name) for name in profiles)):
            said = bench.factory("check", str(path), *words)
            assert said.code == 0, said.err


def test_plugins_are_listed_with_their_help(bench):
    said = bench.factory("plugins", "--json")
    parts = json.loads(said.out)
    assert {"kind": "filters", "use": "exact"}.items() <= next(part for part in parts if part["use"] == "exact").items()
    assert all(part["about"] and not part["about"].startswith("broken") for part in parts)
    people = bench.factory("plugins")
    assert people.out == ""
    assert "  decontaminate" in people.err


def test_languages_are_listed_and_checked(bench):
    packs = json.loads(bench.factory("languages", "--json").out)
    assert {pack["code"] for pack in packs} >= {"en", "es", "fr", "ja", "ko", "ru", "zh"}
    assert bench.factory("languages", "check", "ja").code == 0
    unknown = bench.factory("languages", "check", "jp")
    assert unknown.code == 2
    assert "no language pack 'jp'" in unknown.err
    assert "factory new language jp" in unknown.err
    assert bench.factory("languages", "chek", "ja").code == 2


def test_schema_is_json_and_knows_the_parts(bench):
    said = bench.factory("schema")
    assert said.code == 0
    text = json.dumps(json.loads(said.out))
    for use in ("medquad", "decontaminate", "translate", "choice_accuracy", "messages_jsonl"):
        assert f'"const": "{use}"' in text


def test_what_a_run_holds_can_be_asked_later(bench):
    bench.data("qa.en.jsonl")
    bench.script()
    bench.write("small.yaml", SOUND.replace("  far: {use: medquad, path: $data_dir/medquad, license: CC-BY-4.0}\n", ""))
    done = bench.factory("run", "small.yaml", "--json")
    assert done.code == 0, done.err
    status = bench.factory("status", "runs/small", "--json")
    assert status.code == 0
    assert json.loads(status.out) == json.loads(done.out)
    assert "open: 34 rows" in bench.factory("status", "runs/small").err
    page = bench.run().report
    page.unlink()
    assert bench.factory("report", "runs/small").code == 0
    assert page.exists()
    shown = bench.factory("show", "runs/small", "qa/en-qa-01")
    assert "qa/en-qa-01/expand" in shown.err
    none = bench.factory("show", "runs/small", "nothing/1")
    assert none.code == 2
    assert "no row or reject begins with 'nothing/1'" in none.err


def test_no_prompt_row_or_key_reaches_the_log_or_an_error(bench, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-mine")
    bench.data("qa.en.jsonl")
    bench.script()
    bench.write("small.yaml", SOUND.replace("  far: {use: medquad, path: $data_dir/medquad, license: CC-BY-4.0}\n", ""))
    done = bench.factory("run", "small.yaml")
    assert done.code == 0
    log = (bench.run().root / "log.jsonl").read_text("utf-8")
    for line in log.splitlines():
        assert set(json.loads(line)) >= {"time", "event"}
    for words in ("mitral", "longer answer", "sk-secret"):
        assert words not in log
        assert words not in done.err
    for path in bench.run().root.rglob("*"):
        if path.is_file():
            assert b"sk-secret" not in path.read_bytes()


def test_help_names_every_command(bench):
    said = bench.factory("--help")
    assert said.code == 0
    for name in (
        "run",
        "retry",
        "check",
        "plan",
        "status",
        "report",
        "show",
        "plugins",
        "languages",
        "new",
        "schema",
        "doctor",
    ):
        assert re.search(rf"^\s+{name}\b", said.out, re.M), name
    wrong = bench.factory("rnu")
    assert wrong.code == 2
    assert bench.factory().code == 2


@pytest.mark.parametrize("command", ["plan", "preview"])
def test_trying_out_leaves_nothing_behind(bench, command):
    bench.data("qa.en.jsonl")
    bench.script()
    bench.write("small.yaml", SOUND.replace("  far: {use: medquad, path: $data_dir/medquad, license: CC-BY-4.0}\n", ""))
    before = sorted(path.name for path in bench.folder.rglob("*"))
    said = bench.factory(command, "small.yaml")
    assert said.code == 0, said.err
    assert sorted(path.name for path in bench.folder.rglob("*")) == before
    assert (bench.calls() == []) == (command == "plan")


def test_doctor_runs(bench):
    said = bench.factory("doctor")
    assert said.code == 0
    assert "smollm2-135m-instruct" in said.err
