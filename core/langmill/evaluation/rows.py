"""The rows that an evaluator asks, and its questions about them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from langmill.api import Answered, EvalContext, Evaluator, MissingInput, Model, Question, Row
from langmill.disk.store import RunFolder
from langmill.errors import FactoryError
from langmill.recipe.assembly import Assembly


def chosen_rows(store: RunFolder, evaluator: Evaluator, seed: int) -> list[Row]:
    """The rows that are asked: per language the first ``limit`` by a hash of the id. Raises MissingInput when there are none."""
    ranked: dict[str, list[tuple[bytes, Row]]] = {}
    for row in store.rows(evaluator.data, evaluator.split):
        rank = hashlib.sha256(f"{seed}\0{row.id}".encode()).digest()
        ranked.setdefault(row.language, []).append((rank, row))
    limit = evaluator.limit
    rows = [row for rows in ranked.values() for _, row in sorted(rows, key=lambda item: item[0])[:limit]]
    if not rows:
        raise MissingInput(
            f"eval: '{evaluator.data}' holds no {evaluator.split} rows: give a source of it test: 0.2, or another data set"
        )
    return rows


def context_of(
    assembly: Assembly,
    store: RunFolder,
    number: int,
    *,
    offline: bool = False,
    models: Callable[[str], Model] | None = None,
    answered: Callable[[str], Sequence[Answered]] | None = None,
) -> EvalContext:
    """What the recipe's evaluator number ``number`` is handed."""
    plain = assembly.context(f"eval[{number}]", offline=offline)
    facts = (plain.place, plain.seed, plain.languages, plain.folder, plain.data_dir, offline)
    return EvalContext(*facts, store.rows, models, answered)


def questions_of(evaluator: Evaluator, rows: Sequence[Row], context: EvalContext) -> list[Question]:
    """An evaluator's questions. Raises MissingInput where it has none, FactoryError for two of one name."""
    questions = list(evaluator.questions(rows, context))
    if not questions:
        raise MissingInput(f"{context.place}: nothing in '{evaluator.data}' ({evaluator.split}) can be asked this way")
    twice = [name for name, n in Counter(question.name for question in questions).items() if n > 1]
    if twice:
        raise FactoryError(f"{context.place}: {len(twice)} questions are named like another one, e.g. '{twice[0]}'")
    return questions


def answers_file(store: RunFolder, name: str, model: str) -> Path:
    """Where what a model said to an evaluation's questions is kept."""
    return store.root / "eval" / f"{name}.{model}.answers.jsonl"
