"""lm-evaluation-harness itself, on what is written for it: the same model, the same rows, the same choices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import Bench
from tests.public_sets import NEEDS_DATA, load
from tests.tiny_models import logits, packaged_tokenizer, tiny_base

from langmill.api import Choice, Context, Message, MissingInput, Question, Row
from langmill_plugins.evaluators.exporting.harness import Put, write_tasks
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.tokens.templates import chat_text

SETS = {"en": "five", "ja": "igakuqa", "ko": "korean", "fr": "french"}
EACH = 6  # rows of a language
CLOSE = 1e-4  # two choices so near each other may change places
RECIPE = """\
name: small
languages: [en, ja, ko, fr]
sources:
  rows: {use: table, path: exams.jsonl, body: choice, answers_from: 0, license: unknown}
  shots: {use: table, path: few.jsonl, body: choice, answers_from: 0, license: CC0-1.0}
datasets:
  exams: {from: [rows]}
  few: {from: [shots]}
train: {use: peft, base: tiny, allow_unchecked: true, stages: [{name: one, data: few, start: base, max_steps: 1}]}
eval:
  - {use: choice_accuracy, data: exams, models: [base]}
  - {use: choice_accuracy, data: few, models: [base], name: shown, ask: [letters], shots: 2}
"""
# It ends in a token and not in a line break, which the harness would score as the beginning of every choice.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<|im_start|>{% endif %}"
)


def brief(language: str) -> list[Row]:
    """The shortest rows of a language with one right option."""
    sizes: dict[Row, int] = {}
    for row in load(SETS[language]):
        if row.language == language and isinstance(row.body, Choice) and len(row.body.answers) == 1:
            body = row.body
            sizes[row] = len(body.question) + len(body.context or "") + sum(map(len, body.options))
    return sorted(sizes, key=lambda row: (sizes[row], row.id))[:EACH]


def record(row: Row, **more: Any) -> dict[str, Any]:
    """A row as the jsonl loader reads it."""
    body = row.body
    assert isinstance(body, Choice)
    facts = {"question": body.question, "options": body.options, "answer": list(body.answers), "context": body.context}
    return {"id": row.id, "language": row.language, "split": "test", **facts, **more}


FEW = [  # train, train, test, with a key each, and one with two
    {"id": f"f{at}", "language": "en", "question": words, "options": ["one", "two", "three"], "answer": key}
    for at, (words, key) in enumerate(
        [("How many hearts has a squid?", [2]), ("How many has a human being?", [0]), ("How many have eyes?", [1]),
         ("Which numbers are odd?", [0, 2])]
    )
]  # fmt: skip


# What the command of the card does, without reading the thousands of tasks that the harness brings: half of its time here.
DRIVER = """\
import json, sys
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

manager = TaskManager(include_path=".", include_defaults=False)
found = simple_evaluate(
    model="hf", model_args={"pretrained": sys.argv[1], "dtype": "float32"}, tasks=sys.argv[2].split(","), device="cpu", batch_size=8,
    apply_chat_template=True, fewshot_as_multiturn=True, task_manager=manager, bootstrap_iters=0,
)
json.dump({**found["samples"], "groups": found["groups"]}, open(sys.argv[3], "w"), default=str)
"""


def harness(folder: Path, tasks: str, results: Path, model: Path) -> dict[str, Any]:
    """The harness in a process of its own, in a folder of tasks; its samples by task, and its groups."""
    quiet = {
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(results.with_name("cache")),
        "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    command = [sys.executable, "-c", DRIVER, str(model), tasks, str(results)]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(results.read_text("utf-8")))


class Both:
    """An evaluation of ours and the harness's run of what was exported."""

    def __init__(self, bench: Bench):
        self.bench = bench
        tiny_base(bench.folder / "tiny", max_position_embeddings=2048)
        config = bench.folder / "tiny/chat_template.jinja"
        assert config.exists(), "where the template is kept has changed"
        config.write_text(TEMPLATE, "utf-8")
        rows = [record(row) for language in SETS for row in brief(language)]
        several = next(row for row in load("french") if isinstance(row.body, Choice) and len(row.body.answers) > 1)
        rows.append(record(several))
        few = [{**one, "split": "train" if at < 2 else "test"} for at, one in enumerate(FEW)]
        for name, lines in (("exams", rows), ("few", few)):
            bench.write(f"{name}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        bench.write("recipe.yaml", RECIPE)
        self.said = {
            "run": bench.command("run", "recipe.yaml", "--until", "data"),
            "eval": bench.command("eval", "recipe.yaml", environment=bench.bare()),
            "export": bench.command(
                "eval", "runs/small", "--export", "lm-eval", "--out", "tasks", "--name", "exams.choice_accuracy"
            ),
            "shown": bench.command("eval", "runs/small", "--export", "lm-eval", "--out", "shown", "--name", "shown"),
        }
        for said in self.said.values():
            assert said.code == 0, said.err
        # Both in one run of the harness, which takes its time to begin.
        for path in (bench.folder / "shown").glob("*.yaml"):
            path.rename(bench.folder / "tasks" / path.name)
        for path in (bench.folder / "shown/data").iterdir():
            path.rename(bench.folder / "tasks/data" / path.name)
        tasks = "langmill_exams_choice_accuracy_letters,langmill_exams_choice_accuracy_text,langmill_shown_letters"
        self.theirs = harness(bench.folder / "tasks", tasks, bench.folder / "results.json", bench.folder / "tiny")

    def ours(self, name: str) -> tuple[dict[str, Any], dict[tuple[str, str], list[float]]]:
        """What the run has of an evaluation: its scores, and the log-probabilities by row and way."""
        root = self.bench.run().root / "eval"
        facts = json.loads((root / f"{name}.base.json").read_text("utf-8"))
        found: dict[tuple[str, str], list[float]] = {}
        for line in (root / f"{name}.base.answers.jsonl").read_text("utf-8").splitlines()[1:]:
            answer = json.loads(line)
            row, ways = answer["question"].split(" ", 1)
            values = [value for value, _ in answer["likelihoods"]]
            for at, way in enumerate(ways.split("+")):
                size = len(values) // len(ways.split("+"))
                found[row, way] = values[at * size : (at + 1) * size]
        return facts, found


def needs_data(test: Any) -> Any:
    """Marks a test of real rows."""
    for mark in NEEDS_DATA:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def both(shared_bench: Bench) -> Both:
    return Both(shared_bench)


def likelihoods(sample: Mapping[str, Any]) -> list[float]:
    return [float(pair[0][0]) for pair in sample["resps"]]


def chosen(values: Sequence[float], lengths: Sequence[int]) -> tuple[int, float]:
    """The place of the best by length, and how far it is from the next."""
    ranked = sorted(
        ((value / length, -at) for at, (value, length) in enumerate(zip(values, lengths, strict=True))), reverse=True
    )
    return -ranked[0][1], ranked[0][0] - ranked[1][0]


@needs_data
@pytest.mark.parametrize(("way", "metric"), [("letters", "acc"), ("text", "acc_bytes")])
def test_the_harness_agrees_item_by_item(both: Both, way: str, metric: str) -> None:
    facts, ours = both.ours("exams.choice_accuracy")
    right = {item["row"]: item["value"] for item in facts["items"] if item["metric"] == way}
    clear = 0
    for language in SETS:
        samples = both.theirs[f"langmill_exams_choice_accuracy_{way}_{language}"]
        assert len(samples) == EACH, "the row with two keys is left out"
        for sample in samples:
            doc, theirs = sample["doc"], likelihoods(sample)
            mine = ours[doc["row"], way]
            assert theirs == pytest.approx(mine, rel=1e-3), doc["row"]
            place, margin = chosen(mine, [len(words.encode()) if way == "text" else 1 for words in doc["choices"]])
            if margin > CLOSE:
                assert sample[metric] == right[doc["row"]] == float(place == doc["gold"]), doc["row"]
                clear += 1
    assert clear > 0.9 * EACH * len(SETS)


@needs_data
def test_a_groups_figure_is_the_mean_over_languages(both: Both) -> None:
    groups = both.theirs["groups"]
    (facts, _), shares = both.ours("exams.choice_accuracy"), []
    for language in SETS:
        samples = both.theirs[f"langmill_exams_choice_accuracy_letters_{language}"]
        shares.append(sum(sample["acc"] for sample in samples) / len(samples))
    assert groups["langmill_exams_choice_accuracy_letters"]["acc,none"] == pytest.approx(sum(shares) / len(shares))
    mine = next(one for one in facts["scores"] if (one["language"], one["metric"]) == ("all", "letters"))
    assert mine["n"] == EACH * len(SETS) + 1, "the row with two keys is ours alone"


@needs_data
def test_examples_before_a_question_are_the_same_turns(both: Both) -> None:
    _, ours = both.ours("shown")
    (sample,) = both.theirs["langmill_shown_letters_en"]
    prompt = sample["arguments"][0][0]
    assert prompt.count("<|im_start|>user") == 3 and prompt.count("<|im_start|>assistant") == 3
    assert "squid" in prompt and "\nC<|im_end|>" in prompt
    assert likelihoods(sample) == pytest.approx(ours[sample["doc"]["row"], "letters"], rel=1e-3)


@needs_data
def test_the_card_says_what_to_type_and_what_is_left_out(both: Both) -> None:
    card = (both.bench.folder / "tasks/README.md").read_text("utf-8")
    tasks = "langmill_exams_choice_accuracy_letters,langmill_exams_choice_accuracy_text"
    assert f"--include_path . \\\n        --tasks {tasks} --apply_chat_template" in card
    assert "1 of letters with several right options" in card and "1 of text with several" in card
    assert "unknown (25 rows)" in card and "counts as not permitted for commercial use" in card


def test_the_harness_scores_the_templates_last_line_break_too(tmp_path: Path) -> None:
    """Where a prompt ends in white space the harness moves that into each choice: to each choice of a question the same is added."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    llm = PeftTrainer(base=str(tiny_base(tmp_path / "tiny"))).open(None, Context("eval", 17, {}, tmp_path))
    question = Question("q", "q", "en", (Message("user", "How many hearts has a squid?"),), ("one", "two or so", "三"))
    ((_, ours),) = llm.score([question])
    tokenizer = packaged_tokenizer()
    head = chat_text(tokenizer, question.messages, ask=True)
    assert head.endswith("assistant\n")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny", dtype="float32")
    asked = [
        Instance(request_type="loglikelihood", doc={}, arguments=(head, words), idx=at)
        for at, words in enumerate(question.continuations)
    ]
    theirs = [value for value, _ in HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4).loglikelihood(asked)]
    added = [their - our.log_probability for their, our in zip(theirs, ours, strict=True)]
    assert added == pytest.approx([added[0]] * 3, abs=1e-3)
    ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    assert (
        added[0] == pytest.approx(float(logits(model, ids[:-1])[-1].log_softmax(-1)[ids[-1]]), abs=1e-3)
        and added[0] < -1
    )


def asked(*turns: str, keys: tuple[int, ...] = (0,), system: str = "") -> Put:
    roles = ["user", "assistant"] * len(turns)
    messages = tuple(Message(role, words) for role, words in zip(roles, turns, strict=False))  # type: ignore[arg-type]
    return Put("r", "en", (*([Message("system", system)] if system else []), *messages), ("A", "B"), keys)


def test_what_the_harness_can_not_put_is_left_out_and_counted(tmp_path: Path) -> None:
    put = [
        asked("Q?", "A", "Why?"),
        asked("Q?", "A", "How?"),
        asked("Other?", "B", "When?"),
        asked("Q?", "A"),
        asked("Q?", keys=(0, 1)),
    ]
    card = write_tasks("Exams.v2", {"letters": put}, tmp_path)
    data = (tmp_path / "data/langmill_exams_v2_letters_en.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["prompt"] for line in data] == ["Why?", "How?"]
    assert (
        "1 of letters with several right options" in card and "1 of letters with messages that are no question" in card
    )
    assert "1 of letters with other examples before it" in card
    with pytest.raises(MissingInput, match="none of its questions: 1 of letters with several right options"):
        (tmp_path / "more").mkdir()
        write_tasks("exams", {"letters": put[-1:]}, tmp_path / "more")


def test_system_words_are_the_harness_description(tmp_path: Path) -> None:
    write_tasks("exams", {"text": [asked("Q?", system="You are: {{ careful }}")]}, tmp_path)
    task = yaml.safe_load((tmp_path / "langmill_exams_text_en.yaml").read_text("utf-8"))
    (line,) = (tmp_path / task["dataset_kwargs"]["data_files"]["test"]).read_text("utf-8").splitlines()
    assert json.loads(line)[task["description"]] == "You are: {{ careful }}", "a column, and so no template"
    assert (task["doc_to_text"], task["doc_to_choice"], task["doc_to_target"]) == ("prompt", "choices", "gold")
    assert [metric["metric"] for metric in task["metric_list"]] == ["acc_bytes", "acc"]


def test_a_version_is_a_hash_of_what_is_asked(tmp_path: Path) -> None:
    versions = set()
    for at, put in enumerate((asked("Q?"), asked("Q!"), asked("Q?", keys=(1,)), asked("S?", "A", "Q?"))):
        (tmp_path / str(at)).mkdir()
        write_tasks("exams", {"letters": [put]}, tmp_path / str(at))
        group = yaml.safe_load((tmp_path / str(at) / "langmill_exams_letters.yaml").read_text("utf-8"))
        assert group["task"] == ["langmill_exams_letters_en"]
        assert group["aggregate_metric_list"] == [{"metric": "acc", "aggregation": "mean", "weight_by_size": False}]
        versions.add(group["metadata"]["version"])
    assert len(versions) == 4
