"""Log-likelihood scoring beside lm-evaluation-harness: the same model, rows, prompts and continuations, one thread each."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.chain import POOLS
from bench.section import Section, environment, say
from langmill.api import Choice, Context, Loader, Message, Pack, Question, Row, SourceContext, packs_in
from langmill_plugins.loaders.medqa import MedQA

BASE = "local/smollm2-135m-instruct"
SETS: Mapping[str, Loader] = {**POOLS, "en": MedQA(path="$data_dir/medqa-usmle", license="x")}
SHOTS = 2  # examples before a question, in the setting that has some
BATCHES = (1, 8)  # the harness's batch sizes: its better one counts
MOST_TEXT = 1200  # characters of a question: the packaged model reads 2,048 tokens, and the examples come on top
WAYS = ("both", "letters", "examples", "texts")
MOST_APART = 1e-3  # natural logarithms: float32 over thirty layers
LEAST_TIMES = {"both": 1.5, "texts": 1.5, "examples": 1.5, "letters": 1.2}
"""Letters are one token each, and the harness reads a prompt once for those, too: what is left to gain is its logits of every token
of the prompt (of the packaged model a fifth of the work), and the words that all prompts of a language begin with."""
ABOUT = {
    "letters": "letters",
    "texts": "options as text",
    "both": "letters and texts in one question, as choice_accuracy asks",
    "examples": f"letters, {SHOTS} examples before each question",
}
Asked = Sequence[Mapping[str, Any]]
"""Questions as plain data: messages and continuations."""


def speed(quick: bool, work: Path, data: Path) -> Section:
    """Both in turn over the same questions, each in a process of its own."""
    section = Section("speed")
    rows = 3 if quick else 12
    runs: list[dict[str, Any]] = []
    for way, asked in {way: _asked(way, rows, data) for way in WAYS}.items():
        file = work / f"{way}.json"
        file.write_text(json.dumps(asked), "utf-8")
        tried = [_in_own_process("harness", file, batch, asked[:: max(1, len(asked) // 4)]) for batch in BATCHES]
        batch = min(zip(tried, BATCHES, strict=True), key=lambda pair: pair[0]["cpu"])[1]
        for number in range(1 if quick else 2):
            for tool in ("ours", "harness") if number % 2 == 0 else ("harness", "ours"):
                runs.append({"way": way, "tool": tool, "batch": batch, **_in_own_process(tool, file, batch, asked)})
                say(f"  {way}, {tool}: {runs[-1]['cpu']:.1f} s of CPU, {runs[-1]['wall']:.1f} s")
    _compared(section, runs)
    section.figures = {"runs": [{name: value for name, value in run.items() if name != "found"} for run in runs]}
    return section


def _compared(section: Section, runs: Sequence[Mapping[str, Any]]) -> None:
    lines, times = [], {}
    for way in WAYS:
        ours, theirs = (
            [run for run in runs if (run["way"], run["tool"]) == (way, tool)] for tool in ("ours", "harness")
        )
        cpu = {"ours": median(run["cpu"] for run in ours), "harness": median(run["cpu"] for run in theirs)}
        times[way] = median(b["cpu"] / a["cpu"] for a, b in zip(ours, theirs, strict=True))
        for tool in ("ours", "harness"):
            lines.append(
                (
                    ABOUT[way] if tool == "ours" else f"  lm-eval, batches of {theirs[0]['batch']}",
                    ours[0]["items"],
                    ours[0]["tokens"],
                    cpu[tool],
                    ours[0]["items"] / cpu[tool],
                    ours[0]["tokens"] / cpu[tool],
                )
            )
        apart = max(abs(a - b) for a, b in zip(ours[0]["found"], theirs[0]["found"], strict=True))
        section.goal(f"{ABOUT[way]}: log-probabilities of a question's options apart, at most", apart, "<=", MOST_APART)
    section.lines.append(
        "tokens are those of every pair of prompt and continuation, as if each were read by itself; seconds are of one core"
    )
    section.table(("ours, then the harness", "questions", "tokens", "CPU s", "questions/s", "tokens/s"), lines)
    for way, value in times.items():
        section.goal(f"{ABOUT[way]}: times as fast as the harness", value, ">=", LEAST_TIMES[way])


# --- the questions ---


def _asked(way: str, rows: int, data: Path) -> list[dict[str, Any]]:
    """Exam questions of seven languages in the words of their packs."""
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    made: list[dict[str, Any]] = []
    for language, loader in SETS.items():
        pack = packs[language]
        found = _choices(language, loader, data, packs)
        before: list[Message] = []
        for _ in range(SHOTS if way == "examples" else 0):
            row = next(found)
            before += [Message("user", _words(pack, row)), Message("assistant", pack.letters(row.body.answers))]
        for _ in range(rows):
            row = next(found)
            letters = [pack.letters((option,)) for option in range(len(row.body.options))]
            said = {"texts": row.body.options, "both": [*letters, *row.body.options]}.get(way, letters)
            messages = [*before, Message("user", _words(pack, row))]
            made.append({"messages": [[one.role, one.content] for one in messages], "continuations": list(said)})
    return made


def _words(pack: Pack, row: Any) -> str:
    return pack.ask_choice(row.body, short=True)


def _choices(language: str, loader: Loader, data: Path, packs: Mapping[str, Pack]) -> Iterator[Any]:
    context = SourceContext("sources.s", 17, packs, Path(), data, source=language, splits=loader.splits)
    for row in loader.load(context):
        if not (isinstance(row, Row) and row.language == language and isinstance(row.body, Choice)):
            continue
        if len(_words(packs[language], row)) <= MOST_TEXT:
            yield row


# --- processes of their own ---


def _in_own_process(tool: str, file: Path, batch: int, asked: Asked) -> dict[str, Any]:
    """What a tool found, and the time it took once the model was loaded and had read something."""
    chosen = file.with_suffix(f".{tool}.{batch}.{len(asked)}.json")
    chosen.write_text(json.dumps(list(asked)), "utf-8")
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
    command = [sys.executable, "-m", "bench.eval_speed", tool, str(chosen), str(batch)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(**threads, **offline))
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ours(asked: Asked, batch: int) -> tuple[Callable[[Asked], list[float]], int]:
    """What scores questions, and the tokens of all pairs. ``batch`` is of no use: batches are made by what there is room for."""
    from langmill_plugins.trainers.peft import PeftTrainer
    from langmill_plugins.trainers.weights.asked import waves_of
    from langmill_plugins.trainers.weights.local_weights import LocalWeights

    llm = PeftTrainer(base=BASE).open(None, Context("train", 17, {}, Path()))
    assert isinstance(llm, LocalWeights)

    def questions(some: Asked) -> list[Question]:
        return [
            Question(
                str(number), "", "", tuple(Message(*said) for said in one["messages"]), tuple(one["continuations"])
            )
            for number, one in enumerate(some)
        ]

    def score(some: Asked) -> list[float]:
        found = dict(llm.score(questions(some)))
        return [one.log_probability for number in range(len(some)) for one in found[number]]

    prompts = [prompt for wave in waves_of(llm.reader(), questions(asked), llm.model) for prompt in wave]
    return score, sum(len(prompt.ids) + len(tail) for prompt in prompts for tail in prompt.tails)


def harness(asked: Asked, batch: int) -> tuple[Callable[[Asked], list[float]], int]:
    """The same of lm-evaluation-harness, through its own class for such models."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    from langmill_plugins.trainers.tokens.templates import chat_text
    from langmill_plugins.trainers.weights.base_model import find_base

    folder = find_base(BASE, Context("train", 17, {}, Path())).folder
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = HFLM(pretrained=str(folder), device="cpu", dtype=torch.float32, batch_size=batch)

    def score(some: Asked) -> list[float]:
        pairs = [
            (chat_text(tokenizer, [Message(*said) for said in one["messages"]], ask=True), words)
            for one in some
            for words in one["continuations"]
        ]
        requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
        return [value for value, _ in model.loglikelihood(requests, disable_tqdm=True)]

    return score, 0


def _against_the_first(values: Sequence[float]) -> list[float]:
    """Options beside the first one: the harness takes blanks and line ends at a prompt's end for the beginning of each continuation,
    so that all of a question's lie apart from ours by the logarithm of the same line end."""
    return [value - values[0] for value in values]


def _main(tool: str, file: Path, batch: int) -> None:
    import torch

    torch.set_num_threads(1)
    asked = json.loads(file.read_text("utf-8"))
    score, tokens = {"ours": ours, "harness": harness}[tool](asked, batch)
    score(asked[:1])
    began, cpu = time.perf_counter(), time.process_time()
    said = score(asked)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert all(math.isfinite(value) for value in said)
    found = [value for one in asked for value in _against_the_first([said.pop(0) for _ in one["continuations"]])]
    print(json.dumps({"items": len(asked), "tokens": tokens, "wall": took, "cpu": cpu, "found": found}))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
