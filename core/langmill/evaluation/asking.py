"""Having a model answer: weights in this process, or a provider behind the ledger."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from langmill.api import LLM, Answer, FactoryError, Likelihood, Question, RowFault
from langmill.calls.engine import BoundModel
from langmill.errors import BudgetReached, ProviderDown
from langmill.evaluation.answers import AnswerFile

AHEAD = 2  # questions that wait for their turn, for each call that may be in flight
REFUSED = (
    20  # questions that a provider may refuse before it has answered one: beyond, it is no matter of the questions
)
BATCHED = 50_000  # questions that wait at once where they go out in batches
TURN = 100  # answers after which others have their turn: what the ledger has comes without waiting for anything
TOLD_PAUSE = 0.25  # seconds between two reports of the counts
Tell = Callable[[int, int], None]
"""Called with how many questions are answered, and of how many: at times, and at the end."""


class _Counts:
    """How many questions are answered; told not more often than a person can read."""

    def __init__(self, done: int, of: int, tell: Tell):
        self.done, self.of, self.tell, self._told = done, of, tell, 0.0

    def more(self) -> None:
        """One more is answered."""
        self.done += 1
        if self.done == self.of or time.monotonic() - self._told > TOLD_PAUSE:
            self._told = time.monotonic()
            self.tell(self.done, self.of)


def ask_here(llm: LLM, questions: Sequence[Question], file: AnswerFile, tell: Tell) -> None:
    """Ask weights in this process what is not answered yet. Raises FactoryError for a likelihood that is none: a figure would come of
    it as of any other."""
    missing = file.missing(questions)
    scored = [question for question in missing if question.continuations]
    written = [question for question in missing if not question.continuations]
    counts = _Counts(len(questions) - len(missing), len(questions), tell)
    likely = llm.score(scored) if scored else ()
    said = llm.reply(written) if written else ()  # before the first is asked: weights look at all questions now
    with file:
        for number, likelihoods in likely:
            _check(llm, scored[number], likelihoods)
            file.add(scored[number], likelihoods=likelihoods)
            counts.more()
        for number, answer in said:
            file.add(written[number], answer=answer)
            counts.more()


def _check(llm: LLM, question: Question, likelihoods: Sequence[Likelihood]) -> None:
    """Some continuation may be impossible, which is minus infinity; not all of them."""
    found = [one.log_probability for one in likelihoods]
    if any(math.isnan(one) or one == math.inf for one in found) or all(one == -math.inf for one in found):
        raise FactoryError(
            f"{llm.model} gives no likelihood to '{question.name}' ({', '.join(map(str, found[:4]))}): its weights are damaged, or too "
            "large for the numbers that they are held in. Download, copy or train it again; what it answered before is kept"
        )


def bound_of(llm: LLM, questions: Iterable[Question]) -> int:
    """Tokens that a provider's answers may have in an evaluation: as many as any of its questions allows."""
    return max((one.max_tokens or llm.max_tokens for one in questions), default=llm.max_tokens)


async def ask_provider(
    model: BoundModel, name: str, questions: Sequence[Question], file: AnswerFile, tell: Tell
) -> None:
    """Ask a model behind the ledger what is not answered yet, and again what it refused before, a few questions at a time.

    What it refuses to answer is kept as refused, unless it refuses everything. Raises FactoryError when it failed on some, and
    whatever ends the run (BudgetReached, ProviderDown, Stopped): what was answered by then is kept.
    """
    missing = [*file.missing(questions), *(question for question, _ in file.refused(questions))]
    if any(question.continuations for question in missing):
        model.sender.llm.score(missing)  # says that it can not
    work = _Asking(model, name, file, iter(missing), _Counts(len(questions) - len(missing), len(questions), tell))
    with file:
        await work.all(len(missing))
    if work.lost:
        raise FactoryError(
            f"{model.name} did not answer {len(work.lost):,} of {len(questions):,} questions of {name} ({work.lost[0]}); the others "
            "are kept: the same command asks for the rest"
        )


class _Asking:
    """The questions of one evaluation on their way to a provider."""

    def __init__(
        self, model: BoundModel, name: str, file: AnswerFile, waiting: Iterator[Question], counts: _Counts
    ) -> None:
        self.model, self.name, self.file, self.waiting, self.counts = model, name, file, waiting, counts
        self.lost: list[str] = []  # what was said to those that the provider failed on
        self.refused: list[tuple[Question, str]] = []  # kept once the provider has answered anything at all
        self.faults: list[Exception] = []
        self.answered = counts.done > 0

    async def all(self, count: int) -> None:
        """Ask all of them. Tasks are as many as can be of use: a hundred thousand that each hold a prompt would only wait."""
        llm = self.model.sender.llm
        abreast = min(count, max(AHEAD * llm.concurrency, BATCHED if llm.batch else 0))
        await asyncio.gather(*(self._some() for _ in range(abreast)))
        for fault in sorted(self.faults, key=lambda item: isinstance(item, BudgetReached)):
            raise fault  # the budget last: anything else is the graver news
        if self.refused:
            self._none_answered()

    async def _some(self) -> None:
        """One question after another, until there are no more or something ends the run."""
        for question in self.waiting:
            if self.faults:
                return
            try:
                await self._one(question)
            except Exception as fault:
                self.faults.append(fault)
            if not self.counts.done % TURN:
                await asyncio.sleep(0)

    async def _one(self, question: Question) -> None:
        try:
            answer = await self.model.reply(question.messages, step=f"eval.{self.name}", language=question.language)
        except RowFault as fault:
            if fault.reason != "bad_request":
                self.lost.append(fault.detail)
                return
            self.refused.append((question, fault.detail))
            if not self.answered and len(self.refused) >= REFUSED:
                self._none_answered()
        else:
            self.answered = True
            self._keep(question, answer)
        while self.answered and self.refused:
            refused, why = self.refused.pop(0)
            self._keep(refused, refused=why)

    def _keep(self, question: Question, answer: Answer | None = None, refused: str | None = None) -> None:
        self.file.add(question, answer=answer, refused=refused)
        self.counts.more()

    def _none_answered(self) -> None:
        """It is not these questions that the provider refuses: nothing is kept of it."""
        raise ProviderDown(
            f"{self.model.name} refuses every question of {self.name} ({len(self.refused):,} so far): {self.refused[0][1]}"
        )
