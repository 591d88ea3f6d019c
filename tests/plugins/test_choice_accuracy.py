"""Choice accuracy on a scorer that knows how likely everything is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from pydantic import PrivateAttr

from langmill.api import (
    LLM,
    Answer,
    Chat,
    Choice,
    Context,
    Likelihood,
    Message,
    MissingInput,
    Origin,
    RecipeError,
    Row,
    packs_in,
)
from langmill_plugins.evaluators.choice_accuracy import ChoiceAccuracy, best, mean_interval, wilson


class Scripted(LLM):
    """Gives the log-probability that a function of prompt and continuation says."""

    _says: Callable[[str, str], float] = PrivateAttr()
    _asked: list[tuple[str, str]] = PrivateAttr(default_factory=list)

    @classmethod
    def by(cls, says: Callable[[str, str], float]) -> Scripted:
        made = cls(model="scripted/test")
        made._says = says
        return made

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        raise NotImplementedError

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        self._asked += pairs
        return [Likelihood(self._says(prompt, words), 1) for prompt, words in pairs]


class Mute(Scripted):
    """A provider without log-probabilities."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        return LLM.score(self, pairs)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    return Context("eval[0]", 17, packs, tmp_path_factory.mktemp("recipe"))


EVALUATOR = ChoiceAccuracy(data="mc", models=("base",))


def row_of(name: str, language: str, body: Choice | Chat) -> Row:
    return Row(name, language, "test", name, body, Origin("test", name, ("CC0-1.0",)))


def rows() -> list[Row]:
    """Four English rows of four options, one of them with two right answers; two Japanese rows of two options."""
    made = [
        row_of(f"en/{number}", "en", Choice(f"Question {number}?", ("one", "three", "five", "seven"), (number,)))
        for number in range(3)
    ]
    made.append(row_of("en/3", "en", Choice("Question 3?", ("one", "three", "five", "seven"), (1, 3))))
    made += [row_of(f"ja/{n}", "ja", Choice(f"問{n}?", ("はい", "いいえ"), (n,))) for n in range(2)]
    return made


def test_known_answers(context: Context) -> None:
    """B is the likeliest letter everywhere, then D. By option text, short ones are likelier, but not by byte."""

    def says(prompt: str, words: str) -> float:
        letters = {"A": -3.0, "B": -1.0, "C": -4.0, "D": -2.0}
        text = {"one": -3.0, "three": -4.0, "five": -4.4, "seven": -4.5, "はい": -6.0, "いいえ": -18.0}
        return letters[words] if words in letters else text[words]

    scores = EVALUATOR.evaluate(rows(), Scripted.by(says), context)
    table = {(score.language, score.metric): score for score in scores.scores}
    assert set(table) == {(lang, metric) for lang in ("en", "ja", "all") for metric in ("letters", "text")}
    # Letters: B is right in en/1, B with D in en/3, B in ja/1.
    assert (table["en", "letters"].correct, table["en", "letters"].n) == (2, 4)
    assert (table["ja", "letters"].correct, table["ja", "letters"].n) == (1, 2)
    # Text by byte: -1, -0.8, -1.1, -0.9 in English, so 'three', then 'seven'; -1 against -2 in Japanese.
    assert table["en", "text"].correct == 2
    assert table["ja", "text"].correct == 1
    chosen = {(item["id"], item["metric"]): (item["gold"], item["chosen"]) for item in scores.items}
    assert len(chosen) == 12
    assert chosen["en/0", "text"] == ([0], [1])
    assert chosen["en/3", "letters"] == ([1, 3], [1, 3])
    assert chosen["ja/0", "text"] == ([0], [0])
    assert table["en", "text"].chance == pytest.approx((3 / 4 + 1 / 6) / 4)
    assert table["ja", "text"].chance == 0.5


def test_all_weighs_languages_alike(context: Context) -> None:
    some = [*[row for row in rows() if row.language == "en"][:3], rows()[-1]]
    scores = EVALUATOR.evaluate(some, Scripted.by(lambda prompt, words: 0.0 if words == "B" else -1.0), context)
    over_all = next(score for score in scores.scores if (score.language, score.metric) == ("all", "letters"))
    assert (over_all.n, over_all.correct) == (4, 2)
    assert over_all.accuracy == pytest.approx((1 / 3 + 1) / 2)
    assert over_all.chance == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert over_all.interval[0] < over_all.accuracy < over_all.interval[1]


def test_the_packs_short_prompt_is_asked(context: Context) -> None:
    model = Scripted.by(lambda prompt, words: -1.0)
    (row,) = rows()[-1:]
    assert isinstance(row.body, Choice)
    EVALUATOR.evaluate([row], model, context)
    prompt = context.pack("ja").ask_choice(row.body, short=True)
    assert model._asked == [(prompt, "A"), (prompt, "B"), (prompt, "はい"), (prompt, "いいえ")]


def test_the_prompts_hash_tells_wordings_apart(context: Context) -> None:
    scores = EVALUATOR.evaluate(rows(), Scripted.by(lambda prompt, words: -1.0), context).scores
    by_language = {score.language: score.prompt for score in scores}
    assert len(set(by_language.values())) == 3
    again = EVALUATOR.evaluate(rows()[:4], Scripted.by(lambda prompt, words: -2.0), context).scores
    assert {score.prompt for score in again if score.language == "en"} == {by_language["en"]}


def test_conversations_are_passed_over_and_nothing_left_is_an_error(context: Context) -> None:
    chat = row_of("en/chat", "en", Chat.of("Why?", "So."))
    scores = EVALUATOR.evaluate([chat, *rows()], Scripted.by(lambda prompt, words: -1.0), context)
    assert "en/chat" not in {item["id"] for item in scores.items}
    with pytest.raises(MissingInput, match="no multiple-choice rows"):
        EVALUATOR.evaluate([chat], Scripted.by(lambda prompt, words: -1.0), context)


def test_a_model_without_log_probabilities_is_told(context: Context) -> None:
    with pytest.raises(RecipeError, match="no log-probabilities"):
        EVALUATOR.evaluate(rows(), Mute.by(lambda prompt, words: 0.0), context)


def test_equals_go_to_the_earlier_and_the_best_come_in_order() -> None:
    assert best([-1.0, -1.0, -1.0], 1) == [0]
    assert best([-3.0, -1.0, -2.0, -1.0], 2) == [1, 3]
    assert best([-9.0, -math.inf, -1.0], 2) == [0, 2]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # Wilson's interval as textbooks give it
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilson(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_the_interval_of_a_mean() -> None:
    one = (0.5, wilson(50, 100))
    assert mean_interval([one]) == (pytest.approx(one[1][0]), pytest.approx(one[1][1]))
    low, high = mean_interval([one] * 4)
    assert high - low == pytest.approx((one[1][1] - one[1][0]) / 2)
    assert mean_interval([(0.0, wilson(0, 5)), (0.0, wilson(0, 5))])[0] == 0.0


def test_its_help_says_how_several_answers_count() -> None:
    assert "k right answers" in " ".join((ChoiceAccuracy.__doc__ or "").split())
