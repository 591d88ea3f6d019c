"""Questions as tasks of EleutherAI's lm-evaluation-harness: task files without code, and the data beside them.

The harness is given the words of each question and its continuations as they are asked here, and adds none of its own. What it
does with them was read in version 0.4.13 (``api/task.py``, ``api/model.py``): a name in ``doc_to_text``, ``doc_to_choice``,
``doc_to_target`` and ``description`` that is a column of the data is that column, word for word; with a chat template nothing
stands between the prompt and a choice; ``acc_bytes`` divides by UTF-8 bytes, ``acc_norm`` by characters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langmill.api import Message, MissingInput, yaml_text

ABOUT = "tasks of lm-evaluation-harness: its YAML and data"
VERSION = "0.4.13"  # of the harness, with which the agreement was tested
METRICS = {"letters": ("acc",), "text": ("acc_bytes", "acc")}  # the first is the one that is ours
SEVERAL = "several right options (the harness would give full marks for one of them)"
TURNS = "other examples before it than the rest of its language has"
SHAPE = "messages that are no question after examples"


class Put(NamedTuple):
    """A question by one way to ask it: its messages, its choices, and the numbers of the right ones."""

    row: str
    language: str
    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    keys: tuple[int, ...]


class _Turns(NamedTuple):
    """Messages as the harness builds them: a system's words, examples with their answers, the question."""

    system: str
    shots: tuple[tuple[str, str], ...]
    question: str


def write_tasks(name: str, ways: Mapping[str, Sequence[Put]], folder: Path) -> str:
    """Write a task for each way and language, and a group for each way that takes the mean of its languages. ``ways`` are of
    ``METRICS``. Returns how to use it, in Markdown. Raises MissingInput where no question can be put."""
    (folder / "data").mkdir()
    left: Counter[tuple[str, str]] = Counter()
    counts: dict[str, dict[str, int]] = {}
    for way, puts in ways.items():
        tasks: dict[str, str] = {}
        for language in sorted({put.language for put in puts}):
            fit = _fitting([put for put in puts if put.language == language], way, left)
            if not fit:
                continue
            task = _called(name, way, language)
            tasks[task] = _write_task(task, way, fit, folder)
            counts.setdefault(_called(name, way), {})[language] = len(fit)
        if tasks:
            _write_yaml(folder / f"{_called(name, way)}.yaml", _group(_called(name, way), way, tasks))
    if not counts:
        why = _told(left) or "it asks for no log-probabilities"
        raise MissingInput(f"{name}: the harness can be given none of its questions: {why}")
    return _use(counts, left, shots=any(len(put.messages) > 2 for puts in ways.values() for put in puts))


def _called(name: str, *more: str) -> str:
    """A task's name: no task that comes with the harness begins like it."""
    return "_".join(("langmill", re.sub(r"\W+", "_", name), *more)).lower()


def _turns(messages: Sequence[Message]) -> _Turns | None:
    """None where messages are no question, with or without a system's words and examples before it."""
    system = messages[0].content if messages and messages[0].role == "system" else ""
    rest = messages[1:] if system else messages
    if [message.role for message in rest] != [*["user", "assistant"] * (len(rest) // 2), "user"]:
        return None
    shots = tuple((rest[at].content, rest[at + 1].content) for at in range(0, len(rest) - 1, 2))
    return _Turns(system, shots, rest[-1].content)


def _fitting(puts: Sequence[Put], way: str, left: Counter[tuple[str, str]]) -> list[tuple[Put, _Turns]]:
    """The questions that a task can put, all after the same examples; the others are counted by what is in the way."""
    found: list[tuple[Put, _Turns]] = []
    for put in puts:
        turns = _turns(put.messages)
        if len(put.keys) != 1:
            left[way, SEVERAL] += 1
        elif turns is None:
            left[way, SHAPE] += 1
        else:
            found.append((put, turns))
    if not found:
        return []
    ((shots, _),) = Counter(turns.shots for _, turns in found).most_common(1)
    same = [(put, turns) for put, turns in found if turns.shots == shots]
    if len(same) < len(found):
        left[way, TURNS] += len(found) - len(same)
    return same


def _write_task(task: str, way: str, fit: Sequence[tuple[Put, _Turns]], folder: Path) -> str:
    """Write a task and its data; returns its version, which is a hash of the data."""
    lines = [
        {
            "row": put.row, "system": turns.system, "prompt": turns.question, "choices": list(put.choices), "gold": put.keys[0],
        }
        for put, turns in fit
    ]  # fmt: skip
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8", "replace")
    (folder / "data" / f"{task}.jsonl").write_bytes(data)
    shots = fit[0][1].shots
    digest = hashlib.sha256(data + repr(shots).encode("utf-8", "replace"))
    version = f"sha256-{digest.hexdigest()[:12]}"
    facts: dict[str, Any] = {
        "task": task,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"data/{task}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "num_fewshot": len(shots),
        "metric_list": [{"metric": one, "aggregation": "mean", "higher_is_better": True} for one in METRICS[way]],
        "metadata": {"version": version},
    }
    if any(turns.system for _, turns in fit):
        facts["description"] = "system"
    if shots:
        samples = [{"system": "", "prompt": asked, "choices": [said], "gold": 0} for asked, said in shots]
        facts["fewshot_config"] = {"sampler": "first_n", "samples": samples}
    _write_yaml(folder / f"{task}.yaml", facts)
    return version


def _group(group: str, way: str, tasks: Mapping[str, str]) -> dict[str, Any]:
    metrics = [{"metric": one, "aggregation": "mean", "weight_by_size": False} for one in METRICS[way]]
    version = hashlib.sha256(" ".join(tasks.values()).encode()).hexdigest()[:12]
    return {
        "group": group, "task": list(tasks), "aggregate_metric_list": metrics, "metadata": {"version": f"sha256-{version}"},
    }  # fmt: skip


def _write_yaml(path: Path, facts: Mapping[str, Any]) -> None:
    path.write_text(yaml_text(dict(facts)), "utf-8")


def _told(left: Mapping[tuple[str, str], int]) -> str:
    return "; ".join(f"{n:,} of {way} with {reason}" for (way, reason), n in left.items())


def _use(counts: Mapping[str, Mapping[str, int]], left: Mapping[tuple[str, str], int], *, shots: bool) -> str:
    table = "\n".join(
        f"| `{group}` | {language} | {n:,} | {METRICS[group.rsplit('_', 1)[-1]][0]} |"
        for group, languages in counts.items()
        for language, n in languages.items()
    )
    told = f"- Left out: {_told(left)}.\n" if left else ""
    return f"""\
Stand in this folder, since the task files name their data from here (lm_eval {VERSION}; nothing is fetched):

    HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 lm_eval run --model hf \\
        --model_args pretrained=FOLDER,dtype=float32 --include_path . \\
        --tasks {",".join(counts)} --apply_chat_template --batch_size 8 --log_samples --output_path results

FOLDER is a model in Hugging Face's layout: the base model's, or a stage as `factory export RUN STAGE --as merged --out FOLDER`
writes it.{" The examples are turns of the conversation, which is what the harness makes of them with a chat template." if shots else ""}

| group | language | questions | the same as ours |
|---|---|---|---|
{table}

A task for each language is called GROUP_LANGUAGE; a group's figure is the mean over languages, each weighing the same, as `all` is
here. The version of a task is a hash of its data.

What differs from the figures of the run:

{told}- `acc` takes the likeliest choice, which is the run's figure for letters. For texts the run divides by UTF-8 bytes, and so does
  `acc_bytes`; `acc` beside it favours short options; the harness's usual `acc_norm` would divide by characters, which
  weighs scripts differently, and is not asked for.
- Where a model's chat template ends in white space (a line break after the assistant's name, in most), the harness scores that as
  the beginning of every choice; the run scores the answer alone. Between the choices of a question that adds the same number to
  each: nothing changes for `acc`, and for `acc_bytes` only with a model that does not expect its own template.
- The harness cuts a prompt that is longer than the model reads from the left, with a warning.
- A template that can think aloud is told not to here; there: `--model_args …,enable_thinking=False`.
"""
