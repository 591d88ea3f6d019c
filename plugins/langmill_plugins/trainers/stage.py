"""One training stage from rows to a finished adapter, whichever way the model is loaded."""

from __future__ import annotations

import hashlib
import heapq
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langmill.api import FactoryError, MissingInput, Row, TrainJob, whole_folder, write_json
from langmill_plugins.trainers import checkpoints, order
from langmill_plugins.trainers.adapters import (
    WEIGHTS,
    chain_of,
    check_adapter,
    save_adapter,
    standing_weights,
)
from langmill_plugins.trainers.base_model import Base, find_base, load_tokenizer, quiet
from langmill_plugins.trainers.log import TrainLog
from langmill_plugins.trainers.loop import Course, dev_loss, make_loop
from langmill_plugins.trainers.options import AdapterTrainer
from langmill_plugins.trainers.tokens import Tokenised, learnt, need_end_token, tokenise

#: A way to load: from the folder of the weights, the base and the adapter that goes on (None: a new one) to a PeftModel.
Build = Callable[[Path, Base, Path | None, int], Any]  # the int seeds a new adapter


def run_stage(job: TrainJob, trainer: AdapterTrainer, build: Build, backend: str, *, own_loss: bool = True) -> Path:
    """Train a stage, or what is left of it; returns the adapter's folder.

    Everything that can be wrong with base, start, tokenizer or rows is said before a weight is loaded.
    """
    quiet()
    stage, folder, adapter = job.stage, job.folder, job.folder / "adapter"
    base = find_base(trainer.base, job.context)
    goes_on, chain = _handover(job, base)
    tokenizer = load_tokenizer(base.folder)
    need_end_token(tokenizer)
    train = tokenise(job.rows("train"), tokenizer, job.context, trainer.max_tokens)
    dev = tokenise(_dev_rows(job), tokenizer, job.context, trainer.max_tokens)
    _need_rows(job, trainer, train)
    four_bit = trainer.four_bit()
    fingerprint = _fingerprint(job, trainer, base, [*chain, *([goes_on] if goes_on else [])], train, four_bit, backend)
    if _finished(folder, fingerprint):
        return adapter

    folder.mkdir(parents=True, exist_ok=True)
    log = TrainLog(folder / "train_log.jsonl", job.report)
    lengths = [len(example.ids) for example in train.examples]
    seed = _seed(job, trainer)
    plan = order.batches(
        lengths, stage.batch, stage.accumulate, stage.epochs, stage.max_steps, seed(stage.name, "order")
    )
    course = Course(
        stage, train.examples, plan, tokenizer.pad_token_id, fingerprint, folder / "checkpoints", log,
        seed, own_loss,
    )  # fmt: skip
    log.note(_told(stage.name, train, course.steps))
    resume = checkpoints.last_whole(course.checkpoints, fingerprint)
    log.rewind(int(resume.name.removeprefix(checkpoints.PREFIX)) if resume else None)
    if resume:
        log.note(f"{stage.name} continues from step {resume.name.removeprefix(checkpoints.PREFIX)}")

    with standing_weights(base, chain) as weights:
        model = build(weights, base, goes_on, seed(stage.name, "adapter"))
        loop = make_loop(model, course)
        _guarded(stage.name, lambda: _learn(loop, course, dev, resume))
    with whole_folder(adapter) as work:
        save_adapter(model, tokenizer, work, base, chain)
    facts = {
        **log.summary(),
        "rows": {"train": len(train.examples), "dev": len(dev.examples)},
        "left_out": {"train": train.left_out_by_reason(), "dev": dev.left_out_by_reason()},
        "data_tokens": {"train": train.tokens, "answers": sum(1 for one in train.examples for _ in learnt(one))},
        "base": {"name": base.name, "identity": base.identity, "demonstration": base.demonstration},
        "backend": backend,
        "held_in": "4bit" if four_bit else str(model.dtype).removeprefix("torch."),
        "trained_parameters": sum(part.numel() for part in model.parameters() if part.requires_grad),
        "fingerprint": fingerprint,
    }
    write_json(folder / "result.json", facts)
    shutil.rmtree(course.checkpoints, ignore_errors=True)  # the stage is whole: nothing goes on from them
    return adapter


def _learn(loop: Any, course: Course, dev: Tokenised, resume: Path | None) -> None:
    stage = course.stage
    if resume is None:
        course.log.dev(0, dev_loss(loop, dev.examples, stage.batch, course.pad))
    loop.train(resume_from_checkpoint=str(resume) if resume else None)
    course.log.dev(course.steps, dev_loss(loop, dev.examples, stage.batch, course.pad), after=True)


def _guarded(name: str, work: Callable[[], None]) -> None:
    """Turn the two ways a machine gives out into words."""
    import torch

    try:
        work()
    except torch.OutOfMemoryError as fault:
        raise FactoryError(
            f"stage '{name}' does not fit into the GPU's memory: halve its batch: and double accumulate:, or lower "
            "train.max_tokens; then run again: it continues from its last checkpoint"
        ) from fault
    except OSError as fault:
        raise FactoryError(
            f"stage '{name}' can not write: {fault.strerror or fault}. Its last checkpoint is whole: make room, then run again"
        ) from fault


def _handover(job: TrainJob, base: Base) -> tuple[Path | None, list[Path]]:
    """The adapter that goes on, if one does, and the adapters merged into the base below the one to be trained."""
    if job.start is None:
        return None, []
    check_adapter(job.start, base)
    match job.stage.handover:
        case "continue":
            return job.start, chain_of(job.start)
        case "merge":
            return None, [*chain_of(job.start), job.start]
        case "new":
            return None, []


def _dev_rows(job: TrainJob) -> Iterator[Row]:
    """The first ``eval_rows`` dev rows by a hash of their id: the same ones in every stage and run."""

    def rank(row: Row) -> bytes:
        return hashlib.sha256(f"{job.context.seed}\0{row.id}".encode("utf-8", "surrogatepass")).digest()

    return iter(heapq.nsmallest(job.stage.eval_rows, job.rows("dev"), key=rank))


def _seed(job: TrainJob, trainer: AdapterTrainer) -> Callable[..., int]:
    return lambda *parts: job.context.seed_for("train", trainer.seed, *parts)


def _need_rows(job: TrainJob, trainer: AdapterTrainer, train: Tokenised) -> None:
    if train.examples:
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
    return f"{name}: {len(train.examples)} rows, {train.tokens} tokens, {steps} steps{left}"


def _finished(folder: Path, fingerprint: str) -> bool:
    """A run that was killed between this stage's end and its own note of it finds the stage whole."""
    try:
        facts = json.loads((folder / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(facts.get("fingerprint") == fingerprint and (folder / "adapter" / WEIGHTS).is_file())


def _fingerprint(
    job: TrainJob,
    trainer: AdapterTrainer,
    base: Base,
    below: list[Path],
    train: Tokenised,
    four_bit: bool,
    backend: str,
) -> str:
    """A hash of all that decides the weights: checkpoints under another one are not continued."""
    digest = hashlib.sha256()
    options = trainer.model_dump(mode="json", exclude={"quantize", "max_tokens"})
    stage = job.stage.model_dump(mode="json", exclude={"save_steps", "eval_rows"})
    digest.update(json.dumps([options, stage, base.identity, four_bit, backend, job.context.seed]).encode())
    for adapter in below:
        digest.update(hashlib.sha256((adapter / WEIGHTS).read_bytes()).digest())
    for example in train.examples:
        digest.update(example.ids.tobytes())
        digest.update(b"\0")
        digest.update(example.labels.tobytes())
    return digest.hexdigest()
