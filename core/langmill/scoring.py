"""Every evaluation of a recipe on every model it names: have the model answer, mark the answers, write the figures down.

Weights answer in a process of their own, a provider behind the ledger. What decides a figure is in its key; what was made under the
same key is kept, and an answer that is there is never asked for again. Figures whose key is another go before new ones are made: what
stops half way must not leave them for those of today.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

from langmill import __version__
from langmill.api import Answered, Evaluator, Marked, Question, Row
from langmill.calls.engine import Engine
from langmill.calls.stopping import draining
from langmill.disk.store import RunFolder, file_hash, key_of
from langmill.errors import FactoryError, MissingInput
from langmill.evaluation.answers import AnswerFile
from langmill.evaluation.asking import TOLD_PAUSE, ask_provider
from langmill.evaluation.held_out import LOOK, HeldOut, refuse_leaks
from langmill.evaluation.results import write_result
from langmill.evaluation.rows import answers_file, chosen_rows, context_of, left_out, questions_of
from langmill.jobs import run_job
from langmill.ledger.ledger import Ledger
from langmill.pipeline.money import Money
from langmill.recipe.assembly import Assembly
from langmill.scores.paired import pairing
from langmill.scores.summing import scores_of

Report = Callable[[Mapping[str, Any]], None]


def look_before(assembly: Assembly, store: RunFolder) -> None:
    """Before a stage is trained or a model asked: raises RecipeError where rows that are asked are learnt by a model that is
    asked, MissingInput where an evaluation has no rows. What was looked at once is not read again."""
    starts = {stage.name: stage for stage in assembly.stages}
    learnt: dict[str, list[str]] = {}
    looked: list[Any] = []
    for use, evaluator in assembly.evaluators:
        names: dict[str, None] = {}
        for model in evaluator.models:
            while model in starts:
                names[starts[model].data] = None
                model = starts[model].start
        learnt[evaluator.called(use)] = list(names)
        asked = [file_hash(path) for path in store.data_files(evaluator.data, evaluator.split)]
        trained = [[file_hash(path) for path in store.data_files(name, "train")] for name in names]
        looked.append([evaluator.called(use), asked, evaluator.limit, list(names), trained])
    key = key_of("held out", LOOK, assembly.recipe.seed, looked)
    if (store.read_json("run.json") or {}).get("held_out") == key:
        return
    held_out = HeldOut(learnt)
    for use, evaluator in assembly.evaluators:
        held_out.add(evaluator.called(use), chosen_rows(store, evaluator, assembly.recipe.seed))
    refuse_leaks(store, held_out)
    store.remember(held_out=key)


def evaluate(assembly: Assembly, store: RunFolder, report: Report, *, offline: bool = False) -> dict[str, Any]:
    """All of it; returns ``calls``, the money spent by the run so far, where a provider was asked."""
    for _, evaluator in assembly.evaluators:
        for model in evaluator.models:  # before anything is asked or paid
            if model != "base" and model not in assembly.models:
                store.adapter(model)
    asked_any = False
    for number in range(len(assembly.evaluators)):
        one = Examination(assembly, store, number, report, offline)
        for model in one.evaluator.models:
            asked_any |= one.take(model)
    if not asked_any:
        return {}
    with closing(Ledger()) as ledger:
        return {"calls": [usage._asdict() for usage in ledger.summary(store.run_id)]}


@dataclass(frozen=True)
class Examination:
    """One evaluator of a recipe: its rows and questions, the same for every model."""

    assembly: Assembly
    store: RunFolder
    number: int
    report: Report
    offline: bool

    @property
    def evaluator(self) -> Evaluator:
        """The part."""
        return self.assembly.evaluators[self.number][1]

    @cached_property
    def name(self) -> str:
        """What its scores are called."""
        return self.evaluator.called(self.assembly.evaluators[self.number][0])

    @cached_property
    def rows(self) -> list[Row]:
        """The rows that are asked."""
        return chosen_rows(self.store, self.evaluator, self.assembly.recipe.seed)

    @cached_property
    def questions(self) -> list[Question]:
        """What is asked about them."""
        return questions_of(self.evaluator, self.rows, context_of(self.assembly, self.store, self.number))

    @cached_property
    def pairing(self) -> dict[str, dict[str, str]]:
        """What is kept of the rows, so that two evaluations can be compared."""
        return pairing(self.rows)

    def take(self, model: str) -> bool:
        """Examine one model; returns whether a provider may have been asked. Kept where nothing changed that decides the scores."""
        evaluator = self.evaluator
        place, facts = f"eval/{self.name}.{model}.json", self._facts(model)
        done = self.store.read_json(place)
        kept = bool(done and done["key"] == facts["key"])
        self.report({"event": "eval", "data": evaluator.data, "name": self.name, "model": model, "kept": kept})
        if kept:
            return False
        (self.store.root / place).unlink(missing_ok=True)
        if self._local(model):
            self._examine_weights(model)
        asks = bool(evaluator.judges()) or not self._local(model)
        try:
            marked = asyncio.run(self._marked(model, asks=asks))
        except asyncio.CancelledError:  # the second Ctrl-C
            raise KeyboardInterrupt from None
        scores = scores_of(marked, evaluator.metrics, self.assembly.recipe.seed, self.pairing["families"])
        more = {
            "rows": len(self.rows), **self.pairing, "facts": dict(marked.facts), "prompts": dict(marked.prompts),
            "metrics": {name: asdict(metric) for name, metric in evaluator.metrics.items()},
            "tables": [asdict(table) for table in marked.tables], "scores": [score.plain() for score in scores],
        }  # fmt: skip
        write_result(self.store.root / place, {**facts, **more}, map(asdict, marked.items))
        self.report({"event": "scored", "name": self.name, "model": model, "scores": more["scores"]})
        return asks

    def _facts(self, model: str) -> dict[str, Any]:
        """What pins down a model's scores, before it is asked; ``key`` is a hash of all that decides them."""
        use, evaluator = self.assembly.evaluators[self.number]
        options = evaluator.model_dump(mode="json", exclude={"models", "name"})
        decides = self._decides(model)
        judges = {name: self._decides(name) for name in evaluator.judges()}
        compared = {name: self._decides(name) for name in evaluator.compared()}
        files = self.store.data_files(evaluator.data, evaluator.split)
        split = {path.relative_to(self.store.root).as_posix(): file_hash(path) for path in files}
        read = (evaluator.data, *evaluator.reads())  # all splits: examples before a question are train rows
        data = sorted(file_hash(path) for name in read for path in self.store.data_files(name))
        packs = {code: pack.fingerprint for code, pack in sorted(self.assembly.packs.items())}
        code = self.assembly.registry.code_id(type(evaluator))
        seed = self.assembly.recipe.seed
        left = left_out(self.store, evaluator.data)
        key = key_of("eval", use, options, seed, data, left, packs, code, decides, judges, compared)
        return {
            "key": key, "use": use, "name": self.name, "data": evaluator.data, "split": evaluator.split, "model": model,
            "decides": decides, "judges": judges, "options": options, "seed": seed, "langmill": __version__, "code": code,
            "packs": packs, "files": split, "left_out": left,
        }  # fmt: skip

    def _decides(self, model: str) -> Mapping[str, Any]:
        """What decides a model's answers."""
        context = self.assembly.context("eval", offline=self.offline)
        if model in self.assembly.models:
            return {"model": self.assembly.models[model].deciding(context)}
        trainer = self.assembly.trainer
        stage = self.store.read_json(f"train/{model}/stage.json") if model != "base" else None
        if model != "base":
            self.store.adapter(model)  # says what to type when the stage is not trained
        return {"base": trainer and trainer.deciding(None, context), "stage": stage and stage["key"]}

    def _local(self, model: str) -> bool:
        """Whether it is weights on this machine."""
        return model not in self.assembly.models or self.assembly.models[model].here

    def _file(self, model: str) -> AnswerFile:
        """The answers of a model, as far as there are any."""
        return AnswerFile(answers_file(self.store, self.name, model), self._answers_key(model))

    def _answers_key(self, model: str) -> str:
        return key_of("answers", self._decides(model))

    def _examine_weights(self, model: str) -> None:
        """Have weights answer what they have not answered yet, in a process of their own."""
        if not self._file(model).missing(self.questions):
            return
        log = self.store.root / "eval" / f"{self.name}.{model}.stderr.log"
        names = (str(self.number), model, self._answers_key(model), *(("offline",) if self.offline else ()))
        for event in run_job(self.store.root, "examine", *names, log=log):
            self.report({**event, "model": model})
        if left := self._file(model).missing(self.questions):
            raise FactoryError(
                f"eval[{self.number}]: '{model}' left {len(left):,} questions without an answer (see {log})"
            )

    async def _marked(self, model: str, *, asks: bool) -> Marked:
        """What the evaluator makes of the answers; a provider is asked first."""
        if not asks:
            return await self._mark(model, self._file(model).answered(self.questions), None)
        budget = self.assembly.recipe.budget if self.store.max_cost is None else self.store.max_cost
        context = self.assembly.context("llm", offline=self.offline)
        with closing(Ledger()) as ledger:
            if ledger.notice:
                self.report({"event": "note", "text": ledger.notice})
            engine = Engine(
                self.assembly.models, ledger, run=self.store.run_id, budget=budget, context=context, report=self.report
            )
            async with engine:
                with draining(engine, self.report):
                    if not self._local(model):
                        await self._ask(model, engine)
                    return await self._mark(model, self._file(model).answered(self.questions), engine)

    async def _ask(self, model: str, engine: Engine) -> None:
        """Ask a provider. Raises what stopped it, after telling and keeping what is left and about what that costs."""
        file, money = self._file(model), Money(engine)
        missing = len(file.missing(self.questions))
        try:
            await ask_provider(
                engine.model(model, self.evaluator.data), self.name, self.questions, file, partial(self._tell, model)
            )
            if engine.stopped:
                raise engine.stopped
        except (FactoryError, asyncio.CancelledError):
            left = len(file.missing(self.questions))
            of = len(self.questions)
            self._left({"step": model, "rows": left, "of": of, **money.of(missing - left, left)})
            raise

    async def _mark(self, model: str, answered: Sequence[Answered], engine: Engine | None) -> Marked:
        evaluator = self.evaluator
        judged = _Judged(partial(self._tell, f"{model}, judged"))
        money = engine and Money(engine)
        context = context_of(
            self.assembly,
            self.store,
            self.number,
            offline=self.offline,
            models=partial(engine.model, dataset=evaluator.data) if engine else None,
            answered=self.said_by,
            model=model,
            tell=judged,
        )
        try:
            marked = await evaluator.mark(self.rows, answered, context)
            if engine and engine.stopped:
                raise engine.stopped
        except (FactoryError, asyncio.CancelledError):
            if money and judged.of:
                left = judged.of - judged.done
                step = f"{model}, judged"
                self._left({"step": step, "rows": left, "of": judged.of, **money.of(judged.done, left)})
            raise
        return marked

    def said_by(self, model: str) -> Sequence[Answered]:
        """What another model said to these questions. Raises MissingInput where it was not asked before."""
        file = self._file(model)
        if file.missing(self.questions):
            raise MissingInput(
                f"eval[{self.number}]: '{model}' has not answered these questions: name it before the others in models"
            )
        return file.answered(self.questions)

    def _tell(self, model: str, done: int, of: int) -> None:
        self.report({"event": "examining", "name": self.name, "model": model, "done": done, "of": of})

    def _left(self, facts: Mapping[str, Any]) -> None:
        """Keep and tell what a run that stops here has left."""
        self.store.left = left = {"dataset": self.name, "unit": "questions", **facts}
        self.report({"event": "left", **left})


class _Judged:
    """How far a judge is; told not more often than a person can read."""

    def __init__(self, tell: Callable[[int, int], None]):
        self.done, self.of, self.tell, self._told = 0, 0, tell, 0.0

    def __call__(self, done: int, of: int) -> None:
        self.done, self.of = done, of
        if done == of or time.monotonic() - self._told > TOLD_PAUSE:
            self._told = time.monotonic()
            self.tell(done, of)
