"""What tests of evaluations share: a plugin file with an evaluator, a provider and weights that write down what they are asked."""

from __future__ import annotations

import json
from collections import Counter

PLUGIN = '''"""An evaluator that asks in words or for likelihoods; a provider and weights that note every question they are asked."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Literal

from langmill.api import (
    LLM, Answer, CallError, Choice, Evaluator, Field, Item, Likelihood, Marked, Message, Metric, Price, Question, Trainer, hookimpl,
)

HERE = Path(__file__).parent


def note(kind, text):
    with (HERE / f"{kind}.log").open("a") as log:
        log.write(json.dumps(text) + "\\n")


def told(name):
    path = HERE / name
    return path.read_text() if path.exists() else None


class Asked(Evaluator):
    """Asks each exam item; what holds the word is right."""

    metrics = {"said": Metric("share", "it says the word")}
    word: str = "yes"
    scoring: bool = False
    max_tokens: int | None = None

    def scored(self):
        return self.scoring

    def questions(self, rows, context):
        for row in rows:
            options = row.body.options if self.scoring else ()
            message = Message("user", f"{row.id}: {row.body.question}")
            yield Question(row.id, row.id, row.language, (message,), tuple(options), self.max_tokens, {"word": self.word})

    async def mark(self, rows, answered, context):
        note("marked", self.word)
        if told("slow"):
            time.sleep(60)
        return Marked(tuple(
            Item(one.question.row, one.question.language, "said", float(self.word in one.text), None, bool(one.text or one.likelihoods))
            for one in answered
        ))


class Noting(LLM):
    """Says yes, at its own pace; fails as the files beside it say."""

    pause: float = 0.0
    dollars: float = 0.0

    def price(self):
        return Price(self.dollars, self.dollars)

    async def answer(self, messages, *, seed, schema=None):
        text = messages[-1].content
        note("provider", text)
        await asyncio.sleep(self.pause)
        if (word := told("down")) and word in text:
            raise CallError("server", "out of order")
        if (word := told("refused")) and word in text:
            raise CallError("bad_request", "that is against the rules")
        if (word := told("empty")) and word in text:
            return Answer("", "refusal", 100, 0)
        return Answer(f"yes, it is, says {self.model}", prompt_tokens=100, answer_tokens=min(50, self.max_tokens))


class Weights(LLM):
    """Likes whatever it is asked first."""

    pause: float = 0.0

    async def answer(self, messages, *, seed, schema=None):
        raise AssertionError("weights are not asked one by one")

    @property
    def here(self):
        return True

    def _next(self, question):
        note("weights", question.name)
        time.sleep(self.pause)
        if told("die"):
            (HERE / "die").unlink()
            os.kill(os.getpid(), 9)

    def score(self, questions):
        for number, question in enumerate(questions):
            self._next(question)
            yield number, tuple(Likelihood(-float(place), 1) for place, _ in enumerate(question.continuations))

    def reply(self, questions):
        for number, question in enumerate(questions):
            self._next(question)
            if told("few") and number == 2:
                return
            yield number, Answer("yes", prompt_tokens=5, answer_tokens=1)


class Toy(Trainer):
    """Learns nothing."""

    pause: float = 0.0

    def train(self, job):
        job.report({"event": "step", "step": 1, "of": 1, "loss": 1.5})
        (job.folder / "adapter").mkdir(parents=True, exist_ok=True)
        (job.folder / "adapter/rows").write_text(str(sum(1 for _ in job.rows("train"))))
        return job.folder / "adapter"

    def deciding(self, stage, context):
        return {"base": self.base, "stage": stage and stage.model_dump(mode="json")}

    def open(self, adapter, context):
        return Weights(model="toy/weights", pause=self.pause)


@hookimpl
def register_evaluators():
    return {"asked": Asked}


@hookimpl
def register_llms():
    return {"noting": Noting, "weights": Weights}


@hookimpl
def register_trainers():
    return {"toy": Toy}
'''

RECIPE = """\
name: small
languages: [en, fr]
plugins: [examined.py]
run: {workers: 1}
sources:
  qa: {use: table, path: 'data/qa.*.jsonl', body: chat, license: CC0-1.0}
  choice: {use: table, path: 'data/choice.*.jsonl', body: choice, license: CC0-1.0, splits: {train: test, dev: test}}
datasets:
  open: {from: [qa]}
  exams: {from: [choice]}
models:
  far: {model: noting/far, concurrency: 2}
eval:
  - {use: asked, data: exams, models: [far], limit: 6}
"""

TRAINED = RECIPE.replace(
    "eval:\n  - {use: asked, data: exams, models: [far], limit: 6}",
    "train:\n  use: toy\n  base: toy\n  allow_unchecked: true\n  stages: [{name: first, data: open}]\n"
    "eval:\n  - {use: asked, data: exams, models: [base, first], limit: 6, scoring: true}",
)


def laid_out(bench, recipe=RECIPE):
    """A bench with the plugin file, rows in two languages and a recipe that asks six of each."""
    bench.data("qa.en.jsonl", "qa.fr.jsonl", "choice.en.jsonl", "choice.fr.jsonl")
    bench.write("examined.py", PLUGIN)
    bench.write("small.yaml", recipe)
    return bench


def noted(bench, kind) -> Counter[str]:
    """How often each question was asked."""
    path = bench.folder / f"{kind}.log"
    return Counter(json.loads(line) for line in path.read_text("utf-8").splitlines()) if path.exists() else Counter()
