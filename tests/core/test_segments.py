"""Partitions: whole files with their counts, and what is done to them one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from langmill.api import Chat, Drop, Origin, Reject, Row
from langmill.errors import RecipeError
from langmill.partitions import (
    Fetch,
    Partition,
    Tally,
    counts_of,
    ids_of,
    offspring_elsewhere,
    rejects_of,
    repeated_ids,
    write_partition,
)
from langmill.registry import Registry
from langmill.segments import (
    ApplyWork,
    JudgeWork,
    LoadWork,
    PartRef,
    SignWork,
    Workshop,
    apply_drops,
    judge_partition,
    load_source,
    sign_partition,
)
from langmill.tables import read_rows

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
    ref = PartRef("loaders", "jsonl", known, "sources.own", "own")
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
    assert list(rejects_of([made])) == [reject]
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


def test_rows_are_fetched_by_id(tmp_path: Path) -> None:
    parts = [partition(tmp_path / f"{n}.parquet", f"s/{n}", f"s/{n}0") for n in range(1, 25)]
    fetch = Fetch(parts)
    wanted = [f"s/{n}" for n in range(24, 0, -1)]
    assert {id: found.id for id, found in fetch(wanted).items()} == {id: id for id in wanted}
    assert len(fetch.loaded) <= 16, "a bounded number of partitions stays in memory"


def test_a_source_is_read_into_partitions_and_kept(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langmill.segments.PARTITION_ROWS", 8)
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
    assert len(list(rejects_of(loaded.partitions))) == 1


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
    assert [(reject.step, reject.row.id) for reject in rejects_of([made]) if reject.row] == [
        ("d.steps[0]", "s/1"), ("d.steps[1]", "s/2"),
    ]  # fmt: skip


def test_signatures_carry_the_place_in_the_data_set(shop: Workshop, tmp_path: Path) -> None:
    source = partition(tmp_path / "in.parquet", "s/1", "s/2")
    signed = sign_partition(SignWork(shop, PartRef("filters", "exact", {}, "d.steps[0]", "exact"), source, 40))
    assert dict(zip(signed.column("id").to_pylist(), signed.column("position").to_pylist(), strict=True)) == {
        "s/1": 40, "s/2": 41,
    }  # fmt: skip
    assert "key" in signed.column_names


def test_drops_are_taken_out(tmp_path: Path) -> None:
    source = partition(tmp_path / "in.parquet", "s/1", "s/2")
    work = ApplyWork(source, "exact", "d.steps[0]", {"s/2": Drop("duplicate", "s/1")}, tmp_path / "out.parquet")
    made = apply_drops(work)
    assert [item.id for item in read_rows(made.path)] == ["s/1"]
    assert made.counts == {"exact\ten": {"read": 2, "kept": 1, "rejected:duplicate": 1}}


def test_a_part_is_built_once_in_a_process(shop: Workshop) -> None:
    ref = PartRef("filters", "length", {"least": 20}, "d.steps[0]", "length")
    assert shop.part(ref) is shop.part(ref)
    assert shop.part(PartRef("filters", "length", {"least": 21}, "d.steps[0]", "length")) is not shop.part(ref)
    with pytest.raises(RecipeError, match="lest"):
        shop.part(PartRef("filters", "length", {"lest": 20}, "d.steps[0]", "length"))
    assert set(shop.packs()) == {"en", "fr"}
