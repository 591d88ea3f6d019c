"""The chart of sources over a stage: what a priority stage drew, told in lines, in words and in figures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.core.test_report import Page

from langmill.parts.training import Mix, result
from langmill.report.charts import LINES, line_chart, shares
from langmill.report.page import write_report

ENDS = list(range(4, 84, 4))
WEB = [round(240 * math.exp(-0.3 * place)) for place in range(20)]
MIX = {
    "ends": ENDS,
    "draws": {
        "web": WEB,
        "books": [10 + place for place in range(20)],
        "chats": [place * place // 3 for place in range(20)],
    },
    "weights": {"web": 32.0, "books": 4.0, "chats": 1.0},
}


def told(finished: Any, mix: Any) -> str:
    """The page of a run whose stage 'first' has this mix."""
    facts = finished.store.read_json("train/first/result.json")
    finished.store.write_json("train/first/result.json", {**facts, "mix": mix})
    write_report(finished.assembly, finished.store)
    text = str(finished.store.report.read_text("utf-8"))
    return text


def test_sources_are_told_in_lines_words_and_figures(finished: Any) -> None:
    html = told(finished, MIX)
    page = Page(html)
    assert page.faults == []
    assert "Sources over the stage" in page.text and "The same in figures" in page.text
    for words in ("web (32)", "books (4)", "chats (1)"):
        assert words in page.text
    assert (
        "share of each source in what stage first learns from, over its steps: web from 96% over 96% at the most to"
        in html
    )
    drawn = [attrs.get("class") for tag, attrs in page.tags if tag in ("polyline", "line")]
    for number in (1, 2, 3):
        assert drawn.count(f"line source{number}") == 2, "a line, and the piece of it in the legend"
    first = next(row for row in html.split("<tr>") if row.startswith("<th>2<"))
    assert [float(cell.split(" %")[0]) for cell in first.split('<td class="n">')[1:]] == [96.0, 4.0, 0.0]


@pytest.mark.parametrize(
    "mix",
    [None, [], {"ends": []}, {**MIX, "ends": ENDS[::-1]}, {**MIX, "ends": [True] * 20}, {**MIX, "draws": {"web": WEB}},
     {**MIX, "draws": {"web": WEB, "books": [1]}}, {**MIX, "draws": {"web": WEB, "books": [-1] * 20}}],
)  # fmt: skip
def test_a_stage_without_a_sound_mix_has_no_such_chart(finished: Any, mix: Any) -> None:
    assert "Sources over the stage" not in told(finished, mix)
    assert result(finished.store, "first").mix is None


def test_a_mix_is_read_as_it_was_written(finished: Any) -> None:
    told(finished, json.loads(json.dumps(MIX)))
    read = result(finished.store, "first").mix
    assert read == Mix(tuple(ENDS), {name: tuple(n) for name, n in MIX["draws"].items()}, MIX["weights"])  # type: ignore[attr-defined]


def test_shares_add_up_and_early_sources_come_first() -> None:
    lines = shares(ENDS, MIX["draws"])  # type: ignore[arg-type]
    assert [line.name for line in lines] == ["web", "books", "chats"]
    assert [x for x, _ in lines[0].points][:2] == [2.0, 6.0]
    for stretch in zip(*(line.points for line in lines), strict=True):
        assert sum(y for _, y in stretch) == pytest.approx(1)


def test_few_draws_are_put_together_and_many_sources_are_one_line() -> None:
    """A stage of 40 draws has one stretch: shares of two or three draws say nothing."""
    [a, b] = shares([1, 2, 3, 4], {"a": [8, 6, 4, 2], "b": [2, 4, 6, 8]})
    assert a.points == [(2.0, 0.5)] and b.points == [(2.0, 0.5)]
    many = shares([1, 2], {f"s{number}": [number * 40, 40] for number in range(1, 15)})
    assert len(many) == LINES and any(line.name == "6 other sources" for line in many)
    assert {line.look for line in many} == {f"source{number}" for number in range(1, LINES + 1)}


def test_each_line_has_a_dash_of_its_own() -> None:
    """Colours are gone on a copier: no two lines may have the same dashes."""
    css = (Path(__file__).parents[2] / "core/langmill/report/pages/report.css").read_text("utf-8")
    dashes = []
    for number in range(1, LINES + 1):
        rule = css.split(f".plot .source{number} {{")[1].split("}")[0]
        dashes.append(rule.partition("dasharray:")[2].strip(" ;"))
    assert len(set(dashes)) == LINES


def test_a_chart_of_shares_begins_at_nothing_and_tells_percent() -> None:
    plot = line_chart(shares(ENDS, MIX["draws"]), "t", share=True)  # type: ignore[arg-type]
    assert plot and plot.y_ticks[0][1] == "0 %" and plot.y_ticks[-1][1] == "100 %"
