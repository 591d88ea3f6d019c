"""What is looked at before stages are trained and models are asked, so that an evaluation which can not be done, or would be worth
nothing, costs neither."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from langmill.api import Question, RowFault
from langmill.calls.engine import Engine
from langmill.calls.silent import Notes, silenced
from langmill.disk.store import RunFolder, file_hash, key_of
from langmill.errors import FactoryError, MissingInput
from langmill.evaluation.held_out import LOOK, HeldOut, refuse_leaks
from langmill.evaluation.rows import chosen_rows
from langmill.ledger.ledger import Ledger
from langmill.recipe.able import unable
from langmill.recipe.assembly import Assembly
from langmill.scoring import Examination

WITHOUT = "(the rest can be made without: --until train)"


def refuse_unable(assembly: Assembly, store: RunFolder, *, offline: bool = False) -> None:
    """Before anything is made: raises MissingInput for a model that evaluations ask and that can not answer here, where neither the
    folder nor the ledger holds an answer of it that might do. What is there is looked at more closely once the rows are."""
    lines: dict[str, None] = {}
    for use, evaluator in assembly.evaluators:
        name = evaluator.called(use)
        begun = any((store.root / "eval").glob(f"{name}.*"))
        for model in dict.fromkeys((*evaluator.models, *evaluator.judges())):
            if model in assembly.models and not begun:
                found = unable(assembly, model, offline=offline)
                if found and not _answered_once(assembly, model, f"eval.{name}"):
                    lines |= dict.fromkeys(found)
    _refuse(lines)


def _answered_once(assembly: Assembly, model: str, step: str) -> bool:
    with closing(Ledger()) as ledger:
        habits = ledger.habits(str(assembly.models[model].identity()["model"]))
    return any(habit.step == step or habit.step.startswith(f"{step}.") for habit in habits)


def look_before(assembly: Assembly, store: RunFolder, *, asks: bool = True, offline: bool = False) -> None:
    """Before a stage is trained or a model asked: raises RecipeError where rows that are asked are learnt by a model that is asked,
    MissingInput where an evaluation has no rows. Where the run ``asks``, too, for all that keeps an evaluation from being done: nothing
    to ask, a model that is not there, a key or a package that is missing."""
    _refuse_leaks(assembly, store)
    if not asks:
        return
    lines: dict[str, None] = {}
    for number in range(len(assembly.evaluators)):
        one = Examination(assembly, store, number, lambda event: None, offline)
        lines |= dict.fromkeys(_unable(one))
    _refuse(lines)


def _refuse(lines: Mapping[str, None]) -> None:
    if lines:
        raise MissingInput(
            "evaluations can not be done here:\n" + "\n".join(f"  {line}" for line in lines) + f"\n  {WITHOUT}"
        )


def _refuse_leaks(assembly: Assembly, store: RunFolder) -> None:
    """What was looked at once is not read again."""
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


def _unable(one: Examination) -> Iterator[str]:
    """What keeps an evaluation from being done; models whose figures are kept are not asked. Raises MissingInput or RecipeError where
    there is nothing to ask."""
    assembly, evaluator = one.assembly, one.evaluator
    named = [name for name in (*evaluator.models, *evaluator.judges()) if name in assembly.models]
    lost: dict[str, str] = {}
    for name in dict.fromkeys(named):
        try:
            one.decides(name)
        except FactoryError as fault:
            lost[name] = str(fault)
    if lost:
        for name, line in lost.items():
            yield from unable(assembly, name, offline=one.offline) or [line]
        return
    if not (new := [model for model in evaluator.models if not one.kept(model)]):
        return
    for model in new:
        yield from _lacks(one, model)
    for judge in evaluator.judges():
        yield from unable(assembly, judge, offline=one.offline)


def _lacks(one: Examination, model: str) -> Iterator[str]:
    """What keeps a model from answering what it has not answered yet."""
    assembly, questions = one.assembly, one.questions
    left = one.file(model).missing(questions) if one.there(model) else questions
    if not left:
        return
    if model in assembly.models:
        lines = unable(assembly, model, offline=one.offline)
        if lines and (assembly.models[model].here or not asyncio.run(_known(one, model, left))):
            yield from lines
    elif assembly.trainer is not None:
        yield from assembly.trainer.missing((), assembly.context("train", offline=one.offline))


async def _known(one: Examination, model: str, questions: Sequence[Question]) -> bool:
    """Whether the ledger has every answer, so that the model is not needed for them."""
    context = one.assembly.context("llm", offline=one.offline)
    with closing(Ledger()) as ledger:
        engine = Engine(
            one.assembly.models, ledger, run="look", budget=None, context=context, report=lambda event: None
        )
        bound = silenced(one.bound(model, engine), Notes())
        try:
            for question in questions:
                await bound.reply(question.messages, step=f"eval.{one.name}", language=question.language)
        except RowFault:
            return False
    return True
