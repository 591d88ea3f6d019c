"""The whole path from row to score, by the real command: what can be learnt is seen to be learnt, and what can not is not.

Real exam items of seven languages in one run. A mark stands before the right option, in train and test rows alike, and the rows
differ: a model that answers with the marked option is right everywhere, without any medicine. The second data set is the same with
its labels drawn anew, in train and test rows: the mark says nothing of them, and nobody can do better than chance.
"""

from __future__ import annotations

import json
import os
import random
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.eval_rows import brief_rows, exam_record, write_lines
from bench.section import Section
from bench.train_rows import LANGUAGES, PACKS
from bench.train_stages import BASE, factory
from langmill.api import Choice, Context, Row
from langmill.scores.paired import compared
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer

MARKED = "(k) {}"  # the right option; of the marks that were tried before it, the one that the base follows least
MOST = 96  # tokens of a question, by the base's tokenizer
PROVED, IN_EACH = 0.95, 0.90  # share right, over all and in each language
KINDS = ("marked", "shuffled")
RECIPE = """\
name: control
languages: [en, zh, ja, ko, fr, es, ru]
purpose: research
sources:
  marked_rows: {{use: table, path: marked.train.jsonl, body: chat, license: unknown}}
  shuffled_rows: {{use: table, path: shuffled.train.jsonl, body: chat, license: unknown}}
  marked_items: {{use: table, path: marked.test.jsonl, body: choice, answers_from: 0, license: unknown}}
  shuffled_items: {{use: table, path: shuffled.test.jsonl, body: choice, answers_from: 0, license: unknown}}
datasets:
  marked_exams: {{from: [marked_items]}}
  shuffled_exams: {{from: [shuffled_items]}}
  marked: {{from: [marked_rows], steps: [{{use: decontaminate}}]}}
  shuffled: {{from: [shuffled_rows], steps: [{{use: decontaminate}}]}}
train:
  use: peft
  base: {base}
  max_tokens: 640
  stages:
    - {{name: marked, data: marked, start: base, {how}}}
    - {{name: shuffled, data: shuffled, start: base, {how}}}
eval:
  - {{use: choice_accuracy, name: marked, data: marked_exams, models: [base, marked], ask: [text]}}
  - {{use: choice_accuracy, name: shuffled, data: shuffled_exams, models: [base, shuffled], ask: [text]}}
"""


@dataclass(frozen=True)
class Size:
    """Rows of each language to learn from and to be asked, and how often they are learnt."""

    train: int
    test: int
    epochs: int


SIZES = {True: Size(12, 16, 1), False: Size(16, 40, 1)}


def control(quick: bool, work: Path, data: Path) -> Section:
    """Both data sets through one run, and what the base and each stage are found to know."""
    section = Section("control")
    size = SIZES[quick]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must sleep, here and in what is started
    section.figures["rows"] = _write(work, data, size)
    how = f"epochs: {size.epochs}, batch: 1, accumulate: 8, learning_rate: 1e-3, warmup: 0.1"
    (work / "recipe.yaml").write_text(RECIPE.format(base=BASE, how=how), "utf-8")
    seconds = factory("run recipe.yaml --out run --offline", work)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    section.figures |= {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
    section.lines.append(f"{seconds:,.0f} s ({cpu:,.0f} s of a core) for data, two stages and four examinations")
    for kind in KINDS:
        before, after = (
            json.loads((work / f"run/eval/{kind}.{model}.json").read_text("utf-8")) for model in ("base", kind)
        )
        _told(section, kind, before, after)
    section.goal("minutes", seconds / 60, "<=", 30.0)
    return section


def _write(work: Path, data: Path, size: Size) -> dict[str, dict[str, int]]:
    """The rows of both data sets as files; how many there are of each language."""
    tokenizer = load_tokenizer(find_base(BASE, Context("bench", 17, {}, work)).folder)
    lines: dict[str, list[dict[str, Any]]] = {f"{kind}.{split}": [] for kind in KINDS for split in ("train", "test")}
    counts: dict[str, dict[str, int]] = {"train": {}, "test": {}}
    for language in LANGUAGES:
        rows = brief_rows(data, language, lambda text: len(tokenizer(text)["input_ids"]), MOST, size.train + size.test)
        test, train = rows[: size.test], rows[size.test :]
        counts["train"][language], counts["test"][language] = len(train), len(test)
        for kind in KINDS:
            lines[f"{kind}.test"] += [exam_record(row, split="test") for row in labelled(test, kind)]
            lines[f"{kind}.train"] += [lesson(row) for row in labelled(train, kind)]
    for name, records in lines.items():
        write_lines(work / f"{name}.jsonl", records)
    return counts


def labelled(rows: Sequence[Row], kind: str) -> Iterator[Row]:
    """The rows with a mark before their right option; where labels are shuffled another one, or the same, is then called right."""
    for row in rows:
        body = row.body
        assert isinstance(body, Choice)
        options = tuple(MARKED.format(text) if at in body.answers else text for at, text in enumerate(body.options))
        drawn = random.Random(row.id).randrange(len(options))
        yield replace(
            row, body=replace(body, options=options, answers=(drawn,) if kind == "shuffled" else body.answers)
        )


def lesson(row: Row) -> dict[str, Any]:
    """An item as a conversation: the short question as an evaluation puts it, answered by the right option's words."""
    body = row.body
    assert isinstance(body, Choice)
    asked = PACKS[row.language].ask_choice(body, short=True)
    known = {"id": row.id, "family": row.id, "language": row.language, "split": "train"}
    return {**known, "question": asked, "answer": body.options[body.answers[0]]}


def _told(section: Section, kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """The table of a data set, base beside stage, and its goals."""
    first, second = (
        {one["language"]: one for one in facts["scores"] if one["metric"] == "text"} for facts in (before, after)
    )
    verdicts = {one.language: one for one in compared(before, after)}
    section.lines.append(f"{kind}: share right by option text, base and stage, each with 95%")
    section.table(
        ("language", "n", "chance", "base", "low", "high", "stage", "low", "high", "p", "verdict"),
        [
            (
                code, second[code]["n"], float(second[code]["chance"]),
                float(first[code]["accuracy"]), *map(float, first[code]["interval"]),
                float(second[code]["accuracy"]), *map(float, second[code]["interval"]), float(verdicts[code].p), verdicts[code].verdict,
            )
            for code in (*LANGUAGES, "all")
        ],
    )  # fmt: skip
    section.figures[kind] = {
        "base": list(first.values()), "stage": list(second.values()), "compared": [one.plain() for one in verdicts.values()],
    }  # fmt: skip
    over_all, low, high = second["all"]["accuracy"], *second["all"]["interval"]
    if kind == "marked":
        section.goal("share right over all, marked", over_all, ">=", PROVED)
        section.goal(
            "least share right of a language, marked",
            min(second[code]["accuracy"] for code in LANGUAGES),
            ">=",
            IN_EACH,
        )
        section.goal("gains over the base, over all, marked", int(verdicts["all"].verdict == "gain"), "==", 1)
    else:
        chance = second["all"]["chance"]
        section.goal("chance lies in the interval over all, shuffled", int(low <= chance <= high), "==", 1)
        section.goal("gains over the base, shuffled", sum(one.verdict == "gain" for one in verdicts.values()), "==", 0)
