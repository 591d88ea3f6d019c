"""Numbers, units, frequencies and routes of a text held against its translation's."""

from __future__ import annotations

import random
import re
import time
import zipfile
from dataclasses import replace
from functools import lru_cache
from xml.etree.ElementTree import iterparse

import pytest
from tests.plugins.test_guard_reading import CHINESE, ENGLISH
from tests.public_sets import DATA, NEEDS_DATA, PACKS

from langmill.api import Pack
from langmill_plugins.guards.numbers import changed_numbers
from langmill_plugins.guards.reading import read

LANGUAGES = {"en": ENGLISH, "fr": PACKS["fr"], "zh": CHINESE}


def reasons(source: str, target: str, to: str = "en", **options: bool) -> list[str]:
    return [drop.reason for drop in changed_numbers(read(source, ENGLISH), read(target, LANGUAGES[to]), **options)]


@pytest.mark.parametrize(
    ("source", "target", "to"),
    [
        ("5 mg", "5 mg", "en"), ("0.05 mg", "0,05 mg", "fr"), ("0.05 mg", "0.05 mg", "fr"), ("1,234", "1 234", "fr"),
        ("1,234", "1.234", "fr"), ("1,000", "1,000", "fr"), ("10 000 cases", "1万例", "zh"), ("1.5 million", "150万", "zh"),
        ("1000 mg", "1 g", "en"), ("98.6 °F", "37 °C", "en"), ("14 days", "2 wk", "en"), ("500 mcg", "0.5 mg", "en"),
        ("1 to 2 million", "100万至200万", "zh"), ("5 to 10 mg", "5 mg to 10 mg", "en"), ("5-10 mg", "5 à 10 mg", "fr"),
        ("twenty-five days", "25 d", "en"), ("nineteen", "十九个", "zh"), ("two thirds", "三分之二", "zh"), ("20%", "百分之二十", "zh"),
        ("11 March 2020", "2020年3月11日", "zh"), ("2020-03-11", "11 mars 2020", "fr"), ("03/11/2020", "11/03/2020", "en"),
        ("1 March to 5 March", "1-5 mars", "fr"), ("in the 1930s", "20世纪30年代", "zh"), ("1957-58", "1957-1958年", "zh"),
        ("at 5 pm", "17:00", "en"), ("3 p.m.", "3:00 p.m.", "en"), ("type II", "2型", "zh"), ("factor VIII", "factor 8", "en"),
        ("COVID-19", "coronavirus 19", "fr"), ("a month ago, in May", "1个月前，5月", "zh"), ("both eyes", "两个", "zh"),
        ("1st", "1er", "fr"), ("the 2nd", "第2", "zh"), ("three times daily", "3 fois", "fr"), ("120/80", "120/80 mmHg", "en"),
        ("5 mg per kg per day", "5 mg/kg", "en"), ("a 65-year-old man", "65岁", "zh"), ("1. Rest\n2. Drink", "Rest. Drink.", "en"),
        ("about 3% may", "3 %", "fr"), ("3 × 10⁵", "300 000", "fr"), ("5½", "5.5", "en"), ("0.2 x 104.", "0,2 x 104", "fr"),
        ("2/100,000", "2/100 000", "fr"), ("4 cm³", "4 cm3", "en"), ("8-15 days, 8 days", "days 8-15, 8 days", "en"),
        ("38 °C", "38℃台", "zh"), ("12 hours", "12 dernières heures", "fr"),
        ("6.47, 95%", "6.47，95%", "zh"), ("half a dose", "1/2 dose", "en"), ("a 39-degree fever", "39 °C", "fr"),
        ("two and a half days", "2.5 days", "en"), ("1,500", "1500", "fr"), ("2 days, 5 to 10 days", "2, 5 to 10 days", "en"),
        ("one eye, answer 1", "answer 1, one eye", "en"), ("300+ million", "300 million", "en"),
        ("IL-6 and ACE2", "ACE2 et IL-6", "fr"), ("6 × 10^3", "6 x103", "fr"), ("55 °C 10 d", "55℃10天", "zh"),
    ],
)  # fmt: skip
def test_the_same_said_otherwise_is_no_fault(source: str, target: str, to: str) -> None:
    assert reasons(source, target, to) == []


@pytest.mark.parametrize(
    ("source", "target", "to", "reason"),
    [
        ("5 mg", "50 mg", "en", "changed_number"), ("0.5 mg", "0.05 mg", "en", "changed_number"),
        ("0.5 mg", "5 mg", "en", "changed_number"),
        ("5 mg", "5 g", "en", "changed_unit"), ("5 mg", "5 µg", "en", "changed_unit"), ("5 mg", "5", "en", "changed_unit"),
        ("5 days", "5 years", "en", "changed_unit"), ("50%", "50", "en", "changed_unit"), ("5 mg/kg", "5 mg/dL", "en", "changed_unit"),
        ("37 °C", "37 °F", "en", "changed_unit"), ("5 mM", "5 mm", "en", "changed_unit"), ("3,000", "3", "fr", "changed_number"),
        ("give it", "give 5 mg", "en", "changed_number"), ("5 mg and 5 mg", "5 mg", "en", "changed_number"),
        ("answer 1, one eye", "answer, one eye, another one", "en", "changed_number"),
        ("1,900 g", "1,900 kg", "en", "changed_unit"), ("two eyes", "three eyes", "en", "changed_number"),
        ("15万", "15亿", "zh", "changed_number"), ("11 March", "11 May", "en", "changed_number"),
        ("at -5 °C", "at 5 °C", "en", "changed_number"),
        ("type II", "type III", "en", "changed_number"), ("1/2", "1/3", "en", "changed_number"),
        ("120/80", "120/90", "en", "changed_number"), ("1 December, one day", "December, one day", "en", "changed_number"),
        ("three times daily", "one day: 2 times", "en", "changed_number"), ("1980s", "8980s", "en", "changed_number"),
        ("1. Rest\n2. Drink", "1. Rest\n3. Drink", "en", "changed_number"), ("1,234", "12,34", "en", "changed_number"),
        ("1,500 mg", "1,5 mg", "fr", "changed_number"), ("10% in 12 months", "10 in 12 months", "en", "changed_unit"),
        ("32%, Hb 11 mg", "32, Hb 11 mg", "en", "changed_unit"), ("every 12 days", "every 12", "en", "changed_unit"),
        ("type 1 lesion", "lésion de type, une dose", "fr", "changed_number"), ("6.0 x103", "6.9 x103", "en", "changed_number"),
        ("receptor 2 (ACE2)", "récepteur (ECA2)", "fr", "changed_number"), ("option 4, T4", "option, T4s", "en", "changed_number"),
        ("10 mg, X-ray", "mg, X-ray", "en", "changed_number"),
        ("on 19 March, COVID-19", "in March, COVID‑19", "en", "changed_number"), ("55 °C 10 d", "55℃10年", "zh", "changed_unit"),
        ("two and both", "both", "en", "changed_number"), ("2 days; then 2 to 4 days", "2; then 2 to 4 days", "en", "changed_unit"),
        ("5 years, 5 to 17 years", "5 month, 5 to 17 years", "en", "changed_unit"), ("14 days", "日期14", "zh", "changed_unit"),
        ("4 days; then 20 days a month", "4; then 20 days a month", "en", "changed_unit"),
    ],
)  # fmt: skip
def test_what_says_another_thing_is_a_fault(source: str, target: str, to: str, reason: str) -> None:
    assert reason in reasons(source, target, to)


def test_many_numbers_take_no_square_of_the_time() -> None:
    said, again = (read(" ".join(f"{base + index} mg," for index in range(600)), ENGLISH) for base in (0, 1000))
    began = time.perf_counter()
    assert len(changed_numbers(said, again)) == 1200
    assert time.perf_counter() - began < 1  # 0.07 s on an idle core, and 0.9 s without the look-up by value


def test_a_fault_names_both_values_as_they_stand() -> None:
    (drop,) = changed_numbers(read("Give 5 MG.", ENGLISH), read("Give 50 mg.", ENGLISH))
    assert drop.detail == "5 mg in the source, 50 mg in the translation"
    (drop,) = changed_numbers(read("Give 5 mg.", ENGLISH), read("Give 5 g.", ENGLISH))
    assert drop.detail == "5 mg in the source, 5 g in the translation"
    (drop,) = changed_numbers(read("Give 5 mg.", ENGLISH), read("Give it.", ENGLISH))
    assert drop.detail == "5 mg in the source, missing in the translation"


def test_a_longer_text_may_add_and_a_shorter_one_may_leave_out() -> None:
    assert reasons("5 mg", "5 mg for 7 days", added=False) == []
    assert reasons("5 mg for 7 days", "5 mg", dropped=False) == []
    assert reasons("5 mg", "7 mg", added=False) == reasons("5 mg", "7 mg", dropped=False) == ["changed_number"]
    assert reasons("5 mg", "5 g", units=False) == []
    assert reasons("5 mg", "7 mg", numbers=False) == []


def test_frequencies_and_routes_are_compared_where_both_sides_have_them() -> None:
    english, french = PACKS["en"], PACKS["fr"]

    def told(source: str, target: str) -> list[str]:
        return [drop.reason for drop in changed_numbers(read(source, english), read(target, french))]

    assert told("Take it twice daily by mouth.", "À prendre deux fois par jour par voie orale.") == []
    assert "changed_frequency" in told("Take it twice daily.", "À prendre trois fois par jour.")
    assert "changed_route" in told("Take it by mouth.", "À prendre par voie intraveineuse.")
    assert told("Take it twice daily by mouth.", "À prendre.") == []


@lru_cache
def real(language: str) -> list[tuple[str, str]]:
    """English and another language, segment by segment; documents whose segments are shifted in the data left out."""
    found = []
    (archive,) = (DATA / "tico-19" / "TM").glob(f"all.en-{language}*.zip")
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.endswith(".tmx"):
                with opened.open(name) as stream:
                    for _, element in iterparse(stream):
                        if element.tag == "tu":
                            if not (language == "fr" and element.get("tuid", "").startswith(("PubMed_8", "Wikinews"))):
                                source, target = ("".join(part.itertext()) for part in element.iter("seg"))
                                found.append((source, target))
                            element.clear()
    return found


def check(source: str, target: str, pack: Pack) -> bool:
    return bool(changed_numbers(read(source, PACKS["en"]), read(target, pack)))


@pytest.mark.parametrize("language", ["zh", "fr", "es", "ru"])
class TestRealText:
    pytestmark = NEEDS_DATA

    def test_clean_translations_raise_few_alarms(self, language: str) -> None:
        some = random.Random(17).sample(real(language), 800)
        alarms = [pair for pair in some if check(*pair, PACKS[language])]
        assert len(alarms) <= 0.02 * len(some), alarms[:5]

    def test_a_changed_digit_is_told_in_real_text(self, language: str) -> None:
        chance = random.Random(5)
        planted = caught = 0
        for source, target in chance.sample(real(language), 800):
            places = list(re.finditer(r"(?<![\w.,/-])(?:\d+[.,])?\d+(?![\w/-]|[.,]\d)", target))
            if not places or check(source, target, PACKS[language]):
                continue
            place = chance.choice(places)
            digit = str(9 - int(place.group()[-1]))
            planted += 1
            caught += check(source, target[: place.end() - 1] + digit + target[place.end() :], PACKS[language])
        assert planted > 100
        assert caught >= 0.99 * planted


def test_a_pack_without_facts_is_held_to_digits_and_symbols_alone() -> None:
    english = PACKS["en"]
    bare = replace(PACKS["fr"], numbers=None, units=None, fingerprint="fr without facts")
    source = read("Take 5 mg twenty-five minutes before meals on 3 March for 5 days, twice daily.", english)
    sound = read("Prendre 5 mg vingt-cinq minutes avant les repas le 3 mars pendant 5 jours, deux fois par jour.", bare)
    assert changed_numbers(source, sound) == changed_numbers(sound, source) == []
    wrong = read("Prendre 5 g vingt-cinq minutes avant les repas le 4 mars pendant 5 jours.", bare)
    assert [drop.reason for drop in changed_numbers(source, wrong)] == ["changed_unit", "changed_number"]


def test_a_run_of_digits_without_end_is_a_wording() -> None:
    pack = PACKS["en"]
    many = "31415926535" * 500
    assert changed_numbers(read(f"pi is {many}", pack), read(f"It is {many}.", pack)) == []
    assert [drop.reason for drop in changed_numbers(read(many, pack), read(f"{many[:-1]}4", pack))] == [
        "changed_number"
    ]
