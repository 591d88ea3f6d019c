"""All of a stage that can be known, and all that can be wrong with it, before a weight is loaded."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from langmill.api import MissingInput, RecipeError, Row, Split, TrainJob, missing_package
from langmill_plugins.trainers.forecast.choosing import of_batch
from langmill_plugins.trainers.forecast.fitting import cut
from langmill_plugins.trainers.loop.apart import config_of, packing_of
from langmill_plugins.trainers.loop.memory import Memory
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer
from langmill_plugins.trainers.order.drawing import draw
from langmill_plugins.trainers.order.steps import Steps, arranged
from langmill_plugins.trainers.tokens.examples import Examples
from langmill_plugins.trainers.tokens.templates import with_template
from langmill_plugins.trainers.tokens.tokenising import Recording, Tokenised, tokenise
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer
from langmill_plugins.trainers.weights.standing import Standing, standing_of


@dataclass(frozen=True)
class Ready:
    """A stage up to its weights. ``examples`` are the train set's first time round, and after them what comes back in another
    form; ``steps`` are made of their numbers; ``notes`` are for people."""

    job: TrainJob
    trainer: AdapterTrainer
    backend: str
    standing: Standing
    how: Recording
    train: Tokenised
    dev: Tokenised
    packed: bool
    examples: Examples
    steps: Steps
    memory: Memory
    chat_template: str
    notes: tuple[str, ...]

    @property
    def stage(self) -> AdapterStage:
        """The stage's options."""
        return self.how.stage

    @property
    def four_bit(self) -> bool:
        """Whether the base is held in four bits."""
        return self.trainer.four_bit(self.stage)

    def fingerprint(self) -> str:
        """A hash of all that decides the weights: checkpoints under another one are not continued. How a step is cut into
        micro-batches and dealt to processes is no part of it, since the sums are the same."""
        options = self.trainer.decides(self.stage)
        for kind, name in (("trainer", "quantize"), ("trainer", "max_tokens"), ("stage", "packing")):
            del options[kind][name]  # what has come of them counts
        digest = hashlib.sha256()
        digest.update(json.dumps([options, self.four_bit, self.backend, self.job.context.seed]).encode())
        digest.update(f"{self.standing.digest()} {self.examples.digest()}".encode())
        steps = self.steps
        ends = steps.lines[steps.micros[steps.steps - 1] - 1]  # of each step in examples, however it is cut
        for part in (steps.examples, steps.lines, ends):
            digest.update(part.tobytes())
        return digest.hexdigest()

    def unpacked(self, why: str) -> Ready:
        """The same stage with a line for each example."""
        examples, steps = plan(self.job.rows, self.train.examples, self.how, False, self.trainer.processes)
        return replace(
            self, packed=False, examples=examples, steps=steps, memory=replace(self.memory, unpacked=True), notes=(why,)
        )


def make_ready(job: TrainJob, trainer: AdapterTrainer, backend: str) -> Ready:
    """Rows to steps. Raises MissingInput or RecipeError, with what to do, for whatever is wrong with base, start or options."""
    stage = job.stage
    assert isinstance(stage, AdapterStage)
    base = find_base(trainer.base, job.context)
    standing = standing_of(job, trainer.lora_of(stage), base)
    config = config_of(base.folder)
    _check_options(trainer, stage, config)
    memory = Memory.read(job.folder, _tried(job, trainer, base.identity))
    packing = packing_of(stage, config, memory.unpacked)
    tokenizer, template = with_template(load_tokenizer(base.folder), trainer.chat_template)
    how = Recording(tokenizer, job.context, trainer.max_tokens, stage, seeds(job, trainer))
    train = tokenise(job.rows("train"), how)
    _need_rows(job, trainer, train)
    dev = tokenise(_dev_rows(job), how)
    chosen = "" if memory.batch is None else f"{stage.name}: batch: auto took {memory.batch} when it began"
    if memory.batch is None:
        found = cut(trainer, stage, base.folder, train.examples, packing.on)
        memory, chosen = replace(memory, batch=found.batch, keeps=found.keeps), found.told(stage, packing.on)
    assert memory.batch is not None
    how = replace(how, stage=of_batch(stage, memory.batch))
    examples, steps = plan(job.rows, train.examples, how, packing.on, trainer.processes)
    notes = [_told(stage.name, train, len(steps))]
    if stage.packing == "auto":
        notes.append(f"{stage.name}: examples are {'' if packing.on else 'not '}packed: {packing.why}")
    if stage.batch == "auto":
        notes.append(chosen)
    if template:
        notes.append(template)
    return Ready(
        job, trainer, backend, standing, how, train, dev, packing.on, examples, steps, memory,
        "plain" if template else "own", tuple(notes),
    )  # fmt: skip


def plan(
    rows: Callable[[Split], Iterator[Row]], first: Examples, how: Recording, packed: bool, processes: int
) -> tuple[Examples, Steps]:
    """The steps of a stage, and all examples they are made of: ``first``, and after them what an item is when it comes again with
    its options in another order."""
    stage = how.stage
    assert stage.batch != "auto"
    drawn = draw(first, stage, how.seed_for)
    examples, numbers = first, drawn.example.copy()
    again = drawn.occurrence.max() if stage.choices.shuffle and len(drawn.occurrence) else 0
    for occurrence in range(1, int(again) + 1):
        now = drawn.occurrence == occurrence
        wanted = set(first.row[drawn.example[now]].tolist())
        made = tokenise(rows("train"), how, occurrence=occurrence, only=wanted).examples
        places = {
            key: len(examples) + at for at, key in enumerate(zip(made.row.tolist(), made.part.tolist(), strict=True))
        }
        for at in now.nonzero()[0].tolist():
            one = int(drawn.example[at])
            numbers[at] = places.get((int(first.row[one]), int(first.part[one])), one)
        examples = examples.joined(made)
    steps = arranged(
        numbers, drawn.windows, examples.lengths, batch=stage.batch, accumulate=stage.accumulate,
        most_steps=stage.max_steps, size=how.max_tokens if packed else None, seed=how.seed_for(stage.name, "lines"),
        processes=processes,
    )  # fmt: skip
    return examples, steps


def seeds(job: TrainJob, trainer: AdapterTrainer) -> Callable[..., int]:
    """Where a stage's chance comes from: a seed for whatever is named."""
    return lambda *parts: job.context.seed_for("train", trainer.seed, *parts)


def _check_options(trainer: AdapterTrainer, stage: AdapterStage, config: Any) -> None:
    import torch
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    if too_long := trainer.beyond(getattr(config.get_text_config(), "max_position_embeddings", None)):
        raise RecipeError(too_long)
    if stage.optimizer == "adamw_8bit" and not torch.cuda.is_available():
        raise RecipeError(f"stage '{stage.name}': optimizer: adamw_8bit needs a GPU, and there is none: leave it out")
    if (stage.optimizer == "adamw_8bit" or trainer.four_bit(stage)) and find_spec("bitsandbytes") is None:
        what = "optimizer: adamw_8bit" if stage.optimizer == "adamw_8bit" else "quantize: 4bit"
        raise missing_package(what, "bitsandbytes", "train")
    for name in trainer.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            raise RecipeError(
                f"train.report_to: transformers knows no tracker '{name}'; possible: {', '.join(sorted(INTEGRATION_TO_CALLBACK))}"
            )
        if name not in get_available_reporting_integrations():
            raise MissingInput(f"train.report_to: {name} is not installed: pip install {name}, or leave it out")


def _tried(job: TrainJob, trainer: AdapterTrainer, identity: str) -> str:
    """What it depends on whether a batch fits."""
    options = [
        trainer.model_dump(mode="json"),
        job.stage.model_dump(mode="json", exclude={"learning_rate", "max_steps"}),
    ]
    return hashlib.sha256(json.dumps([options, identity]).encode()).hexdigest()


def _dev_rows(job: TrainJob) -> Iterator[Row]:
    """The first ``eval_rows`` dev rows by a hash of their id: the same ones in every stage and run."""

    def rank(row: Row) -> bytes:
        return hashlib.sha256(f"{job.context.seed}\0{row.id}".encode("utf-8", "surrogatepass")).digest()

    return iter(heapq.nsmallest(job.stage.eval_rows, job.rows("dev"), key=rank))


def _need_rows(job: TrainJob, trainer: AdapterTrainer, train: Tokenised) -> None:
    if len(train.examples):
        return
    out = ", ".join(f"{sum(by.values())} {reason}" for reason, by in train.left_out_by_reason().items())
    raise MissingInput(
        f"stage '{job.stage.name}': the data set '{job.stage.data}' holds no train row that can be learnt from"
        + (f" (left out: {out}; train.max_tokens is {trainer.max_tokens})" if out else "")
        + ": look at its rejected rows, or name another data set"
    )


def _told(name: str, train: Tokenised, steps: int) -> str:
    out = ", ".join(f"{sum(by.values())} {reason}" for reason, by in train.left_out_by_reason().items())
    left = f"; left out: {out}" if out else ""
    cut = f"; cut: {sum(train.cut.values())}" if train.cut else ""
    return f"{name}: {len(train.examples)} examples, {train.examples.tokens} tokens, {steps} steps{left}{cut}"
