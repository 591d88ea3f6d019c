"""The review page in a real browser: it opens from a file, keys mark, and what it saves is what the filter reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.browsing import NEEDS_BROWSER, Browser
from tests.reviewing import CONTEXT, HEBREW, rows_of, step_context

from langmill.api import Choice, Flag, Row
from langmill_plugins.exporters.review_sheet import ReviewSheet
from langmill_plugins.filters.reviewed import Reviewed

pytestmark = NEEDS_BROWSER
SHOWN = "document.getElementById('what').textContent"
COUNT = "document.getElementById('count').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Path:
    """The page of rows in four languages, opened for the first time."""
    folder = ReviewSheet().export(rows_of(), tmp_path, CONTEXT)
    browser.open(folder / "review.html")
    browser.ask("localStorage.clear()")
    browser.faults.clear()
    browser.requests.clear()
    browser.open(folder / "review.html")
    return folder


def choose(browser: Browser, language: str) -> None:
    browser.ask(
        f"document.getElementById('language').value = '{language}',"
        "document.getElementById('language').dispatchEvent(new Event('change'))"
    )


def judged(rows: list[Row], sheets: Path) -> dict[str, str]:
    verdicts = Reviewed(path=str(sheets)).judge(rows, step_context())
    return {row.id: verdict.flag for row, verdict in zip(rows, verdicts, strict=True) if isinstance(verdict, Flag)}


def test_it_opens_and_fetches_nothing(browser: Browser, page: Path) -> None:
    assert not browser.faults
    assert browser.requests == [(page / "review.html").as_uri()]
    assert "Row 1 of 6, open. 0 passed, 0 failed, 6 open." in browser.ask(COUNT)
    assert browser.ask("document.querySelectorAll('#options .right').length") == 1
    assert browser.ask("document.getElementById('unkept').hidden")


def test_what_rows_say_is_text(browser: Browser, page: Path) -> None:
    """A row that holds markup and the end of a script shows it, and nothing of it runs."""
    choose(browser, "en")
    browser.press("ArrowRight")
    written = {row.body.explanation for row in rows_of() if isinstance(row.body, Choice)}
    assert (
        shown := browser.ask("document.getElementById('rationale').textContent")
    ) in written and "</script>" in shown
    assert browser.ask("document.querySelectorAll('img').length") == 0 and not browser.faults


def test_keys_mark_and_undo(browser: Browser, page: Path) -> None:
    first = browser.ask(SHOWN)
    browser.press("p")
    assert browser.ask(SHOWN) != first and "1 passed, 0 failed, 5 open" in browser.ask(COUNT)
    browser.press("а", code="KeyF")  # a Russian keyboard
    assert "1 passed, 1 failed, 4 open" in browser.ask(COUNT)
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert browser.ask(SHOWN) == first
    assert browser.ask("document.getElementById('pass').getAttribute('aria-pressed')") == "true"
    browser.press("u")
    browser.press("u")
    assert browser.ask(SHOWN) == first and "0 passed, 0 failed, 6 open" in browser.ask(COUNT)
    browser.press("c")
    browser.press("p")  # a letter of the comment, and no verdict
    browser.press("Escape")
    assert browser.ask("document.getElementById('comment').value") == "p"
    assert "0 passed, 0 failed, 6 open" in browser.ask(COUNT)
    browser.press("u")
    assert browser.ask("document.getElementById('comment').value") == ""
    assert not browser.faults


def test_a_closed_page_goes_on_where_it_was(browser: Browser, page: Path) -> None:
    browser.press("f")
    browser.press("p")
    browser.open(page / "review.html")
    assert "Row 3 of 6, open. 1 passed, 1 failed, 4 open." in browser.ask(COUNT)


def test_an_untouched_page_saves_the_exported_sheet_byte_for_byte(browser: Browser, page: Path) -> None:
    for language in ("en", "ja", "zh"):
        choose(browser, language)
        browser.ask("document.getElementById('save').click()")
        assert browser.saved(f"{language}.csv") == (page / f"{language}.csv").read_bytes()


def test_what_it_saves_is_what_the_filter_reads(browser: Browser, page: Path, tmp_path: Path) -> None:
    rows = rows_of()
    by_shown = {}
    for key in ("p", "f", "p", "f", "p"):
        by_shown[browser.ask(SHOWN).partition(",")[0]] = key
        browser.press("c")
        browser.call("Input.insertText", text='=1+1, "quoted"; 良い')
        browser.press("Escape")
        browser.press(key)
    browser.ask("document.getElementById('initials').value = 'A B'")
    browser.ask("document.getElementById('save').click()")
    sheet = tmp_path / "all-A_B.csv"
    sheet.write_bytes(browser.saved("all-A_B.csv"))
    said = {"p": "explanation_checked", "f": "explanation_failed"}
    assert judged(rows, sheet) == {
        row.id: said[by_shown[row.id]] if row.id in by_shown else "explanation_unchecked" for row in rows
    }
    changed = [replace(row, body=replace(row.body, explanation="Other words.")) for row in rows]  # type: ignore[type-var]
    assert set(judged(changed, sheet).values()) == {"explanation_changed", "explanation_unchecked"}
    assert sheet.read_text("utf-8-sig").count('"\'=1+1, ""quoted""; 良い"') == 5


def test_languages_are_told_and_written_in_their_direction(browser: Browser, tmp_path: Path) -> None:
    context = replace(CONTEXT, languages={**CONTEXT.languages, "he": HEBREW})
    rows = [replace(row, language="he") if row.language == "ja" else row for row in rows_of()]
    browser.open(ReviewSheet().export(rows, tmp_path, context) / "review.html")
    shown = "[document.getElementById('item').lang, document.getElementById('item').dir]"
    for language, direction in (("he", "rtl"), ("zh", "ltr"), ("en", "ltr")):
        choose(browser, language)
        assert browser.ask(shown) == [language, direction]
    side = "getComputedStyle(document.getElementById('question')).direction"
    choose(browser, "he")
    assert browser.ask(side) == "rtl" and not browser.faults
    assert browser.ask(
        "[...document.querySelectorAll('button, select, input, textarea')].every(one => one.labels?.length || one.textContent.trim())"
    )
