"""What guards find goes back to the model once, and what is found then rejects by name."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.guarding import (
    BAD,
    FRENCH,
    GOOD,
    MENDED,
    PACKS,
    PARACETAMOL,
    PASSAGE,
    QUESTION,
    WRONG,
    Model,
    one,
    pairs,
    row,
    run,
)

from langmill.api import Chat, Drop, MissingInput, Row, StepContext, Text
from langmill_plugins.augmenters.ask import Ask
from langmill_plugins.augmenters.expand import Expand
from langmill_plugins.augmenters.explain import Explain
from langmill_plugins.augmenters.translate import Translate

# --- repair ---


def test_a_changed_dose_goes_back_to_the_model_and_the_mended_answer_stays() -> None:
    model = Model({"translate.fr": [WRONG], "translate.fr.repair": [FRENCH]})
    made = one(Translate(into=("fr",)), PARACETAMOL, model)
    assert isinstance(made, Row) and made.body == Chat.of(FRENCH["question"], FRENCH["answer"])
    assert made.flags == ("repaired",)
    assert [mark.step for mark in made.origin.marks] == ["translate.fr", "translate.fr.repair"]
    first, said, asked = model.prompts[1].messages[-3:]
    assert QUESTION in first.content and json.loads(said.content) == WRONG
    assert "changed_number: answer: " in asked.content and "4 g" in asked.content and "40 g" in asked.content


def test_an_answer_that_stays_wrong_is_rejected_with_the_named_fault() -> None:
    worse = WRONG | {"question": QUESTION}
    model = Model({"translate.fr": [WRONG], "translate.fr.repair": [worse]})
    made = one(Translate(into=("fr",)), PARACETAMOL, model)
    assert isinstance(made, Drop) and made.reason == "untranslated"
    assert "; changed_number: answer: " in made.detail and model.asked == ["translate.fr", "translate.fr.repair"]


def test_a_useless_mended_answer_leaves_the_first_fault() -> None:
    for useless in ("schema", "refusal"):
        model = Model({"translate.fr": [WRONG], "translate.fr.repair": [useless]})
        made = one(Translate(into=("fr",)), PARACETAMOL, model)
        assert isinstance(made, Drop) and made.reason == "changed_number"


def test_without_repair_a_model_is_asked_once() -> None:
    model = Model({"translate.fr": [WRONG]})
    made = one(Translate(into=("fr",), repair=False), PARACETAMOL, model)
    assert isinstance(made, Drop) and made.reason == "changed_number" and model.asked == ["translate.fr"]


def test_a_sound_answer_is_neither_asked_again_nor_flagged() -> None:
    model = Model({"translate.fr": [FRENCH]})
    made = one(Translate(into=("fr",)), PARACETAMOL, model)
    assert isinstance(made, Row) and made.flags == () and model.asked == ["translate.fr"]


OTHER = ("What are infusions of iron given into?", "Infusions of 1 g of iron are given into a vein.")
AGAIN = ("How many grams of iron do adults hold?", "Adults hold about 4 g of iron in all.")
SPOILT = (GOOD[0], "Adults hold about 5 g of iron.")


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ((GOOD, BAD), (MENDED,), (GOOD, MENDED)),  # the sound one is left out
        ((GOOD, BAD), (MENDED, GOOD), (GOOD, MENDED)),  # they come in another order
        ((GOOD, BAD), (AGAIN, MENDED), (GOOD, MENDED)),  # the sound one in other words
        ((GOOD, BAD), (SPOILT, MENDED), (GOOD, MENDED)),  # the sound one is spoilt
        ((GOOD, BAD), (GOOD, MENDED, OTHER), (GOOD, MENDED, OTHER)),  # one more
        ((BAD, GOOD), (GOOD,), ("changed_number", GOOD)),  # the wrong one is left out
        ((GOOD, BAD), (SPOILT, BAD), (GOOD, "changed_number")),
        ((GOOD, BAD), "schema", (GOOD, "changed_number")),
    ],
)  # fmt: skip
def test_a_repair_takes_no_sound_pair_away(first: Any, second: Any, left: Any) -> None:
    mended = second if second == "schema" else pairs(*second)
    made = run(Ask(count=3), row(Text(PASSAGE)), Model({"ask": [pairs(*first)], "ask.repair": [mended]}))
    said = [(item.body.question, item.body.answer) if isinstance(item, Row) else item.reason for item in made]  # type: ignore[union-attr]
    assert tuple(said) == left
    for pair, item in zip(said, made, strict=True):
        if isinstance(item, Row):
            assert item.flags == (() if pair in first else ("repaired",))
            assert [mark.step for mark in item.origin.marks] == (["ask"] if pair in first else ["ask", "ask.repair"])


# --- what goes wrong beside the answer ---


@pytest.mark.parametrize(
    "error", [ValueError("Exceeds the limit (4300 digits)"), RecursionError("too deep"), KeyError("x")]
)
def test_a_guard_that_fails_costs_a_row_and_no_repair(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def faults(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("langmill_plugins.guards.pairs.faults", faults)
    model = Model({"translate.fr": [FRENCH]})
    made = one(Translate(into=("fr",)), PARACETAMOL, model)
    assert isinstance(made, Drop) and made.reason == "guard_failed" and model.asked == ["translate.fr"]
    assert made.detail.startswith(f"{type(error).__name__}: {error}; written: 'Quelle quantité")


def test_what_is_missing_is_no_fault_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def faults(*_: Any, **__: Any) -> None:
        raise MissingInput("no such thing")

    monkeypatch.setattr("langmill_plugins.guards.pairs.faults", faults)
    with pytest.raises(MissingInput, match="no such thing"):
        run(Translate(into=("fr",)), PARACETAMOL, Model({"translate.fr": [FRENCH]}))


@pytest.mark.parametrize(
    ("package", "guards", "extra"),
    [
        ("ahocorasick_rs", {}, r"langmill\[data\]"),
        ("fasttext", {}, r"langmill\[fasttext\]"),
        ("fasttext", {"language": False}, ""),
        ("ahocorasick_rs", False, ""),
        ("fasttext", False, ""),
    ],
)
def test_a_package_that_is_not_there_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, package: str, guards: Any, extra: str
) -> None:
    parts = [Translate(into=("fr",), guards=guards), Expand(guards=guards), Explain(guards=guards), Ask(guards=guards)]
    monkeypatch.setattr(
        "langmill_plugins.augmenters.guarded.find_spec", lambda name: None if name == package else object()
    )
    for part in parts:
        context = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
        if extra:
            with pytest.raises(MissingInput, match=rf"datasets.x.steps\[0\].guards needs {package}.*{extra}"):
                part.files(context)
        else:
            assert part.files(context) == []


def test_what_guards_read_with_is_opened_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)
    monkeypatch.setattr("langmill_plugins.guards.lexicon._lexicons", {})
    model = Model({"translate.fr": [FRENCH], "ask": [pairs(GOOD)]})
    for part, item in ((Translate(into=("fr",)), PARACETAMOL), (Ask(), row(Text(PASSAGE)))):
        with pytest.raises(MissingInput, match="ahocorasick_rs"):
            run(part, item, model)
        assert model.asked == []
    assert isinstance(one(Translate(into=("fr",), guards=False), PARACETAMOL, model), Row), "nothing is read with"
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(MissingInput, match=r"steps\[0\].guards.language.*fasttext"):
        run(Translate(into=("fr",)), PARACETAMOL, Model({}))


def test_a_long_text_is_read_beside_the_loop_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from langmill_plugins.augmenters import candidates

    threads = []
    real = importlib.import_module("langmill_plugins.guards.pairs").answered

    def answered(*found: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return real(*found)

    monkeypatch.setattr("langmill_plugins.guards.pairs.answered", answered)
    told = []
    for much in (5000, 10):
        monkeypatch.setattr(candidates, "MUCH", much)
        told.append(run(Ask(repair=False), row(Text(PASSAGE)), Model({"ask": [pairs(GOOD, BAD)]})))
    assert told[0] == told[1] and threads == [True, False]


# --- what a reject shows ---


def test_a_reject_shows_what_was_written_where_its_fault_does_not() -> None:
    model = Model({"translate.fr": [WRONG]})
    made = one(Translate(into=("fr",), repair=False), PARACETAMOL, model)
    assert isinstance(made, Drop) and made.detail.endswith(f"; written: '{WRONG['answer']}'")
    long = WRONG | {"answer": "Il le faut. " * 12 + WRONG["answer"] + " Cela suffit." * 12}
    made = one(
        Translate(into=("fr",), repair=False, guards={"loops": False}),
        PARACETAMOL,
        Model({"translate.fr": [long]}),
    )
    assert isinstance(made, Drop) and "40 g de paracétamol" in made.detail.split("; written: '…")[1]
    assert len(made.detail.split("; written: ")[1]) <= 125
    as_it_was = Model({"translate.fr": [FRENCH | {"question": QUESTION}]})
    made = one(Translate(into=("fr",), repair=False), PARACETAMOL, as_it_was)
    assert isinstance(made, Drop) and made.reason == "untranslated" and "written" not in made.detail
