"""Examples put into lines: how fast beside TRL's own packing, how full the lines are, on made-up and on real lengths."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.chain import POOLS
from bench.section import Section, environment, say
from langmill.api import Context, Row, SourceContext, packs_in

BASE = "local/smollm2-135m-instruct"
SIZE = 2048  # tokens a line
SIZES = (1024, 2048, 4096)  # for real rows
LINES_AT_ONCE = 8  # of a micro-batch, at most
STEP = 4096  # examples: some hundred micro-batches, nearly all of them full
LEAST_TIMES, LEAST_FILL, LEAST_REAL_FILL = 10.0, 0.9995, 0.995


def packing(quick: bool, work: Path, data: Path) -> Section:
    """Both tools in turn over the same lengths, each in a process of its own, one thread each; then the lengths of real rows."""
    section = Section("packing")
    rows, rounds = 200_000, 1 if quick else 3
    runs: list[dict[str, Any]] = []
    for number in range(rounds):
        for tool in ("ours", "trl") if number % 2 == 0 else ("trl", "ours"):
            runs.append({"tool": tool, **_in_own_process(tool, rows)})
            say(f"  {tool}: {runs[-1]['packing_s']:.3f} s, filled to {runs[-1]['fill']:.2%}")
    ours, theirs = ([run for run in runs if run["tool"] == tool] for tool in ("ours", "trl"))
    _compared(section, rows, ours, theirs)
    real = _real(data)
    section.lines.append("")
    section.lines.append(f"{real['rows']:,} real rows of {len(real['by_language'])} languages, an epoch")
    section.table(
        ("tokens a line", "rows that fit", "lines", "fill"),
        [(size["size"], size["examples"], size["lines"], f"{size['fill']:.4f}") for size in real["sizes"]],
    )
    for size in real["sizes"]:
        section.goal(f"fill of real rows in lines of {size['size']}", size["fill"], ">=", LEAST_REAL_FILL)
    section.figures = {"runs": runs, "real": real}
    return section


def _compared(section: Section, rows: int, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> None:
    """TRL's packing moves the tokens as it packs, ours when a batch is made: so there are two figures."""
    section.lines.append(
        f"{rows:,} examples, {ours[0]['tokens']:,} tokens, into lines of {SIZE}; medians of {len(ours)} rounds"
    )
    section.table(
        ("tool", "packing, CPU s", "to tensors, CPU s", "lines", "fill", "peak MB, both"),
        [
            (
                name,
                median(run["packing_s"] for run in runs),
                median(run["tensors_s"] for run in runs),
                runs[0]["lines"],
                f"{runs[0]['fill']:.5f}",
                round(median(run["peak_mb"] for run in runs)),
            )
            for name, runs in (("ours", ours), ("trl bfd", theirs))
        ],
    )
    pairs = list(zip(ours, theirs, strict=True))
    section.goal(
        "times as fast as TRL, packing", median(b["packing_s"] / a["packing_s"] for a, b in pairs), ">=", LEAST_TIMES
    )
    section.goal(
        "times as fast as TRL, up to tensors", median(b["tensors_s"] / a["tensors_s"] for a, b in pairs), ">=", 1.0
    )
    section.goal("fill", ours[0]["fill"], ">=", LEAST_FILL)
    section.goal("fill above TRL's", ours[0]["fill"] - theirs[0]["fill"], ">=", 0.0)


# --- real rows ---


def _real(data: Path) -> dict[str, Any]:
    """How full lines are of all rows of a set of each language, rendered and tokenised as for training."""
    import numpy as np

    from langmill_plugins.trainers.options import AdapterStage
    from langmill_plugins.trainers.order.steps import arranged
    from langmill_plugins.trainers.tokens.tokenising import Recording, tokenise
    from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer

    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    context = Context("train.one", 17, packs, data)
    rows = [row for language in POOLS for row in _rows_of(language, data, packs)]
    say(f"  {len(rows):,} real rows")
    tokenizer = load_tokenizer(find_base(BASE, context).folder)
    how = Recording(tokenizer, context, SIZES[-1], AdapterStage(name="one", data="all"), lambda *parts: 17)
    lengths = tokenise(rows, how).examples.lengths
    sizes = []
    for size in SIZES:
        fitting = np.flatnonzero(lengths <= size)
        steps = arranged(
            fitting, np.asarray([len(fitting)]), lengths, batch=4, accumulate=4, most_steps=None, size=size, seed=17
        )
        fill = int(lengths[fitting].sum()) / (len(steps.lines) * size)
        sizes.append({"size": size, "examples": len(fitting), "lines": len(steps.lines), "fill": fill})
    counts = {language: sum(row.language == language for row in rows) for language in POOLS}
    return {"rows": len(rows), "by_language": counts, "sizes": sizes}


def _rows_of(language: str, data: Path, packs: Any) -> Iterator[Row]:
    loader = POOLS[language]
    context = SourceContext("sources.s", 17, packs, Path(), data, source=language, splits=loader.splits)
    found = (item for item in loader.load(context) if isinstance(item, Row))
    yield from (row for row in found if row.language == language)


# --- processes of their own ---


def _in_own_process(tool: str, rows: int) -> dict[str, Any]:
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-m", "bench.train_packing", tool, str(rows)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(**threads, **offline))
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _lengths(rows: int) -> Any:
    """Lengths as question-answer rows have them: most are short, one in thirty-three is long."""
    import numpy as np

    dice = np.random.default_rng(5)
    short, long = dice.lognormal(np.log(180), 0.8, rows), dice.lognormal(np.log(1200), 0.5, rows)
    return np.clip(np.where(dice.random(rows) < 0.03, long, short), 8, SIZE).astype(np.int64)


def ours(lengths: Any) -> dict[str, Any]:
    """Pack, then make the tensors of each micro-batch as the training loop does: ids, labels, positions."""
    import numpy as np
    import torch

    from langmill_plugins.trainers.loop.batches import collate
    from langmill_plugins.trainers.order.steps import arranged
    from langmill_plugins.trainers.tokens.examples import Examples

    torch.set_num_threads(1)
    count, tokens = len(lengths), int(lengths.sum())
    starts: Any = np.zeros(count + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    none: Any = np.zeros(count, np.int16)
    learnt: Any = np.ones(tokens, bool)
    ids: Any = np.ones(tokens, np.int32)
    examples = Examples(ids, learnt, starts, none, none, none, none, ("en",), ("s",))
    began = time.process_time()
    steps = arranged(
        np.arange(count),
        np.asarray([count]),
        lengths,
        batch=LINES_AT_ONCE,
        accumulate=STEP // LINES_AT_ONCE,
        most_steps=None,
        size=SIZE,
        seed=1,
    )
    packed = time.process_time()
    moved = 0
    for number in range(len(steps.micros)):
        moved += int(collate(steps.micro(number), examples, 0, "packed")["input_ids"].sum())
    ended = time.process_time()
    if moved != tokens:
        raise RuntimeError(f"{tokens} tokens went in and {moved} came out")
    return {"packing_s": packed - began, "tensors_s": ended - began, "lines": len(steps.lines), "tokens": tokens}


def trl(lengths: Any) -> dict[str, Any]:
    """TRL's best-fit packing of ids alone; then of ids and labels, and batches by its own collator."""
    import datasets
    import numpy as np
    import pyarrow as pa
    import torch
    from trl.data_utils import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    datasets.disable_progress_bars()
    tokens = int(lengths.sum())
    ends: Any = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    lists = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(np.ones(tokens, np.int32)))
    rows = datasets.Dataset(pa.table({"input_ids": lists, "labels": lists}))
    began = time.process_time()
    lines = pack_dataset(rows.select_columns("input_ids"), seq_length=SIZE, strategy="bfd")
    packed = time.process_time()
    count = len(lines)
    del lines
    # What trains on answers alone packs labels along.
    again = time.process_time()
    lines = pack_dataset(rows, seq_length=SIZE, strategy="bfd")
    collator = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    moved = 0
    for begin in range(0, len(lines), LINES_AT_ONCE):
        some = lines[begin : begin + LINES_AT_ONCE]
        batch = [dict(zip(some, values, strict=True)) for values in zip(*some.values(), strict=True)]
        moved += int(collator(batch)["input_ids"].sum())
    ended = time.process_time()
    if moved != tokens:
        raise RuntimeError(f"{tokens} tokens went in and {moved} came out")
    return {"packing_s": packed - began, "tensors_s": ended - again, "lines": count, "tokens": tokens}


def _main(tool: str, rows: int) -> None:
    found = {"ours": ours, "trl": trl}[tool](_lengths(rows))
    found["fill"] = found["tokens"] / (found["lines"] * SIZE)
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
