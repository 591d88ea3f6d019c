"""A few rows through every step, with the prompts that are asked and what came back: a recipe tried out before it is run.

The calls are real and go into the ledger, so a later run has their answers already; everything else is thrown away.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from langmill.api import Model, Prompt, Reply, Schema
from langmill.calls.engine import Engine
from langmill.disk.store import RunFolder
from langmill.errors import MissingInput, RowFault
from langmill.ledger.ledger import Ledger
from langmill.licensing.gate import refuse
from langmill.parts.contexts import Around
from langmill.pipeline.dataset import Pipeline
from langmill.pipeline.segments import Workshop
from langmill.recipe.absent import told
from langmill.recipe.assembly import Assembly
from langmill.rows import words


class _Watched(Around):
    """A model that notes what it is asked and what it says."""

    def __init__(self, model: Model, seen: list[str]):
        super().__init__(model)
        self.seen = seen

    async def answer(
        self, prompt: Prompt, schema: type[Schema], *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Schema]:
        head = f"--- {step} in {language}, prompt {prompt.hash}"
        asked = "\n".join(f"{message.role}: {message.content}" for message in prompt.messages)
        try:
            reply = await self.model.answer(prompt, schema, step=step, language=language, seed=seed, sample=sample)
        except RowFault as fault:
            self.seen.append(f"{head}\n{asked}\n=> rejected, {fault}")
            raise
        self.seen.append(f"{head}\n{asked}\n=> {reply.value.model_dump_json()}")
        return reply


class _Preview(Pipeline):
    extends = False
    seen: list[str]

    def _model(self, name: str, dataset: str) -> Model:
        return _Watched(super()._model(name, dataset), self.seen)


async def preview(assembly: Assembly, rows: int, budget: float | None) -> list[str]:
    """Lines: what is to be told about the ledger, each prompt with its answer, then each data set's rows and rejects. ``rows``
    per source, language and split."""
    refuse(assembly)
    if absent := assembly.absent():
        raise MissingInput("\n".join(told(absent, len(assembly.sources))))
    with tempfile.TemporaryDirectory(prefix="langmill-preview-") as scratch, Ledger() as ledger:
        store = RunFolder(Path(scratch))
        context = assembly.context("llm")
        shop = Workshop.of(assembly, store.root, whole=False)
        models = {
            name: llm.model_copy(update={"batch": False}) for name, llm in assembly.models.items()
        }  # now, not in a day
        run = f"preview-{uuid.uuid4().hex[:12]}"  # of its own, since a budget is for all that a run has spent
        engine = Engine(models, ledger, run=run, budget=budget, context=context, report=lambda event: None)
        pipeline = _Preview(assembly, store, shop, engine, lambda event: None, rows)
        pipeline.seen = []
        async with engine:
            sources = pipeline.load(list(assembly.sources))
            for dataset in assembly.datasets.values():
                await pipeline.make(dataset, sources)
        return [
            *ledger.notice.splitlines(),
            *pipeline.seen,
            *(line for name in assembly.datasets for line in _shown(store, name)),
        ]


def _shown(store: RunFolder, dataset: str) -> Iterator[str]:
    for row in store.rows(dataset):
        yield f"{dataset}: {row.id} ({row.language}, {row.split})\n    " + words(row.body).replace("\n", "\n    ")
    for reject in store.rejects(dataset):
        id = reject.row.id if reject.row else f"{reject.source}/{reject.record}"
        yield f"{dataset}: {id} rejected at {reject.step}: {reject.reason} {reject.detail}"
