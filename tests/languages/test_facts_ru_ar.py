"""What the packs of Russian and Arabic, and the small one of Esperanto, say of numbers, units and small words: read, and held against
English."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from langmill.parts.languages import faults_of, read_pack
from langmill_plugins.guards.cues import changed_cues
from langmill_plugins.guards.numbers import changed_numbers
from langmill_plugins.guards.reading import read

ROOT = Path(__file__).resolve().parents[2]
PACKS = {code: read_pack(ROOT / "languages/langmill_languages" / code) for code in ("en", "ru")}
PACKS["ar"] = read_pack(ROOT / "tests/outside/langmill_arabic/ar")
PACKS["eo"] = read_pack(ROOT / "tests/outside/langmill_esperanto/eo")


def numbers(text: str, code: str) -> list[tuple[Fraction, str]]:
    """The numbers of a text that must be answered for, each with its unit."""
    return [(number.values[0], number.unit) for number in read(text, PACKS[code]).numbers if number.firm]


def changed(source: str, target: str, code: str) -> set[str]:
    """The reasons why a translation from English is rejected."""
    here, there = read(source, PACKS["en"]), read(target, PACKS[code])
    return {drop.reason for drop in (*changed_numbers(here, there), *changed_cues(here, there))}


READ = [
    ("ru", "Принимать двадцать пять дней", [(25, "d")]),
    ("ru", "две тысячи пятьсот двадцать шагов", [(2520, "")]),
    ("ru", "с двумя мальчиками, тремя девочками, у четверых и у обоих", [(2, ""), (3, ""), (4, "")]),
    ("ru", "двухнедельный курс, 5-дневный перерыв", [(2, "wk"), (5, "d")]),
    ("ru", "пятилетний мальчик", [(5, "a")]),
    ("ru", "четырнадцати дней, тридцати двух недель", [(14, "d"), (32, "wk")]),
    ("ru", "полтора часа", [("3/2", "h")]),
    ("ru", "пять с половиной часов", [("11/2", "h")]),
    ("ru", "5 миллиграммов на килограмм", [(5, "mg")]),
    ("ru", "0,5 мг, 250 мкг, 3 г, 10 мл, 2 л", [("1/2", "mg"), (250, "ug"), (3, "g"), (10, "mL"), (2, "L")]),
    ("ru", "1,2 млн человек, 3 тыс. случаев", [(1200000, ""), (3000, "")]),
    ("ru", "120 мм рт. ст.", [(120, "mm[Hg]")]),
    ("ru", "в 2020 г. заболел", [(2020, "")]),  # a year, and no gram
    ("ru", "семинар, сторона, столица и пятно", []),
    ("ru", "один раз, вдвое, половина, второй", []),
    ("ar", "خمسة وعشرون يومًا", [(25, "d")]),
    ("ar", "خمسة عشر مريضًا وثلاث نساء", [(15, ""), (3, "")]),
    ("ar", "ثلاثمئة وخمسون ملغ", [(350, "mg")]),
    ("ar", "ثلاثة آلاف وخمسمئة", [(3500, "")]),
    ("ar", "خلال الأربع والعشرين ساعة الأخيرة", [(24, "h")]),
    ("ar", "خمسة وسبعون بالمئة من المرضى", [(75, "%")]),
    ("ar", "٠٫٥ ملغ ثم ٢٬٦٠٠ وحدة", [("1/2", "mg"), (2600, "[IU]")]),
    ("ar", "5 ملجم، 5 مغ، 5 ملليغرامات، 5 ميكروغرام", [(5, "mg"), (5, "mg"), (5, "mg"), (5, "ug")]),
    ("ar", "عشرين ثانية", [(20, "s")]),  # second: no two
    ("ar", "التهاب الاثني عشر والقرن العشرين", []),  # duodenum, 20th century
    ("ar", "برنستون والهيستون", []),  # names that end like sixty
    ("ar", "أسبوعين ومرتين وكلتا الرئتين", []),  # the dual, both
]


@pytest.mark.parametrize(("code", "text", "found"), READ)
def test_numbers_and_units_are_read(code, text, found):
    assert numbers(text, code) == [(Fraction(value), unit) for value, unit in found]


SOUND = [
    ("0.5 mg by mouth every 6 hours for 2 weeks", "по 0,5 мг внутрь каждые 6 часов в течение двух недель",
     "٠٫٥ ملغ عن طريق الفم كل ٦ ساعات لمدة أسبوعين"),
    ("Give 1,500 mg twice daily.", "Давать 1500 мг два раза в день.", "يُعطى 1500 ملغ مرتين يوميًا."),
    ("On 5 March 2020, 25% of patients", "5 марта 2020 года 25 % пациентов", "في 5 آذار/مارس 2020، 25 في المئة من المرضى"),
    ("Blood pressure was 120/80 mmHg.", "АД 120/80 мм рт. ст.", "كان ضغط الدم 120/80 ملم زئبق."),
    ("for at least 3 days", "не менее трех дней", "لمدة لا تقل عن ثلاثة أيام"),
    ("patients over 65", "пациенты старше 65", "المرضى فوق 65"),
    ("no more than 20 minutes", "не более 20 минут", "ألا تزيد عن 20 دقيقة"),
    ("not only the lungs but also the heart", "не только легкие, но и сердце", "ليس الرئتين فقط بل القلب أيضًا"),
    ("The cause is unknown.", "Причина неизвестна.", "السبب غير معروف."),
    ("Nobody had a fever.", "Ни у кого не было лихорадки.", "لم تكن لدى أحد حمى."),
    ("It is still spreading.", "Тем не менее она распространяется.", "لا يزال ينتشر."),
    ("SARS and MERS", "SARS и MERS", "سارس ومارس"),  # written like March
    ("vitamin B12", "витамин В12", "فيتامين ب12"),
    ("pain in the left arm", "боль в левой руке", "ألم في الذراع اليسرى"),
    ("sections 1 and 2", "разделы 1 и 2", "القسمان 1 و2"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "russian", "arabic"), SOUND)
def test_what_says_the_same_passes(source, russian, arabic):
    assert changed(source, russian, "ru") == set()
    assert changed(source, arabic, "ar") == set()


FAULTS = [
    ("changed_number", "5 mg daily", "ежедневно 50 мг", "50 ملغ يوميًا"),
    ("changed_number", "two weeks and four days", "две недели и три дня", "أسبوعان وثلاثة أيام"),
    ("changed_number", "0.5 mg", "0,05 мг", "٠٫٠٥ ملغ"),
    ("changed_unit", "5 mg of the drug", "5 г препарата", "5 غ من الدواء"),
    ("changed_unit", "250 mcg", "250 мг", "250 ملغم"),
    ("changed_frequency", "twice daily", "три раза в день", "ثلاث مرات يوميًا"),
    ("changed_frequency", "every 6 hours", "каждые 8 часов", "كل 8 ساعات"),
    ("changed_route", "given by mouth", "вводят внутривенно", "يُعطى عن طريق الوريد"),
    ("changed_negation", "It does not help.", "Это помогает.", "هذا يفيد."),
    ("changed_negation", "It helps.", "Это не помогает.", "هذا لا يفيد."),
    ("changed_negation", "We have never seen any risk.", "Мы никогда видели никакого риска.", "رأينا خطرًا أبدًا."),
    ("changed_negation", "with fever", "без лихорадки", "بدون حمى"),
    ("changed_side", "the left kidney", "правая почка", "الكلية اليمنى"),
    ("changed_comparison", "at least 5 days", "не более 5 дней", "ما لا يزيد عن 5 أيام"),
    ("changed_side", "pain in the right lung", "боль в левом легком", "ألم في الرئة اليسرى"),
    ("changed_comparison", "over 65 years", "моложе 65 лет", "أقل من 65 عامًا"),
]


def test_a_side_in_every_case_of_the_adjective_and_a_multiple():
    assert changed("pain in the right lung", "боль в правом легком", "ru") == set()
    assert changed("He has the right to know.", "Он пользуется правом знать.", "ru") == set()
    assert changed("It is 30 times more active.", "Оно в 30 раз более активно.", "ru") == set()
    assert "changed_comparison" in changed("It is 30 times more active.", "Оно в 30 раз менее активно.", "ru")


@pytest.mark.parametrize(("reason", "source", "russian", "arabic"), FAULTS)
def test_what_changed_is_found(reason, source, russian, arabic):
    assert reason in changed(source, russian, "ru")
    assert reason in changed(source, arabic, "ar")


@pytest.mark.parametrize(
    ("source", "target", "wrong", "reason"),
    [
        ("0.5 mg twice daily", "0,5 mg dufoje tage", "0,5 mg trifoje tage", "changed_frequency"),
        ("250 micrograms", "250 mikrogramoj", "250 miligramoj", "changed_unit"),
        ("three weeks", "tri semajnoj", "kvar semajnoj", "changed_number"),
        ("without fever", "sen febro", "kun febro", "changed_negation"),
        ("However, nobody died.", "Tamen neniu mortis.", "Sendube ĉiuj mortis.", "changed_negation"),
        ("the left kidney", "la maldekstra reno", "la dekstra reno", "changed_side"),
        ("at least 5 days", "almenaŭ 5 tagojn", "maksimume 5 tagojn", "changed_comparison"),
    ],
)
def test_a_few_facts_are_enough_to_begin_with(source, target, wrong, reason):
    assert changed(source, target, "eo") == set()
    assert reason in changed(source, wrong, "eo")


@pytest.mark.parametrize("code", ["ru", "ar", "eo"])
def test_the_packs_are_whole(code):
    assert faults_of(PACKS[code]) == []
