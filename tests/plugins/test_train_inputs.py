"""What reaches the model: the same for every way to train, down to the last id; and each token weighs the same."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import tiny_base
from tests.training import BASE, STAGE, Desk, desk_in, furthest, result

from langmill.api import MissingInput, RecipeError
from langmill_plugins.trainers.auto import AutoTrainer
from langmill_plugins.trainers.loop import stage as stages
from langmill_plugins.trainers.loop.batches import collate
from langmill_plugins.trainers.loop.loop import Course
from langmill_plugins.trainers.loop.ready import make_ready
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer, Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.unsloth import UnslothTrainer

#: Ids, labels and order of the four steps of STAGE on our rows, as the packaged model's tokenizer and template make them.
RECORDED = {
    "padded": "415a8f6cb6c37a8a20ff041916fdc4dcf95ab65397f38e495c71351229b870e6",
    "flat": "d38eb2423078188789721404e5820e3da6b58c47fcf6b4f1059fc0dba2e94909",
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_in(tmp_path)


class Seen(BaseException):
    """Stands for the rest of the stage; carries its course."""


def course_of(desk: Desk, trainer: AdapterTrainer, stage: AdapterStage, monkeypatch: pytest.MonkeyPatch) -> Course:
    """The course that a way to train would go through, without its model."""
    unsloth = isinstance(trainer, UnslothTrainer)

    def stop(model: Any, course: Course) -> None:
        raise Seen(course)

    monkeypatch.setattr(stages, "_learn", stop)
    monkeypatch.setattr(stages, "stays_apart", lambda *some: True)
    job = desk.job(type(trainer).__name__, stage)
    with pytest.raises(Seen) as seen:
        stages.run_stage(job, trainer, lambda *some: None, "unsloth" if unsloth else "peft", own_loss=not unsloth)
    return seen.value.args[0]  # type: ignore[no-any-return]


def digest(course: Course) -> str:
    """A hash of every id and label that carries or does not carry loss, micro-batch by micro-batch, padding left out."""
    found = hashlib.sha256()
    for step in range(len(course.steps)):
        for micro in course.steps.of(step):
            made = collate(course.steps.micro(micro), course.examples, course.pad, course.layout)
            held = made.get("attention_mask", made["input_ids"] == made["input_ids"]).bool()
            if course.layout == "packed":  # what comes after the last example
                sizes = [sum(course.examples.lengths[line]) for line in course.steps.micro(micro)]
                held = held & (held.cumsum(1) <= held.new_tensor(sizes, dtype=int)[:, None])
            for name in ("input_ids", "labels"):
                found.update(made[name][held].numpy().tobytes())
        found.update(b"step")
    return found.hexdigest()


@pytest.mark.parametrize("packed", [False, True])
def test_both_ways_see_the_same(packed: bool, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = STAGE.model_copy(update={"packing": packed, "batch": 2})
    options: dict[str, Any] = {"base": BASE, "max_tokens": 128}
    peft, unsloth = (course_of(desk, kind(**options), stage, monkeypatch) for kind in (PeftTrainer, UnslothTrainer))
    assert (peft.layout, unsloth.layout) == (("packed", "flat") if packed else ("padded", "padded"))
    assert peft.own_loss
    assert not unsloth.own_loss
    assert digest(peft) == digest(unsloth) == RECORDED["flat" if packed else "padded"]
    assert [peft.learnt_at(step) for step in range(len(peft.steps))] == [
        unsloth.learnt_at(step) for step in range(len(unsloth.steps))
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_a_model_that_computes_its_own_mean(packed: bool, desk: Desk, tmp_path: Path) -> None:
    """unsloth's models return the mean over a batch; weighed by its tokens it is the same step as ours, in batches of any size."""
    trainer = PeftTrainer(base=str(tiny_base(tmp_path / "base")), max_tokens=128, lora=Lora(rank=4))
    stage = STAGE.model_copy(update={"packing": packed, "batch": 2, "max_steps": 3})
    ours, theirs = (
        stages.run_stage(desk.job(name, stage), trainer, trainer._build, "peft", own_loss=own)
        for name, own in (("ours", True), ("theirs", False))
    )
    assert furthest(ours, theirs) < 1e-5
    assert result(theirs)["dev_loss"]["last"] == pytest.approx(result(ours)["dev_loss"]["last"], rel=1e-5)


def test_gradients_through_four_bits(desk: Desk, tmp_path: Path) -> None:
    """After a validation loss the base must still pass gradients on: bitsandbytes keeps a form of its layers for answering only.
    Held against the same model with its four-bit weights written out in full."""
    import bitsandbytes
    import torch

    from langmill_plugins.trainers.loop.losses import answer_loss, dev_loss
    from langmill_plugins.trainers.loop.ranks import Ranks

    base = tiny_base(tmp_path / "base")
    trainer = PeftTrainer(base=str(base), max_tokens=64, quantize="4bit", lora=Lora(rank=4))
    ready = make_ready(desk.job("four", STAGE), trainer, "peft")
    build = (STAGE, base, ready.standing.base, None, 5)
    four, full = trainer._build(*build), trainer.model_copy(update={"quantize": "none"})._build(*build)
    plain = dict(full.named_modules())
    for name, layer in four.named_modules():
        if isinstance(layer, bitsandbytes.nn.Linear4bit):
            weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            plain[name].weight.data = weight.to(torch.float32)
    batch = collate([[0], [1]], ready.examples, 2, "padded")

    class Loop:
        model = four

        def summed_loss(self, model: Any, inputs: Any, count: int) -> Any:
            return answer_loss(model, inputs, True)

    before = dev_loss(Loop(), ready.dev.examples, 2, 2, Ranks())
    for model in (four, full):
        with torch.no_grad():  # a new adapter's second matrix is nothing: no gradient would reach the first
            for name, part in model.named_parameters():
                if "lora_B" in name:
                    part.copy_(torch.linspace(-1, 1, part.numel()).view_as(part))
        answer_loss(model.train(), batch, True).backward()
    gradients = dict(full.named_parameters())
    for name, part in four.named_parameters():
        if part.requires_grad:
            wanted = gradients[name].grad
            assert float(wanted.abs().max()) > 0
            assert torch.allclose(part.grad, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max())), name
    assert before is not None
    assert not any(getattr(part, "packing_format_for_cpu", False) for part in four.modules())


# --- what can be wrong, said before a weight is loaded ---


@pytest.mark.parametrize(
    ("trainer", "stage", "words"),
    [
        ({"max_tokens": 513}, {}, r"reads at most 512 tokens .*max_tokens: 512"),
        ({}, {"optimizer": "adamw_8bit"}, r"stage 'one': optimizer: adamw_8bit needs a GPU"),
        ({"report_to": ("wandbb",)}, {}, r"knows no tracker 'wandbb'; possible: .*wandb"),
    ],
)
def test_options_that_can_not_be(
    trainer: Mapping[str, Any], stage: Mapping[str, Any], words: str, desk: Desk, tmp_path: Path
) -> None:
    base = str(tiny_base(tmp_path / "base"))
    options = {"base": base, "max_tokens": 64, **trainer}
    with pytest.raises(RecipeError, match=words):
        PeftTrainer(**options).train(desk.job("wrong", STAGE.model_copy(update=dict(stage))))
    assert not (desk.root / "wrong").exists()


def test_a_tracker_that_is_not_installed(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations import integration_utils

    monkeypatch.setattr(integration_utils, "get_available_reporting_integrations", list)
    with pytest.raises(MissingInput, match="tensorboard is not installed: pip install tensorboard"):
        PeftTrainer(base=str(tiny_base(tmp_path / "base")), max_tokens=64, report_to=("tensorboard",)).train(
            desk.job("t")
        )


def test_a_base_that_brings_code(desk: Desk, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    (base / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}')
    (base / "own.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(RecipeError, match="code of its own, which is not run"):
        PeftTrainer(base=str(base)).train(desk.job("code"))


def test_four_bits_without_the_package(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from langmill_plugins.trainers.loop import ready

    monkeypatch.setattr(ready, "find_spec", lambda name: None)
    with pytest.raises(MissingInput, match="bitsandbytes"):
        PeftTrainer(base=str(tiny_base(tmp_path / "base")), max_tokens=64, quantize="4bit").train(desk.job("four"))


def test_the_ways_to_load_agree() -> None:
    assert inspect.signature(PeftTrainer._build) == inspect.signature(UnslothTrainer._build)
    assert len({tuple(kind.model_fields) for kind in (AutoTrainer, PeftTrainer, UnslothTrainer)}) == 1
