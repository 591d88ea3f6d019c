"""A stage that was killed, at any moment, ends with the weights of one that was not: bit for bit, on one machine's CPU."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import tiny_base
from tests.training import desk_in, furthest, log_lines, result

from langmill.api import FactoryError, MissingInput
from langmill_plugins.trainers.options import AdapterStage, Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.weights import checkpoints

SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "adapter": ({}, {"lora": Lora(rank=4, dropout=0.2)}),
    "packed": ({"packing": True, "batch": 2, "eval_steps": 3}, {"lora": Lora(rank=4, dropout=0.2)}),
    "all weights": ({"weight_decay": 0.1}, {"lora": "none"}),
}


def train(root: Path, shape: str, name: str) -> Path:
    """A stage of 12 steps with a checkpoint after every second."""
    stage, trainer = SHAPES[shape]
    options = {
        "batch": 1,
        "accumulate": 2,
        "learning_rate": 1e-2,
        "save_steps": 2,
        "eval_rows": 3,
        "epochs": 4,
        **stage,
    }
    desk = desk_in(root)
    job = desk.job(name, AdapterStage(name="one", data="toy", **options))
    return PeftTrainer(base=str(root / "base"), max_tokens=64, **trainer).train(job)


def killed(processes: Any, root: Path, shape: str, when: int) -> None:
    """A process that trains and is killed with SIGKILL once its log has so many lines."""
    log = root / "killed" / "train_log.jsonl"
    child = processes.Process(target=train, args=(root, shape, "killed"))
    child.start()
    deadline = time.monotonic() + 120
    while child.is_alive() and time.monotonic() < deadline:
        if log.exists() and len(log.read_bytes().splitlines()) >= when:
            break
        time.sleep(0.001)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("shape", SHAPES)
def test_killed_at_any_moment(shape: str, tmp_path: Path, processes: Any) -> None:
    tiny_base(tmp_path / "base")
    whole = train(tmp_path, shape, "whole")
    for when in (1, 6):
        killed(processes, tmp_path, shape, when)
        assert not (tmp_path / "killed" / whole.name).exists()
    again = train(tmp_path, shape, "killed")
    assert furthest(whole, again) == 0.0
    told = [{key: line[key] for key in line if key != "seconds"} for line in log_lines(whole)]
    assert [{key: line[key] for key in line if key != "seconds"} for line in log_lines(again)] == told
    for key in ("dev_loss", "train_loss", "tokens", "draws", "fingerprint"):
        assert result(again)[key] == result(whole)[key]


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fills up while the checkpoint of step 4 is written, and again while the adapter is: nothing is half there."""
    import safetensors.torch
    from safetensors import SafetensorError

    tiny_base(tmp_path / "base")
    whole = train(tmp_path, "adapter", "whole")
    real = safetensors.torch.save_file
    full = [".step-4.", "optimiser"]

    def save(tensors: Any, path: Path, *more: Any) -> None:
        if all(part in str(path) for part in full):
            Path(path).write_bytes(b"half of it")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        real(tensors, path, *more)

    monkeypatch.setattr(safetensors.torch, "save_file", save)
    with pytest.raises(FactoryError, match=r"(?s)No space left.*(make|Make) room"):
        train(tmp_path, "adapter", "full")
    kept = tmp_path / "full" / "checkpoints"
    assert [path.name for path in kept.iterdir()] == ["step-2"]
    full[:] = [".adapter.", "adapter_model"]
    with pytest.raises(FactoryError, match=r"(?s)No space left.*(make|Make) room"):
        train(tmp_path, "adapter", "full")
    assert sorted(path.name for path in kept.iterdir()) == ["step-10", "step-12"]
    assert not [path for path in (tmp_path / "full").iterdir() if "adapter" in path.name]
    full[:] = ["never"]
    assert furthest(whole, train(tmp_path, "adapter", "full")) == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of POSIX")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The real writer against a real limit."""
    import resource

    import torch

    model = torch.nn.Linear(512, 512)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints.write(tmp_path, 1, "x", lambda folder: checkpoints.save_parameters(model, folder))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(FactoryError, match="can not write"):
            checkpoints.write(tmp_path, 2, "x", lambda folder: checkpoints.save_parameters(model, folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_parameters_there_and_back(tmp_path: Path) -> None:
    """Frozen ones are left out, one under two names is kept once, and what does not fit is refused."""
    import torch

    model = torch.nn.ModuleDict(
        {"a": torch.nn.Linear(3, 3, bias=False), "b": torch.nn.Linear(3, 3), "c": torch.nn.Linear(3, 3)}
    )
    model["b"].weight = model["a"].weight
    model["c"].requires_grad_(False)
    checkpoints.save_parameters(model, tmp_path)
    kept = {name: part.detach().clone() for name, part in model.named_parameters()}
    with torch.no_grad():
        for part in model.parameters():
            part.add_(1)
    checkpoints.load_parameters(model, tmp_path)
    for name, part in model.named_parameters():
        assert torch.equal(part, kept[name] + (1 if name.startswith("c") else 0))
    with pytest.raises(MissingInput, match="does not fit"):
        checkpoints.load_parameters(torch.nn.Linear(2, 2), tmp_path)
