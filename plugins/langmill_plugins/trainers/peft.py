"""LoRA and QLoRA through transformers and peft, on a CPU or a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langmill.api import TrainJob, missing_package
from langmill_plugins.trainers.base_model import settle
from langmill_plugins.trainers.options import AdapterTrainer


class PeftTrainer(AdapterTrainer):
    """Trains an adapter with transformers and peft: float32 on a CPU, a 4-bit base (QLoRA, bitsandbytes) on a GPU."""

    def train(self, job: TrainJob) -> Path:
        """Train a stage, resuming from its last whole checkpoint if there is one; returns the adapter's folder."""
        settle()
        try:
            import peft  # noqa: F401
        except ImportError:
            raise missing_package("train.use: peft", "peft", "train") from None
        from langmill_plugins.trainers.stage import run_stage

        return run_stage(job, self, self._build, "peft")

    def _build(self, weights: Path, base: Any, goes_on: Path | None, seed: int) -> Any:
        import torch
        from peft import PeftConfig, get_peft_model

        from langmill_plugins.trainers.adapters import WEIGHTS, load_model, load_weights, lora_config

        model = load_model(weights, base.name, self.four_bit())
        model.config.use_cache = False
        config = PeftConfig.from_pretrained(str(goes_on)) if goes_on else lora_config(self.lora, base)
        config.inference_mode = False
        torch.manual_seed(seed)
        model = get_peft_model(model, config)
        if goes_on:
            load_weights(model, goes_on / WEIGHTS)
        return model
