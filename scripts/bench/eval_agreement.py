"""Our log-likelihoods beside lm-evaluation-harness: the same small model, the same real rows of seven languages, item by item.

The harness is run by its own command on what ``factory eval --export lm-eval`` writes. It counts the line break in which the chat
template ends as the beginning of each choice (see evaluators/exporting/harness.py): the same for all choices of a question, so
likelihoods are held against ours with it and without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from bench.eval_rows import brief_rows, exam_record, write_lines
from bench.section import Section, environment, say
from bench.train_rows import LANGUAGES
from bench.train_stages import BASE, factory
from langmill.api import Context
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer

EACH = {True: 6, False: 30}  # rows of a language
MOST = 96  # tokens of a question
CLOSE = 1e-4  # two choices so near each other may change places
RELATIVE = 1e-3  # difference of two log-likelihoods
OURS = {"letters": "acc", "text": "acc_bytes"}
PATIENCE = 3600.0
RECIPE = """\
name: agreement
languages: [en, zh, ja, ko, fr, es, ru]
purpose: research
sources: {{rows: {{use: table, path: exams.jsonl, body: choice, answers_from: 0, license: unknown}}}}
datasets: {{exams: {{from: [rows]}}}}
train: {{use: peft, base: {base}, allow_unchecked: true, stages: [{{name: none, data: exams, start: base, max_steps: 1}}]}}
eval: [{{use: choice_accuracy, name: exams, data: exams, models: [base]}}]
"""


class Pair(NamedTuple):
    """A question in one way, as both have scored it."""

    language: str
    ours: Sequence[float]
    theirs: Sequence[float]
    sizes: Sequence[int]
    right: float
    their_right: float

    def chosen(self, values: Sequence[float]) -> int:
        """The place of the best by size, the earlier of equals."""
        return max(range(len(values)), key=lambda at: (values[at] / self.sizes[at], -at))

    def margin(self) -> float:
        """How far the best is from the next, by size, as we have it."""
        best, second = sorted((value / size for value, size in zip(self.ours, self.sizes, strict=True)), reverse=True)[
            :2
        ]
        return best - second

    def added(self) -> float:
        """What the harness has more of each choice, on average."""
        return fmean(their - our for their, our in zip(self.theirs, self.ours, strict=True))

    def apart(self, added: float = 0.0) -> float:
        """The greatest relative difference of a likelihood, but for what was added to all."""
        return max(abs(their - added - our) / abs(our) for their, our in zip(self.theirs, self.ours, strict=True))


def agreement(quick: bool, work: Path, data: Path) -> Section:
    """Score, export, run the harness, compare."""
    section = Section("agreement")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    base = find_base(BASE, Context("bench", 17, {}, work)).folder
    tokenizer = load_tokenizer(base)
    rows = [
        row
        for language in LANGUAGES
        for row in brief_rows(data, language, lambda text: len(tokenizer(text)["input_ids"]), MOST, EACH[quick])
    ]
    write_lines(work / "exams.jsonl", (exam_record(row, split="test") for row in rows))
    (work / "recipe.yaml").write_text(RECIPE.format(base=BASE), "utf-8")
    factory("run recipe.yaml --out run --until data --offline", work)
    ours_took = factory("eval run --offline", work)
    factory("eval run --export lm-eval --out tasks", work)
    say("  the harness …")
    theirs, theirs_took = _harness(work, base)
    section.figures |= {"rows": len(rows), "seconds": {"ours": round(ours_took, 1), "theirs": round(theirs_took, 1)}}
    section.lines.append(
        f"{len(rows)} rows by letters and by text: {ours_took:,.0f} s here, {theirs_took:,.0f} s there, whole processes"
    )
    pairs = _pairs(work, theirs)
    for way, some in pairs.items():
        _told(section, way, some)
    section.goal(
        "rows that both scored, by each way", min(map(len, pairs.values())), ">=", 200 if not quick else len(rows)
    )
    return section


def _harness(work: Path, base: Path) -> tuple[dict[str, list[dict[str, Any]]], float]:
    """The harness's samples by task, and how many seconds it took."""
    tasks = ",".join(f"langmill_exams_{way}" for way in OURS)
    command = [
        str(Path(sys.executable).with_name("lm_eval")), "run", "--model", "hf", "--model_args", f"pretrained={base},dtype=float32",
        "--include_path", ".", "--tasks", tasks, "--apply_chat_template", "--batch_size", "8", "--device", "cpu", "--log_samples",
        "--output_path", str(work / "results"),
    ]  # fmt: skip
    offline = environment(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=str(work / "cache"))
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=work / "tasks", env=offline, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError(f"lm_eval ended with {done.returncode}:\n{done.stderr[-3000:]}")
    samples: dict[str, list[dict[str, Any]]] = {}
    for path in (work / "results").rglob("samples_*.jsonl"):
        task = path.name.removeprefix("samples_").rsplit("_", 1)[0]
        samples[task] = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return samples, time.monotonic() - began


def _pairs(work: Path, theirs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Pair]]:
    """Both sides of each question, by way."""
    lines = (work / "run/eval/exams.base.answers.jsonl").read_text("utf-8").splitlines()[1:]
    answers = {
        one["question"].split(" ")[0]: [value for value, _ in one["likelihoods"]] for one in map(json.loads, lines)
    }
    items = json.loads((work / "run/eval/exams.base.json").read_text("utf-8"))["items"]
    right = {(item["metric"], item["row"]): item["value"] for item in items}
    pairs: dict[str, list[Pair]] = {way: [] for way in OURS}
    for place, (way, metric) in enumerate(OURS.items()):
        for language in LANGUAGES:
            for sample in theirs[f"langmill_exams_{way}_{language}"]:
                doc = sample["doc"]
                count = len(doc["choices"])
                ours = answers[doc["row"]][place * count : (place + 1) * count]
                sizes = [len(words.encode()) if way == "text" else 1 for words in doc["choices"]]
                said = [float(pair[0][0]) for pair in sample["resps"]]
                pairs[way].append(Pair(language, ours, said, sizes, right[way, doc["row"]], sample[metric]))
    return pairs


def _told(section: Section, way: str, pairs: Sequence[Pair]) -> None:
    """The table of a way, and its goals."""
    section.lines.append(
        f"{way}: share right here and there; difference of log-likelihoods, as they are and without the line break"
    )
    table = []
    for language in LANGUAGES:
        some = [pair for pair in pairs if pair.language == language]
        table.append(
            (
                language, len(some), fmean(pair.right for pair in some), fmean(pair.their_right for pair in some),
                sum(pair.chosen(pair.ours) == pair.chosen(pair.theirs) for pair in some),
                f"{max(pair.apart() for pair in some):.1e}", f"{max(pair.apart(pair.added()) for pair in some):.1e}",
                f"{min(pair.added() for pair in some):.1e}",
            )
        )  # fmt: skip
    section.table(("language", "rows", "here", "there", "same choice", "apart", "without", "line break"), table)
    other = [pair for pair in pairs if pair.chosen(pair.ours) != pair.chosen(pair.theirs)]
    section.figures[way] = {
        "rows": len(pairs), "same": len(pairs) - len(other), "right": fmean(pair.right for pair in pairs),
        "their_right": fmean(pair.their_right for pair in pairs), "margins_of_others": [pair.margin() for pair in other],
        "apart": max(pair.apart() for pair in pairs), "apart_without": max(pair.apart(pair.added()) for pair in pairs),
        "line_break": min(pair.added() for pair in pairs),
    }  # fmt: skip
    section.goal(f"other choices though not close, {way}", sum(pair.margin() > CLOSE for pair in other), "==", 0)
    unlike = sum(pair.right != pair.their_right for pair in pairs if pair.margin() > CLOSE)
    section.goal(f"rows right on one side alone though not close, {way}", unlike, "==", 0)
    section.goal(
        f"greatest relative difference of a log-likelihood, {way}",
        section.figures[way]["apart_without"],
        "<=",
        RELATIVE,
    )
