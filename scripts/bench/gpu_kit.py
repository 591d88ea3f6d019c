"""What the parts of the GPU benchmark share: where things lie, trainings in processes of their own, and figures that stay."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

from bench.gpu_asked import Asked
from bench.gpu_sizes import PACKAGED, prepare, write_model
from bench.section import Section, environment, say
from langmill_plugins.trainers.forecast.devices import RATES
from langmill_plugins.trainers.forecast.shape import Shape

PATIENCE = 420.0  # seconds until a training counts as hanging


@dataclass
class Kit:
    """``out``: the folder of the figures; ``prepared``: of rows and tokenizer; ``models``: of the random ones, which are large;
    ``base``: the small model that learns; ``gpu``: the card's name, empty where there is none."""

    out: Path
    prepared: Path
    models: Path
    base: str
    quick: bool
    gpu: str
    again: bool = False
    missing: list[str] = field(default_factory=list)

    @classmethod
    def here(
        cls, out: Path, prepared: Path | None, models: Path | None, base: str | None, quick: bool, again: bool
    ) -> Kit:
        """The kit of this machine; rows are prepared where they are not yet."""
        out.mkdir(parents=True, exist_ok=True)
        rows = prepare(prepared or out / "prepared", quick)
        return cls(
            out.resolve(), rows.resolve(), (models or out / "models").resolve(), base or PACKAGED, quick, card(), again
        )

    def model(self, size: str) -> str:
        """The folder of a model of random weights."""
        began = time.monotonic()
        folder = write_model(self.models / size, size, self.prepared / "tokenizer")
        if time.monotonic() - began > 1:
            say(f"  {size} written in {time.monotonic() - began:.0f} s")
        return str(folder)

    def go(self, way: str, **options: Any) -> dict[str, Any]:
        """A training in a process of its own, or what an earlier one with the same options found. A way that can not be gone says
        why under ``not_measured``, and what broke off says its last words there: neither stops the others."""
        key = sha256(json.dumps([way, self.gpu, options], sort_keys=True).encode()).hexdigest()[:12]
        kept = self.out / "trainings" / f"{way}-{key}.json"
        if kept.is_file() and not self.again:
            return dict(json.loads(kept.read_text("utf-8")))
        folder = self.out / "work" / f"{way}-{key}-{time.time_ns()}"
        asked = Asked(way, options.pop("base"), str(self.prepared), str(folder), **options)
        found = self.process(asked)
        if not found.get("not_measured"):
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found), "utf-8")
        return found

    def process(self, asked: Asked) -> dict[str, Any]:
        """The same without looking for an earlier one."""
        say(f"  {asked.way}, {asked.max_tokens} tokens, {asked.batch} at once …")
        command = [sys.executable, "-m", "bench.gpu_ways", json.dumps(asdict(asked))]
        try:
            done = subprocess.run(
                command, cwd=Path(__file__).parents[1], env=environment(OMP_WAIT_POLICY="PASSIVE"), capture_output=True,
                text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"way": asked.way, "not_measured": f"took longer than {PATIENCE:.0f} s"}
        log = self.out / "logs" / f"{asked.way}-{asked.max_tokens}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stderr, "utf-8")
        if done.returncode:
            return {"way": asked.way, "not_measured": " / ".join(done.stderr.strip().splitlines()[-2:])[-400:]}
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def lacking(self, figure: str, why: str) -> None:
        """A figure that was not measured, and why."""
        self.missing.append(f"{figure}: {why}")

    @cached_property
    def rate(self) -> float | None:
        """The card's dense bfloat16 operations a second, as its maker says; None where it is not known."""
        return next((rate for name, rate in RATES.items() if name in self.gpu), None)

    def keep(self, name: str, section: Section) -> None:
        """A part's figures, beside those of earlier calls."""
        facts = {"part": name, "device": self.gpu or "CPU", "quick": self.quick, "figures": section.figures, "lines": section.lines,
                 "goals": section.goals, "not_measured": self.missing}  # fmt: skip
        (self.out / f"{name}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")


def card() -> str:
    """The GPU's name, as torch tells it; empty without one."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""


@dataclass(frozen=True)
class Speed:
    """Of a training after its first steps: tokens a second, all and those that carry loss, and the share of the card's rate."""

    tokens: float
    answers: float
    use: float | None


def speed_of(found: Mapping[str, Any], shape: Shape, rate: float | None, warm: int, rounds: int = 3) -> Speed:
    """The median over ``rounds`` of the steps after ``warm`` ones."""
    steps = list(range(warm, min(len(found["step_seconds"]), len(found["tokens"]))))
    parts = [steps[at::rounds] for at in range(min(rounds, len(steps)))] or [[]]

    def by_second(values: Sequence[float]) -> float:
        return median(
            sum(values[step] for step in part) / max(1e-9, sum(found["step_seconds"][step] for step in part))
            for part in parts
        )

    works = [operations(shape, *one) for one in zip(found["tokens"], found["answers"], found["squares"], strict=True)]
    return Speed(by_second(found["tokens"]), by_second(found["answers"]), by_second(works) / rate if rate else None)


def operations(shape: Shape, tokens: int, answers: int, squares: int) -> float:
    """What an adapter's training must do at the least, in floating-point operations: of each parameter of a linear layer and token 2
    forward and 2 back through the activations (the adapter's own part and the base's gradients, which nobody needs, not counted, nor
    what is computed twice); of causal attention 2 forward and 4 back for each pair of tokens of an example, value of the queries
    and layer; of the last layer 4, where a token carries loss. MFU is this over seconds times the card's dense bfloat16 rate."""
    return (
        4.0 * shape.linear * tokens
        + 6.0 * shape.layers * shape.queries * squares
        + 4.0 * shape.vocabulary * shape.hidden * answers
    )
