"""Whether it works: both stages by the real command, a kill, a full memory, an adapter on another device, and what fits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.gpu_asked import Asked
from bench.gpu_kit import Kit, child
from bench.gpu_sizes import shape_of_size
from bench.section import Section, environment, say
from bench.train_stages import factory
from langmill_plugins.trainers.forecast.devices import GB, USABLE
from langmill_plugins.trainers.forecast.memory import Setting, memory
from langmill_plugins.trainers.options import Lora

CARDS = (24, 48, 80, 141)
LENGTHS = tuple(1 << power for power in range(9, 18))
SAME = 1e-3  # of a loss, as a share: kernels may add in another order each time
RECIPE = """\
name: learn
languages: [en, zh, ja, ko, fr, es, ru]
purpose: research
sources:
  open_rows: {{use: table, path: open.jsonl, body: chat, license: unknown}}
  exam_rows: {{use: table, path: exams.jsonl, body: choice, answers_from: 0, license: unknown}}
datasets:
  exams: {{from: [exam_rows]}}
  open: {{from: [open_rows], steps: [{{use: exact}}, {{use: decontaminate, against: [exams]}}]}}
  choices: {{from: [exams], steps: [{{use: decontaminate, against: [exams]}}]}}
train:
  use: auto
  base: {base}
  max_tokens: {tokens}
  stages:
    - {{name: knowledge, data: open, start: base, {whole}}}
    - {{name: choices, data: choices, start: knowledge, choices: {{answer: both, shuffle: true}}, {whole}}}
eval:
  - {{use: choice_accuracy, data: exams, models: [{models}]{limit}}}
"""


def learn(kit: Kit) -> Section:
    """Both stages on the prepared rows through the command: losses, scores by language before and after, wall time."""
    section = Section("learn")
    work = kit.out / "learn"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("open.jsonl", "exams.jsonl"):
        shutil.copyfile(kit.prepared / name, work / name)
    size = "max_steps: 1, accumulate: 2, eval_rows: 2" if kit.quick else "accumulate: 16, epochs: 2, eval_rows: 64"
    rate = "1e-3" if kit.quick else "5e-4"
    recipe = RECIPE.format(
        base=kit.base, tokens=256 if kit.quick else 1024, whole=f"batch: auto, learning_rate: {rate}, {size}",
        limit=", limit: 1" if kit.quick else "", models="base, choices" if kit.quick else "base, knowledge, choices",
    )  # fmt: skip
    (work / "recipe.yaml").write_text(recipe, "utf-8")
    try:
        section.figures["seconds"] = factory("run recipe.yaml --out run --offline", work)
    except RuntimeError as fault:
        kit.broke("learn", str(fault)[-600:])
        kit.lacking("learn: both stages", "the run broke off")
        return section
    stages = {}
    for name in ("knowledge", "choices"):
        facts = json.loads((work / "run" / "train" / name / "result.json").read_text("utf-8"))
        stages[name] = facts
        loss = facts["dev_loss"]
        if loss["first"] is not None:
            section.goal(
                f"validation loss of {name}, after / before",
                loss["last"] / loss["first"],
                "<=",
                1.01 if kit.quick else 0.97,
            )
    section.figures |= {"stages": stages, "scores": _scores(work / "run")}
    section.lines.append(
        f"{section.figures['seconds']:.0f} s in all, on {kit.gpu or 'a CPU'} by {stages['choices']['backend']}"
    )
    section.table(
        ("stage", "examples", "steps", "tokens/s", "at once", "fill", "dev before", "dev after"),
        [
            (name, one["examples"]["train"], one["steps"], float(one["tokens"] / max(one["seconds"], 1e-9)), one["batch"], one["fill"],
             float(one["dev_loss"]["first"] or 0), float(one["dev_loss"]["last"] or 0))
            for name, one in stages.items()
        ],
    )  # fmt: skip
    for metric, by_model in section.figures["scores"].items():
        codes = sorted({code for found in by_model.values() for code in found}, key=lambda code: (code == "all", code))
        section.lines.append(metric)
        section.table(
            ("model", *codes), [(model, *(found.get(code, "-") for code in codes)) for model, found in by_model.items()]
        )
    if not kit.gpu:
        kit.lacking("learn: both stages on a GPU", "there is no GPU")
    return section


def _scores(run: Path) -> dict[str, dict[str, dict[str, float]]]:
    """{metric: {model: {language: score}}}, as the run's examinations have them."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(run.glob("eval/*.json")):
        facts = json.loads(path.read_text("utf-8"))
        for one in facts.get("scores", []):
            value = one.get("accuracy", one.get("value"))
            if value is not None:
                by_model = found.setdefault(one["metric"], {})
                by_model.setdefault(facts["model"], {})[one["language"]] = float(value)
    return found


def resume(kit: Kit) -> Section:
    """A training that is killed in the middle and started again, beside one that was left alone."""
    section = Section("resume")
    steps = 4 if kit.quick else 24
    asked = Asked(
        "peft", _small(kit), str(kit.prepared), str(kit.out / "work" / f"whole-{time.time_ns()}"),
        128 if kit.quick else 1024, width=2 if kit.quick else 16, batch=1 if kit.quick else 4, steps=steps,
        save_steps=1 if kit.quick else 4,
    )  # fmt: skip
    for way in ("peft",) if not kit.gpu else ("unsloth", "peft"):
        whole = kit.process(replace(asked, way=way, folder=asked.folder + way))
        if whole.get("not_measured"):
            kit.lacking(f"resume, {way}", whole["not_measured"])
            continue
        broken = replace(asked, way=way, folder=asked.folder + way + "-killed")
        killed = _killed(broken, steps // 2)
        again = kit.process(broken)
        if again.get("not_measured"):
            kit.lacking(f"resume, {way}", again["not_measured"])
            continue
        resumed = any("continues from step" in note for note in again["notes"])
        log = [json.loads(line) for line in (Path(broken.folder) / "train_log.jsonl").read_text("utf-8").splitlines()]
        losses = [line["loss"] for line in log if "loss" in line]
        away = max(abs(a / b - 1) for a, b in zip(losses, whole["losses"], strict=True))
        section.figures[way] = {
            "killed_after": killed,
            "resumed": resumed,
            "losses": losses,
            "alone": whole["losses"],
            "away": away,
        }
        section.goal(f"{way}: goes on from a checkpoint after kill -9", float(resumed), "==", 1.0)
        section.goal(f"{way}: furthest loss of a step from the one left alone, as a share", away, "<=", SAME)
    if not kit.gpu:
        kit.lacking("resume: kill and resume on a GPU", "there is no GPU")
    return section


def _small(kit: Kit) -> str:
    return kit.model("tiny") if kit.quick else kit.base


def _killed(asked: Asked, step: int) -> int:
    """Start a training and kill it once it has told of so many steps; the last one told."""
    command = [sys.executable, "-m", "bench.gpu_ways", json.dumps(asdict(asked))]
    say(f"  {asked.way}, to be killed after step {step} …")
    last = 0
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], env=environment(OMP_WAIT_POLICY="PASSIVE"), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        for line in child.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                continue
            last = int(told.get("step") or last) if isinstance(told, dict) else last
            if last >= step:
                os.kill(child.pid, signal.SIGKILL)
                break
    return last


def oom(kit: Kit) -> Section:
    """A memory that does not hold the batch: the same steps with less at once, the same rows, and the same losses."""
    section = Section("oom")
    size = "tiny" if kit.quick else "1b"
    tokens = 256 if kit.quick else 2048
    options: dict[str, Any] = {
        "base": kit.model(size),
        "max_tokens": tokens,
        "width": 4 if kit.quick else 64,
        "steps": 2 if kit.quick else 4,
    }
    for way in ("peft",) if not kit.gpu else ("unsloth", "peft"):
        wide, least = (4, 2) if kit.quick else (32, 2)
        free = kit.go(way, **options, batch=least)
        if free.get("not_measured"):
            kit.lacking(f"oom, {way}", free["not_measured"])
            continue
        # What two lines need, and a little more, is too little for thirty-two.
        cap = {"cap": int(free["reserved_bytes"] * 1.5)} if kit.gpu else {"full_memory_at": 1}
        full = kit.go(way, **options, batch=wide, **cap)
        if full.get("not_measured"):
            kit.lacking(f"oom, {way}", full["not_measured"])
            continue
        caught = full["halvings"] > 0 or any("memory ran out" in note for note in full["notes"])
        away = max(abs(a / b - 1) for a, b in zip(full["losses"], free["losses"], strict=True))
        section.figures[way] = {"full": full, "free": free, "away": away}
        section.goal(f"{way}: memory ran out and was caught", float(caught), "==", 1.0)
        section.goal(
            f"{way}: tokens learnt, beside the one with room", sum(full["tokens"]) / sum(free["tokens"]), "==", 1.0
        )
        section.goal(f"{way}: furthest loss of a step from the one with room, as a share", away, "<=", SAME)
        section.lines.append(f"{way}: halved {full['halvings']} time(s), layers computed twice: {full['recomputed']}")
    if not kit.gpu:
        kit.lacking("oom: a memory that is full indeed", "there is no GPU; it was said to be full")
    return section


def portable(kit: Kit) -> Section:
    """An adapter that was trained here answers on a CPU what it answers on the card, each taking the likeliest token, in 32 bits on
    either. As it is held on the card, in 16, words may part where two tokens are nearly as likely: told, and no goal."""
    section = Section("portable")
    folder = kit.out / "work" / f"portable-{time.time_ns()}"
    asked = Asked(
        "peft", _small(kit), str(kit.prepared), str(folder), 256 if kit.quick else 1024, width=2 if kit.quick else 16,
        batch=1 if kit.quick else 4, steps=2 if kit.quick else 60, rate=1e-3, quantize="none",
    )  # fmt: skip
    found = kit.process(asked)
    if found.get("not_measured"):
        kit.lacking("portable", found["not_measured"])
        return section
    said = {}
    for device, hidden in (("here", None), ("cpu", "")):
        variables = {} if hidden is None else {"CUDA_VISIBLE_DEVICES": hidden}
        tokens = str(4 if kit.quick else 16)
        try:
            said[device] = child(
                "bench.gpu_answers", asked.base, found["trained"], str(kit.prepared), tokens, **variables
            )
        except RuntimeError as fault:
            kit.broke(f"portable, {device}", str(fault))
            kit.lacking("portable", "an answer broke off")
            return section

    def alike(width: str) -> float:
        theirs = said["cpu"]["wide"]
        return sum(a == b for a, b in zip(said["here"][width], theirs, strict=True)) / len(theirs)

    section.figures = {**said, "alike_as_held": alike("held")}
    section.goal("questions answered alike in 32 bits on the card and on a CPU, greedily", alike("wide"), "==", 1.0)
    words = sum(map(bool, said["cpu"]["wide"]))
    if not kit.quick:  # random weights may say nothing that can be read, and nothing is always alike
        section.goal("questions that are answered in words", float(words), ">=", 1.0)
    section.lines.append(f"as it is held on the card, beside 32 bits on a CPU: {alike('held'):.0%} alike")
    if not kit.gpu:
        kit.lacking("portable: an adapter that a GPU trained", "there is no GPU; both were asked on the CPU")
    return section


# --- what fits ---


def longest(size: str, gigabytes: float, four_bit: bool = True) -> int:
    """The longest line of a size's model that a card holds, one at a time, by the forecast; 0: none."""
    shape, room = shape_of_size(size), gigabytes * GB * USABLE
    fitting = [
        tokens
        for tokens in LENGTHS
        if sum(memory(shape, Setting(True, four_bit, Lora(), 1, tokens, True, 0.5)).values()) <= room
    ]
    return max(fitting, default=0)


def fit(kit: Kit) -> Section:
    """The longest line by card and model, told; and what is told held against the card, whole and with a cap of 24 GB."""
    section = Section("fit")
    table = {size: {str(card): longest(size, card) for card in CARDS} for size in ("1b", "3b", "8b", "70b")}
    section.figures["told"] = table
    section.lines.append("longest line of a QLoRA of rank 16, told; 0: the model does not fit")
    section.table(("model", *(f"{card} GB" for card in CARDS)), [(size, *by.values()) for size, by in table.items()])
    if not kit.gpu:
        kit.lacking("fit: what is told held against a card, and against a cap of 24 GB", "there is no GPU")
        return section
    whole = kit.total / GB
    for gigabytes, cap in ((whole, 0), (24.0, int(24 * GB * USABLE))):
        tokens = min(longest("8b", gigabytes), 32768)  # rows are not longer, and packed lines are filled up to here
        found = kit.go("peft", base=kit.model("8b"), max_tokens=tokens, width=1, batch=1, steps=2, cap=cap)
        name = f"8b at {gigabytes:.0f} GB, {tokens} tokens"
        if found.get("not_measured"):
            section.goal(f"{name}: fits", 0.0, "==", 1.0)
            section.lines.append(f"{name}: {found['not_measured']}")
            continue
        section.figures[name] = found
        tries = sum("memory ran out" in note for note in found["notes"])
        section.goal(f"{name}: times that memory ran out", float(tries), "==", 0.0)
        section.lines.append(f"{name}: {found['peak_bytes'] / GB:.1f} GB of tensors at most")
    return section
