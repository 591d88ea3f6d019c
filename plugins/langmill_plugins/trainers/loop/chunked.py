"""The last layer and the loss in one, a chunk of tokens after another, so that the logits of all are never there at once.

A token's logits are as many numbers as the vocabulary has words: 128,256 of Llama 3, in float32 half a megabyte, and the way back
wants several such copies. Here a chunk's gradient is reckoned as soon as its loss is, and of it only what goes on to the layers
below is kept: as many numbers a token as the model is wide. The operations are the same ones, none is done twice.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from langmill_plugins.trainers.forecast.memory import CHUNK, LEAST_CHUNK
from langmill_plugins.trainers.forecast.shape import has_plain_head


class Halves(NamedTuple):
    """A causal language model as what makes hidden states and the linear layer that makes logits of them."""

    body: Any
    head: Any


def halves_of(model: Any) -> Halves | None:
    """The two halves of a model; None where its logits are more than a linear layer of its hidden states: capped or scaled
    ones, a layer that carries an adapter itself, a class that knows no halves."""
    import torch

    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    try:
        found = Halves(plain.get_decoder(), plain.get_output_embeddings())
    except (AttributeError, NotImplementedError):
        return None
    if type(found.head) is not torch.nn.Linear or found.body is plain or found.body is None:
        return None
    # A cap of 30 changes small logits by less than sixteen bits round off: what the configuration says counts first.
    if not has_plain_head(plain.config.get_text_config().to_dict()):
        return None
    return found if _are_all(plain, found) else None


def _are_all(plain: Any, halves: Halves) -> bool:
    """Whether the halves say what the whole says, of one token."""
    import torch

    was = plain.training
    plain.eval()
    try:
        one = torch.ones((1, 1), dtype=torch.long, device=halves.head.weight.device)
        with torch.no_grad(), torch.autocast(one.device.type, torch.bfloat16, enabled=one.device.type == "cuda"):
            whole = plain(input_ids=one, use_cache=False).logits
            parts = halves.head(halves.body(input_ids=one, use_cache=False).last_hidden_state)
        near = (1e-2, 1e-3) if one.device.type == "cuda" else (1e-4, 1e-5)  # in sixteen bits, in thirty-two
        return bool(torch.allclose(whole.float(), parts.float(), *near))
    except (TypeError, AttributeError):
        return False
    finally:
        plain.train(was)


def chunk_of(vocabulary: int, gpu: bool) -> int:
    """Tokens of a chunk."""
    return max(LEAST_CHUNK, CHUNK[gpu] // vocabulary)


def summed_loss(hidden: Any, weight: Any, bias: Any, target: Any, tokens: int | None = None) -> Any:
    """Summed negative log-probability (nats) of ``target`` (int64 [n]) by ``hidden`` [n, width] through a linear layer.

    ``tokens`` of a chunk; as many as the device asks for when left out. Logits are made in the type that autocast or else
    ``hidden`` says, what is reckoned of them in float32, as the loss over all at once would.
    """
    import torch

    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    size = tokens or chunk_of(weight.shape[0], kind == "cuda")
    with torch.autocast(kind, enabled=False):
        # Inside of the function gradients are off, and what asks for one says so even where nobody will go back.
        return _function().apply(hidden, weight, bias, target, dtype, size, torch.is_grad_enabled())


@cache
def _function() -> Any:
    import torch

    class Summed(torch.autograd.Function):  # type: ignore[misc]
        """Loss going forward; what came of it for ``hidden``, and for the layer where that is trained, going back."""

        @staticmethod
        def forward(
            ctx: Any, hidden: Any, weight: Any, bias: Any, target: Any, dtype: Any, size: int, back_too: bool
        ) -> Any:
            wanted = [back_too and ctx.needs_input_grad[at] for at in range(3)]
            narrow, layer = hidden.to(dtype), weight.to(dtype)
            added = None if bias is None else bias.to(dtype)
            loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
            back = torch.empty_like(narrow) if wanted[0] else None
            sums = [torch.zeros_like(part, dtype=torch.float32) if want else None
                    for part, want in zip((weight, bias), wanted[1:], strict=True)]  # fmt: skip
            for begin in range(0, len(target), size):
                some = slice(begin, begin + size)
                right = target[some].unsqueeze(1)
                logits = torch.nn.functional.linear(narrow[some], layer, added).float()
                said = logits.gather(1, right)
                whole = logits.logsumexp(1, keepdim=True)
                loss += (whole - said).sum()
                if not any(wanted):
                    continue
                slope = logits.sub_(whole).exp_()  # in its place: the logits are not needed any more
                slope.scatter_add_(1, right, torch.full_like(said, -1))
                slope = slope.to(dtype)
                if back is not None:
                    torch.mm(slope, layer, out=back[some])
                if sums[0] is not None:
                    sums[0] += slope.T @ narrow[some]
                if sums[1] is not None:
                    sums[1] += slope.sum(0, dtype=torch.float32)
            ctx.kinds = hidden.dtype, weight.dtype
            ctx.save_for_backward(back, *sums)
            return loss

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            # In its place: of a large vocabulary the layer's slope is gigabytes. Who went back twice would be told by autograd.
            made = [None if part is None else part.mul_(gradient) for part in ctx.saved_tensors]
            back, layer, added = made
            kinds = ctx.kinds
            return (
                None if back is None else back.to(kinds[0]), None if layer is None else layer.to(kinds[1]),
                None if added is None else added.to(kinds[1]), None, None, None, None,
            )  # fmt: skip

    return Summed
