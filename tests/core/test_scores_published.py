"""Scores that others published: what of them can be, and a file that says more than it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from langmill.errors import RecipeError
from langmill.scores.intervals import wilson
from langmill.scores.published import Published, over, read_published

ROOT = Path(__file__).resolve().parents[2]
MMEDBENCH = ROOT / "recipes/published/mmedbench.yaml"
API_MODELS = {"GPT-3.5", "GPT-4", "Gemini-1.0 pro"}


@pytest.fixture(scope="module")
def mmedbench() -> Published:
    return read_published(MMEDBENCH)


def test_the_benchmark_is_whole(mmedbench: Published) -> None:
    assert sum(mmedbench.rows.values()) == 8_518 and len(mmedbench.scores) == 20
    assert all(cells.keys() == {*mmedbench.rows, "mean"} for cells in mmedbench.scores.values())
    assert mmedbench.scores["MMed-Llama 3 8B"]["mean"] == 67.75


def test_exactly_what_can_not_be_is_flagged(mmedbench: Published) -> None:
    flags = mmedbench.flags()
    assert [(flag.model, flag.cell, flag.stated, round(flag.near, 3)) for flag in flags] == [
        ("GPT-3.5", "en", 56.88, 56.874),
        ("GPT-3.5", "zh", 52.29, 52.277),
        ("GPT-3.5", "ja", 34.63, 34.673),
        ("GPT-3.5", "ru", 66.36, 66.406),
        ("GPT-3.5", "es", 66.06, 66.047),
        ("GPT-3.5", "mean", 51.47, 51.45),
        ("GPT-4", "ja", 72.91, 72.864),
        ("GPT-4", "ru", 83.62, 83.594),
        ("GPT-4", "mean", 74.27, 75.31),
        ("Llama 2 7B", "es", 47.10, 47.082),
    ]
    assert [flag.why for flag in flags][-2:] == [
        "the mean of its figures is 75.31",
        "no multiple of 1/2,742; the nearest is 47.082",
    ]
    assert sum(len(cells) - 1 for model, cells in mmedbench.scores.items() if model not in API_MODELS) == 102


def of(cell: float, rows: int, decimals: int = 2, **more: float) -> list[str]:
    made = Published(
        name="x", about="x", source="x", decimals=decimals, rows={"en": rows}, scores={"m": {"en": cell, **more}}
    )
    return [flag.cell for flag in made.flags()]


def test_a_figure_may_be_rounded_or_cut_off_and_no_more() -> None:
    assert of(66.67, 3) == of(66.66, 3) == of(66.7, 3, 1) == of(67.0, 3, 0) == []
    assert of(66.65, 3) == of(66.68, 3) == of(50.0, 3) == of(65.0, 3, 0) == ["en"]
    assert of(0.0, 7) == of(100.0, 7) == []
    assert of(12.34, 1_000_000) == [], "among so many rows every figure is possible"


def test_a_mean_may_be_off_by_the_last_digit() -> None:
    assert of(66.67, 3, mean=66.66) == of(66.67, 3, mean=66.68) == []
    assert of(66.67, 3, mean=66.69) == ["mean"]


def test_a_mean_of_figures_that_are_not_all_there_is_not_held_against_them() -> None:
    made = Published(
        name="x", about="x", source="x", decimals=2, rows={"en": 4, "ja": 4}, scores={"m": {"en": 25.0, "mean": 90.0}}
    )
    assert made.flags() == [] and made.figure("m", "ja") is None


def test_a_figure_has_the_interval_of_its_rows(mmedbench: Published) -> None:
    figure = mmedbench.figure("GPT-4", "ja")
    assert figure is not None and figure.n == 199
    assert figure.interval == pytest.approx(wilson(0.7291 * 199, 199))
    found = {code: figure for code in mmedbench.rows if (figure := mmedbench.figure("MMed-Llama 3 8B", code))}
    mean = over(found)
    assert mean.n == 8_518 and mean.value == pytest.approx(0.6775, abs=1e-4)
    assert 0.01 < mean.interval[1] - mean.interval[0] < 0.05


FAULTY = """\
name: mine
about: none
source: nowhere
decimals: two
rows: {en: 0, mean: 3, ja: 10}
scores:
  m: {en: 101, jp: 30.0}
extra: 1
"""


def test_every_fault_of_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FAULTY)
    with pytest.raises(RecipeError) as told:
        read_published(path)
    assert {fault.line for fault in told.value.faults} == {4, 5, 7, 8}
    path.write_text(FAULTY.replace("two", "2").replace("en: 0", "en: 5").replace("101", "40").replace("extra: 1\n", ""))
    with pytest.raises(RecipeError) as told:
        read_published(path)
    assert [(fault.line, fault.place) for fault in told.value.faults] == [(7, "scores.m.jp"), (5, "rows.mean")]
    assert "'jp' is no language of rows: en, mean, ja" in str(told.value) or "en, ja" in str(told.value)
    path.write_text("- a list\n")
    with pytest.raises(RecipeError, match="name"):
        read_published(path)
