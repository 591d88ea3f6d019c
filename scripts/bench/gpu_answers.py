"""Greedy answers of a trained adapter, on whatever device this process sees: a line of JSON.

python -m bench.gpu_answers BASE ADAPTER ROWS TOKENS
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from bench.gpu_asked import context_of
from bench.gpu_sizes import rows_in
from langmill.api import Chat, Choice, Message
from langmill_plugins.trainers.peft import PeftTrainer

QUESTIONS = 2  # of each language


def answers(base: str, adapter: Path, rows: Path, tokens: int) -> dict[str, list[str]]:
    """What it says to questions of each language: ``held`` as it is on this device, ``wide`` in float32."""
    context = context_of(rows)
    trainer = PeftTrainer(base=base, max_tokens=1024, quantize="none")
    model = trainer.open(adapter, context).model_copy(update={"max_tokens": tokens, "temperature": 0.0})
    asked: dict[str, list[str]] = {}
    for row in rows_in(rows, context):
        some = asked.setdefault(row.language, [])
        if isinstance(row.body, Chat | Choice) and len(some) < QUESTIONS:
            some.append(row.body.question)
    questions = [one for some in asked.values() for one in some]

    def said() -> list[str]:
        return [asyncio.run(model.answer([Message("user", question)], seed=17)).text for question in questions]

    held = said()
    model.loaded()[1].float()
    return {"held": held, "wide": said()}


if __name__ == "__main__":
    import torch

    found = answers(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps({"device": "cuda" if torch.cuda.is_available() else "cpu", **found}, ensure_ascii=False))
