"""One loader for records in any common format: by the file's ending and, for .json, by what is in it."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Chat, Choice, MissingInput, RecipeError, Reject, Row, SourceContext, Text
from langmill_plugins.loaders.table import Table

DATA = Path(os.environ.get("FACTORY_DATA", ""))
ITEMS = [{"question": f"Q{n}?", "A": "one", "B": "two", "answer": "AB"[n % 2]} for n in range(3)]


def load(folder: Path, path: str, **options: Any) -> tuple[list[Row], list[Reject]]:
    loader = Table(path=path, license="x", **{"language": "en", **options})
    found = list(loader.load(SourceContext("sources.set", 17, {}, folder, data_dir=DATA, source="set", license="x")))
    return [item for item in found if isinstance(item, Row)], [item for item in found if isinstance(item, Reject)]


def sheet(path: Path, rows: list[list[Any]], title: str = "Exam") -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["about this file"])
    for cells in rows:
        (book[title] if title in book.sheetnames else book.create_sheet(title)).append(cells)
    book.save(path)


def write(path: Path) -> None:
    """The same three items in the format of a file's name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [list(item.values()) for item in ITEMS]
    if path.suffix == ".xlsx":
        sheet(path, [list(ITEMS[0]), *cells])
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ITEMS), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t").writerows([list(ITEMS[0]), *cells])
    elif path.name == "keyed.json":
        path.write_text(json.dumps({f"k{n}": item for n, item in enumerate(ITEMS)}, indent=1))
    elif path.name == "listed.json":
        path.write_text("\ufeff" + json.dumps(ITEMS), "utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, ITEMS)))


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("a.csv", ["a-2", "a-3", "a-4"]), ("a.tsv", ["a-2", "a-3", "a-4"]), ("a.CSV", ["a-2", "a-3", "a-4"]),
        ("a.xlsx", ["a-2", "a-3", "a-4"]), ("a.parquet", ["a-1", "a-2", "a-3"]), ("a.jsonl", ["a-1", "a-2", "a-3"]),
        ("lines.json", ["lines-1", "lines-2", "lines-3"]), ("listed.json", ["listed-1", "listed-2", "listed-3"]),
        ("keyed.json", ["k0", "k1", "k2"]),
    ],
)  # fmt: skip
def test_the_same_items_in_every_format(tmp_path: Path, name: str, records: list[str]) -> None:
    write(tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    more = {"sheet": "Exam"} if name.endswith("xlsx") else {}
    rows, rejects = load(tmp_path, name, body="choice", options=("A", "B"), **more)
    assert rejects == [] and [row.origin.record for row in rows] == records
    assert [row.body for row in rows] == [Choice(f"Q{n}?", ("one", "two"), (n % 2,)) for n in range(3)]


def test_a_folder_of_several_formats_is_one_source(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.parquet", "test.json"):
        write(tmp_path / name)
    (tmp_path / "README.md").write_text("no records")
    rows, _ = load(tmp_path, ".", body="choice", options=("A", "B"))
    assert Counter(row.split for row in rows) == {"train": 3, "dev": 3, "test": 3}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ('{"text": "a"}', ["j-1 a"]),  # one record, not an object keyed by id
        ('{"1": {"text": "a"}}', ["1 a"]),
        ('{\n "1": {"text": "a"},\n "2": {"text": "b", "id": "x"}\n}', ["1 a", "x b"]),
        ('{"text": "a"}\n{"text": "b', ["j-1 a", "j-2 broken_json"]),
        ('{"text": \n{"text": "b"}\n', ["j-1 broken_json", "j-2 b"]),
        ('\n["one", "two", 3]', ["j-1 one", "j-2 two", "j-3 wrong_type"]),
        ("[]", ["j no_records"]),
        ("{}", ["j no_records"]),
        ('[\n{"text": "a"},\n{"text": "b"}\n]', ["j-1 a", "j-2 b"]),
    ],
)
def test_what_a_json_file_holds_tells_its_shape(tmp_path: Path, data: str, found: list[str]) -> None:
    (tmp_path / "j.json").write_text(data)
    rows, rejects = load(tmp_path, "j.json", body="text")
    told = [f"{row.origin.record} {row.body.text}" for row in rows if isinstance(row.body, Text)]
    assert sorted(told + [f"{reject.record} {reject.reason}" for reject in rejects]) == sorted(found)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"version": 1,\n"exams": {}}', r"is one object, whose 'version' is a int; expected a list of records, an object .* keyed"),
        ('"text"', "holds a str, expected a list of records"),
        ('[{"text": "a"', "is not JSON: .*Fetch the file again"),
        ("", "is not JSON"),
    ],
)  # fmt: skip
def test_json_of_another_shape_is_named(tmp_path: Path, data: str, said: str) -> None:
    (tmp_path / "j.json").write_text(data)
    with pytest.raises(MissingInput, match=rf"j\.json: {said}"):
        load(tmp_path, "j.json", body="text")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.jsonl", {"delimiter": ";"}, r"sources\.set\.delimiter: is for \.csv, \.tsv; the source's files end in \.jsonl\. Take"),
        ("a.csv", {"sheet": "Exam"}, r"sources\.set\.sheet: is for \.xlsx"),
        ("a.parquet", {"columns": ("question",)}, r"sources\.set\.columns: is for \.csv, \.tsv, \.xlsx; .* \.parquet"),
        ("a.txt", {}, r"'a\.txt': the loader table reads \.csv, \.tsv, \.json, \.jsonl, \.xlsx, \.parquet"),
    ],
)  # fmt: skip
def test_an_option_or_a_file_that_does_not_fit_is_an_error(
    tmp_path: Path, name: str, options: dict[str, Any], said: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(RecipeError, match=said):
        load(tmp_path, name, body="text", **options)


def test_an_option_may_fit_some_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("one;two\n")
    (tmp_path / "b.jsonl").write_text('{"question": "three", "answer": "four"}\n')
    rows, rejects = load(tmp_path, ".", body="chat", delimiter=";", columns=("question", "answer"))
    assert rejects == [] and [row.body for row in rows] == [Chat.of("one", "two"), Chat.of("three", "four")]


def test_sheets_have_names_and_may_lack_a_header(tmp_path: Path) -> None:
    sheet(tmp_path / "a.xlsx", [["Q?", None, 1.5]], title="Bare")
    rows, _ = load(tmp_path, "a.xlsx", body="chat", sheet="Bare", columns=("question", "context", "answer"))
    assert [(row.origin.record, row.body) for row in rows] == [("a-1", Chat.of("Q?", "1.5"))]
    with pytest.raises(
        MissingInput, match=r"a\.xlsx: has no sheet 'bare': possible: Bare, Sheet\. Did you mean 'Bare'\?"
    ):
        load(tmp_path, "a.xlsx", body="chat", sheet="bare", columns=("question", "answer"))


def test_conversations_in_the_layout_of_sharegpt(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]
    records = [
        {"conversations": [{"from": "system", "value": "s"}, *turns]},
        {"conversations": turns[:1]},
        {"conversations": [{"from": "tool", "value": "x"}]},
    ]
    (tmp_path / "c.json").write_text(json.dumps(records))
    rows, rejects = load(tmp_path, "c.json", body="chat", messages="conversations")
    (body,) = (row.body for row in rows)
    assert isinstance(body, Chat) and [(turn.role, turn.content) for turn in body.messages] == [
        ("system", "s"), ("user", "u"), ("assistant", "a"),
    ]  # fmt: skip
    assert [reject.reason for reject in rejects] == ["bad_messages", "bad_messages"]
    assert "'tool', possible: system, user, human, assistant, gpt" in rejects[1].detail


# --- sets as published, in a few lines of recipe ---

SETS: dict[str, tuple[dict[str, Any], int, dict[str, int]]] = {
    "genmedgpt-5k/*.json": ({"body": "chat", "question": "input", "answer": "output"}, 1500, {}),
    "bentsao-huatuo/data/*.json": ({"body": "chat", "question": "instruction", "answer": "output", "language": "zh"}, 3000, {}),
    "medicationqa/*.xlsx": ({"body": "chat", "question": "Question", "answer": "Answer", "sheet": "DrugQA"}, 339, {}),
    "huatuogpt2-unification/pubmed_test.json": ({"body": "text"}, 200, {}),
    "medqa-usmle/test.jsonl": ({"body": "choice", "answer": "answer_idx"}, 900, {}),
    "pubmedqa/data/ori_pqal.json": (
        {"body": "choice", "question": "QUESTION", "context": "CONTEXTS", "answer": "final_decision", "explanation": "LONG_ANSWER",
         "same_options": ("yes", "no", "maybe"), "answers_from": "text"}, 600, {},
    ),
    "jmed-llm/datasets/smdis.csv": (
        {"body": "choice", "language": "ja", "options": ("optionA", "optionB"), "context": "tag"}, 100, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("path", SETS)
@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_public_sets_are_a_few_lines_of_recipe(path: str) -> None:
    options, count, reasons = SETS[path]
    rows, rejects = load(DATA, f"$data_dir/{path}", **options)
    assert len(rows) == count and Counter(reject.reason for reject in rejects) == reasons
    if path.startswith("pubmedqa"):
        body = rows[0].body
        assert isinstance(body, Choice) and body.options == ("yes", "no", "maybe") and body.context and body.explanation
        assert rows[0].origin.record.isdecimal() and "\n" in body.context
