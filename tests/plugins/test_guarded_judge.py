"""Second opinions of what guards found nothing in: a judge, further answers, a translation back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.guarding import (
    ANSWER,
    BAD,
    FRENCH,
    GOOD,
    LONGER,
    MENDED,
    PACKS,
    PARACETAMOL,
    PASSAGE,
    QUESTION,
    SHORT,
    SOUND,
    WRONG,
    Model,
    one,
    pairs,
    row,
    run,
)

from langmill.api import Augmenter, Choice, Drop, Row, Skip, StepContext, Text
from langmill_plugins.augmenters.ask import Ask
from langmill_plugins.augmenters.expand import Expand
from langmill_plugins.augmenters.translate import Translate

# --- judge ---


def test_a_judges_mark_stays_on_the_row() -> None:
    model = Model({"translate.fr": [FRENCH], "translate.fr.judge": [SOUND]})
    made = one(Translate(into=("fr",), judge={}), PARACETAMOL, model)
    assert isinstance(made, Row) and made.flags == ()
    assert [mark.step for mark in made.origin.marks] == ["translate.fr", "translate.fr.judge"]
    assert made.origin.marks[1].prompt.startswith("fr/judge@")
    shown = model.prompts[1].messages[-1].content
    assert ANSWER in shown and FRENCH["answer"] in shown


def test_a_low_mark_is_a_fault_like_any_other() -> None:
    low = SOUND | {"safe": 2, "reason": "The dose is for adults alone."}
    other = FRENCH | {"answer": "Un adulte peut prendre jusqu'à 4 g de paracétamol en 24 heures."}
    model = Model({"translate.fr": [FRENCH], "translate.fr.repair": [other], "translate.fr.judge": [low]})
    made = one(Translate(into=("fr",), judge={"least": 3}), PARACETAMOL, model)
    assert (
        isinstance(made, Drop)
        and made.reason == "judged"
        and "safe 2 of 5: The dose is for adults alone." in made.detail
    )
    assert model.asked == ["translate.fr", "translate.fr.judge", "translate.fr.repair", "translate.fr.judge"]
    assert "safe 2 of 5" in model.prompts[2].messages[-1].content
    assert isinstance(one(Translate(into=("fr",), judge={"least": 2}), PARACETAMOL, model), Row)


def test_a_judge_is_asked_of_sound_answers_alone_and_of_one_row_at_a_time() -> None:
    model = Model(
        {"translate.fr": [WRONG], "translate.fr.repair": [WRONG], "ask": [pairs(GOOD, MENDED)], "ask.judge": [SOUND]}
    )
    one(Translate(into=("fr",), judge={}), PARACETAMOL, model)
    assert "translate.fr.judge" not in model.asked
    first, second = run(Ask(judge={}), row(Text(PASSAGE)), model)
    assert isinstance(first, Row) and isinstance(second, Row)
    shown = [prompt.messages[-1].content.split("<text>")[1] for prompt in model.prompts[-2:]]
    assert GOOD[1] in shown[0] and MENDED[1] not in shown[0] and MENDED[1] in shown[1] and GOOD[1] not in shown[1]


def test_another_model_judges_where_one_is_named() -> None:
    big = Model({"translate.fr.judge": [SOUND]}, name="big/one")
    made = one(Translate(into=("fr",), judge={"llm": "big"}), PARACETAMOL, Model({"translate.fr": [FRENCH]}),
               models=lambda name: {"big": big}[name])  # fmt: skip
    assert isinstance(made, Row) and [mark.model for mark in made.origin.marks] == ["scripted/test", "big/one"]
    english, writer = Model({}, languages=frozenset({"en"})), Model({"translate.fr": [FRENCH]})
    skip = one(Translate(into=("fr",), judge={"llm": "big"}), PARACETAMOL, writer, models=lambda name: english)
    assert isinstance(skip, Skip) and skip.reason == "language_not_written" and writer.asked == [], "nothing was paid"


@pytest.mark.parametrize("useless", ["refusal", "truncated", {"faithful": 9}])
def test_a_judge_of_no_use_rejects_without_a_repair(useless: Any) -> None:
    model = Model({"translate.fr": [FRENCH], "translate.fr.judge": [useless]})
    made = one(Translate(into=("fr",), judge={}), PARACETAMOL, model)
    assert isinstance(made, Drop) and made.reason == "not_judged" and "translate.fr.repair" not in model.asked


# --- agreement ---


def test_further_answers_must_agree() -> None:
    strange = {
        "question": "Que faire ?",
        "answer": "Il faut demander au pharmacien, 4 g en 24 heures étant trop pour certains.",
    }
    model = Model({"translate.fr": [FRENCH, FRENCH, FRENCH, strange]})
    made = one(Translate(into=("fr",), agreement={"n": 3, "least": 0.6}), PARACETAMOL, model)
    assert isinstance(made, Row) and model.asked == [
        "translate.fr",
        *(f"translate.fr#{number}" for number in (1, 2, 3)),
    ]
    for further in ([strange], [WRONG], ["refusal"]):
        model = Model({"translate.fr": [FRENCH, *further]})
        drop = one(Translate(into=("fr",), repair=False, agreement={"n": 2}), PARACETAMOL, model)
        assert isinstance(drop, Drop) and drop.reason == "disagreed" and "least 0.6" in drop.detail, further
    longer = Model(
        {"expand": [{"answer": LONGER}, {"answer": LONGER}, {"answer": LONGER.replace("die.", "will die.")}]}
    )
    assert isinstance(one(Expand(agreement={"n": 2}), SHORT, longer), Row)


def test_a_translation_back_is_held_against_the_source() -> None:
    home = {"question": "How much paracetamol may an adult take per day?", "answer": ANSWER.replace("may", "can")}
    part = Translate(into=("fr",), repair=False, agreement={"back_translation": True})
    model = Model({"translate.fr": [FRENCH], "translate.fr.back": [home]})
    assert isinstance(one(part, PARACETAMOL, model), Row) and model.asked == ["translate.fr", "translate.fr.back"]
    assert FRENCH["answer"] in model.prompts[1].messages[-1].content and model.prompts[1].hash.startswith(
        "en/translate@"
    )
    for far in (
        home | {"answer": home["answer"].replace("4 g", "4 mg")},
        {"question": "What is it?", "answer": "Ask a doctor."},
    ):
        drop = one(part, PARACETAMOL, Model({"translate.fr": [FRENCH], "translate.fr.back": [far]}))
        assert isinstance(drop, Drop) and drop.reason == "disagreed"
    item = row(Choice("Which vitamin prevents scurvy?", ("Vitamin A", "Vitamin C"), (1,)))
    there = {"question": "Quelle vitamine prévient le scorbut ?", "explanation": "", "context": "",
             "options": [{"letter": "A", "text": "Vitamine A"}, {"letter": "B", "text": "Vitamine C"}]}  # fmt: skip
    back = there | {"question": "Which vitamin prevents scurvy?",
                    "options": [{"letter": "A", "text": "Vitamin A"}, {"letter": "B", "text": "Vitamin C"}]}  # fmt: skip
    assert isinstance(one(part, item, Model({"translate.fr": [there], "translate.fr.back": [back]})), Row)


# --- before a run ---


def test_calls_that_may_follow_an_answer_are_foretold() -> None:
    context = StepContext("datasets.x.steps[0]", 17, PACKS, Path())

    def told(part: Augmenter, step: str, language: str = "fr") -> dict[str, tuple[str, tuple[float, float]]]:
        return {each.step: (each.model, each.share) for each in part.followed(PARACETAMOL, step, language, context)}

    plain = told(Translate(into=("fr",)), "translate.fr")
    assert list(plain) == ["translate.fr.repair"] and plain["translate.fr.repair"][0] == "llm"
    assert told(Translate(into=("fr",), repair=False), "translate.fr") == {}
    judged = Translate(into=("fr",), judge={"llm": "big"}, agreement={"n": 3})
    assert told(judged, "translate.fr")["translate.fr.judge"][0] == "big"
    assert told(judged, "translate.fr")["translate.fr"] == ("llm", (0.7 * 3, 1.25 * 3))
    assert list(told(judged, "translate.fr.repair")) == ["translate.fr.judge"]
    assert told(judged, "translate.fr.judge") == {}
    back = Translate(into=("fr",), repair=False, agreement={"back_translation": True})
    assert list(told(back, "translate.fr")) == ["translate.fr.back"]
    assert told(Ask(count=4, judge={}), "ask", "en")["ask.judge"] == ("llm", (0.7 * 4, 1.25 * 4))
    assert list(told(Expand(agreement={}), "expand", "en")) == ["expand.repair", "expand"]


# --- each pair by itself ---


def judging(**marks: Any) -> Any:
    """A judge that has something else than full marks for texts with some words in them."""

    def said(prompt: Any) -> Any:
        text = prompt.messages[-1].content.split("<text>")[1]
        return next((other for words, other in marks.items() if words in text), SOUND)

    return said


def test_a_judge_of_no_use_for_one_pair_rejects_that_pair_alone() -> None:
    for useless in ("refusal", "schema"):
        model = Model({"ask": [pairs(GOOD, MENDED)], "ask.judge": [judging(tablets=useless)]})
        kept, dropped = run(Ask(judge={}), row(Text(PASSAGE)), model)
        assert isinstance(kept, Row) and [mark.step for mark in kept.origin.marks] == ["ask", "ask.judge"]
        assert isinstance(dropped, Drop) and dropped.reason == "not_judged" and "ask.repair" not in model.asked
    with_another = Model({"ask": [pairs(MENDED, SPOILT)], "ask.repair": [pairs(MENDED, GOOD)],
                          "ask.judge": [judging(tablets="refusal")]})  # fmt: skip
    dropped, mended = run(Ask(judge={}), row(Text(PASSAGE)), with_another)
    assert isinstance(dropped, Drop) and dropped.reason == "not_judged"
    assert isinstance(mended, Row) and mended.flags == ("repaired",)
    assert "not_judged" not in with_another.prompts[2].messages[-1].content, "that is nothing to mend"


SPOILT = (GOOD[0], "Adults hold about 5 g of iron.")


def test_each_pair_has_the_marks_of_its_own_judge() -> None:
    low = SOUND | {"faithful": 1, "reason": "no"}
    said = [pairs(GOOD, BAD)]
    model = Model({"ask": said, "ask.repair": [pairs(GOOD, MENDED)], "ask.judge": [SOUND]})
    first, second = run(Ask(judge={}), row(Text(PASSAGE)), model)
    assert isinstance(first, Row) and isinstance(second, Row)
    assert [mark.step for mark in first.origin.marks] == ["ask", "ask.judge"]
    assert [mark.step for mark in second.origin.marks] == ["ask", "ask.repair", "ask.judge"]
    assert model.asked == ["ask", "ask.judge", "ask.repair", "ask.judge"], "a pair is judged once"
    model = Model(
        {"ask": [pairs(GOOD, MENDED)], "ask.repair": [pairs(GOOD, MENDED)], "ask.judge": [judging(tablets=low)]}
    )
    kept, dropped = run(Ask(judge={}), row(Text(PASSAGE)), model)
    assert isinstance(kept, Row) and kept.flags == () and isinstance(dropped, Drop) and dropped.reason == "judged"


def test_a_skip_for_the_judges_languages_says_that_it_is_the_judge() -> None:
    english = Model({}, languages=frozenset({"en"}), name="big/one")
    part = Translate(into=("fr",), judge={"llm": "big"})
    skip = one(part, PARACETAMOL, Model({}), models=lambda name: english)
    assert isinstance(skip, Skip) and skip.detail == "the judge big/one does not write fr"


def test_further_answers_leave_their_marks() -> None:
    model = Model({"translate.fr": [FRENCH]})
    made = one(Translate(into=("fr",), agreement={"n": 2}), PARACETAMOL, model)
    assert isinstance(made, Row) and [mark.call for mark in made.origin.marks] == [
        f"translate.fr-{sample}-{len(model.prompts[0].messages)}" for sample in (0, 1, 2)
    ]
    home = {"question": "How much paracetamol may an adult take per day?", "answer": ANSWER}
    model = Model({"translate.fr": [FRENCH], "translate.fr.back": [home], "translate.fr.judge": [SOUND]})
    made = one(Translate(into=("fr",), judge={}, agreement={"back_translation": True}), PARACETAMOL, model)
    assert isinstance(made, Row)
    assert [mark.step for mark in made.origin.marks] == ["translate.fr", "translate.fr.back", "translate.fr.judge"]


def test_only_numbers_that_differ_are_sent_back() -> None:
    part = Translate(into=("fr",), agreement={"n": 2})
    model = Model({"translate.fr": [FRENCH, WRONG, FRENCH], "translate.fr.repair": [FRENCH]})
    one(part, PARACETAMOL, model)
    asked = model.prompts[model.asked.index("translate.fr.repair")].messages[-1].content
    assert "disagreed: 4 g in this answer, 40 g in further answer 1" in asked
    strange = {"question": "Que faire ?", "answer": "Il faut demander au pharmacien : 4 g en 24 heures, non ?"}
    model = Model({"translate.fr": [FRENCH, strange]})
    made = one(part, PARACETAMOL, model)
    assert isinstance(made, Drop) and made.reason == "disagreed" and "translate.fr.repair" not in model.asked
    back = Translate(into=("fr",), agreement={"back_translation": True})
    home = {"question": QUESTION, "answer": ANSWER.replace("4 g", "4 mg")}
    model = Model({"translate.fr": [FRENCH], "translate.fr.back": [home], "translate.fr.repair": [FRENCH]})
    made = one(back, PARACETAMOL, model)
    assert isinstance(made, Drop) and "4 g in the source, 4 mg in its translation back" in made.detail


# --- the card ---


def test_the_card_is_told_what_else_checks_an_answer() -> None:
    assert Translate(into=("fr",)).further_checks() == () and Ask().further_checks() == ()
    part = Translate(
        into=("fr",), repair=False, judge={"llm": "big"}, agreement={}, guards={"glossary": "a.csv", "keep": ("x", "y")}
    )
    assert part.further_checks() == (
        "repair off",
        "judged by big, 4 of 5 at least",
        "3 further answers, 0.6 alike at least",
        "glossary a.csv",
        "kept: 2 terms",
    )
    back = Translate(into=("fr",), llm="small", judge={}, agreement={"back_translation": True})
    assert back.further_checks() == ("judged by small, 4 of 5 at least", "translated back, 0.6 alike at least")
    assert Expand(agreement={"n": 1, "least": 0.5}).further_checks() == ("1 further answer, 0.5 alike at least",)
