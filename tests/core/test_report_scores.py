"""What people are told of evaluations: on the page, in the terminal, on a stage's card. A gain is called one only when it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.core.test_report import Page
from tests.evaluations import Exam

from langmill.disk.store import file_hash
from langmill.report.cards import write_cards, write_stage_card
from langmill.report.page import write_report
from langmill.report.scores import evaluations
from langmill.report.summary import WIDTH, summary, summary_lines

NASTY = '<script>alert(1)</script> | <img src="https://example.org/x"> {{ 7 * 7 }}'
SEVEN = ("en", "es", "fr", "ja", "ko", "ru", "zh")


def asks(finished: Any, *names: str | None, models: tuple[str, ...] = ("base", "first", "second")) -> Any:
    """The run with evaluations of these names."""
    use, evaluator = finished.assembly.evaluators[0]
    made = tuple((use, evaluator.model_copy(update={"name": name, "models": models})) for name in names)
    return finished._replace(assembly=replace(finished.assembly, evaluators=made))


def page_of(finished: Any) -> Page:
    """Its page, taken apart."""
    write_report(finished.assembly, finished.store)
    page = Page(finished.store.report.read_text("utf-8"))
    assert page.faults == [] and page.open == []
    return page


def scores_part(page: Page) -> str:
    """The words of its part on scores."""
    return page.text[page.text.index("Scores A dot is") : page.text.index("Money step")]


def told(finished: Any) -> list[str]:
    """The terminal's lines."""
    return list(summary_lines(finished.assembly, finished.store))


def forget(finished: Any) -> None:
    """Without the evaluations that the run came with."""
    for path in finished.store.root.glob("eval/*.json"):
        path.unlink()


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_says_by_language_whether_a_stage_helped(finished: Any) -> None:
    text = scores_part(page_of(finished))
    assert "80 rows of exams, split test, examined by asked." in text
    assert "first against base: not told apart in any language." in text
    assert "second against base: gain in English, Russian, Chinese; not told apart in Japanese. Over all" in text
    assert "second against first: gain in English, Russian, Chinese; not told apart in Japanese." in text
    assert "base, first: not above chance in any language." in text and "second: not above" not in text
    japanese = text[text.index("Japanese Japanese: base 25.0% (11.2 to 46.9)") :].split("Russian")[0]
    assert "second 40.0% (21.9 to 61.3); chance 20.0%" in japanese  # for those who do not see the drawing
    assert "second on base: not told apart, +15.0" in japanese and "second on first: not told apart" in japanese
    assert re.search(r"Japanese base 25\.0 11\.2 – 46\.9 5 20 20\.0 not above chance first", text)


def test_a_metric_that_falls_for_the_better_has_its_own_scale(finished: Any) -> None:
    page = page_of(finished)
    text = scores_part(page)
    text = text[text.index("perplexity: of the words of the row (lower is better)") :]
    assert "first against base: gain in every language. Over all languages: gain, −51.4 %" in text
    assert "second on first: loss, +7.4 %" in text and "chance" not in text.split("What a rerun")[0]
    axis = [data for tag, data in page.texts if tag == "span" and data.strip("0123456789 %.") == ""]
    assert "0 %" in axis and "100 %" in axis and "20" in axis and "200" in axis  # a share's, and a perplexity's


def test_each_dot_has_its_band_and_chance_its_line(finished: Any) -> None:
    tags = page_of(finished).tags
    looks = [attrs.get("class") for tag, attrs in tags if tag == "g"]
    assert [looks.count(look) for look in ("base", "first", "second")] == [
        10,
        10,
        10,
    ]  # two metrics, four languages, all
    chances = [attrs for tag, attrs in tags if tag == "line" and attrs.get("class") == "chance"]
    assert len(chances) == 5 and {attrs["x1"] for attrs in chances} == {"20.00%"}
    drawings = [attrs for tag, attrs in tags if tag == "svg" and attrs.get("class") == "dots"]
    assert len(drawings) == 10 and all(attrs["role"] == "img" and attrs["width"] == "100%" for attrs in drawings)


def test_what_could_not_be_read_is_counted_where_it_happened(finished: Any) -> None:
    text = scores_part(page_of(finished))
    assert "Answers that could not be read They count as wrong." in text and "Chinese base 6 20 30.0" in text
    assert "Every answer could be read" not in text
    forget(finished)
    Exam("exams.asked", "base", {"en": 4}).write(finished.store)
    text = scores_part(page_of(finished))
    assert "Every answer could be read." in text and "unreadable" not in text


def test_places_are_shown_by_language_and_model(finished: Any) -> None:
    page = page_of(finished)
    captions = [text for tag, text in page.texts if tag == "caption"]
    assert captions == ["base", "first", "second"] * 4
    heats = [attrs["style"] for tag, attrs in page.tags if tag == "td" and "style" in attrs]
    assert len(heats) == 12 * 16 and "--heat:64%" in heats  # 17 of 20: 85% of a row, at most 75% of the colour
    assert "says nearly always the same" not in page.text


def test_a_model_that_only_says_a_is_called_that(finished: Any) -> None:
    Exam("exams.asked", "first", {"en": 5, "ja": 5}, chooses="A", stage="k").write(finished.store)
    said = "first says nearly always the same, whatever it is asked (positions): A in English, Japanese."
    assert said in page_of(finished).text
    assert "  first says nearly always the same, whatever it is asked (positions): A in en, ja" in told(finished)
    Exam("exams.asked", "first", {"en": 1, "ja": 1}, rows=4, chooses="A", stage="k").write(finished.store)
    assert "says nearly always" not in page_of(finished).text  # four answers show nothing


def test_all_that_pins_a_figure_is_there(finished: Any) -> None:
    text = scores_part(page_of(finished))
    text = text[text.index("What a rerun needs") :]
    path = finished.store.data_files("exams", "test")[0]
    for words in (
        "evaluator asked, code c0de, langmill 0.1",
        "words of the questions choice_short@0123456789ab",
        "rows 80 of exams, split test, seed 13",
        f"files, sha256 {path.relative_to(finished.store.root)} {file_hash(path)[:12]}",
        "limit 20",
        "shots 2",
        "extractor letters-1",
    ):
        assert words in text, words


def test_evaluations_stand_under_their_names_in_the_recipes_order(finished: Any) -> None:
    run = asks(finished, "zero_shot", None, "few_shot")
    for name in ("few_shot", "zero_shot", "of_another_recipe"):
        Exam(name, "base", {"en": 4}).write(run.store)
    page = page_of(run)
    heads = [attrs["id"] for tag, attrs in page.tags if tag == "h3" and "id" in attrs]
    assert heads == ["scores-zero_shot", "scores-exams.asked", "scores-few_shot"]


def test_models_that_were_asked_other_things_are_not_compared_in_silence(finished: Any) -> None:
    Exam("exams.asked", "second", {"en": 17}, stage="k", prompt="choice_short@ffffffffffff").write(finished.store)
    warning = "second was not examined as base was (prompts en differ): do not compare their figures."
    assert warning in page_of(finished).text
    assert "exams.asked: second was not examined as base was: prompts en differ" in told(finished)


def test_scores_of_an_earlier_training_are_left_out_and_named(finished: Any) -> None:
    Exam("exams.asked", "second", {"en": 20}, stage="an earlier one").write(finished.store)
    text = scores_part(page_of(finished))
    assert "second was trained again after it was scored" in text and "second against" not in text
    assert [line for line in told(finished) if "second was trained again" in line]
    assert {score["model"] for score in summary(finished.assembly, finished.store)["scores"]} == {"base", "first"}
    Exam("exams.asked", "base", {"en": 4}).write(finished.store)
    for model in ("first", "second"):
        Exam("exams.asked", model, {"en": 20}, stage="an earlier one").write(finished.store)
    (finished.store.root / "eval/exams.asked.base.json").unlink()
    assert "first was trained again" in scores_part(page_of(finished))  # nothing else is left to show


def test_what_an_earlier_version_wrote_breaks_nothing(finished: Any) -> None:
    forget(finished)
    old = {"key": "k", "use": "asked", "data": "exams", "split": "test", "model": "base", "scores": [], "items": []}
    finished.store.write_json("eval/exams.asked.base.json", old)
    assert 'href="#scores"' not in finished.store.report.read_text("utf-8") if page_of(finished) else False
    assert summary(finished.assembly, finished.store)["scores"] == []


def test_a_model_alone_is_shown_without_a_comparison(finished: Any) -> None:
    run = asks(finished, "alone", models=("first",))
    Exam("alone", "first", {"en": 15}, stage="k").write(run.store)
    text = scores_part(page_of(run))
    assert "against" not in text.split("letters: the likeliest")[1] and "English first 75.0" in text
    assert evaluations(run.assembly, run.store)[0].figures[0].pairs == ()


def test_without_a_base_models_are_held_against_the_first(finished: Any) -> None:
    run = asks(finished, "open", models=("openrouter", "mine", "second", "first"))
    for model in ("openrouter", "mine", "second", "first"):
        Exam("open", model, {"en": 5}, stage="k" if model in ("first", "second") else None).write(run.store)
    found = evaluations(run.assembly, run.store)[0]
    assert found.models == ("first", "second", "openrouter", "mine")
    pairs = [(pair.first, pair.second) for pair in found.figures[0].pairs]
    assert pairs == [("first", "second"), ("first", "openrouter"), ("first", "mine")]


def test_more_models_than_colours_are_all_shown(finished: Any) -> None:
    names = tuple(f"model{number}" for number in range(9))
    run = asks(finished, "many", models=names)
    for number, name in enumerate(names):
        Exam("many", name, {"en": 2 + 2 * number}).write(run.store)
    looks = [attrs.get("class") for tag, attrs in page_of(run).tags if tag == "g"]
    assert len(looks) == 18 and looks[0] == "base" and looks.count("other") == 6


def test_rows_that_have_no_partner_are_counted(finished: Any) -> None:
    Exam("exams.asked", "second", {"en": 17, "ja": 8}, rows=24, stage="k").write(finished.store)
    text = scores_part(page_of(finished))
    assert "40 rows compared, 48 of one model alone and 0 that changed left out." in text
    assert any("(40 rows compared, 48 of" in line or "48 of one model alone" in line for line in told(finished))


def test_what_evaluators_write_is_shown_as_it_is(finished: Any) -> None:
    facts = Exam("exams.asked", "base", {"en": 4}).write(finished.store)
    changed: dict[str, Any] = {"facts": {NASTY: NASTY}, "options": {"words": NASTY}}
    changed["tables"] = [{**table, "name": NASTY, "note": NASTY} for table in facts["tables"]]
    changed["metrics"] = {"letters": {"kind": "share", "about": NASTY, "better": "higher"}}
    Exam("exams.asked", "base", {"en": 4}).write(finished.store, **changed)
    html = (write_report(finished.assembly, finished.store), finished.store.report.read_text("utf-8"))[1]
    assert "<script" not in html and "<img" not in html and Page(html).faults == []
    assert Page(html).text.count("alert(1)") >= 5


def test_a_figure_that_is_none_is_not_drawn(finished: Any) -> None:
    facts = Exam("exams.asked", "base", {"en": 4}, losses={"en": 2.0, "ja": 2.0}).write(finished.store)
    endless = [
        {**score, "value": float("inf"), "interval": [0.0, float("inf")]}
        if (score["metric"], score["language"]) == ("perplexity", "ja")
        else score
        for score in facts["scores"]
    ]
    Exam("exams.asked", "base", {"en": 4}, losses={"en": 2.0, "ja": 2.0}).write(finished.store, scores=endless)
    assert "inf" in scores_part(page_of(finished))


def test_the_page_of_scores_fetches_and_runs_nothing(finished: Any) -> None:
    page = page_of(finished)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form"}
    names = [tag for tag, _ in page.tags]
    assert names.count("details") == names.count("summary") == 4  # two metrics, a table, what pins them


def test_the_paired_test_is_made_once_for_all_who_look(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: object) -> None:
        raise AssertionError("tested again")

    write_cards(finished.assembly, finished.store)
    first = evaluations(finished.assembly, finished.store)
    monkeypatch.setattr("langmill.report.scores.compared", again)
    monkeypatch.setattr("langmill.report.scores._KNOWN", {})  # as in another process
    second = evaluations(finished.assembly, finished.store)
    assert [one.figures for one in second] == [one.figures for one in first]
    Exam("exams.asked", "second", {"en": 3}, stage="k").write(finished.store)
    with pytest.raises(AssertionError, match="tested again"):
        evaluations(finished.assembly, finished.store)


def test_looking_writes_nothing(finished: Any) -> None:
    before = sorted(finished.store.root.rglob("*"))
    told(finished)
    assert sorted(finished.store.root.rglob("*")) == before


# --- the terminal -----------------------------------------------------------------------------------------------------


def test_the_terminal_tells_figures_then_what_they_say(finished: Any) -> None:
    lines = told(finished)
    at = lines.index("exams.asked letters, %: the likeliest letter is right")
    assert lines[at + 1 : at + 8] == [
        "            en         ja         ru         zh        all",
        "  base    20.0±21.6  25.0±21.9  20.0±21.6  15.0±21.0  20.0±10.8",
        "  first   25.0±21.9  25.0±21.9  25.0±21.9  20.0±21.6  23.8±10.9",
        "  second  85.0±21.0  40.0±21.3  80.0±21.6  75.0±21.9  70.0±10.4",
        "  chance  20.0       20.0       20.0       20.0       20.0",
        "  base: not readable zh 6 of 20",
        "  base, first: not above chance in any language",
    ]
    assert any(
        line.startswith("  second against base: gain in en, ru, zh; not told apart in ja; over") for line in lines
    )


def many(finished: Any, languages: tuple[str, ...], name: str, models: tuple[str, ...]) -> Any:
    """The run when it asked models of these names in these languages."""
    run = asks(finished, name, models=models)
    for number, model in enumerate(models):
        Exam(name, model, dict.fromkeys(languages, 6 + 6 * number)).write(run.store)
    return run


@pytest.mark.parametrize(
    ("languages", "models"),
    [
        (SEVEN, ("before", "after")),
        (SEVEN, ("a_model_with_a_long_name", "after")),
        (tuple(f"l{number:02}" for number in range(24)), ("before", "a_model_with_a_long_name")),
    ],
)
def test_tables_are_no_wider_than_a_terminal_and_lose_no_figure(
    finished: Any, languages: tuple[str, ...], models: tuple[str, ...]
) -> None:
    run = many(finished, languages, "wide", models)
    lines = told(run)
    lines = lines[next(at for at, line in enumerate(lines) if line.startswith("wide letters")) : -2]
    assert max(map(len, lines)) <= WIDTH
    words = " ".join(lines).split()
    assert all(words.count(language) >= 1 for language in (*languages, "all"))
    shown = [line for line in lines if line.startswith(f"  {models[0]} ") and "against" not in line]
    figures = [word for line in shown for word in line.split()[1:] if word.startswith("30.0")]
    assert len(figures) == len(languages) + 1
    whole = [line for line in lines if "±" in line]
    assert bool(whole) == (models[0] == "before" and len(languages) == 7)
    assert whole or [line for line in lines if line.endswith("95% of all")]


def test_the_summary_as_json_names_evaluation_data_and_model(finished: Any) -> None:
    scores = summary(finished.assembly, finished.store)["scores"]
    assert scores[0] == {
        "name": "exams.asked", "data": "exams", "model": "base", "language": "en", "metric": "letters", "n": 20, "correct": 4,
        "accuracy": 0.2, "interval": scores[0]["interval"],
        "unreadable": 0, "prompt": "choice_short@0123456789ab", "chance": scores[0]["chance"],
    }  # fmt: skip
    assert {score["metric"] for score in scores} == {"letters", "perplexity"} and len(scores) == 30


# --- a stage's card ---------------------------------------------------------------------------------------------------


@pytest.fixture
def card(finished: Any) -> Callable[[str], str]:
    """Writes a stage's card as at the end of its training, and reads it."""

    def write(name: str) -> str:
        stage = next(stage for stage in finished.assembly.stages if stage.name == name)
        facts: Mapping[str, Any] = finished.store.read_json(f"train/{name}/stage.json")
        write_stage_card(finished.assembly, finished.store, stage, facts)
        return str(finished.store.stage_card(name).read_text("utf-8"))

    return write


def test_a_card_tells_the_stages_scores_beside_the_base(finished: Any, card: Callable[[str], str]) -> None:
    text = card("second")
    assert (
        "\n\n| language | second, % | 95 % interval | base, % | against base | chance | rows | unreadable |\n|---|"
        in text
    )
    assert "| Japanese | 40.0 | 21.9 to 61.3 | 25.0 | not told apart, +15.0 (0.0 to 35.0) | 20.0 | 20 |  |" in text
    assert "| English | 85.0 | 64.0 to 94.8 | 20.0 | gain, +65.0 (40.0 to 85.0) | 20.0 | 20 |  |" in text
    assert "Against first: gain in English, Russian, Chinese; not told apart in Japanese." in text
    assert "- words of the questions: choice_short@0123456789ab" in text
    Exam("exams.asked", "first", {"en": 5, "ja": 5}, chooses="A", stage="k").write(finished.store)
    first = card("first")
    assert "20.0: not above chance" in first
    assert "**It says nearly always the same, whatever it is asked** (positions): A in English, Japanese." in first
    rows = [
        line.count("|") for line in text.split("## Scores")[1].split("\n## ")[0].splitlines() if line.startswith("|")
    ]
    assert set(rows) == {9}


def test_scores_come_into_a_card_later_and_change_nothing_else(finished: Any, card: Callable[[str], str]) -> None:
    saved = {path: path.read_bytes() for path in finished.store.root.glob("eval/*.json")}
    forget(finished)
    before = card("second")
    assert "## Scores\n\nIt was not scored.\n\n## Licences" in before
    for path, data in saved.items():
        path.write_bytes(data)
    finished.store.write_json("train/second/result.json", {"steps": 99})  # what came after the card
    write_cards(finished.assembly, finished.store)
    after = finished.store.stage_card("second").read_text("utf-8")
    assert "against base" in after and after.count("## Scores") == 1
    head, tail = before.split("## Scores")[0], before.split("## Licences")[1]
    assert after.startswith(head) and after.endswith(tail)
    stamp = finished.store.stage_card("second").stat().st_mtime_ns
    write_cards(finished.assembly, finished.store)
    assert finished.store.stage_card("second").stat().st_mtime_ns == stamp


def test_a_stage_that_was_not_trained_gets_no_card_by_being_scored(finished: Any) -> None:
    (finished.store.stage("first") / "stage.json").unlink()
    write_cards(finished.assembly, finished.store)
    assert not finished.store.stage_card("first").exists()
