"""HuatuoGPT-II's recipe: as published where that is known, and once through on real passages with a model whose answers are known."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench
from tests.public_sets import DATA, PACKS
from tests.tiny_models import tiny_base

from langmill.api import Chat, Loader, Reject, Row, SourceContext, Text
from langmill.recipe.assembly import Assembly, assemble
from langmill_plugins.augmenters.unify import Unify, begin

HOUSE = Path(__file__).resolve().parents[2]
RECIPE = HOUSE / "recipes/huatuogpt2.yaml"
KINDS = {"web": 32, "literature": 16, "encyclopedia": 8, "books": 4}
RELEASED = "HuatuoGPT2-Pretraining-Instruction/data/HuatuoGPT2_Pretrain_Meidcal_Web_Corpus_cn.json"


def read(made: Assembly, name: str) -> list[Row | Reject]:
    """All that a source yields."""
    loader: Loader = made.sources[name]
    plain = made.context(f"sources.{name}")
    shares = (("dev", loader.dev), ("test", loader.test))
    context = SourceContext(**vars(plain), source=name, license=loader.license, shares=shares, splits=loader.splits)
    return list(loader.load(context))


# --- what the recipe says ---


def test_as_written_it_asks_for_nothing_that_is_not_here() -> None:
    made = assemble(RECIPE)
    assert not made.absent() and made.models["llm"].model.startswith("local/")
    for name in (*KINDS, "sft"):
        rows = [row for row in read(made, name) if isinstance(row, Row)]
        assert {row.language for row in rows} == set(made.packs), "each kind of source in each of the seven languages"
    [stage] = made.stages
    assert stage.weights == {**KINDS, "sft": 1} and stage.source_epochs == {"sft": 3}  # type: ignore[attr-defined]


@pytest.mark.parametrize("profile", [None, "public", "paper", "paper_corpus"])
def test_one_stage_learns_all_of_it_rich_sources_first(profile: str | None) -> None:
    made = assemble(RECIPE, profile=profile)
    [stage] = made.stages
    options: Any = stage
    assert options.sampler == "priority" and options.packing is True
    assert (options.learning_rate, options.warmup, options.weight_decay, options.schedule) == (
        1e-4,
        0.01,
        0.1,
        "cosine",
    )
    adaption, instructions = made.datasets["adaption"], made.datasets["instructions"]
    assert adaption.inputs[0] == "instructions"
    weights = {name: options.weights.get(name, 1) for name in chain(instructions.inputs, adaption.inputs[1:])}
    tuning = [name for name in weights if name.startswith("sft")]
    assert {weights[name] for name in tuning} == {1} and all(options.source_epochs[name] == 3 for name in tuning)
    assert set(weights.values()) == {1, 4, 8, 16, 32} and set(options.source_epochs) == set(tuning)
    assert [step.use for step in adaption.steps][-1] == "decontaminate"
    assert (profile == "paper") != any(isinstance(step.part, Unify) for step in instructions.steps)


def test_paper_is_of_the_published_size() -> None:
    for profile in ("paper", "paper_corpus"):
        made = assemble(RECIPE, profile=profile)
        rows = {name: made.sources[name].expect for name in made.datasets["instructions"].inputs}
        assert len(rows) == 8 and sum(one.rows for one in rows.values() if one) == 5_286_308  # type: ignore[misc]
        tuned = made.sources["sft_gpt4"].expect
        assert tuned and tuned.rows == 142_248
        assert made.trainer is not None and made.trainer.max_tokens == 4096 and made.trainer.processes == 8  # type: ignore[attr-defined]
        [stage] = made.stages
        draws = 5_286_308 + 3 * 142_248
        assert 8_500 < draws / (stage.batch * stage.accumulate) < 9_100, "as many steps as 35.3K micro-steps by four"
    unify = next(step.part for step in made.datasets["instructions"].steps if isinstance(step.part, Unify))
    assert (unify.into, unify.question_characters, unify.answer_characters) == ("zh", 400, 600)
    assert made.models["llm"].model == "openai/gpt-3.5-turbo"


def test_the_released_rows_are_read_as_they_are(tmp_path: Path) -> None:
    """A row of our own in the layout of the released sets: a list of objects with conversations of human and gpt."""
    file = tmp_path / RELEASED
    file.parent.mkdir(parents=True)
    turns = [{"from": "human", "value": "铁储存在哪里？"}, {"from": "gpt", "value": "主要储存在肝脏。"}]
    file.write_text(json.dumps([{"id": "1", "conversations": turns}], ensure_ascii=False), "utf-8")
    [row] = read(assemble(RECIPE, profile="paper", sets=[f"data_dir={tmp_path}"]), "web_cn")
    assert isinstance(row, Row) and row.body == Chat.of("铁储存在哪里？", "主要储存在肝脏。") and row.language == "zh"


def test_what_the_comments_say_to_type_holds() -> None:
    text = RECIPE.read_text("utf-8")
    said = re.findall(r"--set ('[^']+'|\S+)", "\n".join(line for line in text.splitlines() if "#" in line))
    assert len(said) >= 5
    for option in said:
        assert assemble(RECIPE, profile="public", sets=[option.strip("'")])


# --- once through ---

QUESTIONS = {
    "Make one question in English": "What is known about this in medicine today?",
    "请根据下面的医学材料用中文提出一个问题": "目前医学上对此有哪些了解？",
}
UNIFY = "{use: unify, keep: unmade, question_characters: 900, answer_characters: {openstax: 900, abstracts: 1800}}"
SETS = (
    "llm={model: scripted/test, answers: script.jsonl}", "languages=[en, zh]", "train.base=tiny", "train.max_tokens=512",
    "train.stages.0.max_steps=4", "train.stages.0.accumulate=8", "train.stages.0.eval_rows=2", "eval.0.limit=1",
    # Of the sources some files, and of the steps those that are the recipe's own: each filter starts processes of its own.
    *(f"sources.tico_{kind}.path=$data_dir/tico-19/TM/all.en-zh.tmx.zip" for kind in ("web", "literature", "encyclopedia")),
    "sources.tico_literature.languages=[zh]", "datasets.exams={from: [own_choice, medqa], steps: []}",
    f"datasets.instructions.steps=[{{use: decontaminate}}, {UNIFY}, {{use: language_id}}]",
    "datasets.adaption={from: [instructions, sft, sft_zh], steps: [{use: decontaminate}]}",
)  # fmt: skip
FIRST, RUN = 2, "huatuogpt2.public"  # rows of a source in each language; the run's folder


def first_passages() -> list[Row]:
    """The first passages of each source of the profile, as the run reads them."""
    made = assemble(
        RECIPE, profile="public", sets=[f"data_dir={DATA}", *(one for one in SETS if one.startswith("sources."))]
    )
    found: list[Row] = []
    for name in made.datasets["instructions"].inputs:
        often = dict.fromkeys(("en", "zh"), 0)
        for row in read(made, name):
            if isinstance(row, Row) and row.split == "train" and often.get(row.language, FIRST) < FIRST:
                often[row.language] += 1
                found.append(row)
    return found


@pytest.fixture(scope="module")
def finished(shared_bench: Bench) -> Bench:
    """The profile public on a few rows of each source: its writer answers with what is in the passage, but for two abstracts, of which
    it speaks of the reference and makes up a dose. Its base is tiny."""
    shared_bench.write("huatuogpt2.yaml", RECIPE.read_text("utf-8"))
    shared_bench.data("*.jsonl")
    tiny_base(shared_bench.folder / "tiny")
    faults = ["According to the reference, this is well known.", "Patients were given 7351 mg once a day by mouth."]
    lines = []
    for row in first_passages():
        assert isinstance(row.body, Text)
        text = row.body.text.strip()
        answer = (
            faults.pop(0)
            if row.origin.source == "abstracts"
            else " ".join(begin(text, 200, PACKS[row.language]).split())
        )
        lines.append({"match": ["<reference>\n" + text[:80]], "answer": {"answer": answer}})
    lines += [{"match": [words], "answer": {"question": question}} for words, question in QUESTIONS.items()]
    shared_bench.write("script.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    words = ["run", "huatuogpt2.yaml", "--profile", "public", "--limit", str(FIRST)]
    done = shared_bench.command(
        *words, *chain(*(("--set", one) for one in SETS)), environment={"FACTORY_DATA": str(DATA)}
    )
    assert done.code == 0, done.err[-3000:]
    return shared_bench


@pytest.mark.data
def test_real_passages_become_instructions_but_for_what_the_guards_refuse(finished: Bench) -> None:
    rows = finished.rows("adaption", RUN)
    made = [row for row in rows if row.id.endswith("/unify")]
    assert {row.language for row in made} == {"en", "zh"} and all(isinstance(row.body, Chat) for row in made)
    assert {row.origin.source for row in made} >= {
        "tico_web",
        "tico_literature",
        "tico_encyclopedia",
        "openstax",
        "books",
    }
    refused = [reject for reject in finished.rejects("instructions", RUN) if "steps" in reject.step]
    assert sorted(reject.reason for reject in refused if reject.source == "abstracts") == [
        "changed_number",
        "not_standalone",
    ]
    kept = [row for row in rows if row.origin.source == "abstracts"]
    assert len(kept) == 2 and all(isinstance(row.body, Text) for row in kept), (
        "what no question was made of is learnt as it is"
    )
    steps = [call["step"] for call in finished.calls()]
    assert steps.count("unify.answer.repair") >= 2 and steps.count("unify") >= len(made)


@pytest.mark.data
def test_the_report_shows_what_was_drawn_when(finished: Bench) -> None:
    store = finished.run(RUN)
    facts = json.loads((store.root / "train/adaption/result.json").read_text("utf-8"))
    mix = facts["mix"]
    assert mix["ends"] == [1, 2, 3, 4] and sum(map(sum, mix["draws"].values())) > 3 * 8
    assert {source for table in facts["draws"].values() for source in table} == set(mix["draws"])
    assert mix["weights"]["tico_web"] == 32 and mix["weights"]["sft"] == 1 and len(mix["draws"]) > 2
    page = store.report.read_text("utf-8")
    assert "Sources over the stage" in page
    assert all(f"{source} ({mix['weights'][source]:g})" in page for source in mix["draws"])


@pytest.mark.data
def test_the_exams_are_asked_and_told_by_language(finished: Bench) -> None:
    files = sorted((finished.run(RUN).root / "eval").glob("*.json"))
    told = "".join(file.read_text("utf-8") for file in files)
    assert '"zh"' in told and '"en"' in told and "unreadable" in told
