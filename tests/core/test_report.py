"""The report: one page that stands alone, says what happened, and lets nothing that a row says act."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from langmill.recipe.assembly import Assembly
from langmill.report.charts import Dot, Series, dot_lines, line_chart, scale, share_bar, ticks
from langmill.report.page import write_report

APART = {"td", "th", "tr", "p", "br", "li", "dt", "dd", "div", "h1", "h2", "h3", "h4", "footer"}
VOID = {"meta", "br", "img", "link", "input", "hr", "line", "polyline", "rect", "circle"}


class Page(HTMLParser):
    """A page taken apart: tags with attributes, the text of each, and whether every tag is closed in order."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in APART:
            self.texts.append((tag, " "))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append((self.open[-1], data))

    @property
    def text(self) -> str:
        return " ".join("".join(data for _, data in self.texts).split())


@pytest.fixture
def html(finished: Any) -> str:
    write_report(finished.assembly, finished.store)
    return str(finished.store.report.read_text("utf-8"))


@pytest.fixture
def page(html: str) -> Page:
    return Page(html)


def test_the_page_is_whole_html(page: Page) -> None:
    assert page.faults == [] and page.open == []


def test_nothing_in_it_runs_or_is_fetched(html: str, page: Page) -> None:
    found = {tag for tag, _ in page.tags}
    assert not found & {"script", "link", "img", "iframe", "object", "form", "base", "foreignobject"}
    attributes = [(name, value) for _, attrs in page.tags for name, value in attrs.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name == "src"]
    links = [value or "" for name, value in attributes if name == "href"]
    assert links and not [link for link in links if re.match(r"[a-z]+:|/", link)]
    assert "url(" not in html and "@import" not in html
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert html.index("Content-Security-Policy") < html.index("<style>") < html.index("<body>")


def test_what_a_row_says_is_shown_as_it_is(html: str, page: Page) -> None:
    nasty = '<script>alert(1)</script> {{ 7 * 7 }} | <img src="https://example.org/x"> **bold**'
    assert page.text.count(nasty) == 3  # an answer, a passage, a reject's excerpt
    assert "<script" not in html and "49" not in page.text.split(nasty)[1][:20]
    assert "ask <the> author" in page.text


def test_control_characters_do_not_reach_the_page(finished: Any) -> None:
    from langmill.report.pages import plain

    assert plain("a\x00b\x1b[31m\x85c\ttab\nline") == "a\ufffdb\ufffd[31m\ufffdc\ttab\nline"
    assert plain("x" * 50, 10) == "x" * 10 + " …"


def test_rows_carry_their_language_and_direction(page: Page) -> None:
    marked = {(attrs.get("lang"), attrs.get("dir")) for tag, attrs in page.tags if tag == "div"}
    assert {("ar", "rtl"), ("zh", "ltr"), ("ja", "ltr"), ("ko", "ltr"), ("ru", "ltr")} <= marked
    assert ("ar", "ltr") not in marked


def test_the_key_of_an_item_is_marked(finished: Any, page: Page) -> None:
    right = [text for tag, text in page.texts if tag == "span"]
    keys = sum(1 for tag, attrs in page.tags if tag == "li" and attrs.get("class") == "right")
    assert keys >= 3 * 7 and right.count("key") == keys


def test_warnings_stand_before_everything_else(page: Page) -> None:
    assert "Demonstration only. 16 of 262 rows were written by a demonstration model." in page.text
    assert page.text.index("Demonstration only.") < page.text.index("Data set exams")
    assert page.text.index("Not reviewed by clinicians. Not for care.") < page.text.index("Data set exams")


def test_the_funnel_can_be_followed(page: Page) -> None:
    text = page.text[page.text.index("Data set ift") :]
    account = text[text.index("The same, with reasons") : text.index("Skipped is what")]
    assert [word for word in account.split() if word in ("tidy", "same", "apart", "rewrite")] == [
        "tidy",
        "same",
        "apart",
        "rewrite",
    ]
    assert "−skipped: language_not_in_recipe 4 4 =kept" in account
    assert "−rejected: too_short 1 1" in account
    assert "work rejected: schema 2 2" in account and "−work rejected" not in account
    assert "+made 16 16" in account
    assert "=out 157 2 35 20 20 20 20 20 20" in account


def test_a_finished_row_and_a_reject_are_shown_with_their_origin(page: Page) -> None:
    assert re.search(
        r"own_qa/en-qa-\d\d/rewrite train · source own_qa · licence CC0-1\.0 · flags: demonstration "
        r"rewrite: written by small/writer, prompt en/expand@0123456789ab made from own_qa/en-qa-\d\d",
        page.text,
    )
    assert "in_test_set datasets.ift.steps[2]" in page.text and "like own_choice/en-choice-01" in page.text


def test_training_and_money_are_told(page: Page) -> None:
    assert "Rows left out: too_long 4 (English 3, Russian 1)." in page.text
    assert "Forms left out, their rows staying in another: too_long 5 (Chinese 5)." in page.text
    assert "Prompts cut: prompt 2 (Chinese 2)." in page.text
    assert "Tokens that carried loss: English 9 000, Chinese 2 345." in page.text
    assert "Memory ran out: each batch was cut in 2" in page.text
    assert "tokens 20 480 seconds 80 tokens a second 256" in page.text
    assert "rewrite small/writer 20 3 1 5 120 1 800 0.012" in page.text


def test_the_validation_loss_speaks_for_a_stage_and_a_train_loss_says_what_it_is(page: Page) -> None:
    """Single batches are noise: a train loss is a mean and says over what; it never stands in the head."""
    head = page.text[: page.text.index("Data set exams")]
    assert "first: validation loss 3.10 → 1.90" in head and "1.42" not in head and "train loss" not in head
    assert page.text.count("train loss (mean over 10 of 40 steps at either end) 3.300 → 1.420") == 2


def test_a_stage_has_its_curves(page: Page) -> None:
    lines = [attrs for tag, attrs in page.tags if tag == "polyline"]
    looks = [attrs["class"] for attrs in lines]
    # two stages: every train loss faint, the smoothed line, and the three validations as dots on a line
    for look, n in (("line raw", 2), ("line first", 2), ("line second", 2), ("line second alone", 6)):
        assert looks.count(look) == n, look
    raw, smooth = (
        [float(point.split(",")[1]) for point in (attrs["points"] or "").split()]
        for attrs in (lines[looks.index("line raw")], lines[looks.index("line first")])
    )

    def turns(heights: list[float]) -> int:
        steps = [b - a for a, b in pairwise(heights)]
        return sum((a < 0) != (b < 0) for a, b in pairwise(steps))

    assert turns(smooth) <= 2 < turns(raw)
    for words in ("train loss, each step", "train loss, smoothed", "validation loss"):
        assert page.text.count(words) >= 2


def test_a_run_that_only_began_is_told_too(small_assembly: Callable[[str], Assembly], finished: Any) -> None:
    (finished.store.dataset("ift") / "dataset.json").unlink()
    (finished.store.root / "manifest.json").unlink()
    for path in [*finished.store.root.glob("train/*/*.json*"), *finished.store.root.glob("eval/*.json")]:
        path.unlink()
    write_report(finished.assembly, finished.store)
    page = Page(finished.store.report.read_text("utf-8"))
    assert (
        "ift is not finished" in page.text and "Not trained yet." in page.text and "No model was called." in page.text
    )
    assert "Demonstration" not in page.text and page.faults == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.32, 3.3, [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
        (0, 40, [0, 10, 20, 30, 40]),
        (2.0, 2.0, [2.0, 2.5, 3.0, 3.5, 4.0]),
        (0.00012, 0.0009, [0.0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]),
    ],
)
def test_ticks_are_round_and_span_the_data(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_line_goes_where_its_numbers_say() -> None:
    plot = line_chart([Series("train", "first", [(0, 4.0), (5, 3.0), (10, 2.0)])], "<b>")
    assert plot is not None
    assert 'points="0.00,0.00 50.00,50.00 100.00,100.00"' in plot.drawing
    assert "<title>&lt;b&gt;</title>" in plot.drawing
    assert plot.y_ticks == [(100.0, "2"), (75.0, "2.5"), (50.0, "3"), (25.0, "3.5"), (0.0, "4")]
    assert line_chart([Series("train", "first", [])], "t") is None
    dots = line_chart([Series("dev", "second", [(0, 4.0), (10, 2.0)], dots=True)], "t")
    assert dots is not None and dots.drawing.count("<polyline") == 3
    assert 'class="line second alone" points="100.00,100.00 100.01,100.00"' in dots.drawing
    alone = line_chart([Series("train", "first", [(3, 1.0)])], "t")
    assert alone is not None and 'class="line first alone"' in alone.drawing


def test_a_long_training_makes_no_long_page() -> None:
    plot = line_chart([Series("train", "first", [(step, 1 / step) for step in range(1, 100_001)])], "t")
    assert plot is not None and len(plot.drawing) < 8_000
    points = re.findall(r'points="([^"]+)"', plot.drawing)[0].split()
    assert points[0].startswith("0.00,") and points[-1].startswith("100.00,") and len(points) == 400


def test_bars_are_shares_of_their_track() -> None:
    pieces = share_bar({"kept": 3, "made": 0, "left": 1}, 4, "t")
    assert 'class="kept" x="0.00%" width="75.00%"' in pieces and 'class="left" x="75.00%" width="25.00%"' in pieces
    assert "made" not in pieces
    assert "rect" not in share_bar({"kept": 0}, 0, "t")


def test_a_dot_lies_where_its_figure_says() -> None:
    dots = [Dot(0.5, 0.25, 0.75, "base", "<b>"), Dot(0.9, 0.8, 1.0, "first", "first")]
    drawn = dot_lines(dots, scale([0.25, 1.0], share=True), 0.2, "both <i>")
    assert 'class="whisker" x1="25.00%" x2="75.00%" y1="11"' in drawn and 'cx="50.00%" cy="11"' in drawn
    assert 'x1="80.00%" x2="100.00%" y1="27"' in drawn and '<line class="chance" x1="20.00%" x2="20.00%"' in drawn
    assert "<title>both &lt;i&gt;</title>" in drawn and "<title>&lt;b&gt;</title>" in drawn
    assert 'class="chance"' not in dot_lines(dots, scale([0.0, 1.0], share=True), None, "t")


@pytest.mark.parametrize(
    ("values", "how", "marks"),
    [
        ([0.21, 0.34], {"share": True}, [0, 0.1, 0.2, 0.3, 0.4]),  # begins at 0 and goes no further than it must
        ([0.0, 0.0], {"share": True}, [0, 0.25, 0.5, 0.75, 1]),
        ([0.97], {"share": True}, [0, 0.25, 0.5, 0.75, 1]),
        ([-0.3, 0.4], {}, [-0.4, -0.2, 0, 0.2, 0.4]),
        ([3.2, 180], {"logarithm": True}, [2, 5, 10, 20, 50, 100, 200]),
        ([10, 1000], {"logarithm": True}, [10, 20, 50, 100, 200, 500, 1000]),
        ([1.5, 70_000], {"logarithm": True}, [1, 10, 100, 1_000, 10_000, 100_000]),
        ([20, 40], {"logarithm": True}, [20, 25, 30, 35, 40]),  # within a factor of ten an even scale says more
    ],
)
def test_a_scale_holds_its_values(values: list[float], how: dict[str, bool], marks: list[float]) -> None:
    made = scale(values, **how)
    assert made.marks == pytest.approx(marks)
    places = [made.place(value) for value in (made.low, *sorted(values), made.high)]
    assert places == sorted(places) and places[0] == 0 and places[-1] == pytest.approx(100)


def test_equal_steps_of_a_logarithm_are_equally_far() -> None:
    made = scale([1, 10_000], logarithm=True)
    assert [made.place(value) for value in (1, 10, 100, 1_000, 10_000)] == pytest.approx([0, 25, 50, 75, 100])
