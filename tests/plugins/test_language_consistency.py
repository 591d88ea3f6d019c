"""Whether an answer is in the asked language: real sentences, mixtures, and what has no language."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.public_sets import NEEDS_DATA, PACKS, load

from langmill.api import (
    Answer,
    Answered,
    Chat,
    Choice,
    EvalContext,
    Marked,
    Message,
    MissingInput,
    Origin,
    Row,
    Text,
)
from langmill.scores.summing import scores_of
from langmill_plugins.evaluators.language_consistency import LanguageConsistency

CONTEXT = EvalContext("eval[0]", 17, PACKS, Path())
EVALUATOR = LanguageConsistency(data="mc", models=("base",))
ENGLISH = PACKS["en"].identity.sample


def row_of(name: str, language: str, body: Choice | Chat | Text | None = None) -> Row:
    body = body or Choice("Which one?", ("iron", "zinc"), (0,))
    return Row(name, language, "test", name, body, Origin("test", name, ("CC0-1.0",)))


def marked(rows: Sequence[Row], replies: Sequence[str], evaluator: LanguageConsistency = EVALUATOR) -> Marked:
    questions = list(evaluator.questions(rows, CONTEXT))
    answered = [Answered(question, Answer(text)) for question, text in zip(questions, replies, strict=True)]
    return asyncio.run(evaluator.mark(rows, answered, CONTEXT))


def read(language: str, reply: str) -> str | None:
    """What a reply to a question in a language reads as; None where it is left out."""
    items = marked([row_of("a", language)], [reply]).items
    return items[0].facts["reads"] if items else None


@pytest.mark.parametrize("code", sorted(PACKS))
def test_an_answer_in_the_language_counts_and_english_does_not(code: str) -> None:
    line = PACKS[code].answer_line((0,))
    found = marked(
        [row_of("own", code), row_of("other", code)],
        [f"{PACKS[code].identity.sample}\n{line}", f"{PACKS['ru' if code == 'en' else 'en'].identity.sample}\n{line}"],
    )
    assert [(item.row, item.value) for item in found.items] == [("own", 1.0), ("other", 0.0)]
    (score, _) = scores_of(found, EVALUATOR.metrics, 1)
    assert (score.correct, score.n, score.value) == (1, 2, 0.5)


def test_languages_of_one_script_are_told_apart() -> None:
    samples = {code: PACKS[code].identity.sample for code in ("es", "fr", "zh", "ja")}
    assert read("fr", samples["es"]) == "es" and read("es", samples["fr"]) == "fr"
    assert read("ja", samples["zh"]) == "zh" and read("zh", samples["ja"]) == "ja"


def test_two_packs_may_share_a_label() -> None:
    other = replace(PACKS["zh"], identity=PACKS["zh"].identity.model_copy(update={"code": "zh-Hant"}))
    context = replace(CONTEXT, languages={**PACKS, "zh-Hant": other})
    for code in ("zh", "zh-Hant"):
        (question,) = EVALUATOR.questions([row_of("a", code)], context)
        answered = [Answered(question, Answer(PACKS["zh"].identity.sample))]
        (item,) = asyncio.run(EVALUATOR.mark([row_of("a", code)], answered, context)).items
        assert (item.facts["reads"], item.value) == (code, 1.0)


def test_half_in_another_language_is_a_mixture() -> None:
    korean = PACKS["ko"].identity.sample
    assert read("ko", f"{korean} {korean} {ENGLISH} {ENGLISH}") in ("mixed", "en")
    assert read("ko", f"{korean} 철분제(ferrous sulfate 300 mg)를 하루 세 번 투여한다.") == "ko"


def test_thoughts_are_not_the_answer() -> None:
    assert read("ru", f"<think>{ENGLISH} {ENGLISH}</think>{PACKS['ru'].identity.sample}") == "ru"


@pytest.mark.parametrize("reply", ["A", "A, C", "答え：A", "5-10 mg", "12345678901234567890123", "鉄", "(A) 😀"])
def test_what_has_no_language_is_left_out_and_counted(reply: str) -> None:
    rows = [row_of("a", "ja"), row_of("b", "ja")]
    found = marked(rows, [reply, PACKS["ja"].identity.sample])
    assert [item.row for item in found.items] == ["b"]
    assert found.facts["too short to tell"] == {"ja": 1}
    (table,) = found.tables
    assert table.cells[0][table.columns.index("too short")] == 1.0


def test_nothing_at_all_is_not_in_the_language() -> None:
    found = marked([row_of("a", "ja"), row_of("b", "ja")], ["", "<think>so</think>"])
    (score, _) = scores_of(found, EVALUATOR.metrics, 1)
    assert (score.correct, score.n, score.unreadable) == (0, 2, 2)


def test_the_table_has_the_found_language_by_the_asked_one() -> None:
    rows = [row_of("a", "ru"), row_of("b", "ru"), row_of("c", "ja"), row_of("d", "ja")]
    replies = [
        PACKS["ru"].identity.sample,
        ENGLISH,
        PACKS["ja"].identity.sample,
        "Die Anämie ist eine häufige Krankheit im Alter.",
    ]
    (table,) = marked(rows, replies).tables
    assert table.rows == ("ja", "ru") and table.columns[:4] == ("ja", "ru", "de", "en")
    assert [cells[:4] for cells in table.cells] == [(1, 0, 1, 0), (0, 1, 0, 1)]


def test_conversations_are_asked_up_to_the_last_answer() -> None:
    talk = Chat(
        (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?"), Message("assistant", "So."))
    )
    rows = [row_of("chat", "en", talk), row_of("exam", "fr"), row_of("text", "en", Text("Iron."))]
    evaluator = LanguageConsistency(data="mc", models=("b",), max_tokens=50)
    chat, exam = evaluator.questions(rows, CONTEXT)
    assert chat.messages == talk.messages[:-1] and chat.max_tokens == 50
    assert exam.messages[-1].content.startswith(
        PACKS["fr"].ask_choice(Choice("Which one?", ("iron", "zinc"), (0,)))[:40]
    )
    found = marked(rows, [ENGLISH, ENGLISH])
    assert found.prompts["en"] == "" and found.prompts["fr"].startswith("choice@")
    with pytest.raises(MissingInput, match="running text alone"):
        list(evaluator.questions(rows[2:], CONTEXT))


def test_what_was_cut_off_inside_its_thoughts_is_no_answer() -> None:
    (item,) = marked([row_of("a", "fr")], [f"<think>{PACKS['fr'].identity.sample}"]).items
    assert (item.value, item.readable, item.facts["reads"]) == (0.0, False, "nothing")


def test_a_language_that_the_model_does_not_know_is_told_before_a_model_is_asked() -> None:
    identity = PACKS["en"].identity.model_copy(update={"code": "tlh", "name": "Klingon", "lid_labels": ("tlh",)})
    context = replace(CONTEXT, languages={"tlh": replace(PACKS["en"], identity=identity)})
    with pytest.raises(MissingInput, match=r"does not know Klingon \(lid_labels: tlh\)"):
        list(EVALUATOR.questions([row_of("a", "tlh")], context))


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS_DATA) for name in ("casimedicos", "cmexam")])
def test_people_write_in_the_language_they_write_in(name: str) -> None:
    rows = [row for row in load(name) if isinstance(row.body, Choice) and row.body.explanation][:800]
    found = marked(rows, [str(row.body.explanation) for row in rows if isinstance(row.body, Choice)])
    assert sum(item.value for item in found.items) / len(found.items) > 0.998


@pytest.mark.parametrize("name", [pytest.param("korean", marks=NEEDS_DATA)])
def test_english_reasoning_in_korean_rows_is_found(name: str) -> None:
    """Of 999 explanations a model wrote, 408 are mostly in Latin letters, by a count of letters."""
    rows = [row for row in load(name) if isinstance(row.body, Choice) and row.body.explanation]
    found = marked(rows, [str(row.body.explanation) for row in rows if isinstance(row.body, Choice)])
    assert 400 <= sum(not item.value for item in found.items) <= 420
