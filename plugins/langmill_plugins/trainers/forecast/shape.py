"""The sizes of a base model, from the headers of its files alone: no weight is read and no heavy package is needed.

Safetensors begin with eight bytes that give the length of a JSON header, which names every tensor with its shape; a GGUF file
begins with its metadata and the same of its tensors. Both say exactly how many parameters there are.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

from langmill.api import Context, FactoryError, packaged_model
from langmill_plugins.trainers.forecast.published import bases, tensors_of
from langmill_plugins.trainers.weights.base_model import find_base, weight_files

MOST_HEADER = 100_000_000  # bytes: the safetensors library refuses a longer header as well
LAYER = re.compile(r"\.(\d+)\.")
NO_PARAMETER = ("inv_freq", "masked_bias", "rotary_emb.cos_cached", "rotary_emb.sin_cached")
HEAD_ON_TOP = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")
"""What a configuration calls that which comes after the last layer."""
EMBEDDINGS = ("embed", "embd", "wte", "wpe", "lm_head", "output")
GGUF_NAMES = {"attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj", "attn_output": "o_proj"}
GGUF_NAMES |= {"ffn_gate": "gate_proj", "ffn_up": "up_proj", "ffn_down": "down_proj"}
"""What the seven common layers are called in a GGUF file, and in transformers: recipes go by the latter."""
GGUF_KEYS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
}


class Linear(NamedTuple):
    """A linear layer's matrix: ``short`` is its name without place, e.g. q_proj."""

    short: str
    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        """Its parameters."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Shape:
    """A causal language model's sizes. ``linears`` are the layers that NF4 and adapters are for; ``hidden`` to ``kv`` are widths
    of what a token is inside (``queries`` and ``kv`` over all heads); ``norms`` is what the norms of one layer read, in values a
    token; ``gated``: whether the feed-forward part has a gate; ``plain_head``: whether the last layer's output is the logits, neither
    capped nor scaled."""

    parameters: int
    linears: tuple[Linear, ...]
    layers: int
    vocabulary: int
    hidden: int
    inner: int
    queries: int
    kv: int
    heads: int
    norms: int
    gated: bool
    plain_head: bool = True

    @cached_property
    def linear(self) -> int:
        """Parameters in linear layers."""
        return sum(each.size for each in self.linears)

    @cached_property
    def largest(self) -> int:
        """Parameters of the largest linear layer."""
        return max((each.size for each in self.linears), default=0)

    def adapter(self, rank: int, layers: str | tuple[str, ...]) -> int:
        """Parameters of low-rank matrices beside all linear layers, or those of some names."""
        chosen = (each for each in self.linears if layers == "all-linear" or each.short in layers)
        return sum(rank * (each.inputs + each.outputs) for each in chosen)


class Found(NamedTuple):
    """A base as far as it is on this machine, or known by its published shape: its shape, the folder of its tokenizer, and why one
    of them is None."""

    shape: Shape | None
    folder: Path | None
    why: str = ""


def look(name: str, context: Context) -> Found:
    """What can be said of a base (a recipe's train.base) without fetching or converting anything."""
    try:
        if name.startswith("local/"):
            file = packaged_model(name.removeprefix("local/"), offline=True).path
            folder = file.parent / "hf"
            return Found(shape_of(folder), folder) if folder.is_dir() else Found(shape_of_gguf(file), None)
        folder = find_base(name, context).folder
        return Found(shape_of(folder), folder)
    except FactoryError as fault:
        if (known := bases().get(name.partition("@")[0])) is None:
            return Found(None, None, str(fault))
        shape = shape_from(known, tensors_of(known))
        return Found(shape, None, f"by the published shape of {name}, which is not on this machine")
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error) as fault:
        return Found(None, None, f"train.base: the sizes of '{name}' can not be read ({type(fault).__name__}: {fault})")


def shape_of(folder: Path) -> Shape:
    """From config.json and the headers of a folder's safetensors. Raises ValueError where they do not tell."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tensors: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        tensors |= safetensors_header(path)
    if config.get("tie_word_embeddings", False):
        tensors = {name: size for name, size in tensors.items() if not name.endswith("lm_head.weight")}
    return shape_from({**config, **config.get("text_config", {})}, tensors)


def shape_of_gguf(file: Path) -> Shape:
    """From the beginning of a GGUF file."""
    facts, tensors = gguf_header(file)
    kind = facts["general.architecture"]
    config = {key: facts[f"{kind}.{name}"] for key, name in GGUF_KEYS.items() if f"{kind}.{name}" in facts}
    return shape_from(config, tensors)


def safetensors_header(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors by name."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MOST_HEADER:
            raise ValueError(f"{path.name} is no safetensors file")
        header = json.loads(file.read(length))
    return {name: tuple(facts["shape"]) for name, facts in header.items() if name != "__metadata__"}


def shape_from(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> Shape:
    """From a configuration and the shapes of all tensors by name, as transformers or GGUF calls them."""
    tensors = {name: size for name, size in tensors.items() if not name.endswith(NO_PARAMETER)}
    layered = {name: size for name, size in tensors.items() if LAYER.search(name) and name.endswith(".weight")}
    linears = tuple(
        Linear(GGUF_NAMES.get(name.split(".")[-2], name.split(".")[-2]), size[1], size[0])
        for name, size in layered.items()
        if len(size) == 2 and "expert" not in name  # these are kept whole, in one tensor a layer
    )
    tables = [
        size
        for name, size in tensors.items()
        if len(size) == 2 and name not in layered and any(word in name for word in EMBEDDINGS)
    ]
    if not tables or not linears:
        raise ValueError("it holds no embeddings or no linear layers")
    vocabulary, width = max(tables)
    layers = 1 + max(int(LAYER.findall(name)[0]) for name in layered)
    hidden = int(config.get("hidden_size", width))
    heads = int(config.get("num_attention_heads", 0)) or max(1, hidden // 64)
    head = int(config.get("head_dim") or hidden // heads)
    kv = head * int(config.get("num_key_value_heads") or heads)
    narrow = {"q_norm": heads * head, "k_norm": kv, "attn_q_norm": heads * head, "attn_k_norm": kv}  # a norm a head
    first = [name.split(".")[-2] for name in layered if len(layered[name]) == 1 and LAYER.findall(name)[0] == "0"]
    return Shape(
        parameters=sum(math.prod(size) for size in tensors.values()),
        linears=linears,
        layers=layers,
        vocabulary=vocabulary,
        hidden=hidden,
        inner=_inner(config, linears, hidden),
        queries=heads * head,
        kv=kv,
        heads=heads,
        norms=sum(narrow.get(name, hidden) for name in first),
        gated=any("gate" in each.short for each in linears),
        plain_head=has_plain_head(config),
    )


def has_plain_head(config: Mapping[str, Any]) -> bool:
    """Whether the last layer's output is the logits, by a configuration: neither capped nor scaled (by 1 is not)."""
    return all(config.get(name) in (None, 0, 1) for name in HEAD_ON_TOP)


def _inner(config: Mapping[str, Any], linears: tuple[Linear, ...], hidden: int) -> int:
    """The width of the feed-forward part, of the widest layer where they differ."""
    said = config.get("intermediate_size") or max(max(each.inputs, each.outputs) for each in linears)
    return max(said) if isinstance(said, list) else int(said)


# --- GGUF ---

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def gguf_header(path: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Metadata (arrays left out) and the shapes of a GGUF file's tensors, versions 2 and 3, little endian. Raises ValueError
    for any other file."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF" or _number(file, "I") not in (2, 3):
            raise ValueError(f"{path.name} is no GGUF file of version 2 or 3")
        tensors, values = _number(file, "Q"), _number(file, "Q")
        facts = {}
        for _ in range(values):
            name = _text(file)
            facts[name] = _value(file, _number(file, "I"))
        shapes = {}
        for _ in range(tensors):
            name = _text(file)
            sizes = [_number(file, "Q") for _ in range(_number(file, "I"))]
            file.seek(12, 1)  # its type and its place
            shapes[name] = tuple(reversed(sizes))
    return facts, shapes


def _number(file: IO[bytes], kind: str) -> Any:
    return struct.unpack("<" + kind, file.read(struct.calcsize("<" + kind)))[0]


def _text(file: IO[bytes]) -> str:
    return file.read(_number(file, "Q")).decode("utf-8", "replace")


def _value(file: IO[bytes], kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        return _number(file, _SCALARS[kind])
    inside, length = _number(file, "I"), _number(file, "Q")
    if inside in (_STRING, _ARRAY):
        for _ in range(length):
            _value(file, inside)
    else:
        file.seek(length * struct.calcsize("<" + _SCALARS[inside]), 1)
    return None
