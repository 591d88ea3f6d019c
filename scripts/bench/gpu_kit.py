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
    ``base``: the small model that learns; ``gpu``: the card's name, empty where there is none, and ``total`` its bytes. This process
    itself never asks the card: it would hold memory there that the trainings are measured in.

    ``missing``: figures of the part at hand that could not be measured, and why; ``failed``: what broke off in it."""

    out: Path
    prepared: Path
    models: Path
    base: str
    quick: bool
    gpu: str
    again: bool = False
    total: int = 0
    missing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @classmethod
    def here(
        cls, out: Path, prepared: Path | None, models: Path | None, base: str | None, quick: bool, again: bool
    ) -> Kit:
        """The kit of this machine; rows are prepared where they are not yet."""
        out.mkdir(parents=True, exist_ok=True)
        rows = prepare(prepared or out / "prepared", quick)
        name, total = card()
        return cls(
            out.resolve(),
            rows.resolve(),
            (models or out / "models").resolve(),
            base or PACKAGED,
            quick,
            name,
            again,
            total,
        )

    def model(self, size: str) -> str:
        """The folder of a model of random weights."""
        began = time.monotonic()
        folder, tokenizer = self.models / size, self.prepared / "tokenizer"
        if self.gpu:
            child("bench.gpu_sizes", str(folder), size, str(tokenizer))
        else:
            write_model(folder, size, tokenizer)
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
        log = self.out / "logs" / f"{asked.way}-{asked.max_tokens}-{time.time_ns()}.log"
        try:
            return child("bench.gpu_ways", json.dumps(asdict(asked)), log=log, OMP_WAIT_POLICY="PASSIVE")
        except RuntimeError as fault:
            self.broke(f"{asked.way}, {asked.max_tokens} tokens", str(fault))
            return {"way": asked.way, "not_measured": f"broke off: {fault}"}

    def broke(self, what: str, why: str) -> None:
        """Something that should have gone and did not: the exit code will tell."""
        self.failed.append(f"{what}: {why}")

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
                 "goals": section.goals, "not_measured": self.missing, "failed": self.failed}  # fmt: skip
        (self.out / f"{name}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")


def card() -> tuple[str, int]:
    """The GPU's name and its bytes, as torch tells them; empty and 0 without one."""
    import torch

    if not torch.cuda.is_available():  # which asks the driver and takes no memory
        return "", 0
    found = child("bench.gpu_card")
    return str(found["card"]), int(found["total"])


def child(module: str, *said: str, log: Path | None = None, **variables: str) -> dict[str, Any]:
    """A module of the benchmark in a process of its own: the last line of JSON that it prints; what libraries print besides is
    passed over. ``log``: the file for its other words. Raises RuntimeError, with its last words, where it breaks off, takes too
    long or tells nothing."""
    command = [sys.executable, "-m", module, *said]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], env=environment(**variables), capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took longer than {PATIENCE:.0f} s") from None
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stderr, "utf-8")
    if done.returncode:
        words = " / ".join(done.stderr.strip().splitlines()[-2:])[-400:]
        raise RuntimeError(words or f"ended with {done.returncode}")
    for line in reversed(done.stdout.splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            return told
    raise RuntimeError("told nothing")


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
