"""Micro-batches as tensors. What is in them is the same for every way to train: it is made here, of the same examples."""

from __future__ import annotations

from typing import Any, Literal

from langmill_plugins.trainers.order.steps import Micro
from langmill_plugins.trainers.tokens.examples import NO_LOSS, Examples

Layout = Literal["padded", "packed", "flat", "flash"]
"""How a micro-batch lies in its tensors.

``padded``: [lines, longest line], a line is an example; ``attention_mask`` keeps padding unseen.
``packed``: [lines, longest line], lines of several examples. ``position_ids`` begin anew with each example and with the padding,
and there is no mask, by which transformers keeps the examples of a line from seeing one another.
``flat``: [1, tokens], the lines one after another, nothing padded; ``packed_seq_lengths`` (int32, by example) is what unsloth's
attention reads. ``flash``: the same with the borders as flash-attention's kernels take them.
"""


def collate(micro: Micro, examples: Examples, pad: int, layout: Layout) -> dict[str, Any]:
    """A micro-batch as int64 tensors: ``input_ids`` and ``labels``, and what the layout says.

    Padding is on the right and carries no loss, nor does the first token of an example, which nothing before it may predict.
    """
    import numpy as np
    import torch

    flat = layout in ("flat", "flash")
    lines = [[one for line in micro for one in line]] if flat else micro
    lengths = [[int(examples.starts[one + 1] - examples.starts[one]) for one in line] for line in lines]
    shape = (len(lines), max(map(sum, lengths)))
    ids: Any = np.full(shape, pad, np.int64)
    labels: Any = np.full(shape, NO_LOSS, np.int64)
    places: Any = np.zeros(shape, np.int64)
    seen: Any = np.zeros(shape, np.int64)
    for number, line in enumerate(lines):
        at = 0
        for one, length in zip(line, lengths[number], strict=True):
            here = slice(at, at + length)
            ids[number, here], labels[number, here] = examples.ids_of(one), examples.labels_of(one)
            labels[number, at] = NO_LOSS
            places[number, here] = np.arange(length)
            at += length
        seen[number, :at] = 1
        places[number, at:] = np.arange(shape[1] - at)
    arrays = {"input_ids": ids, "labels": labels}
    if layout == "padded":
        arrays["attention_mask"] = seen
    else:
        arrays["position_ids"] = places
    made: dict[str, Any] = {name: torch.from_numpy(values) for name, values in arrays.items()}
    if layout == "flat":
        made["packed_seq_lengths"] = torch.tensor(lengths[0], dtype=torch.int32)
    if layout == "flash":
        ends = torch.tensor([0, *np.cumsum(lengths[0])], dtype=torch.int32)
        made |= {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends}
        made |= {"max_length_q": max(lengths[0]), "max_length_k": max(lengths[0])}
    return made


def learnt_by_example(examples: Examples) -> Any:
    """Tokens of each example that carry loss in a batch, int64 [n]: all that are learnt but a first one."""
    import numpy as np

    if not len(examples):
        return np.zeros(0, np.int64)
    first = examples.starts[:-1]
    return np.add.reduceat(examples.learnt, first, dtype=np.int64) - examples.learnt[first]
