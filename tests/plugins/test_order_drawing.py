"""Which example comes when, and how often: counts are exact, and the priority sampler follows its closed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ordering import closed_form, some

from langmill_plugins.trainers.options import AdapterStage, Balance
from langmill_plugins.trainers.order.drawing import Drawn, draw
from langmill_plugins.trainers.tokens.examples import Examples


def stage(**options: Any) -> AdapterStage:
    return AdapterStage(name="one", data="x", **options)


def seeded(seed: int = 3) -> Callable[..., int]:
    return lambda *parts: seed


def counts(drawn: Drawn, examples: Examples) -> Any:
    return np.bincount(drawn.example, minlength=len(examples))


def by_language(drawn: Drawn, examples: Examples) -> dict[str, int]:
    return {
        name: int((examples.language[drawn.example] == number).sum()) for number, name in enumerate(examples.languages)
    }


def test_each_epoch_has_every_example_once_in_an_order_of_its_own() -> None:
    examples = some({("a", "en"): 50, ("b", "ja"): 30})
    drawn = draw(examples, stage(epochs=3), seeded())
    assert drawn.windows.tolist() == [80, 160, 240]
    epochs = np.split(drawn.example, drawn.windows[:-1])
    assert all(sorted(epoch.tolist()) == list(range(80)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3
    assert drawn.occurrence.tolist() == [0] * 80 + [1] * 80 + [2] * 80
    assert (drawn.example.dtype, drawn.occurrence.dtype) == (np.int64, np.int32)


def test_the_seed_alone_decides() -> None:
    examples = some({("a", "en"): 40})
    one, same, other = (draw(examples, stage(epochs=1.5), seeded(seed)) for seed in (3, 3, 4))
    assert one.example.tolist() == same.example.tolist() != other.example.tolist()


@pytest.mark.parametrize("sampler", ["shuffle", "priority"])
def test_counts_are_the_product_of_the_epochs(sampler: str) -> None:
    examples = some({("sft", "en"): 20, ("sft", "ja"): 20, ("web", "en"): 40})
    weights = {"web": 32.0} if sampler == "priority" else {}
    drawn = draw(
        examples,
        stage(
            epochs=2, sampler=sampler, weights=weights, source_epochs={"sft": 3}, languages=Balance(epochs={"ja": 0.5})
        ),
        seeded(),
    )
    assert counts(drawn, examples).tolist() == [6] * 20 + [3] * 20 + [2] * 40


@pytest.mark.parametrize(("epochs", "total"), [(0.5, 40), (1.5, 120), (2.25, 180), (0.001, 1)])
def test_of_a_part_of_an_epoch_every_source_and_language_has_its_share(epochs: float, total: int) -> None:
    examples = some({("a", "en"): 40, ("a", "ja"): 40})
    drawn = draw(examples, stage(epochs=epochs), seeded())
    found = counts(drawn, examples)
    assert len(drawn.example) == total == drawn.windows[-1]
    if total > 1:
        assert set(found.tolist()) <= {int(epochs), int(epochs) + 1}
        assert by_language(drawn, examples) == {"en": total // 2, "ja": total // 2}
    assert len(drawn.windows) == np.ceil(epochs)


def test_occurrences_count_up_even_where_an_example_comes_twice_an_epoch() -> None:
    examples = some({("a", "en"): 30})
    drawn = draw(examples, stage(epochs=2, source_epochs={"a": 3}), seeded())
    for number in range(30):
        assert drawn.occurrence[drawn.example == number].tolist() == [0, 1, 2, 3, 4, 5]


def test_temperature_keeps_the_total_and_evens_the_shares() -> None:
    examples = some({("a", "en"): 900, ("a", "ja"): 100})
    drawn = draw(examples, stage(languages=Balance(temperature=2)), seeded())
    # The square roots of .9 and .1 are as 3 to 1.
    assert by_language(drawn, examples) == {"en": 750, "ja": 250}
    found = counts(drawn, examples)
    assert set(found[:900].tolist()) == {0, 1}
    assert set(found[900:].tolist()) == {2, 3}


def test_what_one_epoch_leaves_out_another_brings() -> None:
    examples = some({("a", "en"): 900, ("a", "ja"): 100})
    drawn = draw(examples, stage(epochs=4, languages=Balance(most={"en": 225})), seeded())
    epochs = np.split(drawn.example, drawn.windows[:-1])
    assert [int((epoch < 900).sum()) for epoch in epochs] == [225] * 4
    assert [int((epoch >= 900).sum()) for epoch in epochs] == [100] * 4
    assert counts(drawn, examples)[:900].tolist() == [1] * 900


def test_the_cap_holds_after_the_temperature_and_before_the_epochs_of_a_language() -> None:
    examples = some({("a", "en"): 900, ("a", "ja"): 100})
    warm = Balance(temperature=2, most=200)
    assert by_language(draw(examples, stage(languages=warm), seeded()), examples) == {"en": 200, "ja": 200}
    tripled = Balance(temperature=2, most=200, epochs={"ja": 3})
    assert by_language(draw(examples, stage(languages=tripled), seeded()), examples) == {"en": 200, "ja": 600}
    assert by_language(draw(examples, stage(languages=Balance(most=5000)), seeded()), examples) == {
        "en": 900,
        "ja": 100,
    }


def test_epochs_of_a_source_count_in_the_shares_of_languages() -> None:
    examples = some({("a", "en"): 100, ("b", "ja"): 100})
    balance = Balance(temperature=2)
    drawn = draw(examples, stage(source_epochs={"a": 9}, languages=balance), seeded())
    assert by_language(drawn, examples) == {"en": 750, "ja": 250}


def test_an_epoch_may_have_nothing() -> None:
    examples = some({("a", "en"): 1})
    for seed in range(20):
        drawn = draw(examples, stage(epochs=4, source_epochs={"a": 0.25}), seeded(seed))
        assert (drawn.example.tolist(), drawn.windows.tolist()) == ([0], [1])


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    epochs=st.floats(0.05, 4),
    factor=st.floats(0.1, 4),
    temperature=st.floats(1, 8),
    most=st.none() | st.integers(1, 60),
    sampler=st.sampled_from(["shuffle", "priority"]),
)
def test_every_example_comes_as_often_as_its_rate_says(
    sizes: list[int], epochs: float, factor: float, temperature: float, most: int | None, sampler: str
) -> None:
    examples = some({("ab"[at % 2], "xyz"[at % 3]): size for at, size in enumerate(sizes)})
    balance = Balance(temperature=temperature, most=most, epochs={"x": factor})
    weights = {"a": 7.0} if sampler == "priority" else {}
    drawn = draw(
        examples, stage(epochs=epochs, sampler=sampler, weights=weights, languages=balance), seeded(sum(sizes))
    )
    assert drawn.windows[-1] == len(drawn.example) == len(drawn.occurrence) >= 1
    assert all(before < after for before, after in pairwise([0, *drawn.windows.tolist()]))
    found = counts(drawn, examples)
    for language in range(len(examples.languages)):
        mine = found[examples.language == language]
        assert mine.max() - mine.min() <= 1
    seen: Counter[int] = Counter()
    for number, occurrence in zip(drawn.example.tolist(), drawn.occurrence.tolist(), strict=True):
        assert occurrence == seen[number]
        seen[number] += 1


# --- sampler: priority ---

PUBLISHED = {
    "web_cn": 0.305,
    "lit_en": 0.215,
    "web_en": 0.188,
    "book_cn": 0.121,
    "ency_cn": 0.051,
    "book_en": 0.050,
    "lit_cn": 0.043,
    "ency_en": 0.018,
}
"""HuatuoGPT-II (arXiv 2311.09774), figure 3: the share of each source in the first draws. With them the rows of web_cn (640,621),
of fine-tuning (142,248, three times) and the weights of its training code, the whole curve follows."""
WEIGHTS = {"web": 32.0, "lit": 16.0, "ency": 8.0, "book": 4.0, "sft": 1.0}
CURVE = [  # share of the run; then of book_cn, book_en, sft and ency_cn among the draws
    (0.60, 0.425, 0.176, 0.033, 0.105),
    (0.80, 0.567, 0.234, 0.076, 0.069),
    (0.86, 0.582, 0.240, 0.107, 0.046),
    (0.965, 0.404, 0.167, 0.425, 0.003),
    (0.99, 0.047, 0.019, 0.934, 0.0),
]


def published(scale: float) -> tuple[Examples, AdapterStage]:
    """The sources of the published run, each with so large a part of its rows."""
    whole = 640_621 * WEIGHTS["web"] / PUBLISHED["web_cn"]
    rows = {name: whole * share / WEIGHTS[name.split("_")[0]] for name, share in PUBLISHED.items()}
    sources = {(name, "zh"): round(many * scale) for name, many in {**rows, "sft": 142_248.0}.items()}
    weights = {name: WEIGHTS[name.split("_")[0]] for name, _ in sources}
    return some(sources), stage(sampler="priority", weights=weights, source_epochs={"sft": 3})


def of_sources(examples: Examples, said: AdapterStage) -> tuple[Any, Any]:
    """Draws and weight of each source."""
    many = np.bincount(examples.source) * np.asarray([said.source_epochs.get(name, 1) for name in examples.sources])
    return many.astype(float), np.asarray([said.weights.get(name, 1.0) for name in examples.sources])


def furthest(drawn: Drawn, examples: Examples, many: Any, weights: Any, width: float) -> float:
    """The largest difference between the mix drawn and the closed form's, over ten stretches of the run, each ``width`` of it."""
    worst, total = 0.0, len(drawn.example)
    for middle in np.arange(0.05, 1, 0.1):
        left, right = middle - width / 2, middle + width / 2
        stretch = examples.source[drawn.example[round(left * total) : round(right * total)]]
        mix = np.bincount(stretch, minlength=len(many)) / len(stretch)
        due = closed_form(many, weights, left) - closed_form(many, weights, right)
        worst = max(worst, float(np.abs(mix - due / due.sum()).max()))
    return worst


def test_the_mix_follows_the_closed_form_within_one_percent() -> None:
    examples, said = published(0.1)
    drawn = draw(examples, said, seeded())
    many, weights = of_sources(examples, said)
    assert len(drawn.example) == many.sum() > 500_000
    assert furthest(drawn, examples, many, weights, 0.02) <= 0.01
    assert counts(drawn, examples).tolist() == np.where(examples.source == len(PUBLISHED), 3, 1).tolist()


def test_an_order_without_weights_is_not_that_curve() -> None:
    examples, said = published(0.02)
    shuffled = draw(examples, said.model_copy(update={"sampler": "shuffle"}), seeded())
    assert furthest(shuffled, examples, *of_sources(examples, said), 0.02) > 0.2


def test_the_published_curve_comes_out() -> None:
    examples, said = published(0.1)
    many, weights = of_sources(examples, said)
    drawn = draw(examples, said, seeded())
    names = ("book_cn", "book_en", "sft", "ency_cn")
    places = [examples.sources.index(name) for name in names]
    for progress, *shares in CURVE:
        left = closed_form(many, weights, progress)
        due = (weights * left / (weights * left).sum())[places]
        assert due == pytest.approx(shares, abs=0.012), progress
        near = examples.source[drawn.example[slice(*(round((progress + off) * many.sum()) for off in (-0.004, 0.004)))]]
        assert (np.bincount(near, minlength=len(many)) / len(near))[places] == pytest.approx(due, abs=0.03), progress


def test_equal_weights_are_uniform() -> None:
    examples = some({("a", "en"): 60_000, ("b", "en"): 30_000, ("c", "en"): 10_000})
    for weights in ({}, {"a": 5.0, "b": 5.0, "c": 5.0}):
        drawn = draw(examples, stage(sampler="priority", weights=weights), seeded())
        for part in np.split(drawn.example, 10):
            mix = np.bincount(examples.source[part], minlength=3) / len(part)
            assert mix == pytest.approx([0.6, 0.3, 0.1], abs=0.015)
        # and inside of a source: the number of an example says nothing of its place
        places = np.argsort(drawn.example)
        assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.015


def test_the_first_draw_is_by_weight() -> None:
    examples = some({("heavy", "en"): 2, ("light", "en"): 3})
    said = stage(sampler="priority", weights={"heavy": 4.0, "light": 1.0})
    first = Counter(int(draw(examples, said, seeded(seed)).example[0]) for seed in range(4000))
    assert [first[number] / 4000 for number in range(5)] == pytest.approx(
        [4 / 11, 4 / 11, 1 / 11, 1 / 11, 1 / 11], abs=0.025
    )


def test_windows_of_a_priority_run_are_short() -> None:
    small = draw(some({("a", "en"): 1000}), stage(sampler="priority"), seeded())
    assert small.windows.tolist() == [256, 512, 768, 1000]
    large = draw(some({("a", "en"): 200_000}), stage(sampler="priority"), seeded())
    assert np.diff(large.windows).max() == 0.01 * 200_000
