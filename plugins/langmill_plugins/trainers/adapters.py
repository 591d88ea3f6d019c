"""Adapters on disk, and the weights they stand on.

    adapter/  adapter_model.safetensors  adapter_config.json  base.json  tokenizer files  merged/0, merged/1, …

``base.json`` names the base and its identity. ``merged/`` holds the adapters that were merged into the base before this one
was begun, oldest first: so an adapter folder is all that is needed beside the base, wherever the run is copied to.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, RecipeError
from langmill_plugins.trainers.base_model import Base
from langmill_plugins.trainers.options import Lora

WEIGHTS = "adapter_model.safetensors"
FACTS = "base.json"


def chain_of(adapter: Path) -> list[Path]:
    """The adapters merged into the base before this one, oldest first."""
    return sorted((adapter / "merged").glob("*"), key=lambda path: int(path.name))


def check_adapter(adapter: Path, base: Base) -> None:
    """Raises MissingInput for a folder that is no adapter, RecipeError for an adapter of another base."""
    try:
        facts = json.loads((adapter / FACTS).read_text("utf-8"))
    except (OSError, ValueError):
        raise MissingInput(f"{adapter} holds no whole adapter ({FACTS} is missing): train its stage again") from None
    if not (adapter / WEIGHTS).is_file():
        raise MissingInput(f"{adapter} holds no whole adapter ({WEIGHTS} is missing): train its stage again")
    if facts["identity"] != base.identity:
        raise RecipeError(
            f"{adapter} was trained on {facts['base']} ({facts['identity'][:19]}…), but train.base is {base.name} "
            f"({base.identity[:19]}…): name the base it was trained on, or train again with --fresh"
        )


def lora_config(lora: Lora, base: Base) -> Any:
    """The options as PEFT's own class."""
    from peft import LoraConfig

    layers = lora.layers if isinstance(lora.layers, str) else list(lora.layers)
    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=layers, bias="none",
        task_type="CAUSAL_LM", base_model_name_or_path=base.name,
    )  # fmt: skip


def save_adapter(model: Any, tokenizer: Any, folder: Path, base: Base, chain: list[Path]) -> None:
    """Write the adapter that ``model`` (a PeftModel) carries. ``chain``: the adapters merged below it."""
    save_weights(model, folder / WEIGHTS)
    config = copy.copy(model.peft_config["default"])
    config.base_model_name_or_path = base.name  # and no path of this machine
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for number, merged in enumerate(chain):
        place = folder / "merged" / str(number)
        place.mkdir(parents=True)
        for name in (WEIGHTS, "adapter_config.json", FACTS):
            shutil.copyfile(merged / name, place / name)
    facts = {"base": base.name, "identity": base.identity, "merged": len(chain)}
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def save_weights(model: Any, path: Path) -> None:
    """The adapter's matrices as safetensors, in the precision they are trained in."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, path, {"format": "pt"})


def load_weights(model: Any, path: Path) -> None:
    """Put saved matrices into the adapter ``model`` carries. Raises MissingInput when they do not belong together."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    found = set_peft_model_state_dict(model, load_file(path))
    missing = [name for name in found.missing_keys if "lora_" in name]
    if missing or found.unexpected_keys:
        raise MissingInput(
            f"{path} does not fit the model: {len(missing)} matrices are missing and {len(found.unexpected_keys)} are "
            "not known. Train its stage again"
        )


def with_saved_adapter(model: Any, adapter: Path) -> Any:
    """``model`` with an adapter from disk, frozen. Reads safetensors alone."""
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(str(adapter))
    config.inference_mode = True
    wrapped = get_peft_model(model, config)
    load_weights(wrapped, adapter / WEIGHTS)
    return wrapped


@contextmanager
def standing_weights(base: Base, chain: list[Path]) -> Iterator[Path]:
    """The folder of what a new adapter stands on: the base's own, or one for a while with ``chain`` merged into the base.

    Merging is done and kept in float32: sixteen bits round the adapter's small numbers away.
    """
    if not chain:
        yield base.folder
        return
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        base.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    model.name_or_path = base.name
    for adapter in chain:
        model = with_saved_adapter(model, adapter).merge_and_unload()
    with tempfile.TemporaryDirectory(prefix="langmill-merged-") as name:
        folder = Path(name)
        model.save_pretrained(folder)
        del model
        for path in base.folder.glob("token*"):  # tokenizer.json, tokenizer_config.json, tokenizer.model
            shutil.copyfile(path, folder / path.name)
        yield folder


def load_model(folder: Path, name: str, four_bit: bool) -> Any:
    """A causal language model for this machine: bfloat16 on a GPU, float32 on a CPU; with ``four_bit`` held as NF4.

    It goes by ``name``, so that no path of this machine gets into what is saved of it.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    packed = None
    if four_bit:
        packed = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, quantization_config=packed, device_map={"": _device()}, attn_implementation="sdpa",
        local_files_only=True, use_safetensors=True, trust_remote_code=False,
    )  # fmt: skip
    model.name_or_path = name
    return model


def _device() -> str:
    """This process's device: with several GPUs each process of the launcher has its own."""
    import os

    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
