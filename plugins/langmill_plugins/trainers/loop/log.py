"""A stage's log: train_log.jsonl, and the same as events for whoever watches."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

RECENT = 20  # steps that speed and time left are reckoned from


class TrainLog:
    """One JSON object a line: ``{step, loss, lr, tokens, seconds}`` of a step, ``{step, dev_loss}`` of a validation, before the
    first step (step 0), in between, and after the last one (which carries ``after: true``).

    ``tokens`` are those the step learnt from, padding not counted; ``seconds`` its wall time; losses are nats a token.
    """

    def __init__(self, path: Path, report: Callable[[Mapping[str, Any]], None]):
        self.path, self.report = path, report
        self.recent: deque[tuple[int, float]] = deque(maxlen=RECENT)

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
        self.recent.append((tokens, seconds))
        passed = max(sum(seconds for _, seconds in self.recent), 1e-9)
        event = {"event": "step", "step": step, "of": of, "loss": loss}
        speed = sum(tokens for tokens, _ in self.recent) / passed
        self.report({**event, "tokens_per_s": speed, "eta_s": passed / len(self.recent) * (of - step)})

    def dev(self, step: int, loss: float | None, *, after: bool = False) -> None:
        """The validation loss after so many steps (0: before the first); ``after``: the last one. None: there are no rows for it."""
        if loss is not None:
            self._append({"step": step, "dev_loss": loss, **({"after": True} if after else {})})
            self.report({"event": "validation", "step": step, "loss": loss, "after": after})

    def note(self, text: str) -> None:
        """Words for people."""
        self.report({"event": "note", "text": text})

    def summary(self) -> dict[str, Any]:
        """Losses at either end, tokens and seconds of all steps. A batch's train loss says little: the batches differ more than
        the model does. So it is the mean over ``train_loss.steps`` steps at either end, a quarter of them all, rounded up."""
        lines = self.lines()
        steps = [line for line in lines if "loss" in line]
        losses = [line["loss"] for line in steps]
        width = -(-len(losses) // 4)
        return {
            "steps": len(steps),
            "train_loss": {"first": fmean(losses[:width]), "last": fmean(losses[-width:]), "steps": width},
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
