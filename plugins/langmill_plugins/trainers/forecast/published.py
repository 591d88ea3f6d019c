"""The sizes of well-known bases that are not on this machine, as their published config.json has them (``bases.json``).

Their tensors follow from these: a gated feed-forward part, query, key, value and output layers, a norm before each of the two.
Beside the options of config.json the table says what a kind of model adds: biases of queries, keys and values (Qwen 2.5), a norm of
each head's queries and keys (Qwen 3), norms after both parts as well as before them (Gemma 2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache
def bases() -> dict[str, dict[str, Any]]:
    """Configurations by the exact name of the hub."""
    table = json.loads(Path(__file__).with_name("bases.json").read_text("utf-8"))
    return {name: base for base in table for name in base["names"]}


def tensors_of(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors by name, as transformers calls them; a head that is tied is none of its own."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    head = config.get("head_dim") or hidden // heads
    queries, kv = heads * head, config["num_key_value_heads"] * head
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (kv, hidden),
        "self_attn.v_proj.weight": (kv, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    if config.get("qkv_bias"):
        sizes = {"q": queries, "k": kv, "v": kv}
        layer |= {f"self_attn.{name}_proj.bias": (size,) for name, size in sizes.items()}
    if config.get("norms_of_heads"):
        layer |= {f"self_attn.{name}_norm.weight": (head,) for name in "qk"}
    if config.get("norms_around"):
        layer |= {f"{name}_feedforward_layernorm.weight": (hidden,) for name in ("pre", "post")}
    tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    tensors |= {f"model.layers.{number}.{name}": size for number in range(layers) for name, size in layer.items()}
    tensors["model.norm.weight"] = (hidden,)
    return tensors if config.get("tie_word_embeddings") else tensors | {"lm_head.weight": (vocabulary, hidden)}
