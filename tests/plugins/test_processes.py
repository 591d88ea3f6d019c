"""Several processes for one stage, on the CPU: real ones under accelerate's launcher, small ones that only play ranks, and two
that train."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench

from langmill.api import Context, FactoryError, RecipeError, TrainJob, packs_in
from langmill.jobs import train
from langmill.recipe.assembly import assemble
from langmill_plugins.trainers.loop.launching import launch
from langmill_plugins.trainers.loop.memory import MEMORY, Memory
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.peft import PeftTrainer

BASE = "local/smollm2-135m-instruct"
PATIENCE = 120.0  # seconds until something awaited counts as never coming

RANK = '''"""Plays a rank: leaves when its standard input closes, as a job does."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


def end():
    sys.stdin.buffer.read()
    os._exit(1)


threading.Thread(target=end, daemon=True).start()
rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])


def tell(event, **more):
    sys.__stdout__.write(json.dumps({"event": event, **more}) + "\\n")
    sys.__stdout__.flush()


def leave(code):
    sys.stderr.flush()
    os._exit(code)

'''


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., TrainJob]:
    """Makes a job whose ranks run a few lines of Python."""
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}

    def make(lines: str, report: Callable[[Mapping[str, Any]], None] = lambda event: None) -> TrainJob:
        script, folder = tmp_path / "rank.py", tmp_path / "one"
        script.write_text(RANK + lines, "utf-8")
        folder.mkdir()
        return TrainJob(
            AdapterStage(name="one", data="toy"), None, lambda split: iter(()), folder,
            Context("train.one", 17, packs, tmp_path), report, (sys.executable, str(script), str(folder)),
        )  # fmt: skip

    return make


TWO = PeftTrainer(base=BASE, processes=2)


def test_ranks_are_told_who_they_are_and_nothing_else_tells_them_anything(
    stage: Callable[..., TrainJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of settings in the home, written for other work, and the variables of a launcher around us must not matter."""
    settings = tmp_path / "hub" / "accelerate" / "default_config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("compute_environment: AMAZON_SAGEMAKER\nnum_processes: 7\ndynamo_backend: inductor\n", "utf-8")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "9"), ("ACCELERATE_USE_FSDP", "true"), ("PET_NNODES", "3")):
        monkeypatch.setenv(name, value)
    told: list[Mapping[str, Any]] = []
    job = stage(
        """
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "GLOO_SOCKET_IFNAME", "ACCELERATE_USE_FSDP",
         "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_MIXED_PRECISION", "OMP_NUM_THREADS")
(folder / f"{rank}.json").write_text(json.dumps({name: os.environ.get(name) for name in names}))
if rank == 0:
    print("a library says hello")
    tell("step", step=1, of=1, loss=2.0)
    tell("trained", adapter="train/one/adapter")
leave(0)
""",
        told.append,
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launch(job, TWO) == job.folder / "adapter"
    assert told == [{"event": "step", "step": 1, "of": 1, "loss": 2.0}]
    seen = [json.loads((job.folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    for rank, facts in enumerate(seen):
        assert facts == {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "GLOO_SOCKET_IFNAME": facts["GLOO_SOCKET_IFNAME"], "ACCELERATE_USE_FSDP": None,
            "ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        assert facts["GLOO_SOCKET_IFNAME"].startswith("lo")


BROKEN = """
if rank == 1:
    {}
time.sleep(60)
"""


def test_a_killed_rank_takes_the_others_along_and_is_named(stage: Callable[..., TrainJob]) -> None:
    job = stage(BROKEN.format("os.kill(os.getpid(), signal.SIGKILL)"))
    with pytest.raises(
        FactoryError, match=r"stage 'one', trained by 2 processes, broke off: process 1 was killed by"
    ) as caught:
        launch(job, TWO)
    assert (
        "signal 9 (which the system does when memory runs out). Run again: with the same options it continues"
        in str(caught.value)
    )


def test_what_a_rank_could_name_comes_before_what_others_met(stage: Callable[..., TrainJob]) -> None:
    job = stage(
        """
if rank == 1:
    tell("error", message="the loss at step 3 is nan", exit_code=1)
    leave(1)
time.sleep(0.5)
tell("error", rank=0, message="RuntimeError: connection closed by peer", exit_code=1, unforeseen=True)
leave(1)
"""
    )
    with pytest.raises(FactoryError) as caught:
        launch(job, TWO)
    assert str(caught.value) == "the loss at step 3 is nan"


def test_a_bug_in_a_rank_is_told_with_its_words(stage: Callable[..., TrainJob]) -> None:
    words = 'tell("error", rank=1, message="ZeroDivisionError: by zero", exit_code=1, unforeseen=True); leave(3)'
    with pytest.raises(FactoryError, match=r"process 1 ended with 3: ZeroDivisionError: by zero\. Run again"):
        launch(stage(BROKEN.format(words)), TWO)


def test_ranks_that_ran_out_of_memory_start_again_while_they_can_do_something_about_it(
    stage: Callable[..., TrainJob],
) -> None:
    """The second rank finds too little memory once, leaves what is to be done, and the others follow it."""
    told: list[Mapping[str, Any]] = []
    job = stage(
        f"""
memory = folder / {MEMORY!r}
if memory.exists():
    if rank == 0:
        tell("trained", adapter="train/one/model")
    leave(0)
(folder / f"begun{{rank}}").touch()
while not (folder / f"begun{{1 - rank}}").exists():  # the slower one must not find what the other leaves
    time.sleep(0.01)
if rank == 1:
    memory.write_text(json.dumps({{"of": "x", "halvings": 1, "unpacked": False}}))
    leave(75)
time.sleep(60)
""",
        told.append,
    )
    assert launch(job, TWO) == job.folder / "model"
    assert [event["text"] for event in told] == [
        "one: memory ran out: its batches are cut in two, and it goes on from its last checkpoint"
    ]
    assert Memory.read(job.folder, "x").halvings == 1
    with pytest.raises(FactoryError, match="process 1 ended with 75"):
        (job.folder.parent / "rank.py").write_text(RANK + BROKEN.format("leave(75)"), "utf-8")
        launch(job, TWO)  # it left nothing new: starting again would end the same way


@pytest.mark.parametrize("whom", ["parent", "launcher"])
def test_no_rank_is_left_behind(stage: Callable[..., TrainJob], tmp_path: Path, whom: str) -> None:
    job = stage("(folder / f'pid{rank}').write_text(str(os.getpid()))\ntime.sleep(120)\n")
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace as N\n"
        "from langmill_plugins.trainers.loop import launching\n"
        "stage, folder = N(name='one'), Path(sys.argv[1])\n"
        "job = N(stage=stage, folder=folder, report=print, command=tuple(sys.argv[2:]))\n"
        "launching._run(job, 2)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(job.folder), *job.command])
    pids = [job.folder / f"pid{rank}" for rank in (0, 1)]
    _wait(lambda: all(pid.exists() and pid.read_text() for pid in pids))
    ranks = [int(pid.read_text()) for pid in pids]
    launcher = int(Path(f"/proc/{ranks[0]}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent.pid if whom == "parent" else launcher, signal.SIGKILL)
    _wait(lambda: not any(_alive(pid) for pid in (*ranks, launcher)))
    parent.wait(PATIENCE)


def test_more_processes_than_gpus(stage: Callable[..., TrainJob], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match=r"processes is 2, and this machine has 1 GPU: .* to at most 1"):
        launch(stage(""), TWO)


# --- training ---

TIGHT = '''"""A trainer whose second process finds no room for two rows at a time, where the environment says so."""

import os

from langmill.api import hookimpl
from langmill_plugins.trainers.peft import PeftTrainer


class Tight(PeftTrainer):
    """Trains as peft does."""

    def train(self, job):
        import torch

        from langmill_plugins.trainers.loop import loop

        real = loop.answer_loss

        def answer_loss(model, inputs, *more):
            if os.environ.get("TIGHT") and os.environ["RANK"] == "1" and model.training and len(inputs["input_ids"]) > 1:
                raise torch.OutOfMemoryError("no room for two")
            return real(model, inputs, *more)

        loop.answer_loss = answer_loss
        return super().train(job)


@hookimpl
def register_trainers():
    return {"tight": Tight}
'''

TRAIN = """\
name: small
languages: [en]
plugins: [tight.py]
run: {workers: 1}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa]}
train:
  use: peft
  base: local/smollm2-135m-instruct
  max_tokens: 64
  lora: {rank: 4, alpha: 8, dropout: 0.0}
  stages:
    - {name: first, data: open, epochs: 2, max_steps: 3, batch: 2, accumulate: 2, save_steps: 1, eval_rows: 2, learning_rate: 1.0e-3}
"""


@pytest.fixture(scope="module")
def alone(shared_bench: Bench) -> Bench:
    """A bench on which one process, this one, has trained the stage."""
    shared_bench.data("qa.en.jsonl")
    shared_bench.write("small.yaml", TRAIN)
    shared_bench.write("tight.py", TIGHT)
    done = shared_bench.command("run", "small.yaml", "--out", "runs/alone", "--until", "data")
    assert done.code == 0, done.err
    store = shared_bench.run("alone")
    assembly = assemble(store.recipe_lock, origin=store.origin)
    train(assembly, store, assembly.stages[0])
    return shared_bench


def same_as_alone(bench: Bench, name: str) -> None:
    """The weights of a run are those of one process, and so is its log: a line a step, not one a process."""
    from safetensors.torch import load_file

    folders = [bench.run(run).root / "train/first" for run in (name, "alone")]
    mine, other = (load_file(folder / "adapter/adapter_model.safetensors") for folder in folders)
    assert mine.keys() == other.keys()
    assert max(float((mine[name] - other[name]).abs().max()) for name in mine) <= 1e-5
    logs = [
        [json.loads(line) for line in (folder / "train_log.jsonl").read_text("utf-8").splitlines()]
        for folder in folders
    ]
    for one, another in zip(*logs, strict=True):
        assert (one["step"], one.get("tokens")) == (another["step"], another.get("tokens"))
        for loss in ("loss", "dev_loss"):
            assert one.get(loss) == pytest.approx(another.get(loss), abs=1e-4)


def test_two_processes_end_with_the_weights_of_one(alone: Bench) -> None:
    """A rank is killed after the first checkpoint; the run says so, ends all of it, and goes on when it is started again. Then
    one of the two has too little memory, and both go on with smaller batches."""
    two = ("run", "small.yaml", "--out", "runs/two", "--set", "train.processes=2", "--set", "train.use=tight")
    child = alone.start(*two, environment=alone.bare())
    folder = alone.run("two").root / "train/first"
    _wait(lambda: any((folder / "checkpoints").glob("step-*/contents.json")) or child.poll() is not None)
    ranks = _ranks_of(child.pid)
    assert sorted(ranks) == ["0", "1"]
    os.kill(ranks["1"], signal.SIGKILL)
    _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1
    assert "stage 'first', trained by 2 processes, broke off: process 1 was killed by signal 9" in err
    assert "Traceback" not in err
    _wait(lambda: not any(_alive(pid) for pid in ranks.values()))
    assert not (folder / "adapter").exists()

    done = alone.command(*two, environment={**alone.bare(), "TIGHT": "1"})
    assert done.code == 0, done.err
    assert "first continues from step" in done.err
    assert done.err.count("memory ran out") == 1
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert (result["halvings"], result["processes"]) == (1, 2)
    same_as_alone(alone, "two")


def _ranks_of(run: int) -> dict[str, int]:
    """The ranks below a process, by their number."""
    found, below = {}, {run}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            told = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent in below:
            below.add(int(path.name))
            found |= {word.decode().removeprefix("RANK="): int(path.name) for word in told if word.startswith(b"RANK=")}
    return found


def _wait(until: Callable[[], bool]) -> None:
    over = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < over, "what was waited for never came"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
