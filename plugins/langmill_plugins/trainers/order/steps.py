"""Draws as optimiser steps: a step is micro-batches, a micro-batch is lines, a line is examples.

A line holds one example, or as many as fit where examples are packed. All examples of a step are learnt from before the weights
change, each token weighing the same, so that how a step is cut into micro-batches changes nothing but the memory it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langmill_plugins.trainers.order.packing import pack

Micro = list[list[int]]
"""A micro-batch: lines of example numbers."""


@dataclass(frozen=True)
class Steps:
    """NumPy arrays. ``examples`` int64 [m]: example numbers in the order they are learnt; ``lines``, ``micros``, ``steps`` int64:
    where each line ends in ``examples``, each micro-batch in ``lines``, each step in ``micros``. None of them is empty."""

    examples: Any
    lines: Any
    micros: Any
    steps: Any

    def __len__(self) -> int:
        return len(self.steps)

    def micro(self, number: int) -> Micro:
        """One micro-batch."""
        first, last = _span(self.micros, number)
        return [self.examples[slice(*_span(self.lines, line))].tolist() for line in range(first, last)]

    def of(self, step: int) -> list[int]:
        """The micro-batches of a step, counted from 0, by number."""
        return list(range(*_span(self.steps, step)))

    def examples_of(self, step: int) -> Any:
        """The examples of a step, by number."""
        first, last = _span(self.steps, step)
        begin = _start(self.lines, _start(self.micros, first))
        return self.examples[begin : self.lines[self.micros[last - 1] - 1]]

    def halved(self) -> Steps | None:
        """The same steps with each micro-batch in two: half the memory, the same sums. A micro-batch of one line is divided
        inside the line. None when none can be divided."""
        import numpy as np

        # Counted in examples, an end of a step is one of a micro-batch, and that one of a line.
        micros = self.lines[self.micros - 1]
        first, count, begin = _begins(self.micros), np.diff(self.micros, prepend=0), _begins(micros)
        between = self.lines[first + np.maximum(count // 2, 1) - 1]
        inside = (begin + micros) // 2
        middle = np.where(count > 1, between, inside)
        divided = middle > begin  # a micro-batch of one example is not
        if not divided.any():
            return None
        lines = _merged(self.lines, middle[divided & (count == 1)])
        halves = _merged(micros, middle[divided])
        ends = np.searchsorted(halves, micros[self.steps - 1]) + 1
        return Steps(self.examples, lines, np.searchsorted(lines, halves) + 1, ends)


def arranged(
    numbers: Any,
    windows: Any,
    lengths: Any,
    *,
    batch: int,
    accumulate: int,
    most_steps: int | None,
    size: int | None,
    seed: int,
    processes: int = 1,
) -> Steps:
    """Steps of ``batch`` times ``accumulate`` examples, out of example ``numbers`` in the order they were drawn. The last step has
    what is left.

    ``lengths`` by example number, in tokens. ``size`` None: a line is an example, and inside a step examples of like length share
    a micro-batch of ``batch``. Sorting over many steps would pad less still, but length tells the language (a character is a token
    in one, three in another): each step would learn one language only.

    Else examples are packed into lines of ``size`` tokens, inside the stretches of draws that end at ``windows``. A step still
    learns from as many examples, to the nearest end of a line, so that a learning rate and a number of steps mean the same
    packed or not; it only takes fewer lines, in micro-batches of at most ``batch`` of them, dealt to ``processes``. There are
    as many steps as without packing, and fewer only where a line holds more examples than a step should.
    """
    import numpy as np

    width = batch * accumulate
    if size is None:
        numbers = numbers if most_steps is None else numbers[: most_steps * width]
        step: Any = np.arange(len(numbers)) // width
        examples, lines = numbers[np.lexsort((numbers, lengths[numbers], step))], np.arange(1, len(numbers) + 1)
        micros = _every(batch, len(lines))
        return Steps(examples, lines, micros, _every(accumulate, len(micros)))
    examples, lines = _packed(numbers, windows, lengths, size, seed)
    ends = _step_ends(lines, width)[:most_steps]
    lines = lines[: _start(ends, len(ends))]
    micros, steps = _divided(ends, batch, processes)
    return Steps(examples[: _start(lines, len(lines))], lines, micros, steps)


def _packed(numbers: Any, windows: Any, lengths: Any, size: int, seed: int) -> tuple[Any, Any]:
    """Examples and where lines end: packed window by window, the lines of each in an order of their own."""
    import numpy as np

    dice = np.random.Generator(np.random.PCG64(seed))
    examples: list[Any] = []
    sizes: list[Any] = []
    for begin, end in zip(_begins(windows).tolist(), windows.tolist(), strict=True):
        drawn = numbers[begin:end]
        places, ends = pack(lengths[drawn], size)
        # Best fit makes the lines of long examples first: left so, a stage would go from long to short.
        key = dice.random(len(ends))
        counts = np.diff(ends, prepend=0)
        order = np.argsort(key, kind="stable")
        examples.append(drawn[places[np.argsort(np.repeat(key, counts), kind="stable")]])
        sizes.append(counts[order])
    made, counts = np.concatenate(examples or [numbers]), np.concatenate(sizes or [numbers])
    return made, np.cumsum(counts, dtype=np.int64)


def _step_ends(lines: Any, width: int) -> Any:
    """Where each step ends in lines: at the line end that is nearest to a multiple of ``width`` examples, the earlier of two."""
    import numpy as np

    if not len(lines):
        return lines
    due = np.arange(width, lines[-1], width)
    line = np.searchsorted(lines, due)  # in it, or at its end, so many examples have come
    begins, sizes = _begins(lines), np.diff(lines, prepend=0)
    near = line + (lines[line] - due < due - begins[line])
    if sizes.max() <= width:
        # Each step but the last then has an end of its own already; this one may be less than half a line.
        near = np.minimum(near, len(lines) - np.arange(len(due), 0, -1))
    near = np.unique(near)  # of a line that is longer than two steps, both ends may be the nearest of several
    return np.append(near[(near > 0) & (near < len(lines))], len(lines))


def _divided(ends: Any, batch: int, processes: int) -> tuple[Any, Any]:
    """Micro-batches of at most ``batch`` lines, all of a step as large as can be alike; where each ends in lines, and each step in
    micro-batches. There are as many as bring each process the same number, where a step has so many lines."""
    import numpy as np

    sizes = np.diff(ends, prepend=0)
    counts = np.minimum(sizes, -(-sizes // (batch * processes)) * processes)
    steps = np.cumsum(counts)
    place = np.arange(1, counts.sum() + 1) - np.repeat(steps - counts, counts)
    return np.repeat(ends - sizes, counts) + np.repeat(sizes, counts) * place // np.repeat(counts, counts), steps


def _every(count: int, of: int) -> Any:
    """The ends of groups of ``count`` among ``of`` things, the last one smaller."""
    import numpy as np

    return np.minimum(np.arange(1, -(-of // count) + 1) * count, of)


def _merged(ends: Any, more: Any) -> Any:
    """Two ascending lists as one."""
    import numpy as np

    return np.sort(np.concatenate((ends, more)), kind="stable")


def _begins(ends: Any) -> Any:
    """Where each begins that ends there: 0, and each end but the last."""
    import numpy as np

    return np.concatenate(([0], ends[:-1])) if len(ends) else ends


def _start(ends: Any, number: int) -> int:
    return int(ends[number - 1]) if number else 0


def _span(ends: Any, number: int) -> tuple[int, int]:
    return _start(ends, number), int(ends[number])
