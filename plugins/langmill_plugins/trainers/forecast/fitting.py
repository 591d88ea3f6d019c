"""Whether a stage fits into this machine's memory at all, asked when its examples are known and before its weights are loaded.

Batches that do not fit are halved while training goes on. So what is refused here is only what no batch can save: a model with
all that is trained of it and one example.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from langmill.api import FactoryError
from langmill_plugins.trainers.forecast.choosing import Cut, batches, chosen, of_batch
from langmill_plugins.trainers.forecast.devices import GB, free_ram, ram
from langmill_plugins.trainers.forecast.memory import Setting, least, memory
from langmill_plugins.trainers.forecast.shape import shape_of
from langmill_plugins.trainers.forecast.stage import advice, setting
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer
from langmill_plugins.trainers.tokens.examples import Examples

NEAR = 0.9  # of the memory: from here on a person is told


def must_fit(
    trainer: AdapterTrainer, stage: AdapterStage, folder: Path, examples: Examples, packed: bool, keeps: bool = False
) -> Iterator[str]:
    """Notes for people where it will be tight. ``folder`` is the base's; ``keeps``: as :func:`cut` has it. Raises FactoryError, with
    what to change and what it takes then, where the model itself and one example are more than the device holds.
    """
    room, gpu = _room()
    try:
        shape = shape_of(folder)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return  # files that are laid out in a way of their own: loading them will tell
    if room is None:
        return
    longest, mean = int(examples.lengths.max()), examples.tokens / len(examples)
    how = setting(trainer, stage, gpu, packed, longest, mean, _answers(examples))
    how = replace(how, keeps=keeps)
    one = replace(how, batch=1, line=longest, packed=False, keeps=False)
    need, device = least(shape, one), "the GPU" if gpu else "this machine"
    if need > room:
        told = "; ".join(f"{words} ({size / GB:.1f} GB)" for words, size in advice(shape, one, stage.width, room))
        raise FactoryError(
            f"stage '{stage.name}' can not fit: {trainer.base} in {how.held} with what is trained of it and one example takes "
            f"{need / GB:.1f} GB, and {device} has {room / GB:.1f} GB. One after another: {told or 'nothing helps'}; or a "
            "smaller train.base"
        )
    usual = sum(memory(shape, how).values())
    if usual > NEAR * room:
        ends = "batches are halved if it does not fit" if gpu else "if the system stops the run: a smaller batch:"
        yield f"{stage.name}: takes about {usual / GB:.1f} GB of the {room / GB:.1f} GB that {device} has; {ends}"


def cut(trainer: AdapterTrainer, stage: AdapterStage, folder: Path, examples: Examples, packed: bool) -> Cut:
    """How a stage is cut on this machine, by what is free now. ``folder`` is the base's, of which headers alone are read."""
    room, gpu = _free(trainer.processes)
    try:
        shape = shape_of(folder)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        shape = None  # files that are laid out in a way of their own
    sizes = batches(trainer, stage)
    if room is None or shape is None:
        return Cut(sizes[-1], False)
    longest, mean = int(examples.lengths.max()), examples.tokens / len(examples)

    def way(size: int) -> tuple[int, Setting]:
        return size, setting(trainer, of_batch(stage, size), gpu, packed, longest, mean, _answers(examples))

    return chosen(shape, [way(size) for size in sizes], room)


def _answers(examples: Examples) -> float:
    return examples.trained / max(1, examples.tokens)


def _room() -> tuple[int | None, bool]:
    """Bytes of the device that training will use, and whether it is a GPU."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1]), True
    return ram(), False


def _free(processes: int) -> tuple[int | None, bool]:
    """Bytes that a process may take, and whether of a GPU. Several processes must come to the same cut without a word to one
    another, so they go by what their GPUs have in all and not by what is free at the moment."""
    import torch

    if not torch.cuda.is_available():
        return (free_ram() if processes == 1 else ram()), False
    if processes == 1:
        # Where a process may take a part of its device alone, it finds no more than that.
        total = torch.cuda.get_device_properties(0).total_memory
        return min(int(torch.cuda.mem_get_info()[0]), int(total * torch.cuda.get_per_process_memory_fraction())), True
    return min(torch.cuda.get_device_properties(one).total_memory for one in range(torch.cuda.device_count())), True
