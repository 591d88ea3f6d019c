"""Packed lines: what a model computes of them is what it computes of each example alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import packaged_tokenizer, tiny_base, tiny_config, tiny_model
from tests.training import BASE, FACTS, STAGE, desk_in, furthest, result

from langmill.api import FactoryError, RecipeError
from langmill_plugins.trainers.loop import apart
from langmill_plugins.trainers.loop.batches import Layout, collate, learnt_by_example
from langmill_plugins.trainers.loop.losses import answer_loss
from langmill_plugins.trainers.options import AdapterStage, Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.tokens.examples import NO_LOSS, Example, Examples
from langmill_plugins.trainers.weights.base_model import find_base

PACKED = STAGE.model_copy(update={"packing": True})
PAD = 2
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "gemma3_text": {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    "qwen3_next": {
        "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "num_experts": 0, "decoder_sparse_step": 1,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "falcon_mamba": {"head_dim": None},
    "rwkv": {"head_dim": None},
}  # fmt: skip
"""What a tiny model of each kind needs besides the common sizes."""


def examples_of_facts() -> Examples:
    made = []
    for number, (question, answer) in enumerate(FACTS):
        ids = packaged_tokenizer()(f"{question} {answer} {answer}")["input_ids"]
        made.append(Example(ids, [False] * 4 + [True] * (len(ids) - 4), number, 0, "en", "toy"))
    return Examples.of(made)


def losses_and_gradients(model: Any, batches: list[dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    model.zero_grad()
    loss = sum(answer_loss(model, batch, True) for batch in batches)
    loss.backward()
    return float(loss.detach()), {
        name: part.grad.clone() for name, part in model.named_parameters() if part.requires_grad
    }


def test_layouts() -> None:
    examples = examples_of_facts()
    lengths = examples.lengths.tolist()
    packed = collate([[0, 1], [2]], examples, PAD, "packed")
    flat = collate([[0, 1], [2]], examples, PAD, "flat")
    flash = collate([[0, 1], [2]], examples, PAD, "flash")
    alone = [collate([[number]], examples, PAD, "padded") for number in range(3)]
    assert packed["input_ids"].shape == (2, lengths[0] + lengths[1])
    assert "attention_mask" not in packed
    assert packed["position_ids"][0].tolist() == [*range(lengths[0]), *range(lengths[1])]
    for name in ("input_ids", "labels"):
        one_by_one = [number for batch in alone for number in batch[name][0].tolist()]
        assert flat[name][0].tolist() == flash[name][0].tolist() == one_by_one
        lines = [*packed[name][0].tolist(), *packed[name][1, : lengths[2]].tolist()]
        assert lines == one_by_one
    assert packed["labels"][1, lengths[2] :].unique().tolist() == [NO_LOSS]
    assert flat["packed_seq_lengths"].tolist() == lengths[:3]
    assert str(flat["packed_seq_lengths"].dtype) == "torch.int32"
    assert flash["cu_seq_lens_q"].tolist() == [0, lengths[0], sum(lengths[:2]), sum(lengths[:3])]
    assert flash["max_length_q"] == max(lengths[:3])


def test_a_first_token_is_never_learnt() -> None:
    """Of running text cut into chunks it may be marked so, but in a line the example before it must not learn to begin it."""
    examples = Examples.of([Example([5, 6, 7], [True] * 3, 0, 0, "en", "toy"), Example([8], [True], 1, 0, "en", "toy")])
    assert learnt_by_example(examples).tolist() == [2, 0]
    made = collate([[0, 1]], examples, PAD, "packed")
    assert made["labels"].tolist() == [[NO_LOSS, 6, 7, NO_LOSS]]


def real_model() -> Any:
    """The packaged model with an adapter that changes something."""
    import torch

    base = find_base(BASE, desk_in(Path()).context)
    model = PeftTrainer(base=BASE, lora=Lora(rank=2))._build(STAGE, base.folder, base, None, 3)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if "lora_B" in name:
                part.normal_(0, 0.05)
    return model


@pytest.mark.parametrize("kind", ["real", "llama", "qwen3", "gemma3_text"])
def test_same_loss_and_gradients(kind: str) -> None:
    """float32: the sums are the same, added up in another order; loss within 1e-5 of itself, each gradient within 1e-4 (of
    thirty layers 1e-3) of its size. In one line that sees across they are not."""
    import torch

    model, examples = real_model() if kind == "real" else tiny_model(kind, **KINDS[kind]), examples_of_facts()
    lines = [[[5, 0], [3]]] if kind == "real" else [[[0, 1, 2], [3, 4, 5]], [[5, 0, 3, 1, 4, 2]]]
    ones = sorted(one for line in lines[0] for one in line)
    loss, gradients = losses_and_gradients(model, [collate([[one]], examples, PAD, "padded") for one in ones])
    for micro in lines:
        packed_loss, packed = losses_and_gradients(model, [collate(micro, examples, PAD, "packed")])
        assert packed_loss == pytest.approx(loss, rel=1e-5)
        for name, gradient in gradients.items():
            assert float((packed[name] - gradient).norm()) < (1e-3 if kind == "real" else 1e-4) * float(
                gradient.norm()
            ), name
    leaking = collate([ones], examples, PAD, "packed")
    leaking["attention_mask"] = torch.ones_like(leaking["input_ids"])
    with torch.no_grad():
        assert abs(float(answer_loss(model, leaking, True)) - loss) > 0.1


@pytest.mark.parametrize(
    ("kind", "apart_"), [("llama", True), ("gemma3_text", True), ("lfm2", False), ("qwen3_next", False)]
)
def test_the_probe_tells_models_that_mix(kind: str, apart_: bool) -> None:
    model, examples = tiny_model(kind, **KINDS[kind]), examples_of_facts()
    model.train()
    assert apart.stays_apart(model, examples, PAD, "packed") is apart_
    assert model.training
    neighbour, _ = apart.seen_across(model, examples, PAD, "packed")
    assert (neighbour < 1e-5) is apart_


def test_a_model_that_takes_no_lengths_does_not_pack() -> None:
    class Deaf:
        training = True
        device = "cpu"

        def __call__(self, input_ids: Any, use_cache: bool) -> Any: ...
        def eval(self) -> None: ...
        def train(self, mode: bool) -> None: ...

    assert apart.stays_apart(Deaf(), examples_of_facts(), PAD, "flat") is False


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("qwen3_next", "linear_attention"),
        ("lfm2", "linear_attention|conv|running"),
        ("falcon_mamba", "linear_attention"),
        ("rwkv", "a running state"),
    ],
)
def test_what_a_configuration_tells(kind: str, what: str) -> None:
    config = tiny_config(kind, **KINDS[kind])
    with pytest.raises(RecipeError, match=f"(?s)packing: true, but a model of type {kind} .*({what})"):
        apart.packing_of(PACKED, config, False)
    auto = apart.packing_of(AdapterStage(name="one", data="toy"), config, False)
    assert not auto.on
    assert kind in auto.why


def test_when_lines_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    config, auto = tiny_config("llama"), AdapterStage(name="one", data="toy")
    assert apart.packing_of(auto, config, False) == (False, "there is no GPU; packing: true packs here, too")
    assert apart.packing_of(PACKED, config, False).on
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert apart.packing_of(auto, config, False).on
    assert apart.packing_of(auto, config, True) == (False, apart.MIXED)
    assert not apart.packing_of(auto.model_copy(update={"packing": False}), config, False).on


def test_a_packed_stage(tmp_path: Path) -> None:
    """Lines of up to 128 tokens; the same rows a step, unpacked, end with the same weights."""
    desk = desk_in(tmp_path)
    base = str(tiny_base(tmp_path / "base"))
    trainer = PeftTrainer(base=base, max_tokens=128, lora=Lora(rank=4))
    stage = PACKED.model_copy(update={"max_steps": None, "epochs": 3, "batch": 9, "accumulate": 2})
    trained = trainer.train(desk.job("packed", stage))
    facts = result(trained)
    assert facts["packed"] is True
    assert 0.5 < facts["fill"] <= 1
    assert facts["examples"]["train"] == 6
    assert facts["draws"] == {"en": {"toy": 18}}
    assert facts["trained_tokens"] == {"en": facts["data_tokens"]["answers"] * 3}
    loose = stage.model_copy(update={"packing": False})
    apart_ = trainer.train(desk.job("apart", loose))
    assert result(apart_)["packed"] is False
    assert result(apart_)["steps"] == facts["steps"] == 1
    assert result(apart_)["train_loss"]["first"] == pytest.approx(facts["train_loss"]["first"], rel=1e-5)
    assert furthest(trained, apart_) < 1e-5


def test_a_model_found_to_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configuration says nothing, the probe does: packing: true breaks off, auto goes on unpacked and remembers it."""
    desk = desk_in(tmp_path)
    trainer = PeftTrainer(
        base=str(tiny_base(tmp_path / "lfm", "lfm2", **KINDS["lfm2"])), max_tokens=64, lora=Lora(rank=2)
    )
    monkeypatch.setattr(apart, "running_state", lambda config: None)
    with pytest.raises(FactoryError, match="found to mix up the examples"):
        trainer.train(desk.job("true", PACKED))
    decide = apart.packing_of
    always = apart.Packing(True, "for this test")
    monkeypatch.setattr(
        "langmill_plugins.trainers.loop.ready.packing_of",
        lambda stage, config, unpacked: decide(stage, config, unpacked) if unpacked else always,
    )
    trained = trainer.train(desk.job("auto"))
    assert "not packed: the model was found to mix up" in desk.notes()
    assert result(trained)["packed"] is False
    probes: list[Layout] = []
    monkeypatch.setattr("langmill_plugins.trainers.loop.stage.stays_apart", lambda *some: probes.append(some[3]))
    desk.told.clear()
    assert trainer.train(desk.job("auto")) == trained
    assert (probes, desk.told) == ([], [])
