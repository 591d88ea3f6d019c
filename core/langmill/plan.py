"""What a recipe would do before it does it: rows, calls, tokens and money, by step and language.

Sources are read and filters run for real, in a folder that is thrown away; a step that asks a model is counted, not run. So
the first such step of a data set is exact, and later ones count the rows at hand: rows that earlier steps would make come
on top, which ``made_on_top`` says.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langmill.api import LLM, Augmenter
from langmill.assembly import Assembly, DatasetPlan, StepPlan
from langmill.calls import Engine
from langmill.errors import MissingInput
from langmill.ledger import Ledger
from langmill.partitions import Partition
from langmill.pipeline import Pipeline
from langmill.rows import words
from langmill.segments import Workshop
from langmill.store import RunFolder
from langmill.tables import read_rows

PROMPT_TOKENS = 250  # what a pack's own words and the schema take, about
BYTES_A_TOKEN = 3.0  # of text in a prompt, about: English has 4 to 5, Chinese and Japanese 2 to 3


@dataclass(frozen=True)
class StepCost:
    """One step of one data set in one language. Tokens are estimates; ``dollars`` is (if answers are short, the worst case),
    None when no price is known."""

    dataset: str
    step: str
    language: str
    rows: int
    prompt_tokens: int
    answer_tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    made_on_top: bool


@dataclass
class Planned:
    """The plan: rows by source and language, what is absent (with declared counts), and the steps that ask a model."""

    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    steps: list[StepCost] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)


async def plan(assembly: Assembly, limit: int | None = None) -> Planned:
    """Read what is there and count. Sources that are absent are listed and left out."""
    planned = Planned()
    present = {}
    for name, loader in assembly.sources.items():
        try:
            loader.files(assembly.context(f"sources.{name}"))
            present[name] = loader
        except MissingInput as error:
            declared = f"; declared: {loader.expect.rows:,} rows" if loader.expect and loader.expect.rows else ""
            planned.absent.append(f"{error}{declared}")
    with tempfile.TemporaryDirectory(prefix="langmill-plan-") as scratch, Ledger() as ledger:
        store = RunFolder(Path(scratch))
        context = assembly.context("llm")
        shop = Workshop.of(assembly, store.root)
        engine = Engine(assembly.models, ledger, run="plan", budget=None, context=context, report=lambda event: None)
        counter = _Counter(assembly, store, shop, engine, lambda event: None, limit)
        counter.planned = planned
        sources = counter.load([name for name in assembly.sources if name in present])
        for name, loaded in sources.items():
            by_language: Counter[str] = Counter()
            for partition in loaded.partitions:
                by_language.update(row.language for row in read_rows(partition.path))
            planned.rows[name] = dict(sorted(by_language.items()))
        for dataset in assembly.datasets.values():
            there = tuple(name for name in dataset.inputs if name in sources or name in assembly.datasets)
            await counter.make(DatasetPlan(dataset.name, there, dataset.steps, ()), sources)
    return planned


class _Counter(Pipeline):
    """A pipeline whose steps that ask a model count what they would ask."""

    planned: Planned

    async def _augment(self, plan: DatasetPlan, step: StepPlan, partitions: Sequence[Partition]) -> list[Partition]:
        part = step.part
        assert isinstance(part, Augmenter)
        llm = self.assembly.models[part.llm or "llm"]
        chosen = self._chosen(part, partitions)
        sizes: dict[str, list[int]] = {}
        for partition in partitions:
            for row in read_rows(partition.path):
                if part.takes(row) and (chosen is None or row.id in chosen):
                    sizes.setdefault(row.language, []).append(len(words(row.body).encode()))
        first = not any(cost.dataset == plan.name for cost in self.planned.steps)
        targets = getattr(part, "into", ())
        for language, bytes_ in sorted(sizes.items()):
            if llm.languages is not None and language not in llm.languages:
                self.planned.skipped[language] = self.planned.skipped.get(language, 0) + len(bytes_)
                continue
            calls = len([target for target in targets if target != language]) if targets else 1
            self.planned.steps.append(_cost(plan.name, step.use, language, bytes_, calls, llm, made_on_top=not first))
        return list(partitions)


def _cost(
    dataset: str, step: str, language: str, sizes: Sequence[int], calls: int, llm: LLM, *, made_on_top: bool
) -> StepCost:
    prompt = calls * sum(PROMPT_TOKENS + round(size / BYTES_A_TOKEN) for size in sizes)
    low, high = (
        calls * sum(min(llm.max_tokens, round(size / BYTES_A_TOKEN)) for size in sizes),
        calls * len(sizes) * llm.max_tokens,
    )
    price = llm.price()
    dollars = None if price is None else (prompt * price[0] + low * price[1], 1.5 * prompt * price[0] + high * price[1])
    return StepCost(dataset, step, language, calls * len(sizes), prompt, (low, high), dollars, made_on_top)


def lines(planned: Planned) -> list[str]:
    """The plan for people."""
    out = []
    for source, by_language in planned.rows.items():
        listed = "  ".join(f"{language} {n:,}" for language, n in by_language.items())
        out.append(f"{source}: {sum(by_language.values()):,} rows   {listed}")
    out.extend(f"absent: {line}" for line in planned.absent)
    low = high = 0.0
    unpriced = False
    for cost in planned.steps:
        money = "no price known"
        if cost.dollars is None:
            unpriced = True
        else:
            low, high = low + cost.dollars[0], high + cost.dollars[1]
            money = f"${cost.dollars[0]:.4f} to ${cost.dollars[1]:.4f}"
        more = " (and what earlier steps make)" if cost.made_on_top else ""
        tokens = f"{cost.prompt_tokens:,} tokens in, {cost.answer_tokens[0]:,} to {cost.answer_tokens[1]:,} out"
        out.append(f"{cost.dataset} {cost.step} {cost.language}: {cost.rows:,} calls{more}, {tokens}, {money}")
    for language, n in sorted(planned.skipped.items()):
        out.append(f"skipped: {n:,} times a row in {language}, which the model does not write")
    unknown = ", without the models that have no price (give prices: in llm:)" if unpriced else ""
    out.append(f"all: ${low:.2f} to ${high:.2f}{unknown}; answers already in the ledger cost nothing again")
    return out


def facts(planned: Planned) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "rows": planned.rows,
        "absent": planned.absent,
        "steps": [vars(cost) for cost in planned.steps],
        "skipped": planned.skipped,
    }
