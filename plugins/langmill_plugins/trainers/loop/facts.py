"""What a finished stage tells of itself: result.json."""

from __future__ import annotations

from typing import Any

from langmill_plugins.trainers.loop.loop import Course
from langmill_plugins.trainers.loop.ready import Ready
from langmill_plugins.trainers.order.steps import Steps
from langmill_plugins.trainers.weights.saving import is_four_bit

STRETCHES = 100  # of a stage, in which its mix is counted


def facts_of(ready: Ready, course: Course, model: Any) -> dict[str, Any]:
    """Figures of a stage that is done. Tokens and draws are those of all its steps; a row that came twice counts twice.

    ``rows``, ``examples``: those that some step learnt from, each once; ``left_out``: rows that could not be learnt from in any
    form; ``forms_left_out``: forms of rows whose other form could.
    ``trained_tokens``: tokens that carried loss, by language; ``draws``: examples by language and source; ``mix``: examples by
    source over the course of a priority stage, else None; ``fill``: tokens divided by the places they took;
    ``peak_memory_bytes``: on a GPU what tensors held at most, on a CPU the process.
    """
    train, dev, base = ready.train, ready.dev, ready.standing.base
    return {
        **course.log.summary(),
        "rows": {"train": len(_drawn(course)), "dev": len(set(dev.examples.row.tolist()))},
        "examples": {"train": sum(_drawn(course).values()), "dev": len(dev.examples)},
        "left_out": {"train": train.left_out_by_reason(), "dev": dev.left_out_by_reason()},
        "forms_left_out": {"train": train.forms_left_out_by_reason(), "dev": dev.forms_left_out_by_reason()},
        "cut": {"train": train.cut_by_kind(), "dev": dev.cut_by_kind()},
        "data_tokens": {"train": train.examples.tokens, "answers": train.examples.trained},
        "trained_tokens": _learnt_by_language(course),
        "draws": _draws(course),
        "mix": _mix(course),
        "packed": ready.packed,
        "fill": round(fill_of(ready.steps, ready.examples.lengths, ready.how.max_tokens if ready.packed else None), 5),
        "chat_template": ready.chat_template,
        "base": {"name": base.name, "identity": base.identity, "demonstration": base.demonstration},
        "backend": ready.backend,
        "processes": course.ranks.of,
        "halvings": course.memory.halvings,
        "batch": course.batch,
        "accumulate": course.stage.accumulate,
        "recomputed": _again(course),
        "peak_memory_bytes": _peak(),
        "held_in": "4bit" if is_four_bit(model) else str(model.dtype).removeprefix("torch."),
        "trained_parameters": sum(part.numel() for part in model.parameters() if part.requires_grad),
        "fingerprint": course.fingerprint,
    }


def fill_of(steps: Steps, lengths: Any, size: int | None) -> float:
    """Tokens divided by the places they take: lines of ``size`` where examples are packed, else the longest of each micro-batch."""
    import numpy as np

    lines = np.add.reduceat(lengths[steps.examples], np.append(0, steps.lines[:-1]), dtype=np.int64)
    if size is not None:
        return float(lines.sum() / (len(lines) * size))
    widest = np.maximum.reduceat(lines, np.append(0, steps.micros[:-1]))
    return float(lines.sum() / (widest * np.diff(steps.micros, prepend=0)).sum())


def _drawn(course: Course) -> dict[int, int]:
    """The rows that steps are made of, with the number of their forms or pieces among them. One with its options in another
    order is the same form."""
    import numpy as np

    examples, drawn = course.examples, np.unique(course.steps.examples)
    pairs = np.unique(np.stack((examples.row[drawn], examples.part[drawn])), axis=1)
    rows, forms = np.unique(pairs[0], return_counts=True)
    return dict(zip(rows.tolist(), forms.tolist(), strict=True))


def _learnt_by_language(course: Course) -> dict[str, int]:
    import numpy as np

    examples, drawn = course.examples, course.steps.examples
    counts = np.bincount(
        examples.language[drawn], weights=course.learnt[drawn], minlength=len(examples.languages)
    )  # fmt: skip
    return {name: int(count) for name, count in sorted(zip(examples.languages, counts, strict=True))}


def _draws(course: Course) -> dict[str, dict[str, int]]:
    import numpy as np

    examples, drawn = course.examples, course.steps.examples
    width = len(examples.sources)
    pairs = np.bincount(
        examples.language[drawn].astype(np.int64) * width + examples.source[drawn],
        minlength=len(examples.languages) * width,
    )
    table = pairs.reshape(len(examples.languages), width).tolist()
    named = {
        language: {source: n for source, n in sorted(zip(examples.sources, counts, strict=True)) if n}
        for language, counts in zip(examples.languages, table, strict=True)
    }
    return {language: named[language] for language in sorted(named) if named[language]}


def _mix(course: Course) -> dict[str, Any] | None:
    """How many examples of each source came in each stretch of a stage that draws by priority: ``ends``, the last step of each
    stretch; ``draws`` and ``weights`` by source. None where sources keep their shares from the first step to the last."""
    import numpy as np

    steps, examples, stage = course.steps, course.examples, course.stage
    number = min(STRETCHES, len(steps))
    if stage.sampler != "priority" or len(examples.sources) < 2:
        return None
    ends = steps.lines[steps.micros[steps.steps - 1] - 1]  # of each step, in examples
    step = np.searchsorted(ends, np.arange(len(steps.examples)), side="right")
    width = len(examples.sources)
    stretch = step * number // len(steps)
    counts = np.bincount(stretch * width + examples.source[steps.examples], minlength=number * width).reshape(-1, width)
    return {
        "ends": [-(-len(steps) * (place + 1) // number) for place in range(number)],
        "draws": {
            name: counts[:, place].tolist() for place, name in enumerate(examples.sources) if counts[:, place].any()
        },
        "weights": {name: stage.weights.get(name, 1.0) for name in examples.sources},
    }


def _again(course: Course) -> bool:
    """Whether layers were computed again on the way back, at the end of the stage."""
    import torch

    return torch.cuda.is_available() and not course.memory.keeps


def _peak() -> int:
    import resource
    import sys

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
