"""Rows that say the same, word for word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from langmill.api import Choice, Drop, Facts, IndexedFilter, Row, Signed, StepContext
from langmill_plugins.text.wording import Sides, answer_key, choice_key, digest, folded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

RANKS = {"test": 1, "dev": 3, "train": 5}
READ = 50_000  # rows whose facts are read at once


class Exact(IndexedFilter):
    """Drops rows that repeat an earlier one word for word, whatever their case, spacing and width of letters.

    Question and answer count together: equal questions with different answers stay, as do equal answers to different
    questions. Of a choice item the context, the question and the options count, in any order of the options; an item
    with the same options and another key is dropped as `conflicting_answer`. Kept is a row of test before dev before
    train, then one with a rationale, then the earlier one: a test row goes only for another test row.
    """

    def sign(self, rows: Sequence[Row], context: StepContext) -> Signed:
        """One key a row; facts: id, rank (int8, lower is kept), wording (16 bytes, of which the key is the first 8) and
        answer (16 bytes, empty unless a choice item)."""
        import numpy as np
        import pyarrow as pa

        wordings = [_wording(row) for row in rows]
        keys = np.frombuffer(b"".join(wordings), "<u8")[::2].astype(np.uint64)
        return Signed(
            pa.record_batch({"row": pa.array(range(len(rows)), pa.int32()), "key": pa.array(keys)}),
            pa.record_batch(
                {
                    "id": pa.array([row.id for row in rows], pa.string()),
                    "rank": pa.array([rank(row) for row in rows], pa.int8()),
                    "wording": pa.array(wordings, pa.binary()),
                    "answer": pa.array([_answer(row) for row in rows], pa.binary()),
                }
            ),
        )

    def decide(
        self, buckets: Iterator[pa.RecordBatch], facts: Facts, context: StepContext
    ) -> Iterator[tuple[int, Drop]]:
        """Every row but the best of its wording; rows of an index are the best of all."""
        import numpy as np

        for batch in buckets:
            positions = np.sort(batch.column("position").to_numpy())
            best: dict[bytes, _Record] = {}
            for record in _records(facts, positions):
                best[record.wording] = min(record, best.get(record.wording, record))
            for record in _records(facts, positions):
                kept = best[record.wording]
                if record.position == kept.position or not record.own:
                    continue
                if record.answer == kept.answer:
                    yield record.position, Drop("duplicate", f"says the same as {kept.id}", kept.id)
                else:
                    detail = f"the item of {kept.id} with another key"
                    yield record.position, Drop("conflicting_answer", detail, kept.id)


class _Record(NamedTuple):
    """A row as decide() needs it; the least is kept."""

    own: bool
    rank: int
    position: int
    id: str
    wording: bytes
    answer: bytes


def _records(facts: Facts, positions: npt.NDArray[np.int64]) -> Iterator[_Record]:
    for start in range(0, len(positions), READ):
        some = positions[start : start + READ]
        table = facts.take(some).select(["rank", "id", "wording", "answer"]).to_pydict()
        for position, rank, *rest in zip(some.tolist(), *table.values(), strict=True):
            yield _Record(position >= facts.held, rank, position, *rest)


def _wording(row: Row) -> bytes:
    sides = Sides.of(row.body)
    if isinstance(row.body, Choice):
        return digest(("choice", *choice_key(sides.question, sides.options)))
    return digest((row.body.kind, *map(folded, sides.question), "\0", *map(folded, sides.answer)))


def rank(row: Row) -> int:
    """Which of two alike rows stays, lowest first: test before dev before train, then a choice item with a rationale."""
    told = isinstance(row.body, Choice) and (row.body.explanation or "").strip()
    return RANKS[row.split] - bool(told)


def _answer(row: Row) -> bytes:
    return answer_key(Sides.of(row.body).answer) if isinstance(row.body, Choice) else b""
