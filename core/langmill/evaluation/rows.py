"""The rows that an evaluator asks, and its questions about them."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from langmill.api import Answered, EvalContext, Evaluator, MissingInput, Model, Question, Row
from langmill.disk.store import RunFolder
from langmill.errors import FactoryError
from langmill.recipe.assembly import Assembly

REJECTED = "rejected:"  # how a data set's funnel counts those that left


def chosen_rows(store: RunFolder, evaluator: Evaluator, seed: int) -> list[Row]:
    """The rows that are asked: per language the first ``limit`` by a hash of the id. Raises MissingInput when there are none."""
    limit = evaluator.limit
    first: dict[str, list[tuple[int, int, Row]]] = {}  # heaps, the last of those that are asked on top; no more is held
    for number, row in enumerate(store.rows(evaluator.data, evaluator.split)):
        rank = int.from_bytes(hashlib.sha256(f"{seed}\0{row.id}".encode()).digest())
        ranked = first.setdefault(row.language, [])
        heapq.heappush(ranked, (-rank, -number, row))
        if limit is not None and len(ranked) > limit:
            heapq.heappop(ranked)
    rows = [row for ranked in first.values() for *_, row in sorted(ranked, key=lambda item: item[:2], reverse=True)]
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
    model: str = "",
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> EvalContext:
    """What the recipe's evaluator number ``number`` is handed; while answers are marked, with the ``model`` that gave them."""
    plain = assembly.context(f"eval[{number}]", offline=offline)
    facts = (plain.place, plain.seed, plain.languages, plain.folder, plain.data_dir, offline)
    provider = str(assembly.models[model].identity()["model"]) if model in assembly.models else ""
    return EvalContext(*facts, store.rows, models, answered, model, provider, tell)


def questions_of(evaluator: Evaluator, rows: Sequence[Row], context: EvalContext) -> list[Question]:
    """An evaluator's questions. Raises MissingInput where it has none, FactoryError for two of one name."""
    questions = list(evaluator.questions(rows, context))
    if not questions:
        raise MissingInput(f"{context.place}: nothing in '{evaluator.data}' ({evaluator.split}) can be asked this way")
    twice = [name for name, n in Counter(question.name for question in questions).items() if n > 1]
    if twice:
        raise FactoryError(f"{context.place}: {len(twice)} questions are named like another one, e.g. '{twice[0]}'")
    return questions


def left_out(store: RunFolder, dataset: str) -> dict[str, int]:
    """How many records of a data set's sources never became rows, by reason: benchmark items without a key, or with one outside
    their options, among them. Rows that its steps dropped are not counted."""
    facts = store.dataset_facts(dataset)
    found: Counter[str] = Counter()
    for segment in facts["funnel"] if facts else ():
        for counts in segment["counts"].values() if segment["segment"].startswith("read ") else ():
            found.update({what.removeprefix(REJECTED): n for what, n in counts.items() if what.startswith(REJECTED)})
    return dict(sorted(found.items()))


def answers_file(store: RunFolder, name: str, model: str) -> Path:
    """Where what a model said to an evaluation's questions is kept."""
    return store.root / "eval" / f"{name}.{model}.answers.jsonl"
