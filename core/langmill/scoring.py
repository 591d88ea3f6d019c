"""Every evaluation of a recipe on every model it names: have the model answer, mark the answers, write the figures down.

Weights answer in a process of their own, a provider behind the ledger. What decides a figure is in its key; what was made under the
same key is kept, and an answer that is there is never asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

from langmill import __version__
from langmill.api import Answered, Evaluator, Question, Row
from langmill.calls.engine import Engine
from langmill.disk.store import RunFolder, file_hash, key_of
from langmill.errors import MissingInput
from langmill.evaluation.answers import AnswerFile
from langmill.evaluation.asking import ask_provider
from langmill.evaluation.held_out import refuse_leaks
from langmill.evaluation.rows import answers_file, chosen_rows, context_of, questions_of
from langmill.jobs import run_job
from langmill.ledger.ledger import Ledger
from langmill.recipe.assembly import Assembly
from langmill.scores.summing import scores_of

Report = Callable[[Mapping[str, Any]], None]


def look_before(assembly: Assembly, store: RunFolder) -> None:
    """Before a stage is trained or a model asked: raises RecipeError where rows that are asked are learnt by a model that is
    asked, MissingInput where an evaluation has no rows."""
    starts = {stage.name: stage for stage in assembly.stages}
    for use, evaluator in assembly.evaluators:
        rows = chosen_rows(store, evaluator, assembly.recipe.seed)
        learnt: dict[str, None] = {}
        for model in evaluator.models:
            while model in starts:
                learnt[starts[model].data] = None
                model = starts[model].start
        refuse_leaks(store, evaluator.called(use), rows, list(learnt))


def evaluate(assembly: Assembly, store: RunFolder, report: Report, *, offline: bool = False) -> dict[str, Any]:
    """All of it; returns ``calls``, the money spent by the run so far, where a provider was asked."""
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

    def take(self, model: str) -> bool:
        """Examine one model; returns whether a provider may have been asked. Kept where nothing changed that decides the scores."""
        use, evaluator = self.assembly.evaluators[self.number]
        decides = self._decides(model)
        options = evaluator.model_dump(mode="json", exclude={"models", "name"})
        split = {path.name: file_hash(path) for path in self.store.data_files(evaluator.data, evaluator.split)}
        packs = {code: pack.fingerprint for code, pack in sorted(self.assembly.packs.items())}
        code = self.assembly.registry.code_id(type(evaluator))
        key = key_of("eval", use, options, sorted(split.values()), packs, code, decides)
        place = f"eval/{self.name}.{model}.json"
        done = self.store.read_json(place)
        kept = bool(done and done["key"] == key)
        self.report({"event": "eval", "data": evaluator.data, "name": self.name, "model": model, "kept": kept})
        if kept:
            return False
        file = partial(AnswerFile, answers_file(self.store, self.name, model), key_of("answers", decides))
        local = model not in self.assembly.models or self.assembly.models[model].here
        if local and file().missing(self.questions):
            self._examine_weights(model, key_of("answers", decides))
        asks = bool(evaluator.judges()) or not local
        scores, facts = asyncio.run(self._marked(model, file(), asks=asks, local=local))
        self.store.write_json(
            place,
            {
                "key": key, "use": use, "name": self.name, "data": evaluator.data, "split": evaluator.split, "model": model,
                "decides": decides, "options": options, "seed": self.assembly.recipe.seed, "langmill": __version__,
                "code": code, "packs": packs, "rows": len(self.rows), "files": split, **facts, "scores": scores,
            },
        )  # fmt: skip
        return asks

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

    def _examine_weights(self, model: str, key: str) -> None:
        log = self.store.root / "eval" / f"{self.name}.{model}.stderr.log"
        for event in run_job(self.store.root, "examine", str(self.number), model, key, log=log):
            self.report({**event, "model": model})

    async def _marked(
        self, model: str, file: AnswerFile, *, asks: bool, local: bool
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Scores, and the facts beside them; a provider is asked first."""
        if not asks:
            return await self._mark(model, file, None)
        budget = self.assembly.recipe.budget if self.store.max_cost is None else self.store.max_cost
        context = self.assembly.context("llm", offline=self.offline)
        with closing(Ledger()) as ledger:
            engine = Engine(
                self.assembly.models, ledger, run=self.store.run_id, budget=budget, context=context, report=self.report
            )
            async with engine:
                if not local:
                    bound = engine.model(model, self.evaluator.data)
                    tell = partial(self._tell, model)
                    await ask_provider(bound, self.name, self.questions, file, tell)
                return await self._mark(model, file, engine)

    async def _mark(
        self, model: str, file: AnswerFile, engine: Engine | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        evaluator = self.evaluator
        context = context_of(
            self.assembly,
            self.store,
            self.number,
            offline=self.offline,
            models=partial(engine.model, dataset=evaluator.data) if engine else None,
            answered=self.said_by,
        )
        marked = await evaluator.mark(self.rows, file.answered(self.questions), context)
        scores = scores_of(marked, evaluator.metrics, self.assembly.recipe.seed)
        metrics = {name: asdict(metric) for name, metric in evaluator.metrics.items()}
        facts = {
            "metrics": metrics, "prompts": dict(marked.prompts), "facts": dict(marked.facts),
            "tables": [asdict(table) for table in marked.tables], "items": [asdict(item) for item in marked.items],
        }  # fmt: skip
        return [score.plain() for score in scores], facts

    def said_by(self, model: str) -> Sequence[Answered]:
        """What another model said to these questions. Raises MissingInput where it was not asked before."""
        file = AnswerFile(answers_file(self.store, self.name, model), key_of("answers", self._decides(model)))
        if file.missing(self.questions):
            raise MissingInput(
                f"eval[{self.number}]: '{model}' has not answered these questions: name it before the others in models"
            )
        return file.answered(self.questions)

    def _tell(self, model: str, done: int, of: int) -> None:
        self.report({"event": "examining", "name": self.name, "model": model, "done": done, "of": of})
