"""The loss: a token that carries one weighs the same whichever micro-batch, line or process it is in."""

from __future__ import annotations

from typing import Any

from langmill_plugins.trainers.loop.batches import collate
from langmill_plugins.trainers.loop.chunked import Halves, summed_loss
from langmill_plugins.trainers.loop.ranks import Ranks
from langmill_plugins.trainers.tokens.examples import NO_LOSS, Examples


def mixed(device: Any) -> Any:
    """The context in which a model on a device computes: in bfloat16 where that is safe, on a GPU; on a CPU as it is held."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def answer_loss(model: Any, inputs: dict[str, Any], narrow: bool | Halves) -> Any:
    """Summed negative log-probability (nats) of the tokens that carry loss.

    Of a model in ``Halves`` the tokens before those alone reach the last layer, a chunk after another, which for a small model with
    a large vocabulary is the larger part of the work, and for a large one of the memory. Of another one they are, with True, the
    places where some row of the batch carries loss, all at once; with False all places.
    """
    import torch

    target = inputs["labels"][:, 1:]
    if isinstance(narrow, Halves):
        counts = target != NO_LOSS
        asked = {name: value for name, value in inputs.items() if name != "labels"}
        with mixed(model.device):
            hidden = narrow.body(**asked, use_cache=False).last_hidden_state[:, :-1]
            return summed_loss(hidden[counts], narrow.head.weight, narrow.head.bias, target[counts])
    places = (target != NO_LOSS).any(0).nonzero().squeeze(1)
    asked = {**{name: value for name, value in inputs.items() if name != "labels"}, "use_cache": False}
    with mixed(model.device):
        if narrow:
            logits = model(**asked, logits_to_keep=places).logits
        else:
            logits = model(**asked).logits[:, places]
    target = target[:, places]
    counts = target != NO_LOSS
    return torch.nn.functional.cross_entropy(logits[counts].float(), target[counts], reduction="sum")


def dev_loss(loop: Any, examples: Examples, batch: int, pad: int, ranks: Ranks) -> float | None:
    """Mean loss (nats) of a token that carries one, over all examples, each process taking its share; None when there are none.
    Batches of ``batch`` examples, unpacked, or smaller ones where those do not fit into memory."""
    import torch

    if not len(examples):
        return None
    while True:
        try:
            return _mean_loss(loop, examples, batch, pad, ranks)
        except torch.OutOfMemoryError:
            if batch == 1 or ranks.of > 1:  # a process can not leave the others waiting
                raise
        batch //= 2
        torch.cuda.empty_cache()


def _mean_loss(loop: Any, examples: Examples, batch: int, pad: int, ranks: Ranks) -> float:
    import numpy as np
    import torch

    model = loop.model
    ranked = np.argsort(examples.lengths, kind="stable").tolist()
    batches = [[[one] for one in ranked[start : start + batch]] for start in range(0, len(ranked), batch)]
    total, count = 0.0, 0
    model.eval()
    try:
        with torch.no_grad(), mixed(model.device):
            for some in ranks.share(batches):
                inputs = {key: value.to(model.device) for key, value in collate(some, examples, pad, "padded").items()}
                learnt = int((inputs["labels"][:, 1:] != NO_LOSS).sum())
                total += float(loop.summed_loss(model, inputs, learnt))
                count += learnt
    finally:
        model.train()
    sums = ranks.added_up((total, count), model.device)
    return sums[0] / max(sums[1], 1)
