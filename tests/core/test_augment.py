"""A step that asks a model, over partitions: order, memory, and what a fault leaves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from langmill.api import Augmenter, Drop, Mark, Origin, Row, Skip, StepContext, Text
from langmill.disk.partitions import Partition, Tally, rejects_of, write_partition
from langmill.disk.tables import read_rows
from langmill.errors import ProviderDown, RowFault
from langmill.pipeline import augment
from langmill.pipeline.augment import Augmentation, Counts, Step, Work

PLACE = "datasets.open.steps[0]"


class Echo(Augmenter):
    """Answers after a while that chance decides; every fifth row is rejected, every seventh skipped."""

    seed: int = 0

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        number = int(row.id.split("/")[1])
        for _ in range(random.Random(f"{self.seed}/{number}").randrange(6)):
            await asyncio.sleep(0)
        if number % 5 == 0:
            raise RowFault("fifth", row.id)
        if number % 7 == 0:
            return [Skip("seventh")]
        return [row.child("echo", row.body, marks=[Mark("echo", "some/writer", "p", "c")])]


def partitions(folder: Path, count: int, rows: int) -> list[Partition]:
    """Rows s/0, s/1, …: all train but every third of a partition."""
    made = []
    for part in range(count):
        numbers = range(part * rows, part * rows + rows)
        items = [
            Row(f"s/{n}", "en", "test" if n % 3 == 2 else "train", f"s/{n}", Text(f"text {n}"), Origin("s", str(n), ("CC0-1.0",)))
            for n in numbers
        ]  # fmt: skip
        made.append(write_partition(folder / f"in-{part:03d}.parquet", items, [], Tally()))
    return made


def work(parts: list[Partition], folder: Path) -> list[Work]:
    return [Work(part, folder / part.path.name) for part in parts]


def step(part: Augmenter, **options: object) -> Step:
    return replace(Step("echo", PLACE, part, StepContext("here", 1, {}, Path())), **options)


def done(part: Augmenter, works: list[Work], abreast: int = 4) -> tuple[list[Exception], list[Counts]]:
    """Runs a step to its end; its faults, and the counts that were told."""
    told: list[Counts] = []
    augmentation = Augmentation(step(part), works, abreast, lambda counts: told.append(replace(counts)))
    return asyncio.run(augmentation.run()), told


def test_what_comes_out_does_not_depend_on_the_order_of_answers(tmp_path):
    parts = partitions(tmp_path, 6, 10)
    found = []
    for seed, abreast in ((0, 1), (1, 3), (2, 64)):
        works = work(parts, tmp_path / str(seed))
        faults, told = done(Echo(seed=seed), works, abreast)
        assert faults == []
        outs = [Partition.read(item.out) for item in works]
        found.append(
            [
                (part.content, part.counts, [reject for table in rejects_of([part]) for reject in table.to_pylist()])
                for part in outs
            ]
        )
        assert [counts.done for counts in told] == list(range(1, 41))
        assert told[-1] == Counts(of=40, done=40, rejected=8, skipped=5)
    assert found[0] == found[1] == found[2]
    rows = list(read_rows(works[0].out))
    assert [row.id for row in rows if "echo" not in row.id] == [f"s/{n}" for n in range(10)], "parents stay, in order"
    assert [row.id for row in rows].index("s/1/echo") == [row.id for row in rows].index("s/1") + 1


def test_memory_holds_a_few_partitions_whatever_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(augment, "HELD_ROWS", 20)
    works = work(partitions(tmp_path, 40, 5), tmp_path / "out")
    held = []

    class Watched(Augmentation):
        def _open(self, item):
            opened = super()._open(item)
            held.append(self._held + len(opened.rows))
            return opened

    assert asyncio.run(Watched(step(Echo()), works, 4, lambda counts: None).run()) == []
    assert len(held) == 40
    assert max(held) <= 20 + 4 + 5
    assert all(item.out.exists() for item in works)


def test_a_slow_row_holds_up_its_own_partition_alone(tmp_path):
    over = asyncio.Event()

    class Slow(Echo):
        async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
            if row.id == "s/1":
                await over.wait()
            return await super().augment(row, context)

    works = work(partitions(tmp_path, 20, 5), tmp_path / "out")

    async def run() -> None:
        task = asyncio.create_task(Augmentation(step(Slow()), works, 4, lambda counts: None).run())
        while not all(item.out.exists() for item in works[1:]):
            await asyncio.sleep(0.005)
            assert not task.done()
        assert not works[0].out.exists()
        over.set()
        assert await task == []

    asyncio.run(asyncio.wait_for(run(), 60))
    assert works[0].out.exists()


def test_a_fault_leaves_whole_partitions_and_no_other(tmp_path):
    class Broken(Echo):
        async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
            if row.id == "s/31":
                raise ProviderDown("no more")
            return await super().augment(row, context)

    works = work(partitions(tmp_path, 10, 10), tmp_path / "out")
    faults, told = done(Broken(), works, 2)
    assert [str(fault) for fault in faults] == ["no more"]
    there = [item.out.exists() for item in works]
    assert there[:3] == [True] * 3
    assert not any(there[3:])
    assert told[-1].done < 30
    left = [item for item in works if not item.out.exists()]
    faults, told = done(Echo(), left)
    assert faults == []
    assert told[-1].of == told[-1].done == 47


def test_what_is_left_is_counted_though_it_was_not_read_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(augment, "HELD_ROWS", 1)

    class Broken(Echo):
        async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
            raise ProviderDown("no more")

    augmentation = Augmentation(
        step(Broken()), work(partitions(tmp_path, 30, 3), tmp_path / "out"), 1, lambda counts: None
    )
    (fault,) = asyncio.run(augmentation.run())
    assert isinstance(fault, ProviderDown)
    assert augmentation.counts == Counts(of=60)


def test_a_disk_that_refuses_stops_the_step(tmp_path):
    works = work(partitions(tmp_path, 3, 5), tmp_path / "out")
    for item in works:
        item.out.mkdir(parents=True)  # a folder is in the way
    faults, _ = done(Echo(), works)
    assert faults
    assert all("can not write" in str(fault) for fault in faults)


def test_a_provider_that_failed_a_row_leaves_its_partition_to_be_made_again(tmp_path):
    class Failing(Echo):
        async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
            if row.id == "s/1":
                raise RowFault("provider", "boom")
            return await super().augment(row, context)

    works = work(partitions(tmp_path, 2, 5), tmp_path / "out")
    assert done(Failing(), works)[0] == []
    assert [Partition.read(item.out).complete for item in works] == [False, True]


def test_rows_that_the_ledger_has_leave_the_loop_room(tmp_path):
    """Nothing in such a row waits, so the step itself has to let others in between."""

    class Known(Echo):
        async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
            return [row.child("echo", row.body)]

    works = work(partitions(tmp_path, 4, 500), tmp_path / "out")
    looks: list[int] = []
    augmentation = Augmentation(step(Known()), works, 4, lambda counts: None)

    async def run() -> None:
        task = asyncio.create_task(augmentation.run())
        while not task.done():
            looks.append(augmentation.counts.done)
            await asyncio.sleep(0)
        assert task.result() == []

    asyncio.run(run())
    steps = [after - before for before, after in pairwise(looks)]
    assert max(steps) <= 4 * augment.TURN_ROWS


def test_a_limit_and_a_choice_leave_other_rows_as_they_are(tmp_path):
    works = work(partitions(tmp_path, 1, 9), tmp_path / "out")
    acting = step(Echo(), chosen=frozenset({"s/1", "s/4", "s/2"}), demonstration=("some/writer",))
    assert asyncio.run(Augmentation(acting, works, 4, lambda counts: None).run()) == []
    rows = {row.id: row for row in read_rows(works[0].out)}
    assert {id for id in rows if "echo" in id} == {"s/1/echo", "s/4/echo"}, "s/2 is a test row"
    assert rows["s/1/echo"].flags == ("demonstration",)
    assert rows["s/1"].flags == ()
    assert Partition.read(works[0].out).counts["echo\ten"] == {"kept": 9, "made": 2, "read": 9}
