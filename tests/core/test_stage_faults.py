"""Faults between the stages of a training, by the real trainers: all at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from langmill.errors import Fault, RecipeError
from langmill.recipe.assembly import assemble

HEAD = """\
name: stages
languages: [en]
sources:
  web: {use: table, body: chat, language: en, path: web.jsonl, license: MIT}
  sft: {use: table, body: chat, language: en, path: sft.jsonl, license: MIT}
datasets:
  all: {from: [web, sft]}
train:
  use: auto
  base: local/small
  processes: 2
  stages:
"""

SOUND = """\
    - {name: first, data: all, accumulate: 2}
    - {name: second, data: all, start: first, accumulate: 4}
    - {name: third, data: all, start: second, handover: merge, lora: {rank: 4}, accumulate: 2}
    - {name: fourth, data: all, start: third, lora: {rank: 4}, accumulate: 2}
    - {name: fifth, data: all, start: third, handover: merge, lora: none, accumulate: 2}
    - {name: sixth, data: all, start: fifth, lora: none, accumulate: 2}
    - {name: seventh, data: all, start: sixth, handover: merge, accumulate: 2}
    - {name: eighth, data: all, start: first, handover: new, lora: {rank: 2}, quantize: 4bit, accumulate: 2}
    - name: ninth
      data: all
      accumulate: 2
      sampler: priority
      weights: {web: 32}
      source_epochs: {sft: 3}
    - {name: tenth, data: all, sampler: priority, accumulate: 2, languages: {most: {en: 5}, epochs: {en: 2}}}
    - {name: eleventh, data: all, accumulate: 2, languages: {most: 5}}
"""

PLANTED = """\
    - name: first
      data: all
      sampler: priority
      accumulate: 3
      weights:
        web: 32
        stf: 1
      source_epochs:
        wob: 2
    - {name: second, data: all, accumulate: 2, weights: {web: 2}}
    - {name: third, data: all, accumulate: 2, start: second, lora: {rank: 4}}
    - name: fourth
      data: all
      accumulate: 2
      start: third
      handover: continue
    - {name: fifth, data: all, accumulate: 2, start: second, lora: none}
    - {name: sixth, data: all, accumulate: 2, start: fifth}
    - {name: seventh, data: all, accumulate: 2, handover: merge}
    - {name: eighth, data: all, accumulate: 2, lora: none, quantize: 4bit}
    - {name: ninth, data: all, accumulate: 2, start: tenth}
    - {name: tenth, data: all, accumulate: 2}
    - name: eleventh
      data: all
      accumulate: 2
      languages:
        most: {en: 5, eng: 9}
        epochs:
          en: 2
          ja: 3
"""


def faults(path: Path, *sets: str) -> list[Fault]:
    with pytest.raises(RecipeError) as caught:
        assemble(path, sets=sets)
    return list(caught.value.faults)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FACTORY_DATA", raising=False)
    return tmp_path / "stages.yaml"


@pytest.mark.parametrize("use", ["auto", "peft", "unsloth"])
def test_stages_that_go_together_have_no_faults(recipe: Path, use: str) -> None:
    recipe.write_text(HEAD.replace("auto", use) + SOUND, "utf-8")
    assert len(assemble(recipe).stages) == 11


def test_every_fault_between_stages_is_told_at_once_with_its_line(recipe: Path) -> None:
    recipe.write_text(HEAD + PLANTED, "utf-8")
    told = {(fault.line, fault.place): fault.message for fault in faults(recipe)}
    expected = {
        (
            16,
            "train.stages[0].accumulate",
        ): "3 batches a step can not be dealt out to 2 processes: take a multiple of 2, such as 4",
        (19, "train.stages[0].weights.stf"): "there is no source 'stf'; possible: sft, web. Did you mean 'sft'?",
        (21, "train.stages[0].source_epochs.wob"): "Did you mean 'web'?",
        (22, "train.stages[1].weights"): "weights are for sampler: priority, and this stage shuffles",
        (
            23,
            "train.stages[2].lora",
        ): "the adapter of stage 'second' goes on, which is an adapter of {rank: 16, alpha: 32.0, ",
        (
            28,
            "train.stages[3].handover",
        ): "and not an adapter of {rank: 16, alpha: 32.0, dropout: 0.0, layers: all-linear}",
        (29, "train.stages[4].handover"): "stage 'second' trains an adapter of {rank: 16, ",
        (30, "train.stages[5].handover"): "stage 'fifth' trains all weights and this one an adapter of ",
        (31, "train.stages[6].handover"): "'merge' is about the adapter of an earlier stage",
        (32, "train.stages[7].quantize"): "4bit is for a frozen base, and lora: none trains all weights",
        (33, "train.stages[8].start"): "names refer upward",
        (
            39,
            "train.stages[10].languages.most.eng",
        ): "'eng' is none of the recipe's languages; possible: en. Did you mean 'en'?",
        (42, "train.stages[10].languages.epochs.ja"): "'ja' is none of the recipe's languages; possible: en",
    }
    assert told.keys() == expected.keys()
    for place, message in expected.items():
        assert message in told[place], place


def test_options_of_all_stages_count(recipe: Path) -> None:
    recipe.write_text(HEAD + "    - {name: one, data: all, accumulate: 2}\n", "utf-8")
    (fault,) = faults(recipe, "train.lora=none", "train.quantize=4bit")
    assert (fault.place, fault.line) == ("train.stages[0].quantize", 13)
    (fault,) = faults(recipe, "train.processes=4")
    assert "take a multiple of 4, such as 4" in fault.message
    assert len(assemble(recipe, sets=("train.lora=none",)).stages) == 1


@pytest.mark.parametrize(
    ("said", "place", "message"),
    [
        ("weights: {web: 0}", "weights.web", "must be greater than 0"),
        ("weights: [web]", "weights", "must be a mapping"),
        ("source_epochs: {web: many}", "source_epochs.web", "must be a valid number"),
        ("languages: {temperature: 0.5}", "languages.temperature", "must be greater than or equal to 1"),
        ("languages: {temprature: 2}", "languages.temprature", "Did you mean 'temperature'?"),
        ("languages: {epochs: {ja: 0}}", "languages.epochs.ja", "must be greater than 0"),
        ("languages: {most: {ja: 0}}", "languages.most.ja", "must be greater than or equal to 1"),
        ("sampler: priorty", "sampler", "Did you mean 'priority'?"),
        ("lora: {layers: []}", "lora.layers", "must have at least 1 item"),
        ("epochs: -1", "epochs", "must be greater than 0"),
        ("choices: {shufle: true}", "choices.shufle", "Did you mean 'shuffle'?"),
    ],
)
def test_an_option_of_a_stage_that_is_wrong_is_told_in_its_place(
    recipe: Path, said: str, place: str, message: str
) -> None:
    recipe.write_text(HEAD + f"    - name: one\n      data: all\n      {said}\n      accumulate: 2\n", "utf-8")
    found = faults(recipe)
    told = [fault for fault in found if fault.place == f"train.stages[0].{place}"]
    assert told and message in " ".join(fault.message for fault in told), [str(fault) for fault in found]
    assert {fault.line for fault in told} == {15}
