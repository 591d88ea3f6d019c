"""How much memory a stage takes, by what takes it, in bytes.

What is kept: a frozen base in bfloat16 (2 bytes a parameter), float32 (4, on a CPU) or NF4; an adapter in float32 with its
gradient and AdamW's two moments (4 + 4 + 8); all weights likewise. NF4 with double quantisation takes 4.127 bits a parameter
(Dettmers et al. 2023, QLoRA, section 3: 4 bits, 8 bits a block of 64, 32 bits for 256 such blocks).

What comes and goes: Korthikanti et al. (2022, Reducing Activation Recomputation) count what a layer keeps for the way back.
The counts here are theirs for the models of today: norms that compute in float32, gated feed-forward, grouped heads, attention
that does not keep its scores, and copies that autocast makes for an adapter; they equal what PyTorch keeps of Llama, Gemma 3 and
Qwen 3. With checkpointing a layer keeps its input alone, and one layer at a time is computed again.

The figures for a CPU were held against training here; those for a GPU have not been held against one yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from langmill_plugins.trainers.forecast.shape import Shape
from langmill_plugins.trainers.options import Lora

NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # bytes a parameter
ADAMW, ADAMW_8BIT = 8.0, 2.0  # bytes of moments a parameter
PROGRAM = {
    True: 0.7e9,
    False: 0.6e9,
}  # on a GPU: CUDA's context and workspaces; on a CPU: Python with PyTorch and the others
#: Logits that are there at once, on a GPU and on a CPU: the loop's loss takes a chunk of tokens after another.
CHUNK = {True: 1 << 27, False: 1 << 24}
LEAST_CHUNK = 16  # tokens, however large the vocabulary is
BESIDE = 1.5  # gradients and what is thrown away at once, beside what a layer keeps
SPLIT = 1.1  # a GPU's pool of memory falls into pieces
# The C library keeps the gaps between small tensors: of a few that are freed in turn with adapters, as much again (measured:
# 1.6 to 2.1), without them next to nothing.
HEAP = {True: 1.9, False: 1.1}


@dataclass(frozen=True)
class Setting:
    """What decides the memory of a stage. ``line``: tokens of the longest line of a batch; ``answers``: share of its tokens that
    carry loss; ``processes`` matters where they share one memory, on a CPU; ``keeps``, on a GPU: layers keep what the way back
    needs, instead of their input alone, from which they are computed again."""

    gpu: bool
    four_bit: bool
    lora: Lora | None
    batch: int
    line: int
    packed: bool
    answers: float
    eight_bit_optimiser: bool = False
    processes: int = 1
    keeps: bool = False

    @property
    def held(self) -> str:
        """How the model lies in memory."""
        if self.four_bit:
            return "4bit"
        return "bfloat16" if self.gpu and self.lora else "float32"


def memory(shape: Shape, how: Setting) -> dict[str, int]:
    """Bytes by what takes them, on one device, at the fullest moment."""
    trained = trained_parameters(shape, how.lora)
    moments = ADAMW_8BIT if how.gpu and how.eight_bit_optimiser else ADAMW
    parts = {"weights": weights(shape, how)}
    if how.lora:
        parts["adapter"] = trained * 8.0  # itself and its gradient
    else:
        parts["gradients"] = trained * 4.0
    parts["optimiser"] = trained * moments
    parts["activations"] = max(activations(shape, how), _update(shape, how, trained), _loading(shape, how, parts))
    parts["program"] = PROGRAM[how.gpu]
    times = 1 if how.gpu else how.processes
    return {name: round(size * times) for name, size in parts.items()}


def least(shape: Shape, how: Setting) -> int:
    """Bytes without which nothing can be trained, whatever the batch: for a ``how`` of one line."""
    parts = memory(shape, how)
    return (
        sum(parts.values()) - parts["activations"] + round(activations(shape, how) / (SPLIT if how.gpu else HEAP[True]))
    )


def trained_parameters(shape: Shape, lora: Lora | None) -> int:
    """How many parameters are trained."""
    return shape.adapter(lora.rank, lora.layers) if lora else shape.parameters


def weights(shape: Shape, how: Setting) -> float:
    """The base itself. NF4 is for linear layers; embeddings and norms stay in 16 bits (32 on a CPU)."""
    wide = 2.0 if how.gpu and how.lora else 4.0
    if how.four_bit:
        return shape.linear * NF4 + (shape.parameters - shape.linear) * wide
    return shape.parameters * wide


def activations(shape: Shape, how: Setting) -> float:
    """What a batch takes on its way there and back."""
    tokens = how.batch * how.line
    kept, logits = _kept(shape, how), _logits(shape, how)
    if not how.gpu:
        return (tokens * shape.layers * kept + logits) * HEAP[how.lora is not None]
    inputs = tokens * shape.layers * (shape.hidden * (2.0 if how.lora else 4.0) if not how.keeps else kept)
    layer = tokens * kept * (BESIDE - how.keeps) + (2.0 * shape.largest if how.four_bit else 0.0)
    copies = 0.0 if how.lora else 2.0 * shape.linear  # in 16 bits, while autocast is on
    return (inputs + max(layer, logits) + copies) * SPLIT


def _kept(shape: Shape, how: Setting) -> float:
    """Bytes that one layer keeps of one token."""
    mask = how.line if how.packed else 0  # a place for each token of the line that it may not see
    heads = 4 * shape.queries if how.packed else 2 * (shape.queries + shape.kv)  # packed: keys and values a query head
    wide = (3 if shape.gated else 2) * shape.inner  # what the feed-forward part keeps beside what its last layer reads
    read = 3 * shape.hidden + shape.queries + (2 if shape.gated else 1) * shape.hidden + shape.inner
    rank = 7 * how.lora.rank if how.lora else 0
    if not how.gpu:
        shared = 2 * shape.hidden + shape.inner  # one copy for all that read it, attention's own for the layer after it
        return 4.0 * (shape.norms + shared + heads + wide + rank + mask)
    trained_norms = 0 if how.lora else 4 * shape.norms
    return 4.0 * shape.norms + trained_norms + 2.0 * (heads + wide + read + rank + mask)


def _logits(shape: Shape, how: Setting) -> float:
    """The last layer, where this token carries loss: its input and what goes back to it; and of a chunk of tokens at a time its
    output, a slope in 16 bits on a GPU, and one copy in float32. Of a model whose logits are capped or scaled all are there at
    once: the output where some line of the batch carries loss, a copy of it, one in float32, and log-probabilities."""
    tokens = how.batch * how.line
    if shape.plain_head:
        wide = 2.0 if how.gpu else 4.0
        chunk = min(tokens * how.answers, max(LEAST_CHUNK, CHUNK[how.gpu] // shape.vocabulary))
        layer = 0.0 if how.lora else shape.vocabulary * shape.hidden * (wide + 4.0)  # a copy of it, and its own slope
        return (
            chunk * shape.vocabulary * (8.0 if how.gpu else 4.0)
            + tokens * how.answers * shape.hidden * 2 * wide
            + layer
        )
    some = 1 - (1 - how.answers) ** how.batch if how.packed else how.answers
    return shape.vocabulary * tokens * ((2.0 if how.gpu else 4.0) * some + (10.0 if how.gpu else 8.0) * how.answers)


def _update(shape: Shape, how: Setting, trained: int) -> float:
    """AdamW's own room while it changes the weights: by then activations are gone."""
    return (
        4.0 * trained if how.gpu else 8.0 * max(shape.largest, shape.vocabulary * shape.hidden if not how.lora else 0)
    )


def _loading(shape: Shape, how: Setting, parts: dict[str, float]) -> float:
    """A file of weights is in memory beside what is made of it, on a CPU; by then nothing else is."""
    return 0.0 if how.gpu else max(0.0, 2.0 * shape.parameters - (sum(parts.values()) - parts["weights"]))
