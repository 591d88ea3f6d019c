"""How texts are read for their numbers: marks, numerals, words, units, and what is no number to answer for."""

from __future__ import annotations

from fractions import Fraction

import pytest

from langmill.api import Pack
from langmill.parts.facts import CueFacts, Identity, NumberFacts, UnitFacts
from langmill_plugins.guards.reading import Number, Reading, read
from langmill_plugins.guards.units import SYMBOLS, UNITS, in_base


def pack(code: str, numbers: NumberFacts, units: UnitFacts | None = None, cues: CueFacts | None = None) -> Pack:
    identity = Identity(
        code=code,
        name=code,
        native_name=code,
        scripts=("Latn",),
        lid_labels=(code,),
        sample="A sentence of some length.",
    )
    return Pack(identity, None, None, {}, f"reading test {code}", numbers=numbers, units=units, cues=cues)


ENGLISH = pack(
    "en",
    NumberFacts(
        decimal=".",
        words={"two": 2, "three": 3, "five": 5, "seven": 7, "nineteen": 19, "twenty": 20, "ninety": 90},
        hints={"one": 1, "once": 1, "both": 2, "half": ("1/2", 2), "and a half": "1/2", "dozen": 12, "thirds": "1/3", "may": 5},
        scales={"hundred": 100, "thousand": 1000, "million": 1000000, "dozen": 12},
        joiners=("and", "-"),
        months={"january": 1, "march": 3, "may": 5},
        minus=("minus",),
        ranges=("to",),
    ),
    UnitFacts(
        names={
            "mg": ("milligrams",), "d": ("day", "days"), "mo": ("month",), "a": ("year", "years"),
            "%": ("percent",), "Cel": ("degrees celsius",), "g": ("gram",),
            "": ("gram negative",), "10.a": ("decades",),
            "dL": ("deciliter",),
        },
        per=("per", "a"),
        frequencies={"3/d": ("3 times a day", "three times daily")},
        routes={"oral": ("orally",)},
    ),
)  # fmt: skip
FRENCH = pack(
    "fr",
    NumberFacts(
        decimal=",",
        groups=(" ", "."),
        words={"quatre": 4, "sept": 7, "dix": 10, "vingt": 20, "soixante": 60, "deux": 2, "cent": 100},
        scales={"vingt": 20, "cent": 100, "mille": 1000, "milliards": 10**9, "millions": 10**6},
        joiners=("et",),
        months={"mars": 3},
    ),
)
CHINESE = pack(
    "zh",
    NumberFacts(
        numerals="〇一二三四五六七八九",
        scales={"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8, "億": 10**8},
        joiners=("零", "多"),
        words={"两": 2},
        hints={"十二指肠": 12, "一般": (), "半": "1/2"},
        counters=("个", "种", "例", "型", "第_"),
        ranges=("至",),
    ),
    UnitFacts(names={"mg": ("毫克",), "%": ("百分之_",), "d": ("天", "日"), "a": ("年", "岁"), "mo": ("个月",)}),
)
KOREAN = pack(
    "ko",
    NumberFacts(
        numerals="영일이삼사오육칠팔구", scales={"십": 10, "백": 100, "천": 1000, "만": 10**4}, counters=("명",)
    ),
)
RUSSIAN = pack(
    "ru",
    NumberFacts(
        decimal=",",
        groups=(" ", "."),
        words={"двадцать": 20, "пять": 5, "двести": 200},
        scales={"тыс": 1000, "тысяч*": 1000, "млн": 10**6},
        months={"марта": 3},
    ),
    UnitFacts(names={"g": ("г",), "mg": ("мг",), "a": ("лет", "года")}),
)
ARABIC = pack(
    "ar", NumberFacts(words={"خمسة": 5, "وعشرون": 20, "عشرون": 20, "مئة": 100}, joiners=("و",), ones_first=True)
)


def said(reading: Reading, *, firm: bool | None = None) -> list[str]:
    """Values with their units, as text."""
    return [
        " ".join(filter(None, [str(number.values[0]), number.unit, number.per and f"per {number.per}"]))
        for number in reading.numbers
        if firm is None or number.firm is firm
    ]


def only(text: str, language: Pack = ENGLISH) -> Number:
    (number,) = read(text, language).numbers
    return number


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1234", "1234"), ("1,234", "1234 617/500"), ("1,234,567", "1234567"), ("1,234.5", "2469/2"), ("1.234,5", "2469/2"),
        ("0.05", "1/20"), ("10 000", "10000"), ("10\u202f000", "10000"), ("1'000", "1000"), ("3,000", "3000"),
        ("٣٤٫٥", "69/2"), ("१२", "12"), ("１２", "12"), ("๑๒", "12"), ("3 x 10^5", "300000"), ("3×10⁵", "300000"),
        ("3 × 10⁻²", "3/100"), ("1e5", "100000"), ("1.5e-3", "3/2000"), ("½", "1/2"), ("5½", "11/2"), ("5 1/2", "11/2"),
        ("-5", "5 -5"), ("is -5", "-5"), ("(−5)", "-5"), ("minus 5", "-5"), ("±5", "5"), ("p < .05", "1/20"), ("10^6", "1000000"),
        (r"$\frac{1}{2}$", "1/2"), (r"$3 \times 10^{4}$", "30000"), ("1.5 million", "1500000"), ("300+ million", "300000000"),
        ("2:30", "2 30"), ("1:1000", "1 1000"), ("120/80", "120 80"), ("5 pm", "5 17"), ("12,13", "1213/100"),
    ],
)  # fmt: skip
def test_digits_are_read_in_every_way_of_writing_them(text: str, values: str) -> None:
    found = [value for number in read(text, ENGLISH).numbers for value in number.values]
    assert found == [Fraction(value) for value in values.split()]


def test_a_mark_before_three_digits_is_read_by_the_language_first_and_otherwise_second() -> None:
    assert only("1,234", ENGLISH).values == (1234, Fraction("1.234"))
    assert only("1,234", FRENCH).values == (Fraction("1.234"), 1234)
    assert only("1.234", FRENCH).values == (1234, Fraction("1.234"))
    assert only("0.5", FRENCH).values == only("0,5", ENGLISH).values == (Fraction(1, 2),)
    # One thousand in English; "1,000" is no 1 with three noughts there, and may be a thousand in French.
    assert only("1,000", ENGLISH).values == (1000,)
    assert only("1,000", FRENCH).values == (1, 1000)


@pytest.mark.parametrize(
    ("text", "language", "values"),
    [
        ("two hundred and five", ENGLISH, "205"), ("twenty-five", ENGLISH, "25"), ("five twenty", ENGLISH, "5 20"),
        ("two hundred thousand", ENGLISH, "200000"), ("five million two hundred thousand", ENGLISH, "5200000"),
        ("two thirds", ENGLISH, "2/3"), ("half a million", ENGLISH, "1/2 1000000"), ("one million", ENGLISH, "1000000"),
        ("two and 5", ENGLISH, "2 5"), ("nineteen ninety", ENGLISH, "19 90"), ("both five", ENGLISH, "2 5"),
        ("quatre-vingt-dix-sept", FRENCH, "97"), ("soixante-dix", FRENCH, "70"), ("cent vingt", FRENCH, "120"),
        ("1,8 milliards et 870 millions", FRENCH, "1800000000 870000000"), ("2,6 milliards deux", FRENCH, "2600000000 2"),
        ("двести двадцать пять", RUSSIAN, "225"), ("15 тыс", RUSSIAN, "15000"), ("2,5 млн", RUSSIAN, "2500000"),
        ("خمسة وعشرون", ARABIC, "25"),
    ],
)  # fmt: skip
def test_number_words_in_a_row_are_one_number_where_they_make_one(text: str, language: Pack, values: str) -> None:
    assert [str(number.values[0]) for number in read(text, language).numbers] == values.split()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("二十三例", "23"), ("三百", "300"), ("十五", "15"), ("一百零五", "105"), ("二〇二〇年", "2020"), ("1.5万", "15000"),
        ("2億5000万", "250000000"), ("5千万", "50000000"), ("三百五十万", "3500000"), ("5,000多万", "50000000"), ("三分之二", "2/3"),
        ("百分之二十", "20"), ("两百", "200"), ("三种", "3"), ("第三", "3"), ("２３", "23"), ("1至2万", "1 20000"),
    ],
)  # fmt: skip
def test_han_numerals_with_and_without_scales(text: str, values: str) -> None:
    assert [str(number.values[0]) for number in read(text, CHINESE).numbers] == values.split()
    assert all(number.firm for number in read(text, CHINESE).numbers)


def test_a_single_sign_is_a_number_only_beside_a_counter_or_a_unit() -> None:
    assert said(read("三种药", CHINESE), firm=True) == ["3"]
    assert said(read("统一治疗，四肢无力", CHINESE), firm=True) == []
    assert said(read("七八个", CHINESE), firm=True) == [
        "78"
    ]  # beside a counter it must be answered for, whatever it says
    assert said(read("七八", CHINESE), firm=True) == []


def test_a_phrase_of_the_pack_goes_before_the_numerals_in_it() -> None:
    (duodenum,) = read("十二指肠", CHINESE).numbers
    assert not duodenum.firm and duodenum.values == (12,)
    assert read("一般", CHINESE).numbers == ()


def test_hangul_numerals_are_no_syllables_of_words() -> None:
    assert said(read("이십오 명", KOREAN)) == ["25"]
    assert said(read("3만 5천 명", KOREAN)) == ["35000"]
    assert said(read("백신 이상 일반", KOREAN), firm=True) == []


def test_a_range_and_a_list_share_unit_and_scale() -> None:
    assert said(read("5 to 10 mg", ENGLISH)) == ["5 mg", "10 mg"]
    assert said(read("5, 10 and 15 mg", ENGLISH)) == ["5 mg", "10 mg", "15 mg"]
    assert said(read("120/80 mmHg", ENGLISH)) == ["120 mm[Hg]", "80 mm[Hg]"]
    assert read("1 to 2 million", ENGLISH).numbers[0].values == (1, 1_000_000)
    assert [number.shared for number in read("5-10 mg", ENGLISH).numbers] == [True, False]
    assert said(read("in 2019, 5 mg", ENGLISH)) == ["2019", "5 mg"]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("5mg", "5 mg"), ("5 MG", "5 mg"), ("5 µg", "5 ug"), ("5 μg", "5 ug"), ("5 mcg", "5 ug"), ("5 ㎎", "5 mg"), ("5 mL", "5 mL"),
        ("5 mg/kg/day", "5 mg per kg/d"), ("5 milligrams per day", "5 mg per d"), ("5 mg per deciliter", "5 mg per dL"),
        ("37 °C", "37 Cel"), ("37℃", "37 Cel"), ("37 ºC", "37 Cel"), ("50%", "50 %"), ("50 percent", "50 %"), ("5 mM", "5 mmol per L"),
        ("5 mm", "5 mm"), ("12-year-old", "12 a"), ("14-day", "14 d"), ("5 mmHg", "5 mm[Hg]"),
        ("5 mm Hg", "5 mm[Hg]"), ("6in", "6 [in_i]"),
        ("5 in 10", "5"), ("24 h", "24 h"), ("50s", "50"), ("5 grams of", "5"), ("5 mEq", "5 meq"), ("10 IU", "10 [IU]"),
    ],
)  # fmt: skip
def test_a_number_and_its_unit_are_one_thing(text: str, unit: str) -> None:
    assert said(read(text, ENGLISH))[0] == unit


@pytest.mark.parametrize(
    ("text", "language", "numbers"),
    [
        ("two and a half years", ENGLISH, ["5/2 a"]), ("2 years and a half", ENGLISH, ["5/2 a"]),
        ("a year and a half", ENGLISH, ["3/2 a"]), ("住院2天半", CHINESE, ["5/2 d"]), ("住院2天半年", CHINESE, ["2 d", "1/2 a"]),
        ("two dozen", ENGLISH, ["24"]), ("dozen", ENGLISH, ["12"]), ("3 gram negative rods", ENGLISH, ["3"]),
        ("in the second half of March", ENGLISH, ["1/2", "3"]),
        ("two decades", ENGLISH, ["2 10.a"]), ("894cm-1的吸收", CHINESE, ["894 cm", "1"]),
    ],
)  # fmt: skip
def test_halves_dozens_and_decades(text: str, language: Pack, numbers: list[str]) -> None:
    assert said(read(text, language)) == numbers


def test_a_conjunction_glued_to_digits_makes_no_name_of_them() -> None:
    assert said(read("و26,494 و14", ARABIC)) == ["26494", "14"]
    assert [name.key for name in read("كوفيد-19", ARABIC).names] == ["كوفيد19"]
    assert said(read("و.08", ARABIC)) == ["2/25"]


def test_a_year_is_no_gram_and_a_whole_word_no_symbol() -> None:
    assert said(read("в 2020 г. дали 3200 г", RUSSIAN)) == ["2020", "3200 g"]
    assert said(read("deux génomes", FRENCH)) == ["2"]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("COVID-19 and SARS-CoV-2", ["covid19", "sarscov2"]), ("HbA1c, IL-6", ["hba1c", "il6"]),
        ("CD4+ cells, CYP2D6", ["cd4", "cyp2d6"]),
        ("H1N1, vitamin B12", ["h1n1", "b12"]),
        ("see https://who.int/x/2020", ["https://who.int/x/2020"]), ("$x_2$ and CO$_2$", ["x2", "co2"]),
    ],
)  # fmt: skip
def test_numbers_inside_identifiers_and_addresses_are_names(text: str, keys: list[str]) -> None:
    reading = read(text, ENGLISH)
    assert [name.key for name in reading.names] == keys
    assert not reading.numbers
    assert all(reading.text[name.start : name.end] for name in reading.names)


@pytest.mark.parametrize("text", ["5-FU", "2b", "229B", "type II", "factor VIII", "nerve VII"])
def test_what_may_stand_for_a_number_need_not_be_answered_for(text: str) -> None:
    assert [number.firm for number in read(text, ENGLISH).numbers] == [False]


def test_january_15_is_no_identifier_and_neither_is_mid_1960s() -> None:
    assert said(read("31 January-15 March", ENGLISH)) == ["31", "1", "15", "3"]
    assert said(read("mid-1960s", ENGLISH)) == ["1960"]


def test_dates_in_any_order_and_their_parts() -> None:
    kinds = {number.kind for number in read("2020-03-11 11/03/2020 11.03.2020", ENGLISH).numbers}
    assert kinds == {"date"}
    assert [number.kind for number in read("2020年3月11日", CHINESE).numbers] == ["year", "month", "day"]
    assert said(read("住院3天，11日后，2个月", CHINESE)) == ["3 d", "11 d", "2 mo"]
    assert [number.kind for number in read("11 March 2020", ENGLISH).numbers] == ["day", "month", ""]


def test_a_month_that_is_another_word_as_well_is_one_only_beside_a_number() -> None:
    assert [number.firm for number in read("May 5", ENGLISH).numbers] == [True, True]
    assert [number.firm for number in read("about 3% may have it", ENGLISH).numbers] == [True, False]
    assert [number.firm for number in read("in March", ENGLISH).numbers] == [True]


def test_decades_spans_of_years_and_clocks() -> None:
    assert only("1950s").values == (1950, 50)
    assert read("1957-58", ENGLISH).numbers[1].values == (58, 1958)
    assert said(read("10:00", ENGLISH), firm=True) == ["10"]
    assert [str(value) for value in read("3:00 p.m.", ENGLISH).numbers[0].values] == ["3", "15"]


def test_the_numbering_of_a_list_of_several_lines_may_change_and_all_other_numbers_may_not() -> None:
    assert said(read("1. Rest\n2. 5 mg a day\n3) Water", ENGLISH), firm=True) == ["5 mg per d"]
    assert said(read("1. Rest", ENGLISH), firm=True) == ["1"]
    # References, page numbers, and numbers of tables are numbers like any other.
    assert said(read("as shown [12], p. 45, | 3.5 | 7 |", ENGLISH), firm=True) == ["12", "45", "7/2", "7"]


def test_a_frequency_holds_its_number() -> None:
    (number,) = read("3 times a day", ENGLISH).numbers
    assert number.kind == "frequency"


def test_places_are_places_in_the_plain_text() -> None:
    reading = read("Give  ５ ㎎ to  10 MG.", ENGLISH)
    assert [reading.text[number.start : number.end] for number in reading.numbers] == ["5", "10"]
    assert [reading.text[number.left : number.right] for number in reading.numbers] == ["5 mg", "10 mg"]


def test_a_pack_without_facts_still_reads_digits() -> None:
    bare = Pack(ENGLISH.identity, None, None, {}, "reading test bare")
    assert said(read("5 mg, 1,000 and ½", bare)) == ["5 mg", "1000", "1/2"]


@pytest.mark.parametrize(
    "text", ["", " \n ", "\ud800 5 mg", "5" * 400, "," * 500, "1," * 300, "a-" * 3000, "1/" * 400, "x10" * 300]
)
def test_odd_texts_are_read_quickly_and_without_a_fault(text: str) -> None:
    for language in (ENGLISH, CHINESE, FRENCH):
        assert read(text, language).pack is language


def test_units_convert_exactly() -> None:
    assert in_base(Fraction(1000), "mg") == in_base(Fraction(1), "g")
    assert in_base(Fraction("98.6"), "[degF]") == in_base(Fraction(37), "Cel")
    assert in_base(Fraction(1), "[lb_av]") == in_base(Fraction("453.59237"), "g")
    assert in_base(Fraction(12), "mo") == in_base(Fraction(1), "a") != in_base(Fraction(365), "d")
    assert in_base(Fraction(1), "{tablet}") == ("{tablet}", 1)
    assert set(SYMBOLS.values()) <= set(UNITS) | {"bpm"}
