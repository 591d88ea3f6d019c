"""Base and stages as one model that needs nothing of this project: safetensors, configuration, tokenizer, template."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from langmill_plugins.trainers.weights.base_model import Base, load_tokenizer
from langmill_plugins.trainers.weights.standing import ended_with, merged_model
from langmill_plugins.trainers.weights.trained import Trained

SHARD = "5GB"
LEGAL = re.compile(r"(licen[cs]e|notice|copying|use_policy)", re.IGNORECASE)
# A tag of some training templates around the assistant's words; engines that serve a model do not know it.
GENERATION = re.compile(r"({%[-+]?\s*)(end)?generation(\s*[-+]?%})")


def write_merged(stage: Trained, base: Base, folder: Path) -> None:
    """Write the model that a stage ended with: merged in float32, rounded once, to the precision that the base is kept in."""
    import torch
    from transformers import AutoConfig

    kept = AutoConfig.from_pretrained(base.folder, local_files_only=True, trust_remote_code=False).dtype
    model = merged_model(ended_with(stage, base)).to(kept or torch.bfloat16)
    folder.mkdir(exist_ok=True)
    model.save_pretrained(folder, max_shard_size=SHARD)
    tokenizer = load_tokenizer(stage.folder)
    tokenizer.chat_template = served_template(tokenizer.chat_template)
    tokenizer.save_pretrained(folder)
    sentences = base.folder / "tokenizer.model"  # what some converters read in place of tokenizer.json
    if sentences.is_file():
        shutil.copyfile(sentences, folder / sentences.name)


def served_template(template: str | None) -> str | None:
    """A chat template without the tags that mark what is learnt. The same text comes out of it, blanks included."""
    if template is None:
        return None
    return GENERATION.sub(lambda tag: f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}", template)


def legal_files(base: Base) -> list[Path]:
    """The base's licence and notice, as far as they lie beside its weights: they go wherever the weights go."""
    places = [base.folder, *([base.folder.parent] if base.name.startswith("local/") else [])]
    return [path for place in places for path in sorted(place.iterdir()) if path.is_file() and LEGAL.match(path.name)]
