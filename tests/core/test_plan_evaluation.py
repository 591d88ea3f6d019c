"""What evaluations would cost, held against what they then cost."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path

import pytest

from langmill.plan.forecast import facts, plan
from langmill.plan.lines import lines
from langmill.recipe.assembly import assemble

sys.path.append(str(Path(__file__).resolve().parents[1]))
examined = importlib.import_module("examined")

JUDGED = """  - {use: judge, data: exams, models: [base, far], judge: near, against: base, limit: 2}
"""
NEAR = "  near: {model: noting/near, concurrency: 2, dollars: 0.00001, max_tokens: 200}\n"


@pytest.fixture
def exams(bench):
    return examined.laid_out(bench)


def planned(bench, *sets):
    bench.monkeypatch.chdir(bench.folder)
    return asyncio.run(plan(assemble(Path("small.yaml"), sets=sets)))


PRICED = ("models.far.dollars=0.00001", "models.far.max_tokens=200")


def test_calls_of_a_provider_are_counted_and_what_the_ledger_has_is_told(exams):
    found = planned(exams, *PRICED)
    assert [(cost.dataset, cost.step, cost.language, cost.calls, cost.paid) for cost in found.steps] == [
        ("eval exams.asked", "far", "en", 6, 0), ("eval exams.asked", "far", "fr", 6, 0),
    ]  # fmt: skip
    assert 0 < found.dollars.low < found.dollars.high <= found.worst
    sets = [word for one in PRICED for word in ("--set", one)]
    assert exams.factory("run", "small.yaml", *sets, "--set", "eval.0.limit=3").code == 0
    (usage,) = exams.run().read_json("manifest.json")["calls"]
    assert usage["cost"] == pytest.approx(6 * 150 * 0.00001)
    again = planned(exams, *PRICED)
    assert [(cost.calls, cost.paid) for cost in again.steps] == [(6, 3), (6, 3)]
    assert again.saved == pytest.approx(usage["cost"])
    assert exams.factory("run", "small.yaml", *sets).code == 0
    rest = exams.run().read_json("manifest.json")["calls"][0]["cost"] - usage["cost"]
    assert again.dollars.low <= rest <= again.worst
    whole = planned(exams, *PRICED)
    assert any("all paid: a run costs $0" in line for line in lines(whole))


def test_an_evaluations_own_bound_is_counted(exams):
    sets = ("models.far.dollars=0.00001", "models.far.max_tokens=2000", "eval.0.max_tokens=10")
    found = planned(exams, *sets)
    assert all(cost.answer_tokens.high <= 6 * 10 for cost in found.steps)
    assert exams.factory("run", "small.yaml", *(word for one in sets for word in ("--set", one))).code == 0
    assert found.worst >= exams.run().read_json("manifest.json")["calls"][0]["cost"]
    assert [(cost.calls, cost.paid) for cost in planned(exams, *sets).steps] == [(6, 6), (6, 6)]


def test_what_keeps_a_model_from_answering_is_told(exams):
    found = planned(exams, "models.far={model: openai/x, api_key_env: NO_SUCH_KEY}")
    told = "models.far: openai/x needs the environment variable NO_SUCH_KEY: export NO_SUCH_KEY=…"
    assert found.unable == facts(found)["unable"] == [told]
    assert f"can not answer yet: {told}" in lines(found)


def test_a_person_and_a_program_are_told(exams):
    found = planned(exams, *PRICED, "budget=0.0001")
    shown = "\n".join(lines(found))
    assert "eval exams.asked" in shown and "far en" in shown
    assert "budget: $0.0001 in the recipe may stop it before its end" in shown
    told = json.loads(json.dumps(facts(found)))["examinations"]
    assert told == [
        {"evaluation": "exams.asked", "place": "eval[0]", "model": "far", "here": False, "rows": 12, "questions": 12,
         "continuations": 0, "made": 0, "declared": 0, "why": ""},
    ]  # fmt: skip


def test_weights_are_listed_with_their_questions_and_cost_nothing(bench):
    examined.laid_out(bench, examined.TRAINED)
    found = planned(bench)
    assert not found.steps
    assert [(exam.model, exam.here, exam.questions) for exam in found.examinations] == [
        ("base", True, 12),
        ("first", True, 12),
    ]
    shown = lines(found)
    likelihoods = found.examinations[0].continuations
    assert likelihoods in range(4 * 12, 5 * 12 + 1)
    asked = f"eval exams.asked: 12 questions about 12 rows, {likelihoods} likelihoods, to base, first on this machine"
    assert asked in shown


def test_a_judge_is_counted_before_anything_was_answered(bench):
    examined.laid_out(bench, examined.TRAINED.replace("models:\n", f"models:\n{NEAR}") + JUDGED)
    found = planned(bench, *PRICED)
    steps = {(cost.step, cost.language): cost for cost in found.steps}
    assert {(key, cost.calls, cost.follows) for key, cost in steps.items() if "judges" in key[0]} >= {
        (("near judges", "en"), 4, True), (("near judges", "fr"), 4, True),
    }  # fmt: skip
    # Two rows a language: a mark for each answer of base and far, and both orders of far against base.
    pairs = [cost for cost in found.steps if cost.step == "near judges"]
    assert sum(cost.calls for cost in pairs) == 2 * (2 * 2 + 2 * 2)
    assert steps["far", "en"].calls == 2 and not steps["far", "en"].follows
    assert all(cost.worst and cost.dollars and cost.dollars.high <= cost.worst for cost in pairs)
    assert any(line.startswith("  near judges") for line in lines(found))


def test_an_evaluation_without_rows_is_told_and_the_rest_is_counted(exams):
    found = planned(exams, "sources.choice.splits={test: train}")
    assert not found.steps
    (exam,) = found.examinations
    assert "holds no test rows" in exam.why
    assert any("eval exams.asked: can not be told: " in line for line in lines(found))


def test_prices_of_examined_models_and_judges_stay_with_the_run(exams):
    from langmill.recipe.able import asked_models

    (exams.folder / "small.yaml").write_text(
        examined.RECIPE.replace("models:\n", f"models:\n{NEAR}")
        + JUDGED.replace("base", "far").replace("[far, far]", "[far]"),
        "utf-8",
    )
    exams.monkeypatch.chdir(exams.folder)
    assert asked_models(assemble(Path("small.yaml"))) == ["far", "near"]


def test_check_finds_a_judge_that_is_not_there(exams):
    recipe = exams.folder / "small.yaml"
    recipe.write_text(recipe.read_text("utf-8") + JUDGED.replace("base", "far").replace("[far, far]", "[far]"), "utf-8")
    said = exams.factory("check", "small.yaml")
    assert said.code == 2 and "there is no model 'near'" in said.err
