"""Scores and their intervals: held against textbooks, against simulation, and at the edges."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from langmill.api import Item, Marked, Metric, Score
from langmill.errors import FactoryError
from langmill.scores.intervals import mean_interval, wilson
from langmill.scores.resampling import DRAWS, Cell, drawn, ends, flipped, grid, student
from langmill.scores.summing import scores_of

METRICS = {
    "right": Metric("share", "right"),
    "overlap": Metric("mean", "words in common"),
    "perplexity": Metric("exp", "of words", better="lower"),
}


def scored(items: Sequence[Item], families: dict[str, str] | None = None) -> dict[tuple[str, str], Score]:
    """The scores by (metric, language)."""
    return {(one.metric, one.language): one for one in scores_of(Marked(tuple(items)), METRICS, 5, families)}


def items(values: Sequence[float], metric: str = "right", language: str = "en", **more: float) -> list[Item]:
    return [Item(f"{language}-{at}", language, metric, value, **more) for at, value in enumerate(values)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)  # fmt: skip
def test_wilson_is_the_textbooks(right: int, n: int, low: float, high: float) -> None:
    found = wilson(right, n)
    assert found == pytest.approx((low, high), abs=5e-5)
    assert (found[0] == 0) == (right == 0) and (found[1] == 1) == (right == n), "exact at the edges"


def test_wilson_mirrors() -> None:
    for right, n in ((0, 1), (1, 1), (3, 7), (999, 1000)):
        low, high = wilson(right, n)
        assert wilson(n - right, n) == pytest.approx((1 - high, 1 - low))


def test_students_t_is_the_tables() -> None:
    for free, t in {1: 12.706, 9: 2.262, 10: 2.228, 15: 2.131, 30: 2.042, 120: 1.980}.items():
        assert student(free) == pytest.approx(t, abs=0.005)


def test_the_mean_of_one_figure_is_that_figure_and_of_related_ones_is_wider() -> None:
    parts = [(0.5, (0.4, 0.62)), (0.7, (0.6, 0.78))]
    assert mean_interval(parts[:1]) == pytest.approx((0.4, 0.62))
    apart, together = mean_interval(parts), mean_interval(parts, [[1, 1], [1, 1]])
    assert apart == pytest.approx((0.6 - math.hypot(0.1, 0.1) / 2, 0.6 + math.hypot(0.12, 0.08) / 2))
    assert together == pytest.approx((0.5, 0.7)), "what rises and falls as one has the mean of the limits"


def test_a_share_has_what_a_table_of_scores_needs() -> None:
    chances = [0.2] * 9 + [0.5]
    made = [Item(f"r{at}", "en", "right", float(at < 4), chances[at], readable=at != 9) for at in range(10)]
    score = scored(made)["right", "en"]
    assert (score.n, score.correct, score.value, score.unreadable) == (10, 4, 0.4, 1)
    assert score.interval == wilson(4, 10) and score.chance == pytest.approx(0.23)


def test_nothing_right_and_everything_right_have_an_interval() -> None:
    found = scored([*items([0.0] * 12), *items([1.0] * 3, language="ja"), *items([0.5], language="ko")])
    assert found["right", "en"].interval == wilson(0, 12)
    assert found["right", "ja"].interval == wilson(3, 3)
    assert found["right", "ko"].interval == wilson(0.5, 1), (
        "one row, half right: nothing to draw, and no false certainty"
    )
    low, high = found["right", "all"].interval
    assert low < 0.5 < high and found["right", "all"].value == pytest.approx(0.5)


def test_partial_values_are_drawn_again_and_alike_ones_are_not_certain() -> None:
    found = scored([*items([0.0, 1.0, 0.5, 0.5] * 10), *items([0.5] * 30, language="ja")])
    low, high = found["right", "en"].interval
    assert 0.35 < low < 0.43 and 0.57 < high < 0.65
    assert found["right", "ja"].interval == pytest.approx(wilson(15, 30))
    again = scored(list(reversed(items([0.0, 1.0, 0.5, 0.5] * 10))))
    assert again["right", "en"].interval == pytest.approx((low, high)), "whatever order rows come in"


def test_a_mean_of_one_item_is_the_mean() -> None:
    found = scored(items([3.5], "overlap"))
    assert found["overlap", "en"].interval == (3.5, 3.5) and found["overlap", "en"].correct is None


def test_perplexity_is_the_exponential_of_the_weighted_mean() -> None:
    made = [Item("a", "en", "perplexity", 1.0, weight=30.0), Item("b", "en", "perplexity", 4.0, weight=10.0)]
    made += items([2.0, 2.5, 3.0], "perplexity", "ja")
    found = scored(made)
    assert found["perplexity", "en"].value == pytest.approx(math.exp(1.75))
    assert found["perplexity", "all"].value == pytest.approx(math.exp((1.75 + 2.5) / 2))
    for score in found.values():
        assert score.interval[0] <= score.value <= score.interval[1]


def test_rows_that_weigh_nothing_count_for_nothing() -> None:
    made = [*items([1.0, 1.0, 0.0, 0.0]), Item("x", "en", "right", 1.0, weight=0.0)]
    score = scored(made)["right", "en"]
    assert (score.n, score.correct, score.value, score.interval) == (4, 2, 0.5, wilson(2, 4))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Item("r7", "en", "right", math.nan), "row r7, right: a value of nan"),
        (Item("r7", "en", "perplexity", math.inf), "row r7, perplexity: a value of inf"),
        (Item("r7", "en", "right", 1.0, weight=-1.0), "weighs -1.0"),
        (Item("r7", "en", "right", 1.5), "shares are 0 to 1"),
        (Item("r7", "en", "perplexity", 800.0), "exponential of 800.0"),
        (Item("r7", "en", "rihgt", 1.0), "has no such metric; it has right, overlap, perplexity"),
        (Item("r7", "en", "right", 1.0, weight=0.0), "right, en: all items weigh 0"),
    ],
)
def test_what_would_spoil_a_mean_is_an_error_with_the_row(item: Item, words: str) -> None:
    with pytest.raises(FactoryError, match=words):
        scores_of(Marked((item,)), METRICS, 5)


def test_no_items_make_no_scores_but_the_evaluators_own() -> None:
    own = Score("en", "corpus", 3, 1.0, (0.5, 1.5))
    assert scores_of(Marked((), scores=(own,)), METRICS, 5) == [own]


def test_a_family_is_one_witness() -> None:
    """Ten questions in three editions each are no thirty questions."""
    values = [float(at % 2) for at in range(10) for _ in range(3)]
    made = items(values)
    families = {item.row: f"f{at // 3}" for at, item in enumerate(made)}
    alone, together = (scored(made, known)["right", "en"].interval for known in (None, families))
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


# --- by simulation: the seeds are fixed, so these either always hold or never ---


def test_intervals_of_a_mean_cover_it() -> None:
    """Nineteen times in twenty, of values with steps and of smooth ones, few and many."""
    random = np.random.default_rng(1)
    for n, least in ((8, 0.91), (20, 0.92), (60, 0.93)):
        hits = 0
        for number in range(300):
            values = random.choice([0, 1 / 3, 2 / 3, 1], n, p=[0.4, 0.2, 0.2, 0.2])
            cells = [Cell(str(at), "en", float(value), 1.0) for at, value in enumerate(values)]
            low, high = ends(drawn([grid(cells, [str(at) for at in range(n)], ["en"])], number)[0][:, 0], n)
            hits += low <= 0.4 <= high
        assert least <= hits / 300 <= 0.98, n


def test_wilsons_interval_covers_a_share() -> None:
    random = np.random.default_rng(2)
    for share, n in ((0.05, 40), (0.25, 20), (0.5, 200), (0.9, 100)):
        hits = sum(low <= share <= high for low, high in (wilson(int(k), n) for k in random.binomial(n, share, 4000)))
        assert 0.93 <= hits / 4000 <= 0.98, (share, n)


@pytest.mark.parametrize("shared", [False, True])
def test_the_interval_over_all_languages_covers_also_where_they_share_their_questions(shared: bool) -> None:
    random, languages, n, hits, blind = np.random.default_rng(3), ("en", "fr", "ja", "ru"), 30, 0, 0
    for _ in range(300):
        known = random.random((n, 1 if shared else 4)) * np.ones((1, 4))
        guess = random.random((n, 4))
        right = np.where(random.random((n, 4)) < 0.8, known, guess) < 0.4
        made = [item for at, code in enumerate(languages) for item in items(right[:, at].astype(float), language=code)]
        families = {item.row: item.row.split("-")[1] for item in made} if shared else {}
        low, high = scored(made, families)["right", "all"].interval
        hits += low <= 0.4 <= high
        low, high = scored(made)["right", "all"].interval
        blind += low <= 0.4 <= high
    assert 0.92 <= hits / 300 <= 0.98
    assert (blind / 300 < 0.85) is shared, "without families it would be far too narrow"


def test_draws_keep_every_language_and_are_the_seeds() -> None:
    cells = [Cell(f"{code}{at}", code, float(at % 2), 1.0) for code in ("en", "ja") for at in range(6)]
    cells += [Cell("both", code, 1.0, 1.0) for code in ("en", "ja")]
    table = grid(cells, sorted({cell.family for cell in cells}), ["en", "ja"])
    first, again, other = (drawn([table, table], seed) for seed in (1, 1, 2))
    assert first[0].shape == (DRAWS, 2) and np.isfinite(first[0]).all()
    assert (first[0] == again[0]).all() and (first[0] != other[0]).any()
    assert (first[0] == first[1]).all(), "both models are given the same rows"


def test_flips_of_few_are_counted_and_of_many_drawn() -> None:
    assert flipped(np.zeros(4), 1) == 1
    assert flipped(np.array([1.0, 1, 1, 0]), 1) == 2 / 8
    assert flipped(np.array([3.0, -1, 1]), 1) == 3 / 4
    assert flipped(np.ones(40), 1) == 1 / 10_000
    assert flipped(np.tile([1.0, -1.0], 20), 1) == 1
