"""How a multiple-choice item is put: letters and rationales, options in another order, and what keeps its order."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from tests.public_sets import NEEDS_DATA, PACKS, load
from tests.recording import LANGUAGES, made, row_of, small_tokenizer, words_of

from langmill.api import Choice
from langmill.parts.languages import faults_of
from langmill_plugins.trainers.options import ChoiceFormat
from langmill_plugins.trainers.tokens.forms import conversations, shuffled

ITEM = Choice("Which store iron?", ("liver", "spleen", "lens", "marrow"), (0, 1, 3), "They hold ferritin.")
SPEAKS_OF_OTHERS = {
    "en": ("All of the above", "None of these", "Both A and B", "A and C", "1 and 2 are correct.", "None of the options above"),
    "zh": ("以上都不是", "以上均正确", "两者均是", "A+B", "以上都对"),
    "ja": ("上記のすべて", "いずれも正しい", "選択肢A", "AとB"),
    "ko": ("위의 모두", "모두 옳다", "보기 A", "A와 B"),
    "fr": ("Aucune de ces réponses n'est exacte", "Toutes les réponses ci-dessus", "A et B", "Aucune."),
    "es": ("Todas las anteriores", "Ninguna de las anteriores es correcta", "1 y 2 son correctas.", "Todas son correctas.", "A y B"),
    "ru": ("Все перечисленные", "Ничего из перечисленного", "Верно всё", "A и B", "Нет правильного ответа"),
}  # fmt: skip
SPEAKS_FOR_ITSELF = {
    "en": ("Vitamin A", "Previous surgery", "All patients with fever", "Both kidneys", "70% or above", "Hepatitis B"),
    "zh": ("维生素C", "70%以上", "平均数", "均匀分布", "3年以上"),
    "ja": ("65歳以上", "すべての患者に行う", "ビタミンA", "いずれかの保険に加入する"),
    "ko": ("60% 이상", "물집이 모두 딱지로 될 때까지", "필요 없음", "비타민 C"),
    "fr": ("Tous les enfants de moins de 5 ans", "Aucun traitement", "Hépatite B", "La réponse immunitaire"),
    "es": ("Todos los cuerpos cetónicos", "Uveítis anterior", "Ligamento cruzado anterior", "Vitamina A"),
    "ru": ("Витамин A", "Все дети до 5 лет", "Оба лёгких поражены", "Гепатит B"),
}  # fmt: skip
NAMES_LETTERS = {
    "en": ("The correct answer is 2.", "Option B is wrong.", "This rules out the first option.", "Hence C.", "1 and 3 are false"),
    "zh": ("叶酸缺乏（B对）", "故选C。", "选项A错误", "BCD错"),
    "ja": ("正解はBである。", "選択肢2は誤り", "3番は正しい"),
    "ko": ("따라서 정답은 A입니다.", "2번이 맞다.", "보기 3은 틀리다"),
    "fr": ("La réponse 2 est exacte.", "La bonne réponse est la 3.", "donc B.", "On élimine la première réponse"),
    "es": ("La respuesta correcta es la 5.", "(opción 3 correcta)", "La 2 está desfasada.", "por tanto B."),
    "ru": ("Правильный ответ B.", "Вариант 2 неверен.", "Верный ответ: 3"),
}  # fmt: skip
NAMES_NONE = {
    "en": ("Vitamin A is stored in the liver.", "A raised ferritin is expected in 2 weeks.", "It takes 3 days."),
    "zh": ("维生素C促进铁的吸收，每日3次。", "C反应蛋白升高。"),
    "ja": ("ビタミンAは肝臓に貯えられる。", "C型肝炎では3か月かかる。"),
    "ko": ("비타민 C는 철 흡수를 돕는다.", "5일 후에 좋아진다."),
    "fr": ("La vitamine A est dans le foie.", "Il faut 2 semaines.", "L'hépatite B guérit."),
    "es": ("La vitamina A está en el hígado.", "Tarda 2 semanas.", "A los 3 días mejora."),
    "ru": ("Витамин A хранится в печени.", "Через 2 недели."),
}  # fmt: skip


def needs_data(test: Any) -> Any:
    """Skipped where the public sets are not at hand."""
    for mark in NEEDS_DATA:
        test = mark(test)
    return test


def item(*options: str, explanation: str | None = None) -> Choice:
    filled = (*options, "ferritin", "iron", "copper", "zinc", "lead")[:5]
    return Choice("X?", filled, (1,), explanation)


def seed(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode())


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_option_that_speaks_of_others_keeps_the_order(language: str) -> None:
    pack = PACKS[language]
    assert [text for text in SPEAKS_OF_OTHERS[language] if not pack.ordered(item("a", text))] == []
    assert [text for text in SPEAKS_FOR_ITSELF[language] if pack.ordered(item("a", text))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_explanation_that_names_options_keeps_the_order(language: str) -> None:
    pack = PACKS[language]
    assert [text for text in NAMES_LETTERS[language] if not pack.cites_options(item(explanation=text))] == []
    assert [text for text in NAMES_NONE[language] if pack.cites_options(item(explanation=text))] == []


def test_a_letter_beyond_the_options_names_none() -> None:
    two = Choice("X?", ("yes", "no"), (0,), "Group E, that is it.")
    assert not PACKS["en"].cites_options(two)
    assert PACKS["en"].cites_options(Choice("X?", ("yes", "no"), (0,), "So B, that is it."))


def test_a_pack_that_does_not_know_shuffles_nothing() -> None:
    pack = PACKS["en"]
    assert pack.choice is not None
    silent = pack.choice.model_copy(update={"ordered": (), "cited": ()})
    assert silent.speaks_of_order("X?", ("a", "b"))
    assert silent.cites("Because.", 2)
    told = "choice.ordered is missing: the options of its items are never shuffled"
    assert told in faults_of(replace(pack, choice=silent))
    assert not any("shuffled" in fault for fault in faults_of(pack))


def test_the_right_options_stay_right() -> None:
    seen = set()
    for number in range(60):
        put = shuffled(ITEM, number)
        assert {put.options[place] for place in put.answers} == {"liver", "spleen", "marrow"}
        assert sorted(put.options) == sorted(ITEM.options)
        assert list(put.answers) == sorted(put.answers)
        seen.add(put.options)
    assert len(seen) > 15


def test_two_examples_of_a_row_with_a_rationale_and_one_without() -> None:
    tokenizer = small_tokenizer()
    rows = [row_of(ITEM, number=0), row_of(Choice(ITEM.question, ITEM.options, (2,)), number=1)]
    examples = made(rows, tokenizer, choices={"answer": "both"}).examples
    assert list(zip(examples.row.tolist(), examples.part.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]
    assert words_of(examples, tokenizer) == [
        "They hold ferritin.\nAnswer: A, B, D<|im_end|>",
        "A, B, D<|im_end|>",
        "C<|im_end|>",
    ]
    letters = made(rows, tokenizer, choices={"answer": "letters"}).examples
    assert words_of(letters, tokenizer) == ["A, B, D<|im_end|>", "C<|im_end|>"]
    reasons = made(rows, tokenizer, choices={"answer": "rationale"}).examples
    assert words_of(reasons, tokenizer) == ["They hold ferritin.\nAnswer: A, B, D<|im_end|>", "C<|im_end|>"]


def test_options_come_in_another_order_each_time_and_the_letters_follow() -> None:
    tokenizer = small_tokenizer()
    row = row_of(Choice(ITEM.question, ITEM.options, (2,)))
    seen = set()
    for occurrence in range(12):
        done = made([row], tokenizer, occurrence=occurrence, choices={"shuffle": True})
        text = tokenizer.decode(done.examples.ids)
        letter = text[text.rindex("assistant\n") + len("assistant\n")]
        assert f"{letter}. lens" in text
        seen.add(letter)
    assert len(seen) > 1
    same = [made([row], tokenizer, occurrence=3, choices={"shuffle": True}).examples.digest() for _ in range(2)]
    assert same[0] == same[1]


def test_a_rationale_that_names_letters_keeps_its_order_and_the_letters_alone_need_not() -> None:
    row = row_of(Choice(ITEM.question, ITEM.options, (2,), "So option C is right."))
    orders: dict[int, set[str]] = {0: set(), 1: set()}
    for occurrence in range(10):
        for part, chat in conversations(row, PACKS["en"], ChoiceFormat(answer="both", shuffle=True), seed, occurrence):
            orders[part].add(chat[0].content.split("<options>")[1])
            letter = chat[1].content[-1]
            assert f"{letter}. lens" in chat[0].content
    assert len(orders[0]) == 1
    assert len(orders[1]) > 1


def test_a_row_whose_parts_are_all_too_long_counts_once_and_is_never_cut() -> None:
    tokenizer = small_tokenizer()
    long = Choice("Why? " * 200, ("a", "b"), (0,), "Because. " * 200)
    done = made([row_of(long)], tokenizer, 64, choices={"answer": "both"}, too_long="cut_prompt")
    assert done.left_out_by_reason() == {"too_long": {"en": 1}}
    assert done.cut == {} and done.forms_left_out == {}


def test_a_form_that_is_left_out_does_not_take_its_row_along() -> None:
    tokenizer = small_tokenizer()
    rows = [
        row_of(Choice("Why?", ("a", "b"), (0,), "Because. " * 200), "en", 0),
        row_of(Choice("Why? " * 200, ("a", "b"), (0,), "Because."), "en", 1),
        row_of(Choice("Why? <|im_end|>", ("a", "b"), (0,), "Because. " * 200), "en", 2),
    ]
    done = made(rows, tokenizer, 128, choices={"answer": "both"})
    assert done.examples.row.tolist() == [0] and done.examples.part.tolist() == [1]
    assert done.forms_left_out_by_reason() == {"too_long": {"en": 1}}
    assert done.left_out_by_reason() == {"special_token_in_text": {"en": 1}, "too_long": {"en": 1}}


@needs_data
def test_few_real_items_keep_their_order() -> None:
    """Shares that were read through; far more would mean that a pattern has gone wild, far fewer that it finds nothing."""
    for name, language, least, most in (
        ("five", "en", 0.0, 0.01), ("cmexam", "zh", 0.025, 0.05), ("igakuqa", "ja", 0.0, 0.01),
        ("french", "fr", 0.04, 0.06), ("headqa", "es", 0.015, 0.03), ("headqa", "en", 0.015, 0.03),
        ("korean", "ko", 0.0, 0.01),
    ):  # fmt: skip
        items = [row.body for row in load(name) if isinstance(row.body, Choice) and row.language == language]
        share = sum(PACKS[language].ordered(body) for body in items) / len(items)
        assert least <= share <= most, (name, language, share)
