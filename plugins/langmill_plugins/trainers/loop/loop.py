"""The training loop that every way to train shares: same rows, same tokens, same order, same loss, same checkpoints.

It is transformers' plain Trainer and not TRL's SFTTrainer: rows come here as finished ids and labels, so that nothing is
left for the latter to prepare, while it would round a quantised model's adapter to bfloat16 (which no resumed run can
undo) and is itself replaced by another class once unsloth is imported. With the plain one, peft and unsloth get the same
batches byte for byte.

What the Trainer takes for a batch is the number of a step: the step's micro-batches are gone through inside of it. So a step
is done whole or not at all, whatever its number of micro-batches, and can be done again in smaller ones.
"""

from __future__ import annotations

import gc
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from langmill.api import FactoryError
from langmill_plugins.trainers.loop.batches import Layout, collate
from langmill_plugins.trainers.loop.chunked import halves_of
from langmill_plugins.trainers.loop.log import TrainLog
from langmill_plugins.trainers.loop.losses import answer_loss, dev_loss
from langmill_plugins.trainers.loop.memory import Memory
from langmill_plugins.trainers.loop.ranks import OUT_OF_MEMORY, Ranks
from langmill_plugins.trainers.loop.schedule import rate, warm_steps
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.order.steps import Steps
from langmill_plugins.trainers.tokens.examples import NO_LOSS, Examples
from langmill_plugins.trainers.weights import checkpoints

AGAIN = {"use_reentrant": False}  # how a layer is computed again


@dataclass(frozen=True)
class Course:
    """What is fixed before the first step: examples, the steps of the whole stage in order, and where to keep what."""

    stage: AdapterStage
    examples: Examples
    dev: Examples
    steps: Steps
    #: Tokens of each example that carry loss, int64 [n]
    learnt: Any
    pad: int
    layout: Layout
    fingerprint: str
    folder: Path
    log: TrainLog
    memory: Memory
    seed_for: Callable[..., int]
    ranks: Ranks
    #: False: the model computes its own loss (unsloth has a fused one); True: only answers reach the last layer
    own_loss: bool = True
    report_to: tuple[str, ...] = ()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def batch(self) -> int:
        """Examples or lines of a micro-batch, before it was ever cut in two."""
        assert self.stage.batch != "auto"
        return self.stage.batch

    def tokens_at(self, step: int) -> int:
        """Tokens (padding not counted) of the step, counted from 0."""
        return int(self.examples.lengths[self.steps.examples_of(step)].sum())

    def learnt_at(self, step: int) -> int:
        """Those of them that carry loss."""
        return int(self.learnt[self.steps.examples_of(step)].sum())

    def dev_loss(self, loop: Any) -> float | None:
        """The loss on the validation set, in batches that the stage's own have shown to fit."""
        batch = max(1, self.batch >> self.memory.halvings)
        return dev_loss(loop, self.dev, batch, self.pad, self.ranks)

    def smaller(self) -> Course | None:
        """The same course with each micro-batch in two; None when none can be divided."""
        steps = self.steps.halved()
        if steps is None:
            return None
        return replace(self, steps=steps, memory=replace(self.memory, halvings=self.memory.halvings + 1))


def make_loop(model: Any, course: Course) -> Any:
    """transformers' Trainer over a course, with checkpoints of our own. The class is made here since its base is heavy.

    ``loop.course`` is the course as it goes on: micro-batches get smaller when memory runs out.
    """
    import inspect

    import torch
    from torch.utils.data import DataLoader
    from transformers import PrinterCallback, Trainer

    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    narrow = (course.own_loss and halves_of(model)) or "logits_to_keep" in inspect.signature(plain.forward).parameters
    stage, ranks = course.stage, course.ranks

    class Loop(Trainer):  # type: ignore[misc]
        course: Course

        def create_accelerator_and_postprocess(self) -> None:
            super().create_accelerator_and_postprocess()
            # Gradients are summed here, once a step: the model must not be wrapped into what does it by its own rules.
            self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            steps = len(course.steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,
                lambda step: rate(stage.schedule, step, warm_steps(stage.warmup, steps), steps),
            )
            return self.lr_scheduler

        def get_train_dataloader(self) -> Any:
            return DataLoader(range(len(course.steps)), batch_size=1, collate_fn=lambda steps: steps[0])

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[int], None]:
            return [next(epoch_iterator)], None

        def floating_point_ops(self, inputs: Any) -> int:
            return 0  # it would look for tensors in a step's number

        def training_step(self, model: Any, inputs: int, num_items_in_batch: Any = None) -> Any:
            """All micro-batches of a step, again in smaller ones when memory runs out; returns the mean loss of a token."""
            while True:
                try:
                    loss = self.passes(model, inputs)
                    break
                except torch.OutOfMemoryError as fault:
                    told = str(fault)
                # Out here, where the error no longer holds on to what filled the memory.
                model.zero_grad(set_to_none=True)
                gc.collect()
                torch.cuda.empty_cache()
                self.course = lighter(self.course, model, inputs, told)
            ranks.add_gradients(self.trained())
            return torch.tensor(ranks.added_up([float(loss)], loss.device)[0], device=loss.device)

        def passes(self, model: Any, step: int) -> Any:
            total = max(1, self.course.learnt_at(step))
            loss = torch.zeros((), device=self.args.device)
            for place, micro in ranks.share(list(enumerate(self.course.steps.of(step)))):
                # Dropout then depends on the micro-batch alone: not on what was before it, nor on the number of processes.
                torch.manual_seed(course.seed_for(stage.name, "step", step, place))
                batch = collate(self.course.steps.micro(micro), course.examples, course.pad, course.layout)
                loss += super().training_step(model, batch, total)
            return loss

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """This micro-batch's part of the mean over all tokens of the step that carry loss (``num_items_in_batch``)."""
            count = (inputs["labels"][:, 1:] != NO_LOSS).sum()
            loss = self.summed_loss(model, inputs, count) / num_items_in_batch
            return (loss, None) if return_outputs else loss

        def summed_loss(self, model: Any, inputs: Any, count: Any) -> Any:
            if course.own_loss:
                return answer_loss(model, inputs, narrow)
            # Not every model of unsloth's takes the number of a step's tokens; the mean over a batch they all know.
            return super().compute_loss(model, inputs) * count

        def trained(self) -> list[Any]:
            return [part for part in self.model.parameters() if part.requires_grad]

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            if not ranks.leads:
                return

            def fill(folder: Path) -> None:
                checkpoints.save_parameters(self.model, folder)
                checkpoints.save_optimiser(self.optimizer, self.lr_scheduler, folder)
                self.state.save_to_json(str(folder / "trainer_state.json"))

            checkpoints.write(course.checkpoints, self.state.global_step, course.fingerprint, fill)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            checkpoints.load_parameters(self.model, Path(resume_from_checkpoint))

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is not None:
                checkpoints.load_optimiser(self.optimizer, self.lr_scheduler, Path(checkpoint))

        def _load_rng_state(self, checkpoint: str | None) -> None:
            """Nothing to load: chance is seeded anew at each micro-batch, from its place."""

        def _load_scaler(self, checkpoint: str | None) -> None:
            """Nothing to load: bfloat16 needs no scaling of gradients."""

    watch = _watch()
    loop = Loop(model=model, args=_arguments(course), train_dataset=range(len(course.steps)), callbacks=[watch])
    loop.course, watch.loop = course, loop
    loop.model_accepts_loss_kwargs = True  # so that it does not divide a part of a mean once more
    loop.remove_callback(PrinterCallback)
    return loop


def lighter(course: Course, model: Any, step: int, told: str) -> Course:
    """The course after memory ran out in a step (from 0): layers that kept what the way back needs are computed again from there on,
    which ``model`` is told; where they are already, the course is :func:`halved`."""
    if not course.memory.keeps:
        return halved(course, step, told)
    less = replace(course, memory=replace(course.memory, keeps=False))
    less.memory.write(course.folder)
    if course.ranks.of > 1:
        os._exit(OUT_OF_MEMORY)
    if hasattr(model, "for_training"):  # unsloth's own switch
        model.for_training(use_gradient_checkpointing=True)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=AGAIN)
    course.log.note(f"{course.stage.name}: memory ran out in step {step + 1}; from here on layers are computed twice")
    return less


def halved(course: Course, step: int, told: str) -> Course:
    """The course after memory ran out in a step (from 0): the same steps in micro-batches of half the size.

    Of several processes this one ends, to begin again with the others. Raises FactoryError when nothing can be divided.
    """
    stage = course.stage
    smaller = course.smaller()
    if smaller is None:
        raise FactoryError(
            f"stage '{stage.name}': a single example does not fit into memory beside the model (step {step + 1}: {told}). Lower "
            "train.max_tokens, or the adapter's rank:, or say quantize: 4bit; then run again: with other options it begins anew"
        )
    smaller.memory.write(course.folder)
    if course.ranks.of > 1:
        os._exit(OUT_OF_MEMORY)
    course.log.note(
        f"{stage.name}: memory ran out in step {step + 1}; from here on its batches of {course.batch} come in parts, halved "
        f"{smaller.memory.halvings} time(s): same rows, same sums, less at once"
    )
    return smaller


def diverged(course: Course, what: str) -> FactoryError:
    """The error of a stage whose numbers left all bounds. Its checkpoints go: the step that did it may be in any of them."""
    shutil.rmtree(course.checkpoints, ignore_errors=True)
    stage = course.stage
    return FactoryError(
        f"stage '{stage.name}': {what}. Lower its learning_rate ({stage.learning_rate}), then run again: it begins anew, since "
        "its checkpoints may hold what went wrong"
    )


def _watch() -> Any:
    """Tells the log what happens."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        began = 0.0
        loop: Any = None

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if "loss" not in logs:
                return
            course: Course = self.loop.course
            stage, step, loss = course.stage, state.global_step, float(logs["loss"])
            if not math.isfinite(loss):
                raise diverged(course, f"the loss at step {step} is {loss}")
            if course.ranks.leads:
                seconds = time.monotonic() - self.began
                course.log.step(
                    step, len(course.steps), loss, float(logs["learning_rate"]), course.tokens_at(step - 1), seconds
                )
            # Before the step's checkpoint, so that a stage that goes on from it finds this written.
            if stage.eval_steps and step % stage.eval_steps == 0 and step < len(course.steps):
                loss_now = course.dev_loss(self.loop)
                if loss_now is not None and not math.isfinite(loss_now):
                    raise diverged(course, f"the validation loss after step {step} is {loss_now}")
                if course.ranks.leads:
                    course.log.dev(step, loss_now)

    return Watch()


def _arguments(course: Course) -> Any:
    import torch
    from transformers import TrainingArguments

    stage, steps = course.stage, len(course.steps)
    gpu = torch.cuda.is_available()
    made = TrainingArguments(
        output_dir=str(course.checkpoints), max_steps=steps, per_device_train_batch_size=course.batch,
        gradient_accumulation_steps=1, learning_rate=stage.learning_rate, lr_scheduler_type=stage.schedule,
        warmup_steps=warm_steps(stage.warmup, steps), weight_decay=stage.weight_decay, max_grad_norm=1.0,
        optim="adamw_bnb_8bit" if stage.optimizer == "adamw_8bit" else "adamw_torch",
        logging_steps=1, logging_nan_inf_filter=False, save_strategy="steps", save_steps=stage.save_steps,
        report_to=list(course.report_to) or "none", run_name=stage.name, disable_tqdm=True, use_cpu=not gpu,
        # A loss of our own brings its own autocast: accelerate's would copy all logits to float32.
        bf16=gpu and not course.own_loss,
        ddp_backend="gloo" if course.ranks.of > 1 and not gpu else None,
        gradient_checkpointing=gpu and course.own_loss and not course.memory.keeps,
        gradient_checkpointing_kwargs=AGAIN, remove_unused_columns=False,
        dataloader_pin_memory=False, seed=course.seed_for(stage.name, "loop"),
    )  # fmt: skip
    # Of several GPUs in sight a process takes one; transformers would deal each batch out to all of them.
    made._n_gpu = min(made.n_gpu, 1)
    return made
