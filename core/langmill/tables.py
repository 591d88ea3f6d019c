"""Rows and rejects as Arrow tables, with an explicit schema: no column is ever inferred from data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.rows import Body, Chat, Choice, Mark, Message, Origin, Reject, Row, Text
from langmill.whole import write_whole

if TYPE_CHECKING:
    import pyarrow as pa


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

    own = [pa.field(name, pa.string()) for name in ("step", "reason", "detail", "excerpt")]
    return pa.schema([*own, *row_schema()])


def _fields(row: Row) -> dict[str, Any]:
    body, origin = row.body, row.origin
    record: dict[str, Any] = {
        "id": row.id,
        "language": row.language,
        "split": row.split,
        "family": row.family,
        "kind": body.kind,
        "source": origin.source,
        "record": origin.record,
        "licenses": list(origin.licenses),
        "parents": list(origin.parents),
        "marks": [mark._asdict() for mark in origin.marks],
        "flags": list(row.flags),
    }
    match body:
        case Text(text=text):
            record["text"] = text
        case Chat(messages=messages):
            record["messages"] = [message._asdict() for message in messages]
        case Choice():
            record.update(question=body.question, options=list(body.options), answers=list(body.answers))
            record.update(explanation=body.explanation, context=body.context)
    return record


def _row(record: Mapping[str, Any]) -> Row:
    body: Body
    if record["kind"] == "text":
        body = Text(record["text"])
    elif record["kind"] == "chat":
        body = Chat(tuple(Message(item["role"], item["content"]) for item in record["messages"]))
    else:
        body = Choice(
            record["question"],
            tuple(record["options"]),
            tuple(record["answers"]),
            record["explanation"],
            record["context"],
        )
    origin = Origin(
        record["source"],
        record["record"],
        tuple(record["licenses"]),
        tuple(record["parents"]),
        tuple(Mark(**mark) for mark in record["marks"]),
    )
    return Row(
        record["id"], record["language"], record["split"], record["family"], body, origin, tuple(record["flags"])
    )


def rows_to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table, in order."""
    import pyarrow as pa

    return pa.Table.from_pylist([_fields(row) for row in rows], schema=row_schema())


def rejects_to_table(rejects: Sequence[Reject]) -> pa.Table:
    """Rejects as a table, in order."""
    import pyarrow as pa

    records = []
    for reject in rejects:
        record = _fields(reject.row) if reject.row else {}
        record.update(source=reject.source, record=reject.record, language=reject.language or record.get("language"))
        record.update(step=reject.step, reason=reject.reason, detail=reject.detail, excerpt=reject.excerpt)
        records.append(record)
    return pa.Table.from_pylist(records, schema=reject_schema())


def content_hash(rows: Iterable[Row]) -> str:
    """sha256 over the rows' canonical JSON: what a partition is, whatever file it lies in."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(_fields(row), sort_keys=True, ensure_ascii=False).encode("utf-8"))
        digest.update(b"\n")
    return digest.hexdigest()


def write_table(path: Path, table: pa.Table, facts: Mapping[str, Any] | None = None) -> None:
    """Write a table whole, as zstd Parquet, with ``facts`` (plain JSON) in the file's own metadata."""
    import pyarrow.parquet as pq

    if facts is not None:
        table = table.replace_schema_metadata({"langmill": json.dumps(facts, sort_keys=True, ensure_ascii=False)})
    write_whole(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_facts(path: Path) -> dict[str, Any]:
    """The facts that write_table left in a file."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(path).metadata or {}
    facts: dict[str, Any] = json.loads(metadata.get(b"langmill", b"{}"))
    return facts


def read_rows(path: Path, batch: int = 1000) -> Iterator[Row]:
    """Stream the rows of a file that write_table wrote."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for records in file.iter_batches(batch_size=batch):
            for record in records.to_pylist():
                yield _row(record)


def read_rejects(path: Path) -> Iterator[Reject]:
    """Stream the rejects of a file."""
    import pyarrow.parquet as pq

    for record in pq.read_table(path).to_pylist():
        row = _row(record) if record["kind"] else None
        yield Reject(
            record["source"],
            record["record"],
            record["step"],
            record["reason"],
            record["detail"] or "",
            record["excerpt"] or "",
            record["language"] or "",
            row,
        )


def count_rows(path: Path) -> int:
    """How many rows a file holds, from its footer."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)
