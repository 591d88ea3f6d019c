"""Several processes for one stage: the job's own command, started once a rank by ``accelerate launch``, all on this machine.

Data-parallel: every rank holds the whole model and takes its share of each step, one GPU a rank (nccl), or the CPU (gloo).
What accelerate could shard besides (FSDP2, DeepSpeed, tensor or pipeline parallelism) and several machines are not offered:
a frozen base in four bits, its adapter and our checkpoints would each need another form there.

Ranks speak over the loopback interface alone. torch's launcher also opens its meeting point, a store of keys and values, on a
free port, which no option of it binds to one interface; of its two kinds the static one is taken: the other unpickles what it finds.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from langmill.api import FactoryError, RecipeError, TrainJob, write_json
from langmill_plugins.trainers.loop.memory import MEMORY
from langmill_plugins.trainers.options import AdapterTrainer
from langmill_plugins.trainers.weights.base_model import find_base
from langmill_plugins.trainers.weights.standing import forget_merged

STDERR = 2  # where this process's own words go, too: the stage's log
PATIENCE = 60.0  # seconds that ranks have to end; torch's launcher gives them 30
# What a surrounding launcher or a person's settings for other work would have told accelerate, torch and the ranks.
_FOREIGN = re.compile(
    r"(ACCELERATE|FSDP|PARALLELISM_CONFIG|DEEPSPEED|MEGATRON_LM|PET|TORCHELASTIC)_.*"
    r"|(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|ROLE_NAME"
)
_ROOT_CAUSE = re.compile(r"Root Cause.*?\brank\s*:\s*(\d+).*?\bexitcode\s*:\s*(-?\d+)", re.DOTALL)


def launches(trainer: AdapterTrainer) -> bool:
    """Whether this process is to start others for a stage, and is none of them."""
    return trainer.processes > 1 and "RANK" not in os.environ


def launch(job: TrainJob, trainer: AdapterTrainer) -> Path:
    """Train a stage in ``trainer.processes`` processes; returns the folder of what was trained.

    Events of rank 0 go to ``job.report`` as they come, standard error of all ranks to this process's. Ranks that ran out of
    memory and left what they learnt from it in the stage's folder are started again. Raises the error that a rank met,
    RecipeError for more processes than GPUs, FactoryError when a rank died. No rank outlives this process.
    """
    _check(job, trainer)
    find_base(trainer.base, job.context)  # a packaged base is converted once, not by every rank at a time
    try:
        while True:
            before = _known(job.folder)
            end = _run(job, trainer.processes)
            if end.trained:
                return job.folder / PurePath(end.trained).name
            if end.named or _known(job.folder) == before:
                raise _failure(job.stage.name, trainer.processes, end)
            text = "memory ran out: its batches are cut in two, and it goes on from its last checkpoint"
            job.report({"event": "note", "text": f"{job.stage.name}: {text}"})
    finally:
        forget_merged(job.folder)


def _known(folder: Path) -> bytes:
    """What the ranks know of this machine's memory; it changes when it ran out and there is something to be done about it."""
    path = folder / MEMORY
    return path.read_bytes() if path.is_file() else b""


@dataclass(frozen=True)
class _End:
    """How a launch ended: what was trained, as rank 0 told it (None: nothing); the ranks' errors; the last lines of all."""

    trained: str | None
    errors: list[Mapping[str, Any]]
    words: list[str]

    @property
    def named(self) -> Mapping[str, Any] | None:
        """The first error that a rank could name; others are consequences, or bugs."""
        return next((error for error in self.errors if not error.get("unforeseen")), None)


def _check(job: TrainJob, trainer: AdapterTrainer) -> None:
    import torch

    if not job.command:
        raise FactoryError(
            f"train.processes: {trainer.processes} needs a job that can be started again: train with factory run"
        )
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else None
    if gpus is not None and trainer.processes > gpus:
        raise RecipeError(
            f"train.processes is {trainer.processes}, and this machine has {gpus} GPU{'s' if gpus > 1 else ''}: each "
            f"process needs one. Set train.processes to at most {gpus}"
        )


def _run(job: TrainJob, processes: int) -> _End:
    """Start all ranks, relay what they tell, and wait until they are gone."""
    trained: str | None = None
    errors: list[Mapping[str, Any]] = []
    words: deque[str] = deque(maxlen=120)
    pipe = subprocess.PIPE
    with tempfile.TemporaryDirectory(prefix="langmill-ranks-") as name:
        command = [*_launcher(Path(name), processes), *job.command]
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment(processes))
        assert child.stdin and child.stdout and child.stderr
        copying = threading.Thread(target=_copy, args=(child.stderr, words), daemon=True)
        copying.start()
        # Ranks end with their standard input, which is ours to close: when we are killed, and when the launcher is.
        threading.Thread(target=_close_at_end, args=(child,), daemon=True).start()
        try:
            for line in child.stdout:
                event = _event(line)
                if event.get("event") == "error":
                    errors.append(event)
                elif event.get("event") == "trained":
                    trained = str(event["adapter"])
                elif event:
                    job.report(event)
        finally:
            child.stdin.close()
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
            copying.join(PATIENCE)
    return _End(trained, errors, list(words))


def _launcher(folder: Path, processes: int) -> list[str]:
    """``accelerate launch`` up to the command. Every setting is said, and the file of settings is ours: one in the person's home
    was written for other work. Without GPUs, too, it is --multi_gpu that starts several processes, --cpu starts one."""
    settings = folder / "launch.json"
    facts = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_GPU", "mixed_precision": "no"}
    write_json(settings, {**facts, "use_cpu": False, "debug": False, "num_processes": processes, "num_machines": 1})
    options = {
        "config_file": settings, "num_processes": processes, "num_machines": 1, "machine_rank": 0,
        "main_process_ip": "127.0.0.1", "main_process_port": _free_port(), "rdzv_backend": "static", "gpu_ids": "all",
        "mixed_precision": "no", "dynamo_backend": "no", "num_cpu_threads_per_process": _threads(processes),
    }  # fmt: skip
    said = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", *said, "--no_python"]


def _environment(processes: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    loopback = next((name for _, name in socket.if_nameindex() if re.fullmatch(r"lo\d*", name)), "lo")
    return {**kept, "GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}


def _threads(processes: int) -> int:
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else max(1, (os.cpu_count() or 1) // processes)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _event(line: bytes) -> dict[str, Any]:
    """A told line; what a library printed is passed over."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _copy(stderr: Iterable[bytes], words: deque[str]) -> None:
    for line in stderr:
        words.append(line.decode("utf-8", "replace").rstrip())
        os.write(STDERR, line)


def _close_at_end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    child.wait()
    child.stdin.close()


def _failure(stage: str, processes: int, end: _End) -> FactoryError:
    """The error of ranks that did not finish. What one of them met and could name comes first; a rank whose neighbour is gone
    meets an error too, which is none of its own."""
    if end.named:
        failure = FactoryError(str(end.named["message"]))
        failure.exit_code = int(end.named["exit_code"])
        return failure
    found = _ROOT_CAUSE.search("\n".join(end.words))
    rank, code = (int(found[1]), int(found[2])) if found else (None, 0)
    said = {error.get("rank"): str(error["message"]) for error in end.errors}
    if code < 0:
        why = f"process {rank} was killed by signal {-code}"
        why += " (which the system does when memory runs out)" if code == -9 else ""
    elif rank is not None:
        why = f"process {rank} ended with {code}" + (f": {said[rank]}" if rank in said else "")
    else:
        why = " / ".join([*said.values(), *end.words][-3:]) or "no process said why"
    return FactoryError(
        f"stage '{stage}', trained by {processes} processes, broke off: {why}. Run again: with the same options it continues from its last "
        "checkpoint (all that was said: stderr.log in the stage's folder)"
    )
