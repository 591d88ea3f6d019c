"""What a trainer left behind of a stage, read for people: result.json, as far as it goes.

    {train_loss: {first, last}, dev_loss: {first, last}, rows: {train, dev}, left_out: {train: {REASON: {LANGUAGE: n}}},
     tokens, seconds, base: {name, demonstration}}

Every key may be missing: a trainer of somebody else's may know less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langmill.disk.store import RunFolder


@dataclass(frozen=True)
class Result:
    """A stage's figures. Losses are (first, last), in nats a token; ``left_out`` counts train rows by reason."""

    losses: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rows: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    tokens: int | None = None
    seconds: float | None = None
    base_is_demonstration: bool = False

    def __bool__(self) -> bool:
        return self != Result()


def result(store: RunFolder, stage: str) -> Result:
    """The figures of a stage; an empty Result, which is false, when there are none."""
    facts = store.read_json(f"train/{stage}/result.json") or {}
    losses = {}
    for split in ("train", "dev"):
        ends = _mapping(facts, f"{split}_loss")
        if _is_number(ends.get("first")) and _is_number(ends.get("last")):
            losses[split] = (float(ends["first"]), float(ends["last"]))
    left_out = {reason: sum(by.values()) for reason, by in _mapping(_mapping(facts, "left_out"), "train").items()}
    return Result(
        losses,
        _mapping(facts, "rows").get("train"),
        left_out,
        facts.get("tokens"),
        facts.get("seconds"),
        bool(_mapping(facts, "base").get("demonstration")),
    )


def _mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
