"""The card of this machine, asked in a process of its own: one that has asked holds some of the card's memory until it ends.

    python -m bench.gpu_card [measure]

prints a line of JSON: its name and memory; with ``measure`` also what a large matrix product and a large copy reach.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

SIDE, COPIED = 8192, 1 << 32  # rows and columns of the product; bytes that are copied


def facts(measured: bool) -> dict[str, Any]:
    """``card`` (empty where there is none) and ``total`` bytes; and, if measured, ``free`` bytes, driver, capability, operations a
    second in bfloat16, and bytes read and written a second."""
    import torch

    if not torch.cuda.is_available():
        return {"card": "", "total": 0}
    free, total = torch.cuda.mem_get_info()
    found: dict[str, Any] = {"card": torch.cuda.get_device_name(), "total": total}
    if not measured:
        return found
    one = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    large = torch.empty(COPIED, device="cuda", dtype=torch.uint8)
    product, copy = _timed(lambda: one @ one), _timed(large.clone)
    return {
        **found, "free": free, "driver": _driver(), "capability": torch.cuda.get_device_capability(),
        "bf16": 2 * SIDE**3 / product, "copy": 2 * COPIED / copy,
    }  # fmt: skip


def _driver() -> str | None:
    """The driver's version, None where its tool is not at hand."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return None
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or None


def _timed(work: Callable[[], Any]) -> float:
    """Seconds of the median of ten, after three."""
    import torch

    took = []
    for number in range(13):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if number >= 3:
            took.append(begin.elapsed_time(end) / 1000)
    return median(took)


if __name__ == "__main__":
    print(json.dumps(facts("measure" in sys.argv[1:])), flush=True)
