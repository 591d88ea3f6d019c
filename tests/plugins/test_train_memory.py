"""Memory runs out: the same step is done again in smaller micro-batches, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import tiny_base
from tests.training import STAGE, Desk, desk_in, furthest, log_lines, result

from langmill.api import FactoryError
from langmill_plugins.trainers.loop import loop as looping
from langmill_plugins.trainers.loop.loop import halved
from langmill_plugins.trainers.loop.memory import Memory
from langmill_plugins.trainers.loop.ranks import OUT_OF_MEMORY
from langmill_plugins.trainers.options import AdapterStage, Lora
from langmill_plugins.trainers.peft import PeftTrainer

WIDE = STAGE.model_copy(update={"batch": 4, "accumulate": 1, "max_steps": 3, "epochs": 2, "save_steps": 1})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_in(tmp_path)


@pytest.fixture
def trainer(tmp_path: Path) -> PeftTrainer:
    return PeftTrainer(base=str(tiny_base(tmp_path / "base")), max_tokens=64, lora=Lora(rank=4))


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Lets no micro-batch of more lines than the number in the list through, and fails in the middle of going backward."""
    import torch

    room = [99]
    real = looping.answer_loss

    class Full(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, loss: Any) -> Any:
            return loss.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def loss(model: Any, inputs: dict[str, Any], narrow: bool) -> Any:
        found = real(model, inputs, narrow)
        return Full.apply(found) if model.training and len(inputs["input_ids"]) > room[0] else found

    monkeypatch.setattr(looping, "answer_loss", loss)
    yield room


def test_a_step_is_done_again_in_halves(desk: Desk, trainer: PeftTrainer, small_memory: list[int]) -> None:
    whole = trainer.train(desk.job("whole", WIDE))
    small_memory[0] = 1
    cut = trainer.train(desk.job("cut", WIDE))
    assert furthest(whole, cut) < 1e-5
    facts = result(cut)
    assert (facts["halvings"], result(whole)["halvings"]) == (2, 0)
    for key in ("steps", "draws", "trained_tokens", "tokens", "fingerprint"):
        assert facts[key] == result(whole)[key]
    assert "memory ran out in step 1" in desk.notes()
    assert [line["step"] for line in log_lines(cut)] == [0, 1, 2, 3, 3]
    # Without an accident, in small batches from the start, the sums are the very same.
    by_one = trainer.train(desk.job("one", WIDE.model_copy(update={"batch": 1, "accumulate": 4})))
    assert furthest(cut, by_one) == 0.0


def test_packed_lines_are_divided(desk: Desk, trainer: PeftTrainer, small_memory: list[int]) -> None:
    stage = WIDE.model_copy(update={"packing": True, "max_steps": None, "batch": 2})
    whole = trainer.train(desk.job("whole", stage))
    small_memory[0] = 1
    assert furthest(whole, trainer.train(desk.job("cut", stage))) < 1e-5


def test_an_accident_in_the_middle(desk: Desk, trainer: PeftTrainer, small_memory: list[int]) -> None:
    """The third step alone is too large; the next start begins with what was learnt of it."""
    whole = trainer.train(desk.job("whole", WIDE))

    class Killed(BaseException):
        pass

    def watch(event: Any) -> None:
        if event["event"] == "step" and event["step"] == 2:
            small_memory[0] = 2
        if event["event"] == "step" and event["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        trainer.train(desk.job("cut", WIDE, report=watch))
    memory = json.loads((desk.root / "cut" / "memory.json").read_text())
    assert memory["halvings"] == 1
    cut = trainer.train(desk.job("cut", WIDE))
    assert "memory ran out" not in desk.notes()
    assert result(cut)["halvings"] == 1
    assert furthest(whole, cut) < 1e-5


def test_when_nothing_can_be_halved(desk: Desk, trainer: PeftTrainer, small_memory: list[int]) -> None:
    small_memory[0] = 0
    with pytest.raises(
        FactoryError, match=r"single example does not fit .*step 1: CUDA out of memory.*Lower train.max_tokens"
    ):
        trainer.train(desk.job("never", WIDE))
    assert not (desk.root / "never" / "adapter").exists()


def test_a_validation_loss_that_does_not_fit(desk: Desk, trainer: PeftTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    real = looping.answer_loss
    sizes = []

    def loss(model: Any, inputs: dict[str, Any], narrow: bool) -> Any:
        if not model.training:
            sizes.append(len(inputs["input_ids"]))
            if sizes[-1] > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, inputs, narrow)

    monkeypatch.setattr(looping, "answer_loss", loss)
    assert result(trainer.train(desk.job("dev", WIDE)))["dev_loss"]["last"] > 0
    assert sizes[:5] == [3, 2, 1, 1, 1]


def test_of_several_processes_each_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would wait for one another for ever; the launcher starts them again, and they read what is kept."""
    from langmill_plugins.trainers.loop.ranks import Ranks
    from langmill_plugins.trainers.order.steps import Steps

    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    import numpy as np

    class Course:
        stage, folder, ranks, memory = WIDE, tmp_path, Ranks(1, 2), Memory("x", 1)
        steps = Steps(np.arange(4), np.arange(1, 5), np.array([4]), np.array([1]))

        def smaller(self) -> Any:
            other = Course()
            other.memory = Memory("x", 2)
            return other

    monkeypatch.setattr(looping.os, "_exit", end)
    with pytest.raises(Ended) as raised:
        halved(Course(), 0, "full")  # type: ignore[arg-type]
    assert raised.value.args == (OUT_OF_MEMORY,)
    assert Memory.read(tmp_path, "x") == Memory("x", 2)
    assert Memory.read(tmp_path, "other options") == Memory("other options")


def test_each_process_has_its_share() -> None:
    from langmill_plugins.trainers.loop.ranks import Ranks

    shares = [Ranks(number, 3).share(list(range(7))) for number in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert Ranks.here(1) == Ranks(0, 1)


def test_options_of_a_stage_reach_the_loop(desk: Desk, trainer: PeftTrainer) -> None:
    """Weight decay pulls trained weights towards nothing; validation losses come as often as asked, and at both ends."""
    stage = AdapterStage(
        name="one", data="toy", max_steps=4, batch=1, learning_rate=1e-2, schedule="constant", eval_steps=2, eval_rows=2
    )
    plain = trainer.train(desk.job("plain", stage))
    decayed = trainer.train(desk.job("decayed", stage.model_copy(update={"weight_decay": 10.0})))
    assert furthest(plain, decayed) > 1e-3
    lines = log_lines(plain)
    assert [line["step"] for line in lines if "dev_loss" in line] == [0, 2, 4]
    assert [line["step"] for line in lines] == [0, 1, 2, 2, 3, 4, 4]
    assert [line for line in lines if "after" in line] == [lines[-1]]
