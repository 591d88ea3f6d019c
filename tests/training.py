"""What tests of the trainers share: rows, jobs, and what became of them."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from langmill.api import Chat, Context, Origin, Row, Split, TrainJob, packs_in
from langmill_plugins.trainers.options import AdapterStage

BASE = "local/smollm2-135m-instruct"
FACTS = (
    ("What carries oxygen?", "Haemoglobin."),
    ("What makes insulin?", "The beta cells."),
    ("What stores bile?", "The gallbladder."),
    ("What is a fever?", "A raised core temperature."),
    ("Where is the tibia?", "In the leg."),
    ("What filters blood?", "The kidneys."),
)
STAGE = AdapterStage(
    name="one", data="toy", max_steps=4, batch=1, accumulate=2, learning_rate=1e-3, save_steps=2, eval_rows=3, epochs=2
)


def row_of(number: int, split: Split, question: str, answer: str) -> Row:
    name = f"toy/{number}"
    return Row(name, "en", split, name, Chat.of(question, answer), Origin("toy", str(number), ("CC0-1.0",)))


def rows(split: Split) -> Iterator[Row]:
    """Six questions to learn from, the first three of them again as the validation set."""
    for number, (question, answer) in enumerate(FACTS[: {"train": 6, "dev": 3, "test": 0}[split]]):
        yield row_of(number, split, question, answer)


@dataclass
class Desk:
    """Makes jobs, and keeps what they tell."""

    root: Path
    context: Context
    told: list[Mapping[str, Any]] = field(default_factory=list)

    def job(
        self,
        name: str,
        stage: AdapterStage = STAGE,
        start: Path | None = None,
        report: Callable[[Mapping[str, Any]], None] | None = None,
        source: Callable[[Split], Iterator[Row]] = rows,
    ) -> TrainJob:
        return TrainJob(stage, start, source, self.root / name, self.context, report or self.told.append)

    def notes(self) -> str:
        """All that was told in words."""
        return "\n".join(str(event["text"]) for event in self.told if event["event"] == "note")


def desk_in(root: Path) -> Desk:
    _import()
    return Desk(root, Context("train.one", 17, _packs(), root))


@cache
def _packs() -> Mapping[str, Any]:
    return {pack.code: pack for pack in packs_in("langmill_languages")}


@cache
def _import() -> None:
    """All that training imports, set apart from what is searched for garbage: each stage would spend half its time on that."""
    for name in ("torch", "transformers.trainer", "peft", "accelerate"):
        import_module(name)
    gc.freeze()


def weights(trained: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for path in trained.glob("*.safetensors"):
        found |= load_file(path)
    return found


def furthest(one: Path, other: Path) -> float:
    """The largest difference between two trained stages' numbers."""
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def result(trained: Path) -> dict[str, Any]:
    return dict(json.loads((trained.parent / "result.json").read_text()))


def log_lines(trained: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (trained.parent / "train_log.jsonl").read_text().splitlines()]
