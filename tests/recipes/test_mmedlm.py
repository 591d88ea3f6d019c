"""recipes/mmedlm.yaml: what it says, what it learns of running text, and that it has none of the known faults of the released code."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import ROOT, Bench
from tests.public_sets import DATA, PACKS
from tests.tiny_models import packaged_tokenizer, tiny_base
from tests.training import desk_in, log_lines, result

from langmill.api import Choice, Context, Origin, Row, Split, Text
from langmill.recipe.assembly import assemble
from langmill.rows import words
from langmill_plugins.trainers.loop.batches import collate
from langmill_plugins.trainers.options import AdapterStage, ChoiceFormat, Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.tokens.examples import NO_LOSS
from langmill_plugins.trainers.tokens.tokenising import Recording, Tokenised, tokenise

MAIN = ROOT / "recipes/mmedlm.yaml"
PUBLISHED = {
    "en": (10178, 1273),
    "zh": (27400, 3426),
    "ja": (1590, 199),
    "fr": (2171, 622),
    "ru": (1052, 256),
    "es": (2657, 2742),
}
TOKENS = {"en": 6.56, "zh": 4.74, "ja": 2.05, "fr": 2.10, "ru": 1.69, "es": 4.35}  # billions that are distributed
TEXTS = ("The valve shuts. ", "Each beat moves about seventy millilitres of blood. " * 12, "Lymph returns. " * 3)


def row_of(number: int, body: Text | Choice, split: Split = "train") -> Row:
    return Row(f"t/{number}", "en", split, f"t/{number}", body, Origin("t", str(number), ("CC-BY-NC-SA-4.0",)))


def read(stage: AdapterStage, rows: list[Row], most: int) -> Tokenised:
    context = Context("train", 17, PACKS, Path())
    return tokenise(rows, Recording(packaged_tokenizer(), context, most, stage, context.seed_for))


# --- what it says ---


def test_as_written_it_is_offline_and_bounded() -> None:
    made = assemble(MAIN)
    assert not made.models and made.trainer is not None and made.trainer.base.startswith("local/")
    assert all(not source.path.startswith("$") and source.license == "CC0-1.0" for source in made.sources.values())
    assert all(stage.max_steps for stage in made.stages)
    assert [(stage.data, stage.start) for stage in made.stages] == [("corpus", "base"), ("items", "pretrain")]


@pytest.mark.parametrize("profile", [None, "public", "paper"])
def test_no_row_of_the_test_is_in_what_is_learnt(profile: str | None) -> None:
    made = assemble(MAIN, profile=profile)
    for name in ("corpus", "items"):
        steps = [step.use for step in made.datasets[name].steps]
        assert steps[-1] == "decontaminate", "against all that eval: asks"
    assert {"exact", "minhash"} <= {step.use for step in made.datasets["corpus"].steps}, (
        "the released code has no deduplication"
    )
    assert {part.data for _, part in made.evaluators} == {"exams", "prose"}


def test_paper_is_what_is_published() -> None:
    made = assemble(MAIN, profile="paper")
    rows = {name: source.expect.rows for name, source in made.sources.items() if source.expect and source.expect.rows}
    tokens = {
        name: source.expect.tokens for name, source in made.sources.items() if source.expect and source.expect.tokens
    }
    assert tokens == {f"mmedc_{code}": round(billions * 1e9) for code, billions in TOKENS.items()}
    assert rows == {f"mmedbench_{code}": {"train": train, "test": test} for code, (train, test) in PUBLISHED.items()}
    assert sum(train for train, _ in PUBLISHED.values()) == 45_048
    assert not made.datasets["exams"].steps, "the published test sets are asked whole"
    trainer = made.trainer
    assert trainer is not None and (trainer.base, trainer.max_tokens) == ("meta-llama/Meta-Llama-3-8B", 8192)
    pretrain, finetune = (stage.model_dump() for stage in made.stages)
    assert trainer.lora == "none" and not pretrain["lora"] and not finetune["lora"]  # type: ignore[attr-defined]
    figures = ("learning_rate", "warmup", "weight_decay", "schedule", "epochs", "max_steps")
    assert [pretrain[name] for name in figures] == [2e-5, 0.01, 0.01, "cosine", 3, 15_000]
    assert [finetune[name] for name in figures] == [1e-6, 0.03, 0, "cosine", 5, None]
    assert pretrain["batch"] * pretrain["accumulate"] == 512 and finetune["batch"] * finetune["accumulate"] == 128
    assert pretrain["overlap"] == 0.25 and finetune["choices"]["answer"] == "both"


def test_what_the_comments_say_to_type_holds() -> None:
    text = MAIN.read_text("utf-8")
    public, paper = (
        text[text.index("\n  public:") - 900 : text.index("\n  public:")],
        text[text.index("# MMed-Llama 3 as") :],
    )
    for option in re.findall(r"--set (\S+)", public):
        assert assemble(MAIN, profile="public", sets=[option])
    said = [one or other for one, other in re.findall(r"--set (?:'([^']+)'|(\S+))", paper[: paper.index("  paper:")])]
    assert len(said) == 8
    one_card = assemble(MAIN, profile="paper", sets=said)
    assert one_card.trainer is not None and one_card.trainer.lora.rank == 64  # type: ignore[attr-defined]
    first, second = (stage.model_dump() for stage in one_card.stages)
    assert first["tokens"] == 300_000_000 and second["epochs"] == 3
    assert not list(one_card.trainer.faults(one_card.stages, one_card.sources, PACKS))


def test_paper_is_planned_offline_with_every_set_absent(bench: Bench) -> None:
    for command in ("check", "plan"):
        said = bench.factory(command, str(MAIN), "--profile", "paper", "--set", f"data_dir={bench.folder}")
        assert said.code == 0, said.err
        told = " ".join((said.out + said.err).split())
        for name in ("English", "Chinese", "Japanese", "French", "Russian", "Spanish"):
            assert f"{name}.zip of the Hugging Face data set Henrychur/MMedC" in told
        assert "6,560,000,000 tokens" in told and "11,451 records" in told
    assert "it fits no single card" in told, "all weights of 8 billion are not for one card, and the plan says so"


# --- what is learnt of running text ---


def test_each_token_of_a_text_is_learnt_once_and_no_padding_is() -> None:
    """The released code gives padding a loss, and pads each short document to the whole window."""
    made = read(
        AdapterStage(name="one", data="x", overlap=0.25), [row_of(n, Text(text)) for n, text in enumerate(TEXTS)], 48
    )
    tokenizer, examples = packaged_tokenizer(), made.examples
    for number, text in enumerate(TEXTS):
        ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        parts = np.flatnonzero(examples.row == number)
        learnt = [id for part in parts for id in examples.labels_of(int(part)).tolist() if id != NO_LOSS]
        assert learnt in (ids, ids[1:]), "a first token is learnt only where something stands before it"
    assert (examples.lengths <= 48).all() and len(np.flatnonzero(examples.row == 1)) > 2
    lines = [[number] for number in range(len(examples))]
    batch = collate(lines, examples, tokenizer.pad_token_id, "padded")
    width = int(examples.lengths.max())
    for line, length in enumerate(examples.lengths.tolist()):
        assert (batch["labels"][line, length:] == NO_LOSS).all() and not batch["attention_mask"][line, length:].any()
        assert length < width or line in np.flatnonzero(examples.row == 1)


def test_short_texts_share_lines_and_the_card_names_the_licence(tmp_path: Path) -> None:
    """All weights on running text: packed lines are nearly full, the validation loss is that of the dev split and falls."""
    base, desk = tiny_base(tmp_path / "base"), desk_in(tmp_path)
    trainer = PeftTrainer(base=str(base), max_tokens=64, lora="none", quantize="none")
    stage = AdapterStage(name="pretrain", data="corpus", packing=True, batch=2, accumulate=8, epochs=4, max_steps=4,
                         learning_rate=3e-3, save_steps=9, eval_rows=3)  # fmt: skip
    kept = {"train": TEXTS * 12, "dev": TEXTS[:2], "test": ()}

    def rows(split: Split) -> Iterator[Row]:
        return (row_of(n, Text(text), split) for n, text in enumerate(kept[split]))

    trained = trainer.train(desk.job("pretrain", stage, source=rows))
    facts, log = result(trained), log_lines(trained)
    assert facts["packed"] and facts["fill"] > 0.85, "short documents are packed, not padded"
    assert facts["rows"]["dev"] == 2 and facts["dev_loss"]["last"] < facts["dev_loss"]["first"]
    assert [line["step"] for line in log if "dev_loss" in line] == [0, 4]
    assert (trained / "model.safetensors").is_file() and facts["trained_parameters"] > 3_000_000


def test_without_dev_rows_there_is_no_validation_loss(tmp_path: Path) -> None:
    """The released code builds its validation set from a path that is None."""
    base, desk = tiny_base(tmp_path / "base"), desk_in(tmp_path)
    trainer = PeftTrainer(base=str(base), max_tokens=64, lora="none", quantize="none")
    stage = AdapterStage(name="one", data="x", batch=1, accumulate=1, max_steps=1, learning_rate=1e-4)
    job = desk.job("one", stage, source=lambda split: iter([row_of(0, Text(TEXTS[0]))] if split == "train" else []))
    assert result(trainer.train(job)).get("dev_loss") in (None, {"first": None, "last": None})


# --- the fine-tuning ---


def test_a_row_is_two_examples_and_the_loss_is_on_the_answer() -> None:
    item = Choice(
        "Which vessel leaves the left ventricle?",
        ("Aorta", "Vena cava"),
        (0,),
        "The left ventricle ejects into the aorta.",
    )
    stage = AdapterStage(name="one", data="x", choices=ChoiceFormat(answer="both"))
    examples = read(stage, [row_of(0, item)], 512).examples
    tokenizer = packaged_tokenizer()
    learnt = [tokenizer.decode([id for id in examples.labels_of(n).tolist() if id != NO_LOSS]) for n in (0, 1)]
    assert len(examples) == 2, "45,048 rows of MMedBench are 90,096 examples"
    assert "ejects into the aorta" in learnt[0] and "ejects" not in learnt[1]
    assert not any("Which vessel" in text for text in learnt)
    asked = tokenizer.decode(examples.ids_of(0).tolist())
    assert "patient" not in asked and "treatment" not in asked, "no sentence about a patient under every question"


def test_the_published_adapter_trains(tmp_path: Path) -> None:
    """r 16, dropout 0.05, q_proj and v_proj: in the released code alpha is not defined, the rank's flag is another one's, and the
    list of layers is one word."""
    base, desk = tiny_base(tmp_path / "base"), desk_in(tmp_path)
    lora = Lora.model_validate({"rank": 16, "dropout": 0.05, "layers": ["q_proj", "v_proj"]})
    trainer = PeftTrainer(base=str(base), max_tokens=64, lora=lora, quantize="none")
    stage = AdapterStage(name="one", data="x", batch=1, accumulate=1, max_steps=1, learning_rate=2e-5, eval_rows=1)
    trained = trainer.train(desk.job("one", stage))
    facts = json.loads((trained / "adapter_config.json").read_text())
    assert (facts["r"], facts["lora_alpha"], facts["lora_dropout"]) == (16, 32, 0.05)
    assert set(facts["target_modules"]) == {"q_proj", "v_proj"}


# --- from rows to scores ---

DROPPED = ("tico", "covid_ko", "headqa", "cmexam", "igakuqa", "frenchmedmcqa", "rumeddanet", "kormedmcqa_cot")


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_real_rows_go_from_corpus_to_scores(bench: Bench, tmp_path: Path) -> None:
    """The profile on some rows of each real set, with a model of a few thousand numbers: pre-trained, fine-tuned, scored."""
    base = tiny_base(tmp_path / "base")
    bench.data("passages.*.jsonl", "held_out.*.jsonl", "choice.*.jsonl")
    recipe = bench.write("mmedlm.yaml", MAIN.read_text("utf-8"))
    sets: dict[str, object] = {
        "data_dir": DATA, "languages": "[en, fr]", "train.base": base, "train.max_tokens": 448,
        "train.stages.0.max_steps": 2, "train.stages.1.max_steps": 2, "eval.0.limit": 1, "eval.1.limit": 1,
        "eval.0.models": "[base, finetune]", "eval.1.models": "[base, finetune]",
        "datasets.exams.from": "[own_choice, casimedicos]",
        "datasets.corpus.from": "[own_passages, own_held_out, openstax]", "datasets.prose.from": "[own_held_out, openstax]",
        **{f"sources.{name}": "null" for name in DROPPED},
    }  # fmt: skip
    options = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    words_ = ["run", str(recipe), "--profile", "public", "--limit", "6", "--offline", "--out", "runs/small"]
    said = bench.command(*words_, *options)
    assert said.code == 0, said.err[-3000:]
    store = bench.run()
    corpus = bench.rows("corpus")
    assert {row.origin.source for row in corpus} >= {"own_passages", "openstax"}
    assert all(isinstance(row.body, Text) for row in corpus)
    asked = {words(row.body) for row in store.rows("prose", "test")}
    assert asked and not asked & {words(row.body) for row in corpus if row.split == "train"}
    stages = {name: store.read_json(f"train/{name}/result.json") or {} for name in ("pretrain", "finetune")}
    assert all(facts["steps"] == 2 and facts["dev_loss"]["last"] for facts in stages.values())
    text, items = (sum(facts["trained_tokens"].values()) for facts in stages.values())
    assert text > 0.5 * stages["pretrain"]["tokens"], "of running text all but what a window repeats"
    assert items < 0.7 * stages["finetune"]["tokens"], "of an item the answer alone"
    for name, metric in (("exams.choice_accuracy", "text"), ("prose.perplexity", "perplexity")):
        for model in ("base", "finetune"):
            facts: dict[str, Any] = store.read_json(f"eval/{name}.{model}.json") or {}
            assert [one["n"] for one in facts["scores"] if (one["language"], one["metric"]) == ("all", metric)], (
                name,
                model,
            )
    card = store.stage_card("pretrain").read_text("utf-8")
    assert "CC-BY-4.0" in card or "cc-by-4.0" in card, "the licences of what it read"
