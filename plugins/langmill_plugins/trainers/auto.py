"""Picks the way to train that this machine has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from langmill.api import LLM, Context, RowAhead, Stage, StageForecast, TrainJob, missing_package
from langmill_plugins.trainers.exporting.exports import KINDS, write_export
from langmill_plugins.trainers.forecast.stage import forecast
from langmill_plugins.trainers.options import AdapterTrainer
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.unsloth import UnslothTrainer
from langmill_plugins.trainers.weights.base_model import settle
from langmill_plugins.trainers.weights.local_weights import open_weights


class AutoTrainer(AdapterTrainer):
    """Trains with unsloth where a GPU and unsloth are, else with peft, and says which and why. Same options, same tokens."""

    def train(self, job: TrainJob) -> Path:
        """Train a stage the way this machine has; returns the folder of what was trained."""
        settle()
        way, why = pick()
        if "RANK" not in os.environ:  # or the process that started the ranks has said it
            job.report({"event": "note", "text": f"train.use: auto takes {way}: {why}"})
        kind = UnslothTrainer if way == "unsloth" else PeftTrainer
        return kind(**self.model_dump()).train(job)

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


def pick() -> tuple[str, str]:
    """The way to train, and the reason."""
    try:
        import torch
    except ImportError:
        raise missing_package("training", "torch", "train") from None
    if not torch.cuda.is_available():
        return "peft", "there is no GPU"
    if find_spec("unsloth") is None:
        return "peft", "there is a GPU, but unsloth is not installed (pip install 'langmill[unsloth]')"
    return "unsloth", f"there is a GPU ({torch.cuda.get_device_name()}) and unsloth is installed"
