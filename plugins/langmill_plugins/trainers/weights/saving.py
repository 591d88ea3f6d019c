"""Writes what a stage trained; :mod:`langmill_plugins.trainers.weights.trained` says what lies where."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.weights.adapters import CONFIG, WEIGHTS, save_config, save_weights
from langmill_plugins.trainers.weights.base_model import identity_of
from langmill_plugins.trainers.weights.standing import Standing
from langmill_plugins.trainers.weights.trained import FACTS


def save_trained(model: Any, tokenizer: Any, folder: Path, standing: Standing, lora: Lora | None) -> None:
    """Write what a stage trained into an empty folder, which lies beside the place it will have (``place_of``).

    ``model`` is a PeftModel, or with ``lora`` None the model itself; its weights are written in the precision they are held
    in. Of what an adapter stands on, merged adapters are copied and full weights are referred to. No path of this machine is
    written.
    """
    base, on = standing.base, standing.on
    tokenizer.save_pretrained(folder)
    facts: dict[str, Any] = {
        "base": base.name,
        "identity": base.identity,
        "all_weights": lora is None,
        "held_in": "4bit" if is_four_bit(model) else str(model.dtype).removeprefix("torch."),
        "lora": lora and lora.model_dump(mode="json"),
        "merged": 0,
        "stands_on": None,
    }
    if lora is None:
        model.name_or_path = base.name
        model.config.use_cache = True  # off while it was trained; whoever asks the model wants it
        model.save_pretrained(folder)
    else:
        save_weights(model, folder / WEIGHTS)
        save_config(model, folder, base)
        for number, adapter in enumerate(standing.merged):
            place = folder / "merged" / str(number)
            place.mkdir(parents=True)
            for name in (WEIGHTS, CONFIG):
                shutil.copyfile(adapter / name, place / name)
        facts["merged"] = len(standing.merged)
        if on:
            facts["stands_on"] = {"folder": os.path.relpath(on, folder), "identity": identity_of(on)}
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def is_four_bit(model: Any) -> bool:
    """Whether a model's frozen weights are held in four bits."""
    return any(type(part).__name__ == "Linear4bit" for part in model.modules())
