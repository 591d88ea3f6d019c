"""The audit of the loaders on the public sets: it agrees on every set, and it would notice if a loader went wrong."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Choice, Origin, Reject, Row

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT / "scripts")]
public = importlib.import_module("public_sets")
audit = importlib.import_module("bench.loader_audit")
sets = importlib.import_module("bench.loader_sets")
twins = importlib.import_module("bench.loader_twins")
Plain = importlib.import_module("bench.loader_plain").Plain


def needs_data(test: Any) -> Any:
    """A test that looks at the public sets."""
    return public.NEEDS_DATA[0](public.NEEDS_DATA[1](test))


@needs_data
@pytest.mark.parametrize("one", sets.SETS, ids=lambda one: one.name)
def test_every_set_is_read_as_its_files_say(one: Any) -> None:
    """No record lost, each row what a plain reading finds in its place, and the readme's counts met."""
    if one.use == "html":
        pytest.importorskip("trafilatura")
    found = audit.audited(public.DATA, one)
    assert audit.apart(one, found) == 0
    assert {what: count(found) for what, _, count in one.facts} == {what: number for what, number, _ in one.facts}
    assert len({item.id if isinstance(item, Row) else item.record for item in found.items}) == len(found.items)


@needs_data
def test_the_sets_audited_are_all_that_are_there() -> None:
    there = {path.name for path in public.DATA.iterdir() if path.is_dir()}
    assert there == {one.folder for one in sets.SETS}


@needs_data
def test_the_same_exam_in_two_sets_is_found(tmp_path: Path) -> None:
    section = twins.twins(True, tmp_path, public.DATA)
    assert section.missed == [] and len(section.goals) == 2


ROW = Row("s/1", "fr", "dev", "s/1", Choice("Où ?", ("a", "b", "c"), (0, 2)), Origin("s", "1", ("x",)))
RAW = Plain("fr", "Où", ("c.", "a"), 3, "dev")


@pytest.mark.parametrize(
    ("row", "raw"),
    [
        (replace(ROW, language="en"), RAW),
        (replace(ROW, split="train"), RAW),
        (replace(ROW, body=replace(ROW.body, answers=(0,))), RAW),
        (replace(ROW, body=replace(ROW.body, question="Ou ?")), RAW),
        (ROW, RAW._replace(answers=("a", "b"))),
        (ROW, RAW._replace(options=4)),
    ],
)
def test_a_row_that_is_another_is_noticed(row: Row, raw: Any) -> None:
    assert not audit.differs(ROW, RAW, False)
    assert audit.differs(row, raw, False)


def test_a_record_that_is_lost_is_noticed() -> None:
    one = sets.DataSet("x", "table", lambda folder: (), ())
    reject = Reject("s", "2", "sources.s", "no_answer")
    assert audit.apart(one, sets.Audit([ROW, reject], [RAW, RAW])) == 0
    assert audit.apart(one, sets.Audit([ROW], [RAW, RAW])) == 1
    assert audit.apart(one, sets.Audit([ROW, ROW], [RAW])) == 1
