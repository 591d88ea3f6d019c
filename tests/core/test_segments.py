"""Partitions: whole files with their counts, and what is done to them one at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from langmill.api import Chat, Drop, Origin, Reject, Row
from langmill.disk.partitions import (
    Partition,
    Tally,
    counts_of,
    ids_of,
    offspring_elsewhere,
    rejects_of,
    repeated_ids,
    write_partition,
)
from langmill.disk.seen import Seen
from langmill.disk.signatures import FactsOnDisk
from langmill.disk.tables import read_rejects, read_rows
from langmill.errors import RecipeError
from langmill.pipeline.deciding import ApplyWork, SignWork, apply_drops, sign_partitions
from langmill.pipeline.segments import (
    JudgeWork,
    LoadWork,
    PartRef,
    Workshop,
    judge_partition,
    load_source,
)
from langmill.recipe.registry import Registry

DATA = Path(__file__).resolve().parents[2] / "recipes/data"


def row(id: str, text: str = "A fever is a raised temperature.", split="train", language: str = "en") -> Row:
    source, record = id.split("/")[:2]
    return Row(id, language, split, f"{source}/{record}", Chat.of("What?", text), Origin(source, record, ("CC0-1.0",)))


def partition(path: Path, *ids: str) -> Partition:
    return write_partition(path, [row(id) for id in ids], [], Tally())


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(Registry.of_installed(), 17, ("en", "fr"), tmp_path, None, True, tmp_path / "run")


def loading(shop: Workshop, tmp_path: Path, limit: int | None = None, **options: object) -> LoadWork:
    known = {"path": "rows.jsonl", "body": "chat", "license": "CC0-1.0", **options}
    ref = PartRef("loaders", "table", known, "sources.own", "own")
    return LoadWork(shop, ref, tmp_path / "out", limit)


def test_a_partition_knows_its_counts_and_its_rejects(tmp_path: Path) -> None:
    tally = Tally()
    tally.add("read s", "en", "read", 2)
    tally.add("read s", "en", "rejected:too_short")
    reject = Reject.of(row("s/2"), "steps[0]", Drop("too_short", "3"))
    made = write_partition(tmp_path / "a.parquet", [row("s/1")], [reject], tally, complete=False, more=7)
    assert Partition.read(tmp_path / "a.parquet") == made
    assert not made.complete
    assert counts_of([made, made]) == {"read s\ten": {"read": 4, "rejected:too_short": 2}}
    assert list(read_rejects(made.rejects_path())) == [reject]
    again = write_partition(tmp_path / "a.parquet", [row("s/1")], [], Tally())
    assert again.content == made.content, "what it holds, not how it came about"
    assert list(rejects_of([again])) == [], "old rejects are gone"


def test_ids_that_come_twice_and_children_that_lie_elsewhere(tmp_path: Path) -> None:
    parts = [
        partition(tmp_path / "0.parquet", "s/1", "s/2", "s/2/expand"),
        partition(tmp_path / "1.parquet", "s/1/expand", "s/10", "s/2"),
        partition(tmp_path / "2.parquet", "s/1/expand/translate.fr", "s/10"),
    ]
    assert ids_of(parts[1]) == ["s/1/expand", "s/10", "s/2"]
    assert repeated_ids(parts) == [set(), {"s/2"}, {"s/10"}]
    apart = [
        parts[0],
        partition(tmp_path / "3.parquet", "s/1/expand", "s/10"),
        partition(tmp_path / "4.parquet", "s/1/expand/translate.fr"),
    ]
    assert offspring_elsewhere(apart) == [
        {"s/1/expand", "s/1/expand/translate.fr"}, {"s/1/expand/translate.fr"}, set()
    ]  # fmt: skip


def test_a_source_is_read_into_partitions_and_kept(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langmill.pipeline.segments.PARTITION_ROWS", 8)
    (tmp_path / "rows.jsonl").write_bytes((DATA / "qa.en.jsonl").read_bytes())
    work = loading(shop, tmp_path)
    first = load_source(work)
    assert not first.kept
    assert [part.rows for part in first.partitions] == [8, 8, 4]
    again = load_source(work)
    assert again.kept
    assert again.partitions == first.partitions
    first.partitions[-1].path.unlink()  # the last file says that all are there
    assert not load_source(work).kept

    with (tmp_path / "rows.jsonl").open("a", encoding="utf-8") as handle:
        handle.write("\n")
    changed = load_source(work)
    assert not changed.kept
    assert [part.content for part in changed.partitions] == [part.content for part in first.partitions]
    assert not load_source(loading(shop, tmp_path, license="MIT")).kept
    assert not load_source(loading(shop, tmp_path, limit=3)).kept


def test_limits_count_per_language_and_split(shop: Workshop, tmp_path: Path) -> None:
    lines = [
        f'{{"id": "{n}", "language": "{language}", "split": "{split}", "question": "Q?", "answer": "A{n}"}}'
        for n, (language, split) in enumerate([("en", "train"), ("en", "test"), ("fr", "train"), ("de", "train")] * 3)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    loaded = load_source(loading(shop, tmp_path, limit=2))
    counts = counts_of(loaded.partitions)
    assert counts["read own\ten"] == {"read": 6, "kept": 4, "skipped:over_limit": 2}
    assert counts["read own\tfr"] == {"read": 3, "kept": 2, "skipped:over_limit": 1}
    assert counts["read own\tde"] == {"read": 3, "skipped:language_not_in_recipe": 3}


def test_text_that_no_file_can_hold_is_rejected(shop: Workshop, tmp_path: Path) -> None:
    good = '{"id": "1", "language": "en", "question": "Q?", "answer": "A"}\n'
    (tmp_path / "rows.jsonl").write_text(good + good.replace('"1"', '"2"').replace('"A"', '"\\ud800"'), "utf-8")
    loaded = load_source(loading(shop, tmp_path))
    assert [part.rows for part in loaded.partitions] == [1]
    assert sum(table.num_rows for table in rejects_of(loaded.partitions)) == 1


def test_filters_are_fused_and_each_is_counted(shop: Workshop, tmp_path: Path) -> None:
    rows = [row("s/1", "short"), row("s/2", "x" * 300), row("s/3", "x" * 300, split="test"), row("s/4", "x" * 40)]
    source = write_partition(tmp_path / "in.parquet", rows, [], Tally())
    refs = (
        PartRef("filters", "length", {"least": 20}, "d.steps[0]", "length"),
        PartRef("filters", "length", {"most": 100, "splits": ["train"]}, "d.steps[1]", "again"),
    )
    made = judge_partition(JudgeWork(shop, refs, source, tmp_path / "out.parquet"))
    assert [item.id for item in read_rows(made.path)] == ["s/3", "s/4"], "a split that is not its own passes"
    assert made.counts["length\ten"] == {"read": 4, "kept": 3, "rejected:too_short": 1}
    assert made.counts["again\ten"] == {"read": 3, "kept": 2, "rejected:too_long": 1}
    assert [(reject.step, reject.row.id) for reject in read_rejects(made.rejects_path()) if reject.row] == [
        ("d.steps[0]", "s/1"), ("d.steps[1]", "s/2"),
    ]  # fmt: skip


def test_a_flag_stays_in_the_row_and_a_row_that_nobody_judged_is_as_it_was(shop: Workshop, tmp_path: Path) -> None:
    rows = [row("s/1", "Short."), row("s/2", "A fever is a raised temperature, 38 degrees or more.").flagged("old")]
    source = write_partition(tmp_path / "in.parquet", rows, [], Tally())
    ref = PartRef("filters", "language_id", {"least_characters": 30}, "d.steps[0]", "language_id")
    made = judge_partition(JudgeWork(shop, (ref,), source, tmp_path / "out.parquet"))
    assert [item.flags for item in read_rows(made.path)] == [("too_short_to_tell",), ("old",)]
    assert [item.flagged() for item in read_rows(made.path)][1] == rows[1]
    same = judge_partition(JudgeWork(shop, (), source, tmp_path / "same.parquet"))
    assert same.content == source.content != made.content


def test_a_row_may_be_flagged_and_dropped_and_be_the_only_one(shop: Workshop, tmp_path: Path) -> None:
    rows = [row("s/1", "Short."), row("s/2", "A fever is a raised temperature, 38 degrees or more.")]
    refs = (
        PartRef("filters", "language_id", {"least_characters": 30}, "d.steps[0]", "language_id"),
        PartRef("filters", "length", {"least": 20}, "d.steps[1]", "length"),
    )
    for number, some in enumerate((rows, rows[:1])):
        source = write_partition(tmp_path / f"in{number}.parquet", some, [], Tally())
        made = judge_partition(JudgeWork(shop, refs, source, tmp_path / f"out{number}.parquet"))
        assert list(read_rows(made.path)) == some[1:]
        assert made.counts["length\ten"]["rejected:too_short"] == 1


def test_long_rows_make_short_partitions(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langmill.pipeline.segments.PARTITION_BYTES", 300)
    line = '{"id": "%d", "language": "en", "question": "What?", "answer": "%s"}\n'
    (tmp_path / "rows.jsonl").write_text("".join(line % (n, "é" * 60) for n in range(7)))
    loaded = load_source(loading(shop, tmp_path))
    assert [part.rows for part in loaded.partitions] == [3, 3, 1]


def test_files_that_change_names_are_read_again(shop: Workshop, tmp_path: Path) -> None:
    line = b'{"id": "%d", "language": "en", "question": "What?", "answer": "A fever."}\n'
    (tmp_path / "d").mkdir()
    for split, number in (("train", 1), ("test", 2)):
        (tmp_path / f"d/{split}.jsonl").write_bytes(line % number)
    work = loading(shop, tmp_path, path="d")
    first = [item for part in load_source(work).partitions for item in read_rows(part.path)]
    (tmp_path / "d/train.jsonl").rename(tmp_path / "d/other")
    (tmp_path / "d/test.jsonl").rename(tmp_path / "d/train.jsonl")
    (tmp_path / "d/other").rename(tmp_path / "d/test.jsonl")
    again = load_source(work)
    assert not again.kept
    second = [item for part in again.partitions for item in read_rows(part.path)]
    assert {item.id: item.split for item in first} == {"own/1": "train", "own/2": "test"}
    assert {item.id: item.split for item in second} == {"own/1": "test", "own/2": "train"}


def test_names_met_before_are_remembered_in_little_memory() -> None:
    seen = Seen()
    names = [f"s/{n}" for n in range(5000)]
    assert all(seen.add(name) for name in names)
    assert not any(seen.add(name) for name in names)
    assert len(seen) == 5000


def test_rows_are_signed_in_stretches_and_a_file_that_is_there_is_kept(shop: Workshop, tmp_path: Path) -> None:
    sources = (partition(tmp_path / "1.parquet", "s/1", "s/2"), partition(tmp_path / "2.parquet", "s/3"))
    work = SignWork(
        shop, PartRef("filters", "exact", {"splits": ["train"]}, "d.steps[0]", "exact"), sources, tmp_path / "s.json"
    )
    signed = sign_partitions(work)
    assert signed.rows == (3,)
    facts = FactsOnDisk([], [signed])
    assert facts.take(np.arange(3)).column("id").to_pylist() == ["s/1", "s/2", "s/3"]
    before = signed.facts_path.stat().st_mtime_ns
    assert sign_partitions(work) == signed
    assert signed.facts_path.stat().st_mtime_ns == before


def test_drops_are_taken_out(tmp_path: Path) -> None:
    source = partition(tmp_path / "in.parquet", "s/1", "s/2")
    work = ApplyWork(source, "exact", "d.steps[0]", {1: Drop("duplicate", "s/1")}, tmp_path / "out.parquet")
    made = apply_drops(work)
    assert [item.id for item in read_rows(made.path)] == ["s/1"]
    assert made.counts == {"exact\ten": {"read": 2, "kept": 1, "rejected:duplicate": 1}}
    (reject,) = read_rejects(made.rejects_path())
    assert reject == Reject.of(row("s/2"), "d.steps[0]", Drop("duplicate", "s/1"))


def test_a_part_is_built_once_in_a_process(shop: Workshop) -> None:
    ref = PartRef("filters", "length", {"least": 20}, "d.steps[0]", "length")
    assert shop.part(ref) is shop.part(ref)
    assert shop.part(PartRef("filters", "length", {"least": 21}, "d.steps[0]", "length")) is not shop.part(ref)
    with pytest.raises(RecipeError, match="lest"):
        shop.part(PartRef("filters", "length", {"lest": 20}, "d.steps[0]", "length"))
    assert set(shop.packs()) == {"en", "fr"}
