"""The loaders on hand-made and on damaged input: every record becomes a row or a reject that names its line."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Chat, Choice, Loader, Message, MissingInput, RecipeError, Reject, Row, SourceContext, Text
from langmill_plugins.loaders.casimedicos import CasiMedicos, prose
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.medmcqa import MedMCQA
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.medquad import MedQuad, tidied
from langmill_plugins.loaders.openstax import OpenStax
from langmill_plugins.loaders.table import Table

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def load(loader: Loader, folder: Path, **more: Any) -> tuple[list[Row], list[Reject]]:
    context = SourceContext(
        place="sources.set", seed=17, languages={}, folder=folder, source="set", license=loader.license, **more
    )
    found = list(loader.load(context))
    names = Counter(item.origin.record if isinstance(item, Row) else item.record for item in found)
    assert [name for name, count in names.items() if count > 1] == []
    return [item for item in found if isinstance(item, Row)], [item for item in found if isinstance(item, Reject)]


def jsonl(folder: Path, *records: object, name: str = "set.jsonl") -> None:
    lines = (record if isinstance(record, bytes) else json.dumps(record).encode() for record in records)
    (folder / name).write_bytes(b"\n".join(lines) + b"\n")


def told(rejects: list[Reject]) -> list[tuple[str, str]]:
    return [(reject.record, reject.reason) for reject in rejects]


# --- the field mapping ---


@pytest.mark.parametrize(("kind", "body", "least"), [("qa", Chat, 20), ("choice", Choice, 15), ("passages", Text, 5)])
def test_our_own_rows_are_read_with_the_defaults(kind: str, body: type, least: int) -> None:
    made = {"qa": "chat", "choice": "choice", "passages": "text"}[kind]
    rows, rejects = load(Table(path=f"data/{kind}.*.jsonl", body=made, license="CC0-1.0"), RECIPES)
    assert rejects == []
    by_language = Counter(row.language for row in rows)
    assert set(by_language) == {"en", "zh", "ja", "ko", "fr", "es", "ru"} and min(by_language.values()) >= least
    assert all(isinstance(row.body, body) for row in rows) and all(row.origin.licenses == ("CC0-1.0",) for row in rows)


OPTIONS = ["w", "x", "y", "z"]


@pytest.mark.parametrize(
    ("answer", "more", "found"),
    [
        ("C", {}, (2,)),
        ("c", {}, (2,)),
        ("Ｃ", {}, (2,)),
        ("A,D", {}, (0, 3)),
        (["D", "A"], {}, (0, 3)),
        ("ABD", {}, (0, 1, 3)),
        (2, {"answers_from": 0}, (2,)),
        ("2", {"answers_from": 1}, (1,)),
        ([1, 4], {"answers_from": 1}, (0, 3)),
    ],
)
def test_answers_are_letters_or_indices(
    tmp_path: Path, answer: object, more: dict[str, int], found: tuple[int]
) -> None:
    jsonl(tmp_path, {"question": "q", "options": OPTIONS, "answer": answer})
    rows, rejects = load(Table(path="set.jsonl", body="choice", language="en", license="x", **more), tmp_path)
    assert rejects == []
    assert rows[0].body == Choice("q", tuple(OPTIONS), found)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no_answer"), (None, "no_answer"), ("nan", "no_answer"), ([], "no_answer"), ("E", "bad_key"), ("26", "bad_key"),
        ("a or d", "ambiguous_key"), (2, "bad_key"), ({"A": 1}, "wrong_type"), (True, "wrong_type"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_reject(tmp_path: Path, answer: object, reason: str) -> None:
    jsonl(tmp_path, {"id": "one", "question": "q", "options": OPTIONS, "answer": answer})
    rows, rejects = load(Table(path="set.jsonl", body="choice", language="en", license="x"), tmp_path)
    assert rows == [] and told(rejects) == [("one", reason)]
    assert rejects[0].detail.startswith("set.jsonl:1: ") and "'question': 'q'" in rejects[0].excerpt


def test_options_may_be_a_list_letters_or_columns(tmp_path: Path) -> None:
    jsonl(
        tmp_path,
        {"question": "q", "options": OPTIONS, "answer": "B"},
        {"question": "q", "options": dict(zip("ABCD", OPTIONS, strict=True)), "answer": "B"},
        {"question": "q", "options": {"A": "w", "B": "x", "C": None}, "answer": "B"},
    )
    rows, rejects = load(Table(path="set.jsonl", body="choice", language="en", license="x"), tmp_path)
    assert rejects == [] and [len(row.body.options) for row in rows if isinstance(row.body, Choice)] == [4, 4, 2]
    jsonl(tmp_path, {"question": "q", "A": "w", "B": "x", "C": "", "answer": "B"}, {"question": "q", "A": "", "B": "x"})
    columns = Table(path="set.jsonl", body="choice", language="en", options=("A", "B", "C"), license="x")
    rows, rejects = load(columns, tmp_path)
    assert rows[0].body == Choice("q", ("w", "x"), (1,)) and told(rejects) == [("set-2", "no_answer")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["w", " ", "y"], "empty_option"), (["w"], "no_options"), ("wxyz", "no_options"), ([["w"], "x"], "wrong_type")],
)
def test_options_that_are_none_are_a_reject(tmp_path: Path, options: object, reason: str) -> None:
    jsonl(tmp_path, {"question": "q", "options": options, "answer": "A"})
    _, rejects = load(Table(path="set.jsonl", body="choice", language="en", license="x"), tmp_path)
    assert told(rejects) == [("set-1", reason)]


def test_chat_from_question_and_answer_or_messages(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    jsonl(
        tmp_path,
        {"question": " q ", "answer": "a", "context": "c"},
        {"messages": turns},
        {"messages": turns[:2]},
        {"messages": [{"role": "judge", "content": "x"}]},
        {"question": "q", "answer": "  "},
    )
    rows, rejects = load(Table(path="set.jsonl", body="chat", language="en", license="x"), tmp_path)
    assert rows[0].body == Chat.of("c\n\nq", "a")
    assert rows[1].body == Chat((Message("system", "s"), Message("user", "u"), Message("assistant", "a")))
    assert told(rejects) == [("set-3", "bad_messages"), ("set-4", "bad_messages"), ("set-5", "no_answer")]


def test_language_split_and_family_come_from_the_record(tmp_path: Path) -> None:
    jsonl(
        tmp_path,
        {"id": "1", "language": "ja", "split": "validation", "family": "f", "text": "t", "title": "T"},
        {"id": "2", "language": "Japanese", "text": "t"},
        {"id": "3", "text": "t"},
        {"id": "4", "language": "ja", "split": "fold7", "text": "t"},
    )
    rows, rejects = load(Table(path="set.jsonl", body="text", license="x"), tmp_path)
    assert [(row.id, row.language, row.split, row.family, row.body) for row in rows] == [
        ("set/1", "ja", "dev", "f", Text("T\n\nt"))
    ]
    assert told(rejects) == [("2", "bad_language"), ("3", "no_language"), ("4", "bad_split")]
    assert rejects[2].language == "ja"


def test_split_and_name_come_from_the_file_below_the_source(tmp_path: Path) -> None:
    for name in ("test/one.jsonl", "x/train_v1.jsonl", "contest.jsonl"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        jsonl(tmp_path, {"text": "t"}, name=f"train/{name}")
    rows, _ = load(
        Table(path="train", body="text", language="en", license="x", dev=0.9), tmp_path, shares=(("dev", 1.0),)
    )
    # the folder the recipe names says nothing about a split, and a word inside a word neither
    assert {row.id: row.split for row in rows} == {
        "set/contest-1": "dev", "set/test.one-1": "test", "set/x.train_v1-1": "train",
    }  # fmt: skip


# --- damaged and hostile input ---


def test_broken_lines_are_rejected_with_file_and_line_and_the_rest_is_read(tmp_path: Path) -> None:
    jsonl(
        tmp_path,
        b"\xef\xbb\xbf" + b'{"text": "first, behind a byte-order mark"}',
        b'{"text": "cut',
        b"",
        b'{"text": "\xff"}',
        b'["a list"]',
        b"[" * 100_000,
        b'{"text": "\\ud800"}',
        b'{"text": "a\\u0000b"}',
        b'{"text": ' + b"9" * 5000 + b"}",
        b'{"text": "' + b"x" * 10_000_001 + b'"}',
        b'{"text": "last"}',
    )
    rows, rejects = load(Table(path="set.jsonl", body="text", language="en", license="x"), tmp_path)
    assert [row.origin.record for row in rows] == ["set-1", "set-11"]
    assert told(rejects) == [
        ("set-2", "broken_json"), ("set-4", "not_utf8"), ("set-5", "wrong_type"), ("set-6", "too_deep"),
        ("set-7", "broken_text"), ("set-8", "broken_text"), ("set-9", "broken_json"), ("set-10", "too_long"),
    ]  # fmt: skip
    assert all(reject.detail.startswith(f"set.jsonl:{reject.record[4:]}: ") for reject in rejects)
    for reject in rejects:
        reject.excerpt.encode("utf-8")


def test_a_second_record_of_one_id_is_a_reject_of_its_own(tmp_path: Path) -> None:
    jsonl(tmp_path, *({"id": "a", "text": text} for text in "xyz"), {"id": "a b/c", "text": "w"})
    rows, rejects = load(Table(path="set.jsonl", body="text", language="en", license="x"), tmp_path)
    assert [row.id for row in rows] == ["set/a", "set/a_b_c"]
    assert told(rejects) == [("a#2", "duplicate_id"), ("a#3", "duplicate_id")]


def test_csv_goes_on_after_a_broken_record(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_bytes(
        b'\xef\xbb\xbfquestion,answer\r\nq1,"two\nlines"\r\nq2\r\nq3,\xff\r\nq4,a4\r\nq5,"never ends\r\nq6,a6\r\n'
    )
    rows, rejects = load(Table(path="set.csv", body="chat", language="en", license="x"), tmp_path)
    assert [(row.id, row.body) for row in rows] == [
        ("set/set-2", Chat.of("q1", "two\nlines")), ("set/set-6", Chat.of("q4", "a4")),
    ]  # fmt: skip
    assert told(rejects) == [("set-4", "broken_line"), ("set-5", "not_utf8"), ("set-7", "broken_line")]
    (tmp_path / "set.csv").write_bytes(b"")
    with pytest.raises(MissingInput, match=r"set\.csv: is empty"):
        load(Table(path="set.csv", body="chat", language="en", license="x"), tmp_path)


def test_parquet_is_streamed_and_a_cut_file_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "train.parquet"
    options = [{"A": "w", "B": "x", "C": None}, {"A": "w", "B": "x", "C": "y"}]
    pq.write_table(pa.table({"question": ["q"] * 2, "options": options, "answer": ["B", None]}), path)
    rows, rejects = load(Table(path="train.parquet", body="choice", language="en", license="x"), tmp_path)
    assert [(row.id, row.split, row.body) for row in rows] == [("set/train-1", "train", Choice("q", ("w", "x"), (1,)))]
    assert told(rejects) == [("train-2", "no_answer")]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MissingInput, match=r"train\.parquet: .*"):
        load(Table(path="train.parquet", body="choice", language="en", license="x"), tmp_path)


def test_a_folder_without_a_file_of_the_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(MissingInput, match=r"sources\.set\.path: no file of this set \(\.csv, \.tsv, \.json,"):
        load(Table(path=".", body="text", language="en", license="x"), tmp_path)


def test_whole_files_of_another_shape_are_named(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"a": 1}')
    with pytest.raises(MissingInput, match=r"train\.json: holds a dict, expected a list"):
        load(FrenchMedMCQA(path="train.json", license="x"), tmp_path)
    (tmp_path / "train.json").write_text('[{"id": "1", "question"')
    with pytest.raises(MissingInput, match=r"train\.json: is not JSON: .* column"):
        load(FrenchMedMCQA(path="train.json", license="x"), tmp_path)
    (tmp_path / "train.json").write_text('{"version": 1}')
    with pytest.raises(RecipeError, match="has no 'language'; 'exams'\\. Fields there: version"):
        load(HeadQA(path="train.json", license="x"), tmp_path)


PAIR = "<QAPair pid='1'><Question>What is X ?</Question><Answer>It is a thing.</Answer></QAPair>"


def test_hostile_xml_is_rejected_and_the_other_documents_are_read(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><Document>&b;</Document>'
    documents = {
        "1": f"<Document><QAPairs>{PAIR}</QAPairs></Document>",
        "2": f"<Document><QAPairs>{PAIR}",
        "3": bomb,
        "4": '<!DOCTYPE d SYSTEM "file:///etc/passwd"><Document/>',
        "5": "<a>" * 5000,
        "6": "<Document/>",
        "7": '<?xml version="1.0" encoding="no-such"?><Document/>',
    }
    (tmp_path / "f").mkdir()
    for name, text in documents.items():
        (tmp_path / "f" / f"{name}.xml").write_text(text)
    (tmp_path / "f" / "8.xml").write_bytes(bomb.encode("utf-16"))
    rows, rejects = load(MedQuad(path="f", license="x"), tmp_path)
    assert [(row.id, row.body) for row in rows] == [("set/f.1-1", Chat.of("What is X?", "It is a thing."))]
    assert told(rejects) == [
        ("f.2", "broken_xml"), ("f.3", "doctype"), ("f.4", "doctype"), ("f.5", "too_deep"), ("f.6", "no_pairs"),
        ("f.7", "broken_xml"), ("f.8", "doctype"),
    ]  # fmt: skip
    assert "f/2.xml: " in rejects[0].detail and "line 1" in rejects[0].detail


def sheet(path: Path, *rows: tuple[object, ...]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("Question", "Options", "Answer", "Explanation"), *rows):
        book.active.append(row)
    book.save(path)


def test_cmexam_options_in_one_cell(tmp_path: Path) -> None:
    sheet(
        tmp_path / "val.xlsx",
        ("问", "A 甲\\nB 乙\\nC 丙", "AC", "因为"),
        ("问", "A 甲\nB 乙\n乙二\nC 丙", "B", "nan"),
        ("问", "A 甲\\nB 乙", "nan", "x"),
        ("问", "B 乙\\nC 丙", "C", "x"),
        ("结合模式如图所示。", "A 甲\\nB 乙", "A", "x"),
        ("心电图示", "A 上表面\\nB 乙", "A", None),
        (None, "A 甲\\nB 乙", "A", "x"),
    )
    rows, rejects = load(CMExam(path="val.xlsx", license="x"), tmp_path)
    assert [(row.id, row.split, row.body) for row in rows] == [
        ("set/val-2", "dev", Choice("问", ("甲", "乙", "丙"), (0, 2), "因为")),
        ("set/val-3", "dev", Choice("问", ("甲", "乙\n乙二", "丙"), (1,))),
        ("set/val-7", "dev", Choice("心电图示", ("上表面", "乙"), (0,))),
    ]
    assert told(rejects) == [
        ("val-4", "no_answer"), ("val-5", "broken_options"), ("val-6", "needs_image"), ("val-8", "no_question"),
    ]  # fmt: skip


def test_damaged_and_hostile_spreadsheets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "val.xlsx"
    sheet(path, ("问", "A 甲\\nB 乙", "A", "x"))
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(MissingInput, match=r"val\.xlsx: is not a whole spreadsheet"):
        load(CMExam(path="val.xlsx", license="x"), tmp_path)
    path.write_bytes(good)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/evil.xml", " " * (1 << 20) + '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(MissingInput, match=r"xl/evil\.xml declares a document type"):
        load(CMExam(path="val.xlsx", license="x"), tmp_path)
    path.write_bytes(good)
    monkeypatch.setattr("langmill_plugins.loaders.formats.sheets.WHOLE", 100)
    with pytest.raises(MissingInput, match=r"unpacks to .* bytes"):
        load(CMExam(path="val.xlsx", license="x"), tmp_path)


# --- the sets' own quirks ---


def test_medqa_needs_letter_and_text_to_agree(tmp_path: Path) -> None:
    options = {"A": "w", "B": "x"}
    jsonl(
        tmp_path,
        {"question": "q", "options": options, "answer_idx": "B", "answer": "x"},
        {"question": "q", "options": options, "answer_idx": "B", "answer": "w"},
        {"question": "An ECG is shown. What now?", "options": options, "answer_idx": "B", "answer": "x"},
        {"question": "Values are shown below: Na 139", "options": options, "answer_idx": "A", "answer": "w"},
        {"question": "q", "options": {}, "answer_idx": "A"},
        name="train.jsonl",
    )
    rows, rejects = load(MedQA(path="train.jsonl", license="x"), tmp_path)
    assert [row.id for row in rows] == ["set/train-1", "set/train-4"]
    assert told(rejects) == [("train-2", "key_mismatch"), ("train-3", "needs_image"), ("train-5", "no_options")]


def test_medmcqa_as_published_must_say_where_its_key_starts(tmp_path: Path) -> None:
    record = {
        "id": "a",
        "question": "q",
        "opa": "w",
        "opb": "x",
        "opc": "y",
        "opd": "z",
        "choice_type": "multi",
        "exp": None,
    }
    jsonl(tmp_path, record | {"cop": 1}, record | {"id": "b", "cop": -1}, record | {"id": "c", "cop": 4})
    with pytest.raises(RecipeError, match="answers_from: 1"):
        load(MedMCQA(path="set.jsonl", license="x"), tmp_path)
    rows, rejects = load(MedMCQA(path="set.jsonl", license="x", answers_from=1), tmp_path)
    assert [row.body for row in rows] == [Choice("q", ("w", "x", "y", "z"), (index,)) for index in (0, 3)]
    assert told(rejects) == [("b", "no_answer")]
    with pytest.raises(RecipeError, match="keys run from 1 to 4 of 4 options: type answers_from: 1"):
        load(MedMCQA(path="set.jsonl", license="x", answers_from=0), tmp_path)


def test_igakuqa_keys_that_are_no_key(tmp_path: Path) -> None:
    record = {
        "problem_text": "どれか",
        "choices": ["あ", "い", "う", "え"],
        "text_only": True,
        "points": "1",
        "answer": ["b", "d"],
    }
    jsonl(
        tmp_path,
        record | {"problem_id": "1"},
        record | {"problem_id": "2", "answer": ["a or d"]},
        record | {"problem_id": "3", "choices": [], "answer": ["7.20"]},
        record | {"problem_id": "4", "points": "0"},
        record | {"problem_id": "5", "text_only": False},
        record | {"problem_id": "6", "problem_text": "Which?", "choices": ["one", "two"], "answer": ["a"]},
        name="112-A.jsonl",
    )
    jsonl(tmp_path, {"problem_id": "1", "kinki": []}, name="112-A_metadata.jsonl")
    rows, rejects = load(IgakuQA(path=".", license="x"), tmp_path)
    assert [(row.id, row.language, row.family) for row in rows] == [
        ("set/1", "ja", "igakuqa/1"), ("set/6", "en", "igakuqa/6"),
    ]  # fmt: skip
    assert isinstance(rows[0].body, Choice) and rows[0].body.answers == (1, 3)
    assert told(rejects) == [("2", "ambiguous_key"), ("3", "number_answer"), ("4", "withdrawn"), ("5", "needs_image")]
    rows, rejects = load(IgakuQA(path=".", license="x", languages=("ja",)), tmp_path)
    assert [row.id for row in rows] == ["set/1"] and told(rejects)[-1] == ("6", "other_language")


def test_kormedmcqa_cot_rejects_a_disputed_key(tmp_path: Path) -> None:
    def chat(id: str, answer: str, gold: str = "B", used: str = "B") -> dict[str, object]:
        user = {"role": "user", "content": "풀이하세요.\n\n[문제]\n처치는?\n\n[선택지]\nA. 하나\nB. 둘\n둘째 줄"}
        meta = {"id": id, "gold": gold, "answer_used": used}
        return {"messages": [user, {"role": "assistant", "content": answer}], "meta": meta}

    jsonl(
        tmp_path,
        chat("1", "이유.\n\nFinal answer:\n정답: B"),
        chat("2", "이유.\n정답: A"),
        chat("3", "이유.\n정답: B", used="A"),
        chat("4", "이유."),
        chat("5", "이유.\n정답: C", gold="C", used="C"),
    )
    rows, rejects = load(KorMedMCQACoT(path="set.jsonl", license="x"), tmp_path)
    assert [row.body for row in rows] == [Choice("처치는?", ("하나", "둘\n둘째 줄"), (1,), "이유.")]
    assert told(rejects) == [("2", "key_mismatch"), ("3", "key_mismatch"), ("4", "no_answer"), ("5", "bad_key")]


def test_casimedicos_cases_without_key_or_options_are_rejected(tmp_path: Path) -> None:
    def case(*sentences: str) -> str:
        return "\n\n".join("\n".join(f"{token} O " for token in sentence.split()) for sentence in sentences) + "\n\n"

    head, key = ("QUESTION TYPE: X", "CLINICAL CASE:"), "CORRECT ANSWER: 2"
    (tmp_path / "ES").mkdir()
    (tmp_path / "ES" / "train.tsv").write_text(
        case("Suelto.")
        + case(
            *head,
            "1- Primero.",
            "¿ Cuál es ?",
            "1- Uno .",
            "2- Dos",
            "seguido.",
            "3- nan",
            key,
            "Porque sí .",
            "- lista",
        )
        + case(*head, "¿Cuál?", "1- Uno.", "2- Dos.")
        + case(*head, "¿Cuál?", key, "Porque.")
        + case(*head, "¿Cuál?", "1- Uno.", "2- Dos.", "CORRECT ANSWER: 7")
    )
    rows, rejects = load(CasiMedicos(path=".", license="x"), tmp_path)
    assert [(row.id, row.family, row.split, row.body) for row in rows] == [
        ("set/es.train-1", "casimedicos/train-1", "train",
         Choice("1- Primero. ¿Cuál es?", ("Uno.", "Dos seguido."), (1,), "Porque sí.\n- lista"))
    ]  # fmt: skip
    assert told(rejects) == [
        ("es.train-0", "broken_case"), ("es.train-2", "no_answer"), ("es.train-3", "no_options"), ("es.train-4", "bad_key"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "tokens", "text"),
    [
        ("en", "What is it ? A dose of .5 , or ( 3 ) .", "What is it? A dose of .5, or (3)."),
        ("es", "¿ Cuál ? Un 60 % ; nada .", "¿Cuál? Un 60 %; nada."),
        (
            "fr",
            "Lequel ? Un signe : qu' il y a 90 % , c' est tout .",
            "Lequel ? Un signe : qu'il y a 90 %, c'est tout.",
        ),
    ],
)
def test_tokens_read_as_the_language_writes_them(language: str, tokens: str, text: str) -> None:
    assert prose([tokens], language) == text


def test_medquad_lists_come_back() -> None:
    flat = "Key Points\n                    - One thing.    - Another.  \n      \n      \n    It may include - a  - b well-known"
    assert tidied(flat) == "Key Points\n\n- One thing.\n- Another.\n\nIt may include:\n- a\n- b well-known"


def test_openstax_keeps_figures_raised_and_leaves_exercises_out(tmp_path: Path) -> None:
    (tmp_path / "m1").mkdir()
    (tmp_path / "m1" / "index.cnxml").write_text(
        '<document xmlns="http://cnx.rice.edu/cnxml"><metadata><para>Goal.</para></metadata><content>'
        "<section><title>Blood</title>"
        '<para>About 5 x 10<sup>6</sup> Ca<sup>2+</sup> in H<sub>2</sub>O (see <link target-id="fig-1"/>b). '
        'As <link target-id="tbl-2"/> shows, the 21<sup>st</sup>.</para><list><item>one</item><item>two</item></list></section>'
        '<section class="references"><para>Smith.</para></section><note class="anatomy interactive"><para>Watch.</para></note>'
        "<exercise><problem><para>Why?</para></problem></exercise></content><glossary/></document>",
        "utf-8",
    )
    rows, rejects = load(OpenStax(path=".", license="x"), tmp_path)
    assert rejects == [] and [(row.id, row.family, row.body) for row in rows] == [
        ("set/m1-1", "set/m1", Text("Blood\nAbout 5 x 10⁶ Ca²⁺ in H₂O. As the table shows, the 21st.\n- one\n- two"))
    ]
