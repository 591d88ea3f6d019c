"""Perplexity by hand, and of a real model on real words."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.public_sets import PACKS
from tests.tiny_models import PACKAGED

from langmill.api import (
    Answered,
    Chat,
    Choice,
    Context,
    EvalContext,
    FactoryError,
    Likelihood,
    Marked,
    Message,
    MissingInput,
    Origin,
    RecipeError,
    Row,
    Score,
    Text,
)
from langmill.scores.summing import scores_of
from langmill_plugins.evaluators.perplexity import Perplexity
from langmill_plugins.trainers.peft import PeftTrainer

CONTEXT = EvalContext("eval[0]", 17, PACKS, Path())
EVALUATOR = Perplexity(data="prose", models=("base",))


def row_of(name: str, body: Text | Chat | Choice, language: str = "en") -> Row:
    return Row(name, language, "test", name, body, Origin("test", name, ("CC0-1.0",)))


def marked(rows: Sequence[Row], found: Sequence[Likelihood]) -> Marked:
    questions = EVALUATOR.questions(rows, CONTEXT)
    answered = [Answered(question, None, (one,)) for question, one in zip(questions, found, strict=True)]
    return asyncio.run(EVALUATOR.mark(rows, answered, CONTEXT))


def scores(found: Marked) -> dict[tuple[str, str], Score]:
    return {(score.language, score.metric): score for score in scores_of(found, EVALUATOR.metrics, 1)}


def test_by_hand() -> None:
    """All tokens of a language weigh the same, whatever text they are in; so do its bytes."""
    rows = [row_of("a", Text("four")), row_of("b", Text("eightish")), row_of("c", Text("鉄"), "ja")]
    found = scores(marked(rows, [Likelihood(-2.0, 1), Likelihood(-4.0, 5), Likelihood(-3 * math.log(2), 1)]))
    assert found["en", "perplexity"].value == pytest.approx(math.exp(6 / 6))
    assert found["en", "bits_per_byte"].value == pytest.approx(6 / math.log(2) / 12)
    assert found["ja", "perplexity"].value == pytest.approx(8)
    assert found["ja", "bits_per_byte"].value == pytest.approx(1.0)
    assert found["all", "perplexity"].value == pytest.approx(math.sqrt(math.e * 8))
    assert found["all", "bits_per_byte"].value == pytest.approx((6 / math.log(2) / 12 + 1) / 2)
    assert (found["en", "perplexity"].n, found["en", "perplexity"].correct) == (2, None)


def test_a_text_is_asked_by_itself_and_an_answer_after_its_talk() -> None:
    (text,) = EVALUATOR.questions([row_of("a", Text("Iron."))], CONTEXT)
    assert (text.messages, text.continuations) == ((), ("Iron.",))
    talk = Chat(
        (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?"), Message("assistant", "So."))
    )
    (chat,) = EVALUATOR.questions([row_of("b", talk)], CONTEXT)
    assert (chat.messages, chat.continuations) == (talk.messages[:-1], ("So.",))
    assert EVALUATOR.scored()


def test_what_can_not_be_asked_is_told() -> None:
    item, text = row_of("c", Choice("Q", ("x", "y"), (0,))), row_of("t", Text("Iron."))
    assert [question.row for question in EVALUATOR.questions([item, text, row_of("e", Text(""))], CONTEXT)] == ["t"]
    with pytest.raises(MissingInput, match="neither text nor conversations"):
        list(EVALUATOR.questions([item], CONTEXT))
    with pytest.raises(RecipeError, match="mean different things"):
        list(EVALUATOR.questions([text, row_of("q", Chat.of("Why?", "So."))], CONTEXT))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_model_that_is_broken_gets_no_figure(value: float) -> None:
    rows = [row_of("a", Text("four")), row_of("b", Text("five"))]
    with pytest.raises(FactoryError, match=r"1 of 2 texts impossible \(b\)"):
        marked(rows, [Likelihood(-2.0, 1), Likelihood(value, 1)])


def test_a_text_of_no_tokens_is_no_certainty() -> None:
    rows = [row_of("a", Text("four")), row_of("b", Text(" "))]
    found = marked(rows, [Likelihood(-2.0, 1), Likelihood(0.0, 0)])
    assert scores(found)["en", "perplexity"].n == 1
    assert found.facts["nothing to score"] == 1


def test_a_real_model_is_less_surprised_by_english_than_by_shuffled_english_or_by_korean() -> None:
    real = (
        "Iron deficiency is the most common cause of anemia in the world. Patients feel tired, and their skin is pale. "
        "Treatment is to replace the iron and to look for the source of the bleeding."
    )
    words = real.split()
    mixed = random.Random(1).sample(words, len(words))
    rows = [row_of("real", Text(real)), row_of("mixed", Text(" ".join(mixed)), "es")]
    rows.append(row_of("korean", Text(PACKS["ko"].identity.sample), "ko"))
    context = Context("train", 17, PACKS, Path())
    weights = PeftTrainer(base=PACKAGED).open(None, context)
    questions = list(EVALUATOR.questions(rows, CONTEXT))
    said = dict(weights.score(questions))
    found = scores(marked(rows, [said[number][0] for number in range(len(questions))]))
    assert 5 < found["en", "perplexity"].value < 40
    assert found["es", "perplexity"].value > 10 * found["en", "perplexity"].value
    bits = {code: found[code, "bits_per_byte"].value for code in ("en", "es", "ko")}
    assert 0.4 < bits["en"] < 1.5 and bits["es"] > 1.5 * bits["en"]
    # Korean falls into bytes, each of them likely: token by token the model looks well read, byte by byte it does not.
    assert bits["ko"] > 1.5 * bits["en"]
