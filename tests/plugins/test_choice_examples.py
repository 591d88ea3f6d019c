"""Examples before the question, and what pins down the words of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.choosing import PACKS, evaluator, marked, questions, row_of, rows, scored

from langmill.api import Choice, EvalContext, MissingInput, Row


def pool() -> list[Row]:
    """Train rows of two languages, and some that give test rows away."""
    made = [
        row_of(
            f"train/{code}-{n}",
            code,
            Choice(f"{word} {n}, {n * 7}?", (f"{n} mg", f"{n + 1} g"), (n % 2,), reason),
            "train",
        )
        for code, word, reason in (("en", "How much is right for patient", "Since it is so."), ("ja", "患者の量", None))
        for n in range(6)
    ]
    question, options = "How much is right for patient 901?", ("one tablet", "two tablets")
    other = replace(
        made[0], id="train/family", body=Choice("Is this another wording?", ("a b", "c d"), (0,)), family="asked/1"
    )
    same = row_of("train/same", "en", Choice(question.upper(), options[::-1], (1,)), "train")
    close = row_of("train/close", "en", Choice(question.replace("right", "good"), (*options, "three"), (0,)), "train")
    return [*made, other, same, close]


ASKED = [
    row_of("asked/1", "en", Choice("How much is right for patient 901?", ("one tablet", "two tablets"), (0,))),
    row_of("asked/2", "ja", Choice("この人に良い薬はどれですか?", ("甲", "乙"), (1,))),
]


def with_pool(train: Sequence[Row], asked: Sequence[Row] = ASKED) -> EvalContext:
    return EvalContext(
        "eval[0]", 17, PACKS, Path(), rows=lambda data, split: iter(train if split == "train" else asked)
    )


def test_examples_come_first_as_turns_the_same_for_every_row() -> None:
    context = with_pool(pool())
    more = [row_of("asked/3", "en", Choice("Quite another thing?", ("this", "that"), (0,))), *ASKED]
    part = evaluator(shots=2, ask=("letters", "text", "generation"))
    asked = questions(part, more, with_pool(pool(), more))
    by_way = {(one.row, one.facts["ways"][0]): one for one in asked}
    assert len(by_way) == len(asked) == 9
    letters, text, written = (by_way["asked/1", way] for way in ("letters", "text", "generation"))
    assert [message.role for message in letters.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert by_way["asked/3", "letters"].messages[:-1] == letters.messages[:-1], "so the prompt's beginning is read once"
    shown = {row.id: row.body for row in pool()}
    first = shown[letters.facts["examples"][0]]
    assert isinstance(first, Choice)
    assert letters.messages[1].content == "AB"[first.answers[0]]
    assert text.messages[1].content == first.options[first.answers[0]]
    assert written.messages[1].content == f"Since it is so.\nAnswer: {'AB'[first.answers[0]]}"
    assert by_way["asked/2", "generation"].messages[1].content.startswith("答え"), "no rationale, the answer line alone"
    assert {one.facts["examples"][0][:8] for one in asked if one.language == "ja"} == {"train/ja"}
    assert questions(part, more, with_pool(list(reversed(pool())), more)) == asked, "in whatever order they are read"
    again = questions(part, more, replace(with_pool(pool(), more), seed=18))
    assert [one.facts["examples"] for one in again] != [one.facts["examples"] for one in asked]
    assert questions(evaluator(shots=2), ASKED[:1], context)[0].facts["examples"] == letters.facts["examples"]


def test_an_example_gives_nothing_away() -> None:
    """Six of nine English train rows are safe: one is of an asked row's family, one says the same, one nearly so."""
    (question, _) = questions(evaluator(shots=6), ASKED[:1], with_pool(pool()))
    assert sorted(question.facts["examples"]) == [f"train/en-{n}" for n in range(6)]
    with pytest.raises(MissingInput) as error:
        questions(evaluator(shots=7, shots_from="other"), ASKED[:1], with_pool(pool()))
    assert "eval[0].shots: 7 examples are asked for, and 'other' has too few" in str(error.value)
    assert "en has 6 (of 9 train rows, 3 are" in str(error.value)


def test_examples_are_held_against_the_whole_split() -> None:
    """Not against the rows that a limit leaves: the examples would change with it."""
    safe = questions(evaluator(shots=6), ASKED[:1], with_pool(pool(), [*ASKED, *rows()]))[0].facts["examples"]
    fewer = questions(evaluator(shots=6), [*ASKED, *rows()][:1], with_pool(pool(), [*ASKED, *rows()]))
    assert fewer[0].facts["examples"] == safe


# --- what pins it down ---


def test_the_prompts_hash_tells_wordings_apart() -> None:
    prompts = marked(evaluator(), rows()).prompts
    assert set(prompts) == {"en", "ja"} and len(set(prompts.values())) == 2
    assert marked(evaluator(orders=2), rows()[:4], lambda question, words: -2.0).prompts["en"] == prompts["en"]
    both = marked(evaluator(ask=("letters", "generation")), rows())
    assert both.prompts["en"] == prompts["en"], "asked beside others it is the same question"
    assert both.prompts["en generation"].startswith("choice@")
    table = scored(both)
    assert table["en", "generation partial"].prompt == table["en", "generation"].prompt == both.prompts["en generation"]
    assert table["en", "letters partial"].prompt == table["en", "letters"].prompt == prompts["en"]
    few = marked(evaluator(shots=1), ASKED, context=with_pool(pool())).prompts
    assert len({prompts["en"], few["en"], few["en text"]}) == 3, "examples are words, too"


def test_the_words_can_be_put_again_from_what_is_told() -> None:
    """With the wording and the row alone, as somebody would who has the file and not this program."""
    import jinja2

    found = marked(evaluator(shots=1), ASKED, context=with_pool(pool()))
    body = ASKED[0].body
    assert isinstance(body, Choice)
    said: Mapping[str, Any] = found.facts["wordings"]["en letters"]
    lines = [said["option"].format(letter=a, text=b) for a, b in zip(said["letters"], body.options, strict=False)]
    words = jinja2.Template(said["words"]).render(question=body.question, options=lines, context="", several=False)
    asked = questions(evaluator(shots=1), ASKED, with_pool(pool()))[0]
    assert [*map(tuple, said["examples"]), ("user", words.strip())] == [tuple(one) for one in asked.messages]
    assert found.facts["examples"]["en"] == asked.facts["examples"]
