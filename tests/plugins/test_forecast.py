"""Rows, tokens, steps and devices foretold, held against what training makes of the same rows; and what is refused."""

from __future__ import annotations

import importlib
import json
import random
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Chat, Choice, Context, FactoryError, Message, Origin, Row, RowAhead, Text, packaged_model
from langmill_plugins.trainers.auto import AutoTrainer
from langmill_plugins.trainers.forecast import devices, fitting
from langmill_plugins.trainers.forecast.counting import counted, steps_of
from langmill_plugins.trainers.forecast.fitting import must_fit
from langmill_plugins.trainers.forecast.memory import Setting
from langmill_plugins.trainers.forecast.shape import look, shape_of, shape_of_gguf
from langmill_plugins.trainers.forecast.stage import advice, forecast, named_size, setting
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer, Lora
from langmill_plugins.trainers.order.drawing import draw
from langmill_plugins.trainers.order.steps import arranged
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.tokens.templates import with_template
from langmill_plugins.trainers.tokens.tokenising import Recording, tokenise
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer

sets = importlib.import_module("tests.public_sets")
PACKS = sets.PACKS
SMOLLM2 = "local/smollm2-135m-instruct"
CONTEXT = Context("train", 17, PACKS, Path())
STAGE = AdapterStage(name="one", data="toy")
CPU = Setting(False, False, Lora(), 1, 64, False, 0.5)
GPU = replace(CPU, gpu=True)


# --- shapes ---


def test_a_packaged_model_is_the_same_by_either_of_its_files():
    base = find_base(SMOLLM2, CONTEXT)
    by_folder = shape_of(base.folder)
    by_gguf = shape_of_gguf(packaged_model("smollm2-135m-instruct").path)
    assert sorted(by_gguf.linears) == sorted(by_folder.linears)
    assert replace(by_gguf, linears=()) == replace(by_folder, linears=())
    assert by_folder.parameters == 134_515_008


def test_what_can_not_be_read_is_told_and_stops_no_plan(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    for content in (
        b"",
        b"\0",
        struct.pack("<Q", 1 << 60),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"nope",
    ):
        weights.write_bytes(content)
        found = look(str(tmp_path), CONTEXT)
        assert found.shape is None and "train.base" in found.why


def test_weights_that_lie_there_twice_are_counted_once(tmp_path):
    """As publishers do it: shards with an index, beside them the same in their own form, an adapter, another run's shards."""

    def write(name: str, **shapes: list[int]) -> None:
        header = json.dumps({key: {"shape": shape} for key, shape in shapes.items()}).encode()
        (tmp_path / name).write_bytes(struct.pack("<Q", len(header)) + header)

    table, layer = {"model.embed_tokens.weight": [50, 8]}, {"model.layers.0.mlp.up_proj.weight": [16, 8]}
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}))
    write("model-00001-of-00002.safetensors", **table)
    write("model-00002-of-00002.safetensors", **layer)
    write("consolidated.safetensors", **{"tok_embeddings.weight": [50, 8], "layers.0.w3.weight": [16, 8]})
    write("adapter_model.safetensors", **{"layers.0.up_proj.lora_A.weight": [4, 8]})
    assert shape_of(tmp_path).parameters == 50 * 8 + 16 * 8
    write("model-00003-of-00003.safetensors", **{"model.layers.7.mlp.up_proj.weight": [16, 8]})
    files = {name: f"model-0000{at}-of-00002.safetensors" for at, part in ((1, table), (2, layer)) for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert shape_of(tmp_path).parameters == 50 * 8 + 16 * 8


# --- tokens ---


def row_of(number: int, body: Any, language: str = "en", source: str = "toy") -> Row:
    name = f"{source}/{language}/{number}"
    return Row(name, language, "train", name, body, Origin(source, str(number), ("CC0-1.0",)))


def toy() -> list[Row]:
    rows = [row_of(n, Chat.of(f"What is number {n}?", "It is " + "very " * (n % 9) + "so.")) for n in range(40)]
    rows += [row_of(n, Chat.of("这是什么？", "这是第" + "很" * (n % 7) + "个。"), "zh") for n in range(9)]
    turns = (
        Message("user", "Why?"),
        Message("assistant", "Because."),
        Message("user", "So?"),
        Message("assistant", "So."),
    )
    rows += [row_of(100 + n, Chat(turns), source="turns") for n in range(5)]
    options = ("the heart", "the liver", "the spleen")
    rows += [row_of(200 + n, Choice("Which organ pumps?", options, (0,), "It beats."), source="exam") for n in range(7)]
    rows += [row_of(300 + n, Text("The heart pumps blood. " * (5 + 20 * n)), source="web") for n in range(4)]
    return [*rows, row_of(400, Chat.of("long " * 300, "yes"))]


def truth(trainer: AdapterTrainer, stage: AdapterStage, rows: Sequence[Row], packed: bool) -> tuple[int, int, int, int]:
    """Examples, tokens and steps of the stage as it would really be trained, and rows left out as too long."""
    tokenizer, _ = with_template(load_tokenizer(find_base(trainer.base, CONTEXT).folder), trainer.chat_template)
    made = tokenise(rows, Recording(tokenizer, CONTEXT, trainer.max_tokens, stage, CONTEXT.seed_for))
    drawn = draw(made.examples, stage, CONTEXT.seed_for)
    lengths = made.examples.lengths
    steps = arranged(
        drawn.example, drawn.windows, lengths, batch=stage.batch, accumulate=stage.accumulate,
        most_steps=stage.max_steps, size=trainer.max_tokens if packed else None, seed=1,
    )  # fmt: skip
    long = sum(n for (reason, _), n in made.left_out.items() if reason == "too_long")
    return len(drawn.example), int(lengths[drawn.example].sum()), len(steps), long


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"epochs": 2.5, "too_long": "cut_prompt"},
        {"choices": {"answer": "both"}, "source_epochs": {"exam": 3}},
        {"choices": {"answer": "letters"}, "languages": {"temperature": 3, "epochs": {"zh": 2}}},
        {"languages": {"most": {"en": 12}}, "packing": True},
        {"packing": True, "batch": 2, "accumulate": 2},
        {"max_steps": 3, "accumulate": 2},
    ],
    ids=str,
)
def test_examples_tokens_and_steps_are_those_of_training(options):
    trainer, stage = PeftTrainer(base=SMOLLM2, max_tokens=200), AdapterStage(name="one", data="toy", **options)
    examples, tokens, steps, long = truth(trainer, stage, toy(), stage.packing is True)
    rows = [RowAhead(row, row) for row in toy()]
    what = counted(trainer, stage, rows, CONTEXT, find_base(SMOLLM2, CONTEXT).folder)
    assert what.by_tokenizer and what.rows == (66, 66) and what.left_out == (long, long)
    assert what.examples[0] == pytest.approx(examples, abs=2)
    assert what.tokens[0] <= tokens <= what.tokens[1]
    if stage.epochs == 1 and not stage.languages.most and stage.languages.temperature == 1:  # nothing is left to chance
        assert what.tokens[1] <= what.tokens[0] * 1.05
    low, high = steps_of(trainer, stage, what, stage.packing is True)
    assert low - 1 <= steps <= high + 1 and (low == high == 3 if stage.max_steps else True)


def test_other_templates_and_no_tokenizer_at_all():
    stage, rows = STAGE, [RowAhead(row, row) for row in toy() if row.id.split("/")[0] == "toy"]
    folder = find_base(SMOLLM2, CONTEXT).folder
    plain = PeftTrainer(base=SMOLLM2, chat_template="plain")
    _, tokens, _, _ = truth(plain, stage, [row.short for row in rows], False)
    assert counted(plain, stage, rows, CONTEXT, folder).tokens == pytest.approx((tokens, tokens), rel=0.1)
    own = PeftTrainer(base=SMOLLM2)
    _, tokens, _, _ = truth(own, stage, [row.short for row in rows], False)
    guessed = counted(own, stage, rows, CONTEXT, None)
    assert not guessed.by_tokenizer and guessed.tokens[0] < tokens and guessed.tokens[1] > tokens / 2


def test_rows_yet_to_be_made_count_by_their_two_forms_and_weights():
    short, long = row_of(1, Chat.of("Why?", "So.")), row_of(1, Chat.of("Why?", "So it is. " * 30))
    rows = [RowAhead(short, long, weight=10, share=0.7)]
    what = counted(PeftTrainer(base=SMOLLM2), STAGE, rows, CONTEXT, find_base(SMOLLM2, CONTEXT).folder)
    assert what.rows == (7, 10) and what.examples == (7, 10)
    assert what.tokens[1] > 3 * what.tokens[0]
    few = counted(PeftTrainer(base=SMOLLM2, max_tokens=64), STAGE, rows, CONTEXT, find_base(SMOLLM2, CONTEXT).folder)
    assert few.left_out == (0, 10)


def test_no_rows_are_no_mishap():
    found = forecast(AutoTrainer(base=SMOLLM2), STAGE, [], CONTEXT)
    assert found.rows == found.tokens == found.examples == (0, 0) and found.rooms[0].steps == (0, 0)


class TestRealRows:
    pytestmark = sets.NEEDS_DATA

    @pytest.mark.parametrize("name", ["medquad", "headqa", "russian"])
    def test_a_sample_stands_for_all(self, name):
        rows = [row for row in sets.load(name) if row.split == "train"][:3000]
        trainer = PeftTrainer(base=SMOLLM2, max_tokens=1024)
        _, tokens, _, long = truth(trainer, STAGE, rows, False)
        some = [RowAhead(row, row, len(rows) / 300) for row in random.Random(17).sample(rows, 300)]
        what = counted(trainer, STAGE, some, CONTEXT, find_base(SMOLLM2, CONTEXT).folder)
        assert what.tokens[0] <= tokens <= what.tokens[1] < 1.5 * what.tokens[0]
        assert what.left_out[0] == pytest.approx(long, abs=0.03 * len(rows))


def test_an_exam_item_that_is_too_long_is_left_out_whatever_is_cut():
    item = row_of(1, Choice("Which organ " + "really " * 300 + "pumps?", ("the heart", "the liver"), (0,)))
    stage = AdapterStage(name="one", data="toy", too_long="cut_prompt")
    trainer, folder = PeftTrainer(base=SMOLLM2, max_tokens=128), find_base(SMOLLM2, CONTEXT).folder
    what = counted(trainer, stage, [RowAhead(item, item)], CONTEXT, folder)
    assert (what.examples, what.left_out) == ((0, 0), (1, 1))
    assert truth(trainer, stage, [item, *toy()[:1]], False)[::3] == (1, 1)


# --- the forecast of a stage ---


def foretold(trainer: AdapterTrainer, stage: AdapterStage = STAGE) -> Any:
    return forecast(trainer, stage, [RowAhead(row, row) for row in toy()], CONTEXT)


def test_a_machine_without_a_gpu_is_told_of_itself_and_of_cards(monkeypatch):
    monkeypatch.setattr("langmill_plugins.trainers.forecast.stage.here", lambda: devices.Device("CPU", False, 24 << 30))
    mine, card = foretold(AutoTrainer(base=SMOLLM2)).rooms
    assert (mine.held, card.held) == ("float32", "4bit") and mine.total == 24 << 30
    assert card.cards == devices.CARD_SIZES and card.timed_on == "RTX 3060" and not mine.advice
    assert card.seconds[0] < card.seconds[1] < mine.seconds[1] and mine.seconds[0] > 0
    whole = foretold(AutoTrainer(base=SMOLLM2, lora="none"))
    assert whole.trained == whole.parameters and whole.rooms[1].held == "float32"


def test_a_gpu_of_this_machine_is_the_only_device(monkeypatch):
    monkeypatch.setattr(
        "langmill_plugins.trainers.forecast.stage.here", lambda: devices.Device("Tesla Z9", True, 8 << 30)
    )
    (room,) = foretold(AutoTrainer(base=SMOLLM2)).rooms
    assert room.total == 8 << 30 and room.seconds is None  # a card that nobody knows


def test_what_to_change_is_told_with_what_it_takes_then(monkeypatch):
    monkeypatch.setattr("langmill_plugins.trainers.forecast.stage.here", lambda: devices.Device("CPU", False, 2 << 30))
    room = foretold(AutoTrainer(base=SMOLLM2, lora="none"), STAGE.model_copy(update={"batch": 16})).rooms[0]
    assert room.need > 2 << 30
    assert [line.split(":")[0] for line in room.advice[:2]] == ["lora", "batch"]
    assert "accumulate: 16" in room.advice[1] and room.advice[-1].endswith("GB")


def test_packed_steps_take_as_many_lines_as_their_examples_fill():
    trainer, stage = (
        AutoTrainer(base=SMOLLM2, max_tokens=1024),
        AdapterStage(name="one", data="toy", packing=True, batch=16),
    )
    few = setting(trainer, stage, True, True, 200, 20.0, 0.5)
    assert (few.batch, few.line) == (3, 1024), "16 examples of 20 tokens are a line or two"
    assert setting(trainer, stage, True, True, 1024, 1000.0, 0.5).batch == 16
    apart = setting(trainer, stage, True, False, 200, 20.0, 0.5)
    assert (apart.batch, apart.line) == (16, 200)


def test_advice_ends_where_it_fits_and_each_change_takes_less():
    shape = look(SMOLLM2, CONTEXT).shape
    how = replace(GPU, lora=None, batch=32, line=4096)
    needs = [need for _, need in advice(shape, how, 1, 1.5e9)]
    assert needs == sorted(needs, reverse=True) and needs[-1] <= 1.5e9 < needs[-2]
    assert list(advice(shape, how, 1, 1.0))[-1][1] > 1.0  # nothing helps


def test_a_base_that_is_not_here_is_said_to_be_so_and_rows_are_told():
    found = foretold(AutoTrainer(base="someone/Such-Model-8B-Instruct"))
    assert found.parameters is None and found.tokens[1] > found.tokens[0] > 0
    assert any("downloaded" in note for note in found.notes) and any("8 billion" in note for note in found.notes)
    assert list(found.rooms[0].memory) == ["weights"] and found.rooms[0].steps[0] > 0
    sizes = {room.held: room.memory["weights"] for room in found.rooms}
    assert sizes["4bit"] == pytest.approx(5.7e9, rel=0.02), "Llama 3 8B, of which 1.05e9 parameters stay in 16 bits"
    unknown = foretold(AutoTrainer(base="someone/no-size"))
    assert not unknown.rooms[0].memory


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 8e9), ("Qwen/Qwen3-0.6B", 6e8), ("google/gemma-3-270m", 2.7e8),
        ("mistralai/Mistral-7B-v0.3", 7e9), ("someone/phi", None), ("./models/b2b", None),
    ],
)  # fmt: skip
def test_a_name_may_tell_the_size(name, size):
    assert named_size(name) == (pytest.approx(size) if size else None)


def test_nothing_heavy_is_imported_for_a_forecast():
    program = (
        "import sys; from pathlib import Path; from langmill.api import Context, Chat, Origin, Row, RowAhead\n"
        "from langmill_plugins.trainers.auto import AutoTrainer\n"
        "from langmill_plugins.trainers.options import AdapterStage\n"
        "row = Row('a/1', 'en', 'train', 'a', Chat.of('q', 'a'), Origin('a', '1', ('x',)))\n"
        f"found = AutoTrainer(base={SMOLLM2!r}).forecast(\n"
        "    AdapterStage(name='s', data='d'), [RowAhead(row, row)], Context('train', 1, {}, Path()))\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'huggingface_hub', 'gguf') if name in sys.modules])"
    )
    find_base(SMOLLM2, CONTEXT)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# --- refusals ---


def fits(monkeypatch: pytest.MonkeyPatch, room: float, **options: Any) -> list[str]:
    monkeypatch.setattr(fitting, "ram", lambda: int(room))
    trainer, folder = PeftTrainer(base=SMOLLM2, **options), find_base(SMOLLM2, CONTEXT).folder
    how = Recording(load_tokenizer(folder), CONTEXT, 200, STAGE, CONTEXT.seed_for)
    examples = tokenise([row for row in toy() if row.id.startswith("toy")], how).examples
    return list(must_fit(trainer, STAGE, folder, examples, False))


def test_only_what_no_batch_can_save_is_refused(monkeypatch):
    assert fits(monkeypatch, 24e9) == []
    (note,) = fits(monkeypatch, 1.55e9)
    assert "GB of the 1.4 GB" in note
    with pytest.raises(FactoryError, match=r"'one' can not fit: .* in float32 .* lora: \{rank: 16\} \(1\.") as refused:
        fits(monkeypatch, 2e9, lora="none")
    assert refused.value.exit_code == 1


def test_a_base_whose_files_can_not_be_read_ahead_is_left_to_training(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({}))
    folder = find_base(SMOLLM2, CONTEXT).folder
    examples = tokenise(toy()[:1], Recording(load_tokenizer(folder), CONTEXT, 200, STAGE, CONTEXT.seed_for)).examples
    assert list(must_fit(PeftTrainer(base=SMOLLM2), STAGE, tmp_path, examples, False)) == []


def test_the_first_gpu_is_read_from_the_drivers_tool(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cu130")
    found = devices._gpu()
    assert found == devices.Device("NVIDIA GeForce RTX 4090", True, 24564 << 20)
    assert devices.rate(found.name, True) == 165e12
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cpu")
    assert devices._gpu() is None  # torch would not see it
    tool.write_text("#!/bin/sh\nexit 9\n")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cu130")
    assert devices._gpu() is None
