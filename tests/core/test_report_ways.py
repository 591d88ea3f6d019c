"""Ways side by side: what each chain of stages took and scored, on the page and in the terminal, and each held against the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.core.test_report import Page

from langmill.report.page import write_report
from langmill.report.scores import _pairs, evaluations
from langmill.report.summary import summary_lines
from langmill.report.ways import ways


def test_ends_of_chains_are_held_against_each_other() -> None:
    chain = {"open": "base", "two": "open", "one": "base"}
    assert _pairs(["base", "two", "one"], chain) == [("base", "two"), ("base", "one"), ("two", "one")]
    assert _pairs(["base", "open", "two"], {"open": "base", "two": "open"}) == [
        ("base", "open"),
        ("base", "two"),
        ("open", "two"),
    ]


@pytest.fixture
def two_ways(finished: Any) -> Any:
    """The run with its second stage begun at the base: two chains of one stage each."""
    first, second = finished.assembly.stages
    stages = (first, second.model_copy(update={"start": "base"}))
    for number, stage in enumerate(stages, 1):
        finished.store.write_json(
            f"train/{stage.name}/result.json",
            {"rows": {"train": 10 * number}, "tokens": 1000 * number, "steps": 5, "seconds": 2.5, "trained_tokens": {"en": 300, "zh": 20},
             "draws": {"en": {"own_qa": 12}, "zh": {"own_qa": 3}}},
        )  # fmt: skip
    return finished._replace(assembly=replace(finished.assembly, stages=stages))


def test_one_chain_is_nothing_to_hold_side_by_side(finished: Any) -> None:
    assert ways(finished.assembly, finished.store, evaluations(finished.assembly, finished.store)) is None
    write_report(finished.assembly, finished.store)
    assert "Ways side by side" not in Page(finished.store.report.read_text("utf-8")).text
    assert "ways side by side" not in list(summary_lines(finished.assembly, finished.store))


def test_what_each_way_took_and_scored(two_ways: Any) -> None:
    found = ways(two_ways.assembly, two_ways.store, evaluations(two_ways.assembly, two_ways.store))
    assert found is not None
    base, one, other = found.rows
    assert (base.name, base.stages, base.tokens) == ("base", (), None)
    assert (one.rows, one.examples, one.tokens, one.learnt, one.steps, one.seconds) == (10, 15, 1000, 320, 5, 2.5)
    assert other.tokens == 2000 and len(found.heads) == len(one.scores) > 0
    write_report(two_ways.assembly, two_ways.store)
    page = Page(two_ways.store.report.read_text("utf-8"))
    assert page.faults == [] and page.open == []
    assert "Ways side by side" in page.text and "2 000" in page.text
    lines = list(summary_lines(two_ways.assembly, two_ways.store))
    at = lines.index("ways side by side")
    assert lines[at + 1].strip() == "base"
    assert any("10 rows, 15 examples, 1,000 tokens, 320 of them learnt, 5 steps" in line for line in lines[at:])


def test_a_way_that_is_not_all_trained_has_no_sum(two_ways: Any) -> None:
    (two_ways.store.root / f"train/{two_ways.assembly.stages[1].name}/result.json").unlink()
    found = ways(two_ways.assembly, two_ways.store, evaluations(two_ways.assembly, two_ways.store))
    assert found is not None and (found.rows[1].tokens, found.rows[2].tokens) == (1000, None)
