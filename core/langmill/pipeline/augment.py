"""A step that asks a model, over partitions: rows flow from file to file, and enough of them are open that the model is never
kept waiting.

Rows are read in order and taken by as many tasks as rows may be open; a partition whose rows are all done is written. Reading
and writing have one thread of their own, so that the loop, which the calls need, is never held up for long. What comes out
does not depend on the order in which answers come in.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from langmill.api import Augmenter, Drop, Reject, Row, Skip, StepContext
from langmill.disk.partitions import Partition, Tally, write_partition
from langmill.disk.tables import read_rows
from langmill.pipeline.again import Made, made_of, tried_again

HELD_ROWS = 8_000  # rows in memory, about: one slow row must not keep all others waiting
TURN_ROWS = 50  # rows from the ledger between two looks at what else the loop has to do


@dataclass(frozen=True)
class Work:
    """One partition to make. ``taken``: ids that no child may have; ``retried``: how often rows of it are tried again."""

    source: Partition
    out: Path
    taken: frozenset[str] = frozenset()
    retried: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """The part that makes rows, how it is named, and what it acts on: ``chosen`` when its limit allows for some rows only.
    Rows written by models among ``demonstration`` are marked."""

    use: str
    place: str
    part: Augmenter
    context: StepContext
    chosen: frozenset[str] | None = None
    demonstration: Collection[str] = ()

    def acts_on(self, row: Row) -> bool:
        """Whether the model is asked about a row; others pass unchanged."""
        return self.part.takes(row) and (self.chosen is None or row.id in self.chosen)


@dataclass
class Counts:
    """How far a step is: ``done`` rows ``of`` those it acts on (an estimate until all are read); ``rejected`` and ``skipped``
    count pieces of work."""

    of: int = 0
    done: int = 0
    rejected: int = 0
    skipped: int = 0


@dataclass
class _Open:
    """A partition in memory: its rows, what was made of each (None where the step does not act), how many are under way."""

    work: Work
    rows: list[Row]
    made: dict[int, Sequence[Made]]
    left: int


class Augmentation:
    """One step over partitions. ``abreast`` rows are open at once; ``tell`` hears the counts after each row."""

    def __init__(self, step: Step, works: Sequence[Work], abreast: int, tell: Callable[[Counts], None]):
        self.step, self.works, self.abreast, self.tell = step, works, abreast, tell
        self.counts = Counts()
        self._waiting: asyncio.Queue[tuple[_Open, int] | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._held = self._opened = 0
        self._writing: set[asyncio.Task[None]] = set()
        self._faults: list[Exception] = []

    async def run(self) -> list[Exception]:
        """Make every partition. Returns what stopped it: rows that were open by then have come to their end, and each
        partition whose rows are all done is written."""
        loop = asyncio.get_running_loop()
        with _seldom_collecting(), ThreadPoolExecutor(1, "partitions") as self._files:
            tasks = min(self.abreast, sum(work.source.rows for work in self.works) or 1)
            await asyncio.gather(self._feed(tasks), *(self._take() for _ in range(tasks)))
            await asyncio.gather(*self._writing)
            if self._faults:
                self.counts.of = await loop.run_in_executor(self._files, self._count)
        return self._faults

    def _count(self) -> int:
        """All rows that the step acts on."""
        return sum(self.step.acts_on(row) for work in self.works for row in read_rows(work.source.path))

    async def _feed(self, tasks: int) -> None:
        """Open partitions, so that there is always a row to take and never too many in memory."""
        loop, most = asyncio.get_running_loop(), HELD_ROWS + self.abreast
        unread, read, acting = sum(work.source.rows for work in self.works), 0, 0
        try:
            for work in self.works:
                while not self._faults and (
                    self._waiting.qsize() >= self.abreast or (self._held >= most and self._opened > 1)
                ):
                    self._room.clear()
                    await self._room.wait()
                if self._faults:
                    break
                opened = await loop.run_in_executor(self._files, self._open, work)
                self._held += len(opened.rows)
                self._opened += 1
                unread, read, acting = unread - work.source.rows, read + len(opened.rows), acting + opened.left
                self.counts.of = acting + round(unread * acting / max(1, read))
                for index in opened.made:
                    self._waiting.put_nowait((opened, index))
                if not opened.left:
                    self._write_soon(opened)
        except Exception as fault:
            self._stop(fault)
        for _ in range(tasks):
            self._waiting.put_nowait(None)

    def _open(self, work: Work) -> _Open:
        rows = list(read_rows(work.source.path, batch=250))  # a whole column of them at once would hold up the loop
        made: dict[int, Sequence[Made]] = {index: () for index, row in enumerate(rows) if self.step.acts_on(row)}
        return _Open(work, rows, made, len(made))

    async def _take(self) -> None:
        """Row after row, until there are no more or something stopped the step."""
        while (taken := await self._waiting.get()) and not self._faults:
            if self._waiting.qsize() < self.abreast:
                self._room.set()
            try:
                await self._row(*taken)
            except Exception as fault:  # its partition is not written; what was answered is in the ledger
                self._stop(fault)
                return
            if not self.counts.done % TURN_ROWS:
                await asyncio.sleep(0)

    async def _row(self, opened: _Open, index: int) -> None:
        row, step, counts = opened.rows[index], self.step, self.counts
        if times := opened.work.retried.get(row.id):
            made = await tried_again(step.part, row, step.context, times)
        else:
            made = await made_of(step.part, row, step.context)
        opened.made[index] = made
        counts.done += 1
        for item in made:
            if isinstance(item, Drop):
                counts.rejected += 1
            elif isinstance(item, Skip):
                counts.skipped += 1
        opened.left -= 1
        if not opened.left:
            self._write_soon(opened)
        self.tell(counts)

    def _stop(self, fault: Exception) -> None:
        self._faults.append(fault)
        self._room.set()

    def _write_soon(self, opened: _Open) -> None:
        self._writing.add(asyncio.get_running_loop().create_task(self._write(opened)))

    async def _write(self, opened: _Open) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._files, _finish, self.step, opened)
        except Exception as fault:
            self._stop(fault)
        self._held -= len(opened.rows)
        self._opened -= 1
        opened.rows, opened.made = [], {}
        self._room.set()


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Python looks for cycles of garbage among all that lives. Rows are many and make none: by its own measure it would spend
    as much time on that as the step does on all else, and hold up the loop for a tenth of a second at a time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(5_000, 10, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


# --- a partition's end ---


def _finish(step: Step, opened: _Open) -> None:
    """Write what came of a partition; one that a provider failed is left incomplete, to be made again."""
    kept: list[Row] = []
    rejects: list[Reject] = []
    tally = Tally()
    ids = {row.id for row in opened.rows} | opened.work.taken
    for index, row in enumerate(opened.rows):
        _gather(step, row, opened.made.get(index), ids, kept, rejects, tally)
    provider = any(reject.reason == "provider" for reject in rejects)
    write_partition(opened.work.out, kept, rejects, tally, complete=not provider)


def _gather(
    step: Step,
    row: Row,
    answer: Sequence[Made] | None,
    ids: set[str],
    kept: list[Row],
    rejects: list[Reject],
    tally: Tally,
) -> None:
    """Sort what came of one row into kept and rejected. A row that the step does not act on always passes; a child whose id
    is among ``ids`` (which grow) was made before, by the same step earlier on."""
    name, language = step.use, row.language
    tally.add(name, language, "read")
    if answer is None:
        kept.append(row)
        tally.add(name, language, "kept")
        return
    made = [item for item in answer if isinstance(item, Row)]
    drops = [item for item in answer if isinstance(item, Drop)]
    keep = step.part.keep
    if keep == "always" or (keep == "skipped" and not (made or drops)) or (keep == "unmade" and not made):
        kept.append(row)
        tally.add(name, language, "kept")
    else:
        tally.add(name, language, "replaced" if made else "dropped")
    for child in made:
        if child.id in ids:
            rejects.append(Reject.of(child, step.place, Drop("duplicate_id", child.id)))
            tally.add(name, language, "rejected:duplicate_id")
            continue
        ids.add(child.id)
        demonstration = any(mark.model in step.demonstration for mark in child.origin.marks)
        kept.append(child.flagged("demonstration") if demonstration else child)
        for flag in child.flags:
            tally.add(name, child.language, f"flagged:{flag}")
        tally.add(name, child.language, "made")
    for drop in drops:
        rejects.append(Reject.of(row, step.place, drop))
        tally.add(name, language, f"rejected:{drop.reason}")
    for item in answer:
        if isinstance(item, Skip):
            tally.add(name, language, f"skipped:{item.reason}")
