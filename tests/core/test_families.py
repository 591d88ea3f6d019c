"""One item, many editions: when one edition turns out to be a test row, none of the others is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langmill.api import Drop
from langmill.disk.partitions import Partition, Tally, other_editions, write_partition
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
    first = {1: Drop("near_duplicate", "", MAIN)}
    second = {1: Drop("duplicate", "", "cases/es.9")}
    (kept, more) = other_editions([first, second], partitions)
    assert kept == {**first, 2: Drop("contaminated", f"of the family of cases/es.7, which repeats {MAIN}", MAIN)}
    assert {number: drop.reason for number, drop in more.items()} == {0: "contaminated", 1: "duplicate"}
    assert list(more) == [0, 1], "in the order of the rows"


def test_nothing_more_goes_when_train_repeats_train_or_no_row_is_named(tmp_path: Path) -> None:
    rows = [_row("cases/es.7", "es", "train", "cases/7"), _row("cases/en.7", "en", "train", "cases/7"),
            _row("cases/es.8", "es", "train", "cases/8"), _row(MAIN, "es", "test", "exams/2015-1")]  # fmt: skip
    partitions = _written(tmp_path, rows)
    for drops in ({0: Drop("duplicate", "", "cases/es.8")}, {0: Drop("too_short")}, {}):
        assert other_editions([drops], partitions) == [drops]
