"""How fast: trained tokens a second, peak memory and use of the card, beside the peers; and the plan's forecast beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.gpu_asked import OURS, PEERS
from bench.gpu_kit import Kit, child, operations, speed_of
from bench.gpu_sizes import shape_of_size
from bench.section import Section
from langmill_plugins.trainers.forecast.devices import GB, seconds
from langmill_plugins.trainers.forecast.memory import Setting, memory
from langmill_plugins.trainers.forecast.shape import shape_of
from langmill_plugins.trainers.options import Lora

WARM = 2  # steps that are not counted: kernels are chosen and compiled in them
WITHIN = 0.15  # of what was measured a forecast may lie
CURVE = 0.02  # by which losses of the same steps may differ, as a share: another adapter's first numbers, other kernels' rounding
BEST_PACKED, PADDED = 1.0, 1.8  # times as fast as the best packed peer, and as the plain padded one


def environment_of(kit: Kit) -> Section:
    """Versions, the driver, what the card has free, and what it reaches: a large matrix product and a large copy."""
    from importlib.metadata import PackageNotFoundError, version

    section = Section("environment")
    for name in (
        "torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "unsloth", "unsloth_zoo", "flash_attn", "xformers",
        "triton", "cut_cross_entropy", "torchao", "datasets", "langmill",
    ):  # fmt: skip
        try:
            section.figures[name] = version(name)
        except PackageNotFoundError:
            section.figures[name] = None
    section.lines.append(", ".join(f"{name} {found or 'not installed'}" for name, found in section.figures.items()))
    if not kit.gpu:
        kit.lacking("environment: driver, memory, matrix product, copy", "there is no GPU")
        return section
    found = child("bench.gpu_card", "measure")
    section.figures |= found
    section.lines.append(
        f"{kit.gpu}, driver {found['driver'] or 'not told'}, {found['free'] / GB:.1f} of {found['total'] / GB:.1f} GB free; bf16 product "
        f"{found['bf16'] / 1e12:.0f} TFLOP/s, copy {found['copy'] / 1e12:.2f} TB/s"
    )
    return section


def options_of(kit: Kit, tokens: int) -> dict[str, Any]:
    """The options of all ways, of which ours take their batch by themselves."""
    if kit.quick:
        return {"base": kit.model("tiny"), "max_tokens": 256, "width": 2, "batch": 1, "steps": 3}
    return {"base": kit.model("8b"), "max_tokens": tokens, "width": 32, "batch": 4, "steps": WARM + 6}


def speed(kit: Kit, tokens: int) -> Section:
    """All ways at one length. Ours beside the best packed peer, and beside the plain padded one."""
    section = Section(f"speed-{tokens}")
    size = "tiny" if kit.quick else "8b"
    shape = shape_of_size(size)
    rows: list[tuple[object, ...]] = []
    speeds: dict[str, float] = {}
    ways = ("peft", "plain_padded") if kit.quick and not kit.gpu else (*OURS[:2], *PEERS)
    for way in ways:
        options = options_of(kit, tokens)
        if way in OURS:
            options["batch"] = "auto"
        found = kit.go(way, **options)
        section.figures[way] = found
        if found.get("not_measured"):
            kit.lacking(f"speed at {tokens}, {way}", found["not_measured"])
            continue
        warm = 1 if kit.quick else WARM
        reached = speed_of(found, shape, kit.rate, warm)
        speeds[way] = reached.tokens
        rows.append(
            (
                way, float(reached.tokens), float(reached.answers), f"{found['peak_bytes'] / GB:.2f}",
                f"{reached.use:.1%}" if reached.use else "-", str(found["batch"]), f"{_mean(found['losses']):.3f}",
            )
        )  # fmt: skip
    section.table(("way", "tokens/s", "answers/s", "peak GB", "MFU", "at once", "mean loss"), rows)
    if not kit.gpu:
        kit.lacking(f"speed at {tokens}: tokens a second, MFU and ratios on a GPU", "there is no GPU")
        return section
    packed = [speeds[way] for way in ("notebook_packed", "plain_packed") if way in speeds]
    ours = speeds.get("unsloth")
    if ours and packed:
        section.goal("unsloth, times the best packed peer", ours / max(packed), ">=", BEST_PACKED)
    if ours and "plain_padded" in speeds:
        section.goal("unsloth, times plain TRL + PEFT padded", ours / speeds["plain_padded"], ">=", PADDED)
    for name in ("unsloth", "notebook_packed", "plain_packed", "plain_padded"):
        if name not in speeds:
            kit.lacking(f"speed at {tokens}: ratios to {name}", "it was not measured")
    return section


def curves(kit: Kit) -> Section:
    """The small model on the same rows in the same steps, nothing packed: the losses of each step, ours beside the peers'; and the
    mean over all steps of what is packed."""
    section = Section("curves")
    base = kit.model("tiny") if kit.quick else kit.base
    options = {"base": base, "max_tokens": 256 if kit.quick else 1024, "width": 2 if kit.quick else 16, "batch": 1 if kit.quick else 4,
               "steps": 3 if kit.quick else 40, "rate": 2e-4}  # fmt: skip
    found = {}
    ways = ("peft_padded", "plain_padded") if kit.quick and not kit.gpu else (
        "peft_padded", "plain_padded", "unsloth_padded", "notebook_padded", "peft", "unsloth")  # fmt: skip
    for way in ways:
        one = kit.go(way, **options)
        if one.get("not_measured"):
            kit.lacking(f"curves, {way}", one["not_measured"])
        else:
            found[way] = one
    section.figures = found
    if "plain_padded" not in found:
        return section
    theirs = found["plain_padded"]["losses"]
    for way, one in found.items():
        if way == "plain_padded":
            continue
        if way.endswith("_padded"):
            away = max(abs(a / b - 1) for a, b in zip(one["losses"], theirs, strict=True))
            section.goal(f"{way} beside plain_padded: furthest loss of a step, as a share", away, "<=", CURVE * 2)
        section.goal(
            f"{way} beside plain_padded: mean loss, as a share",
            abs(_mean(one["losses"]) / _mean(theirs) - 1),
            "<=",
            CURVE,
        )
    return section


def _mean(losses: list[float]) -> float:
    return sum(losses) / max(1, len(losses))


# --- the forecast ---

COMBINATIONS = (("1b", 8, 1024), ("1b", 4, 4096), ("8b", 1, 2048), ("8b", 4, 2048))
"""Size of the model, lines at once, tokens a line."""


def estimate(kit: Kit) -> Section:
    """The memory and time that the plan would tell, beside what was measured."""
    section = Section("estimate")
    combinations = (("tiny", 1, 128),) if kit.quick else COMBINATIONS
    rows = []
    for size, batch, tokens in combinations:
        options = {
            "base": kit.model(size),
            "max_tokens": tokens,
            "width": 8 * batch,
            "batch": batch,
            "steps": 3 if kit.quick else 8,
        }
        found = kit.go("peft", **options)
        name = f"{size}, {batch} x {tokens}"
        if found.get("not_measured"):
            kit.lacking(f"estimate, {name}", found["not_measured"])
            continue
        told = foretold(kit, size, found, tokens)
        section.figures[name] = {**told, "measured": found}
        rows.append(
            (
                name, f"{told['memory'] / GB:.2f}", f"{told['took'] / GB:.2f}", f"{told['memory'] / told['took']:.2f}",
                f"{told['low']:.2f} to {told['high']:.2f}", f"{told['step']:.2f}", f"{told['reached']:.1%}" if told["reached"] else "-",
            )
        )  # fmt: skip
        if kit.gpu:
            section.goal(
                f"memory of {name}: told / measured, away from 1", abs(told["memory"] / told["took"] - 1), "<=", WITHIN
            )
            middle = (told["low"] * told["high"]) ** 0.5
            section.goal(
                f"time of {name}: middle told / measured, away from 1", abs(middle / told["step"] - 1), "<=", WITHIN
            )
    section.table(("model, lines", "told GB", "GB", "ratio", "told s a step", "s a step", "of the rate"), rows)
    if not kit.gpu:
        kit.lacking("estimate: memory and time of four combinations on a GPU", "there is no GPU")
    return section


def foretold(kit: Kit, size: str, found: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The forecast of a training that was done: its memory, and the seconds of a step from low to high, by the trainer's own
    reckoning; and beside them what was measured."""
    shape = shape_of(Path(kit.models / size))
    gpu = bool(kit.gpu)
    answers = sum(found["answers"]) / max(1, sum(found["tokens"]))
    each = sum(found["tokens"]) / len(found["tokens"])
    lines = min(found["batch"], max(1, round(each / tokens))) if found["packed"] else found["batch"]
    how = Setting(
        gpu,
        found["held_in"] == "4bit",
        Lora(),
        lines,
        tokens,
        found["packed"],
        answers,
        keeps=gpu and not found["recomputed"],
    )
    parts = memory(shape, how)
    warm = min(2, len(found["step_seconds"]) - 1)
    steps = found["step_seconds"][warm:]
    step = sorted(steps)[len(steps) // 2]
    work = operations(shape, round(each), round(each * answers), round(sum(found["squares"]) / len(found["squares"])))
    if gpu and found["recomputed"]:
        work += 2.0 * shape.linear * each
    micros = max(1, round(each / tokens / lines)) * shape.layers
    low, high = seconds(work, micros, kit.rate or 1e12, gpu)
    measured = found["reserved_bytes"] + found["program_bytes"] if gpu else found["peak_bytes"]
    return {
        "parts": parts, "memory": sum(parts.values()), "took": measured, "low": low, "high": high, "step": step,
        "reached": work / step / kit.rate if kit.rate else None,
    }  # fmt: skip


def idle(kit: Kit) -> Section:
    """The share of time in which no kernel ran, by torch's profiler, in steps after the first; and what making the batches took."""
    section = Section("idle")
    for way in ("peft",) if kit.quick and not kit.gpu else ("unsloth", "peft"):
        options = {**options_of(kit, 2048), "batch": 1 if kit.quick else "auto", "profile": 1 if kit.quick else 3}
        found = kit.go(way, **options)
        if found.get("not_measured"):
            kit.lacking(f"idle, {way}", found["not_measured"])
            continue
        share = found["data_seconds"] / max(1e-9, sum(found["step_seconds"]))
        section.figures[way] = {"profile": found["profile"], "data_share": share}
        section.lines.append(f"{way}: making batches takes {share:.2%} of the steps' time")
        if "idle_share" in found["profile"]:
            section.goal(f"{way}: share of time in which no kernel runs", found["profile"]["idle_share"], "<=", 0.03)
        else:
            kit.lacking(
                f"idle, {way}: share of time in which no kernel runs",
                "there is no GPU" if not kit.gpu else "no kernel seen",
            )
    return section


def read(path: Path) -> dict[str, Any]:
    """A part's figures as they were kept."""
    return dict(json.loads(path.read_text("utf-8")))
