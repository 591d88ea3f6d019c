"""What a stage begins with, and what the stage before must have left: tiny models, no training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.scoring import likelihoods
from tests.tiny_models import leave_stage, logits, tiny_base

from langmill.api import Context, FactoryError, MissingInput, RecipeError, TrainJob
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer, Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.weights.base_model import Base, find_base
from langmill_plugins.trainers.weights.local_weights import LocalWeights
from langmill_plugins.trainers.weights.standing import Standing, ended_with, standing_of, standing_weights
from langmill_plugins.trainers.weights.trained import place_of, read_trained

LORA = Lora(rank=4, alpha=8)
IDS = (1, 4093, 198, 1780, 314, 260, 9, 30)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context("train.two", 17, {}, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def base(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return find_base(str(tiny_base(tmp_path_factory.mktemp("base") / "tiny")), context)


@pytest.fixture(scope="module")
def made(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four stages: an adapter, one merged below another, all weights, an adapter on all weights."""
    run = tmp_path_factory.mktemp("run")
    one = leave_stage(run, "one", Standing(base), LORA, 1)
    leave_stage(run, "two", ended_with(read_trained(one, base), base), LORA, 2)
    full = leave_stage(run, "full", ended_with(read_trained(one, base), base), None, 3)
    leave_stage(run, "onfull", ended_with(read_trained(full, base), base), LORA, 4)
    return run


def place(run: Path, name: str) -> Path:
    """Where a stage of ``made`` left its weights."""
    return place_of(run / "train" / name, None if name == "full" else LORA)


def job(context: Context, start: Path | None, handover: str = "continue") -> TrainJob:
    stage = AdapterStage(name="next", data="toy", start="before" if start else "base", handover=handover)  # type: ignore[arg-type]
    return TrainJob(stage, start, lambda split: iter(()), Path("nowhere"), context, lambda event: None)


def opened(base: Base, context: Context, folder: Path | None, **options: Any) -> Any:
    """The model that answers."""
    llm = PeftTrainer(base=str(base.folder), **options).open(folder, context)
    assert isinstance(llm, LocalWeights)
    return llm.loaded()[1]


@pytest.mark.parametrize(
    ("start", "handover", "lora", "expected"),
    [
        (None, "continue", LORA, (None, [], None)),
        (None, "continue", None, (None, [], None)),
        ("one", "continue", LORA, (None, [], "one/adapter")),
        ("one", "merge", LORA, (None, ["one/adapter"], None)),
        ("one", "new", LORA, (None, [], None)),
        ("one", "continue", None, (None, ["one/adapter"], None)),
        ("one", "merge", None, (None, ["one/adapter"], None)),
        ("two", "continue", LORA, (None, ["two/adapter/merged/0"], "two/adapter")),
        ("two", "merge", Lora(rank=2), (None, ["two/adapter/merged/0", "two/adapter"], None)),
        ("full", "merge", LORA, ("full/model", [], None)),
        ("full", "new", LORA, (None, [], None)),
        ("full", "continue", None, ("full/model", [], None)),
        ("onfull", "continue", LORA, ("full/model", [], "onfull/adapter")),
        ("onfull", "merge", LORA, ("full/model", ["onfull/adapter"], None)),
    ],
)
def test_what_a_stage_begins_with(
    start: str | None,
    handover: str,
    lora: Lora | None,
    expected: tuple[str | None, list[str], str | None],
    made: Path,
    base: Base,
    context: Context,
) -> None:
    found = standing_of(job(context, start and place(made, start), handover), lora, base)  # type: ignore[arg-type]
    root = made / "train"
    on, merged, goes_on = expected
    assert found == Standing(
        base, root / on if on else None, tuple(root / one for one in merged), root / goes_on if goes_on else None
    )


@pytest.mark.parametrize(
    ("start", "handover", "lora", "words"),
    [
        ("full", "continue", LORA, "trained all weights, so there is no adapter to go on with: handover: merge"),
        ("one", "new", None, "would have it forget stage 'before': say start: base"),
        ("one", "continue", Lora(rank=8, alpha=8), "rank: 8.*has rank: 4.*handover: merge"),
        ("one", "continue", Lora(rank=4, alpha=16), "alpha: 16"),
        ("one", "continue", Lora(rank=4, alpha=8, layers=("q_proj",)), "layers"),
    ],
)
def test_hand_overs_that_can_not_be(
    start: str, handover: str, lora: Lora | None, words: str, made: Path, base: Base, context: Context
) -> None:
    with pytest.raises(RecipeError, match=words):
        standing_of(job(context, place(made, start), handover), lora, base)


def test_dropout_is_no_part_of_an_adapters_shape(made: Path, base: Base, context: Context) -> None:
    other = LORA.model_copy(update={"dropout": 0.1})
    assert standing_of(job(context, place(made, "one")), other, base).goes_on


def test_what_stands_on_what_is_what_answers(made: Path, base: Base, context: Context) -> None:
    """Logits of each stage as opened, beside those of the same weights added up by hand in float32."""
    from safetensors.torch import load_file

    def moved(model: Any, *adapters: str) -> Any:
        for name in adapters:
            state = load_file(place(made, name) / "adapter_model.safetensors")
            for key in (key for key in state if "lora_A" in key):
                part = model.get_submodule(key.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
                part.weight.data += (state[key.replace("lora_A", "lora_B")] @ state[key]) * (8 / 4)
        return model

    plain = logits(opened(base, context, None), IDS)
    for name, expected in {
        "one": moved(opened(base, context, None), "one"),
        "two": moved(opened(base, context, None), "one", "two"),
        "onfull": moved(opened(base, context, place(made, "full")), "onfull"),
    }.items():
        found = logits(opened(base, context, place(made, name)), IDS)
        assert float((found - logits(expected, IDS)).abs().max()) < 1e-4, name
        assert float((found - plain).abs().max()) > 0.1, name


def test_a_run_can_be_moved(made: Path, base: Base, context: Context, tmp_path: Path) -> None:
    before = logits(opened(base, context, place(made, "onfull")), IDS)
    shutil.copytree(made, tmp_path / "elsewhere")
    after = logits(opened(base, context, place(tmp_path / "elsewhere", "onfull")), IDS)
    assert float((before - after).abs().max()) == 0.0
    for path in made.rglob("*"):
        if path.suffix in (".json", ".jinja"):
            assert str(made) not in path.read_text(), path
    copied = sum(path.stat().st_size for path in place(made, "onfull").rglob("*.safetensors"))
    assert copied < 0.2 * sum(path.stat().st_size for path in place(made, "full").rglob("*.safetensors"))


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)


def _alter(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"abc")


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("one", lambda stage: _cut(stage / "one/adapter/adapter_model.safetensors"), "missing or cut short"),
        ("one", lambda stage: (stage / "one/adapter/adapter_config.json").unlink(), "adapter_config.json is missing"),
        (
            "one",
            lambda stage: (stage / "one/adapter/base.json").write_text("{"),
            "base.json is missing, or was not written",
        ),
        ("one", lambda stage: (stage / "one/adapter/base.json").write_text("[]"), "base.json"),
        ("two", lambda stage: _cut(stage / "two/adapter/merged/0/adapter_model.safetensors"), "merged/0/adapter_model"),
        ("full", lambda stage: _cut(stage / "full/model/model.safetensors"), "model.safetensors: missing or cut short"),
        ("onfull", lambda stage: _cut(stage / "full/model/model.safetensors"), "missing or cut short"),
        ("onfull", lambda stage: _alter(stage / "full/model/model.safetensors"), "were trained anew since"),
        ("onfull", lambda stage: shutil.rmtree(stage / "full"), "copy the run's folder as a whole"),
    ],
)
def test_a_stage_that_is_not_whole(
    name: str, damage: Callable[[Path], Any], words: str, made: Path, base: Base, context: Context, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made, run)
    damage(run / "train")
    with pytest.raises(MissingInput, match=words):
        standing_of(job(context, place(run, name)), LORA, base)
    with pytest.raises(MissingInput, match=words):
        PeftTrainer(base=str(base.folder)).open(place(run, name), context)


def test_another_base(made: Path, base: Base, context: Context, tmp_path: Path) -> None:
    shutil.copytree(place(made, "one"), tmp_path / "one")
    facts = tmp_path / "one" / "base.json"
    facts.write_text(facts.read_text().replace(base.identity, "sha256:0"))
    with pytest.raises(RecipeError, match=r"was trained on .*tiny.* but train.base is"):
        read_trained(tmp_path / "one", base)


def test_merged_weights_go_when_they_are_not_needed(made: Path, base: Base, tmp_path: Path) -> None:
    standing = ended_with(read_trained(place(made, "one"), base), base)
    with pytest.raises(KeyError), standing_weights(standing, tmp_path / "stage") as weights:
        assert weights.parent == tmp_path / "stage"
        assert (weights.name[0], weights.suffix) == (".", ".tmp")  # what a run sweeps away after a kill
        assert {"model.safetensors", "tokenizer.json"} <= {path.name for path in weights.iterdir()}
        raise KeyError
    assert list((tmp_path / "stage").iterdir()) == []


def test_no_room_for_merged_weights(made: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedModel

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    standing = ended_with(read_trained(place(made, "one"), base), base)
    with pytest.raises(FactoryError, match=r"No space left on device.*four bytes a parameter"):
        standing_weights(standing, tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_it_is_held_as_it_was_trained(base: Base, context: Context, made: Path, tmp_path: Path) -> None:
    """Four bits on merged weights; the trainer's own setting, and another adapter's options, change nothing."""
    standing = ended_with(read_trained(place(made, "one"), base), base)
    four = leave_stage(
        tmp_path, "four", standing, Lora(rank=2, alpha=4, layers=("q_proj", "down_proj")), 5, four_bit=True
    )
    model = opened(base, context, four, quantize="none", lora=Lora(rank=64))
    kinds = {type(part).__name__ for part in model.modules()}
    assert "Linear4bit" in kinds
    assert model.peft_config["default"].r == 2
    assert list((tmp_path / "train" / "four").iterdir()) == [four]
    plain = opened(base, context, place(made, "one"), quantize="4bit")
    assert "Linear4bit" not in {type(part).__name__ for part in plain.modules()}
    far = float((logits(model, IDS) - logits(plain, IDS)).abs().max())
    assert 0 < far < 8


def test_full_weights_answer_and_score(made: Path, base: Base, context: Context) -> None:
    import asyncio

    from langmill.api import Message

    trainer: AdapterTrainer = PeftTrainer(base=str(base.folder))
    llm = trainer.open(place(made, "full"), context).model_copy(update={"max_tokens": 4})
    assert isinstance(llm, LocalWeights)
    assert llm.model.endswith("+full")
    answer = asyncio.run(llm.answer([Message("user", "What stores bile?")], seed=1))
    assert 0 < answer.answer_tokens <= 4
    scored = likelihoods(llm, [("What stores bile?", "The gallbladder."), ("What stores bile?", "The")])
    assert scored[0].log_probability < scored[1].log_probability < 0
    config = json.loads((place(made, "full") / "config.json").read_text())
    assert config["use_cache"] is True
