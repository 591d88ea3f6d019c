"""The memory that is foretold, held against torch's own count, autograd's own memory and real training."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Chat, Context, Origin, Row, RowAhead, packs_in
from langmill_plugins.trainers.forecast.memory import Setting, _kept, least, memory, weights
from langmill_plugins.trainers.forecast.shape import Linear, Shape, look, shape_of
from langmill_plugins.trainers.forecast.stage import forecast
from langmill_plugins.trainers.options import AdapterStage, Lora
from langmill_plugins.trainers.peft import PeftTrainer

SMOLLM2 = "local/smollm2-135m-instruct"
CONTEXT = Context("train", 17, {pack.code: pack for pack in packs_in("langmill_languages")}, Path())
STAGE = AdapterStage(name="one", data="toy")
SIZES = {
    "hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 24,
    "vocab_size": 500,
}  # fmt: skip
CPU = Setting(False, False, Lora(), 1, 64, False, 0.5)
GPU = replace(CPU, gpu=True)


def tiny(kind: str, layers: int = 2) -> Any:
    """A small random model of an architecture."""
    import transformers

    names = {"llama": ("LlamaConfig", "LlamaForCausalLM"), "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM"),
             "qwen3": ("Qwen3Config", "Qwen3ForCausalLM")}[kind]  # fmt: skip
    config = getattr(transformers, names[0])(**SIZES, num_hidden_layers=layers)
    return getattr(transformers, names[1])(config)


def adapted(model: Any, lora: Lora) -> Any:
    from peft import LoraConfig, get_peft_model

    layers = lora.layers if isinstance(lora.layers, str) else list(lora.layers)
    return get_peft_model(model, LoraConfig(r=lora.rank, target_modules=layers, task_type="CAUSAL_LM"))


def trained_in(model: Any) -> int:
    return sum(part.numel() for part in model.parameters() if part.requires_grad)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen3"])
def test_parameters_and_adapters_are_counted_as_torch_counts_them(kind, tmp_path):
    model = tiny(kind)
    model.save_pretrained(tmp_path)
    shape = shape_of(tmp_path)
    assert shape.parameters == trained_in(model)
    for lora in (Lora(rank=8), Lora(rank=4, layers=("q_proj", "v_proj"))):
        assert shape.adapter(lora.rank, lora.layers) == trained_in(adapted(tiny(kind), lora))


def test_a_head_that_is_tied_and_written_down_all_the_same_is_counted_once(tmp_path):
    from safetensors.torch import save_file

    model = tiny("llama")
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path)
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    assert "lm_head.weight" in state
    save_file(state, tmp_path / "model.safetensors")
    assert shape_of(tmp_path).parameters == trained_in(model)


# --- memory ---


def kept_by_autograd(kind: str, how: Setting) -> float:
    """Bytes that one layer keeps of one token for the way back, parameters and copies of them not counted."""
    import torch

    def kept(layers: int) -> float:
        model = tiny(kind, layers).to(torch.bfloat16 if how.gpu and how.lora else torch.float32)
        if how.lora:
            model = adapted(model, how.lora)
        model.train()
        own = {part.untyped_storage().data_ptr() for part in model.parameters()}
        sizes = {part.numel() for part in model.parameters()}
        seen: dict[int, int] = {}
        alive = []

        def note(tensor: Any) -> Any:
            place = tensor.untyped_storage().data_ptr()
            if place not in own and tensor.numel() not in sizes and place not in seen:
                seen[place] = tensor.untyped_storage().nbytes()
                alive.append(tensor)  # or its place is used again
            return tensor

        ids = torch.randint(5, 400, (how.batch, how.line))
        half = torch.arange(how.line) % (how.line // 2)
        more = {"position_ids": half[None]} if how.packed else {"attention_mask": torch.ones_like(ids)}
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=how.gpu),
        ):
            model(input_ids=ids, use_cache=False, logits_to_keep=torch.tensor([1]), **more)
        return sum(seen.values()) / (how.batch * how.line)

    return (kept(3) - kept(1)) / 2


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen3"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("how", [CPU, GPU, replace(GPU, lora=None)], ids=["cpu", "gpu", "gpu all weights"])
def test_a_layer_keeps_what_autograd_says(kind, packed, how, tmp_path):
    tiny(kind).save_pretrained(tmp_path)
    how = replace(how, packed=packed, batch=1, line=90, lora=how.lora and Lora(rank=4))
    assert _kept(shape_of(tmp_path), how) == pytest.approx(kept_by_autograd(kind, how), rel=0.12)


def test_what_is_held_is_counted_by_the_byte():
    shape = look(SMOLLM2, CONTEXT).shape
    parts = memory(shape, CPU)
    assert parts["weights"] == 4 * shape.parameters
    assert parts["adapter"] == parts["optimiser"] == 8 * shape.adapter(16, "all-linear")
    assert memory(shape, replace(GPU, eight_bit_optimiser=True))["optimiser"] == 2 * shape.adapter(16, "all-linear")
    whole = memory(shape, replace(GPU, lora=None))
    assert whole["weights"] + whole["gradients"] + whole["optimiser"] == 16 * shape.parameters
    four = weights(shape, replace(GPU, four_bit=True))
    assert four == pytest.approx(shape.linear * 4.127 / 8 + (shape.parameters - shape.linear) * 2, rel=1e-4)
    assert least(shape, CPU) < sum(parts.values())


def test_a_nf4_layer_of_bitsandbytes_takes_as_much():
    import torch

    functional = pytest.importorskip("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(torch.randn(1024, 1024), quant_type="nf4", compress_statistics=True)
    parts = (packed, state.absmax, state.state2.absmax)
    bits = 8 * sum(part.numel() * part.element_size() for part in parts) / 2**20
    assert bits == pytest.approx(4.127, abs=0.001)


def test_a_seven_billion_base_in_four_bits_takes_about_what_its_authors_say():
    """QLoRA, section 1 and figure 6: 7B in 5 GB with short lines, 65B on one card of 48 GB."""

    def llama(hidden: int, inner: int, layers: int) -> Shape:
        one = [Linear(name, hidden, hidden) for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
        one += [
            Linear("gate_proj", hidden, inner),
            Linear("up_proj", hidden, inner),
            Linear("down_proj", inner, hidden),
        ]
        linears = tuple(one * layers)
        rest = 2 * 32000 * hidden + 2 * layers * hidden
        return Shape(
            sum(each.size for each in linears) + rest, linears, layers, 32000, hidden, inner, hidden, hidden,
            hidden // 128, 2 * hidden, True,
        )  # fmt: skip

    how = Setting(True, True, Lora(), 1, 512, False, 0.3)
    assert 4.5e9 < sum(memory(llama(4096, 11008, 32), how).values()) < 7e9
    assert 36e9 < sum(memory(llama(8192, 22016, 80), how).values()) < 48e9


TRAINED = """
import sys
from pathlib import Path
from langmill.api import Chat, Context, Origin, Row, TrainJob, packs_in
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.peft import PeftTrainer
batch, words = int(sys.argv[2]), int(sys.argv[3])
def rows(split):
    for number in range({"train": 2 * batch}.get(split, 0)):
        chat = Chat.of("go " * (words // 2), "yes " * (words // 2))
        yield Row(f"toy/{number}", "en", split, f"toy/{number}", chat, Origin("toy", str(number), ("CC0-1.0",)))
packs = {pack.code: pack for pack in packs_in("langmill_languages")}
stage = AdapterStage(name="one", data="toy", batch=batch)
job = TrainJob(stage, None, rows, Path(sys.argv[1]), Context("train", 17, packs, Path()), lambda event: None)
PeftTrainer(base="local/smollm2-135m-instruct").train(job)
# Not ru_maxrss: it keeps what the process that this one was forked from held.
print(next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_training_on_a_cpu_takes_what_was_foretold(tmp_path):
    batch, words = 4, 90
    command = [sys.executable, "-c", TRAINED, str(tmp_path / "one"), str(batch), str(words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    chat = Chat.of("go " * (words // 2), "yes " * (words // 2))
    rows = [
        Row(f"toy/{n}", "en", "train", f"toy/{n}", chat, Origin("toy", str(n), ("CC0-1.0",))) for n in range(2 * batch)
    ]
    room = forecast(
        PeftTrainer(base=SMOLLM2),
        STAGE.model_copy(update={"batch": batch}),
        [RowAhead(row, row) for row in rows],
        CONTEXT,
    ).rooms[0]
    assert room.need == pytest.approx(int(done.stdout.split()[-1]), rel=0.25)
