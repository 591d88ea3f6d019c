"""Stages of at most four steps of short rows, float32, on the CPU: of the real small model, or of a tiny one where that shows as much."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.scoring import likelihoods
from tests.tiny_models import tiny_base
from tests.training import BASE, FACTS, STAGE, Desk, desk_in, furthest, result, weights

from langmill.api import (
    FactoryError,
    Message,
    MissingInput,
    RecipeError,
    whole_folder,
)
from langmill_plugins.trainers.auto import AutoTrainer
from langmill_plugins.trainers.options import AdapterStage, Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.unsloth import UnslothTrainer
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer
from langmill_plugins.trainers.weights.checkpoints import last_whole
from langmill_plugins.trainers.weights.local_weights import LocalWeights


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk_in(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def trainer() -> PeftTrainer:
    # With dropout, so that an interrupted run must also meet the same chance again.
    return PeftTrainer(base=BASE, max_tokens=64, lora=Lora(rank=4, alpha=8, dropout=0.1))


@pytest.fixture(scope="module")
def tiny(trainer: PeftTrainer, tmp_path_factory: pytest.TempPathFactory) -> PeftTrainer:
    """The same on a base of random numbers."""
    return trainer.model_copy(update={"base": str(tiny_base(tmp_path_factory.mktemp("base") / "tiny"))})


@pytest.fixture(scope="module")
def first(desk: Desk, trainer: PeftTrainer) -> Path:
    """The adapter of a stage that was never interrupted."""
    return trainer.train(desk.job("one"))


def test_losses_fall_and_everything_is_told(first: Path, desk: Desk) -> None:
    facts = result(first)
    assert facts["steps"] == 4
    assert facts["dev_loss"]["last"] < facts["dev_loss"]["first"] - 0.05
    assert facts["train_loss"]["last"] < facts["train_loss"]["first"]
    assert facts["rows"] == {"train": 6, "dev": 3}
    assert facts["left_out"] == {"train": {}, "dev": {}}
    assert facts["base"]["demonstration"] is True
    assert facts["held_in"] == "float32"
    log = [json.loads(line) for line in (first.parent / "train_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [0, 1, 2, 3, 4, 4]
    assert sum(line.get("tokens", 0) for line in log) == facts["tokens"] > 4 * 2 * 20
    steps = [event for event in desk.told if event["event"] == "step"][:4]
    assert [(event["step"], event["of"]) for event in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(event["tokens_per_s"] > 0 for event in steps)


def test_what_is_left_is_safe_and_names_no_machine(first: Path, desk: Desk) -> None:
    left = [path.name for path in first.parent.rglob("*") if path.is_file()]
    assert {"adapter_model.safetensors", "adapter_config.json", "base.json", "train_log.jsonl", "result.json"} <= set(
        left
    )
    assert not [name for name in left if name.endswith((".pt", ".pth", ".bin", ".pkl", ".tmp"))]
    assert json.loads((first / "adapter_config.json").read_text())["base_model_name_or_path"] == BASE
    for path in first.rglob("*.json"):
        assert str(desk.root) not in path.read_text()


def test_a_finished_stage_is_not_trained_again(first: Path, trainer: PeftTrainer, desk: Desk) -> None:
    told: list[Mapping[str, Any]] = []
    before = (first / "adapter_model.safetensors").stat().st_mtime_ns
    assert trainer.train(desk.job("one", report=told.append)) == first
    assert told == []
    assert (first / "adapter_model.safetensors").stat().st_mtime_ns == before


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_killed_stage_ends_with_the_same_weights(tiny: PeftTrainer, desk: Desk) -> None:
    """Killed in step 3, after the checkpoint of step 2; two broken newer checkpoints must not be taken for whole."""

    def until_three(event: Mapping[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            raise Killed

    whole = tiny.train(desk.job("whole"))
    job = desk.job("killed", report=until_three)
    with pytest.raises(Killed):
        tiny.train(job)
    kept = job.folder / "checkpoints"
    assert [path.name for path in kept.iterdir()] == ["step-2"]
    assert {path.suffix for path in kept.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    assert not (job.folder / "adapter").exists()
    shutil.copytree(kept / "step-2", kept / "step-3")
    with (kept / "step-3" / "optimiser.safetensors").open("r+b") as file:
        file.truncate(1000)  # what a copy to another machine that broke off leaves
    shutil.copytree(kept / "step-2", kept / ".step-4.1.tmp")  # what a kill during writing leaves
    with (job.folder / "train_log.jsonl").open("a") as log:
        log.write('{"step": 3, "lo')

    told: list[Mapping[str, Any]] = []
    adapter = tiny.train(replace(job, report=told.append))
    assert [event["step"] for event in told if event["event"] == "step"] == [3, 4]
    assert any("continues from step 2" in str(event.get("text")) for event in told)
    assert furthest(whole, adapter) == 0.0
    mine, other = result(adapter), result(whole)
    assert mine["dev_loss"] == other["dev_loss"]
    assert mine["tokens"] == other["tokens"]
    assert not kept.exists()


def test_a_checkpoint_of_other_options_is_not_continued(desk: Desk, trainer: PeftTrainer, tmp_path: Path) -> None:
    from langmill_plugins.trainers.weights import checkpoints

    def fill(folder: Path) -> None:
        (folder / "a.json").write_text("{}")

    for step in (2, 4, 6):
        checkpoints.write(tmp_path, step, "one" if step < 6 else "two", fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-4", "step-6"]
    assert last_whole(tmp_path, "one") == tmp_path / "step-4"
    assert last_whole(tmp_path, "three") is None


@pytest.fixture(scope="module")
def handed(first: Path, trainer: PeftTrainer, desk: Desk) -> dict[str, Path]:
    """A second stage of one step with next to no learning rate, so that it shows what it began with."""
    made = {}
    for handover in ("continue", "merge", "new"):
        stage = AdapterStage(
            name="two", data="toy", start="one", handover=handover, max_steps=1, batch=1, learning_rate=1e-12, eval_rows=3
        )  # fmt: skip
        made[handover] = trainer.train(desk.job(handover, stage, first))
    return made


def test_handovers(first: Path, handed: dict[str, Path]) -> None:
    assert furthest(first, handed["continue"]) < 1e-9
    fresh = [numbers for name, numbers in weights(handed["new"]).items() if "lora_B" in name]
    assert fresh
    assert all(float(numbers.abs().max()) < 1e-9 for numbers in fresh)  # a new adapter changes nothing yet
    assert [path.name for path in (handed["merge"] / "merged").iterdir()] == ["0"]
    assert furthest(first, handed["merge"] / "merged" / "0") == 0.0
    assert not (handed["continue"] / "merged").exists()
    begun = {name: result(adapter)["dev_loss"]["first"] for name, adapter in handed.items()}
    ended = result(first)["dev_loss"]
    assert begun["continue"] == pytest.approx(ended["last"], abs=1e-6)
    assert begun["merge"] == pytest.approx(ended["last"], abs=1e-4)
    assert begun["new"] == pytest.approx(ended["first"], abs=1e-6)


PAIRS = [
    ("Which gland makes insulin?", "The pancreas."),
    ("Which gland makes insulin?", "P"),
    ("Which gland makes insulin, and from which of its cells does it come?", "The beta cells of the islets"),
    ("膵臓のどの細胞がインスリンを分泌しますか。", "β細胞"),
    ("Which gland makes insulin?", "Thyroid"),
    ("", "Yes"),
]


def by_hand(llm: LocalWeights, prompt: str, words: str) -> tuple[float, int]:
    """One pair in one pass, nothing shared, nothing padded."""
    import torch

    tokenizer, model = llm.loaded()
    head = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    before = tokenizer(head, add_special_tokens=False)["input_ids"]
    whole = tokenizer(head + words, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        chances = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
    places = range(len(before), len(whole))
    return sum(float(chances[at - 1, whole[at]]) for at in places), len(whole) - len(before)


@pytest.fixture(scope="module")
def learnt(trainer: PeftTrainer, first: Path, desk: Desk) -> LocalWeights:
    """The first stage, opened."""
    llm = trainer.open(first, desk.context)
    assert isinstance(llm, LocalWeights)
    return llm


def test_scores_are_those_of_one_pass_a_pair(learnt: LocalWeights) -> None:
    for (prompt, words), found in zip(PAIRS, likelihoods(learnt, PAIRS), strict=True):
        expected, tokens = by_hand(learnt, prompt, words)
        assert found.log_probability == pytest.approx(expected, abs=2e-3)
        assert found.tokens == tokens
    assert learnt.languages == {"en"}
    assert learnt.demonstration


def test_an_opened_stage_is_what_was_trained(
    trainer: PeftTrainer, learnt: LocalWeights, handed: dict[str, Path], desk: Desk
) -> None:
    """The merged stage stands on base and first adapter; with an adapter that changes nothing it scores like the first."""
    pairs = [(question, answer) for question, answer in FACTS]
    others = {"base": None, "merge": handed["merge"], "new": handed["new"]}
    opened = {"first": lambda: learnt, **{name: partial(trainer.open, at, desk.context) for name, at in others.items()}}
    scores = {name: [one.log_probability for one in likelihoods(llm(), pairs)] for name, llm in opened.items()}
    assert scores["merge"] == pytest.approx(scores["first"], abs=1e-3)
    assert scores["new"] == pytest.approx(scores["base"], abs=1e-3)
    assert sum(scores["first"]) > sum(scores["base"]) + 1


def test_it_answers(learnt: LocalWeights) -> None:
    llm = learnt.model_copy(update={"max_tokens": 12})
    answers = [asyncio.run(llm.answer([Message("user", "What stores bile?")], seed=seed)) for seed in (1, 2)]
    assert answers[0] == answers[1]
    assert answers[0].text
    assert 0 < answers[0].answer_tokens <= 12
    assert answers[0].prompt_tokens > 20
    assert "<|" not in answers[0].text


def test_four_bits_on_a_cpu(tiny: PeftTrainer, desk: Desk) -> None:
    lora = Lora(rank=2, alpha=4, layers=("q_proj", "v_proj"))
    trainer = tiny.model_copy(update={"quantize": "4bit", "lora": lora})
    stage = STAGE.model_copy(update={"max_steps": 2})
    adapter = trainer.train(desk.job("four", stage))
    facts = result(adapter)
    assert facts["held_in"] == "4bit"
    assert facts["trained_parameters"] == 2 * 2 * (64 + 64 + 64 + 32)
    assert facts["dev_loss"]["last"] < facts["dev_loss"]["first"]
    assert {str(numbers.dtype) for numbers in weights(adapter).values()} == {"torch.float32"}
    scored = likelihoods(trainer.open(adapter, desk.context), [("What stores bile?", "The gallbladder.")])
    assert -100 < scored[0].log_probability < 0


def test_auto_says_what_it_takes_and_why(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Mapping[str, Any]] = []
    with pytest.raises(MissingInput):
        AutoTrainer(base=BASE, max_tokens=16).train(desk.job("auto", report=told.append))
    assert told == [{"event": "note", "text": "train.use: auto takes peft: there is no GPU"}]


# --- what can be wrong, said before a weight is loaded ---


def test_no_rows_that_fit(desk: Desk) -> None:
    with pytest.raises(MissingInput, match=r"6 too_long; train\.max_tokens is 16"):
        PeftTrainer(base=BASE, max_tokens=16).train(desk.job("short"))
    with pytest.raises(MissingInput, match="holds no train row"):
        PeftTrainer(base=BASE).train(desk.job("none", source=lambda split: iter(())))
    assert not (desk.root / "short").exists()


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("local/smollm2-135m-instruc", "Did you mean 'smollm2-135m-instruct'"),
        ("./nowhere", "there is no folder"),
        ("nobody/no-such-model", "hf download nobody/no-such-model"),
        ("nobody/no-such-model@abc", "--revision abc"),
        ("pickled", r"lacks \*\.safetensors, tokenizer"),
    ],
)
def test_a_base_that_is_not_there(base: str, words: str, desk: Desk) -> None:
    (desk.root / "pickled").mkdir(exist_ok=True)
    (desk.root / "pickled" / "config.json").write_text("{}")
    (desk.root / "pickled" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(MissingInput, match=words):
        PeftTrainer(base=base).train(desk.job("lost"))


def test_an_adapter_of_another_base(first: Path, trainer: PeftTrainer, desk: Desk) -> None:
    other = desk.root / "other"
    shutil.copytree(first, other, dirs_exist_ok=True)
    facts = json.loads((other / "base.json").read_text())
    (other / "base.json").write_text(json.dumps({**facts, "base": "org/other", "identity": "sha256:0"}))
    with pytest.raises(RecipeError, match="trained on org/other"):
        trainer.open(other, desk.context)
    with pytest.raises(RecipeError, match="trained on org/other"):
        trainer.train(desk.job("foreign", start=other))
    with pytest.raises(MissingInput, match="is no whole stage"):
        trainer.open(desk.root / "nothing", desk.context)


def test_unsloth_without_a_gpu(desk: Desk) -> None:
    with pytest.raises(MissingInput, match="needs a GPU"):
        UnslothTrainer(base=BASE).train(desk.job("unsloth"))


def test_a_loss_that_is_no_number(desk: Desk, tiny: PeftTrainer) -> None:
    stage = STAGE.model_copy(update={"learning_rate": 1e30, "schedule": "constant", "warmup": 0.0})
    with pytest.raises(FactoryError, match="Lower its learning_rate"):
        tiny.train(desk.job("wild", stage))
    assert not (desk.root / "wild" / "adapter").exists()


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError), whole_folder(tmp_path / "made") as work:
        (work / "half").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    for text in ("one", "two"):
        with whole_folder(tmp_path / "made") as work:
            (work / "file").write_text(text)
    assert (tmp_path / "made" / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    with pytest.raises(FactoryError, match="No space left"), whole_folder(tmp_path / "made"):
        raise OSError(28, "No space left on device")
    assert (tmp_path / "made" / "file").read_text() == "two"


def test_the_base_becomes_a_folder_of_safetensors(desk: Desk) -> None:
    base = find_base(BASE, desk.context)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in base.folder.iterdir()}
    tokenizer = load_tokenizer(base.folder)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    same = find_base(str(base.folder), desk.context)
    assert same.identity.startswith("samples:")
    assert same.identity == find_base(str(base.folder), desk.context).identity
