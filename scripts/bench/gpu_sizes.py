"""What is trained on when a card is measured: models of random weights in known shapes, and real rows.

Weights are random, since speed and memory do not depend on what a model knows. What learns is the packaged model. Rows are
prepared once, where the public sets and the packaged tokenizer lie, and can be carried to where they do not.

    python -m bench.gpu_sizes FOLDER SIZE TOKENIZER

writes a model.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langmill.api import Context, Row, SourceContext
from langmill_plugins.loaders.table import Table
from langmill_plugins.trainers.forecast.shape import Shape, shape_from
from langmill_plugins.trainers.weights.base_model import find_base

PACKAGED = "local/smollm2-135m-instruct"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
             "head_dim": 16, "vocab_size": 49152},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256},
    "3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24,
           "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256},
    "70b": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
            "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256},
}  # fmt: skip
"""Shapes of Llama 3.x by their published configurations; tiny is for trying the measuring itself."""
LONGEST = 131072  # tokens that such a model says it reads
EACH = {True: (4, 2), False: (150, 12)}  # train and dev rows of each language and kind, --quick or not


def config_of(size: str) -> dict[str, Any]:
    """A size's config.json."""
    return {
        **SIZES[size], "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "max_position_embeddings": LONGEST, "tie_word_embeddings": size == "tiny", "torch_dtype": "bfloat16",
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip


def shape_of_size(size: str) -> Shape:
    """A size's shape, for the forecast; no file is read."""
    tensors = {name: sizes for _, part in _tensors(size) for name, sizes in part.items()}
    return shape_from(config_of(size), tensors)


def _tensors(size: str) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
    """Names and shapes of a model's tensors, a file's after another's."""
    said = SIZES[size]
    hidden, inner, head = said["hidden_size"], said["intermediate_size"], said["head_dim"]
    queries, kv = said["num_attention_heads"] * head, said["num_key_value_heads"] * head
    yield "embeddings", {"model.embed_tokens.weight": (said["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(said["num_hidden_layers"]):
        parts = {
            "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,), "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner),
        }  # fmt: skip
        yield f"layer-{layer:03d}", {f"model.layers.{layer}.{name}.weight": sizes for name, sizes in parts.items()}
    if size != "tiny":
        yield "head", {"lm_head.weight": (said["vocab_size"], hidden)}


def write_model(folder: Path, size: str, tokenizer: Path) -> Path:
    """A model of random weights in bfloat16 in ``folder``, with the tokenizer of another folder: one file a layer, so that never
    more than one of them is in memory. What is there whole already is left alone."""
    import torch
    from safetensors.torch import save_file

    if (folder / "model.safetensors.index.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dice = torch.Generator(device).manual_seed(17)
    places: dict[str, str] = {}
    total = 0
    for part, tensors in _tensors(size):
        made = {}
        for name, sizes in tensors.items():
            norm = len(sizes) == 1
            numbers = (
                torch.ones(sizes)
                if norm
                else torch.randn(sizes, generator=dice, device=device, dtype=torch.bfloat16) * 0.02
            )
            made[name] = numbers.to("cpu", torch.bfloat16)
            places[name] = f"model-{part}.safetensors"
            total += 2 * math.prod(sizes)
        save_file(made, folder / f"model-{part}.safetensors", {"format": "pt"})
    for path in tokenizer.glob("*"):
        if path.name.startswith(("tokenizer", "special_tokens", "chat_template", "vocab", "merges")):
            shutil.copyfile(path, folder / path.name)
    (folder / "config.json").write_text(json.dumps(config_of(size), indent=1), "utf-8")
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return folder


# --- rows ---


def prepare(folder: Path, quick: bool) -> Path:
    """``open.jsonl``, ``exams.jsonl`` and the packaged tokenizer in ``folder``: rows of the public sets in FACTORY_DATA, of any length
    up to 4,096 tokens; without them the project's own hand-written ones. What is there already is left alone."""
    tokenizer = folder / "tokenizer"
    if (folder / "exams.jsonl").is_file() and (tokenizer / "tokenizer.json").is_file():
        return folder
    tokenizer.mkdir(parents=True, exist_ok=True)
    base = find_base(PACKAGED, Context("bench", 17, {}, folder)).folder
    for path in base.glob("*"):
        if path.suffix in (".json", ".jinja") and not path.name.startswith("model"):
            shutil.copyfile(path, tokenizer / path.name)
    data = os.environ.get("FACTORY_DATA")
    if data and not quick:
        from bench.train_rows import Amount, write_rows
        from langmill_plugins.trainers.weights.base_model import load_tokenizer

        count = load_tokenizer(base)
        write_rows(folder, Path(data), Amount(*EACH[quick], 4096), lambda text: len(count(text)["input_ids"]))
    else:
        _own_rows(folder, *EACH[quick])
    _some_to_ask(folder / "exams.jsonl")
    return folder


def _some_to_ask(path: Path) -> None:
    """Every other dev row becomes a test row: what the stages are scored on."""
    lines, seen = [], 0
    for line in path.read_text("utf-8").splitlines():
        record = json.loads(line)
        if record["split"] == "dev":
            seen += 1
            record["split"] = "dev" if seen % 2 else "test"
        lines.append(json.dumps(record, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _own_rows(folder: Path, train: int, dev: int) -> None:
    """The hand-written rows of the recipes: questions and exam items of seven languages."""
    data = Path(__file__).parents[2] / "recipes" / "data"
    for name, form in (("open", "qa"), ("exams", "choice")):
        lines = []
        for path in sorted(data.glob(f"{form}.*.jsonl")):
            records = [json.loads(line) for line in path.read_text("utf-8").splitlines()][: train + dev]
            for number, record in enumerate(records):
                if form == "choice":
                    record["answer"] = ["ABCDEFGHIJ".index(letter.strip()) for letter in record["answer"].split(",")]
                split = "dev" if number < dev else "train"
                lines.append(
                    json.dumps({"language": path.name.split(".")[1], **record, "split": split}, ensure_ascii=False)
                )
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def rows_in(folder: Path, context: Context) -> list[Row]:
    """Both files' rows, in one list. They keep the split that they were prepared with."""
    found: list[Row] = []
    for name, body in (("open", "chat"), ("exams", "choice")):
        loader = Table(
            path=f"{name}.jsonl", body=body, license="unknown", **({"answers_from": 0} if body == "choice" else {})
        )
        source = SourceContext("sources.s", 17, context.languages, folder, None, source=name, splits=loader.splits)
        found += [item for item in loader.load(source) if isinstance(item, Row)]
    return found


if __name__ == "__main__":
    print(json.dumps({"model": str(write_model(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))}), flush=True)
