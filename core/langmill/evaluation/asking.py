"""Having a model answer: weights in this process, or a provider behind the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from langmill.api import LLM, Answer, FactoryError, Question, RowFault
from langmill.calls.engine import BoundModel
from langmill.evaluation.answers import AnswerFile

Tell = Callable[[int, int], None]
"""Called with how many questions are answered, and of how many."""


def ask_here(llm: LLM, questions: Sequence[Question], file: AnswerFile, tell: Tell) -> None:
    """Ask weights in this process what is not answered yet."""
    missing = file.missing(questions)
    scored = [question for question in missing if question.continuations]
    written = [question for question in missing if not question.continuations]
    done, of = len(questions) - len(missing), len(questions)
    with file:
        if scored:
            for number, likelihoods in llm.score(scored):
                file.add(scored[number], likelihoods=likelihoods)
                done += 1
                tell(done, of)
        if written:
            for number, answer in llm.reply(written):
                file.add(written[number], answer=answer)
                done += 1
                tell(done, of)


async def ask_provider(
    model: BoundModel, name: str, questions: Sequence[Question], file: AnswerFile, tell: Tell
) -> None:
    """Ask a model behind the ledger what is not answered yet. What a provider refuses to answer is an empty answer; raises
    FactoryError when it failed on some: the others are kept."""
    missing = file.missing(questions)
    lost: list[str] = []
    done, of = len(questions) - len(missing), len(questions)

    async def one(question: Question) -> None:
        nonlocal done
        try:
            answer = await model.reply(question.messages, step=f"eval.{name}", language=question.language)
        except RowFault as fault:
            if fault.reason != "bad_request":
                lost.append(fault.detail)
                return
            answer = Answer("", "refusal")
        file.add(question, answer=answer)
        done += 1
        tell(done, of)

    if any(question.continuations for question in missing):
        model.sender.llm.score(missing)  # says that it can not
    with file:
        async with asyncio.TaskGroup() as group:
            for question in missing:
                group.create_task(one(question))
    if lost:
        raise FactoryError(
            f"{model.name} did not answer {len(lost):,} of {of:,} questions of {name} ({lost[0]}); the others are kept: the same "
            "command asks for the rest"
        )
