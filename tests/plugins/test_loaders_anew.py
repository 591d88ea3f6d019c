"""A set that comes in a newer layout, or under the wrong fields: one error that says what changed, not thousands of rejects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Choice, Loader, MissingInput, RecipeError, Reject, Row, SourceContext
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.layout import find
from langmill_plugins.loaders.medmcqa import MedMCQA
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.pubmedqa import PubMedQA
from langmill_plugins.loaders.rumeddanet import RuMedDaNet
from langmill_plugins.loaders.table import Table


def load(loader: Loader, folder: Path) -> list[Row | Reject]:
    return list(loader.load(SourceContext("sources.exam", 17, {}, folder, source="exam", license="x")))


def lines(path: Path, records: Iterable[object]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def table(**options: Any) -> Table:
    return Table.model_validate({"path": "a.jsonl", "license": "x", "language": "en", **options})


@pytest.mark.parametrize(
    ("record", "options", "said"),
    [
        ({"instruction": "q", "input": "", "output": "a"}, {"body": "chat"},
         "'question' or 'messages'; 'answer' or 'messages'. Fields there: instruction, input, output. "
         "Type question: instruction; Type answer: output"),
        ({"conversations": []}, {"body": "chat"}, "Type messages: conversations"),
        ({"conversations": []}, {"body": "chat", "messages": "turns"}, "'turns'. Fields there: conversations. Type messages: conv"),
        ({"Question": "q", "opa": "x", "opb": "y", "cop": 1}, {"body": "choice"},
         "Type question: Question; Type answer: cop; Type options: [opa, opb]"),
        ({"question": "q", "choices": [], "answer": 1}, {"body": "choice"}, "the field 'options'. Fields .* Type options: choices"),
        ({"question": "q", "A": "x", "B": "y", "answer": 1}, {"body": "choice", "options": ("A", "X")},
         "the field 'X'.* Type options: [A, B]"),
        ({"question": "q", "options": {"texts": []}, "answer": 1}, {"body": "choice", "options": "options.text"}, "'options.text'"),
        ({"body": "t", "lang": "en"}, {"body": "text", "language": None}, "Type text: body; Type language_field: lang, or"),
        ({"zzz": "t"}, {"body": "text"}, "None of them looks like it: type text: and the field that holds it"),
    ],
)  # fmt: skip
def test_a_field_that_no_record_has_is_told_with_what_to_type(
    tmp_path: Path, record: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    lines(tmp_path / "a.jsonl", [record] * 5)
    with pytest.raises(RecipeError) as error:
        load(table(**options), tmp_path)
    told = str(error.value)
    assert told.startswith(f"sources.exam: {tmp_path / 'a.jsonl'}: none of the first 5 records has the field ")
    assert any(all(part in told for part in way.split(".* ")) for way in said.split("|")), told


def test_a_record_that_lacks_what_others_have_stays_a_reject(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [{"title": "x"}] * 900 + [{"text": "t"}] + [{"title": "x"}])
    found = load(table(body="text"), tmp_path)
    assert [type(item).__name__ for item in found] == ["Reject"] * 900 + ["Row", "Reject"]


def test_no_more_than_the_first_records_are_held_back(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [{"title": "x"}] * 1000 + [{"text": "t"}])
    with pytest.raises(RecipeError, match=r"none of the first 1,000 records has the field 'text'"):
        load(table(body="text"), tmp_path)


def test_one_file_in_a_newer_layout_among_others_is_named(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [{"text": "t"}])
    lines(tmp_path / "b.jsonl", [{"content": "t"}] * 20)
    said = r"/b\.jsonl: none of the first 20 records has the field 'text'.*Type text: content\. If only this file .* narrow path:"
    with pytest.raises(RecipeError, match=said):
        load(table(path=".", body="text"), tmp_path)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_small_file_may_lack_what_others_have(tmp_path: Path, order: str) -> None:
    lines(tmp_path / f"{order[0]}.jsonl", [{"text": "t"}])
    lines(tmp_path / f"{order[1]}.jsonl", [{"title": "x"}] * 19)
    found = load(table(path=".", body="text"), tmp_path)
    assert sorted(type(item).__name__ for item in found) == ["Reject"] * 19 + ["Row"]
    for name in "ab":
        lines(tmp_path / f"{name}.jsonl", [{"content": name}])
    with pytest.raises(RecipeError, match=r"/a\.jsonl: the only record lacks the field 'text'"):
        load(table(path=".", body="text"), tmp_path)


def test_files_may_have_fewer_options_but_no_column_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "five.csv").write_text("question,A,B,C,D,E,answer\nq,1,2,3,4,5,E\n")
    (tmp_path / "four.csv").write_text("question,A,B,C,D,answer\nq,1,2,3,4,D\nq,1,2,3,4,E\n")
    (tmp_path / "hole.csv").write_text("question,A,B,D,answer\nq,1,2,4,D\n")
    found = load(table(path=".", body="choice", options=tuple("ABCDE")), tmp_path)
    assert [len(row.body.options) for row in found if isinstance(row, Row) and isinstance(row.body, Choice)] == [5, 4]
    assert [item.reason for item in found if isinstance(item, Reject)] == ["bad_key", "empty_option"]
    said = r"sources\.exam\.options: no record has the field 'E'\. .*Type options: \[A, B, C, D\]$"
    with pytest.raises(RecipeError, match=said):
        load(table(path="four.csv", body="choice", options=tuple("ABCDE")), tmp_path)


def test_faults_of_lines_do_not_count_as_records(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{broken\n[1]\n")
    assert [item.reason for item in load(table(body="text"), tmp_path) if isinstance(item, Reject)] == [
        "broken_json", "wrong_type",
    ]  # fmt: skip


def test_a_field_that_need_not_be_there_but_is_named_must_be_somewhere(tmp_path: Path) -> None:
    item = {"question": "q", "options": ["x", "y"], "answer": "A"}
    lines(tmp_path / "a.jsonl", [item, item])
    with pytest.raises(
        RecipeError, match=r"sources\.exam\.explanation: no record has the field 'cot'\. .*or take explanation out"
    ):
        load(table(body="choice", explanation="cot"), tmp_path)
    lines(tmp_path / "b.jsonl", [item, item | {"cot": "because"}])  # test files seldom have it
    rows = load(table(path=".", body="choice", explanation="cot"), tmp_path)
    assert [row.body.explanation for row in rows if isinstance(row, Row) and isinstance(row.body, Choice)] == [
        None, None, None, "because",
    ]  # fmt: skip
    rows = load(table(path="b.jsonl", body="choice", explanation=None), tmp_path)
    assert all(isinstance(row, Row) and isinstance(row.body, Choice) and row.body.explanation is None for row in rows)


MEDQA = {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "x"}


@pytest.mark.parametrize(
    ("loader", "name", "record", "said"),
    [
        (MedQA, "a.jsonl", MEDQA | {"label": "A"}, "'answer_idx'. Fields there: question, options, answer, label. "
         "The nearest to 'answer_idx' is 'answer'"),
        (MedMCQA, "a.jsonl", {"question": "q", "options": {}, "answer": "A"}, "'cop' or 'answer_idx'"),
        (IgakuQA, "a.jsonl", {"problem_id": "1", "problem_text": "q", "choices": []}, "'answer'"),
        (RuMedDaNet, "a.jsonl", {"context": "c", "text": "q"}, "'question'"),
        (KorMedMCQACoT, "a.jsonl", {"conversations": [], "meta": {}}, "The nearest to 'messages' is 'conversations'"),
        (FrenchMedMCQA, "a.json", [{"id": "1", "question": "q", "answer_a": "x", "correct_answers": [0]}], "'answers'"),
        (PubMedQA, "a.json", {"1": {"QUESTION": "q", "final_decision": "yes", "CONTEXT": "c"}}, "'CONTEXTS' is 'CONTEXT'"),
        (HeadQA, "train_HEAD.json", {"version": "2", "language": "es", "data": []},
         "has no 'exams'. Fields there: version, language, data"),
        (CMExam, "a.csv", "Question,Choices,Answer\nq,A x,A\n", "'Options'. Fields there: Question, Choices, Answer"),
    ],
)  # fmt: skip
def test_a_set_in_a_newer_layout_names_the_field_that_changed(
    tmp_path: Path, loader: type[Any], name: str, record: object, said: str
) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    (tmp_path / name).write_text(text)
    with pytest.raises((RecipeError, MissingInput)) as error:
        load(loader(path=name, license="x"), tmp_path)
    told = str(error.value)
    assert said in told and name in told and "use: table" in told, told


@pytest.mark.parametrize(
    ("value", "name", "found"),
    [
        ({"a": 1}, "a", 1), ({"a.b": 1, "a": {"b": 2}}, "a.b", 1), ({"a": {"b": 2}}, "a.b", 2),
        ({"a": [{"b": 1}, {"c": 2}]}, "a.b", [1, None]), ({"a": [{"c": 1}]}, "a.b", "gone"), ({"a": None}, "a.b", None),
        ({"a": []}, "a.b", []), ({"a": "x"}, "a.b", "gone"), ({"b": 1}, "a", "gone"), ("x", "a", "gone"),
        ({"a": {"b": {"c": 3}}}, "a.b.c", 3), ({"a.b": {"c": 3}, "a": {"x": 1}}, "a.b.c", 3), ({"a": {"b.c": 3}}, "a.b.c", 3),
    ],
)  # fmt: skip
def test_a_dotted_name_goes_inside(value: Any, name: str, found: Any) -> None:
    assert find(value, name, "gone") == found


def test_a_run_ends_with_2_and_the_one_line(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [{"content": "Text."}] * 3)
    (tmp_path / "recipe.yaml").write_text(
        "name: anew\nlanguages: [en]\nrun: {workers: 1}\nsources:\n"
        "  web: {use: table, path: a.jsonl, body: text, language: en, license: MIT}\ndatasets: {d: {from: [web]}}\n"
    )
    command = [sys.executable, "-m", "langmill.cli", "run", "recipe.yaml", "--until", "data", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "sources.web: " in done.stderr and "Type text: content" in done.stderr and "Traceback" not in done.stderr
