"""The gate before training: data that was not held against what is scored is refused, unless the recipe says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from langmill.disk.store import RunFolder
from langmill.errors import RecipeError
from langmill.parts.contexts import held_against
from langmill.recipe.assembly import Assembly
from langmill.recipe.dataset_plan import against_faults
from langmill.report.cards import write_cards, write_stage_card
from langmill.report.counts import checks, unchecked
from langmill_plugins.filters.decontaminate import Decontaminate

Make = Callable[[str], Assembly]
RECIPE = """
name: small
languages: [en]
llm: {model: small/writer}
sources:
  own_qa: {use: lines, path: data/qa.*.jsonl, license: CC0-1.0}
  own_choice: {use: lines, path: data/choice.*.jsonl, license: CC0-1.0}
datasets:
  exams: {from: [own_choice], steps: [{use: tidy}]}
  open: {from: [own_qa], steps: [{use: apart, against: eval}]}
  both: {from: [open, exams], steps: [{use: tidy}]}
train:
  use: adapt
  base: small/base
  stages: [{name: first, data: open}]
eval:
  - {use: asked, data: exams, models: [first]}
"""


def faults(make: Make, *changes: tuple[str, str]) -> list[tuple[int, str, str]]:
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    try:
        make(text)
    except RecipeError as error:
        return [(fault.line, fault.place, fault.message) for fault in error.faults]
    return []


def test_eval_stands_for_all_that_is_asked() -> None:
    assert held_against("eval", ["exams", "more"]) == ("exams", "more")
    assert held_against(["old", "eval", "exams"], ["exams"]) == ("old", "exams")
    assert held_against("evaluation", ["exams"]) == ("evaluation",) and held_against(None, ["exams"]) == ()


def test_what_was_held_against_the_benchmark_is_trained_on(small_assembly: Make) -> None:
    made = small_assembly(RECIPE)
    assert made.benchmarks == {"exams": ("test",)}
    assert [step.against for step in made.datasets["open"].steps] == [("exams",)]
    assert [step.against for step in made.datasets["exams"].steps] == [()]
    assert faults(small_assembly, ("against: eval", "against: exams")) == []
    own = ("steps: [{use: tidy}]}\n  open", "steps: [{use: apart, against: eval, splits: [train]}]}\n  open")
    assert faults(small_assembly, own, ("data: open}", "data: both}")) == [], "all that it is made from was"


@pytest.mark.parametrize(
    ("old", "new", "data"),
    [
        ("[{use: apart, against: eval}]", "[{use: tidy}]", "open"),
        ("against: eval}", "against: eval, splits: [dev]}", "open"),
        ("data: open}", "data: both}", "both"),  # one part of it was not
        ("data: open}", "data: exams}", "exams"),  # nor was it against its own test rows
        ("against: eval}]", "against: eval}, {use: rewrite}]", "open"),  # nor what a model wrote afterwards
    ],
)
def test_what_was_not_is_refused_before_anything_is_done(small_assembly: Make, old: str, new: str, data: str) -> None:
    ((line, place, message),) = faults(small_assembly, (old, new))
    assert (line, place) == (15, "train.stages[0].data")
    assert message.startswith(
        f"'{data}' is not held against 'exams', which eval: asks: add {{use: decontaminate}} to datasets.{data}"
    )
    assert faults(small_assembly, (old, new), ("  use: adapt\n", "  use: adapt\n  allow_unchecked: true\n")) == []


def test_without_eval_there_is_nothing_to_check_and_a_step_that_would_says_so(small_assembly: Make) -> None:
    scores = RECIPE[RECIPE.index("eval:\n") :]
    assert faults(small_assembly, (scores, ""), ("[{use: apart, against: eval}]", "[{use: tidy}]")) == []
    ((line, place, message),) = faults(small_assembly, (scores, ""))
    assert (line, place) == (10, "datasets.open.steps[0]") and "there is no eval:" in message


def test_a_benchmark_is_made_before_the_step_that_needs_it(small_assembly: Make) -> None:
    exams, data = (
        "  exams: {from: [own_choice], steps: [{use: tidy}]}\n",
        "  both: {from: [open, exams], steps: [{use: tidy}]}\n",
    )
    ((line, place, message),) = faults(small_assembly, (exams, ""), (data, exams))
    assert (line, place) == (9, "datasets.open.steps[0]")
    assert message == "eval: asks 'exams', which is made after this: move it above datasets.open"


@pytest.mark.parametrize(
    ("step", "lost"),
    [("{use: apart, against: eval}", "dev and test"), ("{use: apart, against: exams, splits: [train, dev]}", "dev")],
)
def test_a_step_does_not_take_away_what_it_guards(small_assembly: Make, step: str, lost: str) -> None:
    own = ("steps: [{use: tidy}]}\n  open", f"steps: [{step}]}}\n  open")
    ((line, place, message),) = faults(small_assembly, own)
    assert (line, place) == (9, "datasets.exams.steps[0]")
    assert message.startswith(f"this would drop the {lost} rows of 'exams'") and "splits: [train]" in message
    trained = faults(small_assembly, ("steps: [{use: tidy}]}\n  open", "steps: [{use: apart, against: eval, splits: [train]}]}\n  open"),
                     ("models: [first]}", "models: [first], split: train}"))  # fmt: skip
    assert "would drop the train rows" in trained[0][2]


def test_against_nothing_is_a_fault() -> None:
    (message,) = against_faults(Decontaminate(against=()), ["exams", "open"], [("exams", "test")])
    assert message == "against: names no data set: leave it out, or name some"


def test_allow_unchecked_is_true_or_false(small_assembly: Make) -> None:
    ((_, place, message),) = faults(small_assembly, ("  use: adapt\n", "  use: adapt\n  allow_unchecked: maybe\n"))
    assert place == "train.allow_unchecked" and "must be true or false" in message


def test_the_cards_tell_what_was_not_checked_and_what_was_found(finished, tmp_path: Path) -> None:
    made, store = finished.assembly, finished.store
    assert unchecked(made, "ift") == ["exams"], "a model rewrote rows after they were held against it"
    assert unchecked(made, "exams") == ["exams"]
    (check,) = checks(made, store, "ift")
    assert (check.against, check.rejected, check.kinds) == (("exams",), 1, {"in_test_set": {"en": 1}})
    write_cards(made, store)
    write_stage_card(made, store, made.stages[1], {})
    text = store.card("ift").read_text("utf-8")
    assert "were held against `exams` (step apart): 1 rejected.\n  - in_test_set: 1 (en 1)\n" in text
    assert "**Not checked against `exams` since a model last wrote to it**" in text
    assert (
        "**Not checked against `exams`**, which the recipe scores models on. The recipe trains on it nevertheless"
        in (store.card("exams").read_text("utf-8"))
    )
    model = store.stage_card("second").read_text("utf-8")
    assert "**`exams` was not checked against `exams`**" in model and "(`allow_unchecked`)" in model


def test_the_cards_tell_that_nothing_is_scored(finished, small_assembly: Make) -> None:
    text = RECIPE[: RECIPE.index("eval:\n")].replace("[{use: apart, against: eval}]", "[{use: tidy}]")
    made, store = small_assembly(text), RunFolder(finished.store.root)
    write_stage_card(made, store, made.stages[0].model_copy(update={"data": "exams"}), {})
    assert "The recipe scores nothing, so there was nothing to check against." in store.stage_card("first").read_text(
        "utf-8"
    )
