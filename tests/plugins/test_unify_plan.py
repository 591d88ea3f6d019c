"""What unify would cost before it is run, held against what it then asks: two calls a passage, whatever was paid before."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.conftest import Bench

from langmill.plan.forecast import Planned, plan
from langmill.recipe.assembly import assemble
from langmill_plugins.llms.scripted import NotScripted

RECIPE = """\
name: small
languages: [en, zh]
llm: {model: scripted/one, answers: script.jsonl, max_tokens: 400}
sources:
  books: {use: table, path: data/passages.*.jsonl, body: text, license: CC0-1.0}
datasets:
  made:
    from: [books]
    steps:
      - {use: unify, into: zh, guards: false, support: 0, keep: never, question_characters: 200, answer_characters: {books: 800}}
      - {use: translate, into: [en], guards: false}
"""
QUESTION = {"question": "这一现象是怎样发生的？"}
ANSWER = {"answer": "它由几个步骤组成，每一步都依赖于前一步。" * 4}
PAIR = {
    "question": "How does this come about?",
    "answer": "It has several steps, and each depends on the one before it.",
}
SCRIPT = (("Translate the medical question", PAIR), ("<reference>", ANSWER), ("<passage>", QUESTION))


@pytest.fixture
def small(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench.data("passages.en.jsonl", "passages.zh.jsonl")
    bench.write("small.yaml", RECIPE)
    bench.script(*SCRIPT)
    monkeypatch.setenv("LANGMILL_HOME", str(bench.home))
    return bench


def planned(bench: Bench) -> dict[str, Any]:
    """What each step would still cost, both source languages together."""
    found: Planned = asyncio.run(plan(assemble(bench.folder / "small.yaml")))
    return {cost.step: cost for cost in found.steps}


def test_both_calls_are_planned_and_what_follows_from_their_answers(small: Bench) -> None:
    before = planned(small)
    assert before["unify"].calls == before["unify answer"].calls == 10
    assert before["translate"].made > 0, "conversations that are not there yet would be translated"
    done = small.factory("run", "small.yaml", "--until", "data")
    assert done.code == 0, done.err
    asked = Counter(call["step"] for call in small.calls())
    assert (asked["unify"], asked["unify.answer"]) == (10, 10)


def test_an_answer_that_is_still_to_be_paid_is_priced_as_one(small: Bench) -> None:
    """The questions are paid, the answers are not: what is left are answers, not questions."""
    small.script(*SCRIPT[2:])  # the script has nothing to answer with, so that the run ends after the questions
    with pytest.raises(NotScripted):
        small.factory("run", "small.yaml", "--until", "data")
    asked = Counter(call["step"] for call in small.calls() if call["status"] == "answered")
    assert set(asked) == {"unify"}
    after = planned(small)
    paid = asked["unify"]
    assert after["unify"].paid == paid
    assert after["unify answer"].calls == 10
