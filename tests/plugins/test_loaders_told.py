"""What a user is told who typed the wrong thing, or whose files are not as the loader reads them: the way out is in the words."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Loader, MissingInput, RecipeError, Reject, Row, SourceContext
from langmill_plugins.loaders.bentsao import BenTsao
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.medmcqa import MedMCQA
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.table import Table

FOUR = ("w", "x", "y", "z")


def load(loader: Loader, folder: Path) -> list[Row | Reject]:
    return list(loader.load(SourceContext("sources.exam", 17, {}, folder, source="exam", license="x")))


def lines(path: Path, *records: object) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def table(**options: Any) -> Table:
    return Table.model_validate({"path": "a.jsonl", "license": "x", "language": "en", **options})


def item(answer: object, **more: object) -> dict[str, object]:
    return {"question": "q", "options": FOUR, "answer": answer} | more


def details(found: list[Row | Reject]) -> list[str]:
    return [item.detail for item in found if isinstance(item, Reject)]


# --- answer keys ---


@pytest.mark.parametrize(
    ("first", "keys", "said"),
    [
        (0, (1, 2, 3, 4), "keys run from 1 to 4 of 4 options: type answers_from: 1"),
        (1, (0, "1", 2, 3), "keys run from 0 to 3 of 4 options: type answers_from: 0"),
        (0, (1, 4, -1), "keys run from 1 to 4 of 4 options: type answers_from: 1"),  # -1 stands for no label
        (0, ([1, 2], [3, 4]), "type answers_from: 1"),
        (1, (1, 2, 3, 4), ""),
        (0, (1, 2, 3), ""),  # nothing tells
        (0, (0, 1, 4), ""),  # one key is wrong, the count is not
        (1, (0, 1, 4), ""),
        (0, (1, 4, 5), ""),  # wrong whatever the count
        (1, (0, 2, -3), ""),
    ],
)  # fmt: skip
def test_keys_counted_from_the_other_end_stop_the_run(
    tmp_path: Path, first: int, keys: tuple[object, ...], said: str
) -> None:
    lines(tmp_path / "a.jsonl", *map(item, keys))
    loader = table(body="choice", answers_from=first)
    if not said:
        assert len(load(loader, tmp_path)) == len(keys)
        return
    with pytest.raises(RecipeError) as error:
        load(loader, tmp_path)
    assert str(error.value).startswith("sources.exam.answers_from: ") and said in str(error.value)
    lines(tmp_path / "a.jsonl", item(first))
    assert len(load(loader, tmp_path)) == 1  # the keys of another reading are forgotten


def test_keys_of_items_with_more_and_fewer_options(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", item(2, options=FOUR[:2]), item(3))
    with pytest.raises(RecipeError, match="keys run from 2 to 3 of 2 to 4 options: type answers_from: 1"):
        load(table(body="choice", answers_from=0), tmp_path)


def test_the_published_key_of_medmcqa_counted_from_the_other_end(tmp_path: Path) -> None:
    cells = {"question": "q", "opa": "w", "opb": "x", "opc": "y", "opd": "z"}
    lines(tmp_path / "a.json", *({**cells, "cop": key} for key in (1, 2, 3, 4)))
    with pytest.raises(RecipeError, match=r"sources\.exam\.answers_from: keys run from 1 to 4 of 4 .*answers_from: 1"):
        load(MedMCQA(path="a.json", license="x", answers_from=0), tmp_path)


@pytest.mark.parametrize(
    ("record", "options", "said"),
    [
        (item("y", answer_idx="C"), {}, "'y', possible: A, B, C, D. It is the words of option C: type answers_from: text, "
         "or answer: answer_idx"),
        (item("y"), {}, "It is the words of option C: type answers_from: text"),
        (item(2), {}, "the answer is '2', possible: A, B, C, D. It is a number: type answers_from: 0 or answers_from: 1"),
        (item([0, 3]), {}, "It is a number: type answers_from: 0 or answers_from: 1"),
        (item("y"), {"answers_from": 0}, "expected an index counted from 0. It is the words of option C: type answers_from: text"),
        (item("C"), {"answers_from": 1}, "It is the letter of an option: take answers_from out"),
        (item("C"), {"answers_from": "text"}, "It is the letter of an option: take answers_from out"),
        (item("E"), {}, "a.jsonl:1: the answer is 'E', possible: A, B, C, D"),  # as it was written
        (item("3", options={"1": "w", "2": "x"}), {}, "the answer is '3', possible: 1, 2"),
        (item("A", options="A. w\nB. x"), {}, "options are the text 'A. w\nB. x', expected a list or an object of letter: text. "
         "Options with a field each: options: [A, B, C, D]"),
    ],
)  # fmt: skip
def test_a_key_that_is_none_says_what_to_type(
    tmp_path: Path, record: dict[str, object], options: dict[str, Any], said: str
) -> None:
    lines(tmp_path / "a.jsonl", record)
    (told,) = details(load(table(body="choice", **options), tmp_path))
    assert told.endswith(said)


@pytest.mark.parametrize(
    "record", [item("A", options="\ud800"), item(["\ud800"]), item("B", options={"\ud800": "x", "C": "y"})]
)
def test_what_is_told_of_a_record_can_be_written(tmp_path: Path, record: dict[str, object]) -> None:
    lines(tmp_path / "a.jsonl", record)
    (told,) = details(load(table(body="choice"), tmp_path))
    assert "?" in told.encode("utf-8").decode()


# --- fields ---


@pytest.mark.parametrize(
    ("records", "options", "said"),
    [
        ([item("y", answer_idx="C")] * 3, {"body": "choice", "answer": "answer_id"}, "Type answer: answer_idx"),
        ([{"question": "q", "answer": "a", "lang": "en"}], {"body": "chat", "language": None},
         "Type language_field: lang, or language: and the code"),
        ([{"meta": {"q": "q", "a": "a"}, "id": 1}], {"body": "chat", "question": "meta.quest", "answer": "meta.ans"},
         "Fields there: meta.q, meta.a, id. Type question: meta.q; Type answer: meta.a"),
        ([{"m": {"q": "q", "a": "a"}}, {"m": None}], {"body": "chat", "question": "m.quest", "answer": "m.a"},
         "none of the first 2 records has the field 'm.quest' or 'messages'"),
        ([{"text": "t", "m": {"x": 1}}, {"text": "t", "m": None}], {"body": "text", "title": "m.title"},
         "sources.exam.title: no record has the field 'm.title'"),
        ([{"title": "t"}], {"body": "text"}, "the only record lacks the field 'text'"),
    ],
)  # fmt: skip
def test_the_field_that_is_meant_is_found(
    tmp_path: Path, records: list[object], options: dict[str, Any], said: str
) -> None:
    lines(tmp_path / "a.jsonl", *records)
    with pytest.raises(RecipeError) as error:
        load(table(**options), tmp_path)
    assert said in str(error.value)


def test_a_null_says_nothing_of_what_lies_inside(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"m": None}, {"m": None})
    found = load(table(body="chat", question="m.q", answer="m.a"), tmp_path)
    assert [item.reason for item in found if isinstance(item, Reject)] == ["no_question", "no_question"]


def test_the_fields_told_are_those_of_the_file_at_hand(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"body": "t", "text": "t"})
    lines(tmp_path / "b.jsonl", *[{"content": "t"}] * 20)
    with pytest.raises(RecipeError, match=r"b\.jsonl: .* Fields there: content\. Type text: content"):
        load(table(path=".", body="text"), tmp_path)


@pytest.mark.parametrize("indent", [None, 1])
def test_records_inside_of_a_document_are_named(tmp_path: Path, indent: int | None) -> None:
    document = {"version": 1, "data": [{"question": "q", "answer": "a"}] * 2}
    (tmp_path / "a.json").write_text(json.dumps(document, indent=indent))
    said = r"a\.json: the records lie inside 'data' \(2 in a list\): save that list .* \(jq \.data in > out\)"
    with pytest.raises((RecipeError, MissingInput), match=said):
        load(table(path="a.json", body="chat"), tmp_path)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_document_of_columns_is_named(tmp_path: Path, indent: int | None) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"question": ["q", "r"], "answer": ["a", "b"]}, indent=indent))
    with pytest.raises(
        MissingInput, match=r"holds a list for each field \(question, answer\), expected an object for each"
    ):
        load(table(path="a.json", body="chat"), tmp_path)


@pytest.mark.parametrize(
    ("heading", "new", "said"),
    [
        ("CORRECT ANSWER", "RIGHT ANSWER", "'CORRECT ANSWER' or .*Fields there: QUESTION TYPE, CLINICAL CASE, RIGHT ANSWER"),
        ("QUESTION TYPE", "ITEM TYPE", "'QUESTION TYPE'. Fields there: ITEM TYPE, CLINICAL CASE, CORRECT ANSWER"),
    ],
)  # fmt: skip
def test_a_heading_that_no_case_has_is_named(tmp_path: Path, heading: str, new: str, said: str) -> None:
    case = ("QUESTION TYPE: X", "CLINICAL CASE:", "Which ?", "1- One .", "2- Two .", "CORRECT ANSWER: 2", "Because .")
    text = "\n\n".join("\n".join(f"{token} O" for token in sentence.split()) for sentence in case) + "\n\n"
    for name in ("train", "dev"):
        (tmp_path / "EN").mkdir(exist_ok=True)
        (tmp_path / "EN" / f"{name}.tsv").write_text(text * 2)
    loader = CasiMedicos(path=".", license="x")
    assert [type(item).__name__ for item in load(loader, tmp_path)] == ["Row"] * 4
    for name in ("train", "dev"):
        old, other = heading.split()[0], new.split()[0]
        (tmp_path / "EN" / f"{name}.tsv").write_text((text * 2).replace(f"{old} O", f"{other} O"))
    with pytest.raises(RecipeError, match=said):
        load(loader, tmp_path)


# --- files ---


def test_a_packed_file_in_the_place_of_another_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"text": "t"}\n')
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "all.zip").write_bytes(b"PK")
    for path, said in (
        ("a.jsonl", r"a\.jsonl\.gz is there: type path: a\.jsonl\.gz"),
        ("*.jsonl", r"a\.jsonl\.gz is there: type path: \*\.jsonl\.gz"),
        ("set", r"below 'set'\. all\.zip is there: unpack it"),
    ):
        with pytest.raises(MissingInput, match=said):
            load(table(path=path, body="text"), tmp_path)
    with pytest.raises(MissingInput, match=r"a\.jsonl\.gz is there: unpack it"):
        load(BenTsao(path="a.jsonl", license="x"), tmp_path)


def test_a_file_that_is_left_out_is_a_reject(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"text": "t"})
    for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl.xz", "d.txt.xz"):  # the first lies there unpacked, too
        (tmp_path / name).write_bytes(gzip.compress(b'{"text": "t"}\n'))
    (tmp_path / "e.jsonl").symlink_to(tmp_path / "gone")
    told = [
        "b.jsonl.gz: is packed and not read: unpack it, or let path: match it",
        "c.jsonl.xz: is packed and not read: unpack it",
        "e.jsonl: is a link to a file that is not there",
    ]
    assert details(load(table(path="*.jsonl", body="text"), tmp_path)) == told
    (tmp_path / "a.jsonl.gz").unlink()
    found = load(table(path=".", body="text"), tmp_path)  # of a folder, the loader reads .gz
    assert sum(isinstance(item, Row) for item in found) == 2 and details(found) == told[1:]
    record = {"question": "q", "options": {"A": "x", "B": "y"}, "answer_idx": "A"}
    lines(tmp_path / "a.jsonl", record)
    assert details(load(MedQA(path=".", license="x", language="en"), tmp_path)) == [
        "b.jsonl.gz: is packed and not read: unpack it", *told[1:],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", "text\nя\n".encode("cp1251"), r"a\.csv:2: byte 1 of the line is not UTF-8: save .* iconv -f GB18030 -t UTF-8"),
        ("a.csv", b"text,n\n", r"a\.csv: holds no record, only the names of its columns"),
        ("a.csv", b"", "is empty"),
        ("a.csv", "text\na\n".encode("utf-16"), "it is UTF-16: save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 in > out"),
        ("a.csv", b"text,text\na,b\n", "two columns are named 'text': rename one of them in the file"),
        ("a.json", '[{"text": "é"}]'.encode("latin-1"), "is not UTF-8 .*: save the file as UTF-8, or: iconv"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_read_says_what_to_do(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    try:
        (told,) = details(load(table(path=name, body="text"), tmp_path))
    except MissingInput as error:
        told = str(error)
    assert re.search(said, told)


def test_a_spreadsheet_of_the_old_format_is_to_be_saved_anew(tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_bytes(b"x")
    with pytest.raises(RecipeError, match=r"'a\.xls': the loader table reads .*\. Save it as \.xlsx"):
        load(table(path="a.xls", body="text"), tmp_path)


def test_a_second_record_of_one_id_says_where_ids_come_from(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"text": "t", "qid": 1}, {"text": "u", "qid": 1})
    (told,) = details(load(table(body="text", id="qid"), tmp_path))
    assert told == "a.jsonl:2: '1' was there before (ids come from the field 'qid'; id: names another one)"


def test_a_formula_that_was_never_computed_is_told_where_it_is_needed(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for cells in (["question", "answer", "sum"], ["q", "a", "=1+1"], ["q", "=A2", None], ["q", "a", None]):
        book.active.append(cells)
    book.save(tmp_path / "a.xlsx")
    found = load(table(path="a.xlsx", body="chat"), tmp_path)
    assert [type(item).__name__ for item in found] == ["Row", "Reject", "Row"]
    assert details(found) == [
        "a.xlsx:3: answer is a formula without a stored value: open the file in a spreadsheet program and save it once"
    ]
