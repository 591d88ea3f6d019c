"""Options that the ways to train share, and how what they trained is opened again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from langmill.api import LLM, Context, Field, Part, Trainer


class Lora(Part):
    """The adapter that is trained: low-rank matrices beside the linear layers of a frozen model."""

    rank: int = Field(16, ge=1, description="rank of the adapter's matrices")
    alpha: float = Field(32, gt=0, description="scale: the adapter's part is multiplied by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inputs that are dropped in training")
    layers: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="'all-linear', or the names of the linear layers, e.g. [q_proj, v_proj]"
    )


class AdapterTrainer(Trainer):
    """What the ways to train an adapter have in common."""

    quantize: Literal["auto", "none", "4bit"] = Field(
        "auto", description="how the frozen base is held: 4bit (NF4), none, or auto: 4bit on a GPU, none on a CPU"
    )
    lora: Lora = Field(default_factory=Lora, description="the adapter")

    def four_bit(self) -> bool:
        """Whether the base is held in four bits on this machine."""
        if self.quantize != "auto":
            return self.quantize == "4bit"
        import torch

        return bool(torch.cuda.is_available())

    def open(self, adapter: Path | None, context: Context) -> LLM:
        """The base (None) or a trained adapter, held as it was trained, as a model that can be asked and scored."""
        from langmill_plugins.trainers.local_weights import open_weights

        return open_weights(self, adapter, context)
