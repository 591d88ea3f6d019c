"""BERTScore (Zhang et al., arXiv 1904.09675): each token finds its like in the other text, in the context that an encoder sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langmill.api import Context, MissingInput, missing_package

AT_ONCE = 8  # texts that are read together


@dataclass(frozen=True)
class Encoder:
    """A transformers encoder. ``layer`` is the one whose states are compared."""

    name: str
    tokenizer: Any
    model: Any
    layer: int

    @property
    def most(self) -> int:
        """The longest text it reads, in tokens with its marks; of a longer one the rest is not compared."""
        return int(min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings))


def find_encoder(name: str, context: Context) -> str:
    """Where an encoder is: a folder beside the recipe, or a hub name that was fetched before; nothing is downloaded. Raises
    MissingInput without its configuration."""
    try:
        from transformers.utils import cached_file
    except ImportError:
        raise missing_package(f"{context.place}.bert_score", "transformers", "train") from None
    folder = context.path(name)
    where = str(folder) if folder.is_dir() else name
    try:
        cached_file(where, "config.json", local_files_only=True)
    except (OSError, ValueError) as error:
        raise _missing(name, context, error) from None
    return where


def _missing(name: str, context: Context, error: Exception) -> MissingInput:
    first = str(error).strip().splitlines()[0]
    return MissingInput(
        f"{context.place}.bert_score: no encoder '{name}' on this machine ({first}). Name a folder that holds config.json, "
        f"model.safetensors and its tokenizer, or fetch it first: hf download {name}"
    )


def load_encoder(name: str, context: Context) -> Encoder:
    """The encoder that :func:`find_encoder` finds.

    The layer is the one three quarters up: the authors' tables choose 9 of 12 for bert-base, also for
    bert-base-multilingual-cased, which MMedBench takes, and 18 of 24 for bert-large. Raises MissingInput without it.
    """
    where = find_encoder(name, context)
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=True)
        model = AutoModel.from_pretrained(where, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise _missing(name, context, error) from None
    return Encoder(name, tokenizer, model.eval(), round(0.75 * model.config.num_hidden_layers))


def f1_scores(pairs: Sequence[tuple[str, str]], encoder: Encoder) -> list[float]:
    """The F1 of each pair: every token's greatest cosine with one of the other text, meant over either text, and the harmonic mean
    of the two. No weights of words, no rescaling; marks of begin and end are left out. 0 where a text has no tokens."""
    texts = sorted({text for pair in pairs for text in pair}, key=lambda text: (len(text), text))
    states = _states(texts, encoder)
    return [_f1(states[one], states[other]) for one, other in pairs]


def _f1(one: Any, other: Any) -> float:
    if not len(one) or not len(other):
        return 0.0
    like = one @ other.T
    precision, recall = float(like.max(1).values.mean()), float(like.max(0).values.mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _states(texts: Sequence[str], encoder: Encoder) -> dict[str, Any]:
    """Of each text (tokens, width): the states of its own tokens, of length one."""
    import torch

    found: dict[str, Any] = {}
    with torch.inference_mode():
        for start in range(0, len(texts), AT_ONCE):
            some = list(texts[start : start + AT_ONCE])
            read = encoder.tokenizer(
                some, padding=True, truncation=True, max_length=encoder.most, return_special_tokens_mask=True,
                return_tensors="pt",
            )  # fmt: skip
            own = (read.pop("special_tokens_mask") == 0) & (read["attention_mask"] == 1)
            layers = encoder.model(**read, output_hidden_states=True).hidden_states
            states = torch.nn.functional.normalize(layers[encoder.layer].float(), dim=-1)
            found.update(zip(some, (row[mine] for row, mine in zip(states, own, strict=True)), strict=True))
    return found
