"""What a trainer left behind of a stage, read for people: result.json and train_log.jsonl, as far as they go.

    result.json: {train_loss: {first, last, steps}, dev_loss: {first, last}, steps, tokens, seconds,
                  rows: {train, dev}, examples: {train, dev}, left_out: {train: {REASON: {LANGUAGE: n}}, dev: …},
                  forms_left_out, cut: the same, draws: {LANGUAGE: {SOURCE: n}}, trained_tokens: {LANGUAGE: n}, packed, fill,
                  mix: {ends: [STEP, …], draws: {SOURCE: [n, …]}, weights: {SOURCE: w}},
                  backend, held_in, trained_parameters, processes, halvings, chat_template, peak_memory_bytes,
                  base: {name, identity, demonstration}}

Every key may be missing, or hold something else: a trainer of somebody else's may know less.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeGuard

from langmill.disk.store import RunFolder

HALF = 8  # steps after which a loss weighs half in a smoothed one, at the least


class Ends(NamedTuple):
    """A loss at the beginning and at the end, in nats a token; ``steps``: that each end is the mean over (0: not a mean)."""

    first: float
    last: float
    steps: int = 0


class Mix(NamedTuple):
    """How the share of sources changed in a stage. ``ends``: the last step of each stretch of it; ``draws``: examples in each
    stretch, by source; ``weights``: by source, with which it was drawn from what was left."""

    ends: tuple[int, ...]
    draws: Mapping[str, tuple[int, ...]]
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """A stage's figures; None and empty where the trainer did not tell.

    ``losses``: by split, what stands for the model first (validation), then the train batches. ``rows``, ``examples``: that
    some step learnt from (an item can make two examples), each once. ``left_out``, ``cut``: train rows by reason and language;
    a cut row lost of its prompt. ``forms_left_out``: examples of rows that were learnt from in another form.
    ``draws``: how often an example was learnt from, by language and source. ``mix``: by source over the stage, where that changes by
    design. ``steps``: optimiser steps. ``tokens``: learnt from
    over all steps, padding not counted. ``trained_tokens``: those of them that carried loss, by language. ``seconds``: of the
    steps. ``packed``, ``fill``: several examples in a line, and the share of a line's places that hold a token. ``backend``,
    ``held_in``: what trained, and the form of the base's weights. ``trained_parameters``: their number. ``processes``: that shared
    the steps. ``halvings``: how often batches were cut in two because memory ran out. ``chat_template``: which one the rows were
    put in. ``peak_memory_bytes``: of a process's device. ``base_identity``: a hash of the base's weights.
    """

    losses: Mapping[str, Ends] = field(default_factory=dict)
    rows: int | None = None
    dev_rows: int | None = None
    examples: int | None = None
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    forms_left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    cut: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    draws: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    mix: Mix | None = None
    steps: int | None = None
    tokens: int | None = None
    trained_tokens: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    packed: bool | None = None
    fill: float | None = None
    backend: str = ""
    held_in: str = ""
    trained_parameters: int | None = None
    processes: int | None = None
    halvings: int = 0
    chat_template: str = ""
    peak_memory_bytes: int | None = None
    base_identity: str = ""
    base_is_demonstration: bool | None = None

    def __bool__(self) -> bool:
        return self != Result()

    @property
    def told(self) -> list[tuple[str, Ends]]:
        """The losses with what they are, in words; the one that says most comes first. The train loss of one step at either end
        says nothing beside a validation loss, and is left out."""
        told: list[tuple[str, Ends]] = []
        for split, ends in self.losses.items():
            if ends.steps == 1 and told:
                continue
            words = "validation loss" if split == "dev" else "train loss"
            if ends.steps:
                of = f" of {self.steps}" if self.steps else ""
                words += f" (mean over {ends.steps}{of} steps at either end)"
            told.append((words, ends))
        return told

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens learnt from in a second, padding not counted."""
        return self.tokens / self.seconds if self.tokens and self.seconds else None


@dataclass(frozen=True)
class Left:
    """The weights a stage left. ``kind``: an adapter as PEFT writes it (adapter_config.json), a whole model as transformers does
    (config.json), or something else. An adapter's ``rank``, ``alpha`` and ``layers``; ``merged``: folders of the adapters to merge
    into the base before it, oldest first; ``on``: the folder of a whole model that it stands on instead of the base. Folders are
    relative to the stage's."""

    folder: str
    kind: Literal["adapter", "model", ""] = ""
    rank: int | None = None
    alpha: float | None = None
    layers: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    on: str = ""


def left(store: RunFolder, adapter: str) -> Left:
    """What lies in the folder (relative to the run's) that a stage left its weights in."""
    folder, path = PurePath(adapter).name, store.root / adapter
    facts = store.read_json(f"{adapter}/adapter_config.json")
    if not isinstance(facts, dict):
        return Left(folder, "model" if (path / "config.json").is_file() else "")
    layers = facts.get("target_modules")
    merged = sorted((one for one in path.glob("merged/*") if one.name.isdigit()), key=lambda one: int(one.name))
    beside = store.read_json(f"{adapter}/base.json")
    on = _words(_mapping(beside, "stands_on"), "folder") if isinstance(beside, dict) else ""
    return Left(
        folder,
        "adapter",
        _count(facts, "r"),
        _number(facts, "lora_alpha"),
        # Told apart by the ends of their names: an adapter that goes on names each layer of the model.
        tuple(sorted({str(one).rpartition(".")[2] for one in layers})) if isinstance(layers, list) else (),
        tuple(f"{folder}/merged/{one.name}" for one in merged),
        posixpath.normpath(f"{folder}/{on}") if on else "",
    )


def result(store: RunFolder, stage: str) -> Result:
    """The figures of a stage; an empty Result, which is false, when there are none."""
    facts = store.read_json(f"train/{stage}/result.json")
    if not isinstance(facts, dict):
        return Result()
    losses = {}
    for split in ("dev", "train"):
        ends = _mapping(facts, f"{split}_loss")
        first, last = _number(ends, "first"), _number(ends, "last")
        if first is not None and last is not None:
            losses[split] = Ends(first, last, _count(ends, "steps") or 0)
    base = _mapping(facts, "base")
    return Result(
        losses=losses,
        rows=_count(_mapping(facts, "rows"), "train"),
        dev_rows=_count(_mapping(facts, "rows"), "dev"),
        examples=_count(_mapping(facts, "examples"), "train"),
        left_out=_tables(_mapping(_mapping(facts, "left_out"), "train")),
        forms_left_out=_tables(_mapping(_mapping(facts, "forms_left_out"), "train")),
        cut=_tables(_mapping(_mapping(facts, "cut"), "train")),
        draws=_tables(_mapping(facts, "draws")),
        mix=_mix(_mapping(facts, "mix")),
        steps=_count(facts, "steps"),
        tokens=_count(facts, "tokens"),
        trained_tokens=_counts(_mapping(facts, "trained_tokens")),
        seconds=_number(facts, "seconds"),
        packed=facts["packed"] if isinstance(facts.get("packed"), bool) else None,
        fill=_number(facts, "fill"),
        backend=_words(facts, "backend"),
        held_in=_words(facts, "held_in"),
        trained_parameters=_count(facts, "trained_parameters"),
        processes=_count(facts, "processes"),
        halvings=_count(facts, "halvings") or 0,
        chat_template=_words(facts, "chat_template"),
        peak_memory_bytes=_count(facts, "peak_memory_bytes"),
        base_identity=_words(base, "identity"),
        base_is_demonstration=bool(base["demonstration"]) if "demonstration" in base else None,
    )


class Smoothed:
    """A mean that forgets: of losses that come one by one, each weighing half as much as one that came ``half`` steps later.
    It begins as the plain mean, not at zero."""

    def __init__(self, half: float = HALF) -> None:
        self._keep = 0.5 ** (1 / half)
        self._sum = self._weight = 0.0

    def add(self, loss: float) -> float:
        """Take one in; returns the mean."""
        self._sum, self._weight = self._sum * self._keep + loss, self._weight * self._keep + 1
        return self.value

    @property
    def value(self) -> float:
        """The mean of what was added."""
        return self._sum / self._weight


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(step, loss) with each loss as the mean that :class:`Smoothed` has by then; over more steps where there are many."""
    mean = Smoothed(max(HALF, len(points) / 50))
    return [(step, mean.add(loss)) for step, loss in points]


def _mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, dict) else {}


def _mix(facts: Mapping[str, Any]) -> Mix | None:
    """What is told of it, if that holds together: as many counts as stretches, of two sources at the least."""
    ends = facts.get("ends")
    if not _counted(ends) or sorted(set(ends)) != ends:
        return None
    draws = {source: tuple(n) for source, n in _mapping(facts, "draws").items() if _counted(n) and len(n) == len(ends)}
    told = _mapping(facts, "weights")
    weights = {source: weight for source in told if (weight := _number(told, source)) is not None}
    return Mix(tuple(ends), draws, weights) if len(draws) > 1 else None


def _counted(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and bool(values) and all(type(value) is int and value >= 0 for value in values)


def _number(facts: Mapping[str, Any], key: str) -> float | None:
    value = facts.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(facts: Mapping[str, Any], key: str) -> int | None:
    value = facts.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _words(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key)
    return value if isinstance(value, str) else ""


def _counts(facts: Mapping[str, Any]) -> dict[str, int]:
    return {key: n for key in facts if (n := _count(facts, key)) is not None}


def _tables(facts: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """{key: {key: n}} without what is none."""
    return {key: counts for key in facts if (counts := _counts(_mapping(facts, key)))}
