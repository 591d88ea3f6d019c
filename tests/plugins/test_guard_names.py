"""Names that stay, words that are not translated, and terms that are translated so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from langmill.api import MissingInput, packs_in
from langmill_plugins.guards.glossaries import Glossary
from langmill_plugins.guards.names import changed_names, not_kept
from langmill_plugins.guards.reading import read

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
DATA = Path(os.environ.get("FACTORY_DATA", ""))


def changed(source: str, target: str, languages: str = "en es") -> list[str]:
    mine, theirs = (PACKS[code] for code in languages.split())
    return [drop.detail for drop in changed_names(read(source, mine), read(target, theirs))]


def terms(source: str, target: str, *pairs: tuple[str, str]) -> list[str]:
    return [drop.reason for drop in Glossary(pairs).missing(source, target)]


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("COVID-19", "COVID-18"),
        ("IL-6", "IL-8"),
        ("B12", "B6"),
        ("SARS-CoV-2", "SARS-CoV-1"),
        ("HbA1c", "HbA2c"),
        ("CD4", "CD8"),
    ],
)
def test_another_identifier_of_the_same_letters_is_told(was: str, now: str) -> None:
    for language, frame in (("es", "El valor de {} es alto."), ("ru", "Уровень {} повышен."), ("zh", "{} 升高。")):
        assert changed(f"The level of {was} is high.", frame.format(was), f"en {language}") == []
        assert changed(f"The level of {was} is high.", frame.format(now), f"en {language}") == [
            f"{was.lower()} in the source, {now.lower()} in the translation"
        ]


def test_an_identifier_changed_in_one_place_of_two_is_told() -> None:
    assert changed("COVID-19 and COVID-19", "COVID-19 y COVID-17") == [
        "covid-19 in the source, covid-17 in the translation"
    ]
    assert changed("IL-6 and IL-8", "IL-6 y IL-6") == ["il-8 in the source, il-6 in the translation"]


def test_an_identifier_may_be_left_out_or_named() -> None:
    assert changed("COVID-19 spreads.", "La enfermedad se propaga.") == []
    assert changed("COVID-19 spreads.", "Coronavirus disease spreads.", "en en") == []
    assert changed("La covid-19 y el SARS-CoV-2", "The disease and its virus", "es en") == []


def test_hyphens_case_and_blanks_are_no_change() -> None:
    assert changed("covid 19, IL 6 and SARS-CoV-2", "COVID-19, IL-6 y SARS-CoV2") == []


def test_a_latin_name_in_another_script_must_not_be_misspelt() -> None:
    assert changed("Give remdesivir.", "给予 remdesivir。", "en zh") == []
    assert changed("Give remdesivir.", "给予 remdisivir。", "en zh") == [
        "remdesivir in the source, remdisivir in the translation"
    ]
    assert changed("Назначен Remdesivir.", "Remdesivri was given.", "ru en") == [
        "remdesivir in the source, remdesivri in the translation"
    ]


def test_words_that_only_look_alike_are_no_names() -> None:
    assert changed("Two antibodies", "两种 antibody", "en zh") == []
    assert changed("area 4", "area 4 are", "ja en") == []
    assert changed("remdesivir", "remdesivirus") == []  # both languages have Latin letters: words inflect


def test_terms_that_must_stay_stay_letter_for_letter() -> None:
    assert not_kept("Ask about Tylenol.", "Pregunte por Tylenol.", ["Tylenol"]) == []
    assert not_kept("Ask about Tylenol.", "询问ＴＹＬＥＮＯＬ。", ["Tylenol"]) == []
    assert not_kept("Ask about Tylenol.", "Tylenol의 용량", ["Tylenol"]) == []
    drops = not_kept("Ask about Tylenol.", "Pregunte por Tilenol.", ["Tylenol", "Advil"])
    assert [drop.reason for drop in drops] == ["not_kept"]
    assert "Tylenol" in drops[0].detail


def test_a_term_inside_a_word_is_not_the_term() -> None:
    assert not_kept("Dose of ASA", "Dosis de nasal", ["ASA"]) != []
    assert not_kept("nasal dose", "dosis", ["ASA"]) == []
    assert not_kept("HLA-B*57 carriers", "portadores de HLA-B*57", ["HLA-B*57"]) == []
    assert not_kept("anything", "todo", ["", " "]) == []


def test_a_glossary_asks_for_one_of_its_terms() -> None:
    pairs = ("face mask", "mascarilla"), ("face mask", "tapabocas")
    assert terms("Wear a face mask.", "Use mascarilla.", *pairs) == []
    assert terms("Wear face masks.", "Use tapabocas.", *pairs) == []
    assert terms("Wear a face mask.", "Use un antifaz.", *pairs) == ["glossary"]
    assert terms("Wear a hat.", "Use un sombrero.", *pairs) == []


def test_the_longest_term_counts() -> None:
    pairs = ("virus", "virus"), ("influenza virus", "virus de la gripe")
    assert terms("The influenza virus", "El virus de la gripe", *pairs) == []
    assert terms("The influenza virus", "El virus", *pairs) == ["glossary"]


def test_long_words_may_end_otherwise() -> None:
    assert terms("acute bronchitis", "лечение острого бронхита", ("acute bronchitis", "острый бронхит")) == []
    assert terms("Vaccines", "вакцинами", ("vaccine", "вакцина")) == []
    assert terms("infection", "والعدوى", ("infection", "العدوى")) == []
    assert terms("Testing", "pruebas", ("test", "examen")) == []  # a word of its own


def test_either_of_two_names_will_do() -> None:
    assert terms("AIDS", "艾滋病", ("AIDS", "艾滋病（AIDS）")) == []
    assert terms("AIDS", "AIDS 患者", ("AIDS", "艾滋病（AIDS）")) == []
    assert terms("AIDS", "爱滋", ("AIDS", "艾滋病（AIDS）")) == ["glossary"]


def test_a_glossary_is_read_from_a_table_of_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "terms.csv"
    path.write_text('\ufeffsource,target\n"mask, surgical",mascarilla quirúrgica\n,\nmask\n', "utf-8")
    glossary = Glossary.read(path, "en", "es")
    assert len(glossary) == 1
    assert [drop.reason for drop in glossary.missing("mask, surgical", "máscara")] == ["glossary"]


def test_a_glossary_of_several_languages_gives_those_of_the_pair(tmp_path: Path) -> None:
    path = tmp_path / "terms.csv"
    path.write_text(
        "id,sourceLang,targetLang,sourceString,targetString\n1,en,es_XX,fever,fiebre\n2,en,fr_XX,fever,fièvre\n,,es_XX,,\n",
        "utf-8",
    )
    assert Glossary.read(path, "en", "es").missing("fever", "fiebre") == []
    assert Glossary.read(path, "en", "es").missing("fever", "fièvre") != []
    assert Glossary.read(path, "fr", "en").missing("fièvre", "fever") == []
    assert len(Glossary.read(path, "en", "ko")) == 0


def test_a_table_that_is_no_glossary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no glossary at"):
        Glossary.read(tmp_path / "none.csv", "en", "es")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MissingInput, match="columns source and target"):
        Glossary.read(tmp_path / "other.csv", "en", "es")


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_the_published_term_lists_are_read() -> None:
    sizes = {
        path.stem[5:7]: len(Glossary.read(path, "en", path.stem[5:7]))
        for path in (DATA / "tico-19/terminologies").glob("*.csv")
    }
    assert set(sizes) == {"ar", "de", "es", "fr", "ja", "ko", "ru", "zh"}
    assert all(size >= 300 for size in sizes.values())
