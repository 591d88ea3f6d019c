"""What evaluations of rationales hand to MMedBench."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from langmill.api import Answered, Choice, EvalContext, Evaluator, MissingInput, Row

from . import mmedbench

NAMES = {"bleu1": "BLEU-1", "bleu4": "BLEU-4", "rouge1": "ROUGE-1", "rougeL": "ROUGE-L"}
SUBMISSION = """\
- `rationale_results.csv`: what the model was asked, what it wrote and the row's own rationale, one line a row whose rationale no
  source calls unchecked.
- `rationale_similarity_metric.csv`: 100 times the mean likeness in each language, a line for each measure of this run that MMedBench
  names. Its own table has BLEU-1 to BLEU-4, ROUGE-1, ROUGE-2 and ROUGE-L.

{sizes}

MMedBench compares rationales on the rows that people have checked, which are fewer than its whole test split. The other half of a
submission is made of an evaluation `choice_accuracy` with `ask: [generation]`.
"""


def exports_of() -> Mapping[str, str]:
    """What an evaluation of rationales can be written as."""
    return {"mmedbench": mmedbench.ABOUT}


def export_rationales(
    evaluator: Evaluator, rows: Sequence[Row], answered: Sequence[Answered], folder: Path, context: EvalContext
) -> str:
    """Write a model's rationales and how like they are; what was written, in Markdown."""
    if not answered:
        raise MissingInput(mmedbench.WHOSE.format(models=" or ".join(evaluator.models)))
    bodies = {row.id: row.body for row in rows}
    results = []
    for one in answered:
        body = bodies[one.question.row]
        assert isinstance(body, Choice) and body.explanation
        results.append(mmedbench.Result(one.question.language, one.question.messages, one.text, body.explanation))
    values: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in NAMES.values()}
    for item in asyncio.run(evaluator.mark(rows, answered, context)).items:
        if item.metric in NAMES:
            values[NAMES[item.metric]][item.language].append(item.value)
    counts = mmedbench.write_results(folder / "rationale_results.csv", results)
    figures = {name: {code: fmean(some) for code, some in found.items()} for name, found in values.items() if found}
    mmedbench.write_figures(folder / "rationale_similarity_metric.csv", figures, named=True)
    return SUBMISSION.format(sizes=mmedbench.sizes_told(counts))
