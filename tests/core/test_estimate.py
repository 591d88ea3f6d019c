"""Tokens and dollars of calls that nobody has made yet."""

from __future__ import annotations

from typing import Any

import pytest

from langmill.api import LLM, Price
from langmill.ledger.ledger import Habit
from langmill.plan.estimate import ENOUGH, Calls, Meter, Prompt, Span, habit_of, together

CENT = Price(1e-6, 2e-6)


class Counting(LLM):
    """A tokenizer of four characters a token."""

    async def answer(self, messages: Any, *, seed: int, schema: Any = None) -> Any: ...

    def count(self, texts: Any) -> list[int]:
        return [len(text) // 4 for text in texts]


class Unknown(Counting):
    def count(self, texts: Any) -> None:
        return None


def calls(llm: LLM, size: tuple[float, float] | None, n: int = 100, habit: Habit | None = None) -> Calls:
    found = Calls("en", "expand", Meter(llm, {}, {"en": ["x" * 400]}), habit)
    for _ in range(n):
        prompt = Prompt("x" * 800, 2, 200, "en", 100, 1500)
        found.add(prompt, prompt, size, 1.0, 1.0, 3)
    return found


def habit(step: str = "expand", language: str = "en", n: int = 50, answer: int = 120) -> Habit:
    return Habit(step, language, n, 220 * n, answer * n, answer * answer * n, 1.5 * n)


def test_ranges_that_have_nothing_to_do_with_one_another_are_not_all_at_one_end() -> None:
    both = together(Span(1, 4), Span(1, 4))
    assert 1 < both.low < 4 < both.high < 16
    assert both.low * both.high == pytest.approx(16)
    alone = together(Span(2, 3), Span(5, 5))
    assert (alone.low, alone.high) == (pytest.approx(10), pytest.approx(15))


def test_prompts_are_counted_by_the_tokenizer_and_estimated_without_one() -> None:
    counted, estimated = (calls(kind(model="x/y"), (200, 400)).prompt_tokens() for kind in (Counting, Unknown))
    assert 100 * 200 < counted.low < 100 * 220 < counted.high
    assert counted.high / counted.low < 1.8 < estimated.high / estimated.low
    assert estimated.low < counted.low < estimated.high


def test_answers_end_at_max_tokens_and_those_cut_off_are_asked_for_again() -> None:
    free, cut = (calls(Counting(model="x/y", max_tokens=most), (800, 1600)) for most in (2000, 150))
    assert free.answer_tokens().low > 100 * 150
    assert cut.answer_tokens().low <= 100 * 150
    assert 1.9 * 100 * 150 < cut.answer_tokens().high < cut.worst([Price(0.0, 1.0)]) == 100 * 3 * 150
    assert cut.prompt_tokens().high > 1.8 * cut.prompt_tokens().low
    assert calls(Counting(model="x/y", max_tokens=150), None).answer_tokens().high >= 100 * 150


def test_what_the_ledger_knows_counts_more_than_what_a_step_declares() -> None:
    declared = calls(Counting(model="x/y"), (200, 1600)).dollars(CENT)
    known = calls(Counting(model="x/y"), (200, 1600), habit=habit()).dollars(CENT)
    assert known.low < 100 * (230 * CENT.prompt + 120 * CENT.answer) < known.high
    assert known.high / known.low < 2.5 < declared.high / declared.low
    assert 100 * 1.5 / 16 * 0.6 < calls(Counting(model="x/y"), None, habit=habit()).seconds().low < 100 * 1.5 / 16


def test_a_habit_is_the_languages_own_else_the_steps_else_none() -> None:
    few, many = habit("translate.fr", "fr", ENOUGH - 1), habit("translate.es", "es", 60, 200)
    assert habit_of([few, many], "translate.es", "es") == (many, True)
    found, same = habit_of([few, many], "translate.fr", "fr")
    assert found and not same and found.calls == ENOUGH - 1 + 60
    assert habit_of([few, many], "explain", "fr")[0] is None
    assert habit_of([few], "translate.fr", "fr")[0] is None
    assert habit_of([habit(answer=0)], "expand", "en")[0] is None, "a provider that counts nothing teaches nothing"
