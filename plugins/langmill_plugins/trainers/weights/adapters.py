"""Low-rank adapters: from options to PEFT's own classes, to disk and back; and models that may carry one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from langmill.api import MissingInput
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.weights.base_model import Base

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def lora_config(lora: Lora, base: Base, goes_on: Path | None = None) -> Any:
    """The options as PEFT's own class. ``goes_on``: the adapter that is trained further, which names its layers one by one."""
    from peft import LoraConfig

    layers: Any = lora.layers if isinstance(lora.layers, str) else list(lora.layers)
    if goes_on:
        layers = LoraConfig.from_pretrained(str(goes_on)).target_modules
    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=layers, bias="none",
        task_type="CAUSAL_LM", base_model_name_or_path=base.name,
    )  # fmt: skip


def save_config(model: Any, folder: Path, base: Base) -> None:
    """PEFT's own description of the adapter that ``model`` (a PeftModel) carries."""
    config = copy.copy(model.peft_config["default"])
    config.base_model_name_or_path = base.name  # and no path of this machine
    config.save_pretrained(folder)


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


def load_model(folder: Path, name: str, four_bit: bool, *, all_weights: bool = False) -> Any:
    """A causal language model on this machine's device. It goes by ``name``, so that no path of this machine gets into what is
    saved of it.

    bfloat16 on a GPU, float32 on a CPU; with ``four_bit`` held as NF4. ``all_weights``: they are going to be trained, and are
    float32 everywhere, since most of AdamW's steps are too small for sixteen bits to keep.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = torch.float32 if all_weights else _dtype()
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
    for part in model.modules():
        # bitsandbytes' layers would, once asked without gradients (for a validation loss, say) on some CPUs, turn into a
        # form for answering only: in bfloat16, and passing no gradient on ever after.
        if hasattr(part, "support_avx512bf16_for_cpu"):
            part.support_avx512bf16_for_cpu = False
    return model


def placed(model: Any) -> Any:
    """A model that lies in the processor's memory, as :func:`load_model` would have it for reading."""
    return model.to(device=_device(), dtype=_dtype())


def _dtype() -> Any:
    import torch

    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def _device() -> str:
    """This process's device: with several GPUs each process of the launcher has its own."""
    import os

    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
