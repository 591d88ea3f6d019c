"""The cards: counted from the run's folder, warnings first, readable by a hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Stage
from langmill.disk.tables import rows_to_table
from langmill.parts.training import result
from langmill.report.cards import write_cards, write_stage_card
from langmill.report.counts import count, funnel, sample_rows
from langmill.report.pages import cell
from langmill.yaml12 import load_text


def parts(path: Path) -> tuple[dict[str, Any], str]:
    """A card's YAML and its text."""
    _, front, text = path.read_text("utf-8").split("---\n", 2)
    data = load_text(front, path.name).data
    assert isinstance(data, dict)
    return data, text


@pytest.fixture
def cards(finished: Any) -> Any:
    write_cards(finished.assembly, finished.store)
    for stage in finished.assembly.stages:
        facts = finished.store.read_json(f"train/{stage.name}/stage.json")
        write_stage_card(finished.assembly, finished.store, stage, facts)
    return finished


def test_the_head_is_what_a_hub_reads(cards: Any) -> None:
    exams, _ = parts(cards.store.card("exams"))
    assert exams["license"] == "cc0-1.0" and "license_name" not in exams
    assert (
        exams["language"] == ["en", "es", "fr", "ja", "ko", "ru", "zh"] and exams["multilinguality"] == "multilingual"
    )
    assert exams["size_categories"] == ["n<1K"] and exams["task_categories"] == ["multiple-choice"]
    assert exams["source_datasets"] == ["own_choice"] and "demonstration" not in exams["tags"]
    ift, _ = parts(cards.store.card("ift"))
    assert ift["license"] == "other" and ift["license_name"] == "CC0-1.0, ask <the> author"
    assert "demonstration" in ift["tags"] and "synthetic" in ift["tags"]


def test_each_configuration_finds_its_files_and_only_those(cards: Any) -> None:
    for name in ("exams", "ift"):
        head, _ = parts(cards.store.card(name))
        root = cards.store.dataset(name)
        configs = {config["config_name"]: config["data_files"] for config in head["configs"]}
        assert list(configs) == ["default", *head["language"]]
        for config, files in configs.items():
            found = {path for file in files for path in root.glob(file["path"])}
            below = root / "data" if config == "default" else root / "data" / config
            assert found == set(below.rglob("*.parquet"))
            assert all(list(root.glob(file["path"])) for file in files)


def test_the_warnings_come_before_anything_else(cards: Any) -> None:
    _, text = parts(cards.store.card("ift"))
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines[0] == "# small: ift"
    assert lines[1].startswith("> **Demonstration only.** 16 of 157 rows were written by a demonstration model")
    assert "(English 16)" in lines[2]
    assert lines[4] == "> **Not reviewed by clinicians. Not for care.**"
    _, text = parts(cards.store.card("exams"))
    assert "emonstration" not in text and "> **Not reviewed by clinicians. Not for care.**" in text


def test_every_number_adds_up_to_the_rows(cards: Any) -> None:
    for name, rows in cards.rows.items():
        _, text = parts(cards.store.card(name))
        assert f"{len(rows)} rows in" in text
        table = text[text.index("## Rows") : text.index("## Sources")]
        cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ") and "(" in line]
        for line in cells:
            code = line[0].split("(")[1].rstrip(")")
            assert f" {sum(row.language == code for row in rows)} " in " " + " ".join(line[1:]) + " "
        counts = count(cards.store, name)
        assert counts.total == len(rows) == sum(counts.in_language(code) for code in counts.languages)
        assert counts.kinds.total() == counts.sources.total() == counts.licenses.total() == len(rows)


def test_sources_licences_steps_and_models_are_told(cards: Any) -> None:
    _, text = parts(cards.store.card("ift"))
    assert "| own_qa | lines | beside the recipe: data/qa.\\*.jsonl | CC0-1.0 | 154 |" in text
    assert "| odd | lines | data folder: odd | ask &lt;the&gt; author | 3 |" in text
    assert "The strictest here is **ask &lt;the&gt; author**" in text and "**not for commercial use**" in text
    assert "| tidy | 143 |  | 1 |  | 142 | rejected: too_short 1; flagged: doubtful 1 |" in text
    assert "| rewrite | 141 | 16 | 2 | 18 | 157 | rejected: schema 2; skipped: language_not_written 18 |" in text
    assert text.index("| tidy |") < text.index("| same |") < text.index("| apart |")
    assert "| rewrite | small/writer | en/expand@0123456789ab | 16 |" in text
    assert "The rows of `ift` were held against `exams` (step apart): 1 rejected." in text
    assert (
        'load_dataset("parquet", data_files={"train": "data/*/train-*.parquet", "dev": "data/*/dev-*.parquet"})' in text
    )
    assert "<script>" not in text and "c" * 64 not in text


def test_a_data_set_that_was_never_checked_says_so(cards: Any) -> None:
    _, text = parts(cards.store.card("exams"))
    assert "Not checked: no step holds these rows against a test set." in text
    assert "No row was written by a model." in text


def test_a_stage_answers_for_what_the_stages_before_it_learned(cards: Any) -> None:
    head, text = parts(cards.store.stage_card("second"))
    assert head["base_model"] == "small/base" and head["datasets"] == ["ift", "exams"] and head["license"] == "other"
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines[1].startswith("> **Demonstration only.** 16 of the rows it was trained on")
    assert "| starts from | first (handover: merge) |" in text
    assert "Before it, stage first: `ift`, 143 train rows" in text and "This stage: `exams`, 56 train rows" in text
    digest = cards.store.read_json("train/second/stage.json")["data_sha256"][0]
    assert f"| second | exams/data/en/train-00000.parquet | {digest} |" in text
    files = [line.split(" | ")[:2] for line in lines if ".parquet |" in line]
    assert {stage for stage, _ in files} == {"| first", "| second"} and len({name for _, name in files}) == len(files)
    assert all("/train-" in name for _, name in files), "nothing is learned from other splits"
    assert any("/dev-" in str(path) for path in cards.store.data_files("ift"))
    assert "150 rows learned from. 20\u202f480 tokens over all steps." in text
    assert "Left out: too_long 4 (en 3, ru 1)." in text
    assert "| validation loss | 3.1000 | 1.9000 |" in text and "**Not for commercial use.**" in text
    assert "| train loss (mean over 10 of 40 steps at either end) | 3.3000 | 1.4200 |" in text


def with_weights(finished: Any, **files: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The first stage's card when its folder holds these JSON files (a name's last _ stands for the dot)."""
    for name, facts in files.items():
        place = name.replace("__", "/").replace("_json", ".json")
        finished.store.write_json(f"train/first/adapter/{place}", facts)
    stage = finished.assembly.stages[0]
    write_stage_card(finished.assembly, finished.store, stage, finished.store.read_json("train/first/stage.json"))
    return parts(finished.store.stage_card("first"))


ADAPTER = {"r": 8, "lora_alpha": 16, "target_modules": ["model.layers.0.q_proj", "model.layers.1.q_proj", "v_proj"]}


def test_a_card_of_an_adapter_tells_all_that_the_trainer_told(finished: Any) -> None:
    head, text = with_weights(finished, adapter_config_json=ADAPTER)
    assert head["library_name"] == "peft" and "lora" in head["tags"]
    for line in (
        "A LoRA adapter made by langmill",
        "| base | small/base (sha256:0123) |",
        ": peft, 2 processes |",
        "| what is trained | an adapter, rank 8, alpha 16, on q_proj, v_proj |",
        "| trained parameters | 4\u202f884\u202f480 |",
        "| weights held in | 4 bits (NF4) |",
        "| chat template | the base's own |",
        "each cut in 2 because memory ran out |",
        "| packed | several rows in a line, none seeing another; 99.9 % of the places hold a token |",
        "| steps | 40 in 80 s, 256 tokens a second |",
        "| most memory | 1.50 GiB |",
        "150 rows learned from, as 163 examples.",
        "| English | 83 | own_qa 80, odd 3 | 9\u202f000 |\n| Chinese | 77 | own_qa 77 | 2\u202f345 |",
        "Forms left out, their rows staying in another: too_long 5 (zh 5).",
        "Prompts cut: prompt 2 (zh 2).",
        "that of 12 rows of the split dev",
        'model = PeftModel.from_pretrained(model, "adapter")',
    ):
        assert line in text, line
    assert "merge_and_unload" not in text


def test_a_card_says_how_to_load_an_adapter_that_stands_on_others(finished: Any) -> None:
    below = {
        "merged__0__x_json": {},
        "merged__1__x_json": {},
        "base_json": {"stands_on": {"folder": "../../zero/model"}},
    }
    _, text = with_weights(finished, adapter_config_json=ADAPTER, **below)
    code = text[text.index("```python") :].splitlines()
    assert [line for line in code if "pretrained" in line][:4] == [
        'model = AutoModelForCausalLM.from_pretrained("../zero/model")',
        'model = PeftModel.from_pretrained(model, "adapter/merged/0").merge_and_unload()  # an earlier stage',
        'model = PeftModel.from_pretrained(model, "adapter/merged/1").merge_and_unload()  # an earlier stage',
        'model = PeftModel.from_pretrained(model, "adapter")',
    ]


def test_a_card_of_whole_weights_needs_no_adapter_library(finished: Any) -> None:
    head, text = with_weights(finished, config_json={"model_type": "llama"})
    assert head["library_name"] == "transformers" and "lora" not in head["tags"]
    assert "| what is trained | all weights |" in text and "all of its weights trained" in text
    assert "peft import" not in text and 'AutoModelForCausalLM.from_pretrained("adapter")' in text


def test_a_card_of_something_unknown_promises_no_code(finished: Any) -> None:
    head, text = with_weights(finished)
    assert "library_name" not in head and "What a stage of training left, made by" in text
    assert "```python" not in text and "It lies in `adapter`." in text


def test_options_that_only_the_trainer_knows_are_told_where_they_differ(finished: Any) -> None:
    class Mine(Stage):
        sampler: str = "shuffle"
        weights: dict[str, float] = {}

    class Its(type(finished.assembly.trainer)):
        quantize: str = "auto"

    mine = Mine(**finished.assembly.stages[0].model_dump(), weights={"a|b": 2})
    its = Its(**finished.assembly.trainer.model_dump(), quantize="4bit")
    assembly = replace(finished.assembly, trainer=its)
    write_stage_card(assembly, finished.store, mine, finished.store.read_json("train/first/stage.json"))
    _, text = parts(finished.store.stage_card("first"))
    assert '| option `quantize` | "4bit" |' in text and '| option `weights` | {"a\\|b": 2.0} |' in text
    assert "sampler" not in text and "Options that are not named are what they are when left out." in text


@pytest.mark.parametrize(
    "facts", [[], {"rows": 3, "left_out": {"train": {"x": 4}}, "steps": "many", "losses": None, "fill": True}]
)
def test_a_result_that_makes_no_sense_breaks_no_card(finished: Any, facts: Any) -> None:
    finished.store.write_json("train/first/result.json", facts)
    assert not result(finished.store, "first")
    _, text = with_weights(finished)
    assert "The trainer left no losses." in text


def test_a_stage_without_a_result_has_a_card(finished: Any) -> None:
    (finished.store.stage("first") / "result.json").unlink()
    stage = finished.assembly.stages[0]
    facts = finished.store.read_json("train/first/stage.json")
    write_stage_card(finished.assembly, finished.store, stage, facts)
    assert "The trainer left no losses." in finished.store.stage_card("first").read_text("utf-8")


def test_a_demonstration_base_is_said_first(finished: Any) -> None:
    finished.store.write_json("train/second/result.json", {"base": {"demonstration": True}, "train_loss": 3})
    stage = finished.assembly.stages[1]
    write_stage_card(finished.assembly, finished.store, stage, finished.store.read_json("train/second/stage.json"))
    text = finished.store.stage_card("second").read_text("utf-8")
    assert "Its base is a demonstration model." in text.split("Not reviewed by clinicians")[0]
    assert "The trainer left no losses." in text


def test_steps_of_a_fused_segment_keep_the_order_of_the_recipe(finished: Any) -> None:
    steps = funnel(finished.assembly.datasets["ift"], finished.store.dataset_facts("ift"))
    assert [step.name for step in steps] == ["read own_qa", "read odd", "tidy", "same", "apart", "rewrite"]
    assert [step.number for step in steps] == [None, None, 0, 1, 2, 3]
    after = [step.total("out") for step in steps]
    assert after[-1] == len(finished.rows["ift"])
    assert [step.total("read") for step in steps[3:]] == after[2:-1]


def test_samples_differ_in_kind_and_do_not_depend_on_order(finished: Any) -> None:
    counts = count(finished.store, "ift")
    rows = sample_rows(finished.store, "ift", counts.samples["en"])
    assert [bool(rows[id].origin.marks) for id in counts.samples["en"]] == [False, True, False]
    assert {row.body.kind for row in rows.values()} == {"chat", "text"}
    assert all(len(ids) == min(3, counts.in_language(code)) for code, ids in counts.samples.items())
    whole = finished.rows["ift"]
    finished.store.write_dataset("ift", iter([rows_to_table(whole[::-1])]), {})
    assert count(finished.store, "ift").samples == counts.samples


def test_a_cell_holds_what_it_is_given() -> None:
    assert cell("a|b\nc <i>&</i> [x](y) `z`") == "a\\|b c &lt;i&gt;&amp;&lt;/i&gt; \\[x\\](y) \\`z\\`"
    assert cell("too_short _x_") == "too_short \\_x\\_"
