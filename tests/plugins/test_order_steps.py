"""Draws as steps: every draw in one line, no line too long, and halving changes no step."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langmill_plugins.trainers.order.steps import Steps, arranged


def steps_of(numbers: Any, lengths: Any, windows: Any = None, **options: Any) -> Steps:
    known: dict[str, Any] = {"batch": 2, "accumulate": 2, "most_steps": None, "size": None, "seed": 1, **options}
    ends = [len(numbers)] if windows is None else windows
    return arranged(np.asarray(numbers, np.int64), np.asarray(ends, np.int64), np.asarray(lengths, np.int32), **known)


def micros(steps: Steps) -> list[list[list[list[int]]]]:
    return [[steps.micro(number) for number in steps.of(step)] for step in range(len(steps))]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], dict[str, Any]]:
    """Lengths, numbers drawn, ends of windows, options."""
    size = draw(st.integers(1, 30))
    lengths = draw(st.lists(st.integers(1, size), min_size=1, max_size=40))
    numbers = draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=120))
    windows = sorted({*draw(st.lists(st.integers(1, len(numbers)), max_size=4)), len(numbers)})
    options = {
        "size": draw(st.sampled_from([None, size])),
        "batch": draw(st.integers(1, 5)),
        "accumulate": draw(st.integers(1, 4)),
    }
    return lengths, numbers, windows, options


@settings(max_examples=200, deadline=None)
@given(cases())
def test_every_draw_lies_in_one_line(case: tuple[list[int], list[int], list[int], dict[str, Any]]) -> None:
    lengths, numbers, windows, options = case
    steps = steps_of(numbers, lengths, windows, **options)
    made = micros(steps)
    assert sorted(one for step in made for micro in step for line in micro for one in line) == sorted(numbers)
    assert all(line for step in made for micro in step for line in micro)
    longest = max(sum(lengths[one] for one in line) for step in made for micro in step for line in micro)
    assert options["size"] is None or longest <= options["size"]
    assert all(1 <= len(micro) <= options["batch"] for step in made for micro in step)
    if options["size"] is None:
        assert all(len(micro) == options["batch"] for step in made for micro in step[:-1])
        assert all(len(step) == options["accumulate"] for step in made[:-1])
        assert 1 <= len(made[-1]) <= options["accumulate"]
        assert all(len(line) == 1 for step in made for micro in step for line in micro)
    else:  # no line straddles windows, and they come in their order
        flat = [one for step in made for micro in step for line in micro for one in line]
        for begin, end in zip([0, *windows[:-1]], windows, strict=True):
            assert sorted(flat[begin:end]) == sorted(numbers[begin:end])
    for step, inside in enumerate(made):
        assert steps.examples_of(step).tolist() == [one for micro in inside for line in micro for one in line]


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(1, 3))
def test_packed_steps_learn_from_as_many_examples_as_unpacked_ones(
    case: tuple[list[int], list[int], list[int], dict[str, Any]], processes: int
) -> None:
    lengths, numbers, windows, options = case
    size, width = max(lengths), options["batch"] * options["accumulate"]
    steps = steps_of(numbers, lengths, windows, **{**options, "size": size}, processes=processes)
    sizes = np.diff(steps.lines, prepend=0)
    apart = steps_of(numbers, lengths, windows, **{**options, "size": None})
    ends = steps.lines[steps.micros[steps.steps - 1] - 1]  # of steps, in examples
    assert len(steps) <= len(apart) and (len(steps) == len(apart) or sizes.max() > width)
    known = {0, *steps.lines.tolist()}
    for end in ends[:-2]:  # at a line's end than which none is nearer to some multiple of the width
        assert any(abs(end - due) == min(abs(one - due) for one in known) for due in range(0, len(numbers), width))
    if sizes.max() <= width:
        due = np.arange(1, len(steps)) * width
        assert (np.abs(ends[:-2] - due[:-1]) <= sizes.max() / 2).all()
    for first, last in zip([0, *steps.steps[:-1]], steps.steps, strict=True):
        micros_ = np.diff(steps.micros, prepend=0)[first:last]
        assert micros_.max() <= options["batch"] and micros_.max() - micros_.min() <= 1
        assert len(micros_) % processes == 0 or micros_.max() == 1
        assert processes > 1 or len(micros_) == -(-micros_.sum() // options["batch"])


def test_packed_steps_end_at_the_nearest_line() -> None:
    lengths = [2, 2, 4, 4, 2, 2, 4]
    steps = steps_of(range(7), lengths, [2, 3, 4, 6, 7], batch=2, accumulate=2, size=4)
    assert micros(steps) == [[[[0, 1]], [[2], [3]]], [[[4, 5], [6]]]]
    one_long = steps_of(range(12), [1] * 12, size=12, batch=2, accumulate=1)
    assert [len(one_long), len(one_long.lines)] == [1, 1], "a line is never divided among steps"
    # The end of the last step is nearest to 8, too: the others end a line earlier, so that none is lost.
    lost = steps_of(range(9), [2] + [1] * 8, [1, 5, 9], batch=4, accumulate=1, size=4)
    assert [len(lost.examples_of(step)) for step in range(len(lost))] == [1, 4, 4]
    halfway = steps_of(range(6), [2, 2, 1, 1, 1, 1], [2, 6], batch=4, accumulate=1, size=4)
    assert [len(halfway.examples_of(step)) for step in range(len(halfway))] == [2, 4]


def test_packed_steps_are_dealt_out_to_processes() -> None:
    lengths = [4] * 7
    for processes, sizes in ((1, [3, 4]), (2, [3, 4]), (3, [2, 2, 3]), (9, [1] * 7)):
        steps = steps_of(range(7), lengths, size=4, batch=4, accumulate=9, processes=processes)
        assert np.diff(steps.micros, prepend=0).tolist() == sizes


@settings(max_examples=200, deadline=None)
@given(cases())
def test_halving_keeps_steps_and_comes_to_single_examples(
    case: tuple[list[int], list[int], list[int], dict[str, Any]],
) -> None:
    lengths, numbers, windows, options = case
    steps: Steps | None = steps_of(numbers, lengths, windows, **options)
    before = micros(steps)
    most = max(len(micro) for step in before for micro in step)
    rounds = 0
    while steps is not None:
        last, steps = steps, steps.halved()
        if steps is None:
            break
        rounds += 1
        now = micros(steps)
        for old, new in zip(before, now, strict=True):
            assert [one for micro in old for line in micro for one in line] == [
                one for micro in new for line in micro for one in line
            ]
        if max(len(micro) for step in now for micro in step) > 1:
            assert max(len(micro) for step in now for micro in step) <= -(-most // 2**rounds)
    assert all(len(micro) == 1 and len(micro[0]) == 1 for step in micros(last) for micro in step)
    assert len(last.micros) == len(numbers)


def test_halving_divides_lines_between_and_then_inside() -> None:
    steps = steps_of([0, 1, 2, 3, 4], [4, 4, 2, 2, 4], batch=5, accumulate=1, size=8)
    (micro,) = micros(steps)[0]
    assert sorted(map(sorted, micro)) == [[0, 1], [2, 3, 4]]
    once = steps.halved()
    assert once is not None
    assert [[len(one) for one in line] for line in micros(once)[0]] == [[2], [3]] or [
        [len(one) for one in line] for line in micros(once)[0]
    ] == [[3], [2]]
    twice = once.halved()
    assert twice is not None
    assert sorted(len(micro[0]) for micro in micros(twice)[0]) == [1, 1, 1, 2]


def test_unpacked_steps_hold_what_was_drawn_sorted_inside() -> None:
    steps = steps_of([5, 3, 1, 0, 2, 4, 5], [10, 20, 30, 40, 50, 60])
    assert micros(steps) == [[[[0], [1]], [[3], [5]]], [[[2], [4]], [[5]]]]
    assert [steps.examples_of(step).tolist() for step in range(2)] == [[0, 1, 3, 5], [2, 4, 5]]


@pytest.mark.parametrize("size", [None, 8])
def test_the_most_steps_are_the_first_ones_of_the_whole(size: int | None) -> None:
    lengths, numbers = [1 + at % 7 for at in range(30)], list(range(30)) * 2
    whole = micros(steps_of(numbers, lengths, [30, 60], size=size))
    for most in (1, 3, 100):
        assert micros(steps_of(numbers, lengths, [30, 60], size=size, most_steps=most)) == whole[:most]


def test_packed_lines_do_not_go_from_long_to_short() -> None:
    dice = np.random.default_rng(1)
    lengths = dice.integers(1, 64, 2000)
    steps = steps_of(range(2000), lengths, size=64)
    longest = [max(int(lengths[one]) for micro in step for line in micro for one in line) for step in micros(steps)]
    half = len(longest) // 2
    assert abs(np.mean(longest[:half]) - np.mean(longest[half:])) < 4


def test_the_seed_orders_lines_and_changes_no_line() -> None:
    one, other = (steps_of(range(60), [1 + at % 9 for at in range(60)], size=16, seed=seed) for seed in (1, 2))
    flat = [[tuple(line) for step in micros(steps) for micro in step for line in micro] for steps in (one, other)]
    assert flat[0] != flat[1]
    assert sorted(flat[0]) == sorted(flat[1])


@pytest.mark.parametrize("size", [None, 512])
def test_a_million_draws_take_little_memory(size: int | None) -> None:
    dice = np.random.default_rng(1)
    lengths = dice.integers(8, 500, 1_000_000).astype(np.int32)
    numbers: Any = np.arange(1_000_000)
    tracemalloc.start()
    steps = arranged(
        numbers, np.asarray([1_000_000]), lengths, batch=4, accumulate=4, most_steps=None, size=size, seed=1
    )
    halves = steps.halved()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert halves is not None
    assert peak < 75e6  # lists of one number each would take more than 100 MB


def test_nothing_to_arrange() -> None:
    for size in (None, 8):
        steps = steps_of([], [3], [], size=size)
        assert (len(steps), len(steps.micros), steps.halved()) == (0, 0, None)
