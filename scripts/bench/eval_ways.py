"""Two stages and one on the control: the same base, the same rows, the same tokens, and a rule that can be learnt.

The mark before the right option is that of the control. Beside the marked items are open questions without any mark, real rows
of seven languages, which stand for what a stage of knowledge or a corpus is made of.

two         the open questions in one stage, the marked items in the next one
one         all rows in one stage, drawn by priority: the open questions early, the marked items late
drawn       (not with --quick) the rows of `one` with labels drawn anew: the mark says nothing of them

Each way reads the same number of tokens, to within an example. What it has learnt is asked as in the control; what it has
forgotten or kept of the open questions is the perplexity of such that it has not learnt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.eval_control import MOST, labelled, lesson
from bench.eval_rows import brief_rows, exam_record, write_lines
from bench.section import Section
from bench.train_rows import LANGUAGES, Amount, write_rows
from bench.train_stages import BASE, factory
from langmill.api import Context
from langmill.scores.paired import Comparison, compared
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer

ENDS = ("two", "one")
PROVED, APART = 0.90, 0.02  # share right over all; share by which the tokens of two ways may differ
KINDS = ("marked", "shuffled")
RECIPE = """\
name: ways
languages: [{languages}]
purpose: research
sources:
  open_rows: {{use: table, path: open.jsonl, body: chat, license: unknown}}
  marked_rows: {{use: table, path: marked.train.jsonl, body: chat, license: unknown}}
  shuffled_rows: {{use: table, path: shuffled.train.jsonl, body: chat, license: unknown}}
  marked_items: {{use: table, path: marked.test.jsonl, body: choice, answers_from: 0, license: unknown}}
  shuffled_items: {{use: table, path: shuffled.test.jsonl, body: choice, answers_from: 0, license: unknown}}
datasets:
  marked_exams: {{from: [marked_items]}}
  shuffled_exams: {{from: [shuffled_items]}}
  talk: {{from: [open_rows]}}
  open: {{from: [talk], steps: [{{use: decontaminate}}]}}
  marked: {{from: [marked_rows], steps: [{{use: decontaminate}}]}}
  shuffled: {{from: [shuffled_rows], steps: [{{use: decontaminate}}]}}
  together: {{from: [open, marked], steps: [{{use: decontaminate}}]}}
  drawn: {{from: [open, shuffled], steps: [{{use: decontaminate}}]}}
train:
  use: peft
  base: {base}
  max_tokens: 640
  stages:
{stages}
eval:
  - {{use: choice_accuracy, name: marked, data: marked_exams, models: [base, {ends}], ask: [text]}}
{more}  - {{use: perplexity, name: open, data: talk, split: dev, models: [base, {ends}]}}
"""


@dataclass(frozen=True)
class Size:
    """Marked items of each language to learn from and to be asked; open questions to learn from and to be held out; tokens of the
    first and of the second half of a way; the languages, all of which the base's tokenizer writes in about a token a word
    where there is little time."""

    train: int
    test: int
    open: int
    held_out: int
    tokens: tuple[int, int]
    languages: tuple[str, ...] = LANGUAGES


SIZES = {
    True: Size(30, 20, 12, 4, (2_000, 6_000), ("en", "fr", "es")),
    False: Size(20, 20, 14, 4, (7_000, 20_000)),
}


def ways(quick: bool, work: Path, data: Path) -> Section:
    """All ways through one run, and what each is found to know."""
    section = Section("ways")
    size = SIZES[quick]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must sleep, here and in what is started
    section.figures["rows"] = _write(work, data, size)
    (work / "recipe.yaml").write_text(_recipe(size, quick), "utf-8")
    seconds = factory("run recipe.yaml --out run --offline", work)
    section.figures["seconds"] = round(seconds, 1)
    section.lines.append(f"{seconds:,.0f} s for data, stages and examinations")
    taken = _taken(section, work, size, quick)
    _told(section, work, size)
    if not quick:
        _drawn(section, work)
    section.goal("tokens of the ways, most / least", max(taken.values()) / min(taken.values()), "<=", 1 + APART)
    return section


def _recipe(size: Size, quick: bool) -> str:
    """The recipe of the ways that are asked for."""
    how = "batch: 1, accumulate: 8, learning_rate: 1e-3, warmup: 0.1, eval_rows: 1"
    first, second = size.tokens
    weights = "sampler: priority, weights: {open_rows: 16}"
    stages = [
        f"{{name: knowledge, data: open, start: base, tokens: {first}, {how}}}",
        f"{{name: two, data: marked, start: knowledge, tokens: {second}, {how}}}",
        f"{{name: one, data: together, start: base, tokens: {first + second}, {weights}, {how}}}",
    ]
    if not quick:
        stages += [
            f"{{name: drawn, data: drawn, start: base, tokens: {first + second}, {weights}, {how}}}",
        ]
    asked = "{use: choice_accuracy, name: drawn, data: shuffled_exams, models: [base, drawn], ask: [text]}"
    return RECIPE.format(
        base=BASE,
        languages=", ".join(size.languages),
        stages="\n".join(f"    - {stage}" for stage in stages),
        ends=", ".join(ENDS),
        more="" if quick else f"  - {asked}\n",
    )


def _write(work: Path, data: Path, size: Size) -> dict[str, dict[str, Any]]:
    """The rows as files; how many there are of each language."""
    tokenizer = load_tokenizer(find_base(BASE, Context("bench", 17, {}, work)).folder)

    def count(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    amount = Amount(size.open, size.held_out, 256, shortest=True)
    counts = {"open": write_rows(work, data, amount, count, size.languages)["open"]}
    lines: dict[str, list[dict[str, Any]]] = {f"{kind}.{split}": [] for kind in KINDS for split in ("train", "test")}
    counts["marked"] = {"train": {}, "test": {}}
    for language in size.languages:
        rows = brief_rows(data, language, count, MOST, size.train + size.test)
        test, train = rows[: size.test], rows[size.test :]
        counts["marked"]["train"][language], counts["marked"]["test"][language] = len(train), len(test)
        for kind in KINDS:
            lines[f"{kind}.test"] += [exam_record(row, split="test") for row in labelled(test, kind)]
            lines[f"{kind}.train"] += [lesson(row) for row in labelled(train, kind)]
    for name, records in lines.items():
        write_lines(work / f"{name}.jsonl", records)
    return counts


def _taken(section: Section, work: Path, size: Size, quick: bool) -> dict[str, int]:
    """What each way took; its tokens."""
    chains = {"two": ("knowledge", "two"), "one": ("one",), "drawn": ("drawn",)}
    asked = [*ENDS, *([] if quick else ["drawn"])]
    told = {
        end: [json.loads((work / f"run/train/{stage}/result.json").read_text("utf-8")) for stage in chains[end]]
        for end in asked
    }
    sums = {
        end: {
            "examples": sum(n for one in some for by in one["draws"].values() for n in by.values()),
            "tokens": sum(one["tokens"] for one in some),
            "learnt": sum(sum(one["trained_tokens"].values()) for one in some),
            "steps": sum(one["steps"] for one in some),
            "seconds": float(sum(one["seconds"] for one in some)),
        }
        for end, some in told.items()
    }
    section.figures["taken"] = sums
    section.table(
        ("way", "examples", "tokens", "learnt", "steps", "seconds"),
        [(" → ".join(chains[end]), *facts.values()) for end, facts in sums.items()],
    )
    return {end: int(facts["tokens"]) for end, facts in sums.items()}


def _facts(work: Path, name: str, model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / f"run/eval/{name}.{model}.json").read_text("utf-8"))
    return found


def _over_all(facts: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(
        one for one in facts["scores"] if (one["language"], one["metric"]) == ("all", metric)
    )
    return found


def _between(first: Mapping[str, Any], second: Mapping[str, Any], metric: str) -> Comparison:
    return next(one for one in compared(first, second) if (one.language, one.metric) == ("all", metric))


def _told(section: Section, work: Path, size: Size) -> None:
    """The scores by language, the ways against the base and against each other, and perplexities of open questions."""
    marked = {model: _facts(work, "marked", model) for model in ("base", *ENDS)}
    by_language = {
        model: {one["language"]: one for one in facts["scores"] if one["metric"] == "text"}
        for model, facts in marked.items()
    }
    section.lines.append("share right by option text, each with 95%")
    section.table(
        ("language", "n", "chance", *(word for model in marked for word in (model, "low", "high"))),
        [
            (
                code, by_language["base"][code]["n"], float(by_language["base"][code]["chance"]),
                *(float(value) for model in marked for value in (
                    by_language[model][code]["accuracy"], *by_language[model][code]["interval"],
                )),
            )
            for code in (*size.languages, "all")
        ],
    )  # fmt: skip
    talks = {model: _facts(work, "open", model) for model in ("base", *ENDS)}
    pairs = [*(("base", end) for end in ENDS), ENDS]
    lines, kept = [], []
    for first, second in pairs:
        for name, metric, facts in (("marked", "text", marked), ("open", "perplexity", talks)):
            found = _between(facts[first], facts[second], metric)
            lines.append(
                (f"{second} on {first}", f"{name} {metric}", found.paired, float(found.before), float(found.after),
                 float(found.difference), *map(float, found.interval), float(found.p), found.verdict)
            )  # fmt: skip
            kept.append({"first": first, "second": second, "name": name, **found.plain()})
    section.lines.append("over all languages, the same rows (a difference in perplexity is a share of the first)")
    section.table(("pair", "figure", "n", "first", "second", "apart", "low", "high", "p", "verdict"), lines)
    section.figures |= {"marked": {model: facts["scores"] for model, facts in marked.items()}, "compared": kept}
    for end in ENDS:
        section.goal(f"share right over all, {end}", _over_all(marked[end], "text")["accuracy"], ">=", PROVED)
        gain = _between(marked["base"], marked[end], "text").verdict == "gain"
        section.goal(f"a gain on the base, {end}", int(gain), "==", 1)


def _drawn(section: Section, work: Path) -> None:
    """With labels drawn anew nothing can be learnt."""
    before, after = _facts(work, "drawn", "base"), _facts(work, "drawn", "drawn")
    score, found = _over_all(after, "text"), _between(before, after, "text")
    low, high = score["interval"]
    section.figures["drawn"] = {"base": before["scores"], "drawn": after["scores"]}
    section.lines.append(
        f"labels drawn anew, one stage: {score['accuracy']:.3f} right ({low:.3f} to {high:.3f}), chance {score['chance']:.3f}; "
        f"on the base {found.verdict}"
    )
    section.goal("chance lies in the interval over all, drawn", int(low <= score["chance"] <= high), "==", 1)
