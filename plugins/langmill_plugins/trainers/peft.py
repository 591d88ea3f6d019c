"""LoRA and QLoRA through transformers and peft, on a CPU or a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langmill.api import TrainJob, missing_package
from langmill_plugins.trainers.local import LocalTrainer
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.weights.base_model import settle


class PeftTrainer(LocalTrainer):
    """Trains an adapter, or all weights, with transformers and peft: float32 on a CPU, bfloat16 on a GPU, where an adapter's base
    is held in 4 bits (QLoRA, bitsandbytes)."""

    def train(self, job: TrainJob) -> Path:
        """Train a stage, resuming from its last whole checkpoint if there is one; returns the folder of what was trained."""
        settle()
        try:
            import peft  # noqa: F401
        except ImportError:
            raise missing_package("train.use: peft", "peft", "train") from None
        from langmill_plugins.trainers.loop.stage import run_stage

        return run_stage(job, self, self._build, "peft")

    def _build(
        self, stage: AdapterStage, weights: Path, base: Any, goes_on: Path | None, seed: int, keeps: bool = False
    ) -> Any:
        import torch
        from peft import get_peft_model

        from langmill_plugins.trainers.weights.adapters import WEIGHTS, load_model, load_weights, lora_config

        lora = self.lora_of(stage)
        model = load_model(weights, base.name, self.four_bit(stage), all_weights=lora is None)
        model.config.use_cache = False
        if lora is None:
            return model.requires_grad_(True)
        torch.manual_seed(seed)
        model = get_peft_model(model, lora_config(lora, base, goes_on))
        if goes_on:
            load_weights(model, goes_on / WEIGHTS)
        return model
