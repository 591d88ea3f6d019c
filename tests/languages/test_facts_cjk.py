"""What the packs of Chinese, Japanese and Korean say of numbers, units and small words, held against English."""

from __future__ import annotations

from fractions import Fraction

import pytest

from langmill.api import packs_in
from langmill_plugins.guards.cues import changed_cues
from langmill_plugins.guards.numbers import changed_numbers
from langmill_plugins.guards.reading import read

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}

DOSE = "Give 0.5 mg every six hours, at most 2 mg a day."
CASES = "The virus infected 2.3 million people in 14 countries."
LESION = "Two patients had a left lung lesion; three had none."
TESTED = "On 5 March 2020, fifteen children were tested."
TABLET = "Take one 5 mg tablet three times a day."
YOUNG = "Do not take this medicine if you are under 12 years of age."
SOUND = [
    ("zh", DOSE, "每6小时给药0.5毫克，每日最多2毫克。"),
    ("ja", DOSE, "6時間毎に0.5ミリグラムを投与し、1日最大2ミリグラムとする。"),
    ("ko", DOSE, "6시간마다 0.5밀리그램을 투여하고 하루 최대 2밀리그램을 넘지 않는다."),
    ("zh", CASES, "该病毒在14个国家感染了230万人。"),
    ("zh", CASES, "该病毒在十四个国家感染了二百三十万人。"),
    ("ja", CASES, "このウイルスは14か国で230万人に感染した。"),
    ("ko", CASES, "이 바이러스는 14개국에서 230만 명을 감염시켰다."),
    ("zh", LESION, "两名患者左肺有病灶，三名没有。"),
    ("ja", LESION, "2人の患者に左肺病変を認め、3人には認めなかった。"),
    ("ko", LESION, "두 명의 환자는 왼쪽 폐에 병변이 있었고 세 명은 없었다."),
    ("zh", TESTED, "2020年3月5日，十五名儿童接受了检测。"),
    ("zh", TESTED, "二〇二〇年三月五日，十五名儿童接受了检测。"),
    ("ja", TESTED, "2020年3月5日、15人の小児が検査を受けた。"),
    ("ko", TESTED, "2020년 3월 5일 열다섯 명의 어린이가 검사를 받았다."),
    ("zh", TABLET, "5毫克片剂，每日三次，每次一片。"),
    ("ja", TABLET, "5ミリグラム錠を1日3回1錠服用する。"),
    ("ko", TABLET, "5밀리그램 정제를 하루 세 번 한 알씩 복용한다."),
    ("zh", YOUNG, "未满12岁者请勿服用本药。"),
    ("ja", YOUNG, "12歳未満の方は本剤を服用しないでください。"),
    ("ko", YOUNG, "12세 미만은 이 약을 복용하지 마십시오."),
    ("zh", "One third of the 23 patients were treated.", "23名患者中有三分之一接受了治疗。"),
    ("zh", "More than 5,000 samples were tested.", "检测了5,000多份样本。"),
    ("zh", "The dose is 500 micrograms.", "剂量为0.5毫克。"),
    ("ja", "The survey took place in 2018.", "調査は平成30年に行われた。"),
    ("ko", "There were 11,265 cases under Article 47.", "제47조에 따른 사례는 1만1265건이었다."),
    ("ko", "Two drugs were given over two months.", "두 달 동안 두 약물을 투여했다."),
    ("ko", "The man is 23 years old.", "남자는 스물세 살이다."),
]
"""Sound translations from English."""


@pytest.mark.parametrize(("language", "english", "text"), SOUND)
def test_a_sound_translation_raises_no_alarm(language: str, english: str, text: str) -> None:
    source, target = read(english, PACKS["en"]), read(text, PACKS[language])
    assert changed_numbers(source, target) == []
    assert changed_cues(source, target) == []


FAULTY = [
    ("zh", DOSE, "每6小时给药0.5克，每日最多2毫克。", "changed_unit"),
    ("zh", DOSE, "每8小时给药0.5毫克，每日最多2毫克。", "changed_frequency"),
    ("zh", DOSE, "每6小时给药0.5毫克，每日至少2毫克。", "changed_comparison"),
    ("ja", DOSE, "6時間毎に0.5グラムを投与し、1日最大2ミリグラムとする。", "changed_unit"),
    ("ja", DOSE, "6時間毎に0.05ミリグラムを投与し、1日最大2ミリグラムとする。", "changed_number"),
    ("ko", DOSE, "8시간마다 0.5밀리그램을 투여하고 하루 최대 2밀리그램을 넘지 않는다.", "changed_frequency"),
    ("ko", DOSE, "6시간마다 0.5그램을 투여하고 하루 최대 2밀리그램을 넘지 않는다.", "changed_unit"),
    ("zh", CASES, "该病毒在14个国家感染了230亿人。", "changed_number"),
    ("ja", CASES, "このウイルスは14か国で23万人に感染した。", "changed_number"),
    ("ko", CASES, "이 바이러스는 14개국에서 230억 명을 감염시켰다.", "changed_number"),
    ("zh", LESION, "两名患者右肺有病灶，三名没有。", "changed_side"),
    ("zh", LESION, "两名患者左肺有病灶，四名没有。", "changed_number"),
    ("zh", LESION, "两名患者左肺有病灶，三名也有。", "changed_negation"),
    ("ja", LESION, "2人の患者に右肺病変を認め、3人には認めなかった。", "changed_side"),
    ("ja", LESION, "2人の患者に左肺病変を認め、3人には認めた。", "changed_negation"),
    ("ko", LESION, "두 명의 환자는 오른쪽 폐에 병변이 있었고 세 명은 없었다.", "changed_side"),
    ("ko", LESION, "두 명의 환자는 왼쪽 폐에 병변이 있었고 네 명은 없었다.", "changed_number"),
    ("ko", LESION, "두 명의 환자는 왼쪽 폐에 병변이 있었고 세 명은 있었다.", "changed_negation"),
    ("zh", TESTED, "2020年3月5日，五十名儿童接受了检测。", "changed_number"),
    ("zh", TESTED, "2020年4月5日，十五名儿童接受了检测。", "changed_number"),
    ("ko", TESTED, "2020년 3월 5일 스물다섯 명의 어린이가 검사를 받았다.", "changed_number"),
    ("zh", TABLET, "5毫克片剂，每日两次，每次一片。", "changed_frequency"),
    ("ja", TABLET, "5ミリグラム錠を1日2回1錠服用する。", "changed_frequency"),
    ("ko", TABLET, "5밀리그램 정제를 하루 네 번 한 알씩 복용한다.", "changed_frequency"),
    ("zh", YOUNG, "未满12岁者请服用本药。", "changed_negation"),
    ("zh", YOUNG, "12岁以上者请勿服用本药。", "changed_comparison"),
    ("ja", YOUNG, "12歳未満の方は本剤を服用してください。", "changed_negation"),
    ("ko", YOUNG, "12세 미만은 이 약을 복용하십시오.", "changed_negation"),
    ("ja", YOUNG, "12歳以上の方は本剤を服用しないでください。", "changed_comparison"),
    ("ko", YOUNG, "12세 이상은 이 약을 복용하지 마십시오.", "changed_comparison"),
    ("ja", "The survey took place in 2018.", "調査は平成28年に行われた。", "changed_number"),
]
"""The same with one fault each."""


@pytest.mark.parametrize(("language", "english", "text", "reason"), FAULTY)
def test_a_fault_is_named(language: str, english: str, text: str, reason: str) -> None:
    source, target = read(english, PACKS["en"]), read(text, PACKS[language])
    found = {drop.reason for drop in (*changed_numbers(source, target), *changed_cues(source, target))}
    assert reason in found


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "十二指肠溃疡与百日咳"),
        ("zh", "发热时千万不要惊慌"),
        ("ja", "十二指腸潰瘍と百日咳"),
        ("ja", "十分な水分をとる"),
        ("ko", "두통과 세균 감염, 네트워크 구조"),
        ("ko", "십이지장과 백신"),
    ],
)
def test_signs_inside_words_are_no_numbers(language: str, text: str) -> None:
    assert [number for number in read(text, PACKS[language]).numbers if number.firm] == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "不过，这非常重要，未来也会不断改进"),
        ("zh", "无论年龄，不锈钢表面都要清洁"),
        ("ja", "安静にしなければならない"),
        ("ja", "まず血圧を測り、必ず記録する"),
        ("ja", "わずかな発熱が少なくとも続く"),
        ("ko", "그동안 안전하게 지내고 물안경을 쓴다"),
        ("ko", "끊임없이 노력하고 잘못을 고친다"),
    ],
)
def test_what_looks_like_a_negation_denies_nothing(language: str, text: str) -> None:
    assert [hit for hit in read(text, PACKS[language]).hits if hit.kind == "negation"] == []


@pytest.mark.parametrize(
    ("language", "text", "value"),
    [
        ("zh", "两万三千人", 23000),
        ("zh", "1.5亿人", 150_000_000),
        ("zh", "一百零五例", 105),
        ("zh", "二〇二〇年", 2020),
        ("ja", "二十三日間", 23),
        ("ja", "３億５０００万円", 350_000_000),
        ("ko", "3만 5천 명", 35000),
        ("ko", "열두 시간", 12),
    ],
)
def test_numerals_and_scales_make_one_number(language: str, text: str, value: int) -> None:
    firm = [number for number in read(text, PACKS[language]).numbers if number.firm]
    assert [number.values[0] for number in firm] == [Fraction(value)]
