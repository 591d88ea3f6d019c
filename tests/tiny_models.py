"""Models of a few thousand numbers, and stages that were never trained: what is asked of weights needs no learning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from langmill.api import Context, whole_folder
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.weights.adapters import load_model, load_weights, lora_config
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer, quiet
from langmill_plugins.trainers.weights.saving import save_trained
from langmill_plugins.trainers.weights.standing import Standing, standing_weights
from langmill_plugins.trainers.weights.trained import place_of

PACKAGED = "local/smollm2-135m-instruct"
SIZES: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128,
    "head_dim": 16, "max_position_embeddings": 512, "tie_word_embeddings": True,
}  # fmt: skip


@cache
def packaged_tokenizer() -> Any:
    """The packaged model's. It is one for all: change a copy."""
    quiet()
    return load_tokenizer(find_base(PACKAGED, Context("train", 17, {}, Path())).folder)


def tiny_config(kind: str, **sizes: Any) -> Any:
    """A tiny configuration of a kind that transformers knows, with the packaged model's vocabulary."""
    from transformers import AutoConfig

    ends = {
        "eos_token_id": packaged_tokenizer().eos_token_id,
        "pad_token_id": packaged_tokenizer().pad_token_id,
        "bos_token_id": 1,
    }
    return AutoConfig.for_model(kind, **{**SIZES, "vocab_size": len(packaged_tokenizer()), **ends, **sizes})


def tiny_model(kind: str = "llama", **sizes: Any) -> Any:
    """Random weights in float32, large enough that what a token sees changes what it says."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    config = tiny_config(kind, **sizes)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    for numbers in model.parameters():
        if numbers.dim() > 1:
            torch.nn.init.normal_(numbers, std=0.08)
    return model


def tiny_base(folder: Path, kind: str = "llama", **sizes: Any) -> Path:
    """A folder with a tiny model in bfloat16, as most are published, and the packaged model's tokenizer."""
    import torch

    tiny_model(kind, **sizes).to(torch.bfloat16).save_pretrained(folder)
    packaged_tokenizer().save_pretrained(folder)
    return folder


def leave_stage(run: Path, name: str, standing: Standing, lora: Lora | None, seed: int, four_bit: bool = False) -> Path:
    """What a stage leaves in ``run/train/NAME`` that began with ``standing`` and then changed its weights at random."""
    import torch
    from peft import get_peft_model

    stage = run / "train" / name
    with standing_weights(standing, stage) as weights:
        model = load_model(weights, standing.base.name, four_bit, all_weights=lora is None)
    torch.manual_seed(
        seed
    )  # before the adapter draws its first matrices: the stage must not depend on the tests before it
    if lora is not None:
        model = get_peft_model(model, lora_config(lora, standing.base, standing.goes_on))
        if standing.goes_on:
            load_weights(model, standing.goes_on / "adapter_model.safetensors")
    with torch.no_grad():
        for part, numbers in model.named_parameters():
            if lora is None or "lora_" in part:
                numbers += torch.randn_like(numbers) * 0.05
    place = place_of(stage, lora)
    with whole_folder(place) as work:
        save_trained(model, load_tokenizer(standing.base.folder), work, standing, lora)
    return place


def logits(model: Any, ids: Sequence[int]) -> Any:
    """What a model thinks of each next token, float32 [tokens, words]."""
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([list(ids)], device=model.device)).logits[0].float()
