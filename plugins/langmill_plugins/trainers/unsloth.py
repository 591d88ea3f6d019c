"""LoRA and QLoRA through unsloth's kernels, on a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, TrainJob, missing_package
from langmill_plugins.trainers.base_model import settle
from langmill_plugins.trainers.options import AdapterTrainer

#: What unsloth's kernels cover; they are what 'all-linear' comes to in the models it knows.
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class UnslothTrainer(AdapterTrainer):
    """Trains an adapter with unsloth: the same tokens, batches and options as peft, faster and in less memory. Needs a GPU."""

    def train(self, job: TrainJob) -> Path:
        """Train a stage, resuming from its last whole checkpoint if there is one; returns the adapter's folder."""
        settle()
        import torch

        if not torch.cuda.is_available():
            raise MissingInput("train.use: unsloth needs a GPU, and there is none: use: auto, or use: peft")
        os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
        # It compiles into the working directory unless told otherwise.
        os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(job.folder / "unsloth_compiled_cache"))
        try:
            import unsloth  # noqa: F401  first of all: it replaces parts of transformers and peft
        except ImportError:
            raise missing_package("train.use: unsloth", "unsloth", "unsloth") from None
        from langmill_plugins.trainers.stage import run_stage

        return run_stage(job, self, self._build, "unsloth", own_loss=False)

    def _build(self, weights: Path, base: Any, goes_on: Path | None, seed: int) -> Any:
        from peft import PeftConfig
        from unsloth import FastLanguageModel

        from langmill_plugins.trainers.adapters import WEIGHTS, load_weights

        # The tokenizer it returns is not used: rows are tokens already, the same ones that peft would get.
        model, _ = FastLanguageModel.from_pretrained(
            model_name=str(weights),
            max_seq_length=self.max_tokens,
            dtype=None,
            load_in_4bit=self.four_bit(),
            use_gradient_checkpointing="unsloth",
            use_exact_model_name=True,  # or it takes a pre-quantised copy from the hub
            trust_remote_code=False,
            local_files_only=True,
            random_state=seed,
        )
        shape = PeftConfig.from_pretrained(str(goes_on)) if goes_on else None
        layers = LINEAR if self.lora.layers == "all-linear" else self.lora.layers
        model = FastLanguageModel.get_peft_model(
            model,
            r=shape.r if shape else self.lora.rank,
            lora_alpha=shape.lora_alpha if shape else self.lora.alpha,
            lora_dropout=shape.lora_dropout if shape else self.lora.dropout,
            target_modules=sorted(shape.target_modules) if shape else list(layers),
            bias="none",
            use_gradient_checkpointing="unsloth",
            random_state=seed,
        )
        if goes_on:
            load_weights(model, goes_on / WEIGHTS)
        return model
