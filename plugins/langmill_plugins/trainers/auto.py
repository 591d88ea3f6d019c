"""Picks the way to train that this machine has."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from langmill.api import TrainJob, missing_package
from langmill_plugins.trainers.local import LocalTrainer
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.unsloth import UnslothTrainer
from langmill_plugins.trainers.weights.base_model import settle


class AutoTrainer(LocalTrainer):
    """Trains with unsloth where a GPU and unsloth are, else with peft, and says which and why. Same options, same tokens."""

    def train(self, job: TrainJob) -> Path:
        """Train a stage the way this machine has; returns the folder of what was trained."""
        settle()
        way, why = pick()
        if "RANK" not in os.environ:  # or the process that started the ranks has said it
            job.report({"event": "note", "text": f"train.use: auto takes {way}: {why}"})
        kind = UnslothTrainer if way == "unsloth" else PeftTrainer
        return kind(**self.model_dump()).train(job)


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
