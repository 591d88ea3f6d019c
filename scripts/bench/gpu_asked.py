"""A training that is asked of the GPU benchmark: what it is, what it is watched for, and what every way to do it shares."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS = ("unsloth", "peft", "unsloth_padded", "peft_padded")
PEERS = ("notebook_padded", "notebook_packed", "plain_padded", "plain_packed")
NEEDS = {
    "plain": ("trl", "peft", "datasets"),
    "notebook": ("unsloth", "trl", "peft", "datasets"),
    "unsloth": ("unsloth",),
    "peft": ("peft",),
}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA, RATE = 16, 32, 2e-4


@dataclass(frozen=True)
class Asked:
    """A training. ``base``: a model's folder, or a name as in train.base; ``rows``: a prepared folder; ``width`` rows a step, ``batch``
    of them (or lines) at once, "auto" for ours; ``steps`` in all; ``cap``: bytes of the card that it may take, 0 for all;
    ``profile``: steps that the profiler watches; ``folder``: where ours leave what they make; ``full``: train all weights;
    ``full_memory_at``: a step in which memory is said to be full, once (0: in none), for machines whose memory can not be capped."""

    way: str
    base: str
    rows: str
    folder: str
    max_tokens: int
    width: int = 16
    batch: int | str = 4
    steps: int = 11
    rate: float = RATE
    cap: int = 0
    profile: int = 0
    save_steps: int = 10_000
    quantize: str = "auto"
    full: bool = False
    full_memory_at: int = 0


@dataclass
class Watch:
    """Steps as they end: seconds and losses; and what the profiler saw of some."""

    asked: Asked
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    profiler: Any = None
    busy: dict[str, float] = field(default_factory=dict)

    def ended(self, loss: float, seconds: float) -> None:
        """A step has ended."""
        self.losses.append(loss)
        self.seconds.append(seconds)
        first = max(1, len(self.seconds) and self.asked.steps - self.asked.profile)
        if self.asked.profile and len(self.seconds) == first:
            self._begin()
        elif self.profiler is not None and len(self.seconds) == self.asked.steps:
            self._end()

    def _begin(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        # Of the card alone: to note what the processor does as well would keep the card waiting.
        self.profiler = profile(activities=[ProfilerActivity.CUDA if on_gpu() else ProfilerActivity.CPU])
        self.profiler.__enter__()
        self._began = time.perf_counter()

    def _end(self) -> None:
        if on_gpu():
            import torch

            torch.cuda.synchronize()
        seconds = time.perf_counter() - self._began
        self.profiler.__exit__(None, None, None)
        events = self.profiler.events()
        self.profiler = None
        spans = kernels(events)
        self.busy = {"seconds": seconds, "steps": self.asked.profile, "kernels": len(spans)}
        if spans:
            inside = spans[-1][1] - spans[0][0]
            self.busy["idle_share"] = 1 - covered(spans) / max(inside, 1e-9)


def kernels(events: Any) -> list[tuple[float, float]]:
    """Begin and end of what a card did, by their beginnings. A name that someone gave to a stretch of it (an optimiser's step) is told
    like a kernel, lasts over the gaps inside and is none."""
    return sorted(
        (one.time_range.start, one.time_range.end)
        for one in events
        if "CUDA" in str(one.device_type) and not one.is_user_annotation
    )


def covered(spans: list[tuple[float, float]]) -> float:
    """How long at least one of some spans, sorted by their beginnings, lasted."""
    total, end = 0.0, float("-inf")
    for begin, until in spans:
        if until > end:
            total += until - max(begin, end)
            end = until
    return total


def lacks(way: str) -> str:
    """Why a way can not be gone here; empty where it can."""
    for package in NEEDS[way.split("_")[0]]:
        if find_spec(package) is None:
            return f"{package} is not installed"
    if ("unsloth" in way or "notebook" in way) and not on_gpu():
        return "unsloth needs a GPU"
    return ""


@dataclass(frozen=True)
class Plan:
    """The examples of all steps, tokenised and masked once: ``examples`` as the trainers have them, and of each step their numbers."""

    examples: Any
    learnt: Any
    steps: list[list[int]]

    def counts(self, steps: int) -> dict[str, list[int]]:
        """Tokens, and tokens that carry loss, by step, and the sum of the squares of lengths, for the operations of attention."""
        each = self.steps[:steps]
        return {
            "tokens": [int(self.examples.lengths[one].sum()) for one in each], "answers": [int(self.learnt[one].sum()) for one in each],
            "squares": [int((self.examples.lengths[one].astype("int64") ** 2).sum()) for one in each],
        }  # fmt: skip


def context_of(folder: Path) -> Any:
    """What the trainer's own code asks for."""
    from langmill.api import Context

    return Context("bench", 17, packs(), folder)


@cache
def packs() -> Mapping[str, Any]:
    """The language packs by code. Reading them takes longer than a small training."""
    from langmill.api import packs_in

    return {pack.code: pack for pack in packs_in("langmill_languages")}


def folder_of(asked: Asked) -> str:
    """Where the base lies."""
    from langmill_plugins.trainers.weights.base_model import find_base

    return str(find_base(asked.base, context_of(Path(asked.rows))).folder)


def on_gpu() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return bool(torch.cuda.is_available())


def peaks() -> dict[str, int]:
    """Bytes at the fullest moment: tensors, and the allocator's pool; and what the device had given away at the end beside the pool,
    to CUDA's context and workspaces (and to whoever else is on it); on a CPU the process."""
    import resource

    import torch

    if not on_gpu():
        return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    free, total = torch.cuda.mem_get_info()
    return {
        "peak_bytes": int(torch.cuda.max_memory_allocated()), "reserved_bytes": int(torch.cuda.max_memory_reserved()),
        "program_bytes": int(total - free - torch.cuda.memory_reserved()),
    }  # fmt: skip
