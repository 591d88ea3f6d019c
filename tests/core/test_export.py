"""The command that takes a trained stage out of a run, with a trainer that learns nothing."""

from __future__ import annotations

import json
import shutil

import pytest

from langmill.recipe.assembly import assemble
from langmill.report.exported import demonstration

TRAINER = '''"""A trainer beside the recipe: its weights are a word."""

from pathlib import Path

from langmill.api import FactoryError, Trainer, hookimpl, write_json


class Parrot(Trainer):
    """Leaves a word."""

    def train(self, job):
        folder = job.folder / "adapter"
        folder.mkdir()
        (folder / "word").write_text(f"{job.stage.name} {len(list(job.rows('train')))}")
        base = {"name": self.base, "identity": "sha256:abc", "demonstration": self.base == "toy"}
        write_json(job.folder / "result.json", {"base": base})
        return folder

    def open(self, adapter, context):
        from types import SimpleNamespace

        assert adapter is None, "only the base is asked, where a stage's figures do not say what it is"
        return SimpleNamespace(demonstration=self.base == "toy")

    def exports(self):
        return {"word": "The word", "sentence": "The word and a full stop", "nothing": "What never works"}

    def export(self, kind, trained, folder, context):
        (folder / "word.txt").write_text((trained / "word").read_text() + ("." if kind == "sentence" else ""))
        if kind == "nothing":
            raise FactoryError("there is no such thing as nothing")
        return "Read `word.txt` aloud."


@hookimpl
def register_trainers():
    return {"parrot": Parrot}
'''
RECIPE = """
name: small
run: {workers: 1}
languages: [en]
plugins: [parrot.py]
sources:
  qa: {use: table, path: "data/qa.en.jsonl", license: CC-BY-4.0, body: chat, dev: 0.2}
datasets:
  open: {from: [qa]}
train:
  use: parrot
  base: serious
  stages: [{name: first, data: open}, {name: second, data: open, start: first}, {name: third, data: open}]
"""


@pytest.fixture(scope="module")
def finished(shared_bench):
    """A run of two finished stages; a third counts as not finished."""
    shared_bench.data("qa.en.jsonl")
    shared_bench.write("parrot.py", TRAINER)
    shared_bench.write("small.yaml", RECIPE)
    said = shared_bench.command("run", "small.yaml")
    assert said.code == 0, said.err
    (shared_bench.folder / "runs/small/train/third/stage.json").unlink()
    return shared_bench


@pytest.fixture
def trained(finished, copied):
    """A copy of it."""
    return copied(finished)


def test_a_stage_leaves_with_its_card(trained):
    said = trained.factory("export", "runs/small", "second", "--as", "sentence", "--out", "out/model")
    assert said.code == 0, said.err
    assert "The word and a full stop" in said.err
    out = trained.folder / "out/model"
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "langmill.json", "word.txt"]
    assert json.loads((out / "langmill.json").read_text()) == {"demonstration": False, "licenses": ["CC-BY-4.0"]}
    assert (out / "word.txt").read_text().startswith("second ")
    card = (out / "README.md").read_text()
    assert card.startswith("---\nbase_model: serious\n")
    assert "Not reviewed by clinicians" in card
    assert "Read `word.txt` aloud." in card
    assert "CC-BY-4.0" in card
    assert "sha256:abc" in card
    assert "| stage second | open" in card and "from stage first, handover: continue" in card
    assert "Demonstration" not in card
    digests = json.loads((trained.folder / "runs/small/train/first/stage.json").read_text())["data_sha256"]
    assert card.count(f"| first | open/data/en/train-00000.parquet | {digests[0]} |") == 1
    assert card.count(".parquet |") == 2, "the train rows of either stage, once"
    assert str(trained.folder) not in card
    assert "## Contamination" in card and card.count("## Use") == 1  # the stage's own card goes along, but for its use
    assert not (trained.folder / "runs/small/train/second/export.stderr.log").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("runs/small", "secnd", "--as", "word"),
            2,
            "has no stage 'secnd': possible: first, second, third. Did you mean 'second'",
        ),
        (("runs/small", "second", "--as", "gold"), 2, "--as gold: possible: word (The word); sentence"),
        (("runs/small", "third", "--as", "word"), 2, "stage 'third' is not trained"),
        (("runs", "second", "--as", "word"), 2, "is not a run's folder"),
        (("runs/small", "second", "--as", "nothing"), 1, "no such thing as nothing"),
    ],
)
def test_what_can_not_leave(words, code, said, trained):
    found = trained.factory("export", *words, "--out", "out")
    assert found.code == code
    assert said in found.err
    assert not (trained.folder / "out").exists()
    assert not list(trained.folder.glob(".out*"))


def test_nothing_is_overwritten(trained):
    trained.write("out/mine.txt", "mine")
    found = trained.factory("export", "runs/small", "second", "--as", "word", "--out", "out")
    assert found.code == 1 and "nothing is overwritten" in found.err
    assert [path.name for path in (trained.folder / "out").iterdir()] == ["mine.txt"]


def test_weights_that_were_deleted(trained):
    shutil.rmtree(trained.folder / "runs/small/train/second/adapter")
    found = trained.factory("export", "runs/small", "second", "--as", "word", "--out", "out")
    assert found.code == 2 and "--only train makes it again" in found.err


def test_a_demonstration_leaves_only_when_it_is_told_to(bench):
    bench.data("qa.en.jsonl")
    bench.write("parrot.py", TRAINER)
    bench.write("small.yaml", RECIPE.replace("base: serious", "base: toy"))
    assert bench.factory("run", "small.yaml").code == 0
    words = ("export", "runs/small", "first", "--as", "word", "--out", "out")
    found = bench.factory(*words)
    assert found.code == 1
    assert "its base toy is a demonstration model" in found.err and "--allow-demo" in found.err
    assert not (bench.folder / "out").exists()
    assert bench.factory(*words, "--allow-demo").code == 0
    assert json.loads((bench.folder / "out/langmill.json").read_text()) == {
        "demonstration": True,
        "licenses": ["CC-BY-4.0"],
    }
    assert (
        "**Demonstration only**: its base toy is a demonstration model" in (bench.folder / "out/README.md").read_text()
    )


def test_rows_of_a_demonstration_model_count_as_well(trained):
    store = trained.run()
    assembly = assemble(store.recipe_lock, origin=store.origin)
    assert demonstration(assembly, store, assembly.stages[1]) == []
    _flag_rows(store)
    assert "were written by a demonstration model" in demonstration(assembly, store, assembly.stages[1])[0]


@pytest.mark.parametrize("left", [None, '{"base": {}}'])
def test_a_demonstration_can_not_be_had_by_deleting_figures(left, trained):
    """With a stage's figures gone, the trainer says what its base is."""
    store = trained.run()
    for name in ("first", "second"):
        file = store.stage(name) / "result.json"
        file.unlink() if left is None else file.write_text(left)
    assembly = assemble(store.recipe_lock, origin=store.origin)
    assert demonstration(assembly, store, assembly.stages[1]) == []
    store.recipe_lock.write_text(store.recipe_lock.read_text().replace("serious", "toy"))
    found = trained.factory("export", "runs/small", "second", "--as", "word", "--out", "out")
    assert found.code == 1
    assert "its base toy is a demonstration model" in found.err


def _flag_rows(store):
    """Mark every row of the data set as a demonstration model's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in store.data_files("open", "train"):
        table = pq.read_table(path)
        at = table.schema.get_field_index("flags")
        flags = pa.array([["demonstration"]] * len(table), table.schema.field(at).type)
        pq.write_table(table.set_column(at, table.schema.field(at), flags), path)


def test_a_recipe_that_trains_nothing(bench):
    bench.data("qa.en.jsonl")
    bench.write("small.yaml", RECIPE.partition("train:")[0].replace("plugins: [parrot.py]\n", ""))
    assert bench.factory("run", "small.yaml").code == 0
    found = bench.factory("export", "runs/small", "first", "--as", "word", "--out", "out")
    assert found.code == 2 and "trains nothing" in found.err
