"""Licences through time: stages that learnt from rows that are gone, models that were exported, licences that were corrected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.parrot import TRAINER

from langmill.disk.store import RunFolder
from langmill.disk.tables import rows_to_table
from langmill.licensing.carried import learning, of_base, of_stage
from langmill.licensing.gate import refusals, row_refusals
from langmill.recipe.assembly import assemble
from langmill.report.cards import write_stage_card
from langmill.rows import Chat, Origin, Row

pytestmark = pytest.mark.usefixtures("packs_once")
ROW = {
    "id": "valve",
    "language": "en",
    "question": "Which valve separates the left atrium from the left ventricle?",
    "answer": "The mitral valve does, the only one of the heart's valves that has two leaflets and not three.",
    "split": "train",
}
RECIPE = """\
name: small
languages: [en]
plugins: [parrot.py]
run: {workers: 1}
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  bound: {use: table, path: bound.en.jsonl, body: chat, license: CC-BY-NC-4.0}
  free: {use: table, path: free.en.jsonl, body: chat, license: CC0-1.0}
datasets:
  one: {from: [bound, free]}
  two: {from: [free]}
train:
  use: parrot
  base: serious
  allow_unchecked: true
  stages: [{name: first, data: one}, {name: second, data: two, start: first}, {name: apart, data: two}]
"""


@pytest.fixture(scope="module")
def finished(shared_bench):
    """A run of three stages: of rows that are not for commercial use, on from there, and of free ones alone."""
    shared_bench.write("parrot.py", TRAINER)
    shared_bench.script()
    shared_bench.write("bound.en.jsonl", json.dumps(ROW) + "\n")
    free = {**ROW, "id": "mitral", "question": "What is the mitral valve?"}
    shared_bench.write("free.en.jsonl", json.dumps(free) + "\n")
    shared_bench.write("small.yaml", RECIPE)
    said = shared_bench.command("run", "small.yaml")
    assert said.code == 0, said.err
    return shared_bench


@pytest.fixture
def trained(finished, copied):
    """A copy of it."""
    return copied(finished)


def relock(bench, change=("", ""), more: str = "", purpose: str = "commercial") -> None:
    """The run's own recipe as another: what is done with a run's folder alone is done by that."""
    lock = bench.run().recipe_lock
    lock.write_text(f"{RECIPE.replace(*change)}{more}purpose: {purpose}\n", "utf-8")


def test_a_stage_keeps_the_licences_of_all_that_it_began_from(trained):
    store = trained.run()
    assert of_stage(store, "first") == of_stage(store, "second") == ["CC-BY-NC-4.0", "CC0-1.0"]
    assert of_stage(store, "apart") == ["CC0-1.0"]
    assert of_stage(store, "none") == []


def test_rows_that_are_gone_were_learnt_from_all_the_same(trained):
    store = trained.run()
    store.write_dataset("one", iter([rows_to_table(list(store.rows("two")))]), {})  # made anew of free rows
    relock(trained, ("from: [bound, free]", "from: [free]"))
    words = ("export", "runs/small", "--as", "word", "--out")
    for stage in ("first", "second"):
        said = trained.factory(*words, "out", stage)
        assert said.code == 2 and said.err.endswith(
            "factory: purpose: commercial is refused by the licences of these data sets and stages:\n"
            f"  stage {stage}: licence CC-BY-NC-4.0: it learnt from what is not for commercial use\n"
            "  set purpose: research if that is what it is for, or leave these sources out: scoring with them is use, too\n"
        ), said.err
        assert not (trained.folder / "out").exists()
    relock(trained, ("from: [bound, free]", "from: [free]"), purpose="research")
    assert trained.factory(*words, "out", "second").code == 0
    assert json.loads((trained.folder / "out/langmill.json").read_text())["licenses"] == ["CC-BY-NC-4.0", "CC0-1.0"]
    assert "CC-BY-NC-4.0" in (trained.folder / "out/README.md").read_text("utf-8").partition("\n---\n")[0]


def test_a_model_carries_its_licences_into_the_next_recipe(trained):
    trained.write("mine/langmill.json", '{"licenses": ["CC-BY-NC-4.0", "CC0-1.0"]}')
    text = RECIPE.replace("from: [bound, free]", "from: [free]")
    for base in ("mine", "runs/small/train/second/adapter"):
        following = assemble(trained.write("next.yaml", text.replace("base: serious", f"base: {base}")))
        assert of_base(following) == ["CC-BY-NC-4.0", "CC0-1.0"]
        assert refusals(following) == []
    said = trained.factory("check", "next.yaml", "--set", "purpose=commercial")
    assert said.code == 2, said.err
    assert "  train.base: licence CC-BY-NC-4.0: it learnt from what is not for commercial use\n" in said.err
    apart = following.stages[2]
    assert learning(following, trained.run(), apart) == ["CC-BY-NC-4.0", "CC0-1.0"]
    write_stage_card(following, trained.run(), apart, {"licenses": ["CC-BY-NC-4.0", "CC0-1.0"]})
    assert "The strictest is **CC-BY-NC-4.0**" in trained.run().stage_card("apart").read_text("utf-8")


def test_a_base_that_says_nothing_readable_is_no_matter_of_licences(trained):
    path = trained.write("next.yaml", RECIPE.replace("base: serious", "base: mine"))
    trained.write("mine/langmill.json", "{")
    assert of_base(assemble(path)) == []
    trained.write("mine/langmill.json", "[]")
    assert of_base(assemble(path)) == []


def test_a_corrected_licence_reaches_rows_that_are_on_disk(trained):
    corrected = trained.write("small.yaml", RECIPE.replace("CC0-1.0", "CC-BY-NC-SA-4.0"))
    (found,) = row_refusals(assemble(corrected, sets=["purpose=commercial"]), trained.run(), "two")
    assert str(found) == "two, 1 row: licence CC-BY-NC-SA-4.0: not for commercial use"
    said = trained.factory("run", "small.yaml", "--until", "data")
    assert said.code == 0, said.err
    assert [row.origin.licenses for row in trained.rows("two")] == [("CC-BY-NC-SA-4.0",)], "read anew"


def test_a_stage_that_is_asked_is_used(trained):
    relock(trained, more="eval: [{use: language_consistency, data: two, models: [second]}]\n")
    said = trained.factory("eval", "runs/small")
    assert said.code == 2 and "  stage second: licence CC-BY-NC-4.0: it learnt from" in said.err, said.err
    assert "two, " not in said.err


def test_training_alone_evaluates_too_and_what_it_reads_counts(trained):
    stages = ("{name: first, data: one}, {name: second, data: two, start: first}, ", "")
    relock(trained, stages, "eval: [{use: language_consistency, data: one, models: [apart]}]\n")
    said = trained.factory("run", "runs/small", "--only", "train")
    assert said.code == 2 and "  one, 1 row: licence CC-BY-NC-4.0: not for commercial use\n" in said.err, said.err
    relock(trained, stages)
    said = trained.factory("run", "runs/small", "--only", "train")
    assert said.code == 0, said.err


def test_a_row_that_names_no_licence_is_under_one_that_nobody_knows(trained, tmp_path: Path):
    store = RunFolder(tmp_path / "run")
    row = Row("a", "en", "train", "a", Chat.of("Why?", "Because."), Origin("made", "a", ()))
    store.write_dataset("one", iter([rows_to_table([row])]), {})
    path = trained.folder / "small.yaml"
    assert row_refusals(assemble(path), store, "one") == []
    (found,) = row_refusals(assemble(path, sets=["purpose=commercial"]), store, "one")
    assert str(found) == "one, 1 row: licence none: its terms are not known, which counts as not permitted"
