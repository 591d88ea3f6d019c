"""Is a row written in the language it claims: scripts, models, passages, bad input, and rows of the public sets."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from pydantic import ValidationError

from langmill.api import (
    Body,
    Chat,
    Choice,
    Drop,
    MissingInput,
    Origin,
    Row,
    StepContext,
    Text,
    packs_in,
)
from langmill_plugins.filters.language_id import LanguageId
from langmill_plugins.text.identifiers import Eldc, FastText, Identifier, identify, plain, written_in
from langmill_plugins.text.passages import MOST, is_prose, passages
from langmill_plugins.text.scripts import (
    HAN,
    HANGUL,
    KATAKANA,
    LATIN,
    SCRIPTS,
    Reading,
    by_script,
    columns_of,
    measure,
)

sys.path.append(str(Path(__file__).resolve().parents[1]))
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
FRENCH = (
    "La carence en fer s'installe lentement. L'organisme épuise d'abord ses réserves, puis la moelle produit des globules "
    "rouges moins nombreux et plus petits. Le patient se sent fatigué, il est pâle et s'essouffle en montant les escaliers. "
    "La cause habituelle chez l'adulte est une perte de sang, qu'il faut chercher avant de remplacer le fer. "
)
ENGLISH = "The usual cause in adults is a loss of blood, which has to be looked for before the iron is replaced. "
KOREAN = (
    "철결핍성 빈혈은 서서히 진행한다. 먼저 저장철이 고갈되고, 그 다음에 골수에서 만들어지는 적혈구의 수가 줄고 크기가 "
    "작아진다. 환자는 피로를 느끼고 얼굴이 창백하며 계단을 오를 때 숨이 차다. 성인에서는 출혈이 가장 흔한 원인이다. "
)


def row(id: str, body: Body, language: str) -> Row:
    return Row(id, language, "train", id, body, Origin("s", id, ("CC0-1.0",)))


def judge(part: LanguageId, *rows: Row) -> list[str]:
    verdicts = part.judge(rows, CONTEXT)
    assert len(verdicts) == len(rows)
    return [verdict.reason if isinstance(verdict, Drop) else verdict.flag if verdict else "" for verdict in verdicts]


def verdict(text: str, language: str, part: LanguageId | None = None) -> str:
    return judge(part or LanguageId(), row("a", Text(text), language))[0]


@lru_cache
def opened(name: str) -> Identifier:
    return Eldc() if name == "eldc" else FastText(None, True)


# --- scripts ---


def test_letters_are_counted_by_script_in_any_width_and_form() -> None:
    texts = ["HbA1c ６．５", "ＣＴ検査 カタカナ ｶﾀｶﾅ", "한국어", "한국어", "", "e\u0301", "ﬁ 𝐀 α", "𠮷野家"]
    letters = measure(texts).letters
    assert [int(counts.sum()) for counts in letters] == [4, 12, 3, 3, 0, 1, 3, 3]
    assert letters[1][LATIN] == 2 and letters[1][HAN] == 2 and letters[1][KATAKANA] == 8
    assert letters[2][HANGUL] == letters[3][HANGUL] == 3
    assert letters[6][LATIN] == 2 and letters[6][SCRIPTS.index("GREEK")] == 1
    assert letters[7][HAN] == 3
    assert measure([]).weight.tolist() == []


def test_counts_do_not_depend_on_what_is_counted_together() -> None:
    texts = [pack.identity.sample for pack in PACKS.values()] * 40 + ["字" * 70_000, "word " * 300_000]
    whole = measure(texts)
    for index in (0, 3, len(texts) - 2, len(texts) - 1):
        alone = measure([texts[index]])
        assert alone.letters[0].tolist() == whole.letters[index].tolist()
        assert alone.strange[0].tolist() == whole.strange[index].tolist()


def test_scripts_of_a_pack() -> None:
    assert columns_of(("Hani", "Kana")) == [HAN, *range(HAN + 1, KATAKANA + 1)]
    assert columns_of(("Latn",)) == [LATIN]
    assert columns_of(("Latn", "Xsux")) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("慢性阻塞性肺疾病的药物治疗原则", "zh"), ("慢性阻塞性肺病的藥物治療原則", "zh"), ("人人皆得享有本宣言所載之權利", "zh"),
        ("抗菌薬投与 脳血管障害 帯状疱疹", "ja"), ("急性呼吸窮迫症候群 薬剤性肺障害", "ja"), ("ＣＴで肺に影がある。", "ja"),
        ("IgE的转换因子是IL-4", "zh"), ("Hurler症候群の診断", "ja"), ("CT 검사에서 폐 결절", "ko"),
    ],
)  # fmt: skip
def test_scripts_alone_tell_the_languages_of_east_asia(text: str, label: str) -> None:
    found = by_script(measure([text]))[0]
    assert found and found.label == label and found.score >= 0.75 and found.by_script


def test_scripts_leave_the_rest_to_a_model() -> None:
    assert by_script(measure(["The 肺 is a lung", "Лёгкое", "", "12 34"])) == [None] * 4
    undecided = by_script(measure(["糖尿病"]))[0]
    assert undecided and undecided.score < 0.75


# --- models ---


def test_labels_of_any_model_are_those_of_lid176() -> None:
    labels = ["__label__zh", "__label__cmn_Hani", "__label__arb_Arab", "__label__eng_Latn", "__label__ckb_Arab", "als"]
    assert [plain(label) for label in labels] == ["zh", "zh", "ar", "en", "ckb", "als"]
    assert written_in("sr", LATIN) and written_in("tlh", LATIN) and not written_in("uk", LATIN)


@pytest.mark.parametrize("name", ["fasttext", "eldc"])
def test_a_text_without_a_claim_is_identified(name: str) -> None:
    samples = {code: pack.identity.sample for code, pack in PACKS.items()}
    samples |= {"uk": "Дефіцит заліза є найчастішою причиною анемії в дорослих людей."}
    samples |= {"vi": "Thiếu sắt là nguyên nhân thường gặp nhất gây thiếu máu."}
    found = identify(list(samples.values()), opened(name))
    assert [reading.label for reading in found] == list(samples)
    among = identify(["Thiếu sắt là nguyên nhân gây thiếu máu."], opened(name), among={"en", "fr", "ru"})
    assert among[0].label in ("en", "fr", "")
    assert identify(["", "12 %"], opened(name)) == [Reading("", 0.0)] * 2


def test_capitals_are_read_in_small_letters_too() -> None:
    text = "NADIE SERÁ SOMETIDO A TORTURAS NI A TRATOS CRUELES"
    assert identify([text], opened("fasttext"))[0].label == "es"


def test_an_own_model_with_labels_like_glotlids(tmp_path: Path) -> None:
    import fasttext

    lines = [
        f"__label__{label} {part}"
        for code, label in (("en", "eng_Latn"), ("fr", "fra_Latn"), ("ru", "rus_Cyrl"))
        for part in PACKS[code].identity.sample.split()
    ]
    (tmp_path / "train.txt").write_text("\n".join(lines * 20), "utf-8")
    # fastText 0.9.3 fills a tenth of its weights for each thread and leaves the rest as the memory was: ten threads, and a
    # number of weights that ten divides.
    model = fasttext.train_supervised(
        str(tmp_path / "train.txt"), epoch=50, dim=10, thread=10, minn=2, maxn=3, verbose=0
    )
    model.save_model(str(tmp_path / "own.bin"))
    part = LanguageId(model="own.bin")
    rows = [
        row(code, Text(PACKS[code].identity.sample), claim) for code in ("en", "fr") for claim in ("en", "fr", "ru")
    ]
    found = part.judge(rows, replace(CONTEXT, folder=tmp_path))
    assert [isinstance(one, Drop) for one in found] == [False, True, True, True, False, True]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torn.bin").write_bytes(b"not a model")
    facts = PACKS["fr"].identity.model_copy(update={"code": "eo", "name": "Esperanto", "lid_labels": ("eo",)})
    context = replace(CONTEXT, languages={"eo": replace(PACKS["fr"], identity=facts)})
    esperanto = row("a", Text("Manko de fero estas la plej ofta kaŭzo de anemio ĉe plenkreskuloj."), "eo")
    assert LanguageId().judge([esperanto], context) == [None]
    with pytest.raises(MissingInput, match=r"the model does not know Esperanto \(lid_labels: eo\)"):
        LanguageId(identifier="eldc").judge([esperanto], context)
    here = replace(CONTEXT, folder=tmp_path)
    assert LanguageId().files(here) == [] and LanguageId(model="torn.bin").files(here) == [tmp_path / "torn.bin"]
    with pytest.raises(
        MissingInput, match=r"^datasets\.x\.steps\[0\]\.model: '.*torn.bin' can not be read as a fastText"
    ):
        LanguageId(model="torn.bin").judge([row("a", Text(FRENCH), "fr")], here)
    absent = LanguageId(model="none.bin")
    for ask in (absent.files, lambda context: absent.judge([row("a", Text(FRENCH), "fr")], context)):
        with pytest.raises(
            MissingInput, match=r"^datasets\.x\.steps\[0\]\.model: nothing at 'none.bin' \(/.*none.bin\)"
        ):
            ask(here)
    with pytest.raises(ValidationError, match="leave one of them out"):
        LanguageId(identifier="eldc", model="own.bin")
    monkeypatch.setitem(sys.modules, "eldc", None)
    with pytest.raises(MissingInput, match=r"^datasets\.x\.steps\[0\]: .* needs eldc, which is not installed"):
        LanguageId(identifier="eldc").judge([row("a", Text(FRENCH), "fr")], CONTEXT)


def test_latin_names_do_not_hide_another_alphabet() -> None:
    text = "Geotrichum spp. является дерматофитом?"
    assert identify([text], opened("fasttext"))[0].label == "ru"
    assert verdict(text, "ru") == ""


# --- verdicts ---


@pytest.mark.parametrize("name", ["fasttext", "eldc"])
def test_both_witnesses_are_heard(name: str) -> None:
    part = LanguageId(identifier=name)
    sample = {code: pack.identity.sample for code, pack in PACKS.items()}
    own = [row(code, Text(text), code) for code, text in sample.items()]
    assert judge(part, *own) == [""] * len(own)
    wrong = [row(code, Text(sample[code]), claim) for code in sample for claim in sample if claim != code]
    for item, found in zip(wrong, part.judge(wrong, CONTEXT), strict=True):
        assert isinstance(found, Drop) and found.reason == "wrong_language", item
        assert found.detail.startswith(f"text claims {item.language}, reads {item.id} "), found
    foreign = [
        row("uk", Text("Дефіцит заліза є найчастішою причиною анемії в дорослих людей."), "ru"),
        row("pt", Text("A deficiência de ferro é a causa mais frequente de anemia nos adultos."), "es"),
        row("vi", Text("Thiếu sắt là nguyên nhân thường gặp nhất gây thiếu máu."), "fr"),
        row("ar", Text("نقص الحديد هو السبب الأكثر شيوعا لفقر الدم عند البالغين."), "en"),
    ]
    found = judge(part, *foreign)
    assert found == ["wrong_language"] * 4 if name == "fasttext" else "" not in found


def test_the_sides_are_judged_apart_and_nothing_is_guessed() -> None:
    korean, english = PACKS["ko"].identity.sample, PACKS["en"].identity.sample
    item = Choice(korean, ("Aspergillus fumigatus", "Candida albicans"), (0,))
    rows = (
        row("a", Chat.of(korean, english), "ko"),
        row("b", Chat.of(english, korean), "ko"),
        row("c", Chat.of("진단은?", korean), "ko"),
        row("d", Chat.of("진단은?", "HbA1c"), "ko"),
        row("e", item, "ko"),
        row("f", replace(item, explanation=english), "ko"),
        row("g", Text("肺癌"), "ja"),
        row("h", Text(""), "en"),
        row("i", Text("120/80, 98%, 37.2 — …"), "en"),
    )
    short = "too_short_to_tell"
    assert judge(LanguageId(), *rows) == [
        "wrong_language", "wrong_language", "", short, "", "wrong_language", short, short, short,
    ]  # fmt: skip
    details = [found.detail for found in LanguageId().judge(rows, CONTEXT) if isinstance(found, Drop)]
    assert [detail.rsplit(" ", 1)[0] for detail in details] == [
        "answer claims ko, reads en", "question claims ko, reads en", "explanation claims ko, reads en",
    ]  # fmt: skip
    strict = LanguageId(too_short="drop").judge([rows[3], rows[2]], CONTEXT)
    assert strict == [Drop(short), None]


def test_a_short_question_is_read_with_its_options() -> None:
    item = Choice(
        "La memoria episódica es:",
        ("No declarativa, y guarda habilidades y hábitos", "Declarativa, y guarda los hechos de la propia vida"),
        (1,),
    )
    assert judge(LanguageId(), row("a", item, "es"), row("b", item, "en")) == ["", "wrong_language"]
    korean = Choice("Ribonucleotide reductase가 촉매하는 반응은?", ("IMP to XMP", "UTP to CTP", "ADP to dADP"), (2,))
    chinese = Choice("IgE的转换因子是哪一个", ("IL-1", "IL-2", "IL-4", "IL-5"), (2,))
    assert judge(LanguageId(), row("c", korean, "ko"), row("d", chinese, "zh")) == ["", ""]


def test_kanji_are_told_from_hanzi() -> None:
    chinese = ["急性上呼吸道感染的病因与临床表现", "慢性阻塞性肺病的藥物治療原則"]
    japanese = ["急性呼吸窮迫症候群 薬剤性肺障害 気管支喘息", "抗菌薬投与 脳血管障害 帯状疱疹"]
    claims = [row(text, Text(text), code) for text in chinese + japanese for code in ("zh", "ja")]
    assert judge(LanguageId(), *claims) == ["", "wrong_language"] * 2 + ["wrong_language", ""] * 2
    both = "糖尿病 高血圧 心不全 呼吸困難 慢性腎不全"  # kanji alone: no reason to drop it under either name
    assert verdict(both, "ja") == ""
    assert verdict(f"次のうち正しい組合せはどれか。検査の値はどのように変化するか。{'上昇 低下 不変 ' * 8}", "ja") == ""


# --- passages ---


def test_a_text_is_cut_into_passages_and_nothing_is_lost() -> None:
    for text, latin in ((FRENCH * 2, True), (KOREAN * 2, False), ("あ。" * 150, False), ("x" * 5000, True)):
        found = passages(text, latin)
        assert len(found) > 1 and "".join(found) == text
    assert passages("Un. Deux. Trois.", True) == ["Un. Deux. Trois."]
    assert len(passages(FRENCH * 500, True)) == MOST
    inside = passages("환자는 다음과 같이 말하였다 the patient has had a fever and a cough for three weeks now", False)
    assert len(inside) == 1 or inside[1].lstrip().startswith("the patient")


def test_names_and_references_are_no_prose() -> None:
    assert is_prose(ENGLISH) and is_prose(FRENCH)
    for text in (
        "Streptococcus pneumoniae, Haemophilus influenzae, Moraxella catarrhalis, Klebsiella pneumoniae",
        "Smith J, Miller K, et al. The effect of aspirin on the risk of stroke in older adults. Lancet",
        "The New England Journal of Medicine and the Lancet 2003;361:13-20, on what is known of it",
        "HbA1c, TSH, ALT, AST, CRP, INR, NT-proBNP", "Amoxicillin/clavulanate 875 mg",
    ):  # fmt: skip
        assert not is_prose(text), text


@pytest.mark.parametrize("name", ["fasttext", "eldc"])
def test_a_passage_left_in_another_language_is_found(name: str) -> None:
    part = LanguageId(identifier=name)
    for language, text in (("fr", FRENCH * 2), ("ko", KOREAN * 2)):
        assert verdict(text, language, part) == ""
        assert verdict(text + ENGLISH, language, part) == "foreign_passage"
        assert verdict(text + ENGLISH * 4, language, part) == "mixed_language"
        assert verdict(text + ENGLISH * 4, language, LanguageId(identifier=name, least_share=0.3)) == "foreign_passage"
        assert verdict(text + ENGLISH * 4, language, LanguageId(identifier=name, least_share=0)) in (
            "",
            "language_unsure",
        )
        named = text + "Aspergillus fumigatus, Candida albicans, Cryptococcus neoformans, Pneumocystis jirovecii. "
        assert verdict(named + "Smith J, et al. Iron in older adults. N Engl J Med 2003;361:13.", language, part) == ""
    found = part.judge([row("a", Chat.of(FRENCH, FRENCH + ENGLISH * 2), "fr")], CONTEXT)[0]
    assert isinstance(found, Drop) and re.fullmatch(r"answer claims fr, 0\.[2-5]\d of it reads en", found.detail)


# --- bad input ---

NASTY = [
    *importlib.import_module("nasty").NASTY, "\u200b" * 100, "\r\x0b\x0c\x1c" * 1000, "a. " * 400_000,
    "x" * 10_000_000, "あ。" * 1_000_000, "\n" * 1_000_000,
]  # fmt: skip


@pytest.mark.parametrize("name", ["fasttext", "eldc"])
@pytest.mark.parametrize("code", ["en", "ja"])
def test_nothing_that_can_be_read_stops_it(name: str, code: str) -> None:
    rows = [row(str(index), Text(text), code) for index, text in enumerate(NASTY)]
    rows += [
        row(f"c{index}", Choice(text, (text, "b"), (0,), explanation=text), code) for index, text in enumerate(NASTY)
    ]
    assert len(judge(LanguageId(identifier=name), *rows)) == len(rows)


def test_marks_and_widths_do_not_hide_the_language() -> None:
    english = "The patient has had a fever and a cough for three weeks now."
    hidden = [
        "\x00" + english, f"\u202e{english}\u202c", english.replace("e", "e\u200b"), f"\ud800{english}",
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in english), english.upper(), "🩺" * 50 + english,
    ]  # fmt: skip
    for name in ("fasttext", "eldc"):
        part = LanguageId(identifier=name)
        assert [verdict(text, "en", part) for text in hidden] == [""] * len(hidden), name
        assert [verdict(text, "ja", part) for text in hidden] == ["wrong_language"] * len(hidden), name
