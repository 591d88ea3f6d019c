"""The last layer and the loss in chunks: the same numbers as all at once, and the same slopes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.tiny_models import tiny_model

from langmill_plugins.trainers.forecast.shape import shape_from
from langmill_plugins.trainers.loop.chunked import Halves, chunk_of, halves_of, summed_loss
from langmill_plugins.trainers.loop.losses import answer_loss
from langmill_plugins.trainers.tokens.examples import NO_LOSS

CLOSE = 1e-5


def batch() -> dict[str, Any]:
    """Three lines, the second of them padded, each of which learns from other places."""
    import torch

    ids = torch.randint(5, 400, (3, 20), generator=torch.Generator().manual_seed(5))
    labels = ids.clone()
    labels[0, :9] = labels[1, 13:] = labels[2, 4:17] = NO_LOSS
    seen = torch.ones_like(ids)
    seen[1, 13:] = 0
    return {"input_ids": ids, "labels": labels, "attention_mask": seen}


def adapted(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


def loss_and_slopes(model: Any, way: Halves | bool) -> tuple[float, dict[str, Any]]:
    model.zero_grad()
    loss = answer_loss(model, batch(), way)
    (loss / 30).backward()
    return float(loss.detach()) / 30, {
        name: part.grad.clone() for name, part in model.named_parameters() if part.grad is not None
    }


KINDS: dict[str, dict[str, Any]] = {
    "llama": {}, "qwen3": {}, "gemma3_text": {}, "mixtral": {"num_local_experts": 4, "output_router_logits": True},
    "phi": {"tie_word_embeddings": False},  # whose last layer has a bias
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("all_weights", [True, False])
def test_in_chunks_and_at_once_are_the_same(kind: str, all_weights: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from langmill_plugins.trainers.loop import chunked

    model = tiny_model(kind, **KINDS[kind])
    assert (model.lm_head.bias is not None) == (kind == "phi")
    model = model if all_weights else adapted(model)
    halves = halves_of(model)
    assert isinstance(halves, Halves)
    monkeypatch.setattr(chunked, "chunk_of", lambda vocabulary, gpu: 7)  # the last one is not full
    loss, slopes = loss_and_slopes(model, halves)
    for way in (True, False):
        other, others = loss_and_slopes(model, way)
        assert loss == pytest.approx(other, rel=CLOSE)
        assert slopes.keys() == others.keys() and slopes
        for name, slope in slopes.items():
            assert float((slope - others[name]).abs().max()) < CLOSE * max(1.0, float(others[name].abs().max())), name


def test_capped_logits_are_asked_of_the_model_itself() -> None:
    """A linear layer of its hidden states would say something else."""
    assert halves_of(tiny_model("gemma2", final_logit_softcapping=3.0, query_pre_attn_scalar=16)) is None
    assert halves_of(tiny_model("granite", logits_scaling=7.0)) is None


def test_a_cap_or_scale_that_hardly_shows_is_one() -> None:
    """Gemma 2's own cap is 30, which changes logits of 3 by a hundredth; a scale of 1 is none."""
    assert halves_of(tiny_model("gemma2", final_logit_softcapping=30.0, query_pre_attn_scalar=16)) is None
    assert halves_of(tiny_model("granite", logits_scaling=1.005)) is None
    assert halves_of(tiny_model("granite", logits_scaling=1.0)) is not None
    sizes = {"l.0.q.weight": (8, 8), "embed.weight": (20, 8)}
    heads = [shape_from({"logits_scaling": scale}, sizes).plain_head for scale in (None, 1.0, 1.005)]
    assert heads == [True, True, False]


def test_a_head_that_is_changed_where_no_configuration_says_so_is_found() -> None:
    model = tiny_model("llama")
    model.lm_head.register_forward_hook(lambda layer, given, made: 30 * (made / 30).tanh())
    whole = model.forward

    def capped(**asked: Any) -> Any:
        made = whole(**asked)
        made.logits = 30 * (made.logits / 30).tanh()
        return made

    model.forward = capped
    assert halves_of(model) is None


def test_a_last_layer_with_an_adapter_of_its_own_is_left_to_the_model() -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny_model("llama", tie_word_embeddings=False)
    assert halves_of(get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "lm_head"]))) is None


def test_the_layer_and_its_bias_get_their_slopes() -> None:
    import torch

    dice = torch.Generator().manual_seed(2)
    target = torch.randint(0, 50, (23,), generator=dice)

    def parts() -> list[Any]:
        dice.manual_seed(3)
        return [torch.randn(size, generator=dice, requires_grad=True) for size in ((23, 8), (50, 8), (50,))]

    mine, theirs = parts(), parts()
    loss = summed_loss(*mine, target, tokens=5)
    other = torch.nn.functional.cross_entropy(torch.nn.functional.linear(*theirs), target, reduction="sum")
    (3 * loss).backward()
    (3 * other).backward()
    assert float(loss.detach()) == pytest.approx(float(other.detach()), rel=CLOSE)
    for one, that in zip(mine, theirs, strict=True):
        assert torch.allclose(one.grad, that.grad, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("all_weights", [True, False])
def test_layers_that_are_computed_again_change_nothing(all_weights: bool) -> None:
    model = tiny_model("llama") if all_weights else adapted(tiny_model("llama"))
    model.train()
    halves = halves_of(model)
    assert isinstance(halves, Halves)
    loss, slopes = loss_and_slopes(model, halves)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    again, others = loss_and_slopes(model, halves)
    assert loss == again and slopes.keys() == others.keys()
    assert all(bool((slope == others[name]).all()) for name, slope in slopes.items())


def test_all_weights_in_sixteen_bits_get_the_slopes_of_all_at_once() -> None:
    """The embeddings' slope adds up from both their uses; what differs is what sixteen bits round off."""
    import torch

    model = tiny_model("llama")
    halves = halves_of(model)
    assert isinstance(halves, Halves) and halves.head.weight is model.model.embed_tokens.weight
    with torch.autocast("cpu", torch.bfloat16):
        loss, slopes = loss_and_slopes(model, halves)
        other, others = loss_and_slopes(model, False)
    assert loss == pytest.approx(other, rel=1e-3)
    for name, slope in slopes.items():
        assert slope.dtype == torch.float32
        assert float((slope - others[name]).norm()) < 0.03 * float(others[name].norm()), name


@pytest.mark.parametrize("one", [True, False])
def test_a_batch_with_one_token_to_learn_or_none(one: bool) -> None:
    model = tiny_model("llama")
    halves = halves_of(model)
    assert isinstance(halves, Halves)
    some = batch()
    some["labels"][:] = NO_LOSS
    if one:
        some["labels"][1, 3] = 77
    ways = []
    for way in (halves, False):
        model.zero_grad()
        loss = answer_loss(model, some, way)
        loss.backward()
        ways.append((float(loss.detach()), model.lm_head.weight.grad.clone()))
    assert ways[0][0] == pytest.approx(ways[1][0], rel=CLOSE) and (ways[0][0] > 0) == one
    mine, theirs = ways[0][1], ways[1][1]
    assert float((mine - theirs).norm()) <= CLOSE * float(theirs.norm()) and bool(mine.any()) == one


def test_nobody_who_only_looks_pays_for_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation loss of a stage that trains all weights: the last layer's slope is as large as the layer, for each chunk."""
    import torch

    def dear(*given: Any, **more: Any) -> Any:
        raise AssertionError("a slope was reckoned")

    hidden, layer = torch.randn(9, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    monkeypatch.setattr(torch, "mm", dear)
    monkeypatch.setattr(torch.Tensor, "scatter_add_", dear)
    with torch.no_grad():
        assert float(summed_loss(hidden, layer, None, torch.zeros(9, dtype=torch.long))) > 0
    with pytest.raises(AssertionError, match="slope"):
        summed_loss(hidden, layer, None, torch.zeros(9, dtype=torch.long))


def test_who_goes_back_twice_is_told() -> None:
    """Slopes are scaled in their place: the second time they would be scaled twice."""
    import torch

    hidden = torch.randn(9, 8, requires_grad=True)
    loss = summed_loss(hidden, torch.randn(50, 8), None, torch.zeros(9, dtype=torch.long))
    (3 * loss).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_nothing_to_learn_is_no_loss() -> None:
    import torch

    hidden = torch.zeros((0, 8), requires_grad=True)
    loss = summed_loss(hidden, torch.zeros(50, 8), None, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert float(loss) == 0.0 and hidden.grad is not None and hidden.grad.shape == (0, 8)


def test_sixteen_bits_are_summed_in_thirty_two() -> None:
    """As autocast has it on a GPU: logits in bfloat16, the loss of them in float32."""
    import torch

    dice = torch.Generator().manual_seed(4)
    hidden, layer = torch.randn((400, 16), generator=dice), torch.randn((900, 16), generator=dice)
    target = torch.randint(0, 900, (400,), generator=dice)
    with torch.autocast("cpu", torch.bfloat16):
        loss = summed_loss(hidden, layer, None, target, tokens=64)
        other = torch.nn.functional.cross_entropy((hidden @ layer.T).float(), target, reduction="sum")
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(other), rel=1e-4)


def test_a_chunk_is_as_large_as_the_device_asks_for() -> None:
    assert chunk_of(128256, True) == 1046 and chunk_of(49152, False) == 341
    assert chunk_of(1 << 30, False) == 16
