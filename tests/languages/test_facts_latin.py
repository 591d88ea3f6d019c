"""What the French and the Spanish pack know of numbers, units and small words: sentences made up for this, and real pairs."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest
from tests.public_sets import NEEDS_DATA, PACKS, load

from langmill.api import Choice
from langmill_plugins.guards.cues import changed_cues
from langmill_plugins.guards.numbers import changed_numbers
from langmill_plugins.guards.reading import read


def reasons(source_language: str, source: str, target_language: str, target: str) -> set[str]:
    """Why a translation is held to be another text; nothing if it is not."""
    here, there = read(source, PACKS[source_language]), read(target, PACKS[target_language])
    return {drop.reason for drop in (*changed_numbers(here, there), *changed_cues(here, there))}


WORDS = {
    "fr": {
        "dix-sept": 17, "vingt et un": 21, "trente-deux": 32, "soixante-dix": 70, "soixante et onze": 71,
        "soixante-dix-huit": 78, "quatre-vingts": 80, "quatre-vingt-un": 81, "quatre-vingt-onze": 91,
        "quatre-vingt-dix-sept": 97, "septante": 70, "nonante-deux": 92, "deux cents": 200, "cent vingt": 120,
        "trois mille": 3000, "deux millions": 2_000_000,
    },
    "es": {
        "dieciséis": 16, "veintiún": 21, "treinta y una": 31, "cuarenta y cinco": 45, "noventa y nueve": 99,
        "ciento veinte": 120, "doscientas": 200, "quinientos": 500, "tres mil": 3000, "dos millones": 2_000_000,
        "cinco mil millones": 5_000_000_000,
    },
}  # fmt: skip


@pytest.mark.parametrize(("code", "said", "value"), [(code, *pair) for code in WORDS for pair in WORDS[code].items()])
def test_a_number_in_words_is_one_number(code: str, said: str, value: int) -> None:
    text = {"fr": f"On compte {said} malades.", "es": f"Se cuentan {said} enfermos."}[code]
    assert [number.values[0] for number in read(text, PACKS[code]).numbers if number.firm] == [Fraction(value)]


@pytest.mark.parametrize(
    ("code", "text", "value", "unit"),
    [
        ("fr", "une dose de 0,5 milligramme", Fraction(1, 2), "mg"),
        ("fr", "une dose de 1 500 microgrammes", Fraction(1500), "ug"),
        ("fr", "un poids de 50 kgrs", Fraction(50), "kg"),
        ("fr", "5 000 unités internationales", Fraction(5000), "[IU]"),
        ("fr", "pendant dix semaines", Fraction(10), "wk"),
        ("fr", "environ 12,5 pour cent", Fraction(25, 2), "%"),
        ("es", "una dosis de 0,5 miligramos", Fraction(1, 2), "mg"),
        ("es", "una dosis de 1.500 microgramos", Fraction(1500), "ug"),
        ("es", "una presión de 20 mm de Hg", Fraction(20), "mm[Hg]"),
        ("es", "5 000 unidades internacionales", Fraction(5000), "[IU]"),
        ("es", "durante diez semanas", Fraction(10), "wk"),
        ("es", "alrededor del 12,5 por ciento", Fraction(25, 2), "%"),
    ],
)
def test_a_value_and_its_unit_are_read(code: str, text: str, value: Fraction, unit: str) -> None:
    firm = [(number.values[0], number.unit) for number in read(text, PACKS[code]).numbers if number.firm]
    assert firm == [(value, unit)]


@pytest.mark.parametrize("text", ["Deux génomes et 3 000 décès.", "Quatre litiges, deux lésions."])
def test_a_word_that_begins_like_a_unit_is_none(text: str) -> None:
    assert {number.unit for number in read(text, PACKS["fr"]).numbers} == {""}


SAME = [
    {
        "en": "Give 5 mg twice daily by mouth for 10 days.",
        "fr": "Donner 5 mg deux fois par jour par voie orale pendant dix jours.",
        "es": "Administrar 5 miligramos dos veces al día por vía oral durante 10 días.",
    },
    {
        "en": "Inject 1,500 IU every six hours.",
        "fr": "Injecter 1 500 UI toutes les 6 heures.",
        "es": "Inyectar 1.500 UI cada seis horas.",
    },
    {
        "en": "At least 97 patients over 65 years of age did not receive the drug.",
        "fr": "Au moins quatre-vingt-dix-sept patients de plus de 65 ans n'ont pas reçu le médicament.",
        "es": "Por lo menos noventa y siete pacientes de más de 65 años no recibieron el medicamento.",
    },
    {
        "en": "There is no vaccine and no specific treatment for it.",
        "fr": "Il n'existe aucun vaccin ni aucun traitement spécifique.",
        "es": "No hay ninguna vacuna ni ningún tratamiento específico.",
    },
    {
        "en": "Two thirds of them had pain in the left arm on 12 March 2020.",
        "fr": "Les deux tiers avaient mal au bras gauche le 12 mars 2020.",
        "es": "Dos tercios tenían dolor en el brazo izquierdo el 12 de marzo de 2020.",
    },
    {
        "en": "Remember the three-dimensional model, now more than ever.",
        "fr": "N'oubliez pas le modèle tridimensionnel, maintenant plus que jamais.",
        "es": "No olvide el modelo tridimensional, ahora más que nunca.",
    },
    {
        "en": "However, about 1.7 million people, both young and old, were ill for two years.",
        "fr": "Toutefois, environ 1,7 million de personnes, jeunes et vieilles, ont été malades pendant 2 ans.",
        "es": "Sin embargo, alrededor de 1,7 millones de personas, jóvenes y viejas, estuvieron enfermas dos años.",
    },
    {
        "en": "Half a million were ill for two and a half years, two dozen for a year and a half, some for two decades.",
        "fr": "Un demi-million étaient malades pendant deux ans et demi, 24 pendant un an et demi, certains pendant 20 ans.",
        "es": "Medio millón enfermaron durante dos años y medio, 24 durante un año y medio, algunos durante dos décadas.",
    },
]  # fmt: skip
PAIRS = [("en", "fr"), ("en", "es"), ("es", "fr"), ("fr", "en")]


@pytest.mark.parametrize(("here", "there"), PAIRS)
@pytest.mark.parametrize("said", SAME, ids=[each["en"][:24] for each in SAME])
def test_the_same_in_two_languages_raises_no_alarm(said: dict[str, str], here: str, there: str) -> None:
    assert reasons(here, said[here], there, said[there]) == set()


@pytest.mark.parametrize(
    ("code", "was", "now", "reason"),
    [
        ("fr", "5 mg deux", "5 g deux", "changed_unit"),
        ("fr", "5 mg deux", "50 mg deux", "changed_number"),
        ("fr", "deux fois par jour", "trois fois par jour", "changed_frequency"),
        ("fr", "voie orale", "voie intraveineuse", "changed_route"),
        ("fr", "1 500 UI", "150 UI", "changed_number"),
        ("fr", "1 500 UI", "1,5 UI", "changed_number"),
        ("es", "1.500 UI", "1,5 UI", "changed_number"),
        ("fr", "deux ans et demi", "deux ans", "changed_number"),
        ("es", "dos años y medio", "tres años y medio", "changed_number"),
        ("fr", "quatre-vingt-dix-sept", "soixante-dix-sept", "changed_number"),
        ("fr", "n'ont pas reçu", "ont reçu", "changed_negation"),
        ("fr", "plus de 65", "moins de 65", "changed_comparison"),
        ("fr", "gauche", "droit", "changed_side"),
        ("fr", "12 mars", "12 mai", "changed_number"),
        ("fr", "1,7 million", "1,7 milliard", "changed_number"),
        ("es", "5 miligramos", "5 gramos", "changed_unit"),
        ("es", "dos veces al día", "cuatro veces al día", "changed_frequency"),
        ("es", "vía oral", "vía intramuscular", "changed_route"),
        ("es", "cada seis horas", "cada ocho horas", "changed_frequency"),
        ("es", "noventa y siete", "noventa y seis", "changed_number"),
        ("es", "no recibieron", "recibieron", "changed_negation"),
        ("es", "más de 65", "menos de 65", "changed_comparison"),
        ("es", "izquierdo", "derecho", "changed_side"),
        ("es", "12 de marzo", "12 de mayo", "changed_number"),
        ("es", "1,7 millones", "1,7 mil", "changed_number"),
    ],
)
def test_a_changed_word_is_caught(code: str, was: str, now: str, reason: str) -> None:
    [said] = [each for each in SAME if was in each[code]]
    assert reason in reasons("en", said["en"], code, said[code].replace(was, now))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("es", "La respuesta correcta es la nº 5."),
        ("es", "Sin embargo, es útil."),
        ("fr", "Des dépôts PAS+ dans le derme."),
    ],
)
def test_what_only_looks_like_a_negation_denies_nothing(code: str, text: str) -> None:
    assert reasons("en", "It is the right answer.", code, text) <= {"changed_number"}


class TestRealPairs:
    """Cases of the Spanish examination, with their English and French editions."""

    pytestmark = NEEDS_DATA

    @pytest.mark.parametrize(("source", "target"), [("es", "en"), ("es", "fr"), ("en", "fr")])
    def test_translations_raise_few_alarms(self, source: str, target: str) -> None:
        pieces = list(_pieces(source, target))
        numbers = negations = 0
        for said, again in pieces:
            here, there = read(said, PACKS[source]), read(again, PACKS[target])
            numbers += bool(changed_numbers(here, there))
            negations += bool(changed_cues(here, there, sides=False, comparisons=False))
        assert len(pieces) > 2500
        assert numbers / len(pieces) < 0.02
        assert negations / len(pieces) < 0.03


def _pieces(source: str, target: str) -> Iterator[tuple[str, str]]:
    cases: dict[str, dict[str, Choice]] = {}
    for row in load("casimedicos"):
        if isinstance(row.body, Choice):
            cases.setdefault(row.family, {})[row.language] = row.body
    for editions in cases.values():
        if source in editions and target in editions:
            said, again = editions[source], editions[target]
            yield from zip(
                (said.question, *said.options, said.explanation or ""),
                (again.question, *again.options, again.explanation or ""),
                strict=False,
            )
