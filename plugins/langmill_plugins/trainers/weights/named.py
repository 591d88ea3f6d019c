"""A model of the recipe that is a folder on this machine, with or without an adapter: hf/…"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import PrivateAttr

from langmill.api import Context, FactoryError, Field, MissingInput, RecipeError, missing_package, packaged_model
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.weights.adapters import CONFIG, WEIGHTS
from langmill_plugins.trainers.weights.base_model import MARK, Base, find_base, is_whole, quiet, speech_of
from langmill_plugins.trainers.weights.local_weights import LocalWeights, Where
from langmill_plugins.trainers.weights.standing import ended_with
from langmill_plugins.trainers.weights.trained import FACTS, Trained, read_trained


class HuggingFace(LocalWeights):
    """Asks a model in a folder of safetensors (hf/models/tiny, beside the recipe or with its whole path), one of the model hub that
    was downloaded before (hf/OWNER/NAME[@REVISION]), or a packaged one (hf/local/NAME): in this machine's memory, for
    evaluation above all. It gives log-probabilities. With adapter: what a stage has left stands on it."""

    model: str = Field(pattern=r"^hf/.+", description="hf/FOLDER, hf/OWNER/NAME[@REVISION] or hf/local/NAME")
    adapter: str | None = Field(
        None,
        description="what was trained on it: a stage's folder of a run, its export as an adapter, or another of peft",
    )
    quantize: Literal["4bit", "none"] | None = Field(
        None, description="held in four bits (NF4) or not; when left out not, or with an adapter as that was trained"
    )
    chat_template: Literal["auto", "own", "plain"] = Field(
        "auto", description="own: the model's; plain: turns as 'User:' and 'Assistant:'; auto: plain where it has none"
    )
    _where: Where | None = PrivateAttr(None)  # type: ignore[assignment]  # known once it is started

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages that it is known to write."""
        if self._where is not None:
            return self._where.base.languages
        return packaged_model(self._name[6:]).languages if self._name.startswith("local/") else None

    @property
    def demonstration(self) -> bool:
        """Whether it is known to show the way only."""
        if self._where is not None:
            return self._where.base.demonstration
        return self._name.startswith("local/") and packaged_model(self._name[6:]).demonstration

    @property
    def _name(self) -> str:
        return self.model.removeprefix("hf/")

    def identity(self) -> dict[str, object]:
        """Of a whole path the last part counts: the machine's folders are nobody's business."""
        said = {**super().identity(), "model": f"hf/{_told(self._name)}"}
        if self.adapter:
            said["adapter"] = _told(self.adapter)
        return {**said, "quantize": self.quantize, "chat_template": self.chat_template}

    def deciding(self, context: Context) -> Mapping[str, Any]:
        """The folder and the adapter count by their content, tokenizer and chat template with it."""
        where = self._found(context)
        stage, base = where.stage, where.base
        facts = {**self.identity(), "weights": base.identity, "four_bit": where.four_bit}
        folders = [] if self._name.startswith("local/") else [base.folder]  # a packaged one is known by its hash alone
        if stage:
            facts["weights"] = ended_with(stage, base).digest()
            folders += [folder for folder in (stage.on, stage.folder) if folder]
            if stage.lora:  # says the scale at which an adapter counts
                configs = [(adapter / CONFIG).read_bytes() for adapter in (*stage.merged, stage.folder)]
                facts["adapter_config"] = hashlib.sha256(b"\0".join(configs)).hexdigest()
        return {**facts, "speech": speech_of(*folders)}

    def missing(self, context: Context) -> Iterator[str]:
        """Packages, the folder, the adapter; a packaged model is fetched when it is asked."""
        for package in ("torch", "transformers", *(("peft",) if self.adapter else ())):
            if find_spec(package) is None:
                yield str(missing_package(self.model, package, "train"))
                return
        if self._name.startswith("local/") and not context.offline:
            return
        try:
            base = find_base(self._name, context, asked=self.model)
            if self.adapter is not None:
                adapter_of(context.path(self.adapter), base, self.model)
        except FactoryError as fault:
            yield str(fault)

    async def start(self, context: Context) -> None:
        """Find it; nothing is loaded yet. Raises MissingInput or RecipeError where it, or the adapter, is not whole or not of it."""
        self._where = self._found(context)

    def _found(self, context: Context) -> Where:
        quiet()
        base = find_base(self._name, context, asked=self.model)
        stage = None if self.adapter is None else adapter_of(context.path(self.adapter), base, self.model)
        four_bit = bool(stage and stage.four_bit) if self.quantize is None else self.quantize == "4bit"
        return Where(base, stage, four_bit, self.chat_template)


def adapter_of(folder: Path, base: Base, asked: str) -> Trained:
    """What was trained on a base and lies in a stage's folder, in the ``adapter`` or ``model`` inside of it, or in one that peft
    writes. Raises MissingInput for one that is not whole, RecipeError for one of another base."""
    for inside in (folder, folder / "adapter", folder / "model"):
        if (inside / FACTS).is_file():
            return read_trained(inside, base, asked)
    if not (folder / CONFIG).is_file() or not is_whole(folder / WEIGHTS):
        raise MissingInput(
            f"{folder} holds no whole adapter ({CONFIG} and {WEIGHTS}): name a stage's folder (runs/RUN/train/STAGE), or a folder "
            "that factory export --as adapter or peft wrote"
        )
    try:
        facts = json.loads((folder / CONFIG).read_text("utf-8"))
        kind, said = facts["peft_type"], str(facts["base_model_name_or_path"])
        lora = Lora(rank=facts["r"], alpha=facts["lora_alpha"]) if kind == "LORA" else None
    except (OSError, ValueError, KeyError, TypeError):
        raise MissingInput(f"{folder / CONFIG} can not be read: write the adapter again") from None
    if lora is None:
        raise RecipeError(f"{folder} is an adapter of the kind {kind}, and LORA alone is read")
    of, identity = _made_of(folder)
    if identity != base.identity if identity else _last(said) != _last(base.name):
        raise RecipeError(
            f"{folder} was trained on {of or said}, but {asked} is {base.name}: name the base that it was trained on"
        )
    return Trained(folder, lora, False)


def _made_of(folder: Path) -> tuple[str, str]:
    """The base's name and identity as our export has noted them; empty where another program wrote the adapter."""
    try:
        facts = json.loads((folder / MARK).read_text("utf-8"))
        return str(facts["base"]), str(facts["identity"])
    except FileNotFoundError:
        return "", ""
    except (OSError, ValueError, KeyError, TypeError):
        raise MissingInput(f"{folder / MARK} can not be read: export the adapter again") from None


def _last(name: str) -> str:
    """A model's name without owner, folders and revision."""
    return PurePath(name.partition("@")[0]).name.casefold()


def _told(path: str) -> str:
    return PurePath(path).name if PurePath(path).is_absolute() else path
