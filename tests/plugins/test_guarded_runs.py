"""Guards in whole runs, and over odd texts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.guarding import ANSWER, FRENCH, QUESTION, WRONG, Model, pairs, row, run
from tests.nasty import NASTY
from tests.provider import Provider

from langmill.api import Augmenter, Body, Chat, Choice, Row, Text
from langmill_plugins.augmenters.ask import Ask
from langmill_plugins.augmenters.expand import Expand
from langmill_plugins.augmenters.explain import Explain
from langmill_plugins.augmenters.translate import Translate

# --- odd texts ---


@pytest.mark.parametrize("index", range(len(NASTY)))
def test_guards_get_over_any_text(index: int) -> None:
    text = NASTY[index]
    short, english = text[:2500], "What is it? It is 5 mg."
    for said in (text, english):
        piece = (said or "x")[:600]
        parts: list[tuple[Augmenter, Body, dict[str, Any]]] = [
            (Translate(into=("zh",), most_characters=10**7), Chat.of(text, text), {"translate.zh": [{"question": piece, "answer": piece}]}),
            (Translate(into=("fr",), most_characters=10**7), Choice(text, (text, "b"), (0,), explanation=text or None), {
                "translate.fr": [{"question": piece, "options": [{"letter": "A", "text": piece}, {"letter": "B", "text": "c"}],
                                  "explanation": piece if text else "", "context": ""}]}),
            (Expand(most_characters=10**7), Chat.of(text, short), {"expand": [{"answer": (piece * 99)[:4000]}]}),
            (Explain(), Choice(text, (text, "b"), (0,)), {"explain": [{"explanation": piece}]}),
            (Ask(most_characters=10**7), Text(text), {"ask": [pairs((piece, piece))]}),
        ]  # fmt: skip
        for part, body, answers in parts:
            model = Model({**answers, **{f"{step}.repair": said for step, said in answers.items()}})
            for made in run(part, row(body), model):
                assert isinstance(made, Row) or made.reason


# --- real runs ---

RECIPE = """\
name: small
languages: [en, fr]
run: {workers: 1}
llm: {model: openai/translator, api_base: URL, prices: {input: 1, output: 2}}
sources:
  qa: {use: table, path: data/qa.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa], steps: [{use: translate, into: [fr]}]}
"""


def reply(said: Any) -> dict[str, str]:
    """What a provider sends, whole."""
    choice = {"index": 0, "message": {"role": "assistant", "content": json.dumps(said)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    body = {
        "id": "r",
        "object": "chat.completion",
        "created": 0,
        "model": "translator",
        "choices": [choice],
        "usage": usage,
    }
    return {"text": json.dumps(body)}


@pytest.fixture
def dosed(bench: Any) -> Callable[[str, str], None]:
    """One row with a dose in it, and a recipe that translates it."""
    record = {"id": "a", "language": "en", "split": "train", "question": QUESTION, "answer": ANSWER}
    bench.write("data/qa.jsonl", json.dumps(record) + "\n")

    def ready(url: str, options: str = "") -> None:
        bench.write("small.yaml", RECIPE.replace("URL", url).replace("into: [fr]", f"into: [fr]{options}"))

    return ready


def test_a_run_mends_a_dose_and_its_ledger_has_the_money_of_both_calls(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(WRONG), reply(FRENCH)]) as provider:
        dosed(provider.url)
        assert bench.factory("run", "small.yaml").code == 0
        [made] = [item for item in bench.rows("open") if item.language == "fr"]
        assert made.body.answer == FRENCH["answer"] and made.flags == ("repaired",)
        assert [mark.step for mark in made.origin.marks] == ["translate.fr", "translate.fr.repair"]
        calls = bench.calls()
        assert [call["step"] for call in calls] == ["translate.fr", "translate.fr.repair"]
        assert [call["cost"] for call in calls] == [200_000, 200_000], "100 and 50 tokens, in billionths of a dollar"
        assert {call["key"] for call in calls} == {mark.call for mark in made.origin.marks}
        assert bench.funnel("open")["translate fr"]["flagged:repaired"] == 1
        again = bench.factory("run", "small.yaml")
        assert again.code == 0 and "open: translate (kept)" in again.err
        assert sum(provider.seen()["requests"].values()) == 2


def test_what_no_repair_mends_is_rejected_and_can_be_tried_again(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(WRONG), reply(WRONG), reply(FRENCH)]) as provider:
        dosed(provider.url)
        assert bench.factory("run", "small.yaml").code == 0
        [reject] = bench.rejects("open")
        assert reject.reason == "changed_number" and "4 g" in reject.detail and "40 g" in reject.detail
        said = bench.factory("retry", "runs/small", "--reason", "changed_number")
        assert said.code == 0, said.err
        [made] = [item for item in bench.rows("open") if item.language == "fr"]
        assert made.body.answer == FRENCH["answer"] and made.flags == (), "it was sound at once"
        assert bench.rejects("open") == [] and sum(provider.seen()["requests"].values()) == 3


def test_a_guard_that_is_off_lets_pass_what_it_would_find(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(WRONG)]) as provider:
        dosed(provider.url, ", guards: {numbers: false}")
        assert bench.factory("run", "small.yaml").code == 0
        assert [item.language for item in bench.rows("open")] == ["en", "fr"]


def test_card_and_report_tell_what_is_off_and_what_was_mended(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(WRONG), reply(FRENCH)]) as provider:
        dosed(provider.url, ", guards: {negation: false, sides: false}, judge: {}, repair: false")
        assert bench.factory("run", "small.yaml").code == 0
        off = (bench.folder / "runs/small/open/README.md").read_text("utf-8")
        assert "**switched off: negation, sides**" in off and "repair off" in off and "judged by" in off
        assert "switched off: negation, sides" in (bench.folder / "runs/small/report.html").read_text("utf-8")
        dosed(provider.url)
        assert bench.factory("run", "small.yaml", "--fresh").code == 0
    on = (bench.folder / "runs/small/open/README.md").read_text("utf-8")
    assert "switched off" not in on and "flag `repaired`: 1." in on


def test_a_recipe_lists_terms_and_names_a_glossary(bench: Any, dosed: Callable[..., None]) -> None:
    with Provider(replies=[reply(FRENCH)]) as provider:
        dosed(provider.url, ", repair: false, guards: {keep: [AcmeScan], glossary: terms.csv}")
        said = bench.factory("run", "small.yaml")
        assert said.code != 0 and "steps[0].guards.glossary: nothing at 'terms.csv'" in said.err
        bench.write("terms.csv", "source,target\nadult,adulte\n")
        assert bench.factory("run", "small.yaml").code == 0
        assert bench.rejects("open") == [] and len(bench.rows("open")) == 2
        bench.write("terms.csv", "source,target\nadult,grande personne\n")
        again = bench.factory("run", "small.yaml")
        assert again.code == 0, again.err
        assert "open: translate (kept)" not in again.err, "the glossary decides, too"
        [reject] = bench.rejects("open")
        assert reject.reason == "glossary" and "question: adult must be grande personne" in reject.detail
        assert sum(provider.seen()["requests"].values()) == 1


def test_a_misspelt_guard_is_told_with_its_place(bench: Any, dosed: Callable[..., None]) -> None:
    dosed("http://127.0.0.1:9/v1", ", guards: {nubmers: false}")
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "small.yaml:8" in said.err and "Did you mean 'numbers'?" in said.err
    dosed("http://127.0.0.1:9/v1", ", judge: {llm: nobody}")
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "nobody" in said.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"source,target\nadult,adulte\nt\xeate,head\n", r"terms.csv:3: this is no UTF-8; possible: a CSV file"),
        (b"source;target\nadult;adulte\n", r"terms.csv:1: found 'source;target'; possible: .*commas.*source,target"),
        (b"term,translation\nadult,adulte\n", r"terms.csv:1: found 'term,translation'; possible: "),
        (b"", r"terms.csv:1: found ''; possible: "),
        (
            b"source,target\nadult,\n" + b"x" * 20_000,
            r"terms.csv:3: a cell of more than 10,000 characters: is a quotation",
        ),
        (b"source,target\n,\nadult\n", r"'terms.csv' has no term for en-fr"),
        (b"sourceLang,targetLang,sourceString,targetString\nen,de,adult,Erwachsener\n", r"no term for en-fr"),
    ],
)
def test_a_glossary_that_is_of_no_use_is_told_before_anything_is_asked(
    bench: Any, dosed: Callable[..., None], content: bytes, told: str
) -> None:
    dosed("http://127.0.0.1:9/v1", ", guards: {glossary: terms.csv}")
    bench.write("terms.csv", "").write_bytes(content)
    for command in ("check", "run"):
        said = bench.factory(command, "small.yaml")
        assert re.search(r"datasets.open.steps\[0\].guards.glossary: .*" + told, said.out + said.err), (
            said.out + said.err
        )
    assert said.code == 2 and bench.calls() == []


@pytest.mark.parametrize("value", ["true", "null", "'no'", "[]"])
def test_guards_are_a_mapping_or_false(bench: Any, dosed: Callable[..., None], value: str) -> None:
    dosed("http://127.0.0.1:9/v1", f", guards: {value}")
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "guards: found" in said.err
    assert "must be a mapping of guard: false, or false for none" in said.err


def test_an_empty_term_is_refused(bench: Any, dosed: Callable[..., None]) -> None:
    dosed("http://127.0.0.1:9/v1", ", guards: {keep: [AcmeScan, ' ']}")
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "guards.keep[1]" in said.err
