"""A stage's log: what is written, what is told, and what is left of it after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from langmill_plugins.trainers.loop.log import RECENT, TrainLog
from langmill_plugins.trainers.loop.memory import Memory
from langmill_plugins.trainers.loop.ranks import Ranks
from langmill_plugins.trainers.options import AdapterStage


@pytest.fixture
def told() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture
def log(tmp_path: Path, told: list[Mapping[str, Any]]) -> TrainLog:
    return TrainLog(tmp_path / "train_log.jsonl", told.append)


def steps(log: TrainLog, losses: list[float], seconds: float = 2.0) -> None:
    for number, loss in enumerate(losses, 1):
        log.step(number, len(losses), loss, 1e-4, 100, seconds)


def test_pace_and_time_left_are_those_of_the_last_steps(log: TrainLog, told: list[Mapping[str, Any]]) -> None:
    for number in range(1, 101):
        log.step(number, 200, 2.0, 1e-4, 100, 10.0 if number <= 100 - RECENT else 2.0)
    assert told[-1] == {"event": "step", "step": 100, "of": 200, "loss": 2.0, "tokens_per_s": 50.0, "eta_s": 200.0}
    assert told[0]["eta_s"] == 199 * 10.0


def test_a_train_loss_is_a_mean_over_a_quarter_of_the_steps(log: TrainLog) -> None:
    """Batches that differ more than the model learns: single ones would say that it got worse."""
    log.dev(0, 2.6)
    steps(log, [2.0, 4.0, 3.0, 3.0, 2.5, 2.5, 1.5, 3.5])
    log.dev(4, 2.5)
    log.dev(8, 2.4, after=True)
    facts = log.summary()
    assert facts["train_loss"] == {"first": 3.0, "last": 2.5, "steps": 2}
    assert facts["dev_loss"] == {"first": 2.6, "last": 2.4}
    assert (facts["steps"], facts["tokens"], facts["seconds"]) == (8, 800, 16.0)


def test_one_step_is_enough_for_a_summary_and_validation_may_be_missing(log: TrainLog) -> None:
    log.dev(0, None)
    steps(log, [2.0])
    log.dev(1, None, after=True)
    assert [line["step"] for line in log.lines()] == [1]
    assert log.summary()["train_loss"] == {"first": 2.0, "last": 2.0, "steps": 1}
    assert log.summary()["dev_loss"] == {"first": None, "last": None}


def test_every_validation_is_told(log: TrainLog, told: list[Mapping[str, Any]]) -> None:
    log.dev(0, 2.5)
    log.dev(20, 2.25)
    log.dev(40, 2.0, after=True)
    assert told == [
        {"event": "validation", "step": 0, "loss": 2.5, "after": False},
        {"event": "validation", "step": 20, "loss": 2.25, "after": False},
        {"event": "validation", "step": 40, "loss": 2.0, "after": True},
    ]


def test_a_stage_that_goes_on_finds_what_was_before_its_checkpoint_and_nothing_else(log: TrainLog) -> None:
    log.dev(0, 2.5)
    steps(log, [2.0, 2.0, 2.0, 2.0])
    log.dev(2, 2.25)
    log.dev(4, 2.0, after=True)
    with log.path.open("a") as file:
        file.write('{"step": 5, "lo')  # what a kill leaves of a line
    log.rewind(4)
    assert not any("after" in line for line in log.lines()), "its end is still to come"
    log.rewind(2)
    assert [(line["step"], "loss" in line) for line in log.lines()] == [(0, False), (1, True), (2, True), (2, False)]
    for line in log.path.read_text().splitlines():
        json.loads(line)
    log.rewind(None)
    assert log.path.read_text() == ""


@pytest.mark.parametrize(("named", "expected"), [((), []), (("tensorboard",), ["tensorboard"])])
def test_trackers_are_told_only_when_named(named: tuple[str, ...], expected: list[str], tmp_path: Path) -> None:
    from langmill_plugins.trainers.loop.loop import _arguments

    stage = AdapterStage(name="one", data="toy")
    course: Any = SimpleNamespace(
        stage=stage, steps=range(4), checkpoints=tmp_path, ranks=Ranks(), report_to=named, seed_for=lambda *parts: 1, batch=4,
        own_loss=True, memory=Memory("these"),
    )  # fmt: skip
    assert _arguments(course).report_to == expected
