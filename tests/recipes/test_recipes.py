"""The recipes that ship: each holds, with each of its profiles, and is made of what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from langmill.api import SPLITS, Chat, Choice, Loader, Row, SourceContext, Text, words
from langmill.licensing.licenses import terms
from langmill.recipe.assembly import Assembly, assemble
from langmill.yaml12 import draft_file
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.order.drawing import draw
from langmill_plugins.trainers.tokens.tokenising import Recording, tokenise
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer

HOUSE = Path(__file__).resolve().parents[2]
RECIPES = sorted((HOUSE / "recipes").glob("*.yaml"))
MAIN = HOUSE / "recipes/mmed_ift.yaml"
SEVEN = ("en", "zh", "ja", "ko", "fr", "es", "ru")
DATA = Path(os.environ.get("FACTORY_DATA", HOUSE / "../shared/data"))

BOUNDS = (
    ("sources.openstax.limit", lambda made: made.sources["openstax"].limit),
    ("datasets.mmed_ift.steps.4.limit", lambda made: made.datasets["mmed_ift"].steps[4].part.limit),
    ("datasets.mmed_ift.steps.6.limit", lambda made: made.datasets["mmed_ift"].steps[6].part.limit),
    ("datasets.mmed_ift_mc.steps.1.limit", lambda made: made.datasets["mmed_ift_mc"].steps[1].part.limit),
    ("train.stages.0.max_steps", lambda made: made.stages[0].max_steps),
    ("train.stages.1.max_steps", lambda made: made.stages[1].max_steps),
    *(
        (f"eval.{number}.limit", lambda made, number=number: made.evaluators[number][1].limit)  # type: ignore[misc]
        for number in range(5)
    ),
)
OF_OTHERS = ("train.stages.1.max_steps", *(f"eval.{number}.limit" for number in range(1, 5)))  # "(and stages.1)"


def _profiles() -> Iterator[tuple[Path, str | None]]:
    for path in RECIPES:
        yield path, None
        yield from ((path, name) for name in draft_file(path).data.get("profiles", {}))


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data folder unless a test says so."""
    monkeypatch.delenv("FACTORY_DATA", raising=False)


@pytest.mark.parametrize(("path", "profile"), list(_profiles()), ids=lambda value: getattr(value, "stem", str(value)))
def test_every_recipe_holds_with_every_profile(path: Path, profile: str | None) -> None:
    made = assemble(path, profile=profile)
    assert made.datasets
    below = {name for name, loader in made.sources.items() if loader.path.startswith("$data_dir")}
    absent = {item.place for item in made.absent() if item.place.startswith("sources.")}
    assert absent == {f"sources.{name}" for name in below}, (
        "what lies beside the recipe is there, what lies below the data folder is not"
    )
    assert profile or not below, "as written a recipe needs no data folder"


def test_as_written_it_is_offline_and_bounded() -> None:
    made = assemble(MAIN)
    assert set(made.sources) == {"own_qa", "own_choice", "own_passages"}
    assert made.models["llm"].model.startswith("local/")
    assert made.trainer is not None and made.trainer.base.startswith("local/")
    assert all(stage.max_steps for stage in made.stages)


@pytest.mark.parametrize("profile", [None, "public", "paper"])
def test_both_data_sets_go_the_same_way(profile: str | None) -> None:
    """Whatever the profile: MMed-IFT is expanded, asked, translated in this order; nothing is learnt unguarded."""
    made = assemble(MAIN, profile=profile)
    assert tuple(made.packs) == SEVEN
    steps = [step.use for step in made.datasets["mmed_ift"].steps]
    assert [use for use in steps if use in ("expand", "ask", "translate")] == ["expand", "ask", "translate"]
    assert steps[-1] == "decontaminate", "what a model wrote is held against the test rows, too"
    assert made.datasets["mmed_ift_mc"].inputs == ("exams",)
    assert [step.use for step in made.datasets["mmed_ift_mc"].steps] == [
        "decontaminate", "explain", "language_id", "decontaminate",
    ]  # fmt: skip
    assert [(stage.data, stage.start) for stage in made.stages] == [("mmed_ift", "base"), ("mmed_ift_mc", "knowledge")]
    assert made.evaluators[0][1].models == ("base", "knowledge", "choices")
    for name in ("own_qa", "own_passages"):
        assert name in made.datasets["mmed_ift"].inputs
    assert "own_choice" in made.datasets["exams"].inputs


@pytest.mark.parametrize(("option", "bound"), BOUNDS, ids=[option for option, _ in BOUNDS])
def test_each_bound_goes_with_one_option(option: str, bound) -> None:  # type: ignore[no-untyped-def]
    assert bound(assemble(MAIN, profile="public"))
    assert bound(assemble(MAIN, profile="public", sets=[f"{option}=null"])) is None
    assert f"--set {option}=null" in MAIN.read_text("utf-8") or option in OF_OTHERS


def test_what_the_comments_say_to_type_holds() -> None:
    """Each --set of the comments, and each stage that '(and stages.1)' means as well."""
    text = MAIN.read_text("utf-8")
    said = re.findall(r"^ *# .*?--set (\S+)", text, re.M)
    assert len(said) > 8
    for option in said:
        profile = None if option.startswith("llm.") else "public"
        assert assemble(MAIN, profile=profile, sets=[option])
        assemble(MAIN, profile=profile, sets=[option.replace("stages.0", "stages.1")])


def test_paper_is_what_is_published() -> None:
    made = assemble(MAIN, profile="paper")
    declared = {
        name: loader.expect.total for name, loader in made.sources.items() if loader.expect and loader.expect.total
    }
    bench = {name: rows for name, rows in declared.items() if name.startswith("mmedbench_")}
    assert sum(bench.values()) == 53_566 and len(bench) == 6
    korean = {name: rows for name, rows in declared.items() if name.startswith("kormedmcqa_")}
    assert sum(korean.values()) == 3_104 + 755 + 1_486
    assert set(made.datasets["exams"].inputs) == {"own_choice", *bench, *korean}
    translate = made.datasets["mmed_ift"].steps[6].part
    assert sorted(translate.into) == ["en", "es", "fr", "ja", "ko", "zh"]  # type: ignore[union-attr]
    assert made.models["llm"].model == "openai/gpt-4o-mini" and made.recipe.budget
    trainer = made.trainer
    assert trainer is not None and trainer.base == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert trainer.quantize == "4bit" and trainer.lora.rank == 16 and trainer.lora.layers == "all-linear"  # type: ignore[attr-defined]
    assert all(part.limit is None for _, part in made.evaluators)
    assert all(stage.max_steps is None for stage in made.stages)
    knowledge, exams = (stage.model_dump() for stage in made.stages)
    assert all(
        stage["batch"] * stage["accumulate"] == 32 and stage["schedule"] == "cosine" for stage in (knowledge, exams)
    )
    assert (exams["epochs"], exams["handover"], exams["choices"]["answer"]) == (3, "continue", "both")


def test_paper_checks_offline_and_lists_what_is_absent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "langmill.cli", "check", str(MAIN), "--profile", "paper"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "FACTORY_DATA": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "absent: 16 of 19 sources" in done.stderr
    assert "where to get these 6: MMedBench.zip" in done.stderr and "the recipe does not say" not in done.stderr
    assert f"{tmp_path}/MMedBench/T*/English.jsonl" in done.stderr
    assert "MMedBench.zip of the Hugging Face data set Henrychur/MMedBench, unpacked" in done.stderr


MMEDBENCH = (
    '{"question": "Which vitamin prevents scurvy?", "answer": "Vitamin C", "options": {"A": "Vitamin C", "B": "Vitamin D"}, '
    '"answer_idx": "A", "rationale": "Collagen needs it.", "human_checked": false, "meta_info": "step1"}\n'
    '{"question": "Which of these are fat soluble?", "options": {"A": "Vitamin A", "B": "Vitamin C", "C": "Vitamin K"}, '
    '"answer_idx": "A,C", "rationale": ""}\n'
)
KORMEDMCQA = (
    "subject,year,period,q_number,question,A,B,C,D,E,answer,cot\n"
    "doctor,2022,1,1,괴혈병을 막는 비타민은?,비타민 A,비타민 C,비타민 D,비타민 E,비타민 K,2,\n"
)


def test_paper_reads_the_published_layouts(tmp_path: Path) -> None:
    """Rows of our own in the layouts of MMedBench and KorMedMCQA: keys, rationales and splits are found."""
    for split in ("Train", "Test"):
        file = tmp_path / "MMedBench" / split / "English.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text(MMEDBENCH, "utf-8")
    for split in ("train", "dev", "test"):
        file = tmp_path / "KorMedMCQA/data" / f"doctor-{split}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(KORMEDMCQA, "utf-8")
    made = assemble(MAIN, profile="paper", sets=[f"data_dir={tmp_path}"])
    rows = _read(made, "mmedbench_en")
    assert {(row.id, row.split) for row in rows} == {
        ("mmedbench_en/Test.English-1", "test"), ("mmedbench_en/Test.English-2", "test"),
        ("mmedbench_en/Train.English-1", "train"), ("mmedbench_en/Train.English-2", "train"),
    }  # fmt: skip
    single, several = (row.body for row in rows if row.split == "train")
    assert isinstance(single, Choice) and (single.answers, single.explanation) == ((0,), "Collagen needs it.")
    assert isinstance(several, Choice) and (several.answers, several.explanation) == ((0, 2), None)
    six = [made.sources[f"mmedbench_{code}"] for code in ("en", "zh", "ja", "fr", "ru", "es")]
    assert all(one.dev == 0.005 and one.splits == {"train": None} for one in six), "a validation loss of all languages"  # type: ignore[union-attr]
    korean = _read(made, "kormedmcqa_doctor")
    assert [row.split for row in korean] == ["dev", "test", "train"]
    assert all(isinstance(row.body, Choice) and row.body.options[row.body.answers[0]] == "비타민 C" for row in korean)


def _read(made: Assembly, name: str) -> list[Row]:
    loader: Loader = made.sources[name]
    plain = made.context(f"sources.{name}")
    context = SourceContext(
        **vars(plain),
        source=name,
        license=loader.license,
        shares=(("dev", loader.dev), ("test", loader.test)),
        splits=loader.splits,
    )
    return [item for item in loader.load(context) if isinstance(item, Row)]


def test_licences_are_said_and_known_where_one_is_stated() -> None:
    """A licence that is not in the list of known ones counts as not permitted: only these three may."""
    for profile in ("public", "paper"):
        unknown = {
            name for name, loader in assemble(MAIN, profile=profile).sources.items() if not terms(loader.license).known
        }
        assert unknown <= {"igakuqa", "bentsao", "mmlu_pro"}
    assert not terms(assemble(MAIN, profile="public").sources["kormedmcqa_cot"].license).commercial


@pytest.mark.data
def test_public_sets_give_every_language_train_and_test_rows() -> None:
    """All sources of the profile are read whole from the real sets."""
    made = assemble(MAIN, profile="public", sets=[f"data_dir={DATA.resolve()}"])
    assert not made.absent()
    splits: dict[str, set[str]] = {code: set() for code in SEVEN}
    counts: dict[str, int] = {}
    for name in made.datasets["exams"].inputs:
        rows = _read(made, name)
        counts[name] = len(rows)
        for row in rows:
            assert isinstance(row.body, Choice)
            splits[row.language].add(row.split)
    assert all(found == set(SPLITS) for found in splits.values()), splits
    assert counts["headqa"] == 2 * 3925 and counts["kormedmcqa_cot"] > 900, counts
    chats = [row for row in _read(made, "bentsao") if isinstance(row.body, Chat)]
    assert len(chats) == 3000 and all(words(row.body).strip() for row in chats)


@pytest.mark.data
def test_seven_languages_are_learnt_from_about_as_often() -> None:
    """The stages of the profile on the first rows of each source: of what their few steps draw, each language has its part."""
    made = assemble(MAIN, profile="public", sets=[f"data_dir={DATA.resolve()}"])
    assert made.trainer is not None
    context = made.context("train")
    tokenizer = load_tokenizer(find_base(made.trainer.base, context).folder)
    sources = (("own_qa", "medquad", "bentsao"), made.datasets["exams"].inputs)
    for stage, names in zip(made.stages, sources, strict=True):
        assert isinstance(stage, AdapterStage) and stage.max_steps
        rows = [row for name in names for row in _first(made, name, 120)]
        how = Recording(tokenizer, context, made.trainer.max_tokens, stage, context.seed_for)
        examples = tokenise(rows, how).examples
        drawn = draw(examples, stage, context.seed_for).example[: stage.max_steps * stage.batch * stage.accumulate]
        often = Counter(examples.languages[number] for number in examples.language[drawn].tolist())
        assert set(often) == set(SEVEN) and min(often.values()) > 0.05 * len(drawn), (stage.name, often)


def _first(made: Assembly, name: str, most: int) -> list[Row]:
    """The first train rows of a source in each language."""
    found: dict[str, list[Row]] = {}
    for row in _read(made, name):
        if row.split == "train" and not isinstance(row.body, Text):
            found.setdefault(row.language, []).append(row)
    return [row for rows in found.values() for row in rows[:most]]
