"""Signatures on disk: what shares a key comes together, in whatever files and ranges it lies, and facts are found by position."""

from __future__ import annotations

import fcntl
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from langmill.disk.indexes import Index
from langmill.disk.signatures import (
    FactsOnDisk,
    SignedFile,
    key_ranges,
    merge_keys,
    read_buckets,
    read_signed,
    write_signed,
)
from langmill.errors import FactoryError


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langmill.disk.signatures.FACTS_ROWS", 5)


RNG = np.random.default_rng(17)


def batch(rows: int, keys_a_row: int, pool: int, first: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Rows with keys out of a small pool, so that many are shared; the fact of a row is its number."""
    keys = (RNG.integers(0, pool, rows * keys_a_row).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    row = np.repeat(np.arange(rows, dtype=np.int32), keys_a_row)
    facts = pa.record_batch(
        {
            "number": pa.array(range(first, first + rows)),
            "words": pa.array([["x"] * n for n in range(rows)], pa.list_(pa.string())),
        }
    )
    return pa.record_batch({"row": pa.array(row), "key": pa.array(keys)}), facts


def signed(folder: Path, *files: tuple[int, ...], pool: int = 400) -> list[SignedFile]:
    made, first = [], 0
    for number, sizes in enumerate(files):
        batches = []
        for size in sizes:
            batches.append(batch(size, 3, pool, first))
            first += size
        made.append(write_signed(folder / f"{number}.json", iter(batches)))
    return made


def by_hand(files: list[SignedFile]) -> dict[int, list[int]]:
    """Positions by key, of keys that come twice: read back and gathered in Python."""
    found, start = defaultdict(list), 0
    for file in files:
        for keys, facts in read_signed(file):
            for key, row in zip(keys.column("key").to_pylist(), keys.column("row").to_pylist(), strict=True):
                found[key].append(start + row)
            start += facts.num_rows
    return {key: sorted(places) for key, places in found.items() if len(places) > 1}


@pytest.mark.parametrize("range_keys", [1 << 21, 10])
def test_rows_that_share_a_key_come_together_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_keys: int
) -> None:
    monkeypatch.setattr("langmill.disk.signatures.RANGE_KEYS", range_keys)
    monkeypatch.setattr("langmill.disk.signatures.BUCKET_RECORDS", 7)
    files = signed(tmp_path, (300, 1), (), (500,), (40, 200))
    ranges = key_ranges(files)
    assert (len(ranges) > 64) == (range_keys == 10), "a large data set is cut finer, so that memory stays what it is"
    half = len(ranges) // 2
    merged = [
        merge_keys(files, part, tmp_path / f"m{n}.arrow") for n, part in enumerate((ranges[:half], ranges[half:]))
    ]
    seen: dict[int, list[int]] = {}
    last = -1
    for bucket in read_buckets(merged):
        keys = bucket.column("key").to_pylist()
        assert keys[0] > last, "a key's records never straddle two batches"
        assert keys == sorted(keys)
        last = keys[-1]
        for key, position in zip(keys, bucket.column("position").to_pylist(), strict=True):
            seen.setdefault(key, []).append(position)
    assert seen == by_hand(files)
    assert len(seen) > 300


def test_facts_are_found_by_position_over_files_and_batches(tmp_path: Path) -> None:
    files = signed(tmp_path, (30, 1), (), (50,), (4, 20))
    facts = FactsOnDisk(files[:1], files[1:])
    assert (len(facts), facts.held) == (105, 31)
    wanted = [0, 29, 30, 31, 80, 81, 84, 85, 104]
    table = facts.take(np.array(wanted))
    assert table.column("number").to_pylist() == wanted
    assert [len(words) for words in table.column("words").to_pylist()] == [0, 29, 0, 0, 49, 0, 3, 0, 19]


def entry(root: Path, owner: str, **shape: object) -> Index:
    return Index(root, "datasets.d.steps[0]", owner, {"step": "minhash", "threshold": 0.8, **shape})


def test_an_index_is_extended_read_by_those_who_come_later_and_never_by_its_owner(tmp_path: Path) -> None:
    root = tmp_path / "index"
    one = signed(tmp_path / "one", (4, 3), (2,))
    with entry(root, "a.d.0").open():
        first = entry(root, "a.d.0")
        assert first.earlier == entry(root, "b.d.0").earlier == []
        gone = [np.array([False, True, False, False]), np.array([True, False, False]), np.array([False, False])]
        first.write("k1", one, iter(gone))
        assert (entry(root, "a.d.0").earlier, first.holds("k1"), first.holds("k2")) == ([], True, False)
    held = entry(root, "b.d.0").earlier
    assert FactsOnDisk(held, []).take(np.arange(7)).column("number").to_pylist() == [0, 2, 3, 5, 6, 7, 8]
    kept: dict[int, list[int]] = {}
    for (keys, _), start in zip((pair for file in held for pair in read_signed(file)), (0, 5), strict=True):
        for key, row in zip(keys.column("key").to_pylist(), keys.column("row").to_pylist(), strict=True):
            kept.setdefault(start + row, []).append(key)
    before = [sorted(keys.filter(pc.equal(keys.column("row"), n)).column("key").to_pylist())
              for file in one for keys, facts in read_signed(file) for n in range(facts.num_rows)]  # fmt: skip
    assert [sorted(kept[n]) for n in range(7)] == [before[n] for n in (0, 2, 3, 5, 6, 7, 8)]
    state = entry(root, "b.d.0").state()
    entry(root, "b.d.0").write("k3", signed(tmp_path / "two", (2,)), iter([np.array([False, False])]))
    assert entry(root, "a.d.0").earlier == [], "what was first stays first"
    entry(root, "a.d.0").write("k4", one[:1], iter([np.zeros(4, bool), np.zeros(3, bool)]))
    assert [path.name for path in sorted(root.glob("0*"))] == ["000001 a.d.0", "000002 b.d.0"]
    assert entry(root, "b.d.0").state() != state, "a decision is made anew when what it was held against changed"
    assert len(entry(root, "b.d.0").earlier) == 1


def test_a_look_at_an_index_changes_nothing(tmp_path: Path) -> None:
    entry(tmp_path, "a").write("k", signed(tmp_path / "s", (2,)), iter([np.array([False, False])]))
    looking = Index(tmp_path, "here", "b", {"step": "minhash", "threshold": 0.8}, extended=False)
    assert len(looking.earlier) == 1
    assert looking.holds("whatever"), "there is nothing for it to write"
    looking.write("k", signed(tmp_path / "t", (2,)), iter([np.array([False, False])]))
    assert [path.name for path in tmp_path.glob("0*")] == ["000001 a"]


def test_an_index_that_can_not_be_used_says_why(tmp_path: Path) -> None:
    entry(tmp_path, "a", **{"shingles of en": 3}).write(
        "k", signed(tmp_path / "s", (2,)), iter([np.array([False, False])])
    )
    assert len(entry(tmp_path, "b", **{"shingles of fr": 3}).earlier) == 1, "a language more or less is no hindrance"
    with pytest.raises(
        FactoryError, match=r"steps\[0\]\.index: .*000001 a was made with another threshold: give .*another folder"
    ):
        _ = entry(tmp_path, "b", threshold=0.5).earlier
    with pytest.raises(FactoryError, match=r"another shingles of en, step: give"):
        _ = entry(tmp_path, "b", step="exact", **{"shingles of en": 4}).earlier
    (tmp_path / "000001 a" / "entry.json").write_text("{")
    with pytest.raises(FactoryError, match=r"entry\.json is damaged: delete the folder"):
        _ = entry(tmp_path, "b").earlier
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FactoryError, match=r"can not use .*file: .*Name another folder"),
        entry(tmp_path / "file", "a").open(),
    ):
        pass


def test_runs_that_use_one_index_take_turns(tmp_path: Path) -> None:
    (tmp_path / ".000001 a.7.tmp").mkdir()
    with entry(tmp_path, "a").open():
        assert not list(tmp_path.glob(".*.tmp")), "what a killed run left is swept away"
        with (tmp_path / ".lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
