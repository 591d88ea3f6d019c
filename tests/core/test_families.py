"""One item, many editions: when one edition turns out to be a test row, none of the others is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langmill.api import Drop
from langmill.partitions import Partition, Tally, other_editions, write_partition
from langmill.rows import Choice, Origin, Row, Split

MAIN = "exams/es.2015-1"


def _row(id: str, language: str, split: Split, family: str) -> Row:
    return Row(id, language, split, family, Choice("¿?", ("a", "b"), (0,)), Origin(id.split("/")[0], id, ("MIT",)))


def _written(folder: Path, *groups: Sequence[Row]) -> list[Partition]:
    return [write_partition(folder / f"{n}.parquet", list(rows), [], Tally()) for n, rows in enumerate(groups)]


def test_the_translations_of_a_row_that_repeats_a_test_row_go_too(tmp_path: Path) -> None:
    case = [_row(f"cases/{code}.7", code, "train", "cases/7") for code in ("es", "en", "fr")]
    twice = [_row(f"cases/{code}.8", code, "train", "cases/8") for code in ("es", "en")]
    alone = _row("cases/es.9", "es", "train", "cases/9")
    partitions = _written(tmp_path, [_row(MAIN, "es", "test", "exams/2015-1"), *case[:2]], [case[2], *twice, alone])
    drops = {"cases/es.7": Drop("near_duplicate", "", MAIN), "cases/es.8": Drop("duplicate", "", "cases/es.9")}
    found = other_editions(drops, partitions)
    assert {id: drop.reason for id, drop in found.items()} == {
        "cases/en.7": "contaminated",
        "cases/fr.7": "contaminated",
    }
    assert MAIN in found["cases/fr.7"].detail and found["cases/fr.7"].like == MAIN


def test_nothing_more_goes_when_train_repeats_train_or_no_row_is_named(tmp_path: Path) -> None:
    rows = [_row("cases/es.7", "es", "train", "cases/7"), _row("cases/en.7", "en", "train", "cases/7"),
            _row("cases/es.8", "es", "train", "cases/8"), _row(MAIN, "es", "test", "exams/2015-1")]  # fmt: skip
    partitions = _written(tmp_path, rows)
    assert other_editions({"cases/es.7": Drop("duplicate", "", "cases/es.8")}, partitions) == {}
    assert other_editions({"cases/es.7": Drop("too_short")}, partitions) == {}
    assert other_editions({}, partitions) == {}
