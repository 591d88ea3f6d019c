"""LoRA and QLoRA through unsloth's kernels, on a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langmill.api import Context, MissingInput, Stage, TrainJob, missing_package
from langmill_plugins.trainers.local import LocalTrainer, never_sees_a_gpu
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.weights.base_model import settle

#: What unsloth's kernels cover; they are what 'all-linear' comes to in the models it knows.
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class UnslothTrainer(LocalTrainer):
    """Trains an adapter, or all weights, with unsloth: same tokens, batches and options as peft, faster and in less memory. Needs
    a GPU."""

    def train(self, job: TrainJob) -> Path:
        """Train a stage, resuming from its last whole checkpoint if there is one; returns the folder of what was trained."""
        settle()
        import torch

        if not torch.cuda.is_available():
            raise MissingInput("train.use: unsloth needs a GPU, and there is none: use: auto, or use: peft")
        from langmill_plugins.trainers.loop.launching import launch, launches

        if launches(self):  # and does nothing else: unsloth would take room on a GPU that a rank needs
            return launch(job, self)
        os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
        # It leaves what it compiles in the working directory unless told otherwise.
        with TemporaryDirectory(prefix="langmill-unsloth-", ignore_cleanup_errors=True) as compiled:
            os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", compiled)
            try:
                import unsloth  # noqa: F401  first of all: it replaces parts of transformers and peft
            except ImportError:
                raise missing_package("train.use: unsloth", "unsloth", "unsloth") from None
            from langmill_plugins.trainers.loop.stage import run_stage

            return run_stage(job, self, self._build, "unsloth", own_loss=False)

    def missing(self, stages: Sequence[Stage], context: Context) -> Iterator[str]:
        """What any way to train may lack, and the GPU and the package that this one needs."""
        yield from super().missing(stages, context)
        if never_sees_a_gpu():
            yield "train.use: unsloth needs a GPU, and torch is built for CPUs: use: auto, or use: peft"
        elif find_spec("unsloth") is None:
            yield str(missing_package("train.use: unsloth", "unsloth", "unsloth"))

    def _build(
        self, stage: AdapterStage, weights: Path, base: Any, goes_on: Path | None, seed: int, keeps: bool = False
    ) -> Any:
        from peft import PeftConfig
        from unsloth import FastLanguageModel

        from langmill_plugins.trainers.weights.adapters import WEIGHTS, load_weights

        lora = self.lora_of(stage)
        again: bool | str = False if keeps else "unsloth"
        # The tokenizer it returns is not used: rows are tokens already, the same ones that peft would get.
        model, _ = FastLanguageModel.from_pretrained(
            model_name=str(weights),
            max_seq_length=self.max_tokens,
            dtype=None,
            load_in_4bit=self.four_bit(stage),
            full_finetuning=lora is None,
            float32_mixed_precision=lora is None or None,  # all weights: float32, or small steps are rounded away
            use_gradient_checkpointing=again,
            use_exact_model_name=True,  # or it takes a pre-quantised copy from the hub
            trust_remote_code=False,
            local_files_only=True,
            random_state=seed,
        )
        if lora is None:
            return model
        layers = list(LINEAR if lora.layers == "all-linear" else lora.layers)
        if goes_on:  # which names its layers one by one
            layers = sorted(PeftConfig.from_pretrained(str(goes_on)).target_modules)
        model = FastLanguageModel.get_peft_model(
            model,
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=layers,
            bias="none",
            use_gradient_checkpointing=again,
            random_state=seed,
        )
        if goes_on:
            load_weights(model, goes_on / WEIGHTS)
        return model
