"""Guards inside the augmenters: what each finds, and what is rejected by name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.guarding import BAD, GOOD, LONGER, MENDED, PACKS, PASSAGE, SHORT, Model, one, pairs, row, run

from langmill.api import Chat, Choice, Drop, MissingInput, Row, Skip, Text
from langmill_plugins.augmenters.ask import Ask
from langmill_plugins.augmenters.expand import Expand
from langmill_plugins.augmenters.explain import Explain
from langmill_plugins.augmenters.translate import Translate

# --- each guard ---

PILL = row(Chat.of(
    "Which dose of IL-6 inhibitor is given to the left knee, and is it safe?",
    "At least 5 mg is given orally once a day for a week. It is not safe in pregnancy, as the trials of the drug have shown.",
))  # fmt: skip
PILULE = {
    "question": "Quelle dose d'inhibiteur de l'IL-6 est administrée au genou gauche, et est-elle sûre ?",
    "answer": "Au moins 5 mg sont administrés par voie orale une fois par jour pendant une semaine. Cela n'est pas sûr pendant la "
    "grossesse, comme l'ont montré les essais du médicament.",
}


def told(drop: Drop | Row | Skip) -> list[str]:
    """The names of all faults that a reject tells."""
    assert isinstance(drop, Drop)
    return [drop.reason, *re.findall(r"(?:^|; )(\w+): ", drop.detail)]


def spoilt(what: str, old: str, new: str) -> dict[str, str]:
    assert old in PILULE[what]
    return PILULE | {what: PILULE[what].replace(old, new)}


TRANSLATIONS = {
    "numbers": ("changed_number", spoilt("answer", "5 mg", "6 mg")),
    "units": ("changed_unit", spoilt("answer", "5 mg", "5 g")),
    "negation": ("changed_negation", spoilt("answer", "n'est pas sûr", "est sûr")),
    "sides": ("changed_side", spoilt("question", "gauche", "droit")),
    "comparisons": ("changed_comparison", spoilt("answer", "Au moins", "Au plus")),
    "names": ("changed_name", spoilt("question", "IL-6", "IL-8")),
    "language": ("wrong_language", PILULE | {"answer": "La dosis es de 5 mg por vía oral una vez al día durante una semana, como "
                                             "mínimo. No es segura en el embarazo, según los ensayos."}),
    "chatter": ("chatter", spoilt("answer", "Au moins", "Voici la traduction : Au moins")),
    "leaks": ("prompt_leak", spoilt("answer", "médicament.", "médicament. <answer>")),
    "loops": ("loop", spoilt("answer", "médicament.", "médicament, " * 40)),
    "length": ("too_long", spoilt("answer", "médicament.", "médicament, " + "et de beaucoup d'autres choses encore que nul ne "
               "saurait dire ici en peu de mots, tant elles sont nombreuses et diverses selon les auteurs de cette étude, " * 6)),
    "untranslated": ("untranslated", PILULE | {"question": PILL.body.question}),  # type: ignore[union-attr]
}  # fmt: skip


def test_a_good_translation_passes_every_guard() -> None:
    assert isinstance(one(Translate(into=("fr",)), PILL, Model({"translate.fr": [PILULE]})), Row)


@pytest.mark.parametrize("guard", TRANSLATIONS)
def test_each_guard_finds_its_fault_and_can_be_switched_off(guard: str) -> None:
    reason, said = TRANSLATIONS[guard]
    on = one(Translate(into=("fr",), repair=False), PILL, Model({"translate.fr": [said]}))
    assert isinstance(on, Drop) and reason in told(on), on
    off = one(Translate(into=("fr",), repair=False, guards={guard: False}), PILL, Model({"translate.fr": [said]}))
    assert isinstance(off, Row) or reason not in told(off), off
    none = one(Translate(into=("fr",), repair=False, guards=False), PILL, Model({"translate.fr": [said]}))
    assert isinstance(none, Row)


def test_guards_tell_which_are_on_and_unknown_ones_are_refused() -> None:
    part = Translate(into=("fr",), guards={"sides": False}, judge={"llm": "big"})
    assert [name for name, on in part.guarded().items() if not on] == ["sides"]
    assert part.models() == ("llm", "big") and Translate(into=("fr",), llm="x", judge={}).models() == ("x",)
    assert not any(Translate(into=("fr",), guards=False).guarded().values())
    assert Ask(support=0).guarded()["support"] is False and Ask().guarded()["standalone"]
    for cls, options in ((Translate, {"into": ("fr",)}), (Expand, {}), (Explain, {}), (Ask, {})):
        with pytest.raises(ValidationError, match="numbrs"):
            cls(**options, guards={"numbrs": False})


def test_options_keep_their_places() -> None:
    item = row(Choice("Which drug lowers fever?", ("Amoxicillin 500 mg", "Paracetamol 1 g", "Insulin"), (1,)))
    said = {"question": "Quel médicament fait baisser la fièvre ?", "explanation": "", "context": ""}

    def made(*options: tuple[str, str], **more: Any) -> Row | Drop | Skip:
        reply = said | {"options": [{"letter": letter, "text": text} for letter, text in options]}
        return one(Translate(into=("fr",), repair=False, **more), item, Model({"translate.fr": [reply]}))

    a, b, c = ("A", "Amoxicilline 500 mg"), ("B", "Paracétamol 1 g"), ("C", "Insuline")
    sound = made(a, b, c)
    assert isinstance(sound, Row) and isinstance(sound.body, Choice) and sound.body.answers == (1,)
    assert sound.body.options == ("Amoxicilline 500 mg", "Paracétamol 1 g", "Insuline")
    for options in ((b, a, c), (a, a, c), (("A", b[1]), ("B", a[1]), c), (a, ("C", b[1]), ("B", c[1]))):
        drop = made(*options)
        assert isinstance(drop, Drop) and drop.reason == "options_order", (options, drop)
    drop = made(a, b, ("C", "Insuline 5 mg"))
    assert isinstance(drop, Drop) and drop.reason == "changed_number" and "option C: " in drop.detail


def test_terms_stay_and_a_glossary_is_kept_to(tmp_path: Path) -> None:
    item = row(Chat.of("What is AcmeScan for?", "AcmeScan is a device that finds myocardial infarction early on."))
    said = {
        "question": "À quoi sert l'AcmeScan ?",
        "answer": "L'AcmeScan est un appareil qui détecte tôt l'infarctus du myocarde.",
    }
    other = {"question": "À quoi sert l'appareil ?", "answer": "C'est un appareil qui détecte tôt la crise cardiaque."}
    terms = tmp_path / "terms.csv"
    terms.write_text("source,target\nmyocardial infarction,infarctus du myocarde\n", "utf-8")
    guards = {"keep": ("AcmeScan",), "glossary": str(terms)}
    part = Translate(into=("fr",), repair=False, guards=guards)
    assert isinstance(one(part, item, Model({"translate.fr": [said]})), Row)
    drop = one(part, item, Model({"translate.fr": [other]}))
    assert {"not_kept", "glossary"} <= set(told(drop))
    with pytest.raises(MissingInput, match=r"steps\[0\].guards.glossary: nothing at 'no.csv'"):
        run(Translate(into=("fr",), guards={"glossary": "no.csv"}), item, Model({"translate.fr": [said]}))


# --- other augmenters ---


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("", LONGER),
        ("changed_number", LONGER.replace("16", "18")),
        ("changed_negation", "Aspirin can cause Reye syndrome below 16 years of age, and that is a disease of the liver and brain."),
        ("claim_lost", "No, that is not to be done under 16, as everybody will surely know by now from what was told at length."),
        ("wrong_language", "Non, chez les enfants de moins de 16 ans l'aspirine peut provoquer un syndrome de Reye, maladie rare."),
        ("chatter", f"Sure! Here is the longer answer: {LONGER}"),
        ("not_longer", "No."),
    ],
)  # fmt: skip
def test_a_longer_answer_keeps_the_short_ones_claim(reason: str, said: str) -> None:
    made = one(Expand(repair=False), SHORT, Model({"expand": [{"answer": said}]}))
    if reason:
        assert isinstance(made, Drop) and reason in told(made), made
    else:
        assert isinstance(made, Row)


def test_a_yes_stays_a_yes_and_a_side_its_side() -> None:
    yes = row(Chat.of("Is it safe?", "Paracetamol is safe in children; pain on the left side is common."))
    longer = "Paracetamol is safe in children when its dose is kept, and pain on the {} side is common, which soon goes away."
    for said, reason in (
        (longer.format("left"), ""),
        ("No, " + longer.format("left"), "changed_negation"),
        (longer.format("right"), "changed_side"),
    ):
        made = one(Expand(repair=False), yes, Model({"expand": [{"answer": said}]}))
        assert isinstance(made, Drop) == bool(reason) and (not reason or made.reason == reason), made  # type: ignore[union-attr]


def test_a_rationale_comes_to_the_answer() -> None:
    item = row(Choice("Which vitamin prevents scurvy?", ("Retinol", "Ascorbic acid", "Calciferol"), (1,)))
    sound = "Scurvy follows a lack of ascorbic acid, which collagen needs; retinol serves vision."
    wrong = "Scurvy follows a lack of retinol, so the correct answer is retinol and not any other one of them."
    made = one(Explain(repair=False), item, Model({"explain": [{"explanation": sound}]}))
    assert isinstance(made, Row) and isinstance(made.body, Choice) and made.body.explanation == sound
    drop = one(Explain(repair=False), item, Model({"explain": [{"explanation": wrong}]}))
    assert isinstance(drop, Drop) and drop.reason == "argues_for_another"
    mended = one(
        Explain(), item, Model({"explain": [{"explanation": wrong}], "explain.repair": [{"explanation": sound}]})
    )
    assert isinstance(mended, Row) and mended.flags == ("repaired",)
    off = one(Explain(guards={"conclusion": False}), item, Model({"explain": [{"explanation": wrong}]}))
    assert isinstance(off, Row)


def test_a_pair_is_rejected_alone_and_mended_alone() -> None:
    item = row(Text(PASSAGE))
    kept, dropped = run(Ask(), item, Model({"ask": [pairs(GOOD, BAD)], "ask.repair": [pairs(GOOD, BAD)]}))
    assert isinstance(kept, Row) and kept.id == "s/1/ask.0"
    assert isinstance(dropped, Drop) and dropped.reason == "changed_number" and "200 mg" in dropped.detail
    model = Model({"ask": [pairs(GOOD, BAD)], "ask.repair": [pairs(GOOD, MENDED)]})
    rows = [item for item in run(Ask(), item, model) if isinstance(item, Row)]
    assert [item.id for item in rows] == ["s/1/ask.0", "s/1/ask.1"]
    assert [item.flags for item in rows] == [(), ("repaired",)], "the first one was sound from the beginning"
    assert [[mark.step for mark in item.origin.marks] for item in rows] == [["ask"], ["ask", "ask.repair"]]
    assert "pair 2: " in model.prompts[1].messages[-1].content and "pair 1" not in model.prompts[1].messages[-1].content


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Which two forms of iron are given?", "Tablets are taken by mouth, and infusions are given into a vein.", ""),
        ("How many grams of iron do adults hold?", "4", ""),
        (
            "How is iron given?",
            "Infusions of 1 g of iron are given once a day into a vein.",
            "",
        ),  # once a day is said of tablets
        ("How is iron given?", "Infusions of iron are given twice a day into a vein.", "changed_frequency"),
        ("How much iron do adults hold?", "Adults hold about 4 mg of iron.", "changed_unit"),
        ("How much iron do adults hold?", "Adults hold about 5 g of iron.", "changed_number"),
        ("How much iron do adults hold?", "According to the text, adults hold about 4 g of iron.", "not_standalone"),
        ("Who wrote about kings of old?", "Shakespeare did, in several dramas.", "not_supported"),
    ],
)
def test_a_pair_states_what_its_passage_states(question: str, answer: str, reason: str) -> None:
    made = one(Ask(repair=False), row(Text(PASSAGE)), Model({"ask": [pairs((question, answer))]}))
    assert made.reason == reason if isinstance(made, Drop) else not reason, made


@pytest.mark.parametrize("code", sorted(PACKS))
def test_every_pack_says_how_a_text_is_spoken_of(code: str) -> None:
    assert PACKS[code].cues and PACKS[code].cues.passage


def test_a_language_that_says_nothing_of_passages_is_not_checked() -> None:
    from langmill_plugins.guards.claims import speaks_of_text

    assert speaks_of_text("According to the passage, what is iron?", PACKS["en"])
    for bare in (
        replace(PACKS["en"], cues=None),
        replace(PACKS["en"], cues=PACKS["en"].cues.model_copy(update={"passage": ()})),
    ):  # type: ignore[union-attr]
        assert speaks_of_text("According to the passage, what is iron?", bare) == []
