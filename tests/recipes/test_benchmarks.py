"""What the recipe scores: the English benchmarks beside the seven languages, the published test sets whole, and what else can be asked."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.conftest import Bench
from tests.public_sets import DATA, NEEDS_DATA

from langmill.api import Choice, Row, SourceContext
from langmill.recipe.assembly import Assembly, assemble
from langmill.recipe.file import read_recipe
from langmill_plugins.evaluators.choice_accuracy import ChoiceAccuracy

MAIN = Path(__file__).resolve().parents[2] / "recipes/mmed_ift.yaml"
STAGES = {"public": ("base", "choices"), "paper": ("base", "knowledge", "choices")}
ENGLISH = {
    "public": {"medqa_en": "medqa", "medmcqa_en": "medmcqa", "pubmedqa_en": "pubmedqa", "mmlu_pro_en": "mmlu_pro"},
    "paper": {"medqa_en": "medqa_us", "medmcqa_en": "medmcqa_dev", "pubmedqa_en": "pubmedqa", "mmlu_med_en": "mmlu"},
}


def rows_of(made: Assembly, name: str) -> list[Row]:
    loader = made.sources[name]
    shares = (("dev", loader.dev), ("test", loader.test))
    plain = made.context(f"sources.{name}")
    context = SourceContext(**vars(plain), source=name, license=loader.license, shares=shares, splits=loader.splits)
    return [one for one in loader.load(context) if isinstance(one, Row)]


@pytest.mark.parametrize("profile", ["public", "paper"])
def test_english_benchmarks_are_data_sets_of_their_own(profile: str) -> None:
    """Each is asked of the base and of what comes of it, no step drops a row of it, and what is learnt is held against it."""
    made = assemble(MAIN, profile=profile)
    asked = {part.data: part for _, part in made.evaluators}
    assert list(asked)[1:] == list(ENGLISH[profile])
    for name, source in ENGLISH[profile].items():
        assert made.datasets[name].inputs == (source,) and not made.datasets[name].steps
        assert asked[name].models == STAGES[profile] and isinstance(asked[name], ChoiceAccuracy)
        assert all(source not in made.datasets[stage.data].inputs for stage in made.stages)
    order = list(made.datasets)
    for stage in made.stages:
        assert all(order.index(name) < order.index(stage.data) for name in asked)
        assert made.datasets[stage.data].steps[-1].part.against == "eval"  # type: ignore[union-attr]


def test_the_published_test_sets_are_asked_whole() -> None:
    made = assemble(MAIN, profile="paper")
    first = made.evaluators[0][1]
    whole = made.datasets[first.data]
    assert first.data == "exams_published" and not whole.steps
    assert set(whole.inputs) == set(made.datasets["exams"].inputs) - {"own_choice"}
    sizes = {name: made.sources[source].expect.rows for name, source in ENGLISH["paper"].items()}  # type: ignore[union-attr]
    assert sizes == {
        "medqa_en": {"test": 1273},
        "medmcqa_en": {"dev": 4183},
        "pubmedqa_en": {"train": 500, "test": 500},
        "mmlu_med_en": {"dev": 123 + 30, "test": 1089},
    }


def test_what_a_comment_offers_to_ask_holds(tmp_path: Path) -> None:
    """With the comment's marks taken away: examples, orders, and answers in words by a model behind an API."""
    text = MAIN.read_text("utf-8")
    offered = re.findall(r"^ *# (?:- \{use|models: ).*$", text, re.M)
    assert len(offered) == 4
    for line in offered:
        text = text.replace(line, line.replace("# ", "", 1))
    (tmp_path / "data").symlink_to(MAIN.parent / "data")
    (tmp_path / "more.yaml").write_text(text, "utf-8")
    made = assemble(tmp_path / "more.yaml", profile="paper")
    asked = {part.name: part for _, part in made.evaluators if part.name}
    told = [(part.shots, part.orders, part.ask) for part in asked.values() if isinstance(part, ChoiceAccuracy)]
    assert told == [(3, 1, ("letters", "text")), (0, 4, ("letters",)), (0, 1, ("generation",))]
    assert not asked["written"].scored() and "api" in asked["written"].models


def test_paper_reads_the_benchmarks_as_they_are_published(tmp_path: Path) -> None:
    """Rows of our own in each layout. A question that points at a picture stays: published scores count it."""
    us = tmp_path / "MedQA/questions/US/4_options/phrases_no_exclude_test.jsonl"
    us.parent.mkdir(parents=True)
    options = {"A": "one", "B": "two", "C": "three", "D": "four"}
    record = {
        "question": "What is shown in the picture?",
        "answer": "two",
        "options": options,
        "answer_idx": "B",
        "meta_info": "step1",
    }
    us.write_text(json.dumps(record) + "\n", "utf-8")
    dev = tmp_path / "MedMCQA/dev.json"
    dev.parent.mkdir()
    record = {
        "id": "x",
        "question": "Which?",
        "opa": "a",
        "opb": "b",
        "opc": "c",
        "opd": "d",
        "cop": 3,
        "exp": "So.",
        "topic_name": None,
    }
    dev.write_text(json.dumps(record) + "\n", "utf-8")
    mmlu = tmp_path / "mmlu/data"
    for split in ("dev", "val", "test"):
        (mmlu / split).mkdir(parents=True)
        for subject in (
            "anatomy",
            "clinical_knowledge",
            "college_biology",
            "college_medicine",
            "medical_genetics",
            "professional_medicine",
        ):
            (mmlu / split / f"{subject}_{split}.csv").write_text("Which?,a,b,c,d,D\n", "utf-8")
    made = assemble(MAIN, profile="paper", sets=[f"data_dir={tmp_path}"])
    (row,) = rows_of(made, "medqa_us")
    assert (row.split, row.language) == ("test", "en") and isinstance(row.body, Choice) and row.body.answers == (1,)
    (row,) = rows_of(made, "medmcqa_dev")
    assert row.split == "test" and row.body == Choice("Which?", ("a", "b", "c", "d"), (2,), "So.")
    assert Counter(row.split for row in rows_of(made, "mmlu")) == {"test": 6, "train": 12}


@NEEDS_DATA[0]
@NEEDS_DATA[1]
def test_public_has_enough_rows_of_each_benchmark() -> None:
    made = assemble(MAIN, profile="public", sets=[f"data_dir={DATA.resolve()}"])
    for _, part in made.evaluators[1:]:
        rows = [row for name in made.datasets[part.data].inputs for row in rows_of(made, name)]
        assert part.limit and sum(row.split == "test" for row in rows) > 10 * part.limit


def test_a_plan_goes_without_a_benchmark_that_is_not_there_yet(bench: Bench) -> None:
    """What is learnt is held against those that are there; where none is, against nothing, and the plan says what is absent."""
    bench.data("qa.en.jsonl", "choice.en.jsonl")
    there = "there: {use: table, path: data/choice.en.jsonl, body: choice, license: CC0-1.0}"
    gone = there.replace("there", "gone").replace("data/", "nowhere/")
    both = "{use: choice_accuracy, data: first, models: [base]}, {use: choice_accuracy, data: second, models: [base]}"
    text = (
        f"name: small\nlanguages: [en]\nsources:\n  qa: {{use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}}\n  {there}\n"
        f"  {gone}\ndatasets:\n  first: {{from: [there]}}\n  second: {{from: [gone]}}\n"
        "  open: {from: [qa], steps: [{use: decontaminate}]}\n"
        "train: {use: peft, base: local/smollm2-135m-instruct, stages: [{name: one, data: open, start: base, max_steps: 1}]}\n"
    )
    for eval_ in (f"[{both}]", "[{use: choice_accuracy, data: second, models: [base]}]"):
        bench.write("small.yaml", f"{text}eval: {eval_}\n")
        said = bench.factory("plan", "small.yaml")
        assert said.code == 0, said.err
        assert "nowhere/choice.en.jsonl" in said.out + said.err


def test_a_profile_adds_names_before_those_it_knows(tmp_path: Path) -> None:
    """So it can add a data set that later ones refer to; what it names in another order stays where it was."""
    recipe = tmp_path / "small.yaml"
    both = "datasets: {first: {from: [x]}, second: {from: [x]}, third: {from: [x]}}"
    over = (
        "profiles: {more: {datasets: {last: {from: [x]}, second: {from: [y]}, end: {from: [x]}, first: {from: [y]}}}}"
    )
    recipe.write_text(f"name: small\nlanguages: [en]\nsources: {{}}\n{both}\n{over}\n", "utf-8")
    assert list(read_recipe(recipe).merged["datasets"]) == ["first", "second", "third"]
    merged = read_recipe(recipe, "more").merged["datasets"]
    assert list(merged) == ["end", "first", "last", "second", "third"]
    assert merged["second"] == {"from": ["y"]}
