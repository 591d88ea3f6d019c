"""What a stage has left on disk, and what must be right with it before anything of it is loaded.

    adapter/  adapter_model.safetensors  adapter_config.json  base.json  tokenizer files  merged/0, merged/1, …
    model/    config.json  generation_config.json  model*.safetensors  base.json  tokenizer files

``adapter/`` is left by a stage that trained an adapter, ``model/`` by one that trained all weights. ``base.json`` names the
base and its identity, and says how the weights were held and what shape the adapter has. ``merged/`` holds the adapters that
were merged before this one was begun, oldest first. An adapter that was trained on top of another stage's ``model/`` refers to
it by a path from its own folder: nothing large is copied, and the run's folder can be moved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from langmill.api import MissingInput, RecipeError
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.weights.adapters import CONFIG, WEIGHTS
from langmill_plugins.trainers.weights.base_model import Base, identity_of, is_whole, lacking

FACTS = "base.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a finished stage left. ``lora`` None: all weights were trained, and ``folder`` holds them. ``on``: the folder of all
    weights that an adapter stands on (None: the base's own); ``merged``: the adapters merged into them first, oldest first."""

    folder: Path
    lora: Lora | None
    four_bit: bool
    on: Path | None = None
    merged: tuple[Path, ...] = ()


def place_of(stage: Path, lora: Lora | None) -> Path:
    """Where in its folder a stage that trains ``lora`` (None: all weights) leaves its weights."""
    return stage / ("model" if lora is None else "adapter")


def read_trained(folder: Path, base: Base, asked: str = "train.base") -> Trained:
    """What lies in a stage's ``adapter/`` or ``model/``, checked as far as it goes without loading a weight; ``asked`` is who names
    the base, for errors.

    Raises MissingInput for what is not there or was cut short, RecipeError for what was trained on another base.
    """
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        identity, four_bit, on = facts["identity"], facts["held_in"] == "4bit", facts["stands_on"]
        lora = None if facts["all_weights"] else Lora.model_validate(facts["lora"])
        merged = tuple(folder / "merged" / str(number) for number in range(facts["merged"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise _not_whole(folder, f"{FACTS} is missing, or was not written by this trainer") from None
    if identity != base.identity:
        raise RecipeError(
            f"{folder} was trained on {facts['base']} ({identity[:19]}…), but {asked} is {base.name} "
            f"({base.identity[:19]}…): name the base it was trained on, or train again with --fresh"
        )
    if lora is None:
        if lost := lacking(folder):
            raise _not_whole(folder, lost)
        return Trained(folder, None, False)
    for adapter in (*merged, folder):
        for name, sound in ((CONFIG, (adapter / CONFIG).is_file()), (WEIGHTS, is_whole(adapter / WEIGHTS))):
            if not sound:
                raise _not_whole(folder, f"{(adapter / name).relative_to(folder)} is missing or cut short")
    return Trained(folder, lora, four_bit, _stood_on(folder, on) if on else None, merged)


def _stood_on(folder: Path, said: Mapping[str, str]) -> Path:
    """The folder of all weights that an adapter refers to, which must still be what it was."""
    there = Path(os.path.normpath(folder / said["folder"]))
    if Path(said["folder"]).is_absolute() or not there.is_dir():
        raise MissingInput(
            f"{folder} stands on the weights of another stage ({said['folder']}), which are not there: copy the run's "
            "folder as a whole"
        )
    if lost := lacking(there):
        raise _not_whole(there, lost)
    if identity_of(there) != said["identity"]:
        raise _not_whole(folder, f"the weights it stands on, {there}, were trained anew since")
    return there


def _not_whole(folder: Path, why: str) -> MissingInput:
    return MissingInput(
        f"{folder} is no whole stage: {why}. Train it again: delete {folder.parent}, then factory run RUN --only train"
    )
