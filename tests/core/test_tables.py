"""Rows to Parquet and back, whole or not at all."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langmill.disk.content import content_hash
from langmill.disk.tables import (
    read_facts,
    read_rejects,
    read_rows,
    read_table,
    rejects_to_table,
    rows_to_table,
    table_rows,
    write_table,
)
from langmill.disk.whole import write_text
from langmill.errors import FactoryError
from langmill.rows import Chat, Choice, Drop, Mark, Message, Origin, Reject, Row, Text

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), text)
chats = st.builds(lambda turns, end: Chat((*turns, Message("assistant", end))), st.lists(messages, max_size=3), text)
options = st.lists(text, min_size=2, max_size=6).map(tuple)
choices = st.builds(
    lambda q, o, e, c: Choice(q, o, (0, len(o) - 1), e, c), text, options, st.none() | text, st.none() | text
)
bodies = st.one_of(st.builds(Text, text), chats, choices)
marks = st.lists(st.builds(Mark, text, text, text, text), max_size=2).map(tuple)
origins = st.builds(Origin, text, text, st.lists(text, min_size=1, max_size=2).map(tuple), st.just(("p",)), marks)
rows = st.builds(
    Row,
    text,
    st.sampled_from(["en", "zh"]),
    st.sampled_from(["train", "dev", "test"]),
    text,
    bodies,
    origins,
    st.just(("f",)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=6))
def test_any_rows_come_back_as_they_were(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("t") / "a.parquet"
    write_table(path, rows_to_table(items), {"n": len(items)})
    assert list(read_rows(path)) == items
    assert read_facts(path) == {"n": len(items)}
    assert content_hash(read_table(path)) == content_hash(rows_to_table(items))
    table = rows_to_table([*items, *items])
    assert content_hash(table.slice(len(items))) == content_hash(rows_to_table(items)), "a slice is what it shows"
    pieces = pa.concat_tables([table.slice(0, len(items)), table.slice(len(items))])
    assert content_hash(pieces) == content_hash(table), "in one piece or in two"
    assert list(table_rows(table)) == [*items, *items]


def test_rejects_come_back_with_and_without_a_row(tmp_path):
    row = Row("s/1", "fr", "train", "s/1", Text("Le sang."), Origin("s", "1", ("CC0-1.0",)))
    rejects = [
        Reject.of(row, "steps[0]", Drop("too_short", "8")),
        Reject("s", "2", "read s", "no_answer", "", "…", "fr"),
    ]
    write_table(tmp_path / "r.parquet", rejects_to_table(rejects))
    assert list(read_rejects(tmp_path / "r.parquet")) == rejects


def test_the_hash_is_of_the_rows_and_not_of_the_file(tmp_path):
    one = Row("s/1", "en", "train", "s/1", Text("a"), Origin("s", "1", ("x",)))
    two = Row("s/1", "en", "train", "s/1", Text("b"), Origin("s", "1", ("x",)))
    hashes = [content_hash(rows_to_table(items)) for items in ([one], [two], [one, two], [two, one], [])]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_tells_nothing_from_nothing_said():
    def hashed(**columns):
        return content_hash(pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()}))

    text, texts, pair = pa.string(), pa.list_(pa.string()), pa.struct([("a", pa.string()), ("b", pa.int32())])
    different = [
        hashed(x=(["a", ""], text)), hashed(x=(["a", None], text)), hashed(x=(["", "a"], text)), hashed(y=(["a", ""], text)),
        hashed(x=([["a"], ["b"]], texts)), hashed(x=([["a", "b"], []], texts)), hashed(x=([["a", "b"], None], texts)),
        hashed(x=([{"a": "p", "b": 1}], pair)), hashed(x=([{"a": None, "b": 1}], pair)), hashed(x=([None], pair)),
        hashed(x=([{"a": "p", "b": None}], pair)), hashed(x=(["ab", "c"], text)), hashed(x=(["a", "bc"], text)),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_a_file_is_whole_or_not_there(tmp_path):
    def fails(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    from langmill.disk.tables import write_whole

    target = tmp_path / "data" / "x.json"
    write_text(target, "old")
    with pytest.raises(FactoryError, match="No space left"):
        write_whole(target, fails)
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["x.json"], "nothing half written stays"


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path):
    """A limit on file size is the nearest thing to a full disk that a test can make."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from langmill.disk.whole import write_text;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_text(Path(sys.argv[1]), 'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "big.txt")], capture_output=True, text=True)
    assert "FactoryError: can not write" in done.stderr and "run the same command again" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_no_column_is_inferred(tmp_path):
    """A file of text rows alone has the same columns as any other: later rows of another kind fit beside it."""
    only_text = rows_to_table([Row("s/1", "en", "train", "s/1", Text("a"), Origin("s", "1", ("x",)))])
    assert only_text.schema.equals(rows_to_table([]).schema)
    assert json.loads(json.dumps(only_text.schema.names))[:3] == ["id", "language", "split"]
