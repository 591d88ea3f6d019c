"""What keeps a stage from going wrong at its edges: its learning rates, its optimiser's state, one GPU of several, numbers that
leave all bounds, memory that runs out where no smaller batch helps."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.tiny_models import tiny_base, tiny_model
from tests.training import FACTS, STAGE, Desk, desk_in, log_lines, result, row_of, weights

from langmill.api import FactoryError
from langmill_plugins.trainers.loop import loop as looping
from langmill_plugins.trainers.loop import losses
from langmill_plugins.trainers.loop import stage as staging
from langmill_plugins.trainers.loop.batches import collate
from langmill_plugins.trainers.loop.ranks import Ranks
from langmill_plugins.trainers.loop.schedule import rate, warm_steps
from langmill_plugins.trainers.options import AdapterStage, Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.tokens.examples import Example, Examples
from langmill_plugins.trainers.unsloth import UnslothTrainer
from langmill_plugins.trainers.weights import checkpoints


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_in(tmp_path)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> PeftTrainer:
    base = tiny_base(tmp_path_factory.mktemp("base") / "tiny")
    return PeftTrainer(base=str(base), max_tokens=64, lora=Lora(rank=4))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("share", "steps"), [(0.0, 1), (0.5, 1), (0.03, 20), (0.25, 8), (0.99, 4), (0.0, 100)])
def test_every_step_learns_and_the_peak_comes_after_the_warm_up(schedule: str, share: float, steps: int) -> None:
    warm = warm_steps(share, steps)
    assert warm == min(math.ceil(share * steps), steps - 1)
    rates = [rate(schedule, step, warm, steps) for step in range(steps)]
    assert min(rates) > 0 and rates[warm] == pytest.approx(1) and max(rates) == rates[warm]
    up, down = rates[: warm + 1], rates[warm:]
    assert up == pytest.approx([(step + 1) / (warm + 1) for step in range(warm + 1)])
    if schedule == "constant":
        assert set(down) == {1.0}
    else:
        assert all(later < earlier for earlier, later in pairwise(down))
        assert rate(schedule, steps, warm, steps) == pytest.approx(0), "where the way down would arrive"
    if schedule == "linear":
        assert down[-1] == pytest.approx(1 / (steps - warm))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.5, 1, 2 / 3, 1 / 3]),
        ("cosine", [0.5, 1, 0.75, 0.25]),
        ("constant", [0.5, 1, 1, 1]),
    ],
)
def test_the_loop_learns_at_these_rates(schedule: str, expected: list[float], desk: Desk, trainer: PeftTrainer) -> None:
    stage = STAGE.model_copy(update={"schedule": schedule, "warmup": 0.2, "batch": 1, "accumulate": 1, "eval_rows": 1})
    lines = log_lines(trainer.train(desk.job("one", stage)))
    assert [line["lr"] / stage.learning_rate for line in lines if "lr" in line] == pytest.approx(expected)


def test_a_single_step_with_a_warm_up_learns(desk: Desk, trainer: PeftTrainer) -> None:
    one = trainer.train(desk.job("one", STAGE.model_copy(update={"max_steps": 1, "warmup": 0.5})))
    changed = [name for name, numbers in weights(one).items() if "lora_B" in name and numbers.abs().max() > 1e-4]
    assert changed, "an adapter's second matrix begins as zeros"


def test_eight_bit_moments_come_back_bit_for_bit(tmp_path: Path) -> None:
    """bitsandbytes nests quantised moments; small tensors it holds in 32 bits beside them."""
    optim = pytest.importorskip("bitsandbytes.optim")
    import torch

    def made() -> tuple[Any, Any, Any]:
        torch.manual_seed(5)
        model = torch.nn.Sequential(torch.nn.Linear(96, 96), torch.nn.Linear(96, 4))
        optimiser = optim.AdamW8bit(model.parameters(), lr=1e-2)
        return model, optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (step + 1))

    def go(model: Any, optimiser: Any, schedule: Any, step: int) -> None:
        torch.manual_seed(step)
        optimiser.zero_grad()
        model(torch.randn(8, 96)).square().sum().backward()
        optimiser.step()
        schedule.step()

    whole = made()
    for step in range(3):
        go(*whole, step)
    checkpoints.save_parameters(whole[0], tmp_path)
    checkpoints.save_optimiser(*whole[1:], tmp_path)
    resumed = made()
    checkpoints.load_parameters(resumed[0], tmp_path)
    checkpoints.load_optimiser(*resumed[1:], tmp_path)
    for step in range(3, 6):
        expected, found = (kept[1].state_dict() for kept in (whole, resumed))
        assert _same(expected["state"], found["state"]) > 8
        assert expected["param_groups"] == [
            {**group, "betas": tuple(group["betas"])} for group in found["param_groups"]
        ]
        go(*whole, step)
        go(*resumed, step)
    for left, right in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(left, right)


def _same(expected: Any, found: Any) -> int:
    """Compare what is nested, bit for bit; returns the number of tensors."""
    import torch

    if isinstance(expected, Mapping):
        assert expected.keys() == found.keys()
        return sum(_same(value, found[key]) for key, value in expected.items())
    if isinstance(expected, torch.Tensor):
        assert expected.dtype == found.dtype and torch.equal(expected, found)
        return 1
    assert expected == found
    return 0


def test_of_several_gpus_in_sight_a_process_takes_one(
    desk: Desk, trainer: PeftTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would put the model into DataParallel, which deals a batch out to all of them."""
    import torch
    from transformers import TrainingArguments

    real = TrainingArguments.__post_init__

    def two(self: Any) -> None:
        real(self)
        self._n_gpu = 2

    class Refused(torch.nn.DataParallel[Any]):
        def __init__(self, *_: Any) -> None:
            raise AssertionError("the model was wrapped")

    monkeypatch.setattr(TrainingArguments, "__post_init__", two)
    monkeypatch.setattr(torch.nn, "DataParallel", Refused)
    assert result(trainer.train(desk.job("one", STAGE.model_copy(update={"max_steps": 1}))))["steps"] == 1


def test_logits_stay_in_sixteen_bits_and_the_loss_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, with the CPU's bfloat16: only the places that carry loss become float32, and gradients arrive in float32."""
    import torch

    model = tiny_model()
    lines = ([5, 9, 40, 7, 300, 8, 21], [11, 4, 2])
    examples = Examples.of(Example(ids, [n > 1 for n in range(len(ids))], 0, 0, "en", "a") for ids in lines)
    made = collate([[0], [1]], examples, 0, "padded")
    kinds: list[Any] = []
    model.lm_head.register_forward_hook(lambda module, given, out: kinds.append(out.dtype))
    exact = losses.answer_loss(model, made, True).detach()
    monkeypatch.setattr(losses, "mixed", lambda device: torch.autocast("cpu", torch.bfloat16))
    loss = losses.answer_loss(model, made, True)
    loss.backward()
    assert kinds == [torch.float32, torch.bfloat16] and loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact), rel=1e-2)
    assert {part.grad.dtype for part in model.parameters() if part.grad is not None} == {torch.float32}


WILD = AdapterStage(name="one", data="toy", max_steps=4, batch=1, learning_rate=1e-3, save_steps=1, eval_rows=2)


@pytest.mark.parametrize("when", ["step", "between", "end", "weights"])
def test_nothing_goes_on_from_numbers_that_left_all_bounds(
    when: str, desk: Desk, trainer: PeftTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints were written before anybody saw it: they go, and the next run begins anew."""
    real, real_dev, real_finite = looping.answer_loss, looping.dev_loss, checkpoints.all_finite
    seen: list[int] = []

    def loss(model: Any, inputs: Any, narrow: bool) -> Any:
        found = real(model, inputs, narrow)
        if model.training:
            seen.append(1)
        return found * math.nan if when == "step" and len(seen) == 3 else found

    def dev(*given: Any) -> float | None:
        found = real_dev(*given)
        return math.nan if len(seen) == {"between": 2, "end": 4}.get(when) else found

    monkeypatch.setattr(looping, "answer_loss", loss)
    monkeypatch.setattr(looping, "dev_loss", dev)
    monkeypatch.setattr(checkpoints, "all_finite", lambda model: when != "weights" and real_finite(model))
    job = desk.job("wild", WILD.model_copy(update={"eval_steps": 2}))
    with pytest.raises(FactoryError, match=r"Lower its learning_rate \(0.001\), then run again: it begins anew"):
        trainer.train(job)
    assert not (job.folder / "checkpoints").exists() and not (job.folder / "adapter").exists()
    monkeypatch.undo()
    desk.told.clear()
    assert result(trainer.train(job))["steps"] == 4
    assert "continues" not in desk.notes()


def test_weights_that_are_no_numbers_are_seen() -> None:
    import torch

    model = torch.nn.Linear(3, 3)
    assert checkpoints.all_finite(model)
    with torch.no_grad():
        model.bias[1] = math.inf
    assert not checkpoints.all_finite(model)
    model.bias.requires_grad_(False)
    assert checkpoints.all_finite(model), "what is not trained is not ours to judge"


@pytest.mark.parametrize("where", ["loading", "probe", "optimiser"])
def test_memory_that_no_smaller_batch_saves_is_told(
    where: str, desk: Desk, trainer: PeftTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    if where == "loading":
        monkeypatch.setattr(PeftTrainer, "_build", full)
    if where == "probe":
        monkeypatch.setattr(staging, "stays_apart", full)
    if where == "optimiser":
        monkeypatch.setattr(torch.optim.AdamW, "step", full)
    with pytest.raises(FactoryError, match=r"(?s)'one' does not fit .*Tried to allocate 2.00 GiB.*quantize: 4bit"):
        trainer.train(desk.job(where, STAGE.model_copy(update={"packing": True})))
    assert not (desk.root / where / "adapter").exists()


def test_rows_are_told_that_a_step_learnt_from(desk: Desk, trainer: PeftTrainer) -> None:
    """Two steps of one row each, of a data set of six; one row twice counts once."""
    few = STAGE.model_copy(update={"max_steps": 2, "batch": 1, "accumulate": 1})
    facts = result(trainer.train(desk.job("few", few)))
    assert (facts["rows"]["train"], facts["examples"]["train"]) == (2, 2)
    assert facts["rows"]["dev"] == 3 and facts["draws"] == {"en": {"toy": 2}}
    again = STAGE.model_copy(update={"max_steps": None, "epochs": 3, "batch": 2})
    facts = result(trainer.train(desk.job("again", again, source=lambda split: (row_of(0, split, *FACTS[0]),))))  # type: ignore[arg-type,return-value]
    assert (facts["rows"]["train"], facts["draws"]) == (1, {"en": {"toy": 3}})


def test_what_unsloth_compiles_does_not_stay(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    found: list[Path] = []

    def run(job: Any, *_: Any, **__: Any) -> Path:
        found.append(Path(os.environ["UNSLOTH_COMPILE_LOCATION"]))
        assert found[0].is_dir()
        (found[0] / "compiled.py").write_text("1")
        return Path(job.folder)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("UNSLOTH_COMPILE_LOCATION", "x")
    monkeypatch.delenv("UNSLOTH_COMPILE_LOCATION")
    monkeypatch.setitem(sys.modules, "unsloth", SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(staging, "run_stage", run)
    UnslothTrainer(base="x/y").train(desk.job("one"))
    assert not found[0].exists() and not (desk.root / "one" / "unsloth_compiled_cache").exists()


def test_steps_of_any_number_of_micro_batches(desk: Desk, trainer: PeftTrainer) -> None:
    """Packed lines make up steps of one, two or three micro-batches: figures count examples, and processes share what there is."""
    import numpy as np

    from langmill_plugins.trainers.loop.facts import fill_of
    from langmill_plugins.trainers.order.steps import Steps

    steps = Steps(np.array([3, 0, 1, 2, 4, 5]), np.array([2, 3, 4, 6]), np.array([1, 3, 4]), np.array([1, 3]))
    assert [steps.examples_of(step).tolist() for step in range(2)] == [[3, 0], [1, 2, 4, 5]]
    lengths = np.array([4, 2, 3, 6, 1, 1])
    assert fill_of(steps, lengths, 10) == pytest.approx(17 / 40)
    assert fill_of(steps, lengths, None) == pytest.approx(17 / (10 + 2 * 3 + 2))
    shares = [[Ranks(number, 2).share(steps.of(step)) for number in range(2)] for step in range(2)]
    assert shares == [[[0], []], [[1], [2]]]
