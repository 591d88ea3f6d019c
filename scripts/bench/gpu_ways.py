"""One training of the same rows in the same order, one of several ways, in a process of its own: what it took, as a line of JSON.

    python -m bench.gpu_ways '{"way": "peft", "size": "8b", ...}'

Ways of ours: peft, peft_padded, unsloth, unsloth_padded. Peers, each with its own Trainer, collator and loss: plain_padded and
plain_packed (TRL, PEFT and bitsandbytes), notebook_padded and notebook_packed (unsloth's FastLanguageModel in TRL's SFTTrainer, as
unsloth's notebooks have it). All train an adapter of rank 16 beside all linear layers of a base in 4 bits (none on a CPU), with
AdamW, a constant rate and as many rows a step.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.gpu_asked import ALPHA, OURS, RANK, Asked, Plan, Watch, context_of, lacks, on_gpu, peaks
from bench.gpu_peers import peer


def run(asked: Asked) -> dict[str, Any]:
    """Train; returns what came of it."""
    if "unsloth" in asked.way or "notebook" in asked.way:
        import unsloth  # noqa: F401  before transformers, and before the card is used: it says how memory is dealt out
    if asked.cap and on_gpu():
        import torch

        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, asked.cap / whole))
    plan = _plan(asked)
    watch = Watch(asked)
    spent = _timed_collate() if asked.way in OURS else None
    began = time.perf_counter()
    left = (_ours if asked.way in OURS else peer)(asked, plan, watch)
    taken = time.perf_counter() - began
    counts = plan.counts(asked.steps) if left.get("steps_of") is None else left.pop("steps_of")
    return {
        "way": asked.way, "seconds": taken, "step_seconds": watch.seconds, "losses": watch.losses, **counts, **peaks(), **left,
        "profile": watch.busy, "data_seconds": spent[0] if spent else None,
    }  # fmt: skip


# --- the same rows in the same order ---


def _trainer(asked: Asked) -> tuple[Any, Any, Any]:
    """Ours by the same options for all ways: the class to train with, its options, and the stage."""
    from langmill_plugins.trainers.options import AdapterStage, Lora
    from langmill_plugins.trainers.peft import PeftTrainer
    from langmill_plugins.trainers.unsloth import UnslothTrainer

    kind = UnslothTrainer if asked.way.startswith("unsloth") else PeftTrainer
    lora: Any = "none" if asked.full else Lora(rank=RANK, alpha=ALPHA)
    trainer = kind(base=asked.base, max_tokens=asked.max_tokens, lora=lora, quantize=asked.quantize)
    batch = asked.batch
    accumulate = asked.width if batch == "auto" else max(1, asked.width // int(batch))
    packing = not asked.way.endswith("_padded")
    stage = AdapterStage(
        name="one", data="all", batch=batch, accumulate=accumulate, epochs=1000.0, max_steps=asked.steps, learning_rate=asked.rate,
        schedule="constant", warmup=0.0, save_steps=asked.save_steps, eval_rows=1, packing=packing,
    )  # fmt: skip
    return trainer, stage, packing


def _rows(asked: Asked) -> Any:
    from bench.gpu_sizes import rows_in

    return rows_in(Path(asked.rows), context_of(Path(asked.rows)))


def _plan(asked: Asked) -> Plan:
    from langmill_plugins.trainers.loop.batches import learnt_by_example
    from langmill_plugins.trainers.order.drawing import draw
    from langmill_plugins.trainers.tokens.templates import with_template
    from langmill_plugins.trainers.tokens.tokenising import Recording, tokenise
    from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer, settle

    settle()
    context = context_of(Path(asked.rows))
    trainer, stage, _ = _trainer(asked)
    tokenizer, _ = with_template(load_tokenizer(find_base(asked.base, context).folder), "auto")
    seed = _seeds(context, trainer)
    how = Recording(tokenizer, context, asked.max_tokens, stage, seed)
    made = tokenise((row for row in _rows(asked) if row.split == "train"), how).examples
    # As many passes as the steps take: what the stage asks for is bounded by max_steps alone.
    passes = -(-asked.steps * asked.width // len(made)) + 1
    order = (
        draw(made, stage.model_copy(update={"epochs": float(passes)}), seed)
        .example[: asked.steps * asked.width]
        .tolist()
    )
    return Plan(
        made, learnt_by_example(made), [order[at : at + asked.width] for at in range(0, len(order), asked.width)]
    )


def _seeds(context: Any, trainer: Any) -> Callable[..., int]:
    return lambda *parts: context.seed_for("train", trainer.seed, *parts)


# --- ours ---


def _ours(asked: Asked, plan: Plan, watch: Watch) -> dict[str, Any]:
    """The trainer's own job code, from rows to a stage's folder."""
    from langmill.api import TrainJob

    rows = _rows(asked)
    trainer, stage, _ = _trainer(asked)
    passes = -(-asked.steps * asked.width // len(plan.examples)) + 1
    stage = stage.model_copy(update={"epochs": float(passes)})
    notes: list[str] = []
    folder = Path(asked.folder)

    def told(event: Mapping[str, Any]) -> None:
        if event["event"] == "note":
            notes.append(str(event["text"]))
        if event["event"] == "step":
            line = json.loads((folder / "train_log.jsonl").read_text("utf-8").splitlines()[-1])
            watch.ended(float(line["loss"]), float(line["seconds"]))
            print(json.dumps({"step": line["step"]}), flush=True)

    job = TrainJob(
        stage, None, lambda split: (row for row in rows if row.split == split), folder, context_of(folder), told
    )
    if asked.full_memory_at:
        _full_once(asked.full_memory_at)
    trained = trainer.train(job)
    facts = json.loads((folder / "result.json").read_text("utf-8"))
    keys = (
        "batch",
        "accumulate",
        "recomputed",
        "halvings",
        "fill",
        "packed",
        "held_in",
        "steps",
        "dev_loss",
        "trained_tokens",
    )
    lines = [json.loads(line) for line in (folder / "train_log.jsonl").read_text("utf-8").splitlines()]
    tokens = [line["tokens"] for line in lines if "tokens" in line]
    counts = plan.counts(asked.steps)
    if tokens != counts["tokens"]:  # packed: a step ends where a line does
        counts = {
            "tokens": tokens,
            "answers": _scaled(plan, tokens, "answers"),
            "squares": _scaled(plan, tokens, "squares"),
        }
    more: dict[str, Any] = {"steps_of": counts}
    return {"trained": str(trained), "notes": notes, **{key: facts[key] for key in keys}, **more}


def _scaled(plan: Plan, tokens: list[int], what: str) -> list[int]:
    """Of steps that end at a line's end, and so have a few rows more or less than the plan's: its share of so many tokens."""
    counts = plan.counts(len(plan.steps))
    rate = sum(counts[what]) / sum(counts["tokens"])
    return [round(rate * count) for count in tokens]


def _full_once(step: int) -> None:
    """The first micro-batch of so many-th step finds the memory full, once."""
    import torch

    from langmill_plugins.trainers.loop import loop

    real, calls = loop.answer_loss, [0]

    def loss(model: Any, inputs: Any, narrow: Any) -> Any:
        calls[0] += model.training
        if calls[0] == step:
            raise torch.OutOfMemoryError("said to be full")
        return real(model, inputs, narrow)

    loop.answer_loss = loss


def _timed_collate() -> list[float]:
    """From here on the seconds that batches take to be made, summed up."""
    from langmill_plugins.trainers.loop import loop

    spent, real = [0.0], loop.collate

    def timed(*given: Any) -> Any:
        began = time.perf_counter()
        made = real(*given)
        spent[0] += time.perf_counter() - began
        return made

    loop.collate = timed
    return spent


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    given = Asked(**json.loads(sys.argv[1]))
    why = lacks(given.way)
    print(json.dumps({"way": given.way, "not_measured": why} if why else run(given)), flush=True)
