"""What a stage begins with: the base, what earlier stages made of it, and the adapter that goes on, if one does.

this stage trains    handover   it begins with
an adapter           continue   what the start stage began with, and the start stage's adapter, which goes on
an adapter           merge      all that the start stage ended with, and a new adapter
an adapter           new        the base, and a new adapter
all weights          continue   all that the start stage ended with
all weights          merge      the same
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langmill.api import FactoryError, RecipeError, TrainJob, whole_folder
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.weights.adapters import WEIGHTS, with_saved_adapter
from langmill_plugins.trainers.weights.base_model import Base, identity_of, lacking
from langmill_plugins.trainers.weights.trained import Trained, read_trained

PAUSE = 0.2  # seconds between two looks for what another process writes


@dataclass(frozen=True, slots=True)
class Standing:
    """``on``: the folder of another stage's full weights (None: the base's own); ``merged``: the adapters merged into them first,
    oldest first; ``goes_on``: the adapter that is trained further (None: a new one, or all weights)."""

    base: Base
    on: Path | None = None
    merged: tuple[Path, ...] = ()
    goes_on: Path | None = None

    def digest(self) -> str:
        """A hash of everything that decides the weights it comes to."""
        found = hashlib.sha256(self.base.identity.encode())
        if self.on:
            found.update(identity_of(self.on).encode())
        for adapter in self.merged:
            found.update(b"merged" + hashlib.sha256((adapter / WEIGHTS).read_bytes()).digest())
        if self.goes_on:
            found.update(b"goes on" + hashlib.sha256((self.goes_on / WEIGHTS).read_bytes()).digest())
        return found.hexdigest()


def standing_of(job: TrainJob, lora: Lora | None, base: Base) -> Standing:
    """What a stage that trains ``lora`` (None: all weights) begins with; reads no weights.

    Raises MissingInput for a start that is not whole, RecipeError for one of another base and for a hand-over that can not be.
    """
    if job.start is None:
        return Standing(base)
    start = read_trained(job.start, base)
    name, before, handover = job.stage.name, job.stage.start, job.stage.handover
    if handover == "new":
        if lora is None:
            raise RecipeError(
                f"stage '{name}' trains all weights, and handover: new would have it forget stage '{before}': "
                "say start: base, or handover: continue"
            )
        return Standing(base)
    if handover == "merge" or lora is None:
        return ended_with(start, base)
    if start.lora is None:
        raise RecipeError(
            f"stage '{name}': stage '{before}' trained all weights, so there is no adapter to go on with: handover: merge"
        )
    for option in ("rank", "alpha", "layers"):
        mine, theirs = getattr(lora, option), getattr(start.lora, option)
        if mine != theirs:
            raise RecipeError(
                f"stage '{name}' asks for an adapter with {option}: {mine}, but goes on with that of stage '{before}', which "
                f"has {option}: {theirs}: give both the same lora:, or say handover: merge"
            )
    return Standing(base, start.on, start.merged, start.folder)


def ended_with(trained: Trained, base: Base) -> Standing:
    """All that a stage ended with, as what another stands on."""
    if trained.lora is None:
        return Standing(base, trained.folder)
    return Standing(base, trained.on, (*trained.merged, trained.folder))


@contextmanager
def standing_weights(standing: Standing, beside: Path, rank: int | None = None) -> Iterator[Path]:
    """The folder of the weights that come before ``goes_on``: the base's own, another stage's, or, where adapters are merged, one
    for a while in ``beside`` (the stage's folder: it holds a whole model, and a run sweeps away what a killed one left).

    ``rank``: this process's number among several that all do this at the same time (None: it is alone). The first one merges,
    the others wait for the folder, and who started them deletes it (``forget_merged``): none of them knows when all have read it.
    Merging is done and kept in float32: sixteen bits round the adapter's small numbers away.
    """
    folder = standing.on or standing.base.folder
    if not standing.merged:
        yield folder
        return
    work = beside / f".merged.{os.getpid() if rank is None else standing.digest()[:16]}.tmp"
    try:
        if rank:
            while lacking(work):  # it appears whole; where the first process fails, the launcher ends this one
                time.sleep(PAUSE)
        elif lacking(work):  # whole where the same processes are started again, with smaller batches
            _write_merged(standing, folder, work)
        yield work
    finally:
        if rank is None:
            shutil.rmtree(work, ignore_errors=True)


def forget_merged(beside: Path) -> None:
    """Delete the weights that several processes began with."""
    for work in beside.glob(".merged.*.tmp"):
        shutil.rmtree(work, ignore_errors=True)


def _write_merged(standing: Standing, folder: Path, work: Path) -> None:
    model = merged_model(standing)
    try:
        with whole_folder(work) as fresh:
            model.save_pretrained(fresh)
            for path in folder.glob("token*"):  # tokenizer.json, tokenizer_config.json, tokenizer.model
                shutil.copyfile(path, fresh / path.name)
    except FactoryError as fault:
        raise FactoryError(
            f"{fault}. The merged weights that the stage begins with take four bytes a parameter for a while"
        ) from fault


def merged_model(standing: Standing) -> Any:
    """The weights before ``goes_on`` as a model in float32, on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        standing.on or standing.base.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False,
    )  # fmt: skip
    model.name_or_path = standing.base.name
    for adapter in standing.merged:
        model = with_saved_adapter(model, adapter).merge_and_unload()
    return model
