"""Bad input of every sort: each record becomes a row or a reject with its place and reason, each file is read or named."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langmill.api import Choice, Loader, MissingInput, RecipeError, Reject, Row, SourceContext, Text, words
from langmill.disk.store import RunFolder
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.table import Table

Found = list[tuple[str, str]]  # of each item its record, and a row's words or a reject's reason


def load(loader: Loader, folder: Path) -> list[Row | Reject]:
    context = SourceContext(
        place="sources.set", seed=17, languages={}, folder=folder, source="set", license=loader.license
    )
    return list(loader.load(context))


def read(path: Path, **options: Any) -> Found:
    """What the loader of a file's ending makes of it. Rejects must name the file, and fit into UTF-8."""
    items = load(Table(path=path.name, license="x", **{"body": "text", "language": "en", **options}), path.parent)
    for item in items:
        if isinstance(item, Reject):
            assert item.detail.startswith(path.name) and item.reason.isidentifier()
            f"{item.record}{item.detail}{item.excerpt}".encode()
        else:
            f"{item.id}{words(item.body)}".encode()
    return [
        (item.record, item.reason) if isinstance(item, Reject) else (item.origin.record, words(item.body))
        for item in items
    ]


def line(text: object) -> bytes:
    return json.dumps({"text": text}).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (line("") + line(" \t\u3000") + line("ok"), [("a-1", "no_text"), ("a-2", "no_text"), ("a-3", "ok")]),
        (line("\u200b\u200e\ufeff") + line("\u00ad\x07"), [("a-1", "no_text"), ("a-2", "no_text")]),
        (line("a\ud800") + line("\udc00\ud83d"), [("a-1", "broken_text"), ("a-2", "broken_text")]),
        (b'{"text": "\\ud83d\\ude00"}\n', [("a-1", "😀")]),
        (line("a\0b") + b'{"text": "a\0b"}\n', [("a-1", "broken_text"), ("a-2", "broken_json")]),
        (line("\u202eשלום\u202c"), [("a-1", "\u202eשלום\u202c")]),
        (line("a\u200db Ｆｕｌｌ　ｗｉｄｔｈ"), [("a-1", "a\u200db Ｆｕｌｌ　ｗｉｄｔｈ")]),
        (b'{"text": "a"}\r\n{"text": "b"}\r\n', [("a-1", "a"), ("a-2", "b")]),
        (b'{"text": "a"}\r{"text": "b"}\r', [("a-1", "broken_json")]),
        (b'{"text": "a"}\n{"text": "b', [("a-1", "a"), ("a-2", "broken_json")]),
        (line(float("inf")) + line(float("nan")) + line(12), [("a-1", "no_text"), ("a-2", "no_text"), ("a-3", "12")]),
        (gzip.compress(line("a"), mtime=0), [("a-1", "not_utf8")]),
        ('{"text": "a"}\n'.encode("utf-16"), [("a-1", "not_utf8"), ("a-2", "broken_json")]),
        (b"", [("a", "no_records")]),
        (b"\xef\xbb\xbf\n\n", [("a", "no_records")]),
    ],
)
def test_lines_of_every_sort(tmp_path: Path, data: bytes, found: Found) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    assert read(tmp_path / "a.jsonl") == found


def test_a_row_of_ten_megabytes_is_read_and_a_longer_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line("x" * 9_900_000) + line("x" * 10_000_000) + line("ok"))
    found = read(tmp_path / "a.jsonl")
    assert [(record, len(said)) for record, said in found] == [("a-1", 9_900_000), ("a-2", 8), ("a-3", 2)]


def test_names_that_are_no_names(tmp_path: Path) -> None:
    """A lone surrogate or a zero byte in an id never gets into a row's id, which is written to disk."""
    names = ["\ud800", "a\0b", "../../etc/x", "y" * 500, ["a"], None]
    (tmp_path / "a.jsonl").write_bytes(b"".join(json.dumps({"id": n, "text": "t"}).encode() + b"\n" for n in names))
    assert [record for record, _ in read(tmp_path / "a.jsonl")] == ["_", "a_b", ".._.._etc_x", "y" * 200, "a-5", "a-6"]


# --- Parquet ---


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array(["a", None]), ["a", "no_text"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array([b"a", b"\xff"]), ["wrong_type", "wrong_type"]),
        (pa.array([{"x": "y"}]), ["wrong_type"]),
        (pa.array([["a"]]), ["wrong_type"]),
        (pa.array([], pa.string()), ["no_records"]),
    ],
)
def test_columns_of_every_type(tmp_path: Path, column: pa.Array, found: list[str]) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert [said for _, said in read(tmp_path / "a.parquet")] == found


def test_a_file_of_another_schema_is_an_error_that_names_its_columns(tmp_path: Path) -> None:
    """Though columns that no field names are not read as a rule."""
    pq.write_table(pa.table({"x": [1, 2], "content": ["a", "b"]}), tmp_path / "a.parquet")
    with pytest.raises(
        RecipeError, match=r"a\.parquet: none of the first 2 .* 'text'.*: x, content\. Type text: content"
    ):
        read(tmp_path / "a.parquet")
    pq.write_table(pa.table({}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [("a", "no_records")]


def test_bytes_that_are_no_text_spoil_their_record_alone(tmp_path: Path) -> None:
    """Arrow takes any bytes for a string; the reader used to give up on the whole file."""
    ends = b"".join(end.to_bytes(4, "little") for end in (0, 2, 3, 5))
    broken = pa.Array.from_buffers(pa.string(), 3, [None, pa.py_buffer(ends), pa.py_buffer(b"ok\xffok")])
    pq.write_table(pa.table([broken], names=["text"]), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [("a-1", "ok"), ("a-2", "not_utf8"), ("a-3", "ok")]


def test_a_date_outside_the_calendar_is_of_its_record_alone(tmp_path: Path) -> None:
    """It used to end the run with an OverflowError; in a column that no field names it is not even read."""
    when = pa.array([0, 2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"text": ["a", "b"], "when": when}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [("a-1", "a"), ("a-2", "b")]
    assert read(tmp_path / "a.parquet", family="when") == [("a-1", "a"), ("a-2", "broken_value")]


def test_only_columns_that_are_needed_are_read_and_options_may_be_columns(tmp_path: Path) -> None:
    table = pa.table({"question": ["q"], "A": ["w"], "B": ["x"], "answer": ["B"], "junk": [b"\xff" * 1000]})
    pq.write_table(table, tmp_path / "a.parquet")
    loader = Table(path="a.parquet", body="choice", language="en", options=("A", "B"), license="x")
    (row,) = load(loader, tmp_path)
    assert isinstance(row, Row) and row.body == Choice("q", ("w", "x"), (1,))


# --- CSV ---


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"text,n\na,1\nb\nc,2,3\n,4\nd,5\n", ["a", "broken_line", "broken_line", "no_text", "d"]),
        (b"\xef\xbb\xbftext\r\na\r\n\r\nb\r\n", ["a", "b"]),
        (b"text\na\0b\nok\n", ["broken_text", "ok"]),
        (b"text\na\xff\nok\n", ["not_utf8", "ok"]),
        (b'text\n"a\nb\n', ["broken_line"]),
        (b'text\n"a"b\nok\n', ["broken_line", "ok"]),
        (b"text\n" + b"x" * 10_000_001 + b"\nok\n", ["too_long", "ok"]),
        (b"text\n", ["no_records"]),
    ],
)
def test_cells_of_every_sort(tmp_path: Path, data: bytes, found: list[str]) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    assert [said for _, said in read(tmp_path / "a.csv")] == found


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"te\xffxt\na\n", "a.csv:1: the names of the columns can not be read: byte 3"),
        ("text\na\n".encode("utf-16"), "the names of the columns can not be read"),
        (b"text\ra\rb\r", "the names of the columns can not be read: new-line character"),
        (b"text,text\na,b\n", "two columns are named 'text'"),
        (b"", "is empty"),
    ],
)
def test_a_header_that_is_none_is_an_error(tmp_path: Path, data: bytes, said: str) -> None:
    """The next line used to be taken for the header, or the first of two equal columns was lost."""
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(MissingInput, match=said):
        read(tmp_path / "a.csv")


# --- whole files ---


def cut(data: bytes) -> bytes:
    return data[:-10]


def emptied(data: bytes) -> bytes:
    return b""


def scrambled(data: bytes) -> bytes:
    return data[:4] + b"\xff" * 30 + data[34:]


@pytest.mark.parametrize("damage", [cut, emptied, scrambled])
def test_one_unreadable_file_of_several_is_a_reject_and_the_only_one_an_error(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    for name in ("a", "b", "c"):
        pq.write_table(pa.table({"text": [name] * 3}), tmp_path / f"{name}.parquet")
    bad = tmp_path / "b.parquet"
    bad.write_bytes(damage(bad.read_bytes()))
    items = load(Table(path=".", body="text", language="en", license="x"), tmp_path)
    assert [item.body for item in items if isinstance(item, Row)] == [Text("a")] * 3 + [Text("c")] * 3
    (reject,) = (item for item in items if isinstance(item, Reject))
    assert (reject.record, reject.reason) == ("b", "unreadable_file")
    # the name without its folder: a reject must be the same on every machine
    assert reject.detail.startswith("b.parquet: is not a whole Parquet file (after record 0)")
    for name in ("a", "c"):
        (tmp_path / f"{name}.parquet").unlink()
    with pytest.raises(MissingInput, match=r"/b\.parquet: is not a whole Parquet file .*Fetch the file again"):
        load(Table(path=".", body="text", language="en", license="x"), tmp_path)


def test_what_lies_before_a_break_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"{number} " + "x" * 50 for number in range(4000)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=1000, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    third = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    data[third : third + 20] = b"\xff" * 20
    path.write_bytes(data)
    found = read(path)
    assert [said for _, said in found[:-1]] == texts[: len(found) - 1] and len(found) > 1000
    assert found[-1] == ("a", "unreadable_file")


def test_a_set_in_whole_files_loses_the_broken_one_alone(tmp_path: Path) -> None:
    item = {"id": "1", "question": "q", "answers": {"a": "x", "b": "y"}, "correct_answers": ["a"]}
    (tmp_path / "dev.json").write_text('[{"id": "1", ')
    (tmp_path / "train.json").write_text(json.dumps([item]))
    items = load(FrenchMedMCQA(path=".", license="x"), tmp_path)
    assert [type(item).__name__ for item in items] == ["Reject", "Row"]
    assert isinstance(items[0], Reject) and items[0].reason == "unreadable_file"


# --- through every filter ---

ODD = (
    "😀👨‍👩‍👧‍👦" * 20, "1234567890 +-*/ 3.14 " * 10, "\u202eabc def\u202c " * 20, "\u200bze\u200bro\u200bwidth" * 9, "a",
    "Ｆｕｌｌ　ｗｉｄｔｈ　１２３" * 5, "\x01\x02 control \x1b[31m bytes " * 3, "\u0301" * 200, "לב הוא איבר " * 10,
    "ᚠᚢᚦᚨᚱᚲ" * 20, "\ufffd\ufffe\uffff", "\U0010ffff" * 30, "血" * 200_000, "word " * 100_000,
    "\u2028\u2029 a line of its own\u2028", "'\"\\\t{}[]<script>" * 10,
)  # fmt: skip
RECIPE = """
name: odd
languages: [en, ja]
run: {workers: 1}
sources:
  t: {use: table, path: text.jsonl, body: text, language: en, license: x}
  c: {use: table, path: chat.jsonl, body: chat, language: en, license: x}
  m: {use: table, path: choice.jsonl, body: choice, language: ja, license: x}
  e: {use: table, path: choice.jsonl, body: choice, language: ja, license: x, test: 0.5}
datasets:
  exam: {from: [e]}
  odd:
    from: [t, c, m]
    steps:
      - {use: length}
      - {use: repetition, action: flag}
      - {use: sound_choice}
      - {use: exact}
      - {use: minhash}
      - {use: medical_text, least_keywords: 1, least_density: 0.0001}
      - {use: decontaminate, against: [exam]}
      - {use: language_id}
"""


def test_odd_rows_go_through_every_filter(tmp_path: Path) -> None:
    for package in ("fasttext", "numba", "ahocorasick_rs", "xxhash"):
        pytest.importorskip(package)
    good = "The heart is a muscle that pumps blood."
    made: dict[str, list[dict[str, object]]] = {
        "text": [{"text": text} for text in (*ODD, good, "", "\ud800")],
        "chat": [{"question": text, "answer": answer} for text in ODD for answer in (text, good)],
        "choice": [{"question": text, "options": [text, "b", "c"], "answer": "A"} for text in ODD],
    }
    for name, records in made.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "langmill.cli", "run", "recipe.yaml", "--until", "data", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    store = RunFolder(tmp_path / "out")
    kept, gone = list(store.rows("odd")), list(store.rejects("odd"))
    assert len(kept) + len(gone) == sum(map(len, made.values()))
    assert good in {words(row.body) for row in kept} and all(reject.reason for reject in gone)
    assert Counter(reject.reason for reject in gone if not reject.row) == {"no_text": 1, "broken_text": 1}


def test_memory_that_runs_out_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's error is both; a file that is cut off at it would be a data set without its end."""
    pq.write_table(pa.table({"text": ["Anaemia.", "Asthma."]}), tmp_path / "a.parquet")
    error = pa.lib.ArrowMemoryError("malloc of size 24156928 failed")
    assert isinstance(error, pa.ArrowException)

    def fail(batch: Any) -> Any:
        raise error

    monkeypatch.setattr("langmill_plugins.loaders.formats.columnar._records", fail)
    loader = Table(path="a.parquet", body="text", language="en", license="x")
    with pytest.raises(MemoryError):
        list(loader.load(SourceContext("sources.s", 17, {}, tmp_path, source="s", license="x")))


def test_a_large_parquet_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """By a process that may hold less than half of the file: read ahead, it would keep all of it."""
    noise = random.Random(3)
    with pq.ParquetWriter(
        tmp_path / "a.parquet", pa.schema([("text", pa.string())]), compression="none", use_dictionary=False
    ) as file:
        for _ in range(60):
            file.write_table(
                pa.table({"text": ["".join(noise.choices("abcdefghij ", k=2000)) for _ in range(50)] * 20}), 1000
            )
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from langmill.api import SourceContext; from langmill_plugins.loaders.table import Table\n"
        "import pyarrow.parquet\n"
        "def held(): return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() >> 20\n"
        "start, most, rows = held(), 0, 0\n"
        "loader = Table(path='a.parquet', body='text', language='en', license='x')\n"
        "for row in loader.load(SourceContext('s', 17, {}, Path(sys.argv[1]), source='s', license='x')):\n"
        "    rows += 1\n"
        "    if rows % 5000 == 0: most = max(most, held() - start)\n"
        "print(rows, most)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    rows, most = map(int, done.stdout.split())
    assert rows == 60_000
    assert most < 50, f"{most} MB of {(tmp_path / 'a.parquet').stat().st_size >> 20}"
