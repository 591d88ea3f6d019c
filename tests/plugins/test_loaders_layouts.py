"""Sets in layouts of their own that are no files of ours: made-up records in the layout as published, and how `table` reads others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Chat, Choice, Loader, Message, MissingInput, RecipeError, Reject, Row, SourceContext
from langmill_plugins.loaders.apollo import Apollo
from langmill_plugins.loaders.bentsao import BenTsao
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.table import Table


def load(loader: Loader, folder: Path) -> tuple[list[Row], list[Reject]]:
    found = list(loader.load(SourceContext("sources.set", 17, {}, folder, source="set", license="x")))
    return [item for item in found if isinstance(item, Row)], [item for item in found if isinstance(item, Reject)]


def told(rejects: list[Reject]) -> list[tuple[str, str]]:
    return [(reject.record, reject.reason) for reject in rejects]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")


def test_apollo_options_in_one_string(tmp_path: Path) -> None:
    item = {"question": "问", "options": "(A) 甲.\n(B) 乙\n二.\n(C) 丙..\n(D) .", "answer": "(AC)", "source": "x"}
    write(
        tmp_path / "dev" / "zh.json",
        [
            item,
            item | {"options": "(A) He is ill.\n(B) iron", "answer": "(B)", "context": "Text."},
            item | {"answer": "(D)"},
            item | {"answer": ""},
            item | {"answer": "(A) or (B)"},
            item | {"options": "(B) 乙.\n(C) 丙."},
            item | {"question": "见下图"},
        ],
    )
    rows, rejects = load(Apollo(path=".", license="x"), tmp_path)
    assert [(row.language, row.split, row.body) for row in rows] == [
        ("zh", "dev", Choice("问", ("甲", "乙\n二", "丙."), (0, 2))),
        ("zh", "dev", Choice("问", ("He is ill.", "iron"), (1,), context="Text.")),
    ]
    assert told(rejects) == [
        ("dev.zh-3", "bad_key"), ("dev.zh-4", "no_answer"), ("dev.zh-5", "bad_key"), ("dev.zh-6", "broken_options"),
        ("dev.zh-7", "needs_image"),
    ]  # fmt: skip
    write(tmp_path / "questions.json", [item])
    with pytest.raises(RecipeError, match="not named by a language"):
        load(Apollo(path="questions.json", license="x"), tmp_path)


def test_bentsao_turns_come_out_of_their_string(tmp_path: Path) -> None:
    asked = [
        " <user>: 问一 <bot>: 答一 <user>：问二？", "<user>: 问", "问", "<bot>: 答 <user>: 问", "<user>: 问 <bot>: 答",
        "<user>: ",
    ]  # fmt: skip
    write(tmp_path / "x.json", [{"instruction": text, "output": "完", "input": ""} for text in asked])
    rows, rejects = load(BenTsao(path="x.json", license="x"), tmp_path)
    turns = (
        Message("user", "问一"),
        Message("assistant", "答一"),
        Message("user", "问二？"),
        Message("assistant", "完"),
    )
    assert [row.body for row in rows] == [Chat(turns), Chat.of("问", "完")]
    reasons = ["bad_messages", "bad_messages", "bad_messages", "no_question"]
    assert told(rejects) == [(f"x-{number}", reason) for number, reason in enumerate(reasons, start=3)]


def test_cmexam_with_annotations_and_real_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "test_with_annotations.csv").write_text(
        "Question,Options,Answer,Explanation,Disease Group,Clinical Department,Medical Discipline,Competency,Difficulty\n"
        '问,"A 甲\nB 乙\nC 丙",AC,因为,x,y,z,1,2\n问,"A 甲\r\nB 乙",nan,,x,y,z,1,2\n',
        "utf-8",
    )
    rows, rejects = load(CMExam(path=".", license="x"), tmp_path)
    assert [(row.split, row.body) for row in rows] == [("test", Choice("问", ("甲", "乙", "丙"), (0, 2), "因为"))]
    assert [reason for _, reason in told(rejects)] == ["no_answer"]
    (tmp_path / "other.csv").write_text("Question;Options;Answer\n", "utf-8")
    with pytest.raises(MissingInput, match=r"other\.csv:1: .* expected \",\" between the names: use: table reads it"):
        load(CMExam(path="other.csv", license="x"), tmp_path)


def test_medqa_as_the_authors_pack_it_is_read_once_in_each_language(tmp_path: Path) -> None:
    record = {"question": "q", "options": {"A": "w", "B": "x"}, "answer_idx": "B", "answer": "x", "meta_info": "m"}
    for name in (
        "US/train.jsonl", "US/US_qbank.jsonl", "US/4_options/phrases_no_exclude_train.jsonl", "Mainland/dev.jsonl",
        "US/metamap_extracted_phrases/train/phrases_train.jsonl", "Mainland/chinese_qbank.jsonl", "Taiwan/test.jsonl",
        "Taiwan/tw_translated_jsonl/en/train-2en.jsonl",
    ):  # fmt: skip
        write(tmp_path / "questions" / name, record)
    rows, rejects = load(MedQA(path="questions", license="x"), tmp_path)
    assert rejects == [] and [(row.origin.record, row.language, row.split) for row in rows] == [
        ("Mainland.dev-1", "zh", "dev"), ("Taiwan.test-1", "zh", "test"), ("US.train-1", "en", "train"),
    ]  # fmt: skip
    rows, _ = load(MedQA(path="questions/US/4_options", license="x"), tmp_path)
    assert [row.language for row in rows] == ["en"]
    write(tmp_path / "zh.jsonl", record | {"question": "见下表"})
    _, rejects = load(MedQA(path="zh.jsonl", license="x", language="zh"), tmp_path)
    assert told(rejects) == [("zh-1", "needs_image")]


CMB = {
    "exam_type": "医师考试",
    "question_type": "多项选择题",
    "option": {"A": "甲", "B": "乙", "C": "丙", "D": "丁", "E": ""},
}
KOREAN = "subject,year,period,q_number,question,A,B,C,D,E,answer,cot\ndoctor,2022,1,5,처치는?,하나,둘,셋,넷,다섯,5,\n"
PRO = {"question_id": 1, "options": [str(number) for number in range(10)], "answer": "J", "answer_index": 9}


@pytest.mark.parametrize(
    ("name", "text", "options", "body"),
    [
        ("CMB-train-merge.json", json.dumps([CMB | {"question": "问", "answer": "ABD"}]),
         {"language": "zh", "options": "option"}, Choice("问", ("甲", "乙", "丙", "丁"), (0, 1, 3))),
        ("doctor-test.csv", KOREAN, {"language": "ko", "options": ("A", "B", "C", "D", "E"), "answers_from": 1},
         Choice("처치는?", ("하나", "둘", "셋", "넷", "다섯"), (4,))),
        ("test.jsonl", json.dumps(PRO | {"question": "q"}), {"language": "en", "id": "question_id"},
         Choice("q", tuple("0123456789"), (9,))),
    ],
)  # fmt: skip
def test_other_published_layouts_are_a_few_lines_of_recipe(
    tmp_path: Path, name: str, text: str, options: dict[str, Any], body: Choice
) -> None:
    """CMB, KorMedMCQA and MMLU-Pro in their authors' layouts."""
    (tmp_path / name).write_text(text, "utf-8")
    rows, rejects = load(Table(path=name, license="x", body="choice", **options), tmp_path)
    assert rejects == [] and [row.body for row in rows] == [body]
