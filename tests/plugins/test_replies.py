"""Answers read out of replies: every step of the cascade, what no step may read, and the hand-written set."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.public_sets import NEEDS_DATA, PACKS, load

from langmill.api import Choice, Pack
from langmill.parts.languages import faults_of, read_pack
from langmill.yaml12 import load_file
from langmill_plugins.replies.cleaning import cleaned, outside_thoughts
from langmill_plugins.replies.reading import VERSION, Reading, read_choice, reader

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/replies"
CODES = ("en", "es", "fr", "ja", "ko", "ru", "zh")
BATCHES = ("replies", "held_out", "later", "last", "fresh", "beside_fresh")
DRUGS = ("Aspirin", "Heparin", "Warfarin", "Insulin", "Amoxicillin")
BLOOD = ("A", "B", "AB", "O")
ARABIC = read_pack(ROOT / "tests/outside/langmill_arabic/ar")


class Written(NamedTuple):
    """A reply of the hand-written set."""

    code: str
    batch: str
    body: Choice
    says: str
    right: tuple[int, ...] | None


def written() -> Iterator[Written]:
    for code in CODES:
        document: dict[str, Any] = load_file(GOLDEN / f"{code}.yaml").data
        for batch in BATCHES:
            for item, says, letters in document[batch]:
                facts = document["items"][item]
                options = tuple(facts["options"])
                body = Choice("?", options, (0, 1) if facts.get("several") else (0,))
                right = None if letters is None else tuple("ABCDEFGHIJ".index(letter) for letter in letters)
                yield Written(code, batch, body, says, right)


WRITTEN = tuple(written())


def read(says: str, *options: str, code: str = "en", several: bool = False, pack: Pack | None = None) -> Reading:
    body = Choice("Which one?", options or DRUGS, (0, 1) if several else (0,))
    return read_choice(says, body, pack or PACKS[code], (PACKS["en"],))


def letters(reading: Reading) -> str | None:
    return None if reading.answers is None else "".join("ABCDEFGHIJ"[place] for place in reading.answers)


# --- the hand-written set ---------------------------------------------------------------------------------------------


def test_the_set_is_large_and_even() -> None:
    by_code = Counter(one.code for one in WRITTEN)
    assert sum(by_code.values()) >= 320 and min(by_code[code] for code in CODES) >= 45
    held = sum(one.batch != "replies" for one in WRITTEN)
    assert held >= len(WRITTEN) / 3
    for code in CODES:
        assert sum(one.right is None for one in WRITTEN if one.code == code) >= 10, "replies without an answer"


@pytest.mark.parametrize("code", CODES)
def test_hardly_a_reply_is_read_wrongly(code: str) -> None:
    some = [one for one in WRITTEN if one.code == code]
    wrong = []
    for one in some:
        found = read_choice(one.says, one.body, PACKS[code], (PACKS["en"],))
        if found.answers != one.right:
            wrong.append((one.says, one.right, found))
    assert len(wrong) <= 0.02 * len(some), wrong


def test_no_reply_without_an_answer_is_credited() -> None:
    for one in WRITTEN:
        found = read_choice(one.says, one.body, PACKS[one.code], (PACKS["en"],))
        if one.right is None:
            assert found.answers is None, (one.says, found)
            assert found.how in ("refusal", "empty", "none", "several")


def test_the_key_is_used_for_nothing_but_how_many_are_right() -> None:
    for one in WRITTEN[::7]:
        count, several = len(one.body.options), len(one.body.answers) > 1
        keys = [(place, (place + 1) % count) if several else (place,) for place in range(count)]
        readings = {
            read_choice(one.says, replace(one.body, answers=tuple(sorted(key))), PACKS[one.code], (PACKS["en"],))
            for key in keys
        }
        assert len(readings) == 1, one.says


# --- each step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "how", "answer"),
    [
        ("It thins the blood.\nAnswer: B", "line", "B"),
        ("So \\boxed{C} it is, done", "marked", "C"),
        ("<answer>D</answer>", "marked", "D"),
        ("The correct answer is C.", "stated", "C"),
        ("(b)", "letters", "B"),
        ("B\n\nIt thins the blood, as everybody knows.", "letters", "B"),
        ("It thins the blood, as everybody knows.\n\nB", "letters", "B"),
        ("B. It thins the blood.\nNothing else does.", "led", "B"),
        ("A is false. B is true. C is false.", "judged", "B"),
        ("One gives heparin here and nothing else.", "words", "B"),
        ("", "empty", None),
        (" \n ** \u200b", "empty", None),
        ("I am sorry, but I cannot answer that.", "refusal", None),
        ("Blood is thicker than water.", "none", None),
        ("Answer: A or B", "several", None),
        ("Answer: A, B", "several", None),
    ],
)
def test_a_step_says_its_name(says: str, how: str, answer: str | None) -> None:
    found = read(says)
    assert (found.how, letters(found)) == (how, answer)


@pytest.mark.parametrize(
    "says",
    [
        "A patient came with fever.",
        "A 45-year-old woman, E. coli in her urine, vitamin D low, hepatitis B negative.",
        "I would say this is hard. E. coli, group B streptococci and C. difficile were all absent.",
        "A-fib, B-cell lymphoma, C-reactive protein, D-dimer.",
        "ABCDE approach first.",
        "It is BAD to guess.",
        "The blood type is A positive.",
        "We gave 5 mg, then 2.5 mg, on 3 of 4 days.",
        "Is it A?",
        "If it were B, the pulse would be slow.",
        "Some would say the answer is B.",
        "Not B.",
        "B is wrong.",
        "Neither B nor C.",
        "All but C are wrong or right, depending on whom you ask.",
        "Answer:",
        "Answer: X",
        "Answer: 9",
        "The answer is",
        "A, B, C, D, E",
        "A\nB\nC\nD\nE",
        "A. Aspirin\nB. Heparin\nC. Warfarin\nD. Insulin\nE. Amoxicillin",
        "(A) Aspirin (B) Heparin (C) Warfarin (D) Insulin (E) Amoxicillin",
        "<think>The answer is B.</think>",
        "<think>The answer is B. No, wait,",
        "~~B~~",
    ],
)
def test_nothing_is_made_out_of_nothing(says: str) -> None:
    assert read(says).answers is None, read(says)


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        ("Answer: A\nWait, that is wrong. Answer: C", "C"),
        ("The answer is A. Scratch that.", None),
        ("At first I thought B. The answer is D.", "D"),
        ("B is the answer. Not C.", "B"),
        ("<think>A</think>B", "B"),
        ("a thought that the prompt began</think>\nC", "C"),
        ("<think>it may be A\nAnswer: C", "C"),
        ("C\n\nQuestion: What next?\nAnswer: A", "C"),
        ("Question: Which one?\nAnswer: C", "C"),
        ('```json\n{"reason": "thin", "answer": "C"}\n```', "C"),
        ('{"answer": ["A", "B"]}', None),
        ("A. Aspirin\nB. Heparin\nC. Warfarin\nD. Insulin\nE. Amoxicillin\nC. Warfarin", "C"),
        ("A ✗\nB ✓\nC ✗\nD ✗\nE ✗", "B"),
        ("Ｂ", "B"),
        ("Answer：Ｂ", "B"),
        ("②", "B"),
        ("2", "B"),
    ],
)
def test_the_last_word_counts(says: str, answer: str | None) -> None:
    assert letters(read(says)) == answer, read(says)


@pytest.mark.parametrize(
    "says",
    [
        "Let me look at each option.\n\n1. **Aspirin**: an inhibitor of platelets that",
        "**A. Aspirin** – is an inhibitor of platelets that",
        "It thins the blood, and the options are these. Aspirin acts on",
        "A is correct in that it",
        "It thins the blood, as everybody knows.\n\nB",
    ],
)
def test_a_reply_that_is_cut_off_counts_only_where_it_is_firm(says: str) -> None:
    body = Choice("Which one?", DRUGS, (0,))
    assert read_choice(says, body, PACKS["en"], cut=True).answers is None
    for firm in ("Answer: B", "\\boxed{B}", "The correct answer is B.", "B\nIt thins the blood"):
        assert letters(read_choice(f"{firm}\nThis is because of the", body, PACKS["en"], cut=True)) == "B", firm


def test_words_are_no_answer_beside_a_letter_that_nothing_understood() -> None:
    assert read("Here C comes first. Insulin is what many fear.").how == "several"
    assert letters(read("Here insulin comes first. Hepatitis B was ruled out, E. coli was not there.")) == "D"
    assert letters(read("Options 2 and 4 act. The rest are not meant, so they cannot be it.", several=True)) == "BD"
    assert read("Options 2 and 5 mg of it.", several=True).answers == (1,)


def test_what_follows_from_a_doubt_is_none() -> None:
    assert letters(read("This could be a clot, so the answer is B.")) == "B"
    assert read("If this were a clot, it would bleed, so the answer is B.").answers is None
    assert read("Some would say that it is a clot, so the answer is B.").answers is None
    assert read("It could be B, so the patient should be seen.").answers is None


def test_sets_are_read_where_several_are_right() -> None:
    for says in ("A, C", "A and C", "AC", "Answer: A, C", "A\nC", "Aspirin and warfarin", "The answers are A and C."):
        assert letters(read(says, several=True)) == "AC", says
        assert read(says).answers is None, "for one answer it is no answer"
    assert letters(read("B", several=True)) == "B"
    assert read("A or C", several=True).how == "several"


def test_options_that_are_numbers_are_no_places() -> None:
    assert letters(read("3", "2", "3", "4")) == "B"
    assert read("There are 7.", "2", "3", "4").answers is None
    assert letters(read("50 mg", "5 mg", "50 mg", "0.5 mg")) == "B"
    assert letters(read("0.5mg", "5 mg", "50 mg", "0.5 mg")) == "C"
    assert read("25 mg", "5 mg", "50 mg", "0.5 mg").answers is None


def test_options_that_are_letters() -> None:
    assert letters(read("O", *BLOOD)) == "D"
    assert letters(read("B", *BLOOD)) == "B"
    assert letters(read("Answer: D", *BLOOD)) == "D"


def test_an_option_inside_another_one() -> None:
    options = ("Diabetes", "Diabetes insipidus", "Central diabetes insipidus")
    for place, option in enumerate(options):
        assert read(f"This is {option.lower()}.", *options).answers == (place,)


@pytest.mark.parametrize(
    ("says", "answer"),
    [("А", "A"), ("В", "B"), ("С", "C"), ("Б", "B"), ("Г", "D"), ("а, в", None), ("В. Инсулин", "D")],
)
def test_letters_of_another_alphabet(says: str, answer: str | None) -> None:
    options = ("Аспирин", "Гепарин", "Варфарин", "Инсулин")
    assert letters(read(says, *options, code="ru")) == answer


def test_arabic_letters_and_digits() -> None:
    options = ("الأسبرين", "الهيبارين", "الوارفارين")
    for says, answer in {
        "الإجابة: B": "B",
        "ب": "B",
        "٣": "C",
        "الإجابة الصحيحة هي ج": "C",
        "نص بلا إجابة": None,
    }.items():
        assert letters(read(says, *options, pack=ARABIC)) == answer, says


# --- packs ------------------------------------------------------------------------------------------------------------


def test_a_pack_that_says_nothing_still_reads_what_needs_no_words() -> None:
    bare = replace(PACKS["en"], replies=None, cues=None)
    body = Choice("Which one?", DRUGS, (0,))
    for says in ("Answer: B", "B", "(b)", "**B.**", "B. Heparin", "\\boxed{B}", "B\nIt thins."):
        assert letters(read_choice(says, body, bare)) == "B", says
    assert read_choice("A patient", body, bare).answers is None
    none = replace(bare, choice=None, text=None)
    assert letters(read_choice("B", body, none)) == "B"


def test_a_pack_without_the_section_says_what_is_lost() -> None:
    assert faults_of(replace(PACKS["en"], replies=None)) == [
        "section 'replies' is missing: an answer is read out of a model's reply only where it stands by itself or in an answer line"
    ]


def test_what_pins_the_reading_changes_with_what_is_read() -> None:
    own = reader(PACKS.values())
    assert own.startswith(f"{VERSION}@")
    assert own == reader(reversed(list(PACKS.values()))) != reader([PACKS["en"]])
    facts = PACKS["en"].replies
    assert facts
    changed = replace(PACKS["en"], replies=facts.model_copy(update={"refuses": ()}))
    assert reader([changed]) != reader([PACKS["en"]])


@pytest.mark.parametrize("code", CODES)
def test_the_answer_line_of_a_pack_is_read_back(code: str) -> None:
    pack = PACKS[code]
    body = Choice("?", DRUGS, (0,))
    for place in range(len(DRUGS)):
        assert read_choice(pack.answer_line((place,)), body, pack).answers == (place,)
    several = replace(body, answers=(1, 3))
    assert read_choice(pack.answer_line((1, 3)), several, pack) == Reading(
        (1, 3), "line", pack.answer_line((1, 3)).replace("：", ":")
    )
    assert read_choice(pack.letters((1, 3)), several, pack).answers == (1, 3)


@pytest.mark.parametrize("code", CODES)
def test_time_grows_with_the_reply(code: str) -> None:
    """No pattern runs away: neither on a long reply, nor on one made of what patterns begin with."""
    pack = PACKS[code]
    body = Choice("?", DRUGS, (0,))
    long = f"{pack.identity.sample} " * 60 + pack.answer_line((2,))
    read_choice(long, body, pack, (PACKS["en"],))
    began = time.process_time()
    assert read_choice(long, body, pack, (PACKS["en"],)).answers == (2,)
    for bad in (
        "A, " * 2000,
        "answer is " * 1000,
        "B是" * 2000,
        "(" * 5000,
        "not " * 2000 + "B",
        "<think>" * 500,
        '{"' * 2000,
    ):
        read_choice(bad, body, pack, (PACKS["en"],))
    assert time.process_time() - began < 6.0


@pytest.mark.parametrize("code", ["en", "ko"])
@pytest.mark.parametrize(
    "part",
    ["Aspirin Heparin ", "Aspirin is used with heparin. ", '"B" ', "B x ", "A and ", "**", "(", "option 1 and 2 and "],
)
def test_a_reply_that_loops_is_read_in_its_time(code: str, part: str) -> None:
    """50,000 characters: what grew with the square of them took minutes, and the tests would not end."""
    read((part * 50_000)[:50_000], code=code)


# --- cleaning ---------------------------------------------------------------------------------------------------------


def test_thoughts() -> None:
    assert outside_thoughts("<think>a</think>b") == ("b", False)
    assert outside_thoughts("a</think>b") == ("b", False)
    assert outside_thoughts("<think>a") == ("a", True)
    assert outside_thoughts("b<think>a</think>") == ("b", False)
    assert outside_thoughts("b<think>a") == ("b", False)
    assert outside_thoughts("b") == ("b", False)


def test_cleaned() -> None:
    assert cleaned("**Ａ**\u200b  `b`\r\n\n# C") == "A b\nC"
    assert cleaned("$\\boxed{\\text{B}}$").strip() == "⟦B⟧"
    assert cleaned('{"answer": "B"}') == 'answer: "B"}'
    assert cleaned("٣ ③") == "3 3"


# --- real texts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cmexam", "igakuqa", "french", "korean", "russian"])
@pytest.mark.parametrize("mark", [pytest.param("", marks=NEEDS_DATA)])
def test_questions_are_no_answers(name: str, mark: str) -> None:
    """A question holds none of its answers, or hardly: what it says of its options in passing is chance."""
    rows = [row for row in load(name) if isinstance(row.body, Choice)]
    rows = rows[:: len(rows) // 100]
    credited = [
        found
        for row in rows
        if isinstance(row.body, Choice)
        and (found := read_choice(row.body.question, row.body, PACKS[row.language], (PACKS["en"],))).answers is not None
    ]
    assert len(credited) <= 0.03 * len(rows), credited


@pytest.mark.parametrize(("name", "least"), [("korean", 0.9), ("cmexam", 0.55)])
@pytest.mark.parametrize("mark", [pytest.param("", marks=NEEDS_DATA)])
def test_real_explanations_say_their_key(name: str, least: float, mark: str) -> None:
    """Explanations that a model, or examiners, wrote: where an answer is read, it is the key."""
    rows = [row for row in load(name) if isinstance(row.body, Choice) and row.body.explanation]
    counts = Counter[str]()
    for row in rows[:: len(rows) // 100]:
        assert isinstance(row.body, Choice) and row.body.explanation
        found = read_choice(row.body.explanation, row.body, PACKS[row.language], (PACKS["en"],)).answers
        counts["unread" if found is None else "right" if found == row.body.answers else "wrong"] += 1
    assert counts["right"] >= least * counts.total(), counts
    assert counts["wrong"] <= 0.03 * (counts["right"] + counts["wrong"]), counts
