"""Training and scoring in processes of their own, with a trainer beside the recipe that learns nothing and says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from langmill.errors import FactoryError
from langmill.evaluation.rows import chosen_rows
from langmill.jobs import JobFailed, run_job
from langmill.recipe.assembly import assemble

TOY = '''"""A trainer that writes down what it was given, and a model that always takes the first option."""

import json
import os
from typing import Literal

from langmill.api import LLM, Answer, Likelihood, MissingInput, Trainer, hookimpl


class First(LLM):
    """Likes whatever it is asked first."""

    async def answer(self, messages, *, seed, schema=None):
        return Answer("")

    @property
    def here(self):
        return True

    def score(self, questions):
        for number, question in enumerate(questions):
            yield number, tuple(Likelihood(-float(place), 1) for place, _ in enumerate(question.continuations))


class Toy(Trainer):
    """Counts its rows."""

    mood: Literal["fine", "refuse", "raise", "die"] = "fine"

    def train(self, job):
        print("a library says hello")
        print(json.dumps(["and this is no event"]))
        if self.mood == "refuse":
            raise MissingInput("the base is not there: fetch it")
        if self.mood == "raise":
            raise ZeroDivisionError("a bug of the trainer's")
        if self.mood == "die":
            os.kill(os.getpid(), 9)
        ids = [row.id for row in job.rows("train")]
        job.report({"event": "step", "step": 1, "of": 1, "loss": 1.5})
        adapter = job.folder / "adapter"
        adapter.mkdir(parents=True, exist_ok=True)
        start = job.start and json.loads((job.start / "rows.json").read_text())
        (adapter / "rows.json").write_text(json.dumps({"ids": ids, "start": start}))
        return adapter

    def open(self, adapter, context):
        return First(model="toy/first")


@hookimpl
def register_trainers():
    return {"toy": Toy}
'''

RECIPE = """\
name: small
languages: [en]
plugins: [toy.py]
run: {workers: 1}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
  choice: {use: table, path: data/choice.en.jsonl, body: choice, license: CC0-1.0}
datasets:
  open: {from: [qa]}
  exams: {from: [choice]}
train:
  use: toy
  base: toy
  stages:
    - {name: first, data: open}
    - {name: second, data: exams, start: first}
  allow_unchecked: true
eval:
  - {use: choice_accuracy, data: exams, models: [base, second], limit: 3}
"""


@pytest.fixture
def toy(bench):
    bench.data("qa.en.jsonl", "choice.en.jsonl")
    bench.write("toy.py", TOY)
    bench.write("small.yaml", RECIPE)
    return bench


def test_stages_hand_over_and_everything_is_kept(toy):
    done = toy.factory("run", "small.yaml")
    assert done.code == 0, done.err
    root = toy.run().root
    train = {data: [row.id for row in toy.rows(data) if row.split == "train"] for data in ("open", "exams")}
    first = json.loads((root / "train/first/adapter/rows.json").read_text("utf-8"))
    assert first == {"ids": train["open"], "start": None}
    second = json.loads((root / "train/second/adapter/rows.json").read_text("utf-8"))
    assert second == {"ids": train["exams"], "start": first}
    assert toy.run().read_json("train/second/stage.json")["adapter"] == "train/second/adapter"
    evaluations = toy.run().evaluations()
    assert set(evaluations) == {"exams.choice_accuracy.base", "exams.choice_accuracy.second"}
    facts = evaluations["exams.choice_accuracy.second"]
    test = {row.id for row in toy.rows("exams") if row.split == "test"}
    asked = {item["row"] for item in facts["items"]}
    assert len(asked) == 3
    assert asked < test
    assert "exams.choice_accuracy letters, %: " in done.err
    assert "library says hello" not in done.err

    before = toy.state()
    again = toy.factory("run", "small.yaml")
    assert again.code == 0
    assert again.err.count("(kept)") == 8
    changed = {name for name, state in toy.state().items() if before.get(name) != state}
    assert not {name for name in changed if "/train/" in name and not name.endswith("README.md")}
    assert not {name for name in changed if "/eval/" in name}

    (root / "train/second/adapter/chat_template.jinja").write_text("another")
    spoken = toy.factory("run", "small.yaml")
    assert spoken.code == 0 and "stage second (kept)" in spoken.err
    assert "score base on exams.choice_accuracy (kept)" in spoken.err
    assert "score second on exams.choice_accuracy\n" in spoken.err, "what lies beside weights decides answers, too"

    edited = toy.factory("run", "small.yaml", "--set", "train.stages.1.epochs=2")
    assert edited.code == 0
    assert "stage first (kept)" in edited.err
    assert "stage second\n" in edited.err
    assert "score base on exams.choice_accuracy (kept)" in edited.err
    assert "score second on exams.choice_accuracy\n" in edited.err


def test_until_and_only(toy):
    assert toy.factory("run", "small.yaml", "--until", "data").code == 0
    assert not (toy.run().root / "train").exists()
    early = toy.factory("run", "runs/small", "--only", "eval")
    assert early.code == 2
    assert "stage 'second' is not trained in runs/small: factory run runs/small --only train" in early.err
    (toy.folder / "data/qa.en.jsonl").unlink()
    assert toy.factory("run", "small.yaml", "--only", "train").code == 0
    assert (toy.run().root / "train/second/adapter").is_dir()
    assert toy.factory("run", "runs/small", "--only", "eval").code == 0
    assert len(toy.run().evaluations()) == 2


@pytest.mark.parametrize(
    ("mood", "code", "words"),
    [
        ("refuse", 2, ["the base is not there: fetch it"]),
        ("raise", 1, ["the job train first ended with 1", "ZeroDivisionError: a bug of the trainer's", "stderr.log"]),
        ("die", 1, ["the job train first was killed by signal 9"]),
    ],
)
def test_a_job_that_fails_is_told_and_the_next_run_goes_on(toy, mood, code, words):
    said = toy.factory("run", "small.yaml", "--until", "train", "--set", f"train.mood={mood}")
    assert said.code == code, said.err
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err
    assert toy.run().read_json("train/first/stage.json") is None
    if mood == "die":
        assert toy.factory("run", "small.yaml", "--until", "train").code == 0
        assert toy.run().read_json("train/second/stage.json")


def test_a_job_ends_with_the_run_that_started_it(toy):
    assert toy.factory("run", "small.yaml", "--until", "data").code == 0
    waiting = "import sys; sys.argv[1:] = []; from langmill import jobs; import threading, time\n"
    waiting += (
        "threading.Thread(target=jobs._end_with_parent, daemon=True).start(); print('up', flush=True); time.sleep(99)"
    )
    child = subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()
    assert child.wait(timeout=30) == 1


def test_killing_the_run_ends_its_job(toy):
    text = TOY.replace(
        "        ids = [",
        '        import time\n        (job.folder / "pid").write_text(str(os.getpid()))\n        time.sleep(99)\n        ids = [',
    )
    toy.write("toy.py", text)
    pid = toy.run().root / "train/first/pid"
    killed = toy.kill_when(lambda: pid.exists() and bool(pid.read_text()), "run", "small.yaml", by=signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    toy.wait(lambda: not _alive(int(pid.read_text())))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # dead, and not yet collected
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_errors_of_a_job_cross_with_their_exit_code(toy, tmp_path):
    assert toy.factory("run", "small.yaml", "--until", "data", "--set", "train.mood=refuse").code == 0
    with pytest.raises(FactoryError, match="fetch it") as caught:
        list(run_job(toy.run().root, "train", "first", log=tmp_path / "log"))
    assert caught.value.exit_code == 2
    with pytest.raises(JobFailed, match="KeyError: 'nothing'"):
        list(run_job(toy.run().root, "train", "nothing", log=tmp_path / "log"))


def test_the_rows_that_are_asked_are_the_same_whatever_the_limit(toy, monkeypatch):
    assert toy.factory("run", "small.yaml", "--until", "data").code == 0
    monkeypatch.chdir(toy.folder)
    assembly = assemble(toy.run().recipe_lock)
    ((_, evaluator),) = assembly.evaluators
    context = assembly.context("eval")

    def asked(limit: int | None) -> list[str]:
        return [row.id for row in chosen_rows(toy.run(), evaluator.model_copy(update={"limit": limit}), context.seed)]

    assert asked(2) == asked(4)[:2]
    assert sorted(asked(None)) == sorted(row.id for row in toy.rows("exams") if row.split == "test")
    assert [row.id for row in chosen_rows(toy.run(), evaluator, 18)] != asked(3)


def test_a_data_set_without_test_rows_can_not_be_scored(toy):
    said = toy.factory("run", "small.yaml", "--set", "sources.choice.splits={test: train}")
    assert said.code == 2
    assert "'exams' holds no test rows" in said.err


def test_a_rank_after_the_first_tells_its_errors_alone(toy):
    """A launcher of several processes starts the job's command again in each; the run hears of each thing once."""
    assert toy.factory("run", "small.yaml", "--until", "data").code == 0

    def said(rank: str, stage: str = "first") -> list[dict[str, object]]:
        command = [sys.executable, "-m", "langmill.jobs", str(toy.run().root), "train", stage]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, env={**os.environ, "RANK": rank}, stdin=pipe, stdout=pipe, stderr=pipe, cwd=toy.folder
        ) as child:
            assert child.stdout is not None
            told = child.stdout.read().decode().splitlines()  # its standard input stays open: it would leave
        return [json.loads(line) for line in told if line.startswith("{")]

    assert [event["event"] for event in said("0")] == ["step", "trained"]
    assert said("1") == []
    (fault,) = said("1", "nothing")
    assert (fault["event"], fault["rank"], fault["unforeseen"]) == ("error", 1, True)
    assert "KeyError: 'nothing'" in str(fault["message"])
    lock = toy.run().recipe_lock
    lock.write_text(lock.read_text("utf-8").replace("use: toy", "use: toy\n  mood: refuse"), "utf-8")
    assert said("1") == [{"event": "error", "message": "the base is not there: fetch it", "exit_code": 2}]


def test_a_job_is_no_rank_of_what_the_run_was_started_by(toy, monkeypatch):
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    done = toy.factory("run", "small.yaml", "--until", "train")
    assert done.code == 0, done.err
    assert (toy.run().root / "train/second/adapter/rows.json").exists()
