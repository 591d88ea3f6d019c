"""Two models on the same rows: textbook tests, pairs that are pairs, and how often chance is called a gain."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from langmill.api import Choice, Origin, Row
from langmill.parts.evaluation import ALL
from langmill.scores.paired import Comparison, compared, holm, mcnemar, pairing
from langmill.scores.resampling import flipped

KINDS = {
    "right": {"kind": "share", "about": "right", "better": "higher"},
    "overlap": {"kind": "mean", "about": "words in common", "better": "higher"},
    "perplexity": {"kind": "exp", "about": "of words", "better": "lower"},
}


def evaluation(model: str, values: Mapping[str, Sequence[float]], metric: str = "right", **more: Any) -> dict[str, Any]:
    """As a file of an evaluation has it: values by language, rows numbered."""
    items = [
        {"row": f"{language}-{at}", "language": language, "metric": metric, "value": value, "weight": 1.0}
        for language, row_values in values.items()
        for at, value in enumerate(row_values)
    ]
    return {"name": "exams", "model": model, "metrics": {metric: KINDS[metric]}, "items": items, **more}


def by_language(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Comparison]:
    return {one.language: one for one in compared(first, second)}


def one_against_another(both: int, lost: int, gained: int, neither: int) -> tuple[list[float], list[float]]:
    """Two lists of right and wrong with so many of each."""
    before = [1.0] * (both + lost) + [0.0] * (gained + neither)
    return before, [1.0] * both + [0.0] * lost + [1.0] * gained + [0.0] * neither


def test_mcnemar_is_the_textbooks() -> None:
    assert mcnemar(16, 6) == pytest.approx(0.0525, abs=5e-5)  # Fagerland, Lydersen, Laake, BMC Med Res Methodol 13:91
    assert mcnemar(6, 16) == mcnemar(16, 6)
    assert mcnemar(0, 0) == 1 and mcnemar(1, 0) == 1 and mcnemar(5, 5) == 1
    assert mcnemar(6, 0) == 2 / 2**6
    assert mcnemar(86, 150) == pytest.approx(3.72e-5, rel=0.02)  # Agresti's two surveys of one panel
    assert mcnemar(10_300, 9_700) == pytest.approx(math.erfc(599 / math.sqrt(20_000) / math.sqrt(2)), rel=0.005)


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == [] and holm([0.04]) == [0.04]


def test_flipping_signs_is_mcnemars_test_where_rows_are_right_or_wrong() -> None:
    for gained, lost in ((5, 1), (9, 3), (7, 0)):
        assert flipped(np.array([1.0] * gained + [-1.0] * lost), 1) == pytest.approx(mcnemar(gained, lost))
    assert flipped(np.array([1.0] * 30 + [-1.0] * 14), 1) == pytest.approx(mcnemar(30, 14), abs=0.004)


def test_a_line_says_what_was_compared() -> None:
    before, after = one_against_another(30, 5, 25, 40)
    line = by_language(evaluation("base", {"en": before}), evaluation("stage", {"en": after}))["en"]
    assert (line.name, line.metric, line.first, line.second) == ("exams", "right", "base", "stage")
    assert (line.paired, line.gained, line.lost, line.test) == (100, 25, 5, "McNemar")
    assert (line.before, line.after) == (0.35, 0.55) and line.difference == pytest.approx(0.2)
    assert line.p == line.corrected == mcnemar(25, 5) and line.verdict == "gain"
    # Agresti and Min, Statistics in Medicine 24 (2005): the plain interval of so many is 0.2 -+ 1.96 * sqrt(26) / 100
    assert line.interval == pytest.approx((0.1, 0.3), abs=0.015)
    assert json.loads(json.dumps(line.plain()))["interval"] == list(line.interval)


def test_the_other_way_round_a_gain_is_a_loss() -> None:
    before, after = one_against_another(30, 5, 25, 40)
    lines = by_language(evaluation("a", {"en": after}), evaluation("b", {"en": before}))
    assert lines["en"].verdict == "loss" and lines["en"].difference == pytest.approx(-0.2)


def test_of_what_is_better_low_a_fall_is_a_gain() -> None:
    random = np.random.default_rng(1)
    loss = random.normal(3, 1, 60)
    first = evaluation("base", {"en": loss.tolist()}, "perplexity")
    second = evaluation("stage", {"en": (loss - 0.5 + random.normal(0, 0.2, 60)).tolist()}, "perplexity")
    line = by_language(first, second)["en"]
    assert line.verdict == "gain" and line.test == "sign flips" and line.gained is None
    assert line.before == pytest.approx(math.exp(loss.mean())) and line.difference == pytest.approx(
        math.exp(-0.5) - 1, abs=0.05
    )
    assert line.interval[0] < line.difference < line.interval[1] < 0


def test_a_gain_needs_the_corrected_p() -> None:
    """One language at p = 0.03 among seven is nothing; alone it is a gain."""
    before, after = one_against_another(10, 4, 14, 12)
    same = one_against_another(10, 3, 3, 24)
    codes = ("en", "zh", "ja", "ko", "fr", "es", "ru")
    first = evaluation("a", {code: before if code == "en" else same[0] for code in codes})
    second = evaluation("b", {code: after if code == "en" else same[1] for code in codes})
    line = by_language(first, second)["en"]
    assert 0.01 < line.p < 0.05 < line.corrected == pytest.approx(7 * line.p)
    assert line.verdict == "not told apart"
    alone = by_language(evaluation("a", {"en": before}), evaluation("b", {"en": after}))
    assert alone["en"].verdict == "gain" and alone[ALL].verdict == "gain"


def test_over_all_languages_each_weighs_the_same() -> None:
    many, few = one_against_another(300, 10, 110, 80), one_against_another(10, 4, 0, 6)
    lines = by_language(evaluation("a", {"zh": many[0], "ja": few[0]}), evaluation("b", {"zh": many[1], "ja": few[1]}))
    assert lines[ALL].difference == pytest.approx((100 / 500 - 4 / 20) / 2) and lines[ALL].verdict == "not told apart"
    assert (lines[ALL].paired, lines[ALL].gained, lines[ALL].lost) == (520, 110, 14)
    assert list(lines) == ["ja", "zh", ALL]


def test_no_difference_is_not_certain_to_be_none() -> None:
    before, _ = one_against_another(6, 0, 0, 14)
    lines = by_language(evaluation("a", {"en": before}), evaluation("b", {"en": before}))
    low, high = lines["en"].interval
    assert lines["en"].p == 1 and -0.2 < low < -0.1 and 0.1 < high < 0.2
    once = by_language(evaluation("a", {"en": [0.0]}), evaluation("b", {"en": [1.0]}))["en"]
    assert once.verdict == "not told apart" and once.interval[0] < 0.5 and once.interval[1] == 1


def test_rows_are_paired_by_what_they_hold() -> None:
    """A row that one run alone asked, and one whose words or key changed, are counted and left out."""
    first = evaluation("a", {"en": [1.0] * 6, "ja": [1.0] * 2}, contents={f"en-{at}": "old" for at in range(6)})
    second = evaluation("b", {"en": [0.0] * 8}, contents={f"en-{at}": "new" if at == 3 else "old" for at in range(8)})
    lines = by_language(first, second)
    assert list(lines) == ["en", ALL]
    en, over = lines["en"], lines[ALL]
    assert (en.paired, en.only_first, en.only_second, en.changed, en.lost) == (5, 0, 2, 1, 5)
    assert (over.only_first, over.only_second, over.changed) == (2, 2, 1), "a language that one has alone counts here"
    assert compared(first, evaluation("b", {"ko": [1.0]})) == []
    assert compared(first, evaluation("b", {"en": [1.0]}, "overlap")) == [], "no metric in common"


def test_what_pairs_is_the_rows_words_and_key() -> None:
    def row(id: str, answers: tuple[int, ...] = (0,), family: str = "") -> Row:
        body = Choice("Which one?", ("this", "that"), answers)
        return Row(id, "en", "test", family or id, body, Origin("own", id, ("CC0-1.0",)))

    facts = pairing([row("a"), row("b", (1,)), row("c", family="f"), row("d", family="f")])
    assert facts["contents"]["a"] == facts["contents"]["c"] != facts["contents"]["b"]
    assert facts["families"] == {"c": "f", "d": "f"}


def test_translations_of_one_question_are_one_coin() -> None:
    """Six questions in five languages that all turn: six coins are not thirty."""
    codes = ("en", "es", "fr", "it", "ru")
    families = {f"{code}-{at}": f"f{at}" for code in codes for at in range(6)}
    before, after = ({code: [value] * 6 for code in codes} for value in (0.0, 1.0))
    first, second = evaluation("a", before, families=families), evaluation("b", after, families=families)
    assert by_language(first, second)[ALL].p == 2 / 2**6
    first["items"][0]["value"] = 1.0
    low, high = by_language(first, second)[ALL].interval
    assert 0.7 < low < 29 / 30 < high == 1, "as wide as six questions allow, and no wider"
    twice = {f"en-{at}": f"f{at // 2}" for at in range(6)}
    first, second = (
        evaluation(name, {"en": values["en"]}, families=twice) for name, values in (("a", before), ("b", after))
    )
    line = by_language(first, second)["en"]
    assert line.test == "sign flips" and line.p == 2 / 2**3, "two rows of a family in one language"


def test_several_orders_of_a_row_are_one_row() -> None:
    def orders(model: str, right: int) -> dict[str, Any]:
        items = [
            {"row": f"en-{at}", "language": "en", "metric": "right", "value": float(order < right), "weight": 1.0}
            for at in range(8)
            for order in range(4)
        ]
        return {"name": "exams", "model": model, "metrics": {"right": KINDS["right"]}, "items": items}

    line = by_language(orders("a", 1), orders("b", 3))["en"]
    assert (line.paired, line.test, line.p) == (8, "sign flips", 2 / 2**8) and line.difference == 0.5


def test_the_seed_decides_and_order_does_not() -> None:
    random = np.random.default_rng(4)
    first, second = (evaluation(name, {"en": random.random(50).tolist()}, "overlap") for name in "ab")
    shuffled = {**second, "items": list(reversed(second["items"]))}
    assert compared(first, second) == compared(first, shuffled) == compared(first, second, 17)
    assert compared(first, second)[0].interval != compared(first, second, 18)[0].interval


def test_chance_is_seldom_called_a_gain_and_a_gain_mostly_is() -> None:
    """Two models that are alike in four languages: a verdict in any of them in at most one pair of twenty; the interval covers 0."""
    random, codes, rows, pairs = np.random.default_rng(5), ("en", "zh", "ja", "ru"), 40, 120

    def right(difficulty: Any, share: float) -> Any:
        return (
            np.where(random.random(difficulty.shape) < 0.5, difficulty, random.random(difficulty.shape)) < share
        ) * 1.0

    false = over = covered = found = 0
    for _ in range(pairs):
        difficulty = random.random((4, rows))
        one, same, better = (right(difficulty, share) for share in (0.4, 0.4, 0.75))
        facts = [evaluation("m", dict(zip(codes, each.tolist(), strict=True))) for each in (one, same, better)]
        lines = by_language(facts[0], facts[1])
        false += any(lines[code].verdict != "not told apart" for code in codes)
        over += lines[ALL].verdict != "not told apart"
        covered += sum(lines[code].interval[0] <= 0 <= lines[code].interval[1] for code in codes)
        found += by_language(facts[0], facts[2])[ALL].verdict == "gain"
    assert false / pairs <= 0.07 and over / pairs <= 0.09
    assert 0.92 <= covered / pairs / 4 <= 0.98
    assert found / pairs >= 0.95
