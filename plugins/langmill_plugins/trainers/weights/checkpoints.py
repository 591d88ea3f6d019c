"""Where a killed stage goes on: folders that are either whole or not there, without a pickle in them.

transformers keeps optimiser, schedule and random state by torch.save, which is a pickle, and writes into the final place.
Here tensors are safetensors and the rest is JSON; a checkpoint gets its name when all of it has reached the disk, and
carries the sums of its files, so that one that was cut, copied badly or belongs to other tokens or options is passed over.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, whole_folder

PREFIX = "step-"
CONTENTS = "contents.json"
STATE = "state.json"
OPTIMISER = "optimiser.safetensors"
PARAMETERS = "parameters.safetensors"
INSIDE = "/"  # between the names of what is nested


def last_whole(folder: Path, fingerprint: str) -> Path | None:
    """The newest checkpoint that is whole and was written under the same fingerprint."""
    found = sorted(
        (path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()),
        key=lambda path: int(path.name.removeprefix(PREFIX)),
        reverse=True,
    )
    return next((path for path in found if _is_whole(path, fingerprint)), None)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(PREFIX))


def write(folder: Path, step: int, fingerprint: str, fill: Any, keep: int = 2) -> Path:
    """Write the checkpoint of a step: ``fill`` (a function of a folder) puts the files there. Keeps the newest ``keep``."""
    from safetensors import SafetensorError

    final = folder / f"{PREFIX}{step}"
    with whole_folder(final) as work:
        try:
            fill(work)
        except SafetensorError as fault:  # its writer knows a full disk by no other name
            raise OSError(str(fault)) from fault
        sums = {path.name: _sum(path) for path in sorted(work.iterdir())}
        facts = {"step": step, "fingerprint": fingerprint, "files": sums}
        (work / CONTENTS).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    older = sorted(
        (path for path in folder.glob(f"{PREFIX}*") if path != final),
        key=lambda path: int(path.name.removeprefix(PREFIX)),
    )
    for path in older[: max(0, len(older) - keep + 1)]:
        shutil.rmtree(path)
    return final


def save_parameters(model: Any, folder: Path) -> None:
    """All parameters that are trained, by name and in the precision they are trained in; one that goes by two names once."""
    from safetensors.torch import save_file

    save_file({name: part.detach().cpu().contiguous() for name, part in _trained(model)}, folder / PARAMETERS)


def load_parameters(model: Any, folder: Path) -> None:
    """Undo :func:`save_parameters`. Raises MissingInput where names or shapes are others."""
    import torch
    from safetensors.torch import load_file

    kept, trained = load_file(folder / PARAMETERS), dict(_trained(model))
    if {name: part.shape for name, part in kept.items()} != {name: part.shape for name, part in trained.items()}:
        raise MissingInput(f"{folder} does not fit the model: delete it, and the stage begins anew")
    with torch.no_grad():
        for name, part in trained.items():
            part.copy_(kept[name])


def all_finite(model: Any) -> bool:
    """Whether every parameter that is trained is a number."""
    return all(bool(part.detach().isfinite().all()) for _, part in _trained(model))


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in model.named_parameters() if part.requires_grad]


def save_optimiser(optimiser: Any, schedule: Any, folder: Path) -> None:
    """Moments and counters as safetensors, all else (rates, the schedule's place) as JSON."""
    import torch
    from safetensors.torch import save_file

    state = optimiser.state_dict()
    tensors: dict[str, Any] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, values in state["state"].items():
        for name, value in _flat(values):
            if isinstance(value, torch.Tensor):
                # A copy: safetensors refuses tensors that share memory.
                tensors[f"{number}.{name}"] = value.detach().cpu().clone().contiguous()
            else:
                plain.setdefault(str(number), {})[name] = value
    save_file(tensors, folder / OPTIMISER)
    facts = {
        "groups": state["param_groups"],
        "plain": plain,
        "schedule": {key: value for key, value in schedule.state_dict().items() if key != "lr_lambdas"},
    }
    (folder / STATE).write_text(json.dumps(facts), encoding="utf-8")


def load_optimiser(optimiser: Any, schedule: Any, folder: Path) -> None:
    """Undo :func:`save_optimiser`."""
    from safetensors.torch import load_file

    facts = json.loads((folder / STATE).read_text("utf-8"))
    state: dict[int, dict[str, Any]] = {}
    kept = [(int(number), *found) for number, values in facts["plain"].items() for found in values.items()]
    for key, tensor in load_file(folder / OPTIMISER).items():
        number, _, name = key.partition(".")
        kept.append((int(number), name, tensor))
    for number, name, value in kept:
        *outer, last = name.split(INSIDE)
        place = state.setdefault(number, {})
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    optimiser.load_state_dict({"state": state, "param_groups": facts["groups"]})
    # The learning-rate curve is a function and is made anew from the options; only its place is kept.
    schedule.load_state_dict({**schedule.state_dict(), **facts["schedule"]})


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is nested, under one name each: bitsandbytes puts quantised moments into a dict of their own."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}{INSIDE}{inner}", found) for inner, found in _flat(value))
        else:
            yield name, value


def _is_whole(path: Path, fingerprint: str) -> bool:
    try:
        facts: Mapping[str, Any] = json.loads((path / CONTENTS).read_text("utf-8"))
        if facts["fingerprint"] != fingerprint:
            return False
        return all(_sum(path / name) == expected for name, expected in facts["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
