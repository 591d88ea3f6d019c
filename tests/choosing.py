"""Choice accuracy on answers that are made up: rows, questions about them, and what is made of what a model says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langmill.api import (
    Answer,
    Answered,
    Chat,
    Choice,
    EvalContext,
    Likelihood,
    Marked,
    Origin,
    Question,
    Row,
    Score,
    packs_in,
)
from langmill.scores.summing import scores_of
from langmill_plugins.evaluators.choice_accuracy import ChoiceAccuracy

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = EvalContext("eval[0]", 17, PACKS, Path())
Says = Callable[[Question, str], float]


def row_of(name: str, language: str, body: Choice | Chat, split: Any = "test", family: str = "") -> Row:
    """A row; its id is its family where none is given."""
    return Row(name, language, split, family or name, body, Origin("test", name, ("CC0-1.0",)))


def rows() -> list[Row]:
    """Four English rows of four options, one of them with two right answers; two Japanese rows of two options."""
    made = [
        row_of(f"en/{number}", "en", Choice(f"Question {number}?", ("one", "three", "five", "seven"), (number,)))
        for number in range(3)
    ]
    made.append(row_of("en/3", "en", Choice("Question 3?", ("one", "three", "five", "seven"), (1, 3))))
    made += [row_of(f"ja/{n}", "ja", Choice(f"問{n}?", ("はい", "いいえ"), (n,))) for n in range(2)]
    return made


def evaluator(**options: Any) -> ChoiceAccuracy:
    """The part with these options."""
    return ChoiceAccuracy.model_validate({"data": "mc", "models": ("base",), **options})


def questions(part: ChoiceAccuracy, some: Sequence[Row], context: EvalContext = CONTEXT) -> list[Question]:
    """What is asked; each question has a name of its own."""
    made = list(part.questions(some, context))
    assert len({question.name for question in made}) == len(made)
    return made


def marked(
    part: ChoiceAccuracy,
    some: Sequence[Row],
    says: Says = lambda question, words: -1.0,
    writes: Callable[[Question], Answer] = lambda question: Answer("?"),
    context: EvalContext = CONTEXT,
) -> Marked:
    """What is made of a model that says so much to each continuation, and writes so to what has none."""

    def answered(question: Question) -> Answered:
        if not question.continuations:
            return Answered(question, writes(question))
        return Answered(question, None, tuple(Likelihood(says(question, words), 1) for words in question.continuations))

    return asyncio.run(part.mark(some, [answered(one) for one in questions(part, some, context)], context))


def scored(found: Marked) -> dict[tuple[str, str], Score]:
    """The scores by language and metric."""
    scores = scores_of(found, ChoiceAccuracy.metrics, 17)
    return {(score.language, score.metric): score for score in scores}
