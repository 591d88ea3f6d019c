"""Trained stages taken out of a run: what other programs read must be the model that was trained."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import PACKAGED, leave_stage, logits, packaged_tokenizer, tiny_base

from langmill.api import Context, Message, MissingInput, RecipeError
from langmill_plugins.trainers.exporting.merged import served_template
from langmill_plugins.trainers.exporting.ollama import frame_of, go_template, modelfile
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.tokens.templates import chat_text, with_template
from langmill_plugins.trainers.weights.base_model import Base, find_base
from langmill_plugins.trainers.weights.standing import Standing, ended_with, merged_model
from langmill_plugins.trainers.weights.trained import read_trained

RECIPE = """
name: small
languages: [en]
run: {workers: 1}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa]}
train:
  use: auto
  base: ./tiny
  max_tokens: 256
  lora: {rank: 2}
  stages:
    - {name: first, data: open, max_steps: 1, batch: 1}
    - {name: second, data: open, start: first, handover: merge, lora: none, max_steps: 1, batch: 1}
    - {name: third, data: open, start: second, handover: merge, max_steps: 1, batch: 1}
"""
CONVERTER = pytest.mark.skipif(
    find_spec("auto_round") is None, reason="needs the converter: pip install 'langmill[gguf]'"
)
RUNNER = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="needs xllamacpp to run the file")
QUESTIONS = (
    "What carries oxygen in the blood?",
    "哪种器官分泌胰岛素？",
    "インスリンを分泌する臓器はどれですか。",
    "Quel organe filtre le sang ?",
    "Какой орган накапливает желчь?",
    "¿Qué hueso forma la parte anterior de la pierna?",
    "체온이 올라가는 것을 무엇이라고 합니까?",
)
ADAPTER = Lora(rank=4, alpha=1)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context("export", 17, {}, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def base(context: Context) -> Base:
    """The real packaged model."""
    return find_base(PACKAGED, context)


@pytest.fixture(scope="module")
def run(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage on the base, and one merged on top of it; both move the weights a little and at random."""
    run = tmp_path_factory.mktemp("run")
    one = leave_stage(run, "one", Standing(base), ADAPTER, 1)
    leave_stage(run, "two", ended_with(read_trained(one, base), base), ADAPTER, 2)
    return run


@pytest.fixture(scope="module")
def merged(run: Path, context: Context, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second stage as one model."""
    out = tmp_path_factory.mktemp("merged")
    used = PeftTrainer(base=PACKAGED).export("merged", run / "train/two/adapter", out, context)
    assert "AutoModelForCausalLM" in used
    return out


def plainly(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model as anybody would load them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def asked(tokenizer: Any, question: str) -> list[int]:
    """A question's tokens, with the beginning of the answer."""
    text = chat_text(tokenizer, [Message("user", question)], ask=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_the_merged_model_is_the_one_that_was_trained(merged: Path, run: Path, base: Base, context: Context) -> None:
    """Each weight is the exact one, rounded once to the base's bfloat16; so it answers as the opened stage does."""
    import torch

    tokenizer, model = plainly(merged)
    exact = merged_model(ended_with(read_trained(run / "train/two/adapter", base), base)).state_dict()
    for name, numbers in model.state_dict().items():
        assert torch.equal(numbers, exact[name].to(torch.bfloat16).float()), name
    opened = PeftTrainer(base=PACKAGED).open(run / "train/two/adapter", context)
    ids = asked(tokenizer, QUESTIONS[0])
    mine, theirs = logits(model, ids), logits(opened.loaded()[1], ids)  # type: ignore[attr-defined]
    assert float((mine - theirs).abs().max()) < 0.5
    assert float((mine.log_softmax(-1).exp() - theirs.log_softmax(-1).exp()).abs().sum(-1).mean()) < 0.05
    made = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
    assert len(tokenizer.decode(made, skip_special_tokens=True).split()) >= 3


def test_what_lies_beside_a_merged_model(merged: Path, run: Path) -> None:
    names = {path.name for path in merged.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "NOTICE"} <= names
    assert not names & {"README.md", "base.json"}  # the card is not the trainer's to write
    config = json.loads((merged / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "Apache License" in (merged / "NOTICE").read_text()
    for path in merged.glob("*.json"):
        assert str(run) not in path.read_text() and "langmill/models" not in path.read_text()


def test_an_adapter_leaves_alone_only_where_it_stands_on_the_base(
    run: Path, base: Base, context: Context, tmp_path: Path
) -> None:
    from peft import PeftModel

    trainer = PeftTrainer(base=PACKAGED)
    trainer.export("adapter", run / "train/one/adapter", tmp_path, context)
    tokenizer, plain = plainly(base.folder)
    ids = asked(tokenizer, QUESTIONS[0])
    mine = logits(PeftModel.from_pretrained(plain, tmp_path), ids)
    theirs = logits(trainer.open(run / "train/one/adapter", context).loaded()[1], ids)  # type: ignore[attr-defined]
    assert float((mine - theirs).abs().max()) < 1e-3
    with pytest.raises(RecipeError, match="--as merged"):
        trainer.export("adapter", run / "train/two/adapter", tmp_path, context)


def templates() -> list[str]:
    """The chat templates that trl brings for training; one of them takes nothing but pictures with texts."""
    import trl

    return sorted(
        path.name
        for path in (Path(trl.__file__).parent / "chat_templates").glob("*_training.jinja")
        if "llava" not in path.name
    )


TALK = [
    Message("user", "What is bile?"), Message("assistant", "A fluid."), Message("user", "Where?"),
    Message("assistant", "In the gallbladder."), Message("user", "Why?"),
]  # fmt: skip


@pytest.mark.parametrize("name", templates())
def test_marks_for_training_go_and_the_text_stays(name: str) -> None:
    import trl

    template = (Path(trl.__file__).parent / "chat_templates" / name).read_text()
    clean = served_template(template)
    assert clean is not None
    assert not re.search(r"{%[-+]?\s*(end)?generation", clean)
    tokenizer = packaged_tokenizer()
    turns = [{"role": message.role, "content": message.content} for message in TALK]
    told = [
        tokenizer.apply_chat_template(turns, chat_template=one, tokenize=False, add_generation_prompt=True)
        for one in (template, clean)
    ]
    assert told[0] == told[1]
    assert told[0]


@pytest.mark.parametrize("name", ["own", "plain", "llama3", "qwen2_5", "gemma", "gemma3", "phi3"])
def test_a_modelfile_says_what_the_template_says(name: str) -> None:
    """The turns put together from what Ollama is told are the text that the template makes."""
    import trl

    tokenizer = copy.deepcopy(packaged_tokenizer())
    if name in ("own", "plain"):
        tokenizer, _ = with_template(tokenizer, name)  # type: ignore[arg-type]
    else:
        tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
        ends = {"llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "gemma3": "<end_of_turn>", "phi3": "<|end|>"}
        tokenizer.eos_token = ends.get(name, "<|im_end|>")
    frame = frame_of(tokenizer)
    assert frame is not None
    assert frame.text(TALK) == chat_text(tokenizer, TALK, ask=True)
    if frame.system:
        begun = [Message("system", "Be brief."), *TALK]
        assert frame.text(begun) == chat_text(tokenizer, begun, ask=True)
    assert frame.system or name in ("gemma", "gemma3", "phi3")
    assert modelfile(tokenizer, "one.gguf", []).count(f'PARAMETER stop "{tokenizer.eos_token}"') == 1


def test_a_template_in_ollamas_language() -> None:
    said = go_template(frame_of(packaged_tokenizer()))  # type: ignore[arg-type]
    assert said.splitlines()[1:] == [
        "{{- range .Messages -}}",
        r'{{- if eq .Role "user" -}}{{- "\n<|im_start|>user\n" -}}{{- .Content -}}{{- "<|im_end|>\n<|im_start|>assistant\n" -}}',
        '{{- else if eq .Role "assistant" -}}{{- .Content -}}{{- "<|im_end|>" -}}',
        "{{- end -}}",
        "{{- end -}}",
    ]
    assert said.startswith(
        r'{{- if .System -}}{{- "<|im_start|>system\n" -}}{{- .System -}}{{- "<|im_end|>" -}}{{- else -}}'
    )


def test_a_template_that_no_frame_can_say() -> None:
    tokenizer = copy.deepcopy(packaged_tokenizer())
    tokenizer.chat_template = "{% for m in messages %}{{ loop.index }} {{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert frame_of(tokenizer) is None
    said = modelfile(tokenizer, "one.gguf", ['A """quoted""" licence'])
    assert 'TEMPLATE "' not in said and "No TEMPLATE" in said
    assert said.endswith("LICENSE \"\"\"A '''quoted''' licence\"\"\"\n")


def test_without_the_converter(run: Path, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "auto_round", None)
    with pytest.raises(MissingInput, match=r"langmill\[gguf\]"):
        PeftTrainer(base=PACKAGED).export("gguf", run / "train/one/adapter", tmp_path, context)


def export(kind: str, base: str, trained: Path, out: Path) -> None:
    PeftTrainer(base=base).export(kind, trained, out, Context("export", 17, {}, out.parent))


def apart(processes: Any, *what: Any) -> None:
    """An export in a process of its own, as the command has it: the converter changes more than it is asked to."""
    what[-1].mkdir()
    child = processes.Process(target=export, args=what)
    child.start()
    child.join(280)
    assert child.exitcode == 0


@CONVERTER
@RUNNER
def test_eight_bits_of_the_real_model_for_ollama(merged: Path, run: Path, tmp_path: Path, processes: Any) -> None:
    apart(processes, "ollama", PACKAGED, run / "train/two/adapter", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "NOTICE",
        "Modelfile",
        "langmill.json",
        "two-q8_0.gguf",
    }
    far, _ = held_against(tmp_path / "out" / "two-q8_0.gguf", merged, 0)  # eight bits may well end in other words
    assert far < 0.4


@CONVERTER
@RUNNER
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text"])
def test_sixteen_bits_of_other_kinds(kind: str, context: Context, tmp_path: Path, processes: Any) -> None:
    # llama.cpp takes it for granted that Gemma scales by the size of its heads, as all that were published do.
    folder = tiny_base(tmp_path / kind, kind, **({"query_pre_attn_scalar": 16} if "gemma" in kind else {}))
    base = find_base(str(folder), context)
    stage = leave_stage(tmp_path, "one", Standing(base), None, 1)
    PeftTrainer(base=str(folder)).export("merged", stage, tmp_path / "merged", context)
    apart(processes, "gguf", str(folder), stage, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"langmill.json", "one.gguf"}
    far, same = held_against(tmp_path / "out" / "one.gguf", tmp_path / "merged", 8)
    assert far < 0.1
    assert same >= 6


def held_against(file: Path, merged: Path, size: int) -> tuple[float, int]:
    """llama.cpp on a GGUF beside transformers on the merged model, for all QUESTIONS: the same tokens and the same prompt, or it
    fails. Returns the largest difference (nats) of the five likeliest next tokens, and how many greedy answers of ``size`` are the same."""
    tokenizer, model = plainly(merged)
    llama = Llama(file)
    worst, same = 0.0, 0
    try:
        for question in QUESTIONS:
            ids = asked(tokenizer, question)
            assert llama.tokens(tokenizer.decode(ids)) == ids
            assert llama.prompt([{"role": "user", "content": question}]) == tokenizer.decode(ids)
            ids += tokenizer("The")[
                "input_ids"
            ]  # so that the next thing said is not the end, of which no chances are told
            chances = logits(model, ids)[-1].log_softmax(-1)
            worst = max(worst, *(abs(chance - float(chances[token])) for token, chance in llama.chances(ids).items()))
            same += size > 0 and llama.answer(ids, size) == greedy(model, ids, size)
    finally:
        llama.close()
    return worst, same


def greedy(model: Any, ids: list[int], size: int) -> list[int]:
    """The likeliest tokens, one after another."""
    import torch

    return list(model.generate(torch.tensor([ids]), max_new_tokens=size, do_sample=False)[0, len(ids) :].tolist())


class Llama:
    """llama.cpp on loopback."""

    def __init__(self, model: Path):
        command = [sys.executable, "-m", "langmill_plugins.llms.local_server", str(model), "1", "1", "512"]
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.child.stdout is not None
        self.address = next(line for line in self.child.stdout if line.startswith("ready")).split()[1]

    def ask(self, path: str, **body: Any) -> Any:
        """One request."""
        from urllib.request import Request, urlopen

        request = Request(f"{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def tokens(self, text: str) -> list[int]:
        """How it cuts a text."""
        return list(self.ask("/tokenize", content=text, add_special=True, parse_special=True)["tokens"])

    def prompt(self, messages: list[dict[str, str]]) -> str:
        """What it makes of a conversation with the template in the file."""
        return str(self.ask("/apply-template", messages=messages)["prompt"])

    def chances(self, ids: list[int]) -> dict[int, float]:
        """The likeliest next tokens with their log-probabilities."""
        made = self.ask("/completion", prompt=ids, n_predict=1, temperature=0, n_probs=5, cache_prompt=False)
        return {one["id"]: one["logprob"] for one in made["completion_probabilities"][0]["top_logprobs"]}

    def answer(self, ids: list[int], size: int) -> list[int]:
        """The likeliest tokens, one after another."""
        made = self.ask(
            "/completion", prompt=ids, n_predict=size, temperature=0, return_tokens=True, cache_prompt=False
        )
        return list(made["tokens"])

    def close(self) -> None:
        """It ends with its standard input."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait(10)


def test_from_the_recipe_to_a_model_that_answers(bench: Any, context: Context) -> None:
    """The real command: an adapter, all weights on top of it, an adapter on those; the last one leaves as one model."""
    bench.data("qa.en.jsonl")
    bench.monkeypatch.setenv("PYTHONPATH", bench.bare()["PYTHONPATH"])
    tiny_base(bench.folder / "tiny")
    bench.write("small.yaml", RECIPE)
    said = bench.factory("run", "small.yaml")
    assert said.code == 0, said.err
    said = bench.factory("export", "runs/small", "third", "--as", "merged", "--out", "out")
    assert said.code == 0, said.err
    tokenizer, model = plainly(bench.folder / "out")
    assert len(greedy(model, asked(tokenizer, QUESTIONS[0]), 3)) > 0
    card = (bench.folder / "out/README.md").read_text()
    assert re.search(r"\| the base's weights \| samples:[0-9a-f]{64} \|", card)
    assert "from stage second, handover: merge" in card
    assert str(bench.folder) not in card
    said = bench.factory("export", "runs/small", "second", "--as", "adapter", "--out", "more")
    assert said.code == 2
    assert "has no adapter: --as merged" in said.err
    assert not (bench.folder / "more").exists()
