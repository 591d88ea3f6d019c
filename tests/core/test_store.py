"""A run's folder: one writer, whole data sets, a manifest that names every file."""

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from langmill.disk.store import RunFolder, file_hash
from langmill.disk.tables import rejects_to_table, rows_to_table
from langmill.errors import FactoryError, MissingInput
from langmill.rows import Drop, Origin, Reject, Row, Text


def rows(n=3, language="en", split="train"):
    return [
        Row(f"s/{language}{i}", language, split, f"s/{i}", Text(f"t{i}"), Origin("s", str(i), ("CC0-1.0",)))
        for i in range(n)
    ]


def tables(items):
    """Two to a table: a data set comes in pieces."""
    return iter([rows_to_table(items[start : start + 2]) for start in range(0, len(items), 2)])


def test_a_second_run_on_the_same_folder_is_refused_by_name(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from langmill.disk.store import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).open_for_writing():\n print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        with (
            pytest.raises(FactoryError, match=rf"another run \(process {holder.pid}\).*--out"),
            RunFolder(tmp_path).open_for_writing(),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()
    with RunFolder(tmp_path).open_for_writing():
        pass  # a killed run leaves no lock behind


def test_strays_of_a_killed_run_are_swept_away(tmp_path):
    (tmp_path / "ift" / ".data.1.tmp" / "data").mkdir(parents=True)
    (tmp_path / "ift" / ".x.parquet.1.tmp").write_text("half")
    with RunFolder(tmp_path).open_for_writing():
        assert list((tmp_path / "ift").iterdir()) == []


def test_a_data_set_is_written_by_language_and_split_and_swapped_in_whole(tmp_path):
    store = RunFolder(tmp_path)
    reject = Reject.of(rows(1)[0], "steps[0]", Drop("short"))
    files = store.write_dataset(
        "ift",
        tables([*rows(2), *rows(1, "zh", "test")]),
        {"00-length": iter([rejects_to_table([reject])]), "01-x": iter([])},
    )
    assert {name: facts["rows"] for name, facts in files.items()} == {
        "data/en/train-00000.parquet": 2,
        "data/zh/test-00000.parquet": 1,
    }
    assert [row.id for row in store.rows("ift")] == ["s/en0", "s/en1", "s/zh0"]
    assert [row.id for row in store.rows("ift", "test")] == ["s/zh0"]
    assert list(store.rejects("ift")) == [reject]
    store.write_json("ift/dataset.json", {"key": "k"})
    store.write_dataset("ift", tables(rows(1)), {})
    assert [row.id for row in store.rows("ift")] == ["s/en0"], "nothing of the former data set stays"
    assert store.dataset_facts("ift") is None, "unfinished until dataset.json is written again"


def test_a_large_data_set_is_written_in_files_and_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("langmill.disk.shards.FILE_GROUPS", 2)
    monkeypatch.setattr("langmill.disk.shards.GROUP_ROWS", 4)
    store = RunFolder(tmp_path)
    items = [row for pair in zip(rows(23), rows(23, "zh"), strict=True) for row in pair]
    pieces = [items[:3], items[3:20], items[20:21], items[21:]]
    files = store.write_dataset("ift", iter([rows_to_table(piece) for piece in pieces]), {})
    assert [facts["rows"] for facts in files.values()] == [8, 8, 7, 8, 8, 7]
    assert [row.id for row in store.rows("ift")] == [row.id for row in (*rows(23), *rows(23, "zh"))]
    path = tmp_path / "ift/data/zh/train-00001.parquet"
    assert [pq.ParquetFile(path).metadata.row_group(n).num_rows for n in range(2)] == [4, 4]
    again = RunFolder(tmp_path / "again")
    again.write_dataset("ift", tables(items), {})
    assert file_hash(again.root / "ift/data/zh/train-00001.parquet") == file_hash(path), "however it came in pieces"


def test_the_manifest_hashes_every_output_file(tmp_path):
    store = RunFolder(tmp_path)
    store.write_dataset("ift", tables(rows()), {})
    store.write_manifest({"seed": 1})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    path = "ift/data/en/train-00000.parquet"
    assert manifest["files"][path]["sha256"] == file_hash(tmp_path / path)
    assert manifest["seed"] == 1


def test_what_is_not_there_says_how_to_make_it(tmp_path):
    store = RunFolder(tmp_path)
    with pytest.raises(MissingInput, match=r"no data set 'ift'.*factory run"):
        list(store.rows("ift"))
    with pytest.raises(MissingInput, match=r"stage 'one' is not trained.*--only train"):
        store.adapter("one")


def test_a_run_keeps_its_name_for_the_ledger_when_its_folder_moves(tmp_path):
    first = RunFolder(tmp_path / "a").run_id
    (tmp_path / "a").rename(tmp_path / "b")
    assert RunFolder(tmp_path / "b").run_id == first
