"""Small words: a negation taken away or added, a side that is another, a bound that points the other way."""

from __future__ import annotations

import os
import random
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from langmill.api import packs_in
from langmill_plugins.guards.cues import changed_cues
from langmill_plugins.guards.reading import read

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
DATA = Path(os.environ.get("FACTORY_DATA", ""))


def reasons(source: str, target: str, languages: str = "en es", **on: bool) -> list[str]:
    mine, theirs = (PACKS[code] for code in languages.split())
    return [drop.reason for drop in changed_cues(read(source, mine), read(target, theirs), **on)]


@pytest.mark.parametrize(
    ("languages", "source", "target", "wrong"),
    [
        ("en es", "Do not give aspirin.", "No administre aspirina.", "Administre aspirina."),
        ("en fr", "Do not give aspirin.", "Ne donnez pas d'aspirine.", "Donnez de l'aspirine."),
        ("en ru", "Do not give aspirin.", "Не давайте аспирин.", "Давайте аспирин."),
        ("en zh", "The patient has no fever.", "患者没有发热。", "患者有发热。"),
        ("en ja", "The patient has no fever.", "患者に発熱はない。", "患者に発熱がある。"),
        ("en ko", "The patient has no fever.", "환자는 열이 없다.", "환자는 열이 있다."),
        ("es fr", "Paciente sin fiebre.", "Patient sans fièvre.", "Patient avec fièvre."),
    ],
)
def test_a_negation_taken_away_or_added_is_told_in_either_direction(
    languages: str, source: str, target: str, wrong: str
) -> None:
    assert reasons(source, target, languages) == []
    assert reasons(source, wrong, languages) == ["changed_negation"]
    back = " ".join(reversed(languages.split()))
    assert reasons(target, source, back) == []
    assert reasons(wrong, source, back) == ["changed_negation"]


def test_two_words_of_one_negation_are_one() -> None:
    assert reasons("We found no effect.", "No se identificó ningún efecto.") == []
    assert reasons("No se identificó ningún efecto.", "We found no effect.", "es en") == []
    assert reasons("Nobody died.", "Nadie murió.") == []
    assert reasons("Everybody died.", "Nadie murió.") == ["changed_negation"]


def test_a_word_with_the_sense_of_a_negation_answers_for_one() -> None:
    assert reasons("The cause is unknown.", "No se sabe la causa.") == []
    assert reasons("Asymptomatic carriers", "Portadores sin síntomas") == []


def test_what_answers_for_itself_does_not_answer_for_another() -> None:
    """Unknown goes with desconocida, so that nothing is left for the negation that is gone."""
    assert reasons("The cause is unknown and it is not fatal.", "La causa es desconocida y no es mortal.") == []
    assert reasons("The cause is unknown and it is not fatal.", "La causa es desconocida y es mortal.") == [
        "changed_negation"
    ]


def test_phrases_that_negate_nothing_need_no_negation() -> None:
    assert reasons("It is not only cheap but safe.", "Es barato y además seguro.") == []
    assert reasons("See lesson no. 5 of the course.", "Véase la lección 5 del curso.") == []
    assert reasons("Tell us whether or not it hurts.", "Díganos si duele.") == []


@pytest.mark.parametrize(
    ("languages", "source", "target"),
    [
        ("en zh", "However, the patient has no fever.", "不过，患者有发热。"),
        ("en ja", "At least the patient has no fever.", "少なくとも患者に発熱がある。"),
        ("en ko", "The patient constantly has no fever.", "환자는 끊임없이 열이 있다."),
        ("en ru", "Nevertheless, the patient has no fever.", "Тем не менее у пациента лихорадка."),
        ("en es", "However, the patient has no fever.", "Sin embargo, el paciente tiene fiebre."),
    ],
)
def test_phrases_that_negate_nothing_answer_for_no_negation(languages: str, source: str, target: str) -> None:
    assert reasons(source, target, languages) == ["changed_negation"]
    back = " ".join(reversed(languages.split()))
    assert reasons(target, source, back) == ["changed_negation"]


def test_the_negation_of_a_bound_is_a_part_of_it() -> None:
    """It neither needs an answer nor is one."""
    assert reasons("no more than 5 mg", "hasta 5 mg") == []
    assert reasons("under 12 years of age", "未满12岁", "en zh") == []
    assert reasons("Do not take it under 12 years of age.", "未满12岁者请服用。", "en zh") == ["changed_negation"]


def test_not_more_than_is_said_in_many_ways() -> None:
    assert reasons("Adults may take no more than 4 g a day.", "Los adultos no pueden tomar más de 4 g al día.") == []
    assert reasons("You may take no more than 4 g.", "On ne doit pas prendre plus de 4 g.", "en fr") == []
    assert reasons("Do not take more than 5 mg.", "Tome no más de 5 mg.") == []
    assert reasons("Do not take more than 5 mg.", "不要服用超过5毫克。", "en zh") == []
    assert reasons("Do not take more than 5 mg.", "Tome más de 5 mg.") == ["changed_negation"]


def test_a_pack_without_cues_is_not_held_to_them() -> None:
    bare = replace(PACKS["fr"], cues=None, fingerprint="fr without cues")
    source, target = "It is not safe to take over 5 mg.", "Il n'est pas sûr de prendre plus de 5 mg."
    assert changed_cues(read(source, PACKS["en"]), read(target, bare)) == []
    assert changed_cues(read(target, bare), read(source, PACKS["en"])) == []


def test_thousands_of_negations_are_soon_compared() -> None:
    many, fewer = read("not " * 3000, PACKS["en"]), read("no " * 2500, PACKS["es"])
    assert len(changed_cues(many, fewer)) == 500


def test_false_and_incorrect_deny() -> None:
    """Which is false must not become which is true."""
    assert reasons("Which statement is incorrect?", "¿Qué afirmación es falsa?") == []
    assert reasons("Which statement is incorrect?", "¿Qué afirmación no es correcta?") == []
    assert reasons("誤っているのはどれか。", "Which is true?", "ja en") == ["changed_negation"]
    assert reasons("A false positive result", "假阳性结果", "en zh") == []


def test_neither_and_nor_of_one_clause_are_one() -> None:
    assert reasons("肝・脾を触知しない。", "Neither liver nor spleen is palpable.", "ja en") == []
    assert reasons("肝・脾を触知する。", "Neither liver nor spleen is palpable.", "ja en") == ["changed_negation"]


def test_a_negation_far_away_in_a_long_text_answers_for_none() -> None:
    there = "El paciente acude a la consulta con tos y fiebre alta desde hace varios días. " * 6
    here = "The patient comes to the clinic with cough and high fever for several days. " * 6
    assert reasons(f"No smoker. {here}", f"No fuma. {there}") == []
    assert reasons(f"No smoker. {here}", f"Fuma. {there}No fuma.") == ["changed_negation"] * 2


def test_the_detail_shows_both_sides() -> None:
    drop = changed_cues(read("Do not give aspirin.", PACKS["en"]), read("Administre aspirina.", PACKS["es"]))[0]
    assert drop.detail == '"do not give aspirin." denies in the source, nothing denies in the translation'


def test_a_side_that_is_another_is_told() -> None:
    assert reasons("Pain in the left arm.", "Dolor en el brazo izquierdo.") == []
    assert reasons("Pain in the left arm.", "Dolor en el brazo derecho.") == ["changed_side"]
    assert reasons("左前腕の痛み", "Pain in the right forearm", "ja en") == ["changed_side"]
    assert reasons("Right hemiparesis, left gaze.", "Hemiparesia izquierda, mirada a la izquierda.") == ["changed_side"]


def test_left_and_right_that_are_no_sides_are_no_matter() -> None:
    assert reasons("He left the hospital.", "Salió del hospital.") == []
    assert reasons("Choose the right answer.", "Elija la respuesta correcta.") == []
    assert reasons("He left with pain in the right arm.", "Se fue con dolor en el brazo derecho.") == []
    assert reasons("El paciente tiene derecho a un abogado.", "The patient is entitled to a lawyer.", "es en") == []


def test_a_side_left_out_is_no_fault() -> None:
    assert reasons("The left ventricle is large.", "El ventrículo es grande.") == []


@pytest.mark.parametrize(
    ("source", "target", "wrong"),
    [
        ("more than 5 days", "más de 5 días", "menos de 5 días"),
        ("at least 20 seconds", "al menos 20 segundos", "como máximo 20 segundos"),
        ("18 years or older", "18 años o más", "18 años o menos"),
        ("a titre of 5 mg or more", "un título de 5 mg o más", "un título de 5 mg o menos"),
        ("aged 65 and over", "de 65 o más años", "menores de 65 años"),
        ("alive, and over 300 patients", "vivos, y más de 300 pacientes", "vivos, y menos de 300 pacientes"),
        ("platelets <100", "plaquetas <100", "plaquetas >100"),
        ("glucose ≥126", "glucemia ≥ 126", "glucemia > 126"),
        ("glucose ＜126", "glucemia < 126", "glucemia 126"),
        ("age &lt; 19 years", "edad <19 años", "edad >19 años"),
        ("more than 5 days", "> 5 días", "< 5 días"),
        ("at least 60% alcohol", "al menos un 60 % de alcohol", "como máximo un 60 % de alcohol"),
        ("over a dozen groups", "más de una docena de grupos", "menos de una docena de grupos"),
        ("with more than 42.000 people", "con más de 42 000 personas", "con menos de 42 000 personas"),
    ],
)
def test_a_bound_that_points_the_other_way_is_told(source: str, target: str, wrong: str) -> None:
    assert reasons(source, target) == []
    assert reasons(source, wrong) == ["changed_comparison"]


def test_a_bound_is_set_on_the_nearer_number() -> None:
    source = "Exercise for 30 minutes or more, 2 times a week."
    assert reasons(source, "30分以上の運動を2回/週", "en ja") == []
    assert reasons(source, "30分以下の運動を2回/週", "en ja") == ["changed_comparison"]
    assert reasons("two aged over 60, 2 between 51 and 60", "2例60岁以上, 2例51-60岁", "en zh") == []
    assert reasons("Stay in a clean environment and up to 5 days.", "En un entorno limpio y hasta 5 días.") == []


def test_a_bound_in_words_may_be_left_out() -> None:
    assert reasons("within 14 days", "en 14 días") == []
    assert reasons("over 14 days", "durante 14 días") == []


def test_an_order_of_things_is_no_bound_on_a_number() -> None:
    assert reasons("Metilo>primario>secundario.", "Methyl> primary> secondary.", "es en") == []


def test_the_other_reading_of_a_date_is_not_bounded() -> None:
    """March is 3, too: a bound on 3 is none on the month."""
    assert reasons("By 23 March, over 3,000 died.", "Al 23 de marzo murieron más de 3000.") == []


def test_each_kind_can_be_switched_off() -> None:
    source, target = (
        "No pain in the left arm for more than 5 days.",
        "Dolor en el brazo derecho durante menos de 5 días.",
    )
    assert reasons(source, target) == ["changed_negation", "changed_comparison", "changed_side"]
    assert reasons(source, target, negation=False) == ["changed_comparison", "changed_side"]
    assert reasons(source, target, sides=False) == ["changed_negation", "changed_comparison"]
    assert reasons(source, target, comparisons=False) == ["changed_negation", "changed_side"]


def test_empty_and_odd_texts_are_read() -> None:
    assert reasons("", "") == []
    assert reasons("", "no") == ["changed_negation"]
    assert reasons("<", ">") == []
    assert reasons("\ud800 5", "5 \udfff") == []


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
@pytest.mark.parametrize("language", ["zh", "ru", "es", "fr"])
def test_real_translations_are_let_through_and_negations_taken_from_them_are_told(language: str) -> None:
    """Every sixth unit of TICO-19. Some of its units have another one's translation (en-fr), which are told as well."""
    name = "es-LA" if language == "es" else language
    with (
        zipfile.ZipFile(DATA / f"tico-19/TM/all.en-{name}.tmx.zip") as archive,
        archive.open(archive.namelist()[0]) as file,
    ):
        units = [
            tuple("".join(seg.itertext()) for seg in unit.iter("seg")) for unit in ElementTree.parse(file).iter("tu")
        ][::6]
    alarms, planted, caught, chance = 0, 0, 0, random.Random(5)
    for source, target in units:
        if reasons(source, target, f"en {language}"):
            alarms += 1
        elif places := [found.span() for found in re.finditer(r"\b(?:no|not|without|never) ", source)]:
            start, end = chance.choice(places)
            planted += 1
            caught += bool(reasons(source[:start] + source[end:], target, f"en {language}"))
    assert alarms <= 0.04 * len(units)
    assert planted >= 20
    # What a pack counts as softer (缺, отсутствует) does not show that a negation of the source is gone.
    assert caught >= 0.8 * planted
