"""Corpus passages made into a question and its answer: what is asked, what is refused, what the plan counts."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.guarding import PACKS, Model, one, run
from tests.public_sets import DATA

from langmill.api import Chat, Drop, MissingInput, Origin, Row, Skip, StepContext, Text
from langmill.pipeline.again import made_of
from langmill_plugins.augmenters.unify import LONGEST, Unify, begin

IRON = (
    "Iron is part of haemoglobin, which carries oxygen in the blood. An adult holds about 4 g of iron, and 65% of it is in "
    "haemoglobin. When iron is short for weeks, the bone marrow makes small, pale red cells, and the person tires easily."
)
ASKED = "Why does a person whose iron is short for weeks tire easily, and where is most of the body's iron?"
ANSWER = (
    "An adult holds about 4 g of iron, 65% of it in haemoglobin, which carries oxygen in the blood. When iron is short for weeks, "
    "the bone marrow makes small and pale red cells, so that the person tires easily."
)
铁 = (
    "铁是血红蛋白的组成部分，血红蛋白在血液中运输氧气。成人体内约有4 g铁，其中65%在血红蛋白中。"
    "缺铁数周后，骨髓产生的红细胞又小又苍白，人容易疲倦。"
)
问 = "缺铁数周的人为什么容易疲倦？体内的铁主要在哪里？"
答 = (
    "成人体内约有4 g铁，其中65%在血红蛋白中，血红蛋白负责在血液中运输氧气。"
    "缺铁数周后，骨髓产生的红细胞又小又苍白，因此人容易疲倦。"
)


def passage(text: str = IRON, language: str = "en", source: str = "web") -> Row:
    return Row(f"{source}/1", language, "train", "f", Text(text), Origin(source, "1", ("CC0-1.0",)))


def says(question: Any = ASKED, answer: Any = ANSWER, **more: Any) -> Model:
    """A model with this to say, and the same again when it is asked to mend it, unless ``more`` (by step) has something else."""
    steps = {"unify": question, "unify.repair": question, "unify.answer": answer, "unify.answer.repair": answer, **more}
    return Model(
        {
            step: [{"answer" if "answer" in step else "question": said} if isinstance(said, str) else said]
            for step, said in steps.items()
        }
    )


def shown(model: Model, number: int) -> str:
    return str(model.prompts[number].messages[-1].content)


def test_two_calls_make_a_conversation() -> None:
    model = says()
    made = one(Unify(), passage(), model)
    assert isinstance(made, Row) and made.body == Chat.of(ASKED, ANSWER)
    assert (made.id, made.language, made.flags) == ("web/1/unify", "en", ())
    assert model.asked == ["unify", "unify.answer"]
    assert [mark.step for mark in made.origin.marks] == ["unify", "unify.answer"]
    assert IRON in shown(model, 0) and str(LONGEST) in shown(model, 0)
    assert ASKED in shown(model, 1) and IRON in shown(model, 1) and "English" in shown(model, 1)


def test_a_passage_becomes_an_instruction_in_another_language() -> None:
    model = says(问, 答)
    made = one(Unify(into="zh"), passage(), model)
    assert isinstance(made, Row), made
    assert (made.id, made.language, made.body) == ("web/1/unify.zh", "zh", Chat.of(问, 答))
    assert "English" in shown(model, 0) and "180" in shown(model, 0) and "中文" in shown(model, 0)
    [drop] = run(Unify(into="zh"), passage(), says())
    assert isinstance(drop, Drop) and drop.reason == "wrong_language"
    home = one(Unify(into="zh"), passage(铁, "zh"), says(问, 答))
    assert isinstance(home, Row) and home.id == "web/1/unify.zh"


def test_a_language_the_model_does_not_write_or_read_is_skipped() -> None:
    for part, item in ((Unify(), passage(铁, "zh")), (Unify(into="zh"), passage())):
        model = says()
        model.languages = frozenset({"en"})
        skip = one(part, item, model)
        assert isinstance(skip, Skip) and skip.reason == "language_not_written" and model.asked == []


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("According to the reference, why does the person tire easily?", "not_standalone"),
        ("What does the passage say about iron and the bone marrow?", "not_standalone"),
        ("Why does a person with 9 g of iron tire so easily?", "changed_number"),
        ("缺铁数周的人为什么容易疲倦？体内的铁主要在哪里？", "wrong_language"),
        ("Why does a person who is short of iron tire easily? " * 12, "question_too_long"),
        ("4 + 4 = ?", "no_question"),
        ("", "schema"),
    ],
)
def test_an_unsound_question_is_mended_once_and_never_answered(question: str, reason: str) -> None:
    model = says(question)
    drop = one(Unify(), passage(), model)
    assert isinstance(drop, Drop) and drop.reason == reason, drop
    assert "unify.answer" not in model.asked
    assert ("unify.repair" in model.asked) == (reason != "schema")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("As stated in the reference material, an adult holds about 4 g of iron.", "not_standalone"),
        (ANSWER.replace("4 g", "40 g"), "changed_number"),
        (ANSWER.replace("4 g", "4 mg"), "changed_unit"),
        (答, "wrong_language"),
        ("Sure! Here is the answer: " + ANSWER, "chatter"),
        ("Giraffes sleep standing under acacia trees whenever lions wander elsewhere.", "not_supported"),
        ((ANSWER + " ") * 4, "repeated_passage"),
        ("", "schema"),
    ],
)
def test_an_unsound_answer_is_mended_once_then_refused(answer: str, reason: str) -> None:
    drop = one(Unify(), passage(), says(answer=answer))
    assert isinstance(drop, Drop), answer
    assert drop.reason == reason or reason == "repeated_passage", drop
    mended = one(Unify(), passage(), says(answer=answer, **{"unify.answer.repair": ANSWER}))
    if reason != "schema":
        assert isinstance(mended, Row) and mended.flags == ("repaired",)
        assert [mark.step for mark in mended.origin.marks] == ["unify", "unify.answer", "unify.answer.repair"]


def test_a_mended_question_is_the_one_that_is_answered() -> None:
    model = says(**{"unify": "What does the passage say about iron?", "unify.repair": ASKED})
    made = one(Unify(), passage(), model)
    assert isinstance(made, Row) and made.flags == ("repaired",) and made.body == Chat.of(ASKED, ANSWER)
    assert "not_standalone" in shown(model, 1) and ASKED in shown(model, 2)


def test_numbers_are_held_against_the_passage_across_languages() -> None:
    assert isinstance(one(Unify(into="zh"), passage(), says(问, 答)), Row)
    drop = one(Unify(into="zh"), passage(), says(问, 答.replace("65%", "56%")))
    assert isinstance(drop, Drop) and drop.reason == "changed_number" and "56" in drop.detail


def test_a_glossary_tells_a_term_that_the_passage_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "terms.csv").write_text("source,target\n骨髓,bone marrow\n糖尿病,diabetes\n", "utf-8")
    part = Unify(into="zh", guards={"glossary": "terms.csv"})  # type: ignore[arg-type]
    strange = 答 + "糖尿病患者也是如此。"

    def made(answer: str) -> Row | Drop | Skip:
        context = StepContext("datasets.x.steps[0]", 17, PACKS, tmp_path, llm=says(问, answer))
        [item] = asyncio.run(made_of(part, passage(), context))
        return item

    assert isinstance(made(答), Row)
    drop = made(strange)
    assert (
        isinstance(drop, Drop) and drop.reason == "glossary" and "diabetes" in drop.detail and "passage" in drop.detail
    )
    assert part.further_checks() == ("glossary terms.csv",)
    with pytest.raises(MissingInput, match=r"no\.csv"):
        Unify(guards={"glossary": "no.csv"}).files(StepContext("x", 1, PACKS, tmp_path))  # type: ignore[arg-type]


def test_caps_are_by_source_and_fall_on_the_end_of_a_sentence() -> None:
    part = Unify(question_characters={"books": 100}, answer_characters={"books": 100})
    model = says("Where is the iron of an adult's blood?", "It is in haemoglobin, which carries oxygen in the blood.")
    made = one(part, passage(IRON, source="books"), model)
    assert isinstance(made, Row)
    first = IRON[: IRON.index("blood.") + 6]
    assert first in shown(model, 0) and "An adult holds" not in shown(model, 0)
    long = IRON + " Iron is kept in the liver." * 40
    model = says("What happens when iron is short for weeks?")
    one(part, passage(long, source="web"), model)
    assert 400 - 27 < len(IRON) + shown(model, 0).count(" Iron is kept in the liver.") * 27 <= 400, "as published"
    drop = one(part, passage(IRON, source="books"), says(answer=ANSWER))
    assert isinstance(drop, Drop) and drop.reason == "changed_number", "what was not shown is no ground"


def test_a_beginning_cuts_no_number_in_two() -> None:
    assert begin("a" * 8 + "1234567890", 12, PACKS["zh"]) == "a" * 8
    assert begin("体重70公斤。" * 3, 12, PACKS["zh"]) == "体重70公斤。"
    assert begin("A dose of 0.5 g was given to them", 20, PACKS["en"]) == "A dose of 0.5 g was"
    assert begin("short", 5, PACKS["en"]) == "short"


def test_a_passage_that_is_too_long_is_skipped_unasked() -> None:
    model = says()
    skip = one(Unify(most_characters=50), passage(), model)
    assert isinstance(skip, Skip) and skip.reason == "passage_too_long" and model.asked == []


def test_the_judge_marks_the_pair_and_not_the_question() -> None:
    sound = {"reason": "", "faithful": 5, "complete": 5, "safe": 5}
    model = says(**{"unify.answer.judge": sound})
    made = one(Unify(judge={"least": 4}), passage(), model)  # type: ignore[arg-type]
    assert isinstance(made, Row) and model.asked == ["unify", "unify.answer", "unify.answer.judge"]
    spoilt = says(**{"unify.answer.judge": sound | {"faithful": 1, "reason": "wrong"}})
    drop = one(Unify(judge={"least": 4}), passage(), spoilt)  # type: ignore[arg-type]
    assert isinstance(drop, Drop) and drop.reason.startswith("judged")


@pytest.mark.parametrize("code", sorted(PACKS))
def test_each_pack_fences_the_passage_and_names_its_language(code: str) -> None:
    pack = PACKS[code]
    assert (
        "<passage>\nX\n</passage>"
        in pack.render("unify_question", passage="X", source="S", most=9).messages[-1].content
    )
    said = pack.render("unify_answer", question="Q", passage="X", source="Deutsch").messages[-1].content
    assert "<question>\nQ\n</question>" in said and "<reference>\nX\n</reference>" in said and "Deutsch" in said


REFERENCES = {
    "en": ("According to the reference, iron is in the liver.", "The reference range of iron is wide."),
    "zh": ("根据参考资料，铁储存在肝脏。", "血红蛋白的参考值因年龄而异。"),
    "ja": ("参考資料によると、鉄は肝臓にある。", "基準値は診療の参考になる。"),
    "ko": ("참고 자료에 따르면 철은 간에 있다.", "검사 결과는 참고치 범위 안에 있다."),
    "fr": ("Selon la référence, le fer est dans le foie.", "Les valeurs de référence varient avec l'âge."),
    "es": ("Según la referencia, el hierro está en el hígado.", "Los valores de referencia varían con la edad."),
    "ru": ("Согласно справочному материалу, железо хранится в печени.", "Материал для биопсии берут иглой."),
}


@pytest.mark.parametrize("code", sorted(REFERENCES))
def test_a_pack_knows_how_its_language_speaks_of_a_reference(code: str) -> None:
    """The published check refuses every answer with the word for reference, and reference ranges with it."""
    from langmill_plugins.guards.claims import speaks_of_text

    told, kept = REFERENCES[code]
    assert speaks_of_text(told, PACKS[code]) and not speaks_of_text(kept, PACKS[code])


def test_the_plan_knows_both_calls() -> None:
    context = StepContext("x", 17, PACKS, Path())
    part, item = Unify(into="zh"), passage()
    question, answer = (part.call_size(item, step, "zh", context) for step in ("unify", "unify.answer"))
    assert question[1] < answer[1] and question[0] < 16 + len(问) < question[1]
    assert answer[0] < 16 + len(答) < answer[1]
    after = {each.step: each for each in part.followed(item, "unify", "zh", context)}
    assert list(after) == ["unify.repair", "unify.answer", "unify.answer.repair"]
    prompt = after["unify.answer"].prompt
    assert prompt and IRON in prompt.messages[-1].content and after["unify.answer"].size == answer
    assert [each.step for each in part.followed(item, "unify.answer", "zh", context)] == ["unify.answer.repair"]
    assert not list(part.followed(item, "unify.repair", "zh", context))
    [short], [long] = (list(part.expected(item, "zh", size, context)) for size in question)
    assert short.id == long.id == "web/1/unify.zh" and short.language == "zh"
    assert isinstance(short.body, Chat) and isinstance(long.body, Chat)
    assert len(short.body.answer) < len(long.body.answer)


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_of_published_abstracts_the_published_caps_show_a_part() -> None:
    """The input that HuatuoGPT-II's authors published: English abstracts of some 1,500 characters."""
    abstracts = json.loads((DATA / "huatuogpt2-unification/pubmed_test.json").read_text("utf-8"))
    assert len(abstracts) == 200
    part = Unify(into="zh")
    for text in abstracts:
        shown = begin(text, 600, PACKS["en"])
        assert text.startswith(shown) and 300 < len(shown) <= 600
        low, high = part.answer_size(passage(text), "zh", StepContext("x", 17, PACKS, Path()))
        assert 60 < low < high < 700
