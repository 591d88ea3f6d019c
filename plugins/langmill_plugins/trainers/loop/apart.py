"""Whether the examples of a packed line stay apart: what a model's configuration says, and what the loaded model does.

A model of attention alone sees where an example begins from position ids that begin anew. One with a state that runs along the
line (convolutions, linear attention, state spaces) does not look at them, and would go on with the example before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from langmill.api import RecipeError
from langmill_plugins.trainers.loop.batches import Layout, collate
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.tokens.examples import Example, Examples

#: Layers whose attention follows position ids. Chunked attention does not: its chunks are counted from the line's beginning.
APART = {"full_attention", "sliding_attention"}
#: Kinds of model with a running state whose configuration does not list its layers.
STATEFUL = {"lfm2", "lfm2_moe", "recurrent_gemma", "rwkv", "xlstm"}
LONGEST = 48  # tokens of an example of the probe


class Packing(NamedTuple):
    """Whether lines are packed, and why."""

    on: bool
    why: str


def packing_of(stage: AdapterStage, config: Any, unpacked: bool) -> Packing:
    """What the options and a model's configuration come to. ``unpacked``: the model has been found to mix examples up.

    Raises RecipeError for ``packing: true`` on a model that has a running state.
    """
    import torch

    if stage.packing is False:
        return Packing(False, "packing: false")
    if state := running_state(config):
        if stage.packing is True:
            raise RecipeError(
                f"stage '{stage.name}': packing: true, but a model of type {config.model_type} ({state}) can not tell the "
                "examples of a line apart: packing: false, or leave it out"
            )
        return Packing(
            False, f"a model of type {config.model_type} ({state}) can not tell the examples of a line apart"
        )
    if stage.packing is True:
        return Packing(True, "packing: true")
    if unpacked:
        return Packing(False, MIXED)
    if not torch.cuda.is_available():
        return Packing(False, "there is no GPU; packing: true packs here, too")
    return Packing(True, "there is a GPU")


MIXED = "the model was found to mix up the examples of a line"


def running_state(config: Any) -> str | None:
    """What in a configuration (transformers' class) tells that something but attention runs along the line; None: nothing does."""
    text = config.get_text_config()
    strange = sorted(set(getattr(text, "layer_types", None) or ()) - APART)
    if strange:
        return ", ".join(strange)
    return "a running state" if text.model_type in STATEFUL else None


def seen_across(model: Any, examples: Examples, pad: int, layout: Layout) -> tuple[float, float]:
    """How much a model lets the second example of a line see of the first: the largest difference of its logits when another
    first one of the same length comes before it, and when it stands alone; both as shares of the logits' standard deviation.
    """
    import torch

    some = [list(map(int, examples.ids_of(number)[:LONGEST])) for number in (0, len(examples) - 1)]
    kinds = (some[0], some[0][::-1] if some[0] != some[0][::-1] else [pad] * len(some[0]), some[1])
    trial = Examples.of(Example(ids, [False] * len(ids), 0, 0, "", "") for ids in kinds)
    length = len(some[1])

    def logits(line: list[int], how: Layout) -> Any:
        made = collate([line], trial, pad, how)
        inputs = {
            name: value.to(model.device) if isinstance(value, torch.Tensor) else value
            for name, value in made.items()
            if name != "labels"
        }
        return model(**inputs, use_cache=False).logits[0, -length:].float()

    gpu = torch.cuda.is_available()
    was = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast("cuda" if gpu else "cpu", dtype=torch.bfloat16, enabled=gpu):
            one, other, alone = logits([0, 2], layout), logits([1, 2], layout), logits([2], "padded")
    finally:
        model.train(was)
    spread = float(alone.std())
    return float((one - other).abs().max()) / spread, float((one - alone).abs().max()) / spread


def stays_apart(model: Any, examples: Examples, pad: int, layout: Layout) -> bool:
    """Whether the loaded model keeps the examples of a line from seeing one another.

    With another neighbour, all else being the same, the same kernels add the same numbers, so that next to nothing may
    differ. Alone, other kernels may be at work, and sixteen bits round otherwise.
    """
    import torch

    exact = not torch.cuda.is_available()
    try:
        neighbour, alone = seen_across(model, examples, pad, layout)
    except TypeError:  # its forward knows no position ids, or no lengths
        return False
    return neighbour < (1e-3 if exact else 2e-2) and alone < (1e-2 if exact else 0.25)


def config_of(folder: Path) -> Any:
    """A model's configuration, with the defaults of its class. Raises RecipeError for a kind that transformers does not know."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ValueError as fault:
        raise RecipeError(
            f"train.base: {folder / 'config.json'} describes a model that this transformers does not know or that brings code "
            f"of its own, which is not run: {str(fault).splitlines()[0]}"
        ) from fault
