"""factory compare: two runs, the models of one, a run and published scores; and what it says where there is nothing to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Item, Marked, Metric
from langmill.disk.store import RunFolder
from langmill.scores.differing import differences
from langmill.scores.summing import scores_of

RECIPE = """\
name: small
languages: [en, zh]
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  items: {use: table, path: data/choice.*.jsonl, body: choice, license: CC0-1.0}
datasets:
  exams: {from: [items]}
train:
  use: peft
  base: local/smollm2-135m-instruct
  allow_unchecked: true
  stages:
    - {name: first, data: exams}
    - {name: second, data: exams, start: first}
eval:
  - {use: choice_accuracy, name: exam, data: exams, models: [base, first, second]}
"""
METRICS = {"letters": Metric("share", "the likeliest letter is right"), "loss": Metric("exp", "of the words", "lower")}
ROWS = 40
MMEDBENCH = Path(__file__).resolve().parents[2] / "recipes/published/mmedbench.yaml"


def scored(store: RunFolder, model: str, right: Mapping[str, int], *, lost: int = 0, **changed: Any) -> None:
    """An evaluation's file: in each language the first so many of the rows are right; ``lost`` wrong answers were unreadable."""
    items = [
        Item(f"{code}-{at}", code, "letters", float(at < many), 0.2, readable=at < ROWS - lost)
        for code, many in right.items()
        for at in range(ROWS)
    ]
    items += [
        Item(f"{code}-{at}", code, "loss", 3 + at / ROWS - many / ROWS)
        for code, many in right.items()
        for at in range(ROWS)
    ]
    facts = {
        "key": "k", "use": "choice_accuracy", "name": "exam", "data": "exams", "split": "test", "model": model, "decides": {},
        "options": {"limit": ROWS}, "seed": 17, "langmill": "0.1.0", "code": "c0de", "packs": {"en": "p1"}, "rows": ROWS,
        "files": {"test-00000.parquet": "ab" * 32}, "metrics": {name: asdict(one) for name, one in METRICS.items()},
        "prompts": {"en": "short@1"}, "facts": {}, "tables": [], "items": [asdict(item) for item in items],
        "scores": [score.plain() for score in scores_of(Marked(tuple(items)), METRICS, 17)],
        "contents": {item.row: "same" for item in items}, "families": {},
    } | changed  # fmt: skip
    store.write_json(f"eval/{facts['name']}.{model}.json", facts)


@pytest.fixture
def run(bench: Any) -> RunFolder:
    """A run with three models examined: the second stage is better in English."""
    bench.write("runs/a/recipe.lock.yaml", RECIPE)
    store = RunFolder(bench.folder / "runs/a")
    scored(store, "base", {"en": 8, "zh": 9}, lost=6)
    scored(store, "first", {"en": 9, "zh": 8})
    scored(store, "second", {"en": 30, "zh": 9})
    return store


@pytest.fixture
def other(bench: Any, run: RunFolder) -> RunFolder:
    """Another run of the same rows, as good but for the first stage's Chinese."""
    bench.write("runs/b/recipe.lock.yaml", RECIPE)
    store = RunFolder(bench.folder / "runs/b")
    scored(store, "base", {"en": 8, "zh": 9}, lost=6)
    scored(store, "first", {"en": 9, "zh": 0})
    return store


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_models_of_a_run_are_held_against_the_base_and_the_stage_before(bench: Any, run: RunFolder) -> None:
    said = bench.factory("compare", "runs/a")
    assert said.code == 0 and not said.out
    text = words(said.err)
    assert [
        text.count(f"A: {one} B: {two}") for one, two in (("base", "first"), ("base", "second"), ("first", "second"))
    ] == [1] * 3
    assert "letters: the likeliest letter is right, % of rows" in text and "lower is better" in text
    assert "en 40 20.0 75.0 +55.0" in text and "22 0 <0.001 gain" in text
    assert "zh 40 22.5 20.0 −2.5" in text and "0 1 1.000 not told apart" in text
    assert "answers that could not be read, and count as wrong: A 12, B 0" in text
    assert "NOT THE SAME" not in text
    assert max(map(len, said.err.splitlines())) <= 100


def test_one_model_or_one_evaluation_can_be_asked_for(bench: Any, run: RunFolder) -> None:
    text = words(bench.factory("compare", "runs/a", "--model", "base", "--name", "exam").err)
    assert "A: base B: first" in text and "A: first" not in text


def test_two_runs_are_compared_model_by_model(bench: Any, run: RunFolder, other: RunFolder) -> None:
    said = bench.factory("compare", "runs/a", "runs/b", "--json")
    assert said.code == 0
    base, first = json.loads(said.out)
    assert (first["first"], first["second"], first["differences"]) == ("first of runs/a", "first of runs/b", [])
    lines = {(one["metric"], one["language"]): one for one in first["comparisons"]}
    zh = lines["letters", "zh"]
    assert (zh["verdict"], zh["lost"], zh["gained"], zh["paired"]) == ("loss", 8, 0, 40)
    assert lines["letters", "en"]["verdict"] == "not told apart"
    assert all(one["verdict"] == "not told apart" and one["p"] == 1 for one in base["comparisons"])
    assert {score["language"] for score in first["scores"]["second"]} == {"en", "zh", "all"}
    assert bench.factory("compare", "runs/a", "runs/b", "--model", "first").err.count("A: ") == 1


def test_what_was_not_the_same_is_said_loudly(bench: Any, run: RunFolder, other: RunFolder) -> None:
    scored(
        other, "first", {"en": 9, "zh": 8}, prompts={"en": "short@2"}, code="c1de", options={"limit": None, "shots": 5}, seed=18,
        files={"test-00000.parquet": "cd" * 32}, packs={"en": "p2"},
    )  # fmt: skip
    said = bench.factory("compare", "runs/a", "runs/b", "--model", "first")
    text = words(said.err)
    assert text.index("NOT THE SAME") < text.index("prompts en: short@1 / short@2") < text.index("which may not matter")
    for line in (
        "options limit: 40 / –",
        "options shots: – / 5",
        "files test-00000.parquet: abab",
    ):
        assert text.index("NOT THE SAME") < text.index(line) < text.index("which may not matter"), line
    for line in ("code: c0de / c1de", "packs en: p1 / p2", "seed: 17 / 18"):
        assert text.index("which may not matter") < text.index(line)
    assert max(map(len, said.err.splitlines())) <= 100


def test_rows_that_are_no_pair_are_left_out_and_counted(bench: Any, run: RunFolder, other: RunFolder) -> None:
    kept = other.read_json("eval/exam.first.json")
    assert kept is not None
    kept["contents"]["en-3"] = "other key"
    kept["items"] = [item for item in kept["items"] if item["row"] not in ("zh-1", "zh-2")]
    other.write_json("eval/exam.first.json", kept)
    text = words(bench.factory("compare", "runs/a", "runs/b", "--model", "first").err)
    assert "en 39 " in text and "zh 38 " in text and "all 77 " in text
    assert "rows that the other was not asked, left out here: 2 of A" in text
    assert "rows of one id with other words or another key, left out here: 1" in text


def test_figures_without_items_are_shown_and_not_tested(bench: Any, run: RunFolder, other: RunFolder) -> None:
    for store, value in ((run, 0.25), (other, 0.75)):
        kept = store.read_json("eval/exam.base.json")
        assert kept is not None
        kept["metrics"]["corpus"] = asdict(Metric("mean", "of the whole"))
        kept["scores"].append(
            {
                "language": "en",
                "metric": "corpus",
                "n": 40,
                "value": value,
                "interval": [value, value],
                "unreadable": 0,
                "prompt": "",
            }
        )
        store.write_json("eval/exam.base.json", kept)
    text = words(bench.factory("compare", "runs/a", "runs/b", "--model", "base").err)
    assert "corpus: of the whole rows A B B − A 95% gained lost p en 40 0.250 0.750 – – – – – not tested" in text


def test_a_run_beside_published_scores(bench: Any, run: RunFolder) -> None:
    said = bench.factory("compare", "runs/a", str(MMEDBENCH), "--name", "exam")
    assert said.code == 0 and not said.out
    text = words(said.err)
    assert "exam, letters: the likeliest letter is right, % of rows en zh mean" in text
    assert "second 75.0 22.5 48.8" in text, "the last model of the recipe"
    assert "rows 40 40 80" in text and "rows 1,273 3,426 4,699" in text
    assert "MMed-Llama 3.1 70B 80.6 87.7+ 84.2+" in text and "ChatDoctor 7B 43.5- 43.3+ 43.4" in text
    assert "GPT-4, mean: 74.27: the mean of its figures is 75.31" in text
    assert "Llama 2 7B, es: 47.10: no multiple of 1/2,742" in text
    assert max(map(len, said.err.splitlines())) <= 100
    facts = json.loads(bench.factory("compare", "runs/a", str(MMEDBENCH), "--model", "base", "--json").out)
    assert len(facts["flags"]) == 10 and [one["model"] for one in facts["beside"]] == ["base"]
    theirs = facts["beside"][0]["theirs"]["GPT-3.5"]
    assert theirs["zh"]["flagged"] and theirs["zh"]["is"] == "above" and set(theirs) == {"en", "zh", "mean"}


def test_published_scores_stand_beside_right_choices_alone(bench: Any, run: RunFolder) -> None:
    recipe = RECIPE + "  - {use: language_consistency, name: tongue, data: exams, models: [base]}\n"
    bench.write("runs/a/recipe.lock.yaml", recipe)
    scored(run, "base", {"en": 8, "zh": 9}, name="tongue", use="language_consistency")
    assert "tongue" not in bench.factory("compare", "runs/a", str(MMEDBENCH)).err
    bench.write("runs/a/recipe.lock.yaml", recipe.replace("language_consistency", "choice_accuracy"))
    scored(run, "base", {"en": 8, "zh": 9}, name="tongue")
    told = bench.factory("compare", "runs/a", str(MMEDBENCH))
    assert told.code == 2 and "Say which one: --name exam" in words(told.err)
    assert bench.factory("compare", "runs/a", str(MMEDBENCH), "--name", "tongue").code == 0


def test_a_share_of_steady_rows_is_no_accuracy(bench: Any, run: RunFolder) -> None:
    kept = run.read_json("eval/exam.second.json")
    assert kept is not None
    kept["metrics"]["letters steady"] = kept["metrics"]["letters"]
    kept["scores"] += [
        {**score, "metric": "letters steady"} for score in kept["scores"] if score["metric"] == "letters"
    ]
    run.write_json("eval/exam.second.json", kept)
    assert "letters steady" not in bench.factory("compare", "runs/a", str(MMEDBENCH)).err


def test_another_way_to_read_replies_is_grave_and_rows_left_out_are_not(run: RunFolder) -> None:
    facts = run.read_json("eval/exam.base.json")
    assert facts is not None
    first = {**facts, "facts": {"reader": {"en": "1@a", "zh": "1@b"}}, "left_out": {}}
    second = {**facts, "facts": {"reader": {"en": "2@a"}}, "left_out": {"no_key": 9}, "code": "other"}
    found = {one.what: one.grave for one in differences(first, second)}
    assert found == {"reader en": True, "left_out no_key": False, "code": False}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("runs",), "runs is not a run's folder"),
        (("runs/none",), "runs/none is not a run's folder"),
        (("runs/bare",), "runs/bare holds no scores: factory run runs/bare --only eval"),
        (("runs/a", "runs/none"), "there is no runs/none"),
        (("runs/a/recipe.lock.yaml", "runs/a"), "is a file: a run's folder comes first"),
        (("runs/a", "--name", "exma"), "no evaluation 'exma': possible are exam"),
        (("runs/a", "--model", "third"), "nothing to compare 'third' with (exam asked base, first, second)"),
        (
            ("runs/a", "runs/b", "--model", "second"),
            "runs/a has exam (base first second); runs/b has exam (base first)",
        ),
        (("runs/a", "runs/a/recipe.lock.yaml"), "there is no 'languages' here"),
        (("runs/a", str(MMEDBENCH), "--model", "third"), "no share of right rows (of choice_accuracy) of 'third'"),
    ],
)
def test_where_nothing_can_be_compared_it_says_what_to_type(
    bench: Any, run: RunFolder, other: RunFolder, command: tuple[str, ...], said: str
) -> None:
    bench.write("runs/bare/recipe.lock.yaml", RECIPE)
    found = bench.factory("compare", *command)
    assert found.code == 2 and said in words(found.err), found.err
    assert not found.out and "Traceback" not in found.err


def test_an_old_score_of_a_stage_is_not_compared(bench: Any, run: RunFolder) -> None:
    scored(run, "second", {"en": 30, "zh": 9}, decides={"stage": "old"})
    run.write_json("train/second/stage.json", {"key": "new", "adapter": "train/second/adapter"})
    found = bench.factory("compare", "runs/a")
    assert "second was trained again after exam was asked" in words(found.err)
    assert "B: second" not in found.err and "B: first" in found.err


def test_one_model_alone_has_nothing_to_be_compared_with(bench: Any, run: RunFolder) -> None:
    for model in ("first", "second"):
        (run.root / f"eval/exam.{model}.json").unlink()
    found = bench.factory("compare", "runs/a")
    assert found.code == 2 and "no two models that one evaluation asked (exam asked base)" in words(found.err)
