"""Which example comes when, and how often.

The order is a function of the examples, the options and the seed alone. So a stage that was killed goes on with the very
examples it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.order.budget import passes, times
from langmill_plugins.trainers.tokens.examples import Examples

#: Draws in a window of the priority sampler: a hundredth of the run, which moves the mix at no tenth of it by as much as
#: chance does, but not fewer than the published 256, where lines of 4,096 stay 2.8% empty (of 2,048 draws: 0.4%).
LEAST_WINDOW, WINDOWS = 256, 100


@dataclass(frozen=True)
class Drawn:
    """Draws in their order: ``example`` int64 [m], its number; ``occurrence`` int32 [m], how often it came before (0 the first
    time); ``windows`` int64: ends of stretches of draws inside of which packing may change the order."""

    example: Any
    occurrence: Any
    windows: Any


def draw(examples: Examples, stage: AdapterStage, seed_for: Callable[..., int]) -> Drawn:
    """Every draw of a stage.

    How often an example comes is the product of the stage's ``epochs`` (or as many as its ``tokens`` are) and the rates of
    :func:`rates`; where that is no whole number, some examples of its source and language come once more than the others,
    which ones is left to the seed. At least one example comes once.

    ``shuffle``: epoch after epoch, each of them a window in an order of its own, with the same share of every source and
    language; the last one may be a part. An example that comes less than once an epoch does not come again before the others
    of its source and language have come. ``priority``: see :func:`prioritised`.
    """
    import numpy as np

    dice = np.random.Generator(np.random.PCG64(seed_for(stage.name, "order")))
    rate = rates(examples, stage)
    # The k-th time of an example is in epoch (k + phase) / rate, with phases that are evenly spread over the examples of a
    # source and language: so every stretch of the stage has its share of them, each as often as another or once more.
    phase = _phases(examples, dice)
    epochs = stage.epochs if stage.tokens is None else passes(rate, phase, examples.lengths, stage.tokens)
    count = times(rate * epochs, phase)
    if len(count) and not count.any():
        count[np.argmax(rate * epochs - phase)] = 1
    example: Any = np.repeat(np.arange(len(count)), count)
    if stage.sampler == "priority":
        order = np.argsort(prioritised(_by_source(examples, stage.weights)[example], dice), kind="stable")
        window = max(LEAST_WINDOW, len(order) // WINDOWS)
        windows: Any = np.append(np.arange(window, len(order), window), len(order))
    else:
        time = np.arange(len(example)) - np.repeat(np.cumsum(count) - count, count)
        epoch = np.minimum((time + phase[example]) / rate[example], max(1, np.ceil(epochs)) - 1).astype(np.int64)
        order = np.lexsort((dice.random(len(example)), epoch))
        sizes = np.bincount(epoch)
        windows = np.cumsum(sizes[sizes > 0])  # where little comes at all, an epoch may have nothing
    return Drawn(example[order], _occurrence(example[order], count), windows)


def rates(examples: Examples, stage: AdapterStage) -> Any:
    """How often each example comes in an epoch, float64 [n].

    In this order: ``source_epochs``, by its source; ``languages.temperature``, by which the share of a language in all that is
    drawn is taken to the power of 1/temperature and the shares are made to sum to 1 again; ``languages.most``, the most draws
    that a language keeps of an epoch; ``languages.epochs``, by its language.
    """
    import numpy as np

    rate = _by_source(examples, stage.source_epochs)
    drawn = np.bincount(examples.language, rate, len(examples.languages))
    balance = stage.languages
    factor = np.ones(len(drawn))
    if balance.temperature != 1:
        shares = (drawn / drawn.sum()) ** (1 / balance.temperature)
        factor = shares / shares.sum() * drawn.sum() / drawn
    for number, language in enumerate(examples.languages):
        most = balance.most.get(language) if isinstance(balance.most, Mapping) else balance.most
        if most is not None and drawn[number] * factor[number] > most:
            factor[number] = most / drawn[number]
        factor[number] *= balance.epochs.get(language, 1.0)
    return rate * factor[examples.language]


def prioritised(weights: Any, dice: Any) -> Any:
    """A key for each draw, float64: in their order, draws are taken one after another, each with a probability proportional to its
    weight among those not taken yet. Equal weights make every order equally likely.

    An exponential waiting time with the weight as its rate (Efraimidis and Spirakis 2006): of those that wait, the next to
    come is one with just that probability.
    """
    return dice.standard_exponential(len(weights)) / weights


def _by_source(examples: Examples, said: Mapping[str, float]) -> Any:
    """What is said of each example's source, 1 where nothing is; float64 [n]."""
    import numpy as np

    return np.asarray([said.get(name, 1.0) for name in examples.sources])[examples.source]


def _phases(examples: Examples, dice: Any) -> Any:
    """A number in (0, 1) for each example, evenly spread over those of one source and language."""
    import numpy as np

    group = examples.source.astype(np.int64) * len(examples.languages) + examples.language
    order = np.lexsort((dice.random(len(group)), group))
    members = np.bincount(group)
    begins = np.cumsum(members) - members
    ranked = group[order]
    phase = np.empty(len(group))
    phase[order] = (np.arange(len(group)) - begins[ranked] + dice.random(len(members))[ranked]) / members[ranked]
    return np.minimum(phase, 1 - 1e-9)


def _occurrence(example: Any, count: Any) -> Any:
    """For each draw, how often its example came before, int32."""
    import numpy as np

    occurrence: Any = np.empty(len(example), np.int32)
    occurrence[np.argsort(example, kind="stable")] = np.arange(len(example)) - np.repeat(
        np.cumsum(count) - count, count
    )
    return occurrence
