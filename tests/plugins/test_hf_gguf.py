"""Models of a recipe that are files: a folder with or without an adapter, and a GGUF file."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench
from tests.scoring import likelihoods
from tests.tiny_models import PACKAGED, leave_stage, tiny_base

from langmill.api import (
    Choice,
    Context,
    FactoryError,
    Message,
    MissingInput,
    Question,
    RecipeError,
    packaged_model,
    packs_in,
)
from langmill.calls.account import Account
from langmill.calls.sending import Sender
from langmill.ledger.ledger import Ledger
from langmill.recipe.registry import Registry
from langmill_plugins.llms.gguf import Gguf
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.weights.base_model import find_base
from langmill_plugins.trainers.weights.named import HuggingFace
from langmill_plugins.trainers.weights.standing import Standing, ended_with
from langmill_plugins.trainers.weights.trained import read_trained

PAIRS = [
    ("What stores bile?", "The gallbladder."),
    ("What is a fever?", "A raised temperature of the body."),
    ("?", "A"),
]
LORA = Lora(rank=2, alpha=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe's folder: a base, another one, and a run with an adapter, one that stands on it, and all weights."""
    folder = tmp_path_factory.mktemp("recipe")
    tiny_base(folder / "models" / "tiny")
    tiny_base(folder / "models" / "other", "qwen3")
    context = Context("train", 17, {}, folder)
    base, run = find_base("models/tiny", context), folder / "runs" / "small"
    first = leave_stage(run, "one", Standing(base), LORA, 1)
    leave_stage(run, "two", ended_with(read_trained(first, base), base), LORA, 2)
    leave_stage(run, "full", Standing(base), None, 3)
    trainer = PeftTrainer(base="models/tiny")
    (folder / "exported").mkdir()
    trainer.export("adapter", first, folder / "exported", context)
    return folder


@pytest.fixture
def context(made: Path) -> Context:
    return Context("eval[0]", 17, {}, made)


def started(context: Context, model: str, **options: Any) -> HuggingFace:
    llm = HuggingFace(model=model, **options)
    asyncio.run(llm.start(context))
    return llm


def scores(llm: Any) -> list[float]:
    return [one.log_probability for one in likelihoods(llm, PAIRS)]


def opened(context: Context, stage: str | None) -> list[float]:
    """What the run's own trainer makes of its base or a stage."""
    trainer = PeftTrainer(base="models/tiny")
    return scores(trainer.open(None if stage is None else context.folder / "runs/small/train" / stage, context))


@pytest.mark.parametrize(
    ("adapter", "stage"),
    [
        (None, None),
        ("runs/small/train/one", "one/adapter"),
        ("runs/small/train/one/adapter", "one/adapter"),
        ("exported", "one/adapter"),
        ("runs/small/train/two", "two/adapter"),
        ("runs/small/train/full", "full/model"),
    ],
)
def test_it_scores_as_the_stage_does(adapter: str | None, stage: str | None, context: Context) -> None:
    llm = started(context, "hf/models/tiny", adapter=adapter)
    assert llm.here
    assert llm.price() == (0.0, 0.0, None)
    assert scores(llm) == pytest.approx(opened(context, stage), rel=1e-5)
    ((_, answer),) = llm.reply([Question("q", "q", "en", (Message("user", "Why?"),), (), 3)])
    assert answer.answer_tokens <= 3


def test_an_adapter_as_peft_writes_it(context: Context, tmp_path: Path) -> None:
    """No word of ours beside it, and no tokenizer: the name of its base has to do."""
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copy(context.folder / "exported" / name, tmp_path)
    config = tmp_path / "adapter_config.json"
    facts = json.loads(config.read_text())
    config.write_text(json.dumps({**facts, "base_model_name_or_path": "/elsewhere/Tiny"}))
    assert scores(started(context, "hf/models/tiny", adapter=str(tmp_path))) == pytest.approx(
        opened(context, "one/adapter"), rel=1e-5
    )
    config.write_text(json.dumps({**facts, "base_model_name_or_path": "owner/large"}))
    with pytest.raises(RecipeError, match=r"trained on owner/large, but hf/models/tiny is models/tiny"):
        started(context, "hf/models/tiny", adapter=str(tmp_path))
    config.write_text(json.dumps({**facts, "peft_type": "IA3"}))
    with pytest.raises(RecipeError, match="an adapter of the kind IA3, and LORA alone is read"):
        started(context, "hf/models/tiny", adapter=str(tmp_path))
    config.write_text("{")
    with pytest.raises(MissingInput, match=r"adapter_config\.json can not be read"):
        started(context, "hf/models/tiny", adapter=str(tmp_path))


@pytest.mark.parametrize("adapter", ["runs/small/train/one", "exported"])
def test_an_adapter_of_another_base_is_refused(adapter: str, context: Context) -> None:
    with pytest.raises(RecipeError, match=r"was trained on models/tiny.* but hf/models/other is models/other"):
        started(context, "hf/models/other", adapter=adapter)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("hf/models/none", {}, r"hf/models/none: 'models/none' is neither a folder nor downloaded.*hf download"),
        ("hf/models/deep/none", {}, "hf/models/deep/none: there is no folder"),
        ("hf/models", {}, "hf/models: 'models' .* lacks config.json"),
        ("hf/models/tiny", {"adapter": "models"}, "models holds no whole adapter.*runs/RUN/train/STAGE"),
        ("hf/models/tiny", {"adapter": "nowhere"}, "nowhere holds no whole adapter"),
    ],
)
def test_what_is_not_there(model: str, options: dict[str, Any], words: str, context: Context) -> None:
    with pytest.raises(FactoryError, match=words) as told:
        started(context, model, **options)
    assert told.value.exit_code == 2


def test_it_is_known_by_its_content(context: Context, tmp_path: Path) -> None:
    def decides(**options: Any) -> Any:
        return HuggingFace(model=f"hf/{tmp_path / 'tiny'}", **options).deciding(context)

    shutil.copytree(context.folder / "models" / "tiny", tmp_path / "tiny")
    shutil.copytree(context.folder / "exported", tmp_path / "adapter")
    plain, adapted = decides(), decides(adapter=str(tmp_path / "adapter"))
    assert json.loads(json.dumps(plain)) == plain
    assert str(tmp_path) not in json.dumps([plain, adapted])
    assert (
        len({json.dumps(one) for one in (plain, adapted, decides(chat_template="plain"), decides(quantize="4bit"))})
        == 4
    )
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 9'))
    scaled = decides(adapter=str(tmp_path / "adapter"))
    assert scaled != adapted
    with (tmp_path / "tiny" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert decides() != plain


@pytest.mark.parametrize("name", ["chat_template.jinja", "generation_config.json", "tokenizer_config.json", "added"])
def test_another_chat_template_is_another_model_and_no_other_base(name: str, context: Context, tmp_path: Path) -> None:
    """What is not among the weights decides what is said, too; an adapter fits all the same."""

    def decides(**options: Any) -> Any:
        return HuggingFace(model=f"hf/{tmp_path / 'tiny'}", **options).deciding(context)

    shutil.copytree(context.folder / "models" / "tiny", tmp_path / "tiny")
    shutil.copytree(context.folder / "exported", tmp_path / "adapter")
    adapter = str(tmp_path / "adapter")
    plain, adapted, identity = decides(), decides(adapter=adapter), find_base(str(tmp_path / "tiny"), context).identity
    base, beside = (tmp_path / place / name for place in ("tiny", "adapter"))
    if name == "added":
        base, beside = base.with_name("special_tokens_map.json"), beside.with_name("special_tokens_map.json")
    else:
        assert base.is_file()
    base.write_text((base.read_text() if base.exists() else "{}") + " ")
    assert decides() != plain and decides(adapter=adapter) != adapted
    assert find_base(str(tmp_path / "tiny"), context).identity == identity
    changed = decides(adapter=adapter)
    beside.write_text((beside.read_text() if beside.exists() else "{}") + " ")
    both = decides(adapter=adapter)
    assert both != changed
    (tmp_path / "tiny" / "README.md").write_text("About it.")
    assert decides(adapter=adapter) == both, "what nobody reads decides nothing"


def test_the_scale_of_a_merged_adapter_counts(context: Context, tmp_path: Path) -> None:
    shutil.copytree(context.folder / "runs/small/train/two/adapter", tmp_path / "two")
    llm = HuggingFace(model="hf/models/tiny", adapter=str(tmp_path / "two"))
    before = llm.deciding(context)
    config = tmp_path / "two" / "merged" / "0" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 9'))
    assert llm.deciding(context) != before


def test_four_bits_when_asked(context: Context) -> None:
    four, full = (started(context, "hf/models/tiny", quantize=said) for said in ("4bit", "none"))
    kinds = {type(part).__name__ for part in four.loaded()[1].modules()}
    assert "Linear4bit" in kinds
    assert scores(four) != pytest.approx(scores(full), rel=1e-4)


def test_what_is_known_of_them(context: Context) -> None:
    """The packaged model is a demonstration before and after it is started; of others nothing is known, but what an export says."""
    packaged = HuggingFace(model=f"hf/{PACKAGED}")
    for llm in (packaged, started(context, f"hf/{PACKAGED}")):
        assert (llm.languages, llm.demonstration) == ({"en"}, True)
    for llm in (HuggingFace(model="hf/models/tiny"), started(context, "hf/models/tiny")):
        assert (llm.languages, llm.demonstration) == (None, False)


def test_a_recipe_names_them_by_their_first_word() -> None:
    registry = Registry.of_installed()
    assert registry.get("llms", "hf") is HuggingFace
    assert registry.get("llms", "gguf") is Gguf


# --- in a recipe ---

RECIPE = """\
name: small
languages: [en]
run: {{workers: 1}}
sources:
  exam: {{use: table, path: exam.jsonl, body: choice, language: en, license: CC0-1.0}}
datasets:
  exams: {{from: [exam]}}
models:
  adapted: {{model: hf/models/tiny, adapter: exported}}
  file: {{model: gguf/small.gguf, max_tokens: 4, context: 256}}
eval:
  - {{use: choice_accuracy, name: scored, data: exams, models: [{scored}]}}
  - {{use: choice_accuracy, name: written, data: exams, models: [file], ask: [generation]}}
"""


def test_a_run_asks_them(bench: Bench, made: Path, context: Context) -> None:
    """A folder with a stage's adapter scores as the stage does; a GGUF file writes, behind the ledger."""
    item = {
        "id": "i",
        "question": "Which one?",
        "options": {"A": "this one", "B": "that"},
        "answer": "A",
        "split": "test",
    }
    bench.write("exam.jsonl", json.dumps(item) + "\n")
    for name in ("models", "exported"):
        shutil.copytree(made / name, bench.folder / name)
    (bench.folder / "small.gguf").symlink_to(gguf_file())
    bench.write("small.yaml", RECIPE.format(scored="adapted"))
    said = bench.factory("run", "small.yaml")
    assert said.code == 0, said.err

    def answer(name: str) -> dict[str, Any]:
        lines = (bench.run().root / "eval" / f"{name}.answers.jsonl").read_text().splitlines()
        assert len(lines) == 2
        return json.loads(lines[1])

    pack = next(pack for pack in packs_in("langmill_languages") if pack.code == "en")
    asked = Message("user", pack.ask_choice(Choice("Which one?", ("this one", "that"), (0,)), short=True))
    stage = PeftTrainer(base="models/tiny").open(made / "runs/small/train/one/adapter", context)
    found = dict(stage.score([Question("q", "q", "en", (asked,), ("A", "B", "this one", "that"))]))[0]
    scored = answer("scored.adapted")["likelihoods"]
    assert [value for value, _ in scored] == pytest.approx([one.log_probability for one in found], rel=1e-5)
    assert answer("written.file")["answer_tokens"] > 0
    assert len(bench.calls()) == 1
    (folder, file) = (bench.run().read_json(f"eval/{name}.json") for name in ("scored.adapted", "written.file"))
    assert folder and file
    assert folder["decides"]["model"]["weights"] and len(file["decides"]["model"]["sha256"]) == 64
    assert str(bench.folder) not in json.dumps([folder, file])


def test_log_probabilities_of_a_gguf_file_are_refused_before_anything_runs(bench: Bench) -> None:
    bench.write("exam.jsonl", "")
    bench.write("small.yaml", RECIPE.format(scored="adapted, file"))
    said = bench.factory("check", "small.yaml")
    assert said.code == 2
    assert "'file' (gguf/small.gguf) gives no log-probabilities" in said.err


# --- GGUF ---


def gguf_file() -> Path:
    return packaged_model(PACKAGED.removeprefix("local/")).path


def test_a_gguf_file_answers(context: Context, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.gguf").symlink_to(gguf_file())
    there = Context("llm", 17, {}, tmp_path)
    llm = Gguf(model="gguf/models/small.gguf", max_tokens=8, context=256)

    async def work() -> list[Any]:
        await llm.start(there)
        try:
            asked = [Message("user", "What is a fever? Answer in one sentence.")]
            return [await llm.answer(asked, seed=seed) for seed in (1, 2)]
        finally:
            await llm.stop()

    one, other = asyncio.run(work())
    assert one.text == other.text != ""  # the likeliest token, whatever the seed
    assert (one.finish, one.answer_tokens) == ("length", 8)
    assert one.prompt_tokens > 15  # the file's own chat template is around the question
    assert llm.price() == (0.0, 0.0, None)
    assert (llm.languages, llm.demonstration, llm.here) == (None, False, False)
    with pytest.raises(RecipeError, match="gives no log-probabilities"):
        llm.score([Question("q", "q", "en", (Message("user", "?"),), ("A",))])


def test_a_gguf_file_is_known_by_its_content(tmp_path: Path) -> None:
    context = Context("llm", 17, {}, tmp_path)
    file = tmp_path / "one.gguf"
    file.write_bytes(b"GGUF one")
    by_place, whole = (Gguf(model=f"gguf/{name}") for name in ("one.gguf", file))
    first = by_place.deciding(context)
    assert whole.deciding(context) == first
    assert str(tmp_path) not in json.dumps(first)
    file.write_bytes(b"GGUF two")
    assert by_place.deciding(context)["sha256"] != first["sha256"]
    assert Gguf(model="gguf/one.gguf", context=512).deciding(context) != by_place.deciding(context)


def test_a_changed_file_is_asked_anew(tmp_path: Path) -> None:
    """The name of a call in the ledger holds the file's content, and is made when the model is first asked."""
    llm = Gguf(model="gguf/one.gguf")

    def named() -> str:
        with closing(Ledger(tmp_path)) as ledger:
            account = Account(ledger, "run", {}, Context("llm", 17, {}, tmp_path), lambda event: None)
            return Sender(account, llm).identity

    with pytest.raises(MissingInput, match=r"no file .*one\.gguf"):
        named()
    names = set()
    for content in (b"GGUF one", b"GGUF two", b"GGUF one"):
        (tmp_path / "one.gguf").write_bytes(content)
        names.add(named())
    assert len(names) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, r"there is no file .*one.gguf.*--as gguf"), (b"PK", r"is no GGUF file.*hf/FOLDER")],
)
def test_a_gguf_file_that_is_none(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "one.gguf").write_bytes(content)
    with pytest.raises(MissingInput, match=words):
        Gguf(model="gguf/one.gguf").deciding(Context("llm", 17, {}, tmp_path))
