"""What this machine trains on, and how fast it and some well-known cards are.

A card's figure is its dense bfloat16 rate with float32 sums, in the maker's data sheets. Training reaches a part of it: little
where the model is small and the card is fast, since then the time goes into starting kernels.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from langmill.api import Reach

GB = 1 << 30
CARD_SIZES = (12, 16, 24, 40, 48, 80)
USABLE = 0.93  # of a card's memory: its driver, and the desktop where there is one, have the rest
RATES = {
    "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A6000": 155e12, "RTX 5090": 209e12,
    "RTX 4090": 165e12, "RTX 3090": 71e12, "A10": 125e12, "L4": 121e12, "RTX 4060 Ti": 44e12, "RTX 3060": 25e12,
}  # fmt: skip
SHOWN = {12: "RTX 3060", 16: "RTX 4060 Ti", 24: "RTX 4090", 40: "A100", 48: "L40S", 80: "H100"}
"""The card of each size that a time is told for."""
REACHED = {True: (0.12, 0.5), False: (0.2, 0.65)}  # of the rate, on a GPU and of a matrix product's on a CPU
LAUNCH = (1.5e-3, 6e-3)  # seconds a layer and micro-batch, on any GPU: its kernels one after another
SIDE = 768  # rows and columns of the product that a CPU is timed by


class Device(NamedTuple):
    """``memory`` in bytes; None: not told."""

    name: str
    gpu: bool
    memory: int | None


@lru_cache(maxsize=1)
def here() -> Device:
    """This machine's first GPU, else its CPU. Asks the driver's own tool, since torch takes seconds to be asked."""
    found = _gpu()
    if found is not None:
        return found
    return Device("CPU", False, ram())


def rate(device: str, gpu: bool) -> float | None:
    """Floating-point operations a second: of a known card, or of this CPU (timed). None: not known."""
    if not gpu:
        return _cpu_rate()
    return next((each for name, each in RATES.items() if name in device), None)


def seconds(work: float, launches: float, per_second: float, gpu: bool) -> Reach:
    """Time for ``work`` operations in ``launches`` (layers times micro-batches)."""
    slow, fast = REACHED[gpu]
    low, high = work / (per_second * fast), work / (per_second * slow)
    if not gpu:
        return low, high
    return max(low, launches * LAUNCH[0]), max(high, launches * LAUNCH[1])


def _gpu() -> Device | None:
    from importlib.metadata import PackageNotFoundError, version

    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not (tool := shutil.which("nvidia-smi")):
        return None
    try:
        if version("torch").endswith("+cpu"):
            return None  # it would not see the GPU
    except PackageNotFoundError:
        pass  # the plan needs no torch; what will be installed beside a GPU sees it
    try:
        asked = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout
        name, megabytes = said.strip().splitlines()[0].rsplit(",", 1)
        return Device(name.strip(), True, int(megabytes) << 20)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def ram() -> int | None:
    """Memory of the machine, or of the container where it may have less."""
    sizes = []
    with contextlib.suppress(OSError, ValueError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                sizes.append(int(file.read()))
        except (OSError, ValueError):
            continue
    return min(sizes, default=None)


def free_ram() -> int | None:
    """Memory that the machine, or the container, could give away now without a program being stopped for it."""
    sizes = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        sizes.append(int(lines["MemAvailable"].split()[0]) << 10)
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        sizes.append(int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text()))
    return min(sizes, default=ram())


@lru_cache(maxsize=1)
def _cpu_rate() -> float | None:
    """The best of three products of float32 matrices; None without NumPy."""
    try:
        import numpy as np
    except ImportError:
        return None
    one: Any = np.ones((SIDE, SIDE), np.float32)
    one @ one
    took = []
    for _ in range(3):
        began = time.perf_counter()
        one @ one
        took.append(time.perf_counter() - began)
    return 2 * SIDE**3 / min(took)
