"""One training stage from rows to finished weights, whichever way the model is loaded."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langmill.api import FactoryError, TrainJob, whole_folder, write_json
from langmill_plugins.trainers.forecast.fitting import must_fit
from langmill_plugins.trainers.loop.apart import MIXED, stays_apart
from langmill_plugins.trainers.loop.batches import Layout, learnt_by_example
from langmill_plugins.trainers.loop.facts import facts_of
from langmill_plugins.trainers.loop.launching import launch, launches
from langmill_plugins.trainers.loop.log import TrainLog
from langmill_plugins.trainers.loop.loop import Course, diverged, make_loop
from langmill_plugins.trainers.loop.ranks import Ranks
from langmill_plugins.trainers.loop.ready import Ready, make_ready, seeds
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer
from langmill_plugins.trainers.weights import checkpoints
from langmill_plugins.trainers.weights.base_model import Base, quiet
from langmill_plugins.trainers.weights.saving import save_trained
from langmill_plugins.trainers.weights.standing import standing_weights
from langmill_plugins.trainers.weights.trained import FACTS, place_of

#: A way to load: a stage, the folder of the weights, the base and the adapter that goes on (None: a new one) to a model.
Build = Callable[[AdapterStage, Path, Base, Path | None, int, bool], Any]
"""The int seeds a new adapter; True: layers keep what the way back needs."""


def run_stage(job: TrainJob, trainer: AdapterTrainer, build: Build, backend: str, *, own_loss: bool = True) -> Path:
    """Train a stage, or what is left of it; returns the folder of what was trained.

    Everything that can be wrong with base, start, tokenizer, options or rows is said before a weight is loaded.
    """
    quiet()
    if launches(trainer):
        return launch(job, trainer)
    ranks = Ranks.here(trainer.processes)
    ready = make_ready(job, trainer, backend)
    place = place_of(job.folder, trainer.lora_of(ready.stage))
    if _finished(place, ready.fingerprint()):
        return place
    notes = (
        *ready.notes,
        *must_fit(trainer, ready.stage, ready.standing.base.folder, ready.examples, ready.packed, ready.memory.keeps),
    )
    job.folder.mkdir(parents=True, exist_ok=True)
    log = TrainLog(job.folder / "train_log.jsonl", job.report)
    if (
        ranks.of == 1
    ):  # who goes on might find other room, and cut otherwise; several go by what their devices have in all
        ready.memory.write(job.folder)
    for note in notes:
        log.note(note)

    with standing_weights(ready.standing, job.folder, ranks.number if ranks.of > 1 else None) as weights:
        seed = seeds(job, trainer)(ready.stage.name, "adapter")
        with _memory_in_words(ready.stage.name):
            standing = ready.standing
            model = build(ready.stage, weights, standing.base, standing.goes_on, seed, ready.memory.keeps)
            ready, layout = _layout(ready, model, log, ranks, own_loss)
        if _finished(place, ready.fingerprint()):
            return place
        with _disk_in_words(ready.stage.name), _memory_in_words(ready.stage.name):
            course = _learn(model, _course(ready, layout, log, ranks, own_loss))
    if ranks.leads:
        with _disk_in_words(ready.stage.name), _memory_in_words(ready.stage.name), whole_folder(place) as work:
            save_trained(model, ready.how.tokenizer, work, ready.standing, trainer.lora_of(ready.stage))
        write_json(job.folder / "result.json", facts_of(ready, course, model))
        shutil.rmtree(course.checkpoints, ignore_errors=True)  # the stage is whole: nothing goes on from them
    return place


def _layout(ready: Ready, model: Any, log: TrainLog, ranks: Ranks, own_loss: bool) -> tuple[Ready, Layout]:
    """How batches lie in memory. Packed only where the loaded model proves that it keeps examples apart."""
    if not ready.packed:
        return ready, "padded"
    layout: Layout = _flash(model) if own_loss else "flat"
    if stays_apart(model, ready.train.examples, ready.how.tokenizer.pad_token_id, layout):
        return ready, layout
    name = ready.stage.name
    if ready.stage.packing is True:
        raise FactoryError(
            f"stage '{name}': packing: true, but {MIXED}: each would learn from its neighbours. packing: false, or leave it out"
        )
    note = f"{name}: examples are not packed: {MIXED}"
    ready = ready.unpacked(note)
    log.note(note)
    if ranks.leads:
        ready.memory.write(ready.job.folder)
    return ready, "padded"


def _flash(model: Any) -> Layout:
    """flash-attention takes lines of several examples as they are; without it a mask keeps them apart."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    if not (torch.cuda.is_available() and is_flash_attn_2_available()):
        return "packed"
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    plain.set_attn_implementation("flash_attention_2")
    return "flash"


def _course(ready: Ready, layout: Layout, log: TrainLog, ranks: Ranks, own_loss: bool) -> Course:
    steps = ready.steps
    for _ in range(ready.memory.halvings):
        steps = steps.halved() or steps
    return Course(
        ready.stage, ready.examples, ready.dev.examples, steps, learnt_by_example(ready.examples),
        ready.how.tokenizer.pad_token_id, layout, ready.fingerprint(), ready.job.folder, log, ready.memory,
        seeds(ready.job, ready.trainer), ranks, own_loss, ready.trainer.report_to,
    )  # fmt: skip


def _learn(model: Any, course: Course) -> Course:
    """Go through a course, or what is left of it; returns it as it ended."""
    name, log, leads = course.stage.name, course.log, course.ranks.leads
    resume = checkpoints.last_whole(course.checkpoints, course.fingerprint)
    step = checkpoints.step_of(resume) if resume else None
    if "tensorboard" in course.report_to:  # beside the checkpoints, which do not stay
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(course.folder / "tensorboard"))
    loop = make_loop(model, course)
    if leads:
        log.rewind(step)
    if resume:
        log.note(f"{name} continues from step {step}")
    else:
        before = course.dev_loss(loop)
        if leads:
            log.dev(0, before)
    loop.train(resume_from_checkpoint=str(resume) if resume else None)
    after = loop.course.dev_loss(loop)
    if after is not None and not math.isfinite(after):
        raise diverged(course, f"the validation loss after its last step is {after}")
    if not checkpoints.all_finite(model):
        raise diverged(course, "after its last step its weights hold what is no number")
    if leads:
        log.dev(len(course.steps), after, after=True)
    return loop.course  # type: ignore[no-any-return]


@contextmanager
def _memory_in_words(name: str) -> Iterator[None]:
    """Turn an accident that smaller batches do not mend into words: the model, the optimiser or a single row is too large."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as fault:
        raise FactoryError(
            f"stage '{name}' does not fit into the GPU's memory ({fault}), and not because of its batches, which are cut in two "
            "when that helps: say quantize: 4bit or optimizer: adamw_8bit, train an adapter of a lower rank:, lower "
            "train.max_tokens, or take a smaller base, and run again (with other options a stage begins anew; with the same "
            "ones, when others have left the GPU, it goes on from its last checkpoint)"
        ) from fault


@contextmanager
def _disk_in_words(name: str) -> Iterator[None]:
    """Turn a disk that refuses into words."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as fault:
        raise FactoryError(
            f"stage '{name}' can not write: {getattr(fault, 'strerror', None) or fault}. Its last checkpoint is whole: make "
            "room, then run again"
        ) from fault


def _finished(place: Path, fingerprint: str) -> bool:
    """A run that was killed between this stage's end and its own note of it finds the stage whole."""
    try:
        facts = json.loads((place.parent / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(facts.get("fingerprint") == fingerprint and (place / FACTS).is_file())
