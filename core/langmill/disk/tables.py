"""Rows and rejects as Arrow tables, with an explicit schema: no column is ever inferred from data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.disk.whole import write_whole
from langmill.rows import Body, Chat, Choice, Mark, Message, Origin, Reject, Row, Split, Text

if TYPE_CHECKING:
    import pyarrow as pa

# Columns of few different values; in the others a dictionary costs more than zstd leaves for it to save.
WORDS = ("language", "split", "kind", "step", "reason")


def row_schema() -> pa.Schema:
    """One flat table for all three bodies; ``kind`` says which columns are filled."""
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    message = pa.struct([("role", text), ("content", text)])
    mark = pa.struct([(name, text) for name in Mark._fields])
    plain = [pa.field(name, text) for name in ("id", "language", "split", "family", "kind", "text")]
    choice = [pa.field("question", text), pa.field("options", texts), pa.field("answers", pa.list_(pa.int32()))]
    reasons = [pa.field(name, text) for name in ("explanation", "context", "source", "record")]
    history = [pa.field("licenses", texts), pa.field("parents", texts), pa.field("marks", pa.list_(mark))]
    messages = pa.field("messages", pa.list_(message))
    return pa.schema([*plain, messages, *choice, *reasons, *history, pa.field("flags", texts)])


def reject_schema() -> pa.Schema:
    """A reject's own columns, then the row's (null where the record never became a row)."""
    import pyarrow as pa

    own = [pa.field(name, pa.string()) for name in ("step", "reason", "detail", "like", "excerpt")]
    return pa.schema([*own, *row_schema()])


def _record(row: Row) -> tuple[Any, ...]:
    """A row's values in the order of the schema: all that a row is."""
    body, origin = row.body, row.origin
    match body:
        case Text(text=text):
            filled: tuple[Any, ...] = (text, None, None, None, None, None, None)
        case Chat(messages=messages):
            filled = (None, messages, None, None, None, None, None)
        case Choice():
            filled = (None, None, body.question, body.options, body.answers, body.explanation, body.context)
    return (
        row.id, row.language, row.split, row.family, body.kind, *filled,
        origin.source, origin.record, origin.licenses, origin.parents, origin.marks, row.flags,
    )  # fmt: skip


def _row(
    id: str, language: str, split: Split, family: str, kind: str, text: Any, messages: Any, question: Any, options: Any,
    answers: Any, explanation: Any, context: Any, source: str, record: str, licenses: Any, parents: Any, marks: Any, flags: Any,
) -> Row:  # fmt: skip
    body: Body
    if kind == "text":
        body = Text(text)
    elif kind == "chat":
        body = Chat(tuple([Message(item["role"], item["content"]) for item in messages]))
    else:
        body = Choice(question, tuple(options), tuple(answers), explanation, context)
    history = tuple([Mark(**mark) for mark in marks])
    origin = Origin(source, record, tuple(licenses), tuple(parents), history)
    return Row(id, language, split, family, body, origin, tuple(flags))


def _table(records: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """A table of records. Column by column: with a dict for each row it takes four times as long."""
    import pyarrow as pa

    columns = zip(*records, strict=True) if records else [()] * len(schema)
    return pa.Table.from_arrays(
        [pa.array(column, part.type) for part, column in zip(schema, columns, strict=True)], schema=schema
    )


def rows_to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table, in order."""
    return _table([_record(row) for row in rows], row_schema())


def rejects_to_table(rejects: Sequence[Reject]) -> pa.Table:
    """Rejects as a table, in order."""
    schema = reject_schema()
    nothing = dict.fromkeys(row_schema().names)
    records = []
    for reject in rejects:
        record = dict(zip(nothing, _record(reject.row), strict=True)) if reject.row else dict(nothing)
        record.update(source=reject.source, record=reject.record, language=reject.language or record["language"])
        records.append((reject.step, reject.reason, reject.detail, reject.like, reject.excerpt, *record.values()))
    return _table(records, schema)


def write_table(path: Path, table: pa.Table, facts: Mapping[str, Any] | None = None) -> None:
    """Write a table whole, as zstd Parquet, with ``facts`` (plain JSON) in the file's own metadata."""
    if facts is not None:
        table = table.replace_schema_metadata({"langmill": json.dumps(facts, sort_keys=True, ensure_ascii=False)})

    def write(temporary: Path) -> None:
        with table_writer(temporary, table.schema) as writer:
            writer.write_table(table)

    write_whole(path, write)


def table_writer(path: Path, schema: pa.Schema) -> Any:
    """A pyarrow.parquet.ParquetWriter, zstd, for tables that need not be in memory at once."""
    import pyarrow.parquet as pq

    words = [name for name in WORDS if name in schema.names]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=words, write_statistics=words)


def read_facts(path: Path) -> dict[str, Any]:
    """The facts that write_table left in a file."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(path).metadata or {}
    facts: dict[str, Any] = json.loads(metadata.get(b"langmill", b"{}"))
    return facts


def read_rows(path: Path, batch: int = 1000) -> Iterator[Row]:
    """Stream the rows of a file that write_table wrote."""
    for columns in _columns(path, batch):
        yield from map(_row, *columns)


def read_rejects(path: Path) -> Iterator[Reject]:
    """Stream the rejects of a file."""
    names = row_schema().names
    for columns in _columns(path, 1000):
        for step, reason, detail, like, excerpt, *values in zip(*columns, strict=True):
            record = dict(zip(names, values, strict=True))
            row = _row(*values) if record["kind"] else None
            source, number, language = record["source"], record["record"], record["language"]
            yield Reject(source, number, step, reason, detail or "", excerpt or "", language or "", row, like or "")


def _columns(path: Path, batch: int) -> Iterator[list[list[Any]]]:
    """A file's columns as Python values, some rows at a time; in one thread, since every core has its process."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:  # or what was read stays in memory
        for records in file.iter_batches(batch_size=batch, use_threads=False):
            yield [column.to_pylist() for column in records.columns]


def count_rows(path: Path) -> int:
    """How many rows a file holds, from its footer."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def read_table(path: Path) -> pa.Table:
    """A file that write_table wrote, whole, without its facts."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False).replace_schema_metadata(None)


def table_rows(table: pa.Table) -> Iterator[Row]:
    """The rows of a table, in order."""
    yield from map(_row, *(column.to_pylist() for column in table.columns))
