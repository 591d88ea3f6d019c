"""factory eval: it scores as a run does, and hands questions and answers to other programs, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Bench

RECIPE = """\
name: small
languages: [en, fr, ko]
sources:
  rows: {use: table, path: exams.jsonl, body: choice, license: CC-BY-NC-4.0}
  held: {use: table, path: held.jsonl, body: choice, license: CC0-1.0}
datasets:
  exams: {from: [rows]}
  held: {from: [held_rows]}
llm: {model: scripted/one, answers: script.jsonl}
eval:
  - {use: choice_accuracy, data: exams, models: [llm], ask: [generation], name: spoken}
  - {use: choice_accuracy, data: held, models: [llm], ask: [generation], orders: 2}
  - {use: rationale_similarity, data: exams, models: [llm], name: reasons, measures: [bleu1, rougeL]}
""".replace("  held: {use", "  held_rows: {use")

EXAMS = [
    {"id": "e1", "language": "en", "question": "How many hearts has a squid?", "options": ["one", "two", "three"], "answer": "C",
     "explanation": "One for each gill and one for the rest."},
    {"id": "e2", "language": "en", "question": "How many eyes has a flatfish?", "options": ["one", "two", "three"], "answer": "B"},
    {"id": "f1", "language": "fr", "question": "Quels nombres sont impairs ?", "options": ["un", "deux", "trois"], "answer": "A,C"},
    {"id": "k1", "language": "ko", "question": "문어의 심장은 몇 개입니까?", "options": ["하나", "둘", "셋"], "answer": "C"},
]  # fmt: skip


@pytest.fixture(scope="module")
def made(shared_bench: Bench) -> Bench:
    """A run with its data: for the first evaluation a right answer, one without letters, two letters, and a Korean row."""
    lines = "".join(json.dumps({**row, "split": "test"}, ensure_ascii=False) + "\n" for row in EXAMS)
    shared_bench.write("exams.jsonl", lines)
    shared_bench.write("held.jsonl", lines.replace('"id": "', '"id": "held-'))
    shared_bench.script(
        ("squid", 'Three, one for each gill and\none for "the rest".\nAnswer: C'),
        ("flatfish", "That I would not say."),
        ("impairs", "Un et trois.\nRéponse : A, C"),
        ("문어", "셋입니다.\n정답: C"),
    )
    shared_bench.write("recipe.yaml", RECIPE)
    said = shared_bench.command("run", "recipe.yaml", "--until", "data")
    assert said.code == 0, said.err
    return shared_bench


@pytest.fixture
def asked(made: Bench, copied: Callable[[Bench], Bench]) -> Bench:
    """A copy to work on."""
    return copied(made)


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def test_eval_scores_what_a_run_has(asked: Bench) -> None:
    said = asked.factory("eval", "recipe.yaml", "--json")
    assert said.code == 0, said.err
    facts = json.loads((asked.run().root / "eval/spoken.llm.json").read_text("utf-8"))
    scores = {(one["language"], one["metric"]): one for one in facts["scores"]}
    assert (scores["en", "generation"]["correct"], scores["en", "generation"]["unreadable"]) == (1, 1)
    assert json.loads(said.out)
    calls = len(asked.calls())
    again = asked.factory("eval", "runs/small")
    assert again.code == 0 and len(asked.calls()) == calls, "nothing is asked twice"


def test_answers_in_mmedbenchs_layout(asked: Bench) -> None:
    assert asked.factory("eval", "runs/small").code == 0
    calls = len(asked.calls())
    said = asked.factory(
        "eval", "runs/small", "--export", "mmedbench", "--name", "spoken", "--model", "llm", "--out", "sent"
    )
    assert said.code == 0, said.err
    assert len(asked.calls()) == calls, "an export asks nobody"
    folder = asked.folder / "sent"
    head, *lines = table(folder / "multi_choice_results.csv")
    assert head == ["Language", "ModelInput", "ModelOutput", "GT_Answer"]
    by_question = {line[1].split("<question>\n")[1].split("\n")[0]: line for line in lines}
    assert (
        by_question["How many hearts has a squid?"][2] == 'Three, one for each gill and\none for "the rest".\nAnswer: C'
    )
    assert [line[0] for line in lines].count("English") == 2 and "Korean" not in {line[0] for line in lines}
    assert by_question["Quels nombres sont impairs ?"][::3] == ["French", "A,C"]
    assert table(folder / "accuracy_metric.csv") == [["English", "French"], ["50.00", "100.00"]]
    card = (folder / "README.md").read_text("utf-8")
    assert "| English | 2 | 1,273 |" in card and "1 rows in 'ko'" in card
    assert "CC-BY-NC-4.0 (4 rows)" in card and "not for commercial use" in card


def test_rationales_in_mmedbenchs_layout(asked: Bench) -> None:
    assert asked.factory("eval", "runs/small").code == 0
    words = ("--export", "mmedbench", "--name", "reasons", "--out", "sent")
    said = asked.factory("eval", "runs/small", *words)
    assert said.code == 2 and "made of a model's written answers: --model llm" in said.err
    said = asked.factory("eval", "runs/small", *words, "--model", "llm")
    assert said.code == 0, said.err
    (line,) = table(asked.folder / "sent/rationale_results.csv")[1:]
    assert (
        line[0] == "English" and line[2].endswith("Answer: C") and line[3] == "One for each gill and one for the rest."
    )
    head, *figures = table(asked.folder / "sent/rationale_similarity_metric.csv")
    assert head == ["Metric", "English"] and [name for name, _ in figures] == ["BLEU-1", "ROUGE-L"]
    scores = json.loads((asked.run().root / "eval/reasons.llm.json").read_text("utf-8"))["scores"]
    bleu = next(one["value"] for one in scores if (one["language"], one["metric"]) == ("en", "bleu1"))
    assert float(figures[0][1]) == pytest.approx(100 * bleu, abs=0.005) and 20 < 100 * bleu < 100


def test_an_export_is_of_the_recipe_as_it_was_given(asked: Bench) -> None:
    assert asked.factory("eval", "runs/small", "--set", "eval.0.limit=1").code == 0
    words = ("--export", "mmedbench", "--name", "spoken", "--model", "llm")
    said = asked.factory("eval", "recipe.yaml", *words, "--out", "more", "--set", "eval.0.limit=2")
    assert said.code == 2
    assert "'llm' has answered 3 of the 4 questions of spoken: factory eval runs/small asks it for the rest" in said.err
    assert asked.factory("eval", "runs/small", "--set", "eval.0.limit=2").code == 0
    for run, out in (("recipe.yaml", "one"), ("runs/small", "two")):
        said = asked.factory("eval", run, *words, "--out", out, "--set", "eval.0.limit=1")
        assert said.code == 0, said.err
        assert len(table(asked.folder / out / "multi_choice_results.csv")) == 1 + 2, (
            "one row of each language that it knows"
        )


def test_only_the_published_order_is_handed_on(asked: Bench) -> None:
    assert asked.factory("eval", "runs/small").code == 0
    name = "held.choice_accuracy"
    said = asked.factory(
        "eval", "runs/small", "--export", "mmedbench", "--name", name, "--model", "llm", "--out", "sent"
    )
    assert said.code == 0, said.err
    lines = table(asked.folder / "sent/multi_choice_results.csv")[1:]
    assert len(lines) == 3, "of each row one"
    for line in lines:
        options = line[1].split("<options>\n")[1]
        assert options.index("A. ") < options.index("B. ") and options.split("\n")[0] in ("A. one", "A. un")
    assert table(asked.folder / "sent/accuracy_metric.csv")[1] == ["50.00", "100.00"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--export lm_eval --out x", 2, "--export lm_eval: possible: mmedbench (a model's written answers"),
        ("--export lm-eval --out x", 2, "possible: mmedbench"),
        ("--export mmedbench", 2, "--export mmedbench needs --out DIR"),
        ("--export mmedbench --out x", 2, "choose with --name: spoken, held.choice_accuracy, reasons"),
        ("--export mmedbench --out x --name spokn", 2, "Did you mean 'spoken'?"),
        ("--export mmedbench --out x --name spoken", 2, "made of a model's written answers: --model llm"),
        ("--export mmedbench --out x --name spoken --model base", 2, "spoken does not ask it: "),
        ("--export mmedbench --out x --name spoken --model llm", 2, "'llm' has not answered spoken yet: factory eval runs/small asks it"),
        ("--export mmedbench --out runs --name spoken --model llm", 1, "--out runs: there is something already"),
        ("--export mmedbench --out x --max-cost 1", 2, "--max-cost caps what is asked, and --export asks nothing"),
        ("--out x", 2, "--out belongs to --export"),
        ("--model llm", 2, "--model belongs to --export"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_is_possible(asked: Bench, words: str, code: int, told: str) -> None:
    said = asked.factory("eval", "runs/small", *words.split())
    assert told in said.err, said.err
    assert said.code == code
    assert not (asked.folder / "x").exists() and not list(asked.folder.glob(".x*")), "whole or not at all"


def test_without_a_run_it_says_how_to_make_one(bench: Bench) -> None:
    bench.write("recipe.yaml", RECIPE)
    bench.write("exams.jsonl", "")
    bench.write("held.jsonl", "")
    bench.script(("x", "y"))
    said = bench.factory("eval", "recipe.yaml", "--export", "mmedbench", "--out", "x")
    assert said.code == 2 and "is not a run's folder" in said.err, said.err
    said = bench.factory("eval", "recipe.yaml")
    assert said.code == 2 and "factory run RECIPE" in said.err, said.err


def test_a_run_that_evaluates_nothing(bench: Bench) -> None:
    bench.write("exams.jsonl", "".join(json.dumps({**row, "split": "test"}) + "\n" for row in EXAMS))
    bench.write("recipe.yaml", RECIPE.split("  held_rows")[0] + "datasets:\n  exams: {from: [rows]}\n")
    assert bench.factory("run", "recipe.yaml").code == 0
    said = bench.factory("eval", "runs/small", "--export", "lm-eval", "--out", "x")
    assert said.code == 2 and "evaluates nothing: add eval: to the recipe" in said.err, said.err
