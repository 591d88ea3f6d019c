"""Guards on wording: language, chatter, leaks, loops, what is left untranslated, and length."""

from __future__ import annotations

import json
from functools import lru_cache

import pytest
from tests.public_sets import DATA, NEEDS_DATA, PACKS, load

from langmill.api import Drop
from langmill_plugins.guards.length import length
from langmill_plugins.guards.wording import chatter, foreign, labels, leaked, loops, untranslated
from langmill_plugins.text.identifiers import FastText

SAMPLES = {code: pack.identity.sample for code, pack in PACKS.items()}


@lru_cache(maxsize=1)
def identifier() -> FastText:
    return FastText(None, True)


def told(texts: list[str], code: str, sources: list[str] | None = None) -> list[str]:
    """The first reason for each text, empty where there is none."""
    found = foreign(texts, PACKS[code], labels(PACKS.values()), identifier(), sources or ())
    return [drops[0].reason if drops else "" for drops in found]


def reasons(drops: list[Drop]) -> list[str]:
    return [drop.reason for drop in drops]


# --- language ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(PACKS))
def test_every_other_language_is_told(code: str) -> None:
    others = sorted(set(PACKS) - {code})
    assert told([SAMPLES[code], *(SAMPLES[other] for other in others)], code) == ["", *["wrong_language"] * len(others)]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "肺炎"),
        ("fr", "白血球"),
        ("zh", "カルシウム"),
        ("ko", "カルシウム拮抗薬"),
        ("ja", "Кофеин"),
        ("ru", "급성 신부전"),
        ("es", "Почка"),
    ],
)
def test_letters_tell_the_shortest_option(code: str, text: str) -> None:
    assert told([text], code) == ["wrong_language"]


@pytest.mark.parametrize("code", ["zh", "ja", "ko", "ru"])
def test_names_in_latin_letters_are_at_home_everywhere(code: str) -> None:
    names = [
        "Staphylococcus epidermidis",
        "HIV",
        "α",
        "5-FU",
        "Crohn's disease",
        "120/80 mmHg",
        "E. coli",
        "SARS-CoV-2",
    ]
    assert told(names, code) == [""] * len(names)


def test_a_line_of_names_is_no_foreign_sentence() -> None:
    names = "Katherine、CRT团队（Amanda K、Amy V、Bryan J、Doreen D、Gregory V、Jaime V、Joel L、Lynette L、Ryan M）携领导团队致意。"
    assert told([names], "zh") == [""]


def test_an_english_term_left_in_japanese() -> None:
    assert told(["Complete atrioventricular block"], "ja") == ["wrong_language"]


@pytest.mark.parametrize(
    ("code", "option"),
    [("en", "Retención de líquidos y edema."), ("fr", "Hipertensión arterial sistémica."), ("es", "Acute renal failure."),
     ("es", "it is in my chest"), ("zh", "hypertension"), ("ru", "Amoxicillin"), ("ko", "Renal biopsy")],
)  # fmt: skip
def test_an_option_that_came_back_as_it_was(code: str, option: str) -> None:
    assert told([option], code, [option]) in (["untranslated"], ["wrong_language"])


@pytest.mark.parametrize(
    ("code", "option"),
    [("en", "Clostridium difficile."), ("es", "Pseudomonas aeruginosa"), ("fr", "Omega-3"), ("en", "Smith-Magenis."),
     ("zh", "HbA1c"), ("en", "12 %"), ("es", "Hepatitis C."), ("ru", "Escherichia coli")],
)  # fmt: skip
def test_what_both_languages_have_may_come_back(code: str, option: str) -> None:
    assert told([option], code, [option]) == [""]


def test_a_sentence_in_another_language_makes_a_mixture() -> None:
    text = " ".join([SAMPLES["ko"], SAMPLES["ko"], SAMPLES["en"]])
    assert told([text], "ko") == ["mixed_language"]


def test_no_texts_and_empty_ones() -> None:
    assert told([], "en") == []
    assert told(["", " ", "…", "\ud800"], "en", ["", " ", "…", "x"]) == [""] * 4


# --- chatter ----------------------------------------------------------------------------------------------------------

BEFORE = {
    "en": "Sure! Here is the translated question:\n", "zh": "好的，以下是译文：\n", "ja": "承知しました。以下が翻訳です。\n",
    "ko": "네, 번역문은 다음과 같습니다.\n", "ru": "Вот перевод текста:\n", "fr": "Voici la traduction demandée :\n",
    "es": "Aquí tiene la traducción:\n",
}  # fmt: skip
AFTER = {
    "en": "\n\n(Note: drug names were kept.)", "zh": "\n\n希望对您有帮助！", "ja": "\n\n※注：薬剤名は原語のままです。",
    "ko": "\n\n도움이 되셨기를 바랍니다.", "ru": "\n\nПримечание: названия сохранены.", "fr": "\n\nJ’espère que cela vous aidera.",
    "es": "\n\nNota: se han mantenido las dosis.",
}  # fmt: skip


@pytest.mark.parametrize("code", sorted(PACKS))
def test_what_a_model_says_round_its_answer(code: str) -> None:
    packs, text = [PACKS[code], PACKS["en"]], SAMPLES[code]
    assert not chatter(text, packs)
    for talk in (
        BEFORE[code] + text,
        text + AFTER[code],
        BEFORE["en"] + text,
        text + AFTER["en"],
        f"```json\n{text}\n```",
    ):
        assert reasons(chatter(talk, packs)) == ["chatter"], talk


def test_a_source_that_begins_so_is_no_model() -> None:
    packs = [PACKS["en"], PACKS["zh"]]
    assert not chatter("Note: the figures count pupils.", packs, "注：数字为学生人数。")
    assert chatter("Note: the figures count pupils.", packs, "数字为学生人数。")


def test_words_like_chatter_inside_a_text_are_its_own() -> None:
    text = "Translation: " + "the ribosome reads the messenger. " * 20
    assert chatter(text, [PACKS["en"]])
    inside = "The patient says: I hope this helps. " + "She takes one tablet a day. " * 30
    assert not chatter(inside, [PACKS["en"]])


# --- leaks ------------------------------------------------------------------------------------------------------------

PROMPT = """Translate the question below. Keep every number, dose and unit exactly as it stands.
<question>
{question}
</question>"""
QUESTION = "Which of the following drugs lowers the blood pressure by dilating the arterioles of the kidney?"


def test_instructions_in_the_answer() -> None:
    prompt = PROMPT.format(question=QUESTION)
    assert reasons(leaked("Keep every number, dose and unit exactly as it stands. ¿Cuál?", prompt, [QUESTION])) == [
        "prompt_leak"
    ]
    assert reasons(leaked("<question>¿Cuál?</question>", prompt, [QUESTION])) == ["prompt_leak"]
    assert reasons(leaked('{"question": "¿Cuál?"}', prompt, [QUESTION])) == ["prompt_leak"]


def test_the_row_may_come_again_and_formulas_are_no_tags() -> None:
    prompt = PROMPT.format(question=QUESTION)
    assert not leaked(f"The question was: {QUESTION} Hydralazine does.", prompt, [QUESTION])
    assert not leaked(r"H<sub>2</sub>O, p<0.05, $\mathrm{CO_{2}}$", prompt, [QUESTION])
    assert not leaked("", prompt, []) and not leaked("x", "", [])


def test_a_leak_in_a_script_without_spaces_is_shorter() -> None:
    prompt = "请把下面的问题翻译成中文，保留所有的数字、剂量和单位。"
    assert reasons(leaked("保留所有的数字、剂量和单位。哪种药物？", prompt)) == []
    assert reasons(leaked("翻译成中文，保留所有的数字、剂量和单位。哪种药物？", prompt)) == ["prompt_leak"]


# --- loops, and what is left ------------------------------------------------------------------------------------------


def test_a_loop_is_told_unless_the_source_has_it() -> None:
    text = "The dose is given twice a day. " + "and then again, " * 12
    fine = "The dose is given twice a day, and then once."
    assert [reasons(drops) for drops in loops([text, fine, "x"], [fine, fine, "x"])] == [["loop"], [], []]
    assert loops([text], [text]) == [[]]
    assert [reasons(drops) for drops in loops([text])] == [["loop"]]


def test_a_sentence_left_untranslated() -> None:
    source = "El paciente no toma nada. No hay mucha discusión sobre ello. Acude a urgencias."
    assert reasons(untranslated(source, "He takes nothing. No hay mucha discusión sobre ello. He comes in.")) == [
        "untranslated"
    ]
    assert not untranslated(source, "He takes nothing. There is not much to discuss. He comes in.")
    japanese = "65歳の男性。直ちに行うべき検査はどれか。"
    assert reasons(untranslated(japanese, "A man of 65. 直ちに行うべき検査はどれか。")) == ["untranslated"]


def test_titles_and_addresses_stay() -> None:
    source = (
        "Ver https://www.cisa.gov/critical-infrastructure-sectors. Smith J et al. Treatment of the heart. Lancet 2001."
    )
    assert not untranslated(source, source.replace("Ver", "See"))


# --- length -----------------------------------------------------------------------------------------------------------


def test_half_of_a_long_answer_and_an_empty_one() -> None:
    english, spanish = SAMPLES["en"] * 4, SAMPLES["es"] * 4
    assert not length(english, spanish, PACKS["en"], PACKS["es"])
    assert reasons(length(english, spanish[: len(spanish) // 2], PACKS["en"], PACKS["es"])) == ["too_short"]
    assert reasons(length(english, spanish * 2, PACKS["en"], PACKS["es"])) == ["too_long"]
    assert reasons(length(english, " ", PACKS["en"], PACKS["es"])) == ["too_short"]
    assert not length("", "", PACKS["en"], PACKS["es"])


def test_a_short_text_may_grow_and_digits_are_as_long_everywhere() -> None:
    assert not length("猿手", "Ape hand deformity", PACKS["ja"], PACKS["en"])
    table = "120/80 mmHg; 36.5 ℃; 72/min; SpO2 98 %; WBC 7,200; CRP 0.3 mg/dL; Na 140; K 4.1; Cl 104; " * 4
    assert not length(table, table, PACKS["zh"], PACKS["en"])


# --- real rows --------------------------------------------------------------------------------------------------------


def _headqa(count: int) -> list[tuple[str, str]]:
    """Questions of HEAD-QA in Spanish and English."""
    by_key: list[dict[tuple[str, ...], str]] = []
    for folder in ("HEAD", "HEAD_EN"):
        [path] = (DATA / "headqa" / folder).glob("train*.json")
        exams = json.loads(path.read_text(encoding="utf-8"))["exams"]
        by_key.append(
            {
                (*name.split("_")[1:], item["qid"]): item["qtext"]
                for name, exam in exams.items()
                for item in exam["data"]
            }
        )
    return [(text, by_key[1][key]) for key, text in by_key[0].items() if key in by_key[1]][:count]


class TestRealRows:
    pytestmark = NEEDS_DATA

    def test_clean_questions_pass_and_the_source_does_not(self) -> None:
        rows = _headqa(600)
        assert len(rows) == 600
        spanish, english = [row[0] for row in rows], [row[1] for row in rows]
        assert sum(map(bool, told(english, "en", spanish))) <= 2
        assert sum(map(bool, told(spanish, "en", spanish))) >= 0.98 * len(rows)
        packs = [PACKS["en"], PACKS["es"]]
        assert not any(chatter(target, packs, source) for source, target in rows)
        assert not any(length(source, target, PACKS["es"], PACKS["en"]) for source, target in rows)
        assert not any(untranslated(source, target) for source, target in rows)
        assert not any(loops(english, spanish))

    def test_clean_text_has_no_chatter(self) -> None:
        for name, code in (("cmexam", "zh"), ("french", "fr"), ("igakuqa", "ja"), ("russian", "ru"), ("headqa", "es")):
            bodies = [row.body for row in load(name)[:400]]
            texts = [text for body in bodies for text in (body.question, body.explanation or "")]  # type: ignore[union-attr]
            assert sum(bool(chatter(text, [PACKS[code], PACKS["en"]])) for text in texts) <= 1
