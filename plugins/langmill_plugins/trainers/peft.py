"""LoRA and QLoRA through transformers and peft, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langmill.api import LLM, Context, RowAhead, Stage, StageForecast, TrainJob, missing_package
from langmill_plugins.trainers.exporting.exports import KINDS, write_export
from langmill_plugins.trainers.forecast.stage import forecast
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer
from langmill_plugins.trainers.weights.base_model import settle
from langmill_plugins.trainers.weights.local_weights import open_weights


class PeftTrainer(AdapterTrainer):
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

    def forecast(self, stage: Stage, rows: Sequence[RowAhead], context: Context) -> StageForecast:
        """What a stage would take, told from headers and rows alone."""
        return forecast(self, stage, rows, context)

    def open(self, adapter: Path | None, context: Context) -> LLM:
        """The base (None) or a trained stage, held as it was trained, as a model that can be asked and scored."""
        return open_weights(self, adapter, context)

    def exports(self) -> Mapping[str, str]:
        """What a trained stage can leave the run's folder as."""
        return KINDS

    def export(self, kind: str, trained: Path, folder: Path, context: Context) -> str:
        """Write a trained stage as one of :meth:`exports`; returns how to use it."""
        return write_export(self, kind, trained, folder, context)

    def _build(self, stage: AdapterStage, weights: Path, base: Any, goes_on: Path | None, seed: int) -> Any:
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
