"""Every evaluation of a recipe on every model it names: have the model answer, mark the answers, write the figures down.

Weights answer in a process of their own, a provider behind the ledger. What decides a figure is in its key; what was made under the
same key is kept, and an answer that is there is never asked for again. Figures whose key is another go before new ones are made: what
stops half way must not leave them for those of today.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from langmill import __version__
from langmill.api import Answered, Evaluator, Marked, Question, Row
from langmill.calls.engine import BoundModel, Engine
from langmill.calls.stopping import draining
from langmill.disk.store import RunFolder, file_hash, key_of
from langmill.errors import FactoryError, MissingInput
from langmill.evaluation.answers import AnswerFile
from langmill.evaluation.asking import TOLD_PAUSE, ask_provider, bound_of
from langmill.evaluation.results import write_result
from langmill.evaluation.rows import answers_file, chosen_rows, context_of, left_out, questions_of
from langmill.jobs import run_job
from langmill.ledger.ledger import Ledger
from langmill.pipeline.money import Money
from langmill.recipe.able import unable
from langmill.recipe.assembly import Assembly
from langmill.scores import summing
from langmill.scores.paired import pairing

Report = Callable[[Mapping[str, Any]], None]
SUMS = ("summing", "resampling", "intervals")
"""The modules that make scores of items: scores of other code are made again."""


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
        kept = self._kept(model, facts["key"])
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
        scores = summing.scores_of(marked, evaluator.metrics, self.assembly.recipe.seed, self.pairing["families"])
        if not self._local(model):
            facts["decides"] = {"model": {**facts["decides"]["model"], "max_tokens": self._bound(model)}}
        more = {
            "refused": self._refused(model),
            "rows": len(self.rows), **self.pairing, "facts": dict(marked.facts), "prompts": dict(marked.prompts),
            "metrics": {name: asdict(metric) for name, metric in evaluator.metrics.items()},
            "tables": [asdict(table) for table in marked.tables], "scores": [score.plain() for score in scores],
        }  # fmt: skip
        write_result(self.store.root / place, {**facts, **more}, map(asdict, marked.items))
        self.report({"event": "scored", "name": self.name, "model": model, "scores": more["scores"]})
        return asks

    def kept(self, model: str) -> bool:
        """Whether there are scores of it that stay. Raises MissingInput where the data it reads is not there."""
        read = (model, *self.evaluator.compared())
        return all(map(self.there, read)) and self._kept(model, self._facts(model)["key"])

    def _kept(self, model: str, key: str) -> bool:
        """What a provider has refused is asked again, as long as it can be asked."""
        done = self.store.read_json(f"eval/{self.name}.{model}.json")
        same = bool(done and done["key"] == key)
        return same and not (done and done.get("refused") and not unable(self.assembly, model, offline=self.offline))

    def there(self, model: str) -> bool:
        """Whether it is no stage that is yet to be trained."""
        if model == "base" or model in self.assembly.models:
            return True
        return self.store.read_json(f"train/{model}/stage.json") is not None

    def _facts(self, model: str) -> dict[str, Any]:
        """What pins down a model's scores, before it is asked; ``key`` is a hash of all that decides them."""
        use, evaluator = self.assembly.evaluators[self.number]
        options = evaluator.model_dump(mode="json", exclude={"models", "name"})
        decides = self.decides(model)
        judges = {name: self.decides(name) for name in evaluator.judges()}
        compared = {name: self.decides(name) for name in evaluator.compared()}
        split, data = self._files
        packs = {code: pack.fingerprint for code, pack in sorted(self.assembly.packs.items())}
        code = self.assembly.registry.code_id(type(evaluator))
        seed = self.assembly.recipe.seed
        left = left_out(self.store, evaluator.data)
        key = key_of("eval", use, options, seed, data, left, packs, code, decides, judges, compared, _sums())
        return {
            "key": key, "use": use, "name": self.name, "data": evaluator.data, "split": evaluator.split, "model": model,
            "decides": decides, "judges": judges, "compared": compared, "options": options, "seed": seed, "langmill": __version__,
            "code": code, "packs": packs, "files": split, "left_out": left,
        }  # fmt: skip

    @cached_property
    def _files(self) -> tuple[dict[str, str], list[str]]:
        """Hashes of the files with the rows that are asked, by their place, and of all that is read."""
        asked = self.store.data_files(self.evaluator.data, self.evaluator.split)
        split = {path.relative_to(self.store.root).as_posix(): file_hash(path) for path in asked}
        read = (self.evaluator.data, *self.evaluator.reads())  # all splits: examples before a question are train rows
        return split, sorted(file_hash(path) for name in read for path in self.store.data_files(name))

    def decides(self, model: str) -> Mapping[str, Any]:
        """What decides a model's answers; of weights the code that asks them, too. Raises MissingInput where it is not there."""
        context, code_id = self.assembly.context("eval", offline=self.offline), self.assembly.registry.code_id
        if model in self.assembly.models:
            llm = self.assembly.models[model]
            return {"model": llm.deciding(context), **({"code": code_id(type(llm))} if llm.here else {})}
        trainer = self.assembly.trainer
        base = {
            "base": trainer and trainer.deciding(None, context),
            "stage": None,
            "code": trainer and code_id(type(trainer)),
        }
        if model == "base":
            return base
        folder = self.store.adapter(model)  # says what to type when the stage is not trained
        stage = self.store.read_json(f"train/{model}/stage.json")
        return {**base, "stage": stage and stage["key"], "beside": _beside(folder)}

    def _local(self, model: str) -> bool:
        """Whether it is weights on this machine."""
        return model not in self.assembly.models or self.assembly.models[model].here

    def file(self, model: str) -> AnswerFile:
        """The answers of a model, as far as there are any."""
        return AnswerFile(answers_file(self.store, self.name, model), self._answers_key(model))

    def _answers_key(self, model: str) -> str:
        return key_of("answers", self.decides(model))

    def _examine_weights(self, model: str) -> None:
        """Have weights answer what they have not answered yet, in a process of their own."""
        if not self.file(model).missing(self.questions):
            return
        log = self.store.root / "eval" / f"{self.name}.{model}.stderr.log"
        names = (str(self.number), model, self._answers_key(model), *(("offline",) if self.offline else ()))
        for event in run_job(self.store.root, "examine", *names, log=log):
            self.report({**event, "model": model})
        if left := self.file(model).missing(self.questions):
            raise FactoryError(
                f"eval[{self.number}]: '{model}' left {len(left):,} questions without an answer (see {log})"
            )

    async def _marked(self, model: str, *, asks: bool) -> Marked:
        """What the evaluator makes of the answers; a provider is asked first."""
        signal.signal(signal.SIGINT, signal.default_int_handler)  # not the loop's, which would wait for marking to end
        if not asks:
            return await self._mark(model, self.file(model).answered(self.questions), None)
        budget = self.assembly.recipe.budget if self.store.max_cost is None else self.store.max_cost
        context = self.assembly.context("llm", offline=self.offline)
        with closing(Ledger()) as ledger:
            if ledger.notice:
                self.report({"event": "note", "text": ledger.notice})
            engine = Engine(
                self.assembly.models, ledger, run=self.store.run_id, budget=budget, context=context, report=self.report
            )
            async with engine:
                if not self._local(model):
                    with draining(engine, self.report):
                        await self._ask(model, engine)
                # Where nobody judges, marking waits for nothing: Ctrl-C must end it at once.
                with draining(engine, self.report) if self.evaluator.judges() else nullcontext():
                    return await self._mark(model, self.file(model).answered(self.questions), engine)

    async def _ask(self, model: str, engine: Engine) -> None:
        """Ask a provider. Raises what stopped it, after telling and keeping what is left and about what that costs."""
        file, money = self.file(model), Money(engine)
        missing = len(file.missing(self.questions))
        try:
            await ask_provider(self.bound(model, engine), self.name, self.questions, file, partial(self._tell, model))
            if engine.stopped:
                raise engine.stopped
        except (FactoryError, asyncio.CancelledError):
            left = len(file.missing(self.questions))
            of = len(self.questions)
            self._left({"step": model, "rows": left, "of": of, **money.of(missing - left, left)})
            raise

        if refused := file.refused(self.questions):
            text = (
                f"{model} refused {len(refused):,} of {len(self.questions):,} questions of {self.name}, which count as answered with "
                f"nothing until the same command asks again: {refused[0][1]}"
            )
            self.report({"event": "note", "text": text})

    def bound(self, model: str, engine: Engine) -> BoundModel:
        """A provider as it is asked here."""
        return engine.model(model, self.evaluator.data, self._bound(model))

    def _bound(self, model: str) -> int:
        return bound_of(self.assembly.models[model], self.questions)

    def _refused(self, model: str) -> int:
        return len(self.file(model).refused(self.questions))

    async def _mark(self, model: str, answered: Sequence[Answered], engine: Engine | None) -> Marked:
        evaluator = self.evaluator
        judged = _Judged(partial(self._tell, f"{model}, judged"))
        money = engine and Money(engine)
        context = context_of(
            self.assembly,
            self.store,
            self.number,
            offline=self.offline,
            models=partial(_alone, engine, evaluator.data) if engine else None,
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
        file = self.file(model)
        if left := file.missing(self.questions):
            raise MissingInput(
                f"eval[{self.number}]: '{model}' has answered {len(self.questions) - len(left):,} of the {len(self.questions):,} questions "
                f"of {self.name}: factory eval {self.store.root} asks it for the rest"
            )
        return file.answered(self.questions)

    def _tell(self, model: str, done: int, of: int) -> None:
        self.report({"event": "examining", "name": self.name, "model": model, "done": done, "of": of})

    def _left(self, facts: Mapping[str, Any]) -> None:
        """Keep and tell what a run that stops here has left."""
        self.store.left = left = {"dataset": self.name, "unit": "questions", **facts}
        self.report({"event": "left", **left})


def _alone(engine: Engine, dataset: str, name: str) -> BoundModel:
    """A model that judges, without the one that would take over from it: marks of two judges have no mean."""
    return replace(engine.model(name, dataset), fallback=None)


@cache
def _sums() -> list[str]:
    folder = Path(summing.__file__).parent
    return [file_hash(folder / f"{name}.py") for name in SUMS]


def _beside(folder: Path) -> str:
    """A hash of what a stage has left beside its weights, which its key tells: a chat template, say, may be changed by hand."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".safetensors")
    return key_of("beside", [(path.relative_to(folder).as_posix(), file_hash(path)) for path in files])


class _Judged:
    """How far a judge is; told not more often than a person can read."""

    def __init__(self, tell: Callable[[int, int], None]):
        self.done, self.of, self.tell, self._told = 0, 0, tell, 0.0

    def __call__(self, done: int, of: int) -> None:
        self.done, self.of = done, of
        if done == of or time.monotonic() - self._told > TOLD_PAUSE:
            self._told = time.monotonic()
            self.tell(done, of)
