"""Guards on multiple choice: number and order of options, and what a rationale concludes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.public_sets import NEEDS_DATA, PACKS, load

from langmill.api import Choice, Drop
from langmill_plugins.guards.choices import in_order, shuffled
from langmill_plugins.guards.conclusions import concludes


def reasons(drops: list[Drop]) -> list[str]:
    return [drop.reason for drop in drops]


def order(source: list[str], target: list[str], codes: str = "es-en") -> list[str]:
    one, other = codes.split("-")
    return reasons(shuffled(source, target, PACKS[one], PACKS[other]))


# --- options ----------------------------------------------------------------------------------------------------------

SPANISH = ["Insulina humana.", "Glucagón 1 mg.", "Cortisol plasmático.", "Somatostatina."]
ENGLISH = ["Human insulin.", "Glucagon 1 mg.", "Plasma cortisol.", "Somatostatin."]


def test_options_in_their_places() -> None:
    assert order(SPANISH, ENGLISH) == []
    assert order(SPANISH, ENGLISH[:3]) == ["options_count"]
    assert order(SPANISH, [*ENGLISH, "All of them."]) == ["options_count"]


@pytest.mark.parametrize("places", [(1, 0, 2, 3), (3, 1, 2, 0), (1, 2, 3, 0), (3, 2, 1, 0)])
def test_options_that_moved(places: tuple[int, ...]) -> None:
    assert order(SPANISH, [ENGLISH[place] for place in places]) == ["options_order"]


def test_numbers_tell_the_order_in_every_script() -> None:
    english, chinese = ["5 mg daily", "10 mg daily", "20 mg daily"], ["每日５毫克", "每日10毫克", "每日20毫克"]
    assert order(english, chinese, "en-zh") == []
    assert order(english, [chinese[1], chinese[0], chinese[2]], "en-zh") == ["options_order"]


@pytest.mark.parametrize(
    ("code", "options"),
    [("ja", ["シクロスポリン", "インターフェロン", "ペニシリン"]), ("ko", ["사이클로스포린", "인터페론", "페니실린"]),
     ("ru", ["Циклоспорин", "Интерферон", "Пенициллин"])],
)  # fmt: skip
def test_the_sound_of_names_tells_the_order(code: str, options: list[str]) -> None:
    english = ["Cyclosporine", "Interferon", "Penicillin"]
    assert order(english, options, f"en-{code}") == []
    assert order(english, [options[1], options[0], options[2]], f"en-{code}") == ["options_order"]


def test_options_with_nothing_in_common_can_not_be_told() -> None:
    assert order(["Yes", "No"], ["不", "是"], "en-zh") == []


def test_two_options_that_became_one() -> None:
    assert order(["Efectividad.", "Eficacia.", "Coste."], ["Effectiveness.", "effectiveness", "Cost."]) == [
        "repeated_option"
    ]
    assert order(["Igual.", "Igual.", "Otro."], ["Same.", "Same.", "Other."]) == []
    # genotypes differ by case
    assert order(["AA", "Aa", "aa"], ["AA", "Aa", "aa"]) == []


def test_letters_of_a_reply() -> None:
    pack = PACKS["es"]
    assert in_order(["A", "B", "C"], pack, 3) == []
    assert in_order(["a)", "Ｂ", "C."], pack, 3) == []
    assert reasons(in_order(["A", "C", "B"], pack, 3)) == ["options_order"]
    assert reasons(in_order(["A", "B", "B"], pack, 3)) == ["options_order"]
    assert reasons(in_order(["A", "B"], pack, 3)) == ["options_count"]
    assert reasons(in_order(["A", "B", "C", "D"], pack, 3)) == ["options_count"]


# --- conclusions ------------------------------------------------------------------------------------------------------

OPTIONS = {
    "en": ["Insulin", "Glucagon", "Cortisol", "Ghrelin"], "es": ["Insulina", "Glucagón", "Cortisol", "Grelina"],
    "fr": ["Insuline", "Glucagon", "Cortisol", "Ghréline"], "zh": ["胰岛素", "胰高血糖素", "皮质醇", "胃饥饿素"],
    "ja": ["インスリン", "グルカゴン", "コルチゾール", "グレリン"], "ko": ["인슐린", "글루카곤", "코르티솔", "그렐린"],
    "ru": ["Инсулин", "Глюкагон", "Кортизол", "Грелин"],
}  # fmt: skip


def said(text: str, code: str = "en", *answers: int) -> list[str]:
    return reasons(concludes(text, OPTIONS[code], answers or (0,), PACKS[code]))


@pytest.mark.parametrize(
    ("code", "text"),
    [("en", "The answer is B. Glucagon"), ("en", "Glucagon raises glucose; therefore, answer: **B**"),
     ("en", "So the correct answer is glucagon."), ("es", "La respuesta correcta es la B."), ("es", "Respuesta: 2"),
     ("fr", "La bonne réponse est donc le glucagon."), ("fr", "La réponse B est correcte."), ("zh", "故选B。"),
     ("zh", "正确答案是胰高血糖素。"),
     ("ja", "したがって、正解はBである。"), ("ja", "グルカゴンが正解となる。"), ("ko", "따라서 정답은 글루카곤이다."), ("ko", "정답: B"),
     ("ru", "Правильный ответ: B."), ("ru", "Верный ответ — глюкагон.")],
)  # fmt: skip
def test_a_rationale_for_another_option(code: str, text: str) -> None:
    assert said(text, code) == ["argues_for_another"]
    assert said(text, code, 1) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [("en", "Incorrect answer B: glucagon. The correct answer is A."), ("en", "B is wrong, so the answer is A, not C."),
     ("en", "The correct answer is not B."), ("en", "The answer is a hormone of beta cells: insulin."), ("zh", "选项B错误，故选A。"),
     ("es", "La opción B es incorrecta; la A es la correcta."), ("ru", "Вариант B неверный, верный ответ — A."),
     ("ko", "B는 틀렸다. 정답은 A이다."), ("ja", "Bは誤り。よってAが正解。"),
     ("fr", "La réponse B est fausse, la réponse A est correcte."), ("en", "")],
)  # fmt: skip
def test_a_rationale_for_the_key(code: str, text: str) -> None:
    assert said(text, code) == []


def test_statements_that_are_weighed_are_no_conclusion() -> None:
    # The question asks what is wrong: every other statement is right.
    text = "胰高血糖素（B对），皮质醇（C对），胃饥饿素（D对），胰岛素（A错，为本题正确答案）。"
    assert said(text, "zh") == []
    assert said(text, "zh", 2) == ["argues_for_another"]
    assert said("B对，C对，D对。", "zh") == []
    assert said("胰高血糖素升高血糖（B对）。", "zh") == ["argues_for_another"]


def test_several_answers() -> None:
    assert said("The correct answers are A and C.", "en", 0, 2) == []
    assert said("The correct answers are A and B.", "en", 0, 2) == ["argues_for_another"]
    assert said("A is correct.", "en", 0, 2) == []


def test_a_letter_and_the_words_of_another_option_after_it() -> None:
    # The letter is one of two keys, the words are not.
    assert said("The answer is C. Glucagon", "en", 0, 2) == ["argues_for_another"]
    assert said("The answer is C: glucagon.", "en", 0, 2) == ["argues_for_another"]
    assert said("The answer is C. Cortisol.", "en", 0, 2) == []
    assert said("The answer is C. Glucagon raises glucose instead.", "en", 0, 2) == []
    assert said("正确答案是C. 胰高血糖素", "zh", 0, 2) == ["argues_for_another"]


def test_a_rationale_that_speaks_of_another_option_alone() -> None:
    assert said("Glucagon raises blood glucose in the liver.") == ["no_conclusion"]
    assert said("Insulin lowers blood glucose.") == []
    assert said("It lowers blood glucose.") == []


def test_words_in_brackets_name_an_option_too() -> None:
    options = ["디곡신(digoxin)", "아미오다론(amiodarone)"]
    assert reasons(concludes("따라서 정답은 아미오다론이다.", options, (0,), PACKS["ko"])) == ["argues_for_another"]
    assert concludes("따라서 정답은 아미오다론이다.", options, (1,), PACKS["ko"]) == []


def test_a_language_that_says_nothing_of_conclusions_is_not_judged() -> None:
    assert concludes("The answer is B.", OPTIONS["en"], (0,), replace(PACKS["en"], cues=None)) == []


class TestRealRows:
    pytestmark = NEEDS_DATA

    @pytest.mark.parametrize(
        ("name", "code", "clean", "caught"), [("korean", "ko", 0.01, 0.98), ("cmexam", "zh", 0.02, 0.97)]
    )
    def test_changed_keys(self, name: str, code: str, clean: float, caught: float) -> None:
        chance, pack = random.Random(3), PACKS[code]
        bodies = [row.body for row in load(name)[:500] if isinstance(row.body, Choice) and row.body.explanation]
        alarms = found = told = 0
        for body in bodies:
            assert body.explanation
            alarms += bool(concludes(body.explanation, body.options, body.answers, pack))
            others = [index for index in range(len(body.options)) if index not in body.answers]
            if not others or not any(sign in body.explanation for sign in ("정답", "答案", "对）")):
                continue
            told += 1
            found += bool(concludes(body.explanation, body.options, (chance.choice(others),), pack))
        assert alarms <= clean * len(bodies)
        assert told > 200 and found >= caught * told

    def test_swapped_options_of_parallel_cases(self) -> None:
        rows = {row.id: row.body for row in load("casimedicos")}
        alarms = found = count = 0
        for name, body in rows.items():
            other = rows.get(name.replace("/en.", "/es."))
            if "/en." not in name or not isinstance(body, Choice) or not isinstance(other, Choice):
                continue
            if len(body.options) != len(other.options):
                continue
            count += 1
            alarms += bool(shuffled(other.options, body.options, PACKS["es"], PACKS["en"]))
            moved = (body.options[1], body.options[0], *body.options[2:])
            found += reasons(shuffled(other.options, moved, PACKS["es"], PACKS["en"])) == ["options_order"]
        assert count > 300 and alarms <= 0.005 * count and found >= 0.95 * count
