"""A filter of the whole data set in a run: an index over runs, kills, and rows that it does not act on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

RECIPE = """
name: {name}
languages: [en, fr]
sources:
  notes: {{use: table, path: {path}, body: chat, license: CC0-1.0}}
datasets:
  kept: {{from: [notes], steps: [{{use: exact, index: seen{more}}}]}}
"""


def notes(bench: Any, path: str, *answers: str, split: str = "train") -> None:
    lines = [
        json.dumps({"id": f"{path}-{n}", "language": "en", "split": split, "question": "What is it?", "answer": answer})
        for n, answer in enumerate(answers)
    ]
    bench.write(path, "\n".join(lines) + "\n")


def run(bench: Any, name: str, path: str, more: str = "") -> Sequence[str]:
    bench.write(f"{name}.yaml", RECIPE.format(name=name, path=path, more=more))
    said = bench.factory("run", f"{name}.yaml", "--offline")
    assert said.code == 0, said.err
    return [row.body.answer for row in bench.rows("kept", name)]


def test_what_one_run_kept_another_does_not_keep_again(bench: Any) -> None:
    notes(bench, "a.jsonl", "Anaemia.", "Asthma.", "asthma. ")
    notes(bench, "b.jsonl", "ASTHMA.", "Measles.", "Mumps.")
    assert run(bench, "one", "a.jsonl") == ["Anaemia.", "Asthma."]
    assert run(bench, "two", "b.jsonl") == ["Measles.", "Mumps."]
    (gone,) = bench.rejects("kept", "two")
    assert (gone.reason, gone.detail) == ("duplicate", "says the same as notes/a.jsonl-1")
    before = bench.state()
    assert run(bench, "one", "a.jsonl") == ["Anaemia.", "Asthma."], "a run is never held against itself"
    assert run(bench, "two", "b.jsonl") == ["Measles.", "Mumps."]
    data = [name for name in before if "/data/" in name]
    assert {name: bench.state()[name] for name in data} == {name: before[name] for name in data}, "and is kept"

    notes(bench, "a.jsonl", "Anaemia.", "Mumps.")
    assert run(bench, "one", "a.jsonl") == ["Anaemia.", "Mumps."], (
        "what was first stays first, and is not held against later ones"
    )
    assert run(bench, "two", "b.jsonl") == ["ASTHMA.", "Measles."], "an index that changed is looked at again"
    assert sorted(path.name for path in (bench.folder / "seen").glob("0*")) == [
        "000001 one.kept.exact.1",
        "000002 two.kept.exact.1",
    ]


def test_a_step_more_or_another_name_does_not_hold_a_data_set_against_itself(bench: Any) -> None:
    notes(bench, "a.jsonl", "Anaemia.", "Asthma.", "asthma. ")
    assert run(bench, "one", "a.jsonl") == ["Anaemia.", "Asthma."]
    recipe = bench.folder / "one.yaml"
    recipe.write_text(recipe.read_text().replace("steps: [", "steps: [{use: length}, "))
    assert bench.factory("run", "one.yaml", "--offline").code == 0
    assert [row.body.answer for row in bench.rows("kept", "one")] == ["Anaemia.", "Asthma."]
    assert run(bench, "renamed", "a.jsonl") == ["Anaemia.", "Asthma."]
    (gone,) = bench.rejects("kept", "renamed")
    assert gone.like == "notes/a.jsonl-1"


@pytest.mark.parametrize("words", [("preview",), ("plan",), ("run", "--limit", "1", "--out", "runs/try")])
def test_a_look_leaves_the_index_as_it_is(bench: Any, words: Sequence[str]) -> None:
    notes(bench, "a.jsonl", "Anaemia.", "Asthma.")
    run(bench, "one", "a.jsonl")
    before = bench.state(below="seen")
    assert bench.factory(words[0], "one.yaml", *words[1:]).code == 0
    assert bench.state(below="seen") == before


def test_a_partition_of_rows_that_the_filter_does_not_act_on(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langmill.pipeline.segments.PARTITION_ROWS", 1)
    lines = [
        json.dumps({"id": n, "language": "en", "split": split, "question": "What is it?", "answer": answer})
        for n, (split, answer) in enumerate(
            [("test", "Asthma."), ("train", "Anaemia."), ("test", "Mumps."), ("train", "Asthma.")]
        )
    ]
    bench.write("a.jsonl", "\n".join(lines))
    notes(bench, "b.jsonl", "Anaemia.", "Asthma.", "Mumps.")
    run(bench, "one", "a.jsonl", ", splits: [train]")
    assert run(bench, "two", "b.jsonl", ", splits: [train]") == ["Mumps."]


def test_an_entry_that_was_deleted_is_made_again(bench: Any) -> None:
    notes(bench, "a.jsonl", "Anaemia.", "Asthma.")
    run(bench, "one", "a.jsonl")
    (entry,) = (bench.folder / "seen").glob("0*")
    for path in entry.iterdir():
        path.unlink()
    entry.rmdir()
    run(bench, "one", "a.jsonl")
    assert (entry / "entry.json").exists()


def test_rows_that_the_filter_does_not_act_on_pass_and_are_not_in_the_index(bench: Any) -> None:
    notes(bench, "a.jsonl", "Anaemia.", "Anaemia.", split="test")
    notes(bench, "b.jsonl", "Anaemia.", "Anaemia.")
    assert run(bench, "one", "a.jsonl", ", splits: [train]") == ["Anaemia.", "Anaemia."]
    assert run(bench, "two", "b.jsonl", ", splits: [train]") == ["Anaemia."]


def test_other_options_ask_for_another_folder(bench: Any) -> None:
    notes(bench, "a.jsonl", "Anaemia.")
    run(bench, "one", "a.jsonl")
    bench.write("two.yaml", RECIPE.format(name="two", path="a.jsonl", more="").replace("exact,", "minhash,"))
    said = bench.factory("run", "two.yaml", "--offline")
    assert said.code == 1
    assert "was made with another" in said.err and "step" in said.err and "another folder" in said.err


def test_a_decision_that_was_cut_off_comes_out_the_same(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notes(bench, "a.jsonl", *(f"Case number {n % 23}." for n in range(60)))
    monkeypatch.setattr("langmill.pipeline.segments.PARTITION_ROWS", 9)
    monkeypatch.setattr("langmill.pipeline.deciding.SIGNED_ROWS", 18)
    whole = run(bench, "whole", "a.jsonl")
    assert whole == [f"Case number {n}." for n in range(23)]
    for place in ("merge_keys", "read_buckets", "rejected"):
        name = place.replace("_", "")
        bench.write(f"{name}.yaml", RECIPE.format(name=name, path="a.jsonl", more="").replace(", index: seen", ""))
        with monkeypatch.context() as cut:
            cut.setattr(f"langmill.pipeline.deciding.{place}", lambda *words: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                bench.factory("run", f"{name}.yaml", "--offline", "--set", "run.workers=1")
        assert bench.factory("run", f"{name}.yaml", "--offline").code == 0
        assert [row.body.answer for row in bench.rows("kept", name)] == whole
        assert not list(bench.run(name).root.rglob("signed")), "signatures are gone when all is applied"
