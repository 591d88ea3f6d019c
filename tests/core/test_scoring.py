"""Evaluations through the command: what is asked, what is kept, what a stop, a kill and a change cost."""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))
examined = importlib.import_module("examined")
noted = examined.noted
Provider = importlib.import_module("provider").Provider
NAME = "exams.asked.far"


@pytest.fixture
def exams(bench):
    return examined.laid_out(bench)


def answers(bench, name=NAME):
    path = bench.run().root / f"eval/{name}.answers.jsonl"
    return path.read_text("utf-8").splitlines()[1:] if path.exists() else []


# --- a provider ---


def test_a_provider_is_asked_once_and_the_money_is_told(exams):
    done = exams.factory("run", "small.yaml", "--json", "--set", "models.far.dollars=0.00001")
    assert done.code == 0, done.err
    assert len(noted(exams, "provider")) == sum(noted(exams, "provider").values()) == 12
    facts = exams.run().evaluations()[NAME]
    assert [(score["language"], score["n"], score["accuracy"]) for score in facts["scores"]] == [
        ("en", 6, 1.0), ("fr", 6, 1.0), ("all", 12, 1.0),
    ]  # fmt: skip
    assert facts["decides"]["model"]["model"] == "noting/far"
    (usage,) = exams.run().read_json("manifest.json")["calls"]
    assert (usage["step"], usage["calls"]) == ("eval.exams.asked", 12)
    assert usage["cost"] == pytest.approx(12 * 150 * 0.00001)
    assert json.loads(done.out)["calls"] == [usage]
    again = exams.factory("run", "small.yaml", "--set", "models.far.dollars=0.00001")
    assert again.code == 0 and "score far on exams.asked (kept)" in again.err
    assert sum(noted(exams, "provider").values()) == 12
    assert exams.run().read_json("manifest.json")["calls"] == [usage]


def test_what_does_not_change_a_question_asks_nothing(exams):
    assert exams.factory("run", "small.yaml").code == 0
    for change in (["--set", "models.far.concurrency=3"], ["--set", "eval.0.word=no"], ["--set", "eval.0.limit=4"]):
        assert exams.factory("run", "small.yaml", *change).code == 0
    assert sum(noted(exams, "provider").values()) == 12
    assert noted(exams, "marked") == {"yes": 2, "no": 1}, "transport decides nothing"
    plugin = exams.folder / "examined.py"
    plugin.write_text(plugin.read_text("utf-8").replace('"it says the word"', '"it says that word"'), "utf-8")
    changed = exams.factory("run", "small.yaml")
    assert changed.code == 0 and "(kept)" not in changed.err.partition("score far")[2].partition("\n")[0]
    assert sum(noted(exams, "provider").values()) == 12, "another way to read answers asks nobody"
    assert exams.factory("run", "small.yaml", "--set", "eval.0.limit=8").code == 0
    assert sum(noted(exams, "provider").values()) == len(noted(exams, "provider")) == 16, "new rows alone"
    assert exams.factory("run", "small.yaml", "--set", "models.far.temperature=0").code == 0
    assert sum(noted(exams, "provider").values()) == 28, "another way to sample is another model"


def test_a_killed_examination_asks_what_is_missing(exams):
    slow = ("--set", "models.far.pause=0.15", "--set", "models.far.concurrency=1")
    killed = exams.kill_when(lambda: len(answers(exams)) >= 4, "run", "small.yaml", *slow)
    assert killed.code == -signal.SIGKILL
    assert 4 <= len(answers(exams)) < 12
    assert exams.factory("run", "small.yaml").code == 0
    asked = noted(exams, "provider")
    assert len(asked) == 12
    assert sum(asked.values()) <= 13, "the one that was in flight may be asked again"
    assert len(exams.answered()) == len(set(exams.answered())) == 12


def test_ctrl_c_waits_for_what_is_in_flight(exams):
    slow = ("--set", "models.far.pause=0.3")
    ended = exams.kill_when(lambda: len(answers(exams)) >= 3, "run", "small.yaml", *slow, by=signal.SIGINT)
    assert ended.code == 1, ended.err
    assert "stopping: calls in flight are finished and kept" in ended.err
    assert "left of exams.asked far: " in ended.err and " of 12 questions" in ended.err
    assert "Traceback" not in ended.err
    assert len(answers(exams)) == len(exams.answered()) == sum(noted(exams, "provider").values()) < 12
    assert exams.factory("run", "small.yaml").code == 0
    assert sum(noted(exams, "provider").values()) == 12


def test_the_budget_holds_in_evaluation_and_what_is_answered_stays(exams):
    priced = (
        "--set",
        "models.far.dollars=0.00001",
        "--set",
        "models.far.max_tokens=50",
        "--set",
        "models.far.concurrency=1",
    )
    assert exams.factory("run", "small.yaml", "--until", "data", *priced).code == 0
    met = exams.factory("run", "runs/small", "--only", "eval", "--max-cost", "0.016", "--json")
    assert met.code == 3, met.err
    assert "the cap of this run is met" in met.err and "Traceback" not in met.err
    left = json.loads(met.out)["left"]
    assert 0 < left["rows"] < left["of"] == 12 and left["dollars"] > 0 and left["dataset"] == "exams.asked"
    asked = sum(noted(exams, "provider").values())
    assert asked == len(answers(exams)) == 12 - left["rows"]
    assert NAME not in exams.run().evaluations()
    assert exams.factory("run", "runs/small", "--only", "eval").code == 3, "the cap holds for every resume"
    done = exams.factory("run", "runs/small", "--only", "eval", "--max-cost", "1")
    assert done.code == 0, done.err
    assert sum(noted(exams, "provider").values()) == 12
    assert exams.run().evaluations()[NAME]["rows"] == 12
    assert exams.run().left is None


def test_a_provider_that_fails_on_some_is_told_and_asked_for_the_rest(exams, monkeypatch):
    monkeypatch.setattr("langmill.calls.sending.FIRST_PAUSE", 0.01)
    word = sorted(row.id for row in exams_rows(exams))[0]
    exams.write("down", f"{word}:")
    said = exams.factory("run", "small.yaml", "--set", "eval.0.limit=100")
    assert said.code == 1
    assert "noting/far did not answer 1 of 30 questions of exams.asked (server: out of order)" in said.err
    assert "Traceback" not in said.err and len(answers(exams)) == 29
    (exams.folder / "down").unlink()
    assert exams.factory("run", "small.yaml", "--set", "eval.0.limit=100").code == 0
    asked = noted(exams, "provider")
    assert len(asked) == 30 and sorted(asked.values())[:-1] == [1] * 29


def exams_rows(bench):
    assert bench.factory("run", "small.yaml", "--until", "data").code == 0
    return bench.rows("exams")


def test_what_a_provider_refuses_is_an_empty_answer(exams):
    ids = [row.id for row in exams_rows(exams)]
    exams.write("refused", f"{ids[0]}:")
    exams.write("empty", f"{ids[1]}:")
    assert exams.factory("run", "small.yaml", "--set", "eval.0.limit=100").code == 0
    (score, *_) = exams.run().evaluations()[NAME]["scores"]
    assert (score["language"], score["n"], score["correct"], score["unreadable"]) == ("en", 15, 13, 2)
    assert facts_of(exams)["refused"] == 1
    told = "far refused 1 of 30 questions of exams.asked, which count as answered with nothing until the same command asks again: "
    again = exams.factory("run", "small.yaml", "--set", "eval.0.limit=100")
    assert again.code == 0 and told in again.err.replace("\n", " ") and "that is against the rules" in again.err
    assert Counter(noted(exams, "provider").values()) == {1: 29, 2: 1}, "a refusal is no answer for good"
    (exams.folder / "refused").unlink()
    assert exams.factory("run", "small.yaml", "--set", "eval.0.limit=100").code == 0
    assert (facts_of(exams)["refused"], facts_of(exams)["scores"][0]["correct"]) == (0, 14)
    kept = exams.factory("run", "small.yaml", "--set", "eval.0.limit=100")
    assert "score far on exams.asked (kept)" in kept.err
    assert sum(noted(exams, "provider").values()) == 32


def facts_of(bench):
    return bench.run().evaluations()[NAME]


def test_an_evaluations_own_bound_is_the_providers_too(exams):
    sets = ("--set", "models.far.dollars=0.00001", "--set", "models.far.max_tokens=400")
    assert exams.factory("run", "small.yaml", *sets, "--set", "eval.0.max_tokens=7").code == 0
    (usage,) = exams.run().read_json("manifest.json")["calls"]
    assert usage["cost"] == pytest.approx(12 * 107 * 0.00001)
    assert facts_of(exams)["decides"]["model"]["max_tokens"] == 7
    assert exams.factory("run", "small.yaml", *sets, "--set", "eval.0.max_tokens=9").code == 0
    assert sum(noted(exams, "provider").values()) == 24, "longer answers are others"
    assert exams.factory("run", "small.yaml", *sets).code == 0
    assert facts_of(exams)["decides"]["model"]["max_tokens"] == 400


def test_marking_ends_at_the_first_ctrl_c(exams):
    exams.write("slow", "x")
    began = time.monotonic()
    ended = exams.kill_when(lambda: noted(exams, "marked"), "run", "small.yaml", by=signal.SIGINT)
    assert ended.code == 1 and "Traceback" not in ended.err and time.monotonic() - began < 40
    assert NAME not in exams.run().evaluations() and len(answers(exams)) == 12


def test_scores_of_other_code_are_made_again(exams, monkeypatch):
    assert exams.factory("run", "small.yaml").code == 0
    monkeypatch.setattr("langmill.scoring._sums", lambda: ["other"])
    again = exams.factory("run", "small.yaml")
    assert again.code == 0 and "score far on exams.asked\n" in again.err
    assert sum(noted(exams, "provider").values()) == 12 and noted(exams, "marked") == {"yes": 2}


def test_a_provider_that_refuses_everything_is_misconfigured(exams):
    exams.write("refused", ":")
    said = exams.factory("run", "small.yaml", "--set", "eval.0.limit=100")
    assert said.code == 1
    assert "noting/far refuses every question of exams.asked (20 so far): that is against the rules" in said.err
    assert not answers(exams) and NAME not in exams.run().evaluations()
    (exams.folder / "refused").unlink()
    assert exams.factory("run", "small.yaml", "--set", "eval.0.limit=100").code == 0


def test_no_other_model_takes_over_in_an_evaluation(exams, monkeypatch):
    monkeypatch.setattr("langmill.calls.sending.FIRST_PAUSE", 0.01)
    exams.write("down", ":")
    said = exams.factory(
        "run", "small.yaml", "--set", "models.near={model: weights/near}", "--set", "models.far.fallback=near"
    )
    assert said.code == 1 and "out of order" in said.err
    assert not noted(exams, "weights")


def test_a_model_without_a_batch_api_is_told(exams):
    said = exams.factory("run", "small.yaml", "--set", "models.far.batch=true")
    assert said.code in (1, 2)
    assert "noting/far has no batch API: set batch: false" in said.err and "Traceback" not in said.err
    assert not noted(exams, "provider")


def test_a_provider_can_not_score(exams):
    said = exams.factory("run", "small.yaml", "--set", "eval.0.scoring=true")
    assert said.code == 2 and "gives no log-probabilities" in said.err


def test_a_real_endpoint_with_trouble_and_its_replay(exams):
    """Over HTTP, through litellm's door: what is refused for now or breaks is sent again, what is filtered is a refusal. The replay of a
    run that is gone takes every answer from the ledger."""
    with Provider(refuse=0.1, broken=0.2, filter=0.2, retry_after=0.01) as provider:
        prices = "prices: {input: 1, output: 3}"
        model = f"models.far={{model: openai/small, api_base: '{provider.url}', max_tokens: 60, revision: a, {prices}}}"
        done = exams.factory("run", "small.yaml", "--set", model, "--set", "eval.0.word=answer to")
        assert done.code == 0, done.err
        seen = provider.seen()
    assert set(seen["answered"].values()) == {1} and len(seen["answered"]) == 12
    facts = exams.run().evaluations()[NAME]
    (usage,) = exams.run().read_json("manifest.json")["calls"]
    assert usage["cost"] == pytest.approx(seen["spent"]) and usage["calls"] == 12
    answered = [json.loads(line) for line in answers(exams)]
    refused = sum(line["finish"] == "refusal" for line in answered)
    assert 0 < refused < 12
    over_all = facts["scores"][-1]
    assert (over_all["correct"], over_all["n"]) == (12 - refused, 12)
    replay = model.replace("openai/small", "replay/openai/small")
    again = exams.factory("run", "small.yaml", "--fresh", "--set", replay, "--set", "eval.0.word=answer to")
    assert again.code == 0, again.err
    assert exams.run().evaluations()[NAME]["scores"] == facts["scores"]


def test_a_judge_is_paid_through_the_ledger_and_never_twice(exams):
    """The examined model is the one that notes what it is asked; the judge says what its script says."""
    exams.script(
        ("<answer>", {"reason": "", "correct": 5, "complete": 4, "safe": 3}),
        ("<second>", {"reason": "", "better": "second"}),
    )
    judged = "{use: judge, data: exams, models: [far, other], judge: big, against: far, limit: 2}"
    recipe = examined.RECIPE.replace("{use: asked, data: exams, models: [far], limit: 6}", judged).replace(
        "  far:", "  big: {model: scripted/judge, answers: script.jsonl}\n  other: {model: noting/other}\n  far:"
    )
    exams.write("small.yaml", recipe)
    done = exams.factory("run", "small.yaml")
    assert done.code == 0, done.err
    found = exams.run().evaluations()
    assert set(found) == {"exams.judge.far", "exams.judge.other"}
    scores = {(one["language"], one["metric"]): one for one in found["exams.judge.other"]["scores"]}
    assert scores["all", "marked"]["value"] == 4 and scores["all", "preferred"]["accuracy"] == 0.5
    assert found["exams.judge.other"]["facts"]["judge"] == "scripted/judge"
    assert {table["language"] for table in found["exams.judge.other"]["tables"]} == {"en", "fr"}
    calls = exams.run().read_json("manifest.json")["calls"]
    assert {(one["model"], one["step"]): one["calls"] for one in calls} == {
        ("noting/far", "eval.exams.judge"): 4, ("noting/other", "eval.exams.judge"): 4,
        ("scripted/judge", "eval.exams.judge.judge"): 8, ("scripted/judge", "eval.exams.judge.judge.pair"): 8,
    }  # fmt: skip
    swapped = exams.factory("run", "small.yaml", "--set", "eval.0.marks=false")
    assert swapped.code == 0 and len(exams.answered()) == 24, "every opinion was there"
    other = exams.factory("run", "small.yaml", "--set", "models.far.temperature=0.1", "--set", "eval.0.marks=false")
    assert other.code == 0, other.err
    assert "score other on exams.judge\n" in other.err, "what it is held against is another model now"


# --- what is told before anything is trained or asked ---

KEYED = "{model: openai/gpt-4o-mini, api_key_env: NO_SUCH_KEY}"
JUDGED = "{use: judge, data: exams, models: [base, first], judge: far, limit: 2}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("eval.0={use: perplexity, data: exams, models: [first]}", "holds neither text nor conversations"),
        ("eval.0={use: choice_accuracy, data: exams, models: [first], shots: 5}", "5 examples are asked for"),
        (f"eval.0={JUDGED}", "models.far: openai/gpt-4o-mini needs the environment variable NO_SUCH_KEY"),
        ("eval.0.models=[base, near]", "hf/nowhere/at/all: there is no folder"),
        ("eval.0={use: asked, data: exams, models: [file]}", "gguf/nowhere.gguf: there is no file"),
    ],
)
def test_an_evaluation_that_can_not_be_done_costs_no_training(bench, change, told):
    models = f"models:\n  near: {{model: hf/nowhere/at/all}}\n  file: {{model: gguf/nowhere.gguf}}\n  far: {KEYED}\n"
    recipe = examined.TRAINED.replace("models:\n  far: {model: noting/far, concurrency: 2}\n", models)
    examined.laid_out(bench, recipe)
    said = bench.factory("run", "small.yaml", "--set", change)
    assert said.code == 2, said.err
    assert told in said.err and "Traceback" not in said.err
    assert not (bench.run().root / "train").exists() and not noted(bench, "weights")
    if "near" in change:
        early = bench.factory("check", "small.yaml", "--set", change)
        assert early.code == 0 and f"can not answer yet: {told}" in early.err
        trained = bench.factory("run", "small.yaml", "--set", change, "--until", "train")
        assert trained.code == 0, "what is not asked is in nobody's way"


def test_a_stage_that_others_are_held_against_need_not_be_there_yet(bench):
    big = "models:\n  big: {model: scripted/judge, answers: script.jsonl}\n"
    examined.laid_out(bench, examined.TRAINED.replace("models:\n", big))
    bench.script(("x", "y"))
    judged = "{use: judge, data: exams, models: [first, base], against: first, marks: false, judge: big, limit: 1}"
    said = bench.factory("run", "small.yaml", "--set", f"eval.0={judged}")
    assert said.code == 0, said.err
    assert set(bench.run().evaluations()) == {"exams.judge.first", "exams.judge.base"}


def test_what_the_ledger_answered_needs_no_key(exams, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-1")
    with Provider() as provider:
        model = f"models.far={{model: openai/small, api_base: '{provider.url}', api_key_env: SOME_KEY}}"
        assert exams.factory("run", "small.yaml", "--set", model).code == 0
        monkeypatch.delenv("SOME_KEY")
        assert exams.factory("run", "small.yaml", "--set", model).code == 0, "its figures are kept"
        assert exams.factory("run", "small.yaml", "--fresh", "--set", model).code == 0, "the ledger has all of it"
        more = exams.factory("run", "small.yaml", "--set", model, "--set", "eval.0.limit=8")
        assert more.code == 2 and "needs the environment variable SOME_KEY: export SOME_KEY=" in more.err
        assert sum(provider.seen()["answered"].values()) == 12
    first = exams.factory("run", "small.yaml", "--out", "other", "--set", f"models.far={KEYED}")
    assert first.code == 2 and "NO_SUCH_KEY" in first.err and not (exams.folder / "other").exists()


# --- weights ---

LOCAL = ("--set", "models.far={model: weights/far}")


@pytest.mark.parametrize("scoring", ["true", "false"])
def test_killed_weights_answer_what_is_missing(exams, scoring):
    asks = ("--set", f"eval.0.scoring={scoring}")
    slow = ("--set", "models.far={model: weights/far, pause: 0.2}", *asks)
    killed = exams.kill_when(lambda: len(answers(exams)) >= 3, "run", "small.yaml", *slow)
    assert killed.code == -signal.SIGKILL
    exams.wait(lambda: not _going_on(exams))
    kept = len(answers(exams))
    assert 3 <= kept < 12
    done = exams.factory("run", "runs/small", "--only", "eval", "--set", "models.far.pause=0", *asks)
    assert done.code == 0, done.err
    asked = noted(exams, "weights")
    assert len(asked) == 12
    assert sum(asked.values()) <= 13, "the one that was under way may be asked again"
    assert exams.run().evaluations()[NAME]["decides"]["model"]["model"] == "weights/far"
    assert exams.calls() == [], "weights cost nothing"


def test_weights_that_other_code_asks_are_asked_again(exams):
    assert exams.factory("run", "small.yaml", *LOCAL).code == 0
    plugin = exams.folder / "examined.py"
    plugin.write_text(plugin.read_text("utf-8").replace("Likes whatever", "Always likes what"), "utf-8")
    assert exams.factory("run", "small.yaml", *LOCAL).code == 0
    assert set(noted(exams, "weights").values()) == {2}


def _going_on(bench) -> bool:
    """Whether weights still note questions: their process ends with the run."""
    before = sum(noted(bench, "weights").values())
    time.sleep(0.5)
    return sum(noted(bench, "weights").values()) != before


def test_a_process_that_dies_has_kept_its_answers(exams):
    exams.write("die", "now")
    exams.write("few", "x")
    said = exams.factory("run", "small.yaml", *LOCAL)
    assert said.code == 1 and "was killed by signal 9" in said.err and "Traceback" not in said.err
    few = exams.factory("run", "runs/small", "--only", "eval")
    assert few.code == 1
    assert "'far' left 10 questions without an answer" in few.err, (
        "what leaves some out is told, and no score is made of the rest"
    )
    assert len(answers(exams)) == 2 and not exams.run().evaluations()


def test_a_retrained_stage_is_asked_again_and_its_old_scores_are_told(bench):
    examined.laid_out(bench, examined.TRAINED)
    assert bench.factory("run", "small.yaml").code == 0
    assert sum(noted(bench, "weights").values()) == 24
    again = bench.factory("run", "small.yaml", "--until", "train", "--set", "train.stages.0.epochs=2")
    assert again.code == 0
    assert "exams.asked: first was trained again after it was scored" in again.err
    done = bench.command(
        "run", "runs/small", "--only", "eval", environment=bench.bare()
    )  # nothing that makes data is there
    assert done.code == 0, done.err
    assert sum(noted(bench, "weights").values()) == 36, "the base is not asked again"
    assert set(bench.run().evaluations()) == {"exams.asked.base", "exams.asked.first"}
