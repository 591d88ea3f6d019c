"""What a finished stage costs to lose, and when it is given up: a trainer that says what decides its work, and what it lacks."""

from __future__ import annotations

import json
import signal

import pytest

TRAINER = '''"""Writes its rate down; fails before or after its first step, as its mood is."""

import os
import time
from pathlib import Path
from typing import Literal

from langmill.api import LLM, Answer, FactoryError, Field, Likelihood, Stage, Trainer, hookimpl


class Said(LLM):
    """Likes whatever it is asked first."""

    async def answer(self, messages, *, seed, schema=None):
        return Answer("")

    @property
    def here(self):
        return True

    def score(self, questions):
        for number, question in enumerate(questions):
            yield number, tuple(Likelihood(-float(place), 1) for place, _ in enumerate(question.continuations))


class Moody(Trainer):
    """Trains as it likes."""

    mood: Literal["fine", "early", "late", "slow"] = "fine"
    workers: int = 1

    def deciding(self, stage, context):
        said = Path(context.path(self.base)).read_text()
        return {"base": said, "rate": stage and stage.learning_rate, "mood": stage and self.mood == "late"}

    def missing(self, stages, context):
        if not context.path(self.base).exists():
            yield f"there is no {self.base} for {', '.join(stage.name for stage in stages)}, offline: {context.offline}"

    def train(self, job):
        print("loading", file=os.sys.stderr, flush=True)
        job.folder.mkdir(parents=True, exist_ok=True)
        seen = job.folder / "checkpoint"
        before = seen.read_text() if seen.exists() else "nothing"
        if self.mood == "slow":
            (job.folder / "waiting").touch()
            time.sleep(99)
        if self.mood == "early":
            seen.touch()
            raise FactoryError("that can not be")
        job.report({"event": "step", "step": 1, "of": 2, "loss": 1.0})
        seen.write_text(f"step 1, {self.workers} workers")
        if self.mood == "late":
            raise FactoryError("too much")
        adapter = job.folder / "adapter"
        adapter.mkdir(exist_ok=True)
        (adapter / "rate").write_text(f"{job.stage.learning_rate}, went on from {before}")
        return adapter

    def open(self, adapter, context):
        return Said(model="toy/said")


@hookimpl
def register_trainers():
    return {"moody": Moody}
'''

RECIPE = """\
name: small
languages: [en]
plugins: [moody.py]
run: {workers: 1}
sources:
  choice: {use: table, path: data/choice.en.jsonl, body: choice, license: CC0-1.0}
datasets:
  exams: {from: [choice]}
train:
  use: moody
  base: base.txt
  stages: [{name: first, data: exams}]
  allow_unchecked: true
eval:
  - {use: choice_accuracy, data: exams, models: [base, first], limit: 2}
"""
RATE = ("--set", "train.stages.0.learning_rate=1")


@pytest.fixture
def toy(bench):
    bench.data("choice.en.jsonl")
    bench.write("base.txt", "one")
    bench.write("moody.py", TRAINER)
    bench.write("small.yaml", RECIPE)
    return bench


def trained(bench):
    """The one stage, as it lies there now; no other folder lies beside it."""
    folder = bench.run().root / "train/first"
    assert [path.name for path in folder.parent.iterdir()] == ["first"]
    return folder


def test_an_option_that_proves_wrong_costs_no_finished_stage(toy):
    assert toy.factory("run", "small.yaml", "--until", "train").code == 0
    before = toy.state(below="runs/small/train")
    said = toy.factory("run", "small.yaml", "--until", "train", *RATE, "--set", "train.mood=early")
    assert (said.code, "that can not be" in said.err) == (1, True)
    after = toy.state(below="runs/small/train")
    log = "runs/small/train/first/stderr.log"
    assert {name for name in before | after if before.get(name) != after.get(name)} == {log}
    assert (trained(toy) / "stderr.log").read_text() == "loading\nloading\n", "what the job said is there to be read"
    again = toy.factory("run", "small.yaml", "--until", "train")
    assert "stage first (kept)" in again.err


def test_a_stage_is_given_up_once_another_has_made_a_step(toy):
    assert toy.factory("run", "small.yaml", "--until", "train").code == 0
    assert toy.factory("run", "small.yaml", "--until", "train", *RATE, "--set", "train.mood=late").code == 1
    folder = trained(toy)
    assert not (folder / "stage.json").exists() and not (folder / "adapter").exists()
    assert (folder / "checkpoint").exists()
    said = toy.factory("run", "small.yaml", "--until", "train", *RATE)
    assert said.code == 0, said.err
    assert (trained(toy) / "adapter/rate").read_text() == "1.0, went on from nothing", "another mood decides, too"


def test_a_run_that_is_killed_before_the_first_step_costs_nothing_either(toy):
    assert toy.factory("run", "small.yaml", "--until", "train").code == 0
    before = (trained(toy) / "stage.json").read_text()
    waiting = toy.run().root / "train/first/waiting"
    killed = toy.kill_when(
        waiting.exists, "run", "small.yaml", "--until", "train", *RATE, "--set", "train.mood=slow", by=signal.SIGKILL
    )
    assert killed.code == -signal.SIGKILL
    assert not (toy.run().root / "train/first/stage.json").exists()
    said = toy.factory("run", "small.yaml", "--until", "train")
    assert said.code == 0 and "stage first (kept)" in said.err
    assert (trained(toy) / "stage.json").read_text() == before and not waiting.exists()


def test_checkpoints_stay_where_what_decides_is_as_it_was(toy):
    run = ("run", "small.yaml", "--until", "train")
    assert toy.factory(*run).code == 0
    assert toy.factory(*run, *RATE, "--set", "train.mood=early").code == 1
    kept = toy.factory(*run, "--set", "train.workers=2")
    assert "stage first (kept)" in kept.err
    (trained(toy) / "stage.json").unlink()  # killed before its end
    assert toy.factory(*run, "--set", "train.workers=2").code == 0
    assert (trained(toy) / "adapter/rate").read_text() == "0.0002, went on from step 1, 1 workers"


def test_another_base_in_the_same_place_is_another_base(toy):
    assert toy.factory("run", "small.yaml").code == 0
    same = toy.factory("run", "small.yaml", "--set", "train.workers=2")
    assert same.err.count("(kept)") == 5, same.err
    toy.write("base.txt", "two")
    other = toy.factory("run", "small.yaml")
    assert "stage first\n" in other.err
    assert (
        "score base on exams.choice_accuracy\n" in other.err and "score first on exams.choice_accuracy\n" in other.err
    )


def test_what_training_lacks_is_told_before_anything_is_paid(toy):
    (toy.folder / "base.txt").unlink()
    checked = toy.factory("check", "small.yaml", "--json")
    assert checked.code == 0
    assert json.loads(checked.out)["unready"] == ["there is no base.txt for first, offline: False"]
    assert "can not train yet: there is no base.txt for first" in checked.err
    planned = toy.factory("plan", "small.yaml", "--json")
    assert planned.code == 0 and len(json.loads(planned.out)["unready"]) == 1
    assert "can not train yet: there is no base.txt" in planned.err
    said = toy.factory("run", "small.yaml", "--offline")
    assert said.code == 2
    assert "there is no base.txt for first, offline: True" in said.err and "--until data" in said.err
    assert not (toy.folder / "runs").exists()
    assert toy.factory("run", "small.yaml", "--until", "data").code == 0
    only = toy.factory("run", "small.yaml", "--only", "train")
    assert only.code == 2 and "--until data" not in only.err


def test_scores_are_made_where_nothing_is_trained_any_more(toy):
    assert toy.factory("run", "small.yaml", "--until", "train").code == 0
    scored = toy.factory("run", "small.yaml", "--only", "eval")
    assert scored.code == 0, scored.err
