"""Bases that are not on this machine, by the shapes that their makers publish."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from langmill.api import Chat, Context, Origin, Row, RowAhead
from langmill_plugins.trainers.forecast import published
from langmill_plugins.trainers.forecast.published import bases, tensors_of
from langmill_plugins.trainers.forecast.shape import look, shape_from
from langmill_plugins.trainers.forecast.stage import forecast
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.peft import PeftTrainer

CONTEXT = Context("train", 17, {}, Path())
LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"
# As the makers' pages and the files on the hub give them.
PARAMETERS = {
    "meta-llama/Meta-Llama-3-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B-Instruct": 70_553_706_496,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "google/gemma-2-9b": 9_241_705_984,
}
KINDS = {
    LLAMA: "LlamaConfig",
    "Qwen/Qwen2.5-0.5B": "Qwen2Config",
    "Qwen/Qwen3-8B": "Qwen3Config",
    "mistralai/Mistral-7B-v0.3": "MistralConfig",
    "google/gemma-2-9b": "Gemma2Config",
}


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def test_every_base_has_as_many_parameters_as_published():
    found = {name: shape_from(config, tensors_of(config)).parameters for name, config in bases().items()}
    assert {name: found[name] for name in PARAMETERS} == PARAMETERS
    assert {tuple(config["names"]) for config in bases().values()} == {
        tuple(bases()[name]["names"]) for name in PARAMETERS
    }, "every row of the table is held against a published number"
    table = json.loads(Path(published.__file__).with_name("bases.json").read_text("utf-8"))
    assert sum(len(row["names"]) for row in table) == len(found), "no name is there twice"


@pytest.mark.parametrize("name", KINDS)
def test_tensors_are_those_that_transformers_makes_of_such_a_configuration(name):
    import torch
    import transformers

    config = bases()[name]
    options = {
        key: value
        for key, value in config.items()
        if key not in ("names", "qkv_bias", "norms_of_heads", "norms_around")
    }
    two = {**options, "num_hidden_layers": 2, "tie_word_embeddings": bool(options.get("tie_word_embeddings"))}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, KINDS[name])(**two))
    made = {key: tuple(value.shape) for key, value in model.named_parameters()}
    assert made == tensors_of({**config, "num_hidden_layers": 2})


@pytest.mark.usefixtures("no_hub")
def test_a_base_that_is_not_downloaded_is_told_by_its_published_shape():
    found = look(LLAMA, CONTEXT)
    assert found.shape is not None and found.shape.parameters == PARAMETERS["meta-llama/Meta-Llama-3-8B"]
    assert (found.folder, found.why) == (None, f"by the published shape of {LLAMA}, which is not on this machine")
    assert look(f"{LLAMA}@main", CONTEXT).shape == found.shape
    other = look("someone/Meta-Llama-3-8B", CONTEXT)
    assert other.shape is None and "hf download" in other.why, "the exact name counts"


@pytest.mark.usefixtures("no_hub")
def test_the_plan_tells_its_whole_memory():
    row = Row("a", "en", "train", "a", Chat.of("Why?", "Because of it. " * 40), Origin("s", "a", ()))
    rows = [RowAhead(replace(row, id=str(number)), row, 500.0) for number in range(8)]
    trainer = PeftTrainer(base=LLAMA, quantize="4bit", max_tokens=2048)
    told = forecast(trainer, AdapterStage(name="one", data="toy"), rows, CONTEXT)
    assert told.parameters == PARAMETERS["meta-llama/Meta-Llama-3-8B"] and told.trained
    gpu = told.rooms[-1]
    assert set(gpu.memory) == {"weights", "adapter", "optimiser", "activations", "program"}
    assert 5.0 < gpu.memory["weights"] / 2**30 < 5.6 < gpu.need / 2**30 < 20 and gpu.cards
    assert any(note.startswith("by the published shape of") for note in told.notes)
