"""Rows that say the same, word for word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from langmill.api import Choice, Drop, Filter, Row, StepContext
from langmill_plugins.filters.buckets import buckets
from langmill_plugins.filters.wording import Sides, choice_key, digest, folded

if TYPE_CHECKING:
    import pyarrow as pa


class Exact(Filter):
    """Drops rows that repeat an earlier one word for word, whatever their case, spacing and width of letters.

    Question and answer count together: equal questions with different answers stay, as do equal answers to different
    questions. Of a choice item the context, the question and the options count, in any order of the options; an item
    with the same options and another key is dropped as `conflicting_answer`. Kept is a row of test before dev before
    train, then one with a rationale, then the earlier one: a test row goes only for another test row.
    """

    scope: ClassVar[Literal["row", "dataset"]] = "dataset"

    def sign(self, rows: Sequence[Row], context: StepContext) -> pa.RecordBatch:
        """Columns key (16 bytes), id, rank (int8, lower is kept), answer (16 bytes, empty unless a choice item)."""
        import pyarrow as pa

        return pa.record_batch(
            {
                "key": pa.array([_key(row) for row in rows], pa.binary()),
                "id": pa.array([row.id for row in rows], pa.string()),
                "rank": pa.array([rank(row) for row in rows], pa.int8()),
                "answer": pa.array([_answer(row) for row in rows], pa.binary()),
            }
        )

    def decide(
        self,
        signatures: Iterator[pa.RecordBatch],
        fetch: Callable[[Sequence[str]], Mapping[str, Row]],
        context: StepContext,
    ) -> Iterator[tuple[str, Drop]]:
        """Every row but the best of its key."""
        for bucket in buckets(signatures):
            kept = min(bucket, key=lambda record: (record["rank"], record["position"]))
            for record in bucket:
                if record is kept:
                    continue
                if record["answer"] == kept["answer"]:
                    yield record["id"], Drop("duplicate", f"says the same as {kept['id']}", kept["id"])
                else:
                    detail = f"the item of {kept['id']} with another key"
                    yield record["id"], Drop("conflicting_answer", detail, kept["id"])


def _key(row: Row) -> bytes:
    sides = Sides.of(row.body)
    if isinstance(row.body, Choice):
        return digest(("choice", *choice_key(sides.question, sides.options)))
    return digest((row.body.kind, *map(folded, sides.question), "\0", *map(folded, sides.answer)))


def rank(row: Row) -> int:
    """Which of two alike rows stays, lowest first: test before dev before train, then a choice item with a rationale."""
    plain = not (isinstance(row.body, Choice) and (row.body.explanation or "").strip())
    return 2 * ("test", "dev", "train").index(row.split) + plain


def _answer(row: Row) -> bytes:
    return digest(sorted(map(folded, Sides.of(row.body).answer))) if isinstance(row.body, Choice) else b""
