"""What a model that is here thinks of prompts and continuations, asked as an evaluation asks it."""

from __future__ import annotations

from collections.abc import Sequence

from langmill.api import LLM, Likelihood, Message, Question


def likelihoods(llm: LLM, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    """The likelihood of each (user's words, continuation), in order."""
    questions = [
        Question(str(number), str(number), "en", (Message("user", prompt),), (words,))
        for number, (prompt, words) in enumerate(pairs)
    ]
    found = dict(llm.score(questions))
    return [found[number][0] for number in range(len(pairs))]
