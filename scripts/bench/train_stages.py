"""The packaged model through two stages on real rows of seven languages, by the real command.

Stage `knowledge` learns open questions, stage `choices` exam items with their reasons. Beside them the same second stage from
the base, each way to hand over, a stage that trains all weights, and one step of the same rows packed and apart.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.section import Section, environment, say
from bench.train_rows import LANGUAGES, Amount, write_rows
from langmill.api import Chat, Context, Message, Question, Row, packs_in
from langmill.disk.store import RunFolder
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer

BASE = "local/smollm2-135m-instruct"
ENOUGH = 4  # dev rows of a language from which on its loss must fall
CLOSE = 100  # millionths by which losses may differ where the order of sums alone differs
ANSWER_TOKENS = 40  # of an answer that is kept for reading
PATIENCE = 7200.0  # seconds until a run counts as hanging


@dataclass(frozen=True)
class Size:
    """How much is learnt, all of it once: rows of each language, and of a step."""

    rows: Amount
    step: int


SIZES = {True: Size(Amount(4, 2, 768, shortest=True), 4), False: Size(Amount(18, 8, 768), 8)}
RECIPE = """\
name: stages
languages: [en, zh, ja, ko, fr, es, ru]
purpose: research
sources:
  open_rows: {{use: table, path: open.jsonl, body: chat, license: unknown}}
  exam_rows: {{use: table, path: exams.jsonl, body: choice, answers_from: 0, license: unknown}}
  few_rows: {{use: table, path: few.jsonl, body: choice, answers_from: 0, license: unknown}}
datasets:
  exams: {{from: [exam_rows]}}
  open: {{from: [open_rows], steps: [{{use: exact}}, {{use: decontaminate, against: [exams]}}]}}
  choices: {{from: [exams], steps: [{{use: decontaminate, against: [exams]}}]}}
  few: {{from: [few_rows], steps: [{{use: decontaminate, against: [exams]}}]}}
train:
  use: peft
  base: {base}
  max_tokens: {tokens}
  stages:
    - {{name: knowledge, data: open, start: base, {whole}}}
    - {{name: choices, data: choices, start: knowledge, {whole}}}
    - {{name: choices_from_base, data: choices, start: base, {whole}}}
    - {{name: merged, data: choices, start: knowledge, handover: merge, {short}}}
    - {{name: anew, data: choices, start: knowledge, handover: new, {short}}}
    - {{name: all_weights, data: choices, start: knowledge, handover: merge, lora: none, {short}}}
    - {{name: apart, data: few, start: base, packing: false, {single}}}
    - {{name: packed, data: few, start: base, packing: true, {single}}}
"""


def stages(quick: bool, work: Path, data: Path) -> Section:
    """Everything that is said above, as one run of the command and a look at what it left."""
    section = Section("stages")
    size = SIZES[quick]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must sleep, here and in what is started
    section.figures["rows"] = _write(work, data, size)
    seconds = factory("run recipe.yaml --out run --until train --offline", work)
    store = RunFolder(work / "run")
    done = sorted(store.root.glob("train/*/result.json"), key=lambda path: path.stat().st_mtime)
    results = {path.parent.name: json.loads(path.read_text("utf-8")) for path in done}
    models = _Models(store, size.rows.tokens)
    _trained(section, results, seconds)
    losses = _learnt(section, models)
    _handed_over(section, results)
    _packed(section, store, results)
    factory("export run choices --as merged --out merged --allow-demo", work)
    _merged(section, models, work / "merged", losses["choices"]["choices"]["all"])
    return section


def _write(work: Path, data: Path, size: Size) -> dict[str, Any]:
    """The rows and the recipe; the counts of the rows. ``few``: an exam item of each language for the step that is made twice."""
    tokenizer = load_tokenizer(find_base(BASE, Context("bench", 17, {}, work)).folder)
    counts = write_rows(work, data, size.rows, lambda text: len(tokenizer(text)["input_ids"]))
    few: dict[tuple[str, str], str] = {}
    for line in (work / "exams.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        few.setdefault((record["language"], record["split"]), line)
    (work / "few.jsonl").write_text("\n".join(few.values()) + "\n", "utf-8")
    common = "batch: 1, warmup: 0"  # of so few steps none is to be spent on warming up
    whole = f"accumulate: {size.step}, learning_rate: 1e-3, eval_rows: 99"
    (work / "recipe.yaml").write_text(
        RECIPE.format(
            base=BASE,
            tokens=size.rows.tokens,
            whole=f"{common}, {whole}",
            short=f"{common}, max_steps: 1, accumulate: 4, learning_rate: 1e-5, eval_rows: 7",
            single=f"{common}, max_steps: 1, accumulate: 7, learning_rate: 1e-4, eval_rows: 4",
        ),
        "utf-8",
    )
    return counts


def factory(said: str, work: Path) -> float:
    """The command in a process of its own; seconds. Raises RuntimeError with its last words when it failed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "langmill.cli", *said.split()]
    done = subprocess.run(
        command, cwd=work, env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError(f"factory {said} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return time.monotonic() - began


def _trained(section: Section, results: Mapping[str, Any], seconds: float) -> None:
    """Of each stage what it saw and how fast, and its validation loss."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, cpu = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
    section.figures |= {
        "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "peak_mb": round(peak), "stages": dict(results),
    }  # fmt: skip
    section.lines.append(
        f"{seconds:,.0f} s ({cpu:,.0f} s of a core) for data and {len(results)} stages, at most {peak:,.0f} MB a process"
    )
    section.table(
        ("stage", "examples", "steps", "tokens/s", "fill", "dev before", "dev after"),
        [
            (
                name, facts["examples"]["train"], facts["steps"], float(facts["tokens"] / max(facts["seconds"], 1e-9)),
                facts["fill"], float(facts["dev_loss"]["first"]), float(facts["dev_loss"]["last"]),
            )
            for name, facts in results.items()
        ],
    )  # fmt: skip
    for name in ("knowledge", "choices", "choices_from_base"):
        loss = results[name]["dev_loss"]
        section.goal(f"validation loss of {name}, after / before", loss["last"] / loss["first"], "<=", 0.95)
        section.goal(f"languages that {name} learns from", len(results[name]["trained_tokens"]), "==", len(LANGUAGES))


class _Models:
    """Base and stages, opened; and the dev rows of both data sets."""

    def __init__(self, store: RunFolder, tokens: int):
        self.store = store
        self.packs = {pack.code: pack for pack in packs_in("langmill_languages")}
        self.context = Context("bench", 17, self.packs, store.root)
        self.trainer = PeftTrainer(base=BASE, max_tokens=tokens)
        self.rows = {name: list(store.rows(name, "dev")) for name in ("open", "choices")}

    def opened(self, stage: str) -> Any:
        """A model that answers and scores."""
        return self.trainer.open(None if stage == "base" else self.store.adapter(stage), self.context)

    def losses(self, model: Any, rows: Sequence[Row]) -> dict[str, float]:
        """Mean loss of a token of the answers, by language and over all, by the model as it is opened: none of the training's
        own code."""
        sums: dict[str, list[float]] = {}
        for code, some in _by_language(rows).items():
            turns = [self.packs[code].conversation(row.body) for row in some]
            questions = [
                Question(str(at), "", code, (asked,), (answer.content,)) for at, (asked, answer) in enumerate(turns)
            ]
            scored = [found for _, (found,) in model.score(questions)]
            sums[code] = [-sum(one.log_probability for one in scored), sum(one.tokens for one in scored)]
        sums["all"] = [sum(column) for column in zip(*sums.values(), strict=True)]
        return {code: total / count for code, (total, count) in sums.items()}


def _learnt(section: Section, models: _Models) -> dict[str, dict[str, dict[str, float]]]:
    """Losses of the dev rows of both data sets by language, for the base and each stage; the second stage beside the one that
    began at the base."""
    losses: dict[str, dict[str, dict[str, float]]] = {}
    for stage in ("base", "knowledge", "choices", "choices_from_base"):
        say(f"  losses of {stage} …")
        model = models.opened(stage)
        losses[stage] = {name: models.losses(model, rows) for name, rows in models.rows.items()}
    section.figures["loss_of_answers"] = losses
    for name, rows in models.rows.items():
        counts = {code: len(some) for code, some in _by_language(rows).items()}
        section.lines.append(f"loss of a token of the answers, dev rows of {name}")
        section.table(
            ("model", *(f"{code} ({counts[code]})" for code in counts), "all"),
            [(stage, *(losses[stage][name][code] for code in (*counts, "all"))) for stage in losses],
        )
        before, after = ("base", "knowledge") if name == "open" else ("knowledge", "choices")
        enough = [code for code, count in counts.items() if count >= ENOUGH]
        fallen = [code for code in enough if losses[after][name][code] < losses[before][name][code]]
        if enough:
            what = f"{after}: languages whose loss of {name} falls, of {len(enough)}"
            section.goal(what, len(fallen), ">=", len(enough))
    ours, other = losses["choices"], losses["choices_from_base"]
    section.lines.append(
        f"stage 2 from stage 1 and from the base: {ours['choices']['all']:.3f} and {other['choices']['all']:.3f} on its own rows, "
        f"{ours['open']['all']:.3f} and {other['open']['all']:.3f} on those of stage 1"
    )
    kept = ours["open"]["all"] / other["open"]["all"]
    section.goal("loss of open after stage 2, from stage 1 / from the base", kept, "<=", 0.99)
    return losses


def _by_language(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {
        code: [row for row in rows if row.language == code]
        for code in LANGUAGES
        if any(r.language == code for r in rows)
    }


def _handed_over(section: Section, results: Mapping[str, Any]) -> None:
    """Where each hand-over begins: with what stage 1 has learnt, or with the base."""
    begun = {name: float(results[name]["dev_loss"]["first"]) for name in ("merged", "anew", "all_weights")}
    section.figures["begins_with"] = begun
    section.lines.append(
        "begins with a validation loss of " + ", ".join(f"{name} {loss:.4f}" for name, loss in begun.items())
    )
    away = {name: 1e6 * abs(begun[name] / begun["merged"] - 1) for name in ("all_weights", "anew")}
    section.goal("all_weights begins where merged does: millionths away", away["all_weights"], "<=", CLOSE)
    section.goal("a new adapter begins elsewhere: millionths away", away["anew"], ">=", 10 * CLOSE)


def _packed(section: Section, store: RunFolder, results: Mapping[str, Any]) -> None:
    """One step of the same rows, packed and apart: the loss before it, and the validation loss after it."""
    steps = {name: next(line for line in store.train_log(name) if "tokens" in line) for name in ("apart", "packed")}
    before = 1e6 * abs(steps["packed"]["loss"] / steps["apart"]["loss"] - 1)
    after = 1e6 * abs(results["packed"]["dev_loss"]["last"] / results["apart"]["dev_loss"]["last"] - 1)
    section.figures["packed_beside_apart"] = {
        "step_millionths": before,
        "dev_after_millionths": after,
        "fill": results["packed"]["fill"],
    }
    section.goal("packed and apart, loss of one step: millionths away", before, "<=", CLOSE)
    # AdamW's first step is a sign, which rounding turns where a gradient is next to nothing.
    section.goal("packed and apart, validation loss after it: millionths away", after, "<=", 10 * CLOSE)
    section.goal("tokens of the step, packed / apart", steps["packed"]["tokens"] / steps["apart"]["tokens"], "==", 1.0)


def _merged(section: Section, models: _Models, folder: Path, loss: float) -> None:
    """The last stage as it is exported, in one with the base: its loss beside the stage's own (16 bits round it), and what it
    says to a question of each language, for people to read."""
    model = PeftTrainer(base=str(folder)).open(None, models.context).model_copy(update={"max_tokens": ANSWER_TOKENS})
    away = abs(models.losses(model, models.rows["choices"])["all"] / loss - 1)
    said: dict[str, dict[str, str]] = {}
    for code, rows in _by_language(models.rows["open"]).items():
        assert isinstance(rows[0].body, Chat)
        answer = asyncio.run(model.answer([Message("user", rows[0].body.question)], seed=17))
        said[code] = {"question": rows[0].body.question, "answer": answer.text}
    section.figures |= {"merged_loss_away": away, "merged_model_says": said}
    section.goal("loss of the merged model: relative difference to its stage", away, "<=", 0.01)
    section.goal(
        "languages in which it answers", sum(bool(one["answer"]) for one in said.values()), "==", len(LANGUAGES)
    )
