"""Files as people really have them: packed, cut off, very large, written by other programs."""

from __future__ import annotations

import gzip
import json
import random
import resource
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from langmill.api import MissingInput, RecipeError, Reject, Row, SourceContext, words
from langmill_plugins.loaders.table import Table


def load(path: Path, data: bytes | None = None, **options: Any) -> list[str]:
    """What becomes of a file: the words of each row, the reason of each reject."""
    if data is not None:
        path.write_bytes(data)
    loader = Table(path=path.name, license="x", **{"language": "en", "body": "text", **options})
    context = SourceContext("sources.set", 17, {}, path.parent, source="set", license="x")
    return [item.reason if isinstance(item, Reject) else words(item.body) for item in loader.load(context)]


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.jsonl.gz", b'{"text": "x"}'), ("a.json.gz", b'[{"text": "x"}]'), ("a.json.GZ", b'{"text": "x"}\n'),
     ("a.csv.gz", b"text\nx\n"), ("a.tsv.gz", b"id\ttext\nq\tx\n")],
)  # fmt: skip
def test_text_formats_may_be_packed(tmp_path: Path, name: str, data: bytes) -> None:
    assert load(tmp_path / name, gzip.compress(data)) == ["x"]


def test_a_packed_file_is_named_as_if_it_were_not(tmp_path: Path) -> None:
    (tmp_path / "c4-dev.json.gz").write_bytes(gzip.compress(b'{"text": "x"}'))
    loader = Table(path="c4-dev.json.gz", license="x", body="text", language="en")
    (row,) = loader.load(SourceContext("sources.set", 17, {}, tmp_path, source="set", license="x"))
    assert isinstance(row, Row) and row.origin.record == "c4-dev-1" and row.split == "dev"


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.json.gz"])
def test_a_packed_file_that_breaks_off_keeps_what_it_gave(tmp_path: Path, name: str) -> None:
    draw = random.Random(3)
    texts = [f"{draw.random()}" for _ in range(20_000)]
    data = "text\n" + "\n".join(texts) if "csv" in name else "\n".join(json.dumps({"text": text}) for text in texts)
    found = load(tmp_path / name, gzip.compress(data.encode())[:-9000])
    assert found[-1] == "unreadable_file" and found[:-1] == texts[: len(found) - 1] and len(found) > 5000
    with pytest.raises(MissingInput, match=r"is not a whole gzip file: Not a gzipped file"):
        load(tmp_path / name, data.encode())


@pytest.mark.parametrize("name", ["a.xlsx.gz", "a.parquet.gz", "a.txt.gz", "a.gz"])
def test_other_packed_files_are_no_known_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"the loader table reads .*, the first four also as \.gz"):
        load(tmp_path / name, b"")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ('[{"text": "a"}, {"text": "b"', ["a", "unreadable_file"]),
        ('[{"text": "a"},]', ["a", "unreadable_file"]),
        ('[{"text": "a"}]\n[1]', ["a", "unreadable_file"]),
        ('{"k": {"text": "a"},\n "l": 3, "k": {"text": "b"}}', ["a", "wrong_type", "duplicate_id"]),
        ('[1, {"text": "b"}]', ["wrong_type", "b"]),
    ],
)  # fmt: skip
def test_a_document_is_read_as_far_as_it_goes(tmp_path: Path, data: str, found: list[str]) -> None:
    assert load(tmp_path / "a.json", data.encode()) == found


def test_a_document_in_utf_16_and_one_that_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "a.json", json.dumps([{"text": "é"}], ensure_ascii=False).encode("utf-16")) == ["é"]
    with pytest.raises(MissingInput, match=r"b\.json: is not UTF-8 "):
        load(tmp_path / "b.json", '[{"text": "é"}]'.encode("latin-1"))
    with pytest.raises(MissingInput, match="nested too deeply"):
        load(tmp_path / "c.json", b"[" * 100_000)


def test_an_object_keyed_by_id_is_not_held(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("w") as file:
        file.write(
            ",\n".join(f'{"" if n else "{"}"k{n}": {{"text": "{n} {"word " * 400}"}}' for n in range(30_000)) + "}"
        )
    loader = Table(path="a.json", license="x", body="text", language="en")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    context = SourceContext("sources.set", 17, {}, tmp_path, source="set", license="x")
    assert sum(isinstance(item, Row) for item in loader.load(context)) == 30_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB; the file has 60 MB


@pytest.mark.parametrize(("size", "row"), [("A1:A1", 2), ("A1", 2), ("A1:XFD1048576", 2), ("A1:B2", 900_000)])
def test_the_size_that_a_sheet_declares_is_not_believed(tmp_path: Path, size: str, row: int) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for cells in (["id", " text "], ["q", "x"]):
        book.active.append(cells)
    book.save(tmp_path / "b.xlsx")
    with zipfile.ZipFile(tmp_path / "b.xlsx") as old, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as new:
        for name in old.namelist():
            data = old.read(name).replace(b'ref="A1:B2"', f'ref="{size}"'.encode())
            for cell in ('<row r="2"', 'r="A2"', 'r="B2"'):
                data = data.replace(cell.encode(), cell.replace("2", str(row)).encode())
            new.writestr(name, data)
    assert load(tmp_path / "a.xlsx") == ["x"]


def test_headers_of_other_programs(tmp_path: Path) -> None:
    import openpyxl

    assert load(tmp_path / "a.csv", b"id, text \nq,x\n") == ["x"]
    with pytest.raises(MissingInput, match=r"the only column is named .id;text.*delimiter: \";\""):
        load(tmp_path / "a.csv", b"id;text\nq;x\n")
    assert load(tmp_path / "a.csv", b"id;text\nq;x\n", delimiter=";") == ["x"]
    book = openpyxl.Workbook()
    book.active.append(["text", "text"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(MissingInput, match=r"a\.xlsx:1: two columns are named 'text'"):
        load(tmp_path / "a.xlsx")


def test_indices_of_a_column_with_gaps_and_pictures_of_none(tmp_path: Path) -> None:
    item = '{"question": "q", "options": ["a", "b"], "img": NaN, "answer": %s}\n'
    data = "".join(item % answer for answer in ("1.0", '"1.0"', "1", "1.5", "true", "NaN"))
    found = load(tmp_path / "a.jsonl", data.encode(), body="choice", answers_from=0, picture="img")
    assert len(found) == 6 and found[3:] == ["bad_key", "bad_key", "no_answer"]


def test_one_same_option_is_no_choice() -> None:
    with pytest.raises(ValidationError, match="one option is no choice"):
        Table(path="a", license="x", body="choice", same_options=("yes",))
