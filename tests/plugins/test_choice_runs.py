"""Choice accuracy through the command: bad benchmark rows, a mute model, rows that were learnt, examples from another data set."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.choosing import CONTEXT, evaluator, questions
from tests.conftest import Bench
from tests.public_sets import NEEDS_DATA, load

from langmill.api import Choice

RECIPE = """\
name: small
languages: [en]
sources:
  exam: {{use: table, path: exam.jsonl, body: choice, language: en, license: CC0-1.0}}
datasets:
  exams: {{from: [exam]}}
llm: {{model: scripted/writer, answers: script.jsonl}}
eval:
  - {{use: choice_accuracy, name: written, data: exams, models: [llm], ask: [generation]{more}}}
"""


def item(number: int, answer: str | None, split: str = "test", **more: Any) -> dict[str, Any]:
    record = {
        "id": f"i{number}",
        "question": f"Item {number}?",
        "options": {"A": f"x{number}", "B": f"y{number}"},
        "split": split,
    }
    return {**record, **({} if answer is None else {"answer": answer}), **more}


def exam(bench: Bench, *records: dict[str, Any], more: str = "") -> None:
    bench.write("small.yaml", RECIPE.format(more=more))
    bench.write("exam.jsonl", "".join(json.dumps(record) + "\n" for record in records))


def scores(bench: Bench, name: str = "written.llm") -> dict[str, Any]:
    found = bench.run().read_json(f"eval/{name}.json")
    assert found
    return found


def test_benchmark_rows_without_a_sound_key_are_counted_and_not_asked(bench: Bench) -> None:
    keys = (item(1, "A"), item(2, None), item(3, "E"), item(4, "nan"), item(5, "A or B"), item(6, "B"))
    exam(bench, *keys, item(7, "A", options={"A": "one alone"}))
    bench.script(("Item 1?", "Answer: A"), ("Item 6?", "Answer: A"))
    said = bench.factory("run", "small.yaml")
    assert said.code == 0, said.err
    assert "no_answer 2" in said.out + said.err and "bad_key 1" in said.out + said.err
    found = scores(bench)
    assert found["rows"] == 2
    assert found["left_out"] == {"ambiguous_key": 1, "bad_key": 1, "no_answer": 2, "no_options": 1}
    assert [(score["n"], score["correct"]) for score in found["scores"]] == [(2, 1), (2, 1)]


def test_a_bad_row_that_comes_later_is_told_though_nobody_is_asked_again(bench: Bench) -> None:
    exam(bench, item(1, "A"))
    bench.script(("Item 1?", "Answer: A"))
    assert bench.factory("run", "small.yaml").code == 0
    before = len(bench.calls())
    exam(bench, item(1, "A"), item(2, "Z"))
    assert bench.factory("run", "small.yaml").code == 0
    assert scores(bench)["left_out"] == {"bad_key": 1} and len(bench.calls()) == before


def test_a_model_that_returns_nothing_is_told_as_that(bench: Bench) -> None:
    exam(bench, item(1, "A"), item(2, "B"))
    bench.script(("Item", ""))
    assert bench.factory("run", "small.yaml").code == 0
    (score, _) = scores(bench)["scores"]
    assert (score["n"], score["correct"], score["unreadable"], score["chance"]) == (2, 0, 2, 0.5)
    assert "facts" in scores(bench)["items"][0] and scores(bench)["items"][0]["facts"]["how"] == "empty"


def test_a_model_that_only_says_a_is_found_out(bench: Bench) -> None:
    exam(bench, *(item(number, "A") for number in range(24)), more=", orders: 2")
    bench.script(("Item", "Answer: A"))
    said = bench.factory("run", "small.yaml")
    assert said.code == 0
    by_metric = {score["metric"]: score for score in scores(bench)["scores"] if score["language"] == "en"}
    assert by_metric["generation"]["accuracy"] == by_metric["generation"]["chance"] == 0.5
    assert by_metric["generation steady"]["correct"] == 0
    (table,) = scores(bench)["tables"]
    assert table["note"].startswith("Nearly every answer is A") and table["cells"] == [[24, 0], [24, 0]]


def test_rows_that_are_learnt_are_refused_with_their_names(bench: Bench) -> None:
    """Before anything is trained or asked."""
    exam(bench, item(1, "A"), item(2, "B"))
    learnt = [item(1, "A", "train", id="copy"), item(3, "B", "train")]
    bench.write("learnt.jsonl", "".join(json.dumps(record) + "\n" for record in learnt))
    text = RECIPE.format(more="").replace("[llm], ask: [generation]", "[one]")
    text = text.replace(
        "datasets:\n",
        "  lessons: {use: table, path: learnt.jsonl, body: choice, language: en, license: CC0-1.0}\ndatasets:\n",
    )
    text = text.replace("llm:", "  open: {from: [lessons]}\nllm:")
    stage = "{name: one, data: open, start: base, max_steps: 1}"
    train = f"train: {{use: peft, base: local/smollm2-135m-instruct, allow_unchecked: true, stages: [{stage}]}}"
    bench.write("small.yaml", f"{text}{train}\n")
    said = bench.factory("run", "small.yaml")
    assert said.code == 2, said.err
    assert "exam/i1" in said.err and "lessons/copy" in said.err and "exam/i2" not in said.err
    assert not (bench.run().root / "train/one/result.json").exists()


def test_examples_of_another_data_set(bench: Bench) -> None:
    exam(bench, item(1, "A"), item(2, "B"), more=", shots: 1, shots_from: lessons")
    assert "there is no data set 'lessons'; possible: exams" in bench.factory("check", "small.yaml").err
    records = [item(3, "B", "train", explanation="It fits."), item(1, "A", "train")]
    bench.write("lessons.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    text = (bench.folder / "small.yaml").read_text("utf-8")
    text = text.replace(
        "datasets:\n",
        "  more: {use: table, path: lessons.jsonl, body: choice, language: en, license: CC0-1.0}\ndatasets:\n",
    )
    bench.write("small.yaml", text.replace("llm:", "  lessons: {from: [more]}\nllm:"))
    bench.script((("It fits.\nAnswer: B", "Item 1?"), "Answer: A"), (("It fits.\nAnswer: B", "Item 2?"), "Answer: B"))
    said = bench.factory("run", "small.yaml")
    assert said.code == 0, said.err
    assert scores(bench)["facts"]["examples"] == {"en": ["more/i3"]}
    assert scores(bench)["scores"][0]["correct"] == 2
    first = scores(bench)["scores"][0]["prompt"]
    records[0]["explanation"] = "It fits better."
    bench.write("lessons.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    bench.script((("It fits better.\nAnswer: B", "Item"), "Answer: A"))
    assert bench.factory("run", "small.yaml").code == 0, "another example is another question"
    assert scores(bench)["scores"][0]["correct"] == 1 and scores(bench)["scores"][0]["prompt"] != first
    few = bench.factory("run", "small.yaml", "--set", "eval.0.shots=2")
    assert few.code != 0 and "en has 1 (of 2 train rows, 1 are" in few.err
    alone = bench.factory("check", "small.yaml", "--set", "eval.0.shots=0")
    assert alone.code == 2 and "say how many with shots" in alone.err


def test_letters_are_refused_of_a_model_that_only_writes(bench: Bench) -> None:
    exam(bench, item(1, "A"))
    bench.write("small.yaml", RECIPE.format(more="").replace("[generation]", "[letters, generation]"))
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "gives no log-probabilities" in said.err


@pytest.mark.parametrize("name", ["french", "igakuqa", "russian", "korean", "five"])
@NEEDS_DATA[0]
@NEEDS_DATA[1]
def test_real_rows_can_be_asked_in_every_way(name: str) -> None:
    """Several answers, six or eight options, passages: every row has its questions, examples give nothing away."""
    some = [row for row in load(name) if isinstance(row.body, Choice)]
    asked, train = some[::9][:60], [row for number, row in enumerate(some) if number % 9]
    context = type(CONTEXT)(
        "eval[0]",
        17,
        CONTEXT.languages,
        CONTEXT.folder,
        rows=lambda data, split: iter(asked if split == "test" else train),
    )
    for one in questions(evaluator(orders=2, shots=3, ask=("letters", "generation")), asked, context):
        assert len(one.messages) == 7
        examples = {row.id: row for row in train if row.id in one.facts["examples"]}
        assert len(examples) == 3 and not {row.family for row in examples.values()} & {row.family for row in asked}
        options = next(row.body for row in asked if row.id == one.row).options  # type: ignore[union-attr]
        assert sorted(one.facts["order"]) == list(range(len(options)))
        assert all(option in one.messages[-1].content for option in options)
