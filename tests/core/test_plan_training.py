"""What the plan tells of training: the rows it hands to a trainer, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from langmill.api import Context, Stage, StageForecast, Trainer
from langmill.errors import MissingInput
from langmill.parts.forecasts import Room
from langmill.plan import training
from langmill.plan.forecast import Planned, facts, plan
from langmill.plan.lines import lines
from langmill.recipe.assembly import Assembly, assemble

RECIPE = """
name: small
languages: [en, fr]
plugins: [own.py]
llm: {model: scripted/one, answers: script.jsonl, max_tokens: 100}
sources:
  qa: {use: table, path: qa.jsonl, body: chat, language: en, license: CC0-1.0, dev: 0.2}
datasets:
  plain: {from: [qa]}
  made:
    from: [plain]
    steps: [{use: translate, guards: false, into: [fr], limit: 5}]
train:
  use: counting
  base: some/base
  allow_unchecked: true
  stages:
    - {name: one, data: plain}
    - {name: two, data: made, start: one}
    - {name: three, data: made, start: two}
"""
OWN = """
from langmill.api import StageForecast, Trainer, hookimpl

class Counting(Trainer):
    def train(self, job): raise AssertionError
    def open(self, adapter, context): raise AssertionError
    def forecast(self, stage, rows, context):
        if stage.name == "three":
            return None
        low, high = sum(row.weight * row.share for row in rows), sum(row.weight for row in rows)
        words = [sum(len(m.content.split()) for m in getattr(row, end).body.messages) for row in rows for end in ("short", "long")]
        languages = {row.long.language for row in rows}
        note = f"{len(rows)} looked at, {sorted(languages)}, {context.place}, {sum(words[::2]) <= sum(words[1::2])}"
        return StageForecast(stage.name, stage.data, self.base, (low, high), (0, 0), (low, high), (1, 2), notes=("same", note))

@hookimpl
def register_trainers(): return {"counting": Counting}
"""


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Planned]:
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "script.jsonl").write_text(json.dumps({"match": "", "answer": {"answer": "x"}}) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def make(count: int) -> Planned:
        lines = [json.dumps({"question": f"What is number {n}?", "answer": f"It is {n}."}) for n in range(count)]
        (tmp_path / "qa.jsonl").write_text("\n".join(lines) + "\n")
        return asyncio.run(plan(assembled(tmp_path)))

    return make


def assembled(folder: Path) -> Assembly:
    return assemble(folder / "recipe.yaml")


def test_a_trainer_is_handed_train_rows_that_are_there_and_those_yet_to_be_made(planned):
    one, two = planned(50).stages
    assert 30 < one.rows[0] == one.rows[1] < 50  # a share of them is dev
    assert (one.stage, two.stage, two.data) == ("one", "two", "made")
    assert two.rows[1] == one.rows[1] + 5 and one.rows[0] < two.rows[0] < two.rows[1]
    assert f"{round(one.rows[0])} looked at, ['en'], train, True" in one.notes
    assert f"{round(one.rows[0]) + 5} looked at, ['en', 'fr'], train, True" in two.notes


def test_of_many_rows_some_stand_for_all(planned, monkeypatch):
    monkeypatch.setattr(training, "LOOKED_AT", 20)
    one, _ = planned(90).stages
    assert one.rows[0] == pytest.approx(one.rows[1]) and 50 < one.rows[0] < 90
    assert one.rows[0] == round(one.rows[0]) and any(note.startswith("20 looked at") for note in one.notes)


def test_the_same_note_is_told_once_and_all_of_it_to_programs(planned):
    found = planned(50)
    told = lines(found)
    assert told.count("  same") == 1 and "stage two: some/base" in told
    assert json.loads(json.dumps(facts(found)))["stages"][1]["rows"] == list(found.stages[1].rows)


def test_a_trainer_need_not_foretell_anything():
    class Silent(Trainer):
        def train(self, job):
            return job.folder

        def open(self, adapter, context):
            raise MissingInput("nothing")

    silent = Silent(base="b")
    assert silent.forecast(Stage(name="s", data="d"), [], Context("train", 1, {}, Path())) is None


GB = 1 << 30


def told(**more: object) -> Sequence[str]:
    room = Room(
        "CPU",
        24 * GB,
        "float32",
        (10, 10),
        {"weights": 3 * GB, "activations": GB // 2},
        seconds=(60, 600),
        timed_on="CPU",
    )
    cards = Room("a GPU", None, "4bit", (4, 5), {"weights": GB}, cards=(24, 40), seconds=(5, 50), timed_on="RTX 4090")
    values = {
        "stage": "one", "data": "made", "base": "owner/a-model-with-a-name-that-is-rather-long-for-a-line-of-the-plan-8B-Instruct",
        "rows": (90, 100), "left_out": (2, 3), "examples": (88.0, 97.0), "tokens": (1e6, 1.25e6), "parameters": 8_030_261_248,
        "trained": 41_943_040, "rooms": (room, cards), **more,
    }  # fmt: skip
    return lines(Planned(stages=[StageForecast(**values)]))  # type: ignore[arg-type]


def test_lines_name_rows_tokens_steps_memory_time_and_cards():
    text = "\n".join(told())
    for part in (
        "90-100 train rows, 2-3 left out as too long",
        "1.0M-1.2M tokens",
        "on this machine (CPU, 24 GB): 10 steps, 1-10 min (CPU)",
        "memory 3.5 GB in float32: weights 3.0, activations 0.5",
        "on a GPU of 24 GB or more: 4-5 steps, 5-50 s (RTX 4090)",
        "(8.0B",
        "42M trained",
    ):
        assert part in text, text
    assert all(len(line) <= 100 for line in told(notes=("a note " * 40,)))


def test_lines_say_what_to_change_where_it_does_not_fit():
    room = Room("RTX 3060", 12 * GB, "bfloat16", (1, 1), {"weights": 16 * GB}, advice=("quantize: 4bit: 5.1 GB",))
    text = "\n".join(told(rooms=(room,)))
    assert "it does not fit there; change, one after another:\n      quantize: 4bit: 5.1 GB" in text
    none = Room("a GPU", None, "bfloat16", (1, 1), {"weights": 160 * GB}, advice=("quantize: 4bit: 45 GB",))
    assert "it fits no single card" in "\n".join(told(rooms=(none,)))
