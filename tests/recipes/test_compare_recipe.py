"""recipes/compare.yaml: three ways from one base, of the same source rows, for the same tokens; once through, with a model whose
answers are known."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT, Bench
from tests.public_sets import DATA, PACKS
from tests.tiny_models import tiny_base

from langmill.api import Chat, Row, SourceContext, Split, Stage, Text
from langmill.recipe.assembly import Assembly, assemble

MAIN = ROOT / "recipes/compare.yaml"
WAYS = {"choices": ("knowledge", "choices"), "finetune": ("pretrain", "finetune"), "adaption": ("adaption",)}
PROFILES = (None, "public", "paper")


def chains(made: Assembly) -> dict[str, list[Stage]]:
    by_name = {stage.name: stage for stage in made.stages}
    return {end: [by_name[name] for name in names] for end, names in WAYS.items()}


def sources_of(made: Assembly, data: str) -> set[str]:
    """The sources behind a data set."""
    found: set[str] = set()
    for name in made.datasets[data].inputs:
        found |= sources_of(made, name) if name in made.datasets else {name}
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_every_way_has_one_budget_and_one_base(profile: str | None) -> None:
    made = assemble(MAIN, profile=profile)
    budgets, made_of = set(), set()
    for end, chain in chains(made).items():
        options: list[Any] = list(chain)
        assert [options[0].start, *(one.start for one in options[1:])] == ["base", *WAYS[end][:-1]]
        budgets.add(sum(one.tokens for one in options))
        made_of.add(frozenset(source for one in options for source in sources_of(made, one.data)))
        assert all(one.max_steps is None and one.lora is None for one in options), "nothing but the tokens ends a stage"
    assert len(budgets) == 1, budgets
    assert len(made_of) == 1, "the same source rows for each way"
    rates = {(stage.learning_rate, stage.batch, stage.accumulate, stage.schedule) for stage in made.stages}
    assert len(rates) == 1, "the same rate, and rows of a step"
    assert not list(made.trainer.faults(made.stages, made.sources, PACKS)) if made.trainer else False
    for _, part in made.evaluators:
        assert part.models in (("base", *WAYS), tuple(WAYS)), "what each way ends with is asked the same"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_ways_are_those_of_the_three_systems(profile: str | None) -> None:
    made = assemble(MAIN, profile=profile)
    steps = {name: [step.use for step in plan.steps] for name, plan in made.datasets.items()}
    assert [use for use in steps["instructions"] if use in ("expand", "ask")] == ["expand", "ask"]
    assert steps["unified"][0] == "unify" and set(made.datasets["adapted"].inputs) == {"unified", "questions", "items"}
    assert set(made.datasets["taught"].inputs) == {"questions", "items"}
    one: Any = made.stages[-1]
    assert one.sampler == "priority" and len(one.weights) > 2
    heavy = {name for name, weight in one.weights.items() if weight == max(one.weights.values())}
    assert heavy <= sources_of(made, "passages"), "the corpus early, the exams late"
    assert not set(one.weights) & (sources_of(made, "exams") - {"own_choice"})
    for name in ("instructions", "unified", "passages", "questions", "items"):
        assert steps[name][-1] == "decontaminate"


def test_paper_is_planned_offline_with_every_set_absent(bench: Bench) -> None:
    for command in ("check", "plan"):
        said = bench.factory(command, str(MAIN), "--profile", "paper", "--set", f"data_dir={bench.folder}")
        assert said.code == 0, said.err
        told = " ".join((said.out + said.err).split())
        assert "Japanese.zip of the Hugging Face data set Henrychur/MMedC" in told and "11,451 records" in told


def test_what_the_comments_say_to_type_holds() -> None:
    text = MAIN.read_text("utf-8")
    said = re.findall(r"#   --set (\S+)", text)
    assert len(said) == 4
    for option in said:
        assert assemble(MAIN, profile="public", sets=[option])


# --- once through ---

FIRST = 3  # rows of a source in each language
QUESTIONS = {
    "Make one question in English": "What is known about this in medicine today?",
    "formulez en français une seule question": "Que sait la médecine à ce sujet aujourd'hui ?",
}
LONGER = ("Write a longer answer", "Rédigez une réponse plus développée")
DROPPED = ("tico", "medquad", "headqa", "cmexam", "igakuqa", "frenchmedmcqa", "rumeddanet", "kormedmcqa_cot")


def _sentence(text: str) -> str:
    """The last whole paragraph of a passage, cut."""
    return text.strip().rpartition("\n\n")[2][:600]


def script(made: Assembly) -> list[dict[str, Any]]:
    """What the scripted model says: to each passage, what stands in it; to a short answer, something else, which is refused."""
    lines: list[dict[str, Any]] = []
    for name in sorted(sources_of(made, "passages")):
        loader = made.sources[name]
        plain = made.context(f"sources.{name}")
        shares: tuple[tuple[Split, float], ...] = (("dev", loader.dev), ("test", loader.test))
        context = SourceContext(**vars(plain), source=name, license=loader.license, shares=shares, splits=loader.splits)
        often: dict[str, int] = {}
        for row in loader.load(context):
            if isinstance(row, Row) and isinstance(row.body, Text) and row.split == "train":
                often[row.language] = often.get(row.language, 0) + 1
                if often[row.language] > FIRST:
                    continue
                said, begins = _sentence(row.body.text), row.body.text.strip()[:80]
                lines.append({"match": ["<reference>\n" + begins], "answer": {"answer": said}})
                pair = {"question": list(QUESTIONS.values())[row.language == "fr"], "answer": said}
                lines.append({"match": ["`pairs`", "<passage>\n" + begins], "answer": {"pairs": [pair]}})
    lines += [{"match": [words], "answer": {"question": question}} for words, question in QUESTIONS.items()]
    return [
        *lines,
        *({"match": [words], "answer": {"answer": "The heart fills and then it ejects."}} for words in LONGER),
    ]


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_real_rows_go_three_ways_and_are_told_in_one_table(bench: Bench, tmp_path: Path) -> None:
    """A few real rows in two languages, the scripted writer and a tiny base: each way reads its budget, and the report, the terminal
    and `factory compare` hold them side by side."""
    bench.data("passages.*.jsonl", "held_out.*.jsonl", "choice.*.jsonl", "qa.*.jsonl")
    recipe = bench.write("compare.yaml", MAIN.read_text("utf-8"))
    asked = "[{use: choice_accuracy, data: exams, models: [base, choices, finetune, adaption], limit: 2}]"
    sets: dict[str, object] = {
        "eval": asked, "data_dir": DATA, "train.base": tiny_base(tmp_path / "base"), "train.max_tokens": 384, "languages": "[en, fr]",
        "llm": "{model: scripted/test, answers: script.jsonl}",
        "datasets.exams.from": "[own_choice, casimedicos]", "datasets.prose": "null",
        "datasets.passages.from": "[own_passages, own_held_out, openstax]", "datasets.questions.from": "[own_qa]",
        **{f"sources.{name}": "null" for name in DROPPED},
        "train.stages.4.weights": "{own_passages: 16, openstax: 16, own_qa: 2}",
        **{f"train.stages.{number}.tokens": many for number, many in enumerate((900, 900, 900, 900, 1800))},
    }  # fmt: skip
    words = [f"{key}={value}" for key, value in sets.items()]
    lines = script(assemble(recipe, profile="public", sets=words))
    bench.write("script.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    options = [word for one in words for word in ("--set", one)]
    said = bench.command(
        "run", str(recipe), "--profile", "public", "--limit", str(FIRST), "--out", "runs/small", *options
    )
    assert said.code == 0, said.err[-3000:]
    store = bench.run()
    unified = bench.rows("unified")
    assert {row.language for row in unified if row.split == "train"} == {"en", "fr"}
    assert all(isinstance(row.body, Chat) for row in unified if row.id.endswith("/unify"))
    facts = {name: store.read_json(f"train/{name}/result.json") or {} for names in WAYS.values() for name in names}
    tokens = {end: sum(facts[name]["tokens"] for name in names) for end, names in WAYS.items()}
    assert all(1800 - 2 * 384 < many <= 1800 for many in tokens.values()), tokens
    assert len({source for by in facts["adaption"]["draws"].values() for source in by}) > 2, (
        "all kinds of rows in one stage"
    )
    page = store.report.read_text("utf-8")
    assert "Ways side by side" in page and "knowledge → choices" in page
    assert "pretrain → finetune:" in said.out + said.err
    compared = bench.command("compare", "runs/small", "--json")
    pairs = {(match["first"], match["second"]) for match in json.loads(compared.out)}
    between = {("choices", "finetune"), ("choices", "adaption"), ("finetune", "adaption")}
    assert pairs == {("base", end) for end in WAYS} | between
