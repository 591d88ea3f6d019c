"""The training loop that every way to train shares: same rows, same tokens, same order, same loss, same checkpoints.

It is transformers' plain Trainer and not TRL's SFTTrainer: rows come here as finished ids and labels, so that nothing is
left for the latter to prepare, while it would round a quantised model's adapter to bfloat16 (which no resumed run can
undo) and is itself replaced by another class once unsloth is imported. With the plain one, peft and unsloth get the same
batches byte for byte.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langmill.api import FactoryError, Stage
from langmill_plugins.trainers import checkpoints
from langmill_plugins.trainers.adapters import WEIGHTS, load_weights, save_weights
from langmill_plugins.trainers.log import TrainLog
from langmill_plugins.trainers.tokens import NO_LOSS, Example


@dataclass(frozen=True)
class Course:
    """What is fixed before the first step: examples, the batches of the whole stage in order, and where to keep what."""

    stage: Stage
    examples: Sequence[Example]
    batches: Sequence[Sequence[int]]
    pad: int
    fingerprint: str
    checkpoints: Path
    log: TrainLog
    seed_for: Callable[..., int]
    #: False: the model computes its own loss (unsloth has a fused one); True: only answers reach the last layer
    own_loss: bool = True

    @property
    def steps(self) -> int:
        """Optimiser steps in the whole stage."""
        return math.ceil(len(self.batches) / self.stage.accumulate)

    def tokens_at(self, step: int) -> int:
        """Tokens (padding not counted) that the step, counted from 1, learns from."""
        width = self.stage.accumulate
        rows = (row for batch in self.batches[(step - 1) * width : step * width] for row in batch)
        return sum(len(self.examples[row].ids) for row in rows)


def collate(examples: Sequence[Example], pad: int) -> dict[str, Any]:
    """A batch as tensors [rows, longest row]: padded on the right; padding gets no attention and no loss."""
    import torch

    longest = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), longest), pad)
    labels = torch.full((len(examples), longest), NO_LOSS)
    seen = torch.zeros((len(examples), longest), dtype=torch.long)
    for row, example in enumerate(examples):
        size = len(example.ids)
        ids[row, :size] = torch.frombuffer(example.ids, dtype=torch.int32)
        labels[row, :size] = torch.frombuffer(example.labels, dtype=torch.int32)
        seen[row, :size] = 1
    return {"input_ids": ids, "attention_mask": seen, "labels": labels}


def answer_loss(model: Any, inputs: dict[str, Any], narrow: bool) -> Any:
    """Summed negative log-probability (nats) of the tokens that carry loss.

    With ``narrow`` only the places where some row of the batch carries loss reach the last layer, which for a small model
    with a large vocabulary is the larger part of the work, and for a large one of the memory.
    """
    import torch

    target = inputs["labels"][:, 1:]
    places = (target != NO_LOSS).any(0).nonzero().squeeze(1)
    asked = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "use_cache": False}
    if narrow:
        logits = model(**asked, logits_to_keep=places).logits
    else:
        logits = model(**asked).logits[:, places]
    target = target[:, places]
    counts = target != NO_LOSS
    return torch.nn.functional.cross_entropy(logits[counts].float(), target[counts], reduction="sum")


def dev_loss(loop: Any, examples: Sequence[Example], batch: int, pad: int) -> float | None:
    """Mean loss of a token that carries loss, over all examples; None when there are none."""
    import torch

    if not examples:
        return None
    total, count = 0.0, 0
    model = loop.model
    model.eval()
    ranked = sorted(examples, key=lambda example: len(example.ids))
    gpu = torch.cuda.is_available()
    with torch.no_grad(), torch.autocast("cuda" if gpu else "cpu", dtype=torch.bfloat16, enabled=gpu):
        for start in range(0, len(ranked), batch):
            inputs = {key: value.to(model.device) for key, value in collate(ranked[start : start + batch], pad).items()}
            some = int((inputs["labels"] != NO_LOSS).sum())
            total += loop.summed_loss(model, inputs, some)
            count += some
    model.train()
    return total / count


def make_loop(model: Any, course: Course) -> Any:
    """transformers' Trainer over a course, with checkpoints of our own. The class is made here since its base is heavy."""
    import inspect

    import torch
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    stage = course.stage
    gpu = torch.cuda.is_available()
    narrow = "logits_to_keep" in inspect.signature(model.get_base_model().forward).parameters

    class Batches:
        """The batches as accelerate wants them; with several processes it deals them out."""

        batch_size, drop_last = stage.batch, False

        def __len__(self) -> int:
            return len(course.batches)

        def __iter__(self) -> Any:
            return iter(course.batches)

    class Loop(Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            from torch.utils.data import DataLoader

            loader = DataLoader(
                course.examples, batch_sampler=Batches(), collate_fn=lambda rows: collate(rows, course.pad)
            )
            return self.accelerator.prepare(loader)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            if not course.own_loss:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            # The mean over all tokens of the step that carry loss, not the mean of its batches' means; processes average
            # their gradients, so each must weigh its part with their number.
            loss = answer_loss(model, inputs, narrow) / num_items_in_batch * self.accelerator.num_processes
            return (loss, None) if return_outputs else loss

        def summed_loss(self, model: Any, inputs: Any, count: int) -> float:
            if course.own_loss:
                return float(answer_loss(model, inputs, narrow))
            return float(model(**inputs).loss) * count

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            if not self.args.should_save:
                return

            def fill(folder: Path) -> None:
                save_weights(self.model, folder / WEIGHTS)
                checkpoints.save_optimiser(self.optimizer, self.lr_scheduler, folder)
                self.state.save_to_json(str(folder / "trainer_state.json"))

            checkpoints.write(course.checkpoints, self.state.global_step, course.fingerprint, fill)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            load_weights(self.model, Path(resume_from_checkpoint) / WEIGHTS)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is not None:
                checkpoints.load_optimiser(self.optimizer, self.lr_scheduler, Path(checkpoint))

        def _load_rng_state(self, checkpoint: str | None) -> None:
            """Nothing to load: chance is seeded anew at each step, from its number."""

        def _load_scaler(self, checkpoint: str | None) -> None:
            """Nothing to load: bfloat16 needs no scaling of gradients."""

    class Watch(TrainerCallback):  # type: ignore[misc]
        began = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.began = time.monotonic()
            # Dropout then depends on the step alone, and a resumed step is the step it would have been.
            torch.manual_seed(course.seed_for(stage.name, "step", state.global_step, os.environ.get("RANK", "0")))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if "loss" not in logs:
                return
            loss = float(logs["loss"])
            if not math.isfinite(loss):
                raise FactoryError(
                    f"stage '{stage.name}': the loss at step {state.global_step} is {loss}; lower its learning_rate "
                    f"({stage.learning_rate}), then run again: it continues from its last checkpoint"
                )
            if state.is_world_process_zero:
                tokens, seconds = course.tokens_at(state.global_step), time.monotonic() - self.began
                course.log.step(state.global_step, course.steps, loss, float(logs["learning_rate"]), tokens, seconds)

    arguments = TrainingArguments(
        output_dir=str(course.checkpoints), max_steps=course.steps, per_device_train_batch_size=stage.batch,
        gradient_accumulation_steps=stage.accumulate, learning_rate=stage.learning_rate,
        lr_scheduler_type=stage.schedule, warmup_steps=math.ceil(stage.warmup * course.steps), weight_decay=0.0,
        max_grad_norm=1.0, optim="adamw_torch", logging_steps=1, logging_nan_inf_filter=False, save_strategy="steps",
        save_steps=stage.save_steps, report_to="none", disable_tqdm=True, use_cpu=not gpu, bf16=gpu,
        gradient_checkpointing=gpu and course.own_loss, gradient_checkpointing_kwargs={"use_reentrant": False},
        remove_unused_columns=False, dataloader_pin_memory=gpu, seed=course.seed_for(stage.name, "loop"),
    )  # fmt: skip
    loop = Loop(model=model, args=arguments, train_dataset=course.examples, callbacks=[Watch()])
    loop.model_accepts_loss_kwargs = True  # so that it counts the tokens of a whole step for compute_loss
    loop.remove_callback(PrinterCallback)
    return loop
