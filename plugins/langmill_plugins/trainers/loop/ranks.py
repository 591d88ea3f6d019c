"""The processes that share a stage. Each has all of the model; they share the micro-batches of a step, and their gradients.

There is no DistributedDataParallel: it expects every process to have the same number of micro-batches, each with every
parameter in it, which the last step of a stage, or a halved one, need not have.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Thing = TypeVar("Thing")

#: How a process ends whose memory ran out: the others wait for it, so that all have to begin again with smaller batches.
OUT_OF_MEMORY = 75


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's number among those of a stage, and how many they are."""

    number: int = 0
    of: int = 1

    @classmethod
    def here(cls, processes: int) -> Ranks:
        """What the launcher has set for a stage of so many processes."""
        if processes == 1:
            return cls()
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    @property
    def leads(self) -> bool:
        """Whether this process is the one that tells and writes."""
        return self.number == 0

    def share(self, things: Sequence[Thing]) -> Sequence[Thing]:
        """This process's part."""
        return things[self.number :: self.of]

    def added_up(self, numbers: Sequence[float], device: Any) -> Sequence[float]:
        """Each number's sum over all processes."""
        if self.of == 1:
            return numbers
        import torch

        sums = torch.tensor(numbers, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(sums)
        return [float(number) for number in sums]

    def add_gradients(self, parameters: Iterable[Any]) -> None:
        """Every parameter's gradient becomes the sum over all processes; a process without a micro-batch adds nothing."""
        if self.of == 1:
            return
        import torch

        waiting = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            waiting.append(torch.distributed.all_reduce(parameter.grad, async_op=True))
        for work in waiting:
            work.wait()
