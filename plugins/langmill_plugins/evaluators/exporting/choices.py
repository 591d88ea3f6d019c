"""What multiple-choice evaluations hand to other programs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from langmill.api import Answered, Choice, EvalContext, Evaluator, MissingInput, Question, RecipeError, Row
from langmill_plugins.evaluators.choices.orders import shown

from . import harness, mmedbench

SUBMISSION = """\
- `multi_choice_results.csv`: what the model was asked, what it wrote and the right letters, one line a row, with the options in their
  published order.
- `accuracy_metric.csv`: percent of rows of each language whose letters are exactly the right ones, read out of the answers as the run
  reads them. An answer out of which nothing can be read counts as wrong.

{sizes}

A submission asks for the whole test split, for a description of the model (name, size, references, training), and for the same two
tables of its rationales, which an evaluation `rationale_similarity` exports; the authors' `SubmissionTutorial.md` says where to
send it.
MMedBench's own `metrics/accuracy.py` reads another layout, and takes only answers of the form that its training data teaches.
"""


def exports_of(ways: Sequence[str]) -> Mapping[str, str]:
    """What an evaluation that asks in these ways can be written as."""
    kinds = {"lm-eval": harness.ABOUT} if set(ways) & set(harness.METRICS) else {}
    return {**kinds, "mmedbench": mmedbench.ABOUT} if "generation" in ways else kinds


def export_choices(
    evaluator: Evaluator,
    kind: str,
    rows: Sequence[Row],
    answered: Sequence[Answered],
    folder: Path,
    context: EvalContext,
) -> str:
    """Write the questions for lm-evaluation-harness, or a model's written answers for MMedBench; how to use them, in Markdown."""
    if kind == "lm-eval":
        if answered:
            raise RecipeError("--export lm-eval writes questions and no answers: leave out --model")
        ways: dict[str, list[harness.Put]] = defaultdict(list)
        for way, put in _puts(rows, list(evaluator.questions(rows, context))):
            ways[way].append(put)
        return harness.write_tasks(evaluator.called("choice_accuracy"), ways, folder)
    if not answered:
        raise MissingInput(mmedbench.WHOSE.format(models=" or ".join(evaluator.models)))
    return _submission(evaluator, rows, answered, folder, context)


def _puts(rows: Sequence[Row], questions: Sequence[Question]) -> Iterator[tuple[str, harness.Put]]:
    """Each question whose options stand in their published order, by each way that it is scored in."""
    bodies = {row.id: row.body for row in rows}
    for question in questions:
        body = bodies[question.row]
        assert isinstance(body, Choice)
        order, size = list(question.facts["order"]), len(body.options)
        if order == sorted(order) and question.continuations:
            put = shown(body, order)
            for at, way in enumerate(question.facts["ways"]):
                choices = question.continuations[at * size : (at + 1) * size]
                yield way, harness.Put(question.row, question.language, question.messages, choices, put.answers)


def _submission(
    evaluator: Evaluator, rows: Sequence[Row], answered: Sequence[Answered], folder: Path, context: EvalContext
) -> str:
    bodies = {row.id: row.body for row in rows}
    results: list[mmedbench.Result] = []
    for one in answered:
        question, body = one.question, bodies[one.question.row]
        assert isinstance(body, Choice)
        order = list(question.facts["order"])
        if order == sorted(order) and "generation" in question.facts["ways"]:
            pack = context.pack(question.language)
            gold = ",".join(pack.letters((answer,)) for answer in body.answers)
            results.append(mmedbench.Result(question.language, question.messages, one.text, gold))
    right: dict[str, list[bool]] = defaultdict(list)
    for item in asyncio.run(evaluator.mark(rows, answered, context)).items:
        if item.metric == "generation":
            right[item.language].append(item.facts["chosen"] == item.facts["gold"])
    counts = mmedbench.write_results(folder / "multi_choice_results.csv", results)
    figures = {"accuracy": {language: fmean(values) for language, values in right.items()}}
    mmedbench.write_figures(folder / "accuracy_metric.csv", figures, named=False)
    return SUBMISSION.format(sizes=mmedbench.sizes_told(counts))
