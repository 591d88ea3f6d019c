"""A stage's log: train_log.jsonl, and the same as events for whoever watches."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any


class TrainLog:
    """One JSON object a line: ``{step: 0, dev_loss}``, then ``{step, loss, lr, tokens, seconds}``, then the last dev loss.

    ``tokens`` are those the step learnt from, padding not counted; ``seconds`` its wall time.
    """

    def __init__(self, path: Path, report: Callable[[Mapping[str, Any]], None]):
        self.path, self.report = path, report

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line."""
        found = []
        for line in self.path.read_text("utf-8").splitlines() if self.path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                break  # the line a kill cut; nothing after it counts
        return found

    def rewind(self, step: int | None) -> None:
        """Forget what came after a step (None: everything), as a stage that goes on from there will write it again."""
        kept = [] if step is None else [line for line in self.lines() if line["step"] <= step and "after" not in line]
        work = self.path.with_name(f".{self.path.name}.tmp")
        work.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
        os.replace(work, self.path)

    def step(self, step: int, of: int, loss: float, lr: float, tokens: int, seconds: float) -> None:
        """A step is done."""
        self._append({"step": step, "loss": loss, "lr": lr, "tokens": tokens, "seconds": round(seconds, 3)})
        self.report(
            {"event": "step", "step": step, "of": of, "loss": loss, "tokens_per_s": tokens / max(seconds, 1e-9)}
        )

    def dev(self, step: int, loss: float | None, *, after: bool = False) -> None:
        """The validation loss before the first step, or after the last."""
        if loss is not None:
            self._append({"step": step, "dev_loss": loss, **({"after": True} if after else {})})
            self.report({"event": "note", "text": f"validation loss {'after' if after else 'before'}: {loss:.3f}"})

    def note(self, text: str) -> None:
        """Words for people."""
        self.report({"event": "note", "text": text})

    def summary(self) -> dict[str, Any]:
        """Losses at either end, tokens and seconds of all steps. A train loss is the mean over up to five steps."""
        lines = self.lines()
        steps = [line for line in lines if "loss" in line]
        losses = [line["loss"] for line in steps]
        width = max(1, min(5, len(losses) // 3))
        return {
            "steps": len(steps),
            "train_loss": {"first": fmean(losses[:width]), "last": fmean(losses[-width:])},
            "dev_loss": {
                "first": next((line["dev_loss"] for line in lines if line["step"] == 0), None),
                "last": next((line["dev_loss"] for line in lines if "after" in line), None),
            },
            "tokens": sum(line["tokens"] for line in steps),
            "seconds": round(sum(line["seconds"] for line in steps), 1),
        }

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
