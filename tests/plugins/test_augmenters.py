"""The augmenters with a model whose answers are known: what is asked, what is made of the answer, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    Message,
    MissingInput,
    Origin,
    Prompt,
    Reply,
    Row,
    RowFault,
    Skip,
    Split,
    StepContext,
    Text,
    packs_in,
    words,
)
from langmill.pipeline.again import made_of
from langmill_plugins.augmenters.ask import Ask
from langmill_plugins.augmenters.expand import Expand
from langmill_plugins.augmenters.explain import Explain
from langmill_plugins.augmenters.translate import Translate

Schema = TypeVar("Schema", bound=BaseModel)
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}


@dataclass
class Scripted:
    """Answers by step from a script, as the core would: an answer that breaks its schema rejects the row."""

    answers: dict[str, Any]
    languages: frozenset[str] | None = None
    name: str = "scripted/test"
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def answer(
        self, prompt: Prompt, schema: type[Schema], *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Schema]:
        self.asked.append({"prompt": prompt, "schema": schema, "step": step, "language": language, "seed": seed})
        try:
            # What is asked for once more is said once more, unless the script has something else for it.
            said = self.answers.get(step, self.answers[step.removesuffix(".repair")])
            value = schema.model_validate_json(json.dumps(said))
        except ValidationError as fault:
            raise RowFault("schema", str(fault)) from None
        return Reply(value, (Mark(step, self.name, prompt.hash, f"key-{step}"),))


def row(id: str, body: Body, *, language: str = "en", split: Split = "train") -> Row:
    return Row(id, language, split, "family", body, Origin("s", id, ("CC0-1.0", "MIT")))


def run(part: Augmenter, item: Row, model: Scripted) -> list[Row | Drop | Skip]:
    context = StepContext("datasets.x.steps[0]", 17, PACKS, Path(), llm=model)
    return list(asyncio.run(made_of(part, item, context)))


def unguarded(cls: type[Augmenter], **options: Any) -> Augmenter:
    """A part without its guards: for answers that are no text."""
    off = {name: False for name in cls(**options).guarded() if name != "support"}
    return cls(guards=off, **options)


async def _all(part: Augmenter, item: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
    return await part.augment(item, context)


def shown(model: Scripted, index: int = 0) -> str:
    messages: tuple[Message, ...] = model.asked[index]["prompt"].messages
    return messages[-1].content


SCURVY = Chat.of("What causes scurvy?", "A lack of vitamin C.")
ITEM = Choice("Which vitamin prevents scurvy?", ("Vitamin A", "Vitamin C", "Vitamin D"), (1,))


# --- expand ---


def test_expand_keeps_all_but_the_answer() -> None:
    longer = "Scurvy is caused by a lack of vitamin C, which the body needs to make collagen."
    model = Scripted({"expand": {"answer": f"  {longer}\n"}})
    body = Chat((Message("system", "You teach."), *SCURVY.messages))
    [made] = run(Expand(), row("s/1", body), model)
    assert isinstance(made, Row) and isinstance(made.body, Chat)
    assert made.id == "s/1/expand" and made.body.messages == (*body.messages[:-1], Message("assistant", longer))
    assert made.origin.parents == ("s/1",) and made.origin.marks == (
        Mark("expand", model.name, made.origin.marks[0].prompt, "key-expand"),
    )
    assert (made.split, made.family, made.origin.licenses) == ("train", "family", ("CC0-1.0", "MIT"))
    assert SCURVY.question in shown(model) and SCURVY.answer in shown(model)


@pytest.mark.parametrize("answer", ["Vitamin C.", "A lack of vitamin C.", "A lack of vitamin D."])
def test_expand_wants_a_longer_answer(answer: str) -> None:
    [made] = run(Expand(), row("s/1", SCURVY), Scripted({"expand": {"answer": answer}}))
    assert isinstance(made, Drop) and made.reason == "not_longer"


def test_expand_takes_one_question_with_a_short_answer_of_train() -> None:
    turns = (*SCURVY.messages, *SCURVY.messages)
    taken = {
        "short": row("a", SCURVY),
        "system": row("b", Chat((Message("system", "x"), *SCURVY.messages))),
    }
    left = {
        "long": row("c", Chat.of("Why?", "x" * 401)),
        "turns": row("d", Chat(turns)),
        "test": row("e", SCURVY, split="test"),
        "item": row("f", ITEM),
        "text": row("g", Text("x")),
    }
    assert [name for name, item in (taken | left).items() if Expand().takes(item)] == list(taken)
    assert Expand(most_characters=401).takes(left["long"])
    assert Expand(splits=("test",)).takes(left["test"])


def test_an_answer_that_is_empty_or_endless_rejects_the_row() -> None:
    for answer in ("", "   ", "x" * 4001):
        [drop] = run(Expand(), row("s/1", SCURVY), Scripted({"expand": {"answer": answer}}))
        assert isinstance(drop, Drop) and drop.reason == "schema"


# --- ask ---


def pairs(*found: tuple[str, str]) -> dict[str, Any]:
    return {"ask": {"pairs": [{"question": question, "answer": answer} for question, answer in found]}}


def test_ask_makes_a_conversation_of_each_pair() -> None:
    model = Scripted(pairs(("What is iron for?", "For haemoglobin."), ("Where is it stored?", "In the liver.")))
    made = run(
        Ask(count=3, support=0), row("s/1", Text("Iron is part of haemoglobin. It is stored in the liver.")), model
    )
    assert [item.id for item in made if isinstance(item, Row)] == ["s/1/ask.0", "s/1/ask.1"]
    assert [item.body for item in made if isinstance(item, Row)] == [
        Chat.of("What is iron for?", "For haemoglobin."), Chat.of("Where is it stored?", "In the liver."),
    ]  # fmt: skip
    assert "It is stored in the liver." in shown(model) and "3" in shown(model)
    assert len(model.asked) == 1


def test_ask_bounds_the_number_of_pairs() -> None:
    model = Scripted(pairs(("What is a?", "A."), ("What is b?", "B."), ("What is c?", "C.")))
    [drop] = run(Ask(count=2, support=0), row("s/1", Text("a b c")), model)
    assert isinstance(drop, Drop) and drop.reason == "schema"
    schema = model.asked[0]["schema"].model_json_schema()
    assert schema["properties"]["pairs"]["maxItems"] == 2 and schema["properties"]["pairs"]["minItems"] == 1
    [drop] = run(Ask(support=0), row("s/1", Text("a b c")), Scripted(pairs(("What is a?", " "))))
    assert isinstance(drop, Drop) and drop.reason == "schema"


def test_ids_do_not_depend_on_what_was_refused() -> None:
    model = Scripted(
        pairs(
            ("According to the passage, what is iron for?", "For haemoglobin."),
            ("What is iron for?", "For haemoglobin."),
            ("what is iron for?", "For the blood."),
        )
    )
    first, second, third = run(Ask(count=3, support=0), row("s/1", Text("Iron.")), model)
    assert isinstance(first, Drop) and first.reason == "not_standalone" and "According to the passage" in first.detail
    assert isinstance(second, Row) and second.id == "s/1/ask.1"
    assert isinstance(third, Drop) and third.reason == "repeated_question"


@pytest.mark.parametrize(
    ("language", "refused", "kept"),
    [
        ("en", "What does the text say about iron?", "What can block the passage of urine?"),
        ("en", "Which sign is mentioned above?", "What is seen in the passage of stool through the colon?"),
        ("zh", "根据上述文章，贫血的原因是什么？", "缺铁性贫血的原因是什么？"),
        ("zh", "文中提到的检查有哪些？", "中文名为地中海贫血的疾病如何诊断？"),
        ("ja", "本文によれば、貧血の原因は何か。", "日本では貧血の原因として何が多いか。"),
        ("ja", "この文章で述べられている検査は何か。", "血液検査で何がわかるか。"),
        ("ko", "이 글에 따르면 빈혈의 원인은 무엇인가?", "빈혈의 흔한 원인은 무엇인가?"),
        ("ko", "본문에서 언급한 검사는 무엇인가?", "손가락 지문이 사라지는 질환은 무엇인가?"),
        ("fr", "Selon le texte, quelle est la cause de l'anémie ?", "Quelle est la cause de l'anémie ?"),
        ("fr", "Que décrit l'auteur dans cet article ?", "Qu'est-ce qui gêne le passage des urines ?"),
        ("es", "Según el texto, ¿cuál es la causa?", "¿Qué indica una lectura alta de la presión?"),
        ("es", "¿Qué se describe en este párrafo?", "¿En qué parte del intestino se absorbe el hierro?"),
        ("ru", "Согласно тексту, какова причина анемии?", "Какова частая причина анемии у взрослых?"),
        ("ru", "Что описано в данном отрывке?", "Что видно на отрезке кишки при болезни Крона?"),
    ],
)  # fmt: skip
def test_a_question_stands_alone_in_every_language(language: str, refused: str, kept: str) -> None:
    model = Scripted(pairs((refused, "42"), (kept, "42")))
    first, second = run(Ask(support=0), row("s/1", Text("42"), language=language), model)
    assert isinstance(first, Drop) and first.reason == "not_standalone", refused
    assert isinstance(second, Row), second


def test_a_passage_that_is_too_long_is_skipped_unasked() -> None:
    model = Scripted({})
    [skip] = run(Ask(most_characters=10), row("s/1", Text("x" * 11)), model)
    assert isinstance(skip, Skip) and skip.reason == "passage_too_long" and model.asked == []


# --- translate ---


def lettered(*options: str) -> list[dict[str, str]]:
    """Options as a model replies with them."""
    return [{"letter": letter, "text": text} for letter, text in zip("ABCDEFGH", options, strict=False)]


def test_translate_asks_the_pack_of_the_target_and_lets_each_language_fail_alone() -> None:
    model = Scripted(
        {
            "translate.fr": {"question": "Quelle est la cause du scorbut ?", "answer": "Un manque de vitamine C."},
            "translate.es": {"question": "What causes scurvy?", "answer": "A lack of vitamin C."},
            "translate.ru": {"question": "Отчего бывает цинга?"},
        },
        languages=frozenset({"en", "fr", "es", "ru"}),
    )
    french, spanish, russian, japanese = run(
        Translate(into=("en", "fr", "es", "ru", "ja", "fr")), row("s/1", SCURVY), model
    )
    assert isinstance(french, Row) and french.id == "s/1/translate.fr" and french.language == "fr"
    assert french.body == Chat.of("Quelle est la cause du scorbut ?", "Un manque de vitamine C.")
    assert isinstance(spanish, Drop) and spanish.reason == "untranslated"
    assert isinstance(russian, Drop) and russian.reason == "schema"
    assert isinstance(japanese, Skip) and japanese.reason == "language_not_written"
    assert [call["step"] for call in model.asked] == [
        "translate.fr", "translate.es", "translate.es.repair", "translate.ru",
    ]  # fmt: skip
    assert [call["language"] for call in model.asked] == ["fr", "es", "es", "ru"]
    assert "English" in shown(model) and model.asked[0]["prompt"].hash.startswith("fr/translate@")
    assert len({call["seed"] for call in model.asked}) == 3


def test_translate_keeps_count_order_and_key_of_an_item() -> None:
    answer = {"question": "Quelle vitamine prévient le scorbut ?", "explanation": "", "context": ""}
    model = Scripted({"translate.fr": answer | {"options": lettered("Vitamine A", "Vitamine C", "C. Vitamine D")}})
    [made] = run(Translate(into=("fr",)), row("s/1", ITEM), model)
    assert isinstance(made, Row)
    assert made.body == Choice(answer["question"], ("Vitamine A", "Vitamine C", "Vitamine D"), (1,))
    for option in ITEM.options:
        assert option in shown(model)
    a, c, d = lettered("Vitamine A", "Vitamine C", "Vitamine D")
    for options, reason in (
        ([a, c], "schema"),
        ([a, c, d, {"letter": "D", "text": "Vitamine E"}], "schema"),
        ([a, {"letter": "B", "text": ""}, d], "schema"),
        (["Vitamine A", "Vitamine C", "Vitamine D"], "schema"),
        ([a, {"letter": "B", "text": "Vitamine  A"}, d], "repeated_option"),
        ([c, a, d], "options_order"),
        ([a, a, d], "options_order"),
        (lettered("Vitamine C", "Vitamine A", "Vitamine D"), "options_order"),
    ):
        spoilt = Scripted({"translate.fr": answer | {"options": options}})
        [drop] = run(Translate(into=("fr",)), row("s/1", ITEM), spoilt)
        assert isinstance(drop, Drop) and drop.reason == reason, (options, drop)


def test_a_letter_that_the_source_has_is_no_letter_of_an_option() -> None:
    item = Choice("Which mould grows in lungs?", ("A. fumigatus", "Penicillium", "Rhizopus"), (0,))
    answer = {"question": "Quelle moisissure pousse dans les poumons ?", "explanation": "", "context": ""}
    said = answer | {"options": lettered("A. fumigatus", "B. Penicillium", "Rhizopus")}
    [made] = run(Translate(into=("fr",)), row("s/1", item), Scripted({"translate.fr": said}))
    assert isinstance(made, Row) and isinstance(made.body, Choice)
    assert made.body.options == ("A. fumigatus", "Penicillium", "Rhizopus")


def test_translate_carries_rationale_and_context_and_wants_them() -> None:
    told = Choice(ITEM.question, ITEM.options, (1,), explanation="Collagen needs it.", context="A sailor.")
    answer = {
        "question": "Quelle vitamine prévient le scorbut ?",
        "options": lettered("Vitamine A", "Vitamine C", "Vitamine D"),
        "explanation": "Le collagène en a besoin.",
        "context": "Un marin.",
    }
    [made] = run(Translate(into=("fr",)), row("s/1", told), Scripted({"translate.fr": answer}))
    assert isinstance(made, Row) and isinstance(made.body, Choice)
    assert (made.body.explanation, made.body.context) == ("Le collagène en a besoin.", "Un marin.")
    [drop] = run(Translate(into=("fr",)), row("s/1", told), Scripted({"translate.fr": answer | {"explanation": ""}}))
    assert isinstance(drop, Drop) and drop.reason == "schema"
    [bare] = run(Translate(into=("fr",)), row("s/1", ITEM), Scripted({"translate.fr": answer}))
    assert isinstance(bare, Row) and isinstance(bare.body, Choice)
    assert (bare.body.explanation, bare.body.context) == (None, None)  # what the source lacks is not taken over


def test_translate_leaves_translations_and_its_own_language_alone() -> None:
    part = Translate(into=("fr", "es"))
    original = row("s/1", SCURVY)
    translated = original.child("translate.fr", SCURVY, language="fr")
    assert part.takes(original) and not part.takes(translated)
    assert not part.takes(translated.child("expand", SCURVY))
    assert not Translate(into=("en",)).takes(original)
    assert part.takes(row("s/1", SCURVY, language="fr")) and not part.takes(row("s/1", Text("x")))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (Chat((*SCURVY.messages, *SCURVY.messages)), "not_single_turn"),
        (Chat((Message("system", "x"), *SCURVY.messages)), "not_single_turn"),
        (Chat.of("Why?", "x" * 3000), "row_too_long"),
    ],
)
def test_translate_skips_what_it_can_not_do(body: Chat, reason: str) -> None:
    model = Scripted({})
    [skip] = run(Translate(into=("fr",)), row("s/1", body), model)
    assert isinstance(skip, Skip) and skip.reason == reason and model.asked == []


def test_a_target_without_a_pack_is_named() -> None:
    with pytest.raises(MissingInput, match="no language pack 'xx'"):
        run(Translate(into=("xx",)), row("s/1", SCURVY), Scripted({}))
    with pytest.raises(ValidationError):
        Translate(into=())


# --- explain ---


def test_explain_gives_the_key_with_its_text_and_changes_nothing_else() -> None:
    model = Scripted({"explain": {"explanation": "Vitamin C is needed to make collagen."}})
    item = Choice(
        "Which vitamins dissolve in water?", ("Vitamin B1", "Vitamin A", "Vitamin C"), (0, 2), context="A list."
    )
    [made] = run(Explain(), row("s/1", item), model)
    assert isinstance(made, Row) and made.id == "s/1/explain"
    assert made.body == Choice(item.question, item.options, (0, 2), "Vitamin C is needed to make collagen.", "A list.")
    answer = shown(model).split("<answer>")[1].split("</answer>")[0].split("\n")
    assert [line for line in answer if line] == ["A. Vitamin B1", "C. Vitamin C"]
    assert "A list." in shown(model)


def test_explain_takes_items_without_a_rationale() -> None:
    assert Explain().takes(row("a", ITEM))
    assert not Explain().takes(row("b", Choice(ITEM.question, ITEM.options, (1,), explanation="Because.")))
    assert not Explain().takes(row("c", SCURVY)) and not Explain().takes(row("d", ITEM, split="test"))


@pytest.mark.parametrize("code", sorted(PACKS))
def test_every_pack_brings_the_prompts(code: str) -> None:
    model = Scripted(
        {
            "expand": {"answer": "x" * 100},
            "explain": {"explanation": "x"},
            "ask": {"pairs": [{"question": "xxx", "answer": "x"}]},
            f"translate.{code}": {
                "question": "xxx",
                "options": lettered("a", "b", "c"),
                "explanation": "",
                "context": "",
            },
        }
    )
    other = "fr" if code == "en" else "en"
    for part, body, language in (
        (unguarded(Expand), SCURVY, code),
        (unguarded(Explain), ITEM, code),
        (unguarded(Ask, support=0), Text("Iron."), code),
        (unguarded(Translate, into=(code,)), ITEM, other),
    ):
        [made] = run(part, row("s/1", body, language=language), model)
        assert isinstance(made, Row) and made.language == code


def test_a_closed_reply_has_bounds_everywhere() -> None:
    model = Scripted({})
    context = StepContext("x", 17, PACKS, Path(), llm=model)
    for part, body in (
        (Expand(), SCURVY),
        (Ask(support=0), Text("x")),
        (Translate(into=("fr",)), ITEM),
        (Explain(), ITEM),
    ):
        with pytest.raises(KeyError):
            asyncio.run(_all(part, row("s/1", body), context))
    for call in model.asked:
        schema = call["schema"].model_json_schema()
        for name, piece in _strings(schema):
            assert piece.get("maxLength", 0) > 0, (call["step"], name)
        assert schema["additionalProperties"] is False


def _strings(schema: Any, name: str = "") -> Iterable[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "string":
            yield name, schema
        for key, value in schema.items():
            yield from _strings(value, key)


def test_terms_tell_a_pair_of_the_passage_from_gibberish_in_every_language():
    from langmill_plugins.guards.claims import terms

    folder = Path(__file__).parents[2] / "recipes" / "data"
    for language in ("en", "fr", "es", "ru", "zh", "ja", "ko"):
        pack = PACKS[language]
        passages = [
            json.loads(line)["text"] for line in (folder / f"passages.{language}.jsonl").read_text("utf-8").splitlines()
        ]
        for passage in passages:
            half = terms(passage[: len(passage) // 2].rsplit(maxsplit=1)[0], pack)
            assert half <= terms(passage, pack) and len(half) > 10
        assert not terms("jonc-jonc-joncj", pack) & terms(passages[0], pack)


# --- before a run: what is expected ---

EXPLAINED = {"explanation": "Vitamin C is needed to make collagen, and scurvy is what comes of its lack."}
TRANSLATED = {"question": "Qu'est-ce qui cause le scorbut ?", "answer": "Un manque de vitamine C."}
CHOSEN = {
    "question": "Quelle vitamine prévient le scorbut ?",
    "options": lettered("Vitamine A", "Vitamine C", "Vitamine D"),
    "explanation": "",
    "context": "",
}
PASSAGE = "Scurvy follows a lack of vitamin C. Collagen fails and wounds heal badly. Fresh fruit cures it within days."
FORETOLD = {
    "expand": (Expand(), SCURVY, "en", {"expand": {"answer": "A lack of vitamin C, over weeks or months."}}),
    "explain": (Explain(), ITEM, "en", {"explain": EXPLAINED}),
    "translate": (Translate(into=("fr",)), SCURVY, "fr", {"translate.fr": TRANSLATED}),
    "translate_choice": (Translate(into=("fr",)), ITEM, "fr", {"translate.fr": CHOSEN}),
    "ask": (
        Ask(count=2),
        Text(PASSAGE),
        "en",
        pairs(
            ("What follows a lack of vitamin C?", "Scurvy follows a lack of vitamin C."),
            ("What cures scurvy?", "Fresh fruit cures scurvy within days."),
        ),
    ),
}


@pytest.mark.parametrize("name", FORETOLD)
def test_stand_ins_have_the_ids_languages_and_bodies_of_the_rows_to_come(name: str) -> None:
    part, body, language, answers = FORETOLD[name]
    parent, context = row("s/1", body), StepContext("datasets.x.steps[0]", 17, PACKS, Path())
    real = [item for item in run(part, parent, Scripted(answers)) if isinstance(item, Row)]
    short, long = (list(part.expected(parent, language, length, context)) for length in (80, 800))
    assert real and [item.id for item in short] == [item.id for item in long] == [item.id for item in real]
    for item, stand_in, longer in zip(real, short, long, strict=True):
        assert (stand_in.language, type(stand_in.body)) == (item.language, type(item.body))
        assert (stand_in.split, stand_in.family, stand_in.origin.parents) == (item.split, item.family, ("s/1",))
        assert len(words(longer.body)) > len(words(stand_in.body)) + 200
        if isinstance(item.body, Choice) and isinstance(stand_in.body, Choice):
            assert stand_in.body.answers == item.body.answers
            assert bool(stand_in.body.explanation) == bool(item.body.explanation)


@pytest.mark.parametrize("name", FORETOLD)
def test_an_answer_is_foretold_from_terse_to_talkative_and_smaller_where_writing_is_dense(name: str) -> None:
    part, body, _, _ = FORETOLD[name]
    context = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
    sizes = {code: part.answer_size(row("s/1", body), code, context) for code in ("fr", "zh")}
    low, high = sizes["fr"] or (0, 0)
    assert 0 < low < high < 8 * low
    assert sizes["zh"] and sizes["zh"][1] < high


def test_a_longer_row_is_foretold_a_longer_translation_and_no_shorter_expansion() -> None:
    context = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
    longer = Chat.of(SCURVY.question, "x" * 390)
    for part, language in ((Translate(into=("fr",)), "fr"), (Expand(), "en")):
        short, long = (part.answer_size(row("s/1", body), language, context) for body in (SCURVY, longer))
        assert short and long and long[0] > short[0]
    assert (Expand().answer_size(row("s/1", longer), "en", context) or (0, 0))[0] > 390, "it must be longer"
