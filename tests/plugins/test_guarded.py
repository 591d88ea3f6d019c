"""Guards inside the augmenters: what is found goes back to the model once, and what is found then rejects by name."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel, ValidationError

from langmill.api import (
    Augmenter,
    Body,
    Chat,
    Choice,
    Drop,
    Mark,
    MissingInput,
    Origin,
    Prompt,
    Reply,
    Row,
    RowFault,
    Skip,
    StepContext,
    Text,
    packs_in,
)
from langmill.pipeline.again import made_of
from langmill_plugins.augmenters.ask import Ask
from langmill_plugins.augmenters.expand import Expand
from langmill_plugins.augmenters.explain import Explain
from langmill_plugins.augmenters.translate import Translate

sys.path.append(str(Path(__file__).resolve().parents[1]))
Provider = importlib.import_module("provider").Provider
NASTY = importlib.import_module("nasty").NASTY
Schema = TypeVar("Schema", bound=BaseModel)
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}

QUESTION = "How much paracetamol may an adult take in one day?"
ANSWER = "An adult may take no more than 4 g of paracetamol in 24 hours."
FRENCH = {
    "question": "Quelle quantité de paracétamol un adulte peut-il prendre par jour ?",
    "answer": "Un adulte peut prendre au plus 4 g de paracétamol en 24 heures.",
}
WRONG = FRENCH | {"answer": "Un adulte peut prendre au plus 40 g de paracétamol en 24 heures."}
SOUND = {"reason": "", "faithful": 5, "complete": 5, "safe": 5}


@dataclass
class Model:
    """Says what a step's list has for the call's sample, and the last of it beyond; texts in the list are reasons to fail."""

    answers: Mapping[str, Sequence[Any]]
    languages: frozenset[str] | None = None
    name: str = "scripted/test"
    asked: list[str] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)

    async def answer(
        self, prompt: Prompt, schema: type[Schema], *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Schema]:
        self.asked.append(f"{step}#{sample}" if sample else step)
        self.prompts.append(prompt)
        said = self.answers[step][min(sample, len(self.answers[step]) - 1)]
        if isinstance(said, str):
            raise RowFault(said)
        try:
            value = schema.model_validate(said)
        except ValidationError as fault:
            raise RowFault("schema", str(fault)) from None
        return Reply(value, (Mark(step, self.name, prompt.hash, f"{step}-{sample}-{len(prompt.messages)}"),))


def row(body: Body, language: str = "en") -> Row:
    return Row("s/1", language, "train", "f", body, Origin("s", "1", ("CC0-1.0",)))


def run(part: Augmenter, item: Row, model: Model, **more: Any) -> Sequence[Row | Drop | Skip]:
    context = StepContext("datasets.x.steps[0]", 17, PACKS, Path(), llm=model, **more)
    return asyncio.run(made_of(part, item, context))


def one(part: Augmenter, item: Row, model: Model, **more: Any) -> Row | Drop | Skip:
    [made] = run(part, item, model, **more)
    return made


PARACETAMOL = row(Chat.of(QUESTION, ANSWER))


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
    assert "changed_number: answer: " in made.detail and model.asked == ["translate.fr", "translate.fr.repair"]


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
    assert isinstance(on, Drop) and f"{reason}: " in on.detail, on
    off = one(Translate(into=("fr",), repair=False, guards={guard: False}), PILL, Model({"translate.fr": [said]}))
    assert isinstance(off, Row) or f"{reason}: " not in off.detail, off
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
    assert isinstance(drop, Drop) and "not_kept: " in drop.detail and "glossary: " in drop.detail
    with pytest.raises(MissingInput, match=r"steps\[0\].guards.glossary: nothing at 'no.csv'"):
        run(Translate(into=("fr",), guards={"glossary": "no.csv"}), item, Model({"translate.fr": [said]}))


# --- other augmenters ---

SHORT = row(Chat.of("Is aspirin safe in children with fever?", "No, it can cause Reye syndrome below 16 years."))
LONGER = (
    "No. In children with fever aspirin can cause Reye syndrome, a rare disease of liver and brain, so that it is not given "
    "below 16 years of age; about 1 in 3 of those who fall ill die."
)


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
        assert isinstance(made, Drop) and f"{reason}: " in made.detail, made
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


PASSAGE = (
    "Iron is part of haemoglobin. Adults hold about 4 g of iron, 65% of it in haemoglobin. Tablets of 100 mg are taken once a day "
    "by mouth; infusions of 1 g are given into a vein."
)


def pairs(*found: tuple[str, str]) -> dict[str, Any]:
    return {"pairs": [{"question": question, "answer": answer} for question, answer in found]}


GOOD = ("How much iron do adults hold?", "Adults hold about 4 g of iron, and of these 4 g 65% is in haemoglobin.")
BAD = ("How are tablets of iron taken?", "Tablets of 200 mg are taken once a day by mouth.")
MENDED = ("How are tablets of iron taken?", "Tablets of 100 mg are taken once a day by mouth.")


def test_a_pair_is_rejected_alone_and_mended_alone() -> None:
    item = row(Text(PASSAGE))
    kept, dropped = run(Ask(), item, Model({"ask": [pairs(GOOD, BAD)], "ask.repair": [pairs(GOOD, BAD)]}))
    assert isinstance(kept, Row) and kept.id == "s/1/ask.0"
    assert isinstance(dropped, Drop) and dropped.reason == "changed_number" and "200 mg" in dropped.detail
    model = Model({"ask": [pairs(GOOD, BAD)], "ask.repair": [pairs(GOOD, MENDED)]})
    rows = [item for item in run(Ask(), item, model) if isinstance(item, Row)]
    assert [item.id for item in rows] == ["s/1/ask.0", "s/1/ask.1"] and all(
        item.flags == ("repaired",) for item in rows
    )
    assert [mark.step for mark in rows[1].origin.marks] == ["ask", "ask.repair"]
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


# --- odd texts ---


@pytest.mark.parametrize("index", range(len(NASTY)))
def test_guards_get_over_any_text(index: int) -> None:
    text = NASTY[index]
    short, english = text[:2500], "What is it? It is 5 mg."
    for said in (text, english):
        piece = (said or "x")[:600]
        parts: list[tuple[Augmenter, Body, dict[str, Any]]] = [
            (Translate(into=("zh",), most_characters=10**7), Chat.of(text, text), {"translate.zh": [{"question": piece, "answer": piece}]}),
            (Translate(into=("fr",), most_characters=10**7), Choice(text, (text, "b"), (0,), explanation=text or None), {
                "translate.fr": [{"question": piece, "options": [{"letter": "A", "text": piece}, {"letter": "B", "text": "c"}],
                                  "explanation": piece if text else "", "context": ""}]}),
            (Expand(most_characters=10**7), Chat.of(text, short), {"expand": [{"answer": (piece * 99)[:4000]}]}),
            (Explain(), Choice(text, (text, "b"), (0,)), {"explain": [{"explanation": piece}]}),
            (Ask(most_characters=10**7), Text(text), {"ask": [pairs((piece, piece))]}),
        ]  # fmt: skip
        for part, body, answers in parts:
            model = Model({**answers, **{f"{step}.repair": said for step, said in answers.items()}})
            for made in run(part, row(body), model):
                assert isinstance(made, Row) or made.reason


# --- real runs ---

RECIPE = """\
name: small
languages: [en, fr]
run: {workers: 1}
llm: {model: openai/translator, api_base: URL, prices: {input: 1, output: 2}}
sources:
  qa: {use: jsonl, path: data/qa.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa], steps: [{use: translate, into: [fr]}]}
"""


def reply(said: Any) -> dict[str, str]:
    """What a provider sends, whole."""
    choice = {"index": 0, "message": {"role": "assistant", "content": json.dumps(said)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    body = {
        "id": "r",
        "object": "chat.completion",
        "created": 0,
        "model": "translator",
        "choices": [choice],
        "usage": usage,
    }
    return {"text": json.dumps(body)}


@pytest.fixture
def dosed(bench: Any) -> Callable[[str, str], None]:
    """One row with a dose in it, and a recipe that translates it."""
    record = {"id": "a", "language": "en", "split": "train", "question": QUESTION, "answer": ANSWER}
    bench.write("data/qa.jsonl", json.dumps(record) + "\n")

    def ready(url: str, options: str = "") -> None:
        bench.write("small.yaml", RECIPE.replace("URL", url).replace("into: [fr]", f"into: [fr]{options}"))

    return ready


def test_a_run_mends_a_dose_and_its_ledger_has_the_money_of_both_calls(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(WRONG), reply(FRENCH)]) as provider:
        dosed(provider.url)
        assert bench.factory("run", "small.yaml").code == 0
        [made] = [item for item in bench.rows("open") if item.language == "fr"]
        assert made.body.answer == FRENCH["answer"] and made.flags == ("repaired",)
        assert [mark.step for mark in made.origin.marks] == ["translate.fr", "translate.fr.repair"]
        calls = bench.calls()
        assert [call["step"] for call in calls] == ["translate.fr", "translate.fr.repair"]
        assert [call["cost"] for call in calls] == [200_000, 200_000], "100 and 50 tokens, in billionths of a dollar"
        assert {call["key"] for call in calls} == {mark.call for mark in made.origin.marks}
        assert bench.funnel("open")["translate fr"]["flagged:repaired"] == 1
        again = bench.factory("run", "small.yaml")
        assert again.code == 0 and "open: translate (kept)" in again.err
        assert sum(provider.seen()["requests"].values()) == 2


def test_what_no_repair_mends_is_rejected_and_can_be_tried_again(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(WRONG), reply(WRONG), reply(FRENCH)]) as provider:
        dosed(provider.url)
        assert bench.factory("run", "small.yaml").code == 0
        [reject] = bench.rejects("open")
        assert reject.reason == "changed_number" and "4 g" in reject.detail and "40 g" in reject.detail
        said = bench.factory("retry", "runs/small", "--reason", "changed_number")
        assert said.code == 0, said.err
        [made] = [item for item in bench.rows("open") if item.language == "fr"]
        assert made.body.answer == FRENCH["answer"] and made.flags == (), "it was sound at once"
        assert bench.rejects("open") == [] and sum(provider.seen()["requests"].values()) == 3


def test_a_guard_that_is_off_lets_pass_what_it_would_find(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(WRONG)]) as provider:
        dosed(provider.url, ", guards: {numbers: false}")
        assert bench.factory("run", "small.yaml").code == 0
        assert [item.language for item in bench.rows("open")] == ["en", "fr"]


def test_a_recipe_lists_terms_and_names_a_glossary(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(FRENCH)]) as provider:
        dosed(provider.url, ", repair: false, guards: {keep: [AcmeScan], glossary: terms.csv}")
        said = bench.factory("run", "small.yaml")
        assert said.code != 0 and "steps[0].guards.glossary: nothing at 'terms.csv'" in said.err
        bench.write("terms.csv", "source,target\nadult,adulte\n")
        assert bench.factory("run", "small.yaml").code == 0
        assert bench.rejects("open") == [] and len(bench.rows("open")) == 2
        bench.write("terms.csv", "source,target\nadult,grande personne\n")
        again = bench.factory("run", "small.yaml")
        assert again.code == 0, again.err
        assert "open: translate (kept)" not in again.err, "the glossary decides, too"
        assert "glossary: question: adult must be grande personne" in bench.rejects("open")[0].detail
        assert sum(provider.seen()["requests"].values()) == 1


def test_a_misspelt_guard_is_told_with_its_place(bench: Any, dosed: Callable[..., None]) -> None:
    dosed("http://127.0.0.1:9/v1", ", guards: {nubmers: false}")
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "small.yaml:8" in said.err and "Did you mean 'numbers'?" in said.err
    dosed("http://127.0.0.1:9/v1", ", judge: {llm: nobody}")
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "nobody" in said.err
