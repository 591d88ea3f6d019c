"""A stage bound in tokens: as many passes as they come to, foretold and trained alike."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ordering import some
from tests.public_sets import PACKS
from tests.tiny_models import tiny_base
from tests.training import desk_in, result

from langmill.api import Context, Origin, Row, RowAhead, Text
from langmill_plugins.trainers.forecast.counting import counted
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.order.budget import times
from langmill_plugins.trainers.order.drawing import draw
from langmill_plugins.trainers.peft import PeftTrainer


def stage(**options: Any) -> AdapterStage:
    return AdapterStage(name="one", data="x", **options)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=60),
    st.integers(1, 9_000),
    st.sampled_from(["shuffle", "priority"]),
)
def test_a_budget_is_met_to_within_one_example(lengths: list[int], tokens: int, sampler: str) -> None:
    examples = some({("web", "en"): len(lengths)}, lengths)
    drawn = draw(examples, stage(tokens=tokens, sampler=sampler), lambda *parts: 3)
    read = int(examples.lengths[drawn.example].sum())
    assert read <= max(tokens, max(lengths)), "one example at least"
    assert tokens - read < max(lengths)
    counts = np.bincount(drawn.example, minlength=len(lengths))
    assert counts.max() - counts.min() <= 1, "no example comes twice more often than another"


def test_a_budget_keeps_the_mix_of_a_whole_run() -> None:
    """Priority sampling ends with the light source however small the budget is: it is not cut off in the middle."""
    examples = some({("web", "en"): 4_000, ("exams", "en"): 1_000}, [10] * 5_000)
    drawn = draw(examples, stage(tokens=10_000, sampler="priority", weights={"web": 32}), lambda *parts: 3)
    source = examples.source[drawn.example]
    assert len(source) == 1_000 and (source == 1).sum() == 200
    assert (source[-100:] == 1).mean() > 0.9 > 0.1 > (source[:100] == 1).mean()


def test_languages_and_epochs_by_source_hold_in_a_budget() -> None:
    examples = some({("a", "en"): 300, ("b", "ja"): 100}, [10] * 400)
    drawn = draw(examples, stage(tokens=6_000, source_epochs={"b": 3}), lambda *parts: 3)
    assert np.bincount(examples.source[drawn.example]).tolist() == [300, 300]


def test_counts_never_fall_as_passes_grow() -> None:
    dice = np.random.default_rng(1)
    rate, phase = dice.uniform(0.1, 3, 50), dice.uniform(0.01, 0.99, 50)
    for less, more in pairwise(np.linspace(0, 4, 200)):
        assert (times(rate * less, phase) <= times(rate * more, phase)).all()


@pytest.mark.parametrize("other", [{"epochs": 2}, {"max_steps": 3}])
def test_two_bounds_are_one_too_many(other: dict[str, int]) -> None:
    found = list(PeftTrainer(base="local/x").faults([stage(tokens=100, **other)], ["x"], ["en"]))
    assert [option for _, option, _ in found] == list(other) and "leave one out" in found[0][2]
    assert not list(PeftTrainer(base="local/x").faults([stage(tokens=100)], ["x"], ["en"]))


def test_a_stage_reads_as_many_tokens_as_it_is_given_and_as_was_foretold(tmp_path: Any) -> None:
    base, desk = tiny_base(tmp_path / "base"), desk_in(tmp_path)
    trainer = PeftTrainer(base=str(base), max_tokens=64, quantize="none")
    texts = ["The heart fills and then it ejects. " * (n % 4 + 1) for n in range(12)]
    origin = Origin("t", "1", ("CC0-1.0",))
    rows = [Row(f"t/{n}", "en", "train", f"t/{n}", Text(text), origin) for n, text in enumerate(texts)]
    told = stage(tokens=200, batch=1, accumulate=4, learning_rate=1e-3, eval_rows=1)
    job = desk.job("one", told, source=lambda split: iter(rows if split == "train" else ()))
    facts = result(trainer.train(job))
    assert 200 - 40 < facts["tokens"] <= 200
    ahead = counted(trainer, told, [RowAhead(row, row) for row in rows], Context("train", 17, PACKS, tmp_path), base)
    assert ahead.tokens[0] <= facts["tokens"] <= ahead.tokens[1]
    drawn = sum(n for by in facts["draws"].values() for n in by.values())
    assert abs(ahead.examples[1] - drawn) < 3
    assert not counted(trainer, told, [], Context("train", 17, PACKS, tmp_path), base).tokens[1], (
        "of no rows there are none"
    )
