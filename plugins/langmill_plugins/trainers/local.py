"""What the ways to train on this machine have in common besides their options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langmill.api import (
    LLM,
    Context,
    FactoryError,
    MissingInput,
    RowAhead,
    Stage,
    StageForecast,
    missing_package,
    packaged_model,
)
from langmill_plugins.trainers.exporting.exports import KINDS, write_export
from langmill_plugins.trainers.forecast.shape import gguf_header
from langmill_plugins.trainers.forecast.stage import forecast
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer
from langmill_plugins.trainers.weights.base_model import find_base, speech_of
from langmill_plugins.trainers.weights.local_weights import open_weights


class LocalTrainer(AdapterTrainer):
    """Trains here, and opens and exports what it has trained."""

    def deciding(self, stage: Stage | None, context: Context) -> Mapping[str, Any]:
        """What decides a stage's weights (None: what the opened base answers, its tokenizer and chat template with it), the identity of
        the base with it: another model in the same folder is another base."""
        base = identity(self.base, context)
        if stage is None:
            facts = self.model_dump(mode="json", include={"chat_template", "quantize", "max_tokens"})
            if not self.base.startswith("local/"):  # a packaged one is known by its hash alone
                facts["speech"] = speech_of(find_base(self.base, context).folder)
            return {"base": base, **facts}
        assert isinstance(stage, AdapterStage)
        return {"base": base, "seed": context.seed, **self.decides(stage)}

    def missing(self, stages: Sequence[Stage], context: Context) -> Iterator[str]:
        """A base that is not there or not whole, rows longer than it reads, packages, and a GPU where torch can not have one."""
        for package in ("torch", "transformers", "peft"):
            if find_spec(package) is None:
                yield str(missing_package("training", package, "train"))
                break
        try:
            longest = reads_at_most(self.base, context)
        except FactoryError as fault:
            yield str(fault)
        else:
            if too_long := self.beyond(longest):
                yield too_long
        for stage in stages:
            if isinstance(stage, AdapterStage) and stage.optimizer == "adamw_8bit" and never_sees_a_gpu():
                yield f"stage '{stage.name}': optimizer: adamw_8bit needs a GPU, and torch is built for CPUs: leave it out"

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


def identity(name: str, context: Context) -> str:
    """The identity that ``find_base`` would tell, with no packaged model fetched or converted for it. Raises as that does."""
    if name.startswith("local/"):
        return f"sha256:{packaged_model(name.removeprefix('local/')).sha256}"
    return find_base(name, context).identity


def reads_at_most(name: str, context: Context) -> object:
    """``max_position_embeddings`` as a base's files have it; None where they do not tell, or it is packaged and will be fetched.

    Raises MissingInput or RecipeError for a base that can not be trained from.
    """
    if not name.startswith("local/"):
        return _said(find_base(name, context).folder / "config.json")
    packaged = packaged_model(name.removeprefix("local/"), offline=True)
    try:
        file = packaged.path
    except MissingInput:
        if context.offline:
            raise
        return None
    converted = file.parent / "hf" / "config.json"
    if converted.is_file():
        return _said(converted)
    facts, _ = gguf_header(file)
    return facts.get(f"{facts['general.architecture']}.context_length")


def _said(file: Path) -> object:
    try:
        config = json.loads(file.read_text("utf-8"))
        return {**config, **config.get("text_config", {})}.get("max_position_embeddings")
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # a configuration that can not be read is told by what loads it


def never_sees_a_gpu() -> bool:
    """Whether the torch that is installed was built without GPUs, which is known without importing it."""
    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False
