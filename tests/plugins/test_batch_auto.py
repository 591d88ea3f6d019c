"""batch: auto: as many at once as memory holds, and never another thing learnt; layers kept, and computed twice when they do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from tests.tiny_models import tiny_base
from tests.training import STAGE, Desk, desk_in, furthest, result

from langmill_plugins.trainers.forecast import fitting
from langmill_plugins.trainers.forecast.choosing import CAUTION, FILLS, Cut, batches, chosen
from langmill_plugins.trainers.forecast.devices import GB, free_ram, ram
from langmill_plugins.trainers.forecast.memory import Setting, memory
from langmill_plugins.trainers.forecast.shape import Linear, Shape
from langmill_plugins.trainers.loop import loop as looping
from langmill_plugins.trainers.loop.memory import Memory
from langmill_plugins.trainers.options import AdapterStage, Lora
from langmill_plugins.trainers.peft import PeftTrainer

AUTO = STAGE.model_copy(update={"batch": "auto", "accumulate": 4, "max_steps": 3, "epochs": 2, "save_steps": 1})
BY_HAND = AUTO.model_copy(update={"batch": 1})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_in(tmp_path)


@pytest.fixture
def trainer(tmp_path: Path) -> PeftTrainer:
    return PeftTrainer(base=str(tiny_base(tmp_path / "base")), max_tokens=64, lora=Lora(rank=4))


def llama_8b() -> Shape:
    sizes = {"q_proj": (4096, 4096), "k_proj": (4096, 1024), "v_proj": (4096, 1024), "o_proj": (4096, 4096)}
    sizes |= {"gate_proj": (4096, 14336), "up_proj": (4096, 14336), "down_proj": (14336, 4096)}
    linears = tuple(Linear(name, *size) for name, size in sizes.items()) * 32
    return Shape(8_030_261_248, linears, 32, 128256, 4096, 14336, 4096, 1024, 32, 8192, True)


def ways(*batch: int, line: int = 2048) -> list[tuple[int, Setting]]:
    return [(one, Setting(True, True, Lora(), one, line, True, 0.4)) for one in batch]


# --- what is chosen ---


def test_sizes_deal_a_step_out_evenly() -> None:
    trainer = PeftTrainer(base="x")
    stage = AdapterStage(name="one", data="all", batch="auto", accumulate=12)
    assert batches(trainer, stage) == [12, 6, 4, 3, 2, 1]
    assert batches(trainer.model_copy(update={"processes": 3}), stage) == [4, 2, 1]
    assert batches(trainer, stage.model_copy(update={"batch": 5})) == [5]
    assert (stage.width, stage.model_copy(update={"batch": 5}).width) == (12, 60)


@pytest.mark.parametrize("gigabytes", [16, 24, 48, 80, 141])
def test_what_is_chosen_fits_and_nothing_larger_does(gigabytes: int) -> None:
    shape, some, room = llama_8b(), ways(32, 16, 8, 4, 2, 1), gigabytes * GB
    found = chosen(shape, some, room)
    assert found.need <= CAUTION * room
    assert found.batch * 2048 <= FILLS[True][1]
    for batch, how in some:
        larger = replace(how, keeps=found.keeps)
        if found.batch < batch <= 8:
            assert sum(memory(shape, larger).values()) > CAUTION * room


def test_the_more_room_the_more_is_kept() -> None:
    shape = llama_8b()
    small, large = chosen(shape, ways(4, 2, 1), 16 * GB), chosen(shape, ways(4, 2, 1), 80 * GB)
    assert not small.keeps and large.keeps
    assert sum(memory(shape, replace(ways(2)[0][1], keeps=True)).values()) > sum(memory(shape, ways(2)[0][1]).values())
    # One short line that keeps its layers would leave the card idle: more of them, computed twice, are chosen.
    short = ways(8, 4, 2, 1, line=512)
    tight = sum(memory(shape, replace(short[2][1], keeps=True)).values()) / CAUTION
    assert not chosen(shape, short, round(tight)).keeps


def test_nothing_fits() -> None:
    found = chosen(llama_8b(), ways(4, 2, 1), 1 * GB)
    assert (found.batch, found.keeps) == (1, False), "memory that runs out will tell, in words"


def test_what_is_free_is_told() -> None:
    free, whole = free_ram(), ram()
    assert free is not None and whole is not None and 0 < free <= whole


def test_a_process_that_may_take_a_part_of_its_card_finds_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (70 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda one: SimpleNamespace(total_memory=80 * GB))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda: 0.25)
    assert fitting._free(1) == (20 * GB, True)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda: 1.0)
    assert fitting._free(1) == (70 * GB, True)


def test_how_many_a_step_learns_from_is_not_left_to_chance(trainer: PeftTrainer) -> None:
    """batch: 4 made auto would else learn from one example a step where it learnt from four."""
    silent = AdapterStage(name="one", data="all", batch="auto")
    ((number, option, message),) = trainer.faults([silent], ["s"], ["en"])
    assert (number, option) == (0, "batch") and "accumulate: 4" in message
    said = AdapterStage(name="one", data="all", batch="auto", accumulate=1)
    assert not list(trainer.faults([said, AdapterStage(name="two", data="all")], ["s"], ["en"]))


def test_what_is_told_of_packed_lines_is_no_number_of_examples() -> None:
    stage = AdapterStage(name="one", data="all", batch="auto", accumulate=32)
    assert "takes 8, 4 times a step" in Cut(8, False).told(stage, False)
    told = Cut(8, True).told(stage, True)
    assert "takes up to 8 packed lines" in told and "times a step" not in told


# --- what is learnt ---


def test_it_learns_what_a_batch_by_hand_learns(desk: Desk, trainer: PeftTrainer) -> None:
    one = trainer.train(desk.job("hand", BY_HAND))
    auto = trainer.train(desk.job("auto", AUTO))
    assert furthest(one, auto) < 1e-5
    facts, hand = result(auto), result(one)
    assert (facts["batch"], facts["accumulate"], facts["recomputed"]) == (4, 1, False)
    assert (hand["batch"], hand["accumulate"]) == (1, 4)
    for key in ("steps", "draws", "trained_tokens", "tokens", "fingerprint"):
        assert facts[key] == hand[key], key
    assert "batch: auto takes 4, 1 times a step: takes about" in desk.notes()


def test_little_memory_takes_smaller_ones(desk: Desk, trainer: PeftTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trainer.train(desk.job("whole", AUTO))
    monkeypatch.setattr(fitting, "free_ram", lambda: 1)
    small = trainer.train(desk.job("small", AUTO))
    assert result(small)["batch"] == 1
    assert furthest(whole, small) < 1e-5


def test_who_goes_on_keeps_what_was_chosen(desk: Desk, trainer: PeftTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there is other room by then; and the checkpoints go on."""
    whole = trainer.train(desk.job("whole", AUTO))

    class Killed(BaseException):
        pass

    def watch(event: Any) -> None:
        if event["event"] == "step" and event["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        trainer.train(desk.job("cut", AUTO, report=watch))
    assert json.loads((desk.root / "cut" / "memory.json").read_text())["batch"] == 4
    monkeypatch.setattr(fitting, "free_ram", lambda: 1)
    cut = trainer.train(desk.job("cut", AUTO))
    assert result(cut)["batch"] == 4
    assert "batch: auto took 4 when it began" in desk.notes() and "continues from step" in desk.notes()
    assert furthest(whole, cut) < 1e-5


def test_the_cut_is_no_part_of_what_decides(trainer: PeftTrainer) -> None:
    """So that neither a stage is trained again for it, nor a checkpoint refused; the rows of a step are."""
    assert trainer.decides(AUTO) == trainer.decides(BY_HAND)
    assert trainer.decides(AUTO) == trainer.decides(AUTO.model_copy(update={"batch": 2, "accumulate": 2}))
    assert trainer.decides(AUTO) != trainer.decides(AUTO.model_copy(update={"accumulate": 8}))


@pytest.mark.parametrize("said", ["most", 0, -1])
def test_another_word_is_refused(said: object) -> None:
    with pytest.raises(ValidationError):
        AdapterStage(name="one", data="toy", batch=said)


# --- layers computed twice ---


def test_layers_that_do_not_fit_are_computed_twice(
    desk: Desk, trainer: PeftTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any batch is halved; the step is done again, and the weights are the same."""
    import torch

    whole = trainer.train(desk.job("whole", BY_HAND))
    real, full = looping.answer_loss, [True]

    def loss(model: Any, inputs: dict[str, Any], narrow: Any) -> Any:
        if model.training and full[0]:
            full[0] = False
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, inputs, narrow)

    monkeypatch.setattr(looping, "answer_loss", loss)
    kept = Memory.read

    def keeping(folder: Path, of: str) -> Memory:
        known = kept(folder, of)
        return known if known.batch else replace(known, batch=1, keeps=True)

    monkeypatch.setattr(Memory, "read", keeping)
    cut = trainer.train(desk.job("cut", BY_HAND))
    assert "memory ran out in step 1; from here on layers are computed twice" in desk.notes()
    assert result(cut)["halvings"] == 0
    assert not json.loads((desk.root / "cut" / "memory.json").read_text())["keeps"]
    assert furthest(whole, cut) < 1e-5
