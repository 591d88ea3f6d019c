"""What a recipe would cost before it is run, held against what it then costs; and a few rows tried out."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

import pytest

from langmill import run as runner
from langmill.disk.store import RunFolder
from langmill.errors import MissingInput
from langmill.plan import walk
from langmill.plan.forecast import Planned, StepCost, facts, plan
from langmill.plan.lines import lines
from langmill.plan.preview import preview
from langmill.recipe.assembly import Assembly, assemble

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "recipes" / "data"
RECIPE = """
name: small
languages: [en, fr]
llm: {{model: scripted/one, answers: script.jsonl, max_tokens: 100{llm}}}
sources:
  qa: {{use: table, path: 'qa.*.jsonl', body: chat, license: CC0-1.0}}
{sources}
datasets:
  ift:
    from: [qa{more}]
    steps:
      - {{use: expand, guards: false, most_characters: 160}}
      - {{use: translate, guards: false, into: [en, fr], limit: 2}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    for language in ("en", "fr"):
        (tmp_path / f"qa.{language}.jsonl").write_bytes((ROWS / f"qa.{language}.jsonl").read_bytes())
    answers = [
        {
            "match": "",
            "answer": {"answer": "An answer that is a good deal longer than the one that was there before it. " * 3},
        }
    ]
    (tmp_path / "script.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return tmp_path


def assembled(folder, llm="", sources="", more=""):
    path = folder / "small.yaml"
    path.write_text(RECIPE.format(llm=llm, sources=sources, more=more))
    return assemble(path)


def planned(assembly: Assembly) -> Planned:
    return asyncio.run(plan(assembly))


def test_the_plan_counts_what_the_steps_would_ask_and_asks_nothing(folder):
    found = planned(assembled(folder))
    short = {}
    for language in ("en", "fr"):
        rows = [json.loads(line) for line in (ROWS / f"qa.{language}.jsonl").read_text("utf-8").splitlines()]
        short[language] = sum(row["split"] == "train" and len(row["answer"]) <= 160 for row in rows)
    assert found.rows == {"qa": {"en": 20, "fr": 20}}
    counted = {(cost.step, cost.language): cost for cost in found.steps}
    for language in ("en", "fr"):
        expand, translate = counted[("expand", language)], counted[("translate", language)]
        assert (expand.rows, expand.calls, expand.paid, expand.made) == (short[language], short[language], 0, 0)
        assert translate.calls == 2, "the bound holds, one target each"
    assert sum(cost.made for cost in found.steps) > 0, "some of what would be expanded would be translated"
    assert json.loads(json.dumps(facts(found)))["skipped"] == {}
    assert not (folder / "runs").exists()


def test_an_absent_source_is_listed_with_what_it_declares_and_the_rest_is_counted(folder):
    declared = "  gone: {use: table, path: gone.jsonl, body: chat, license: MIT, expect: {rows: 1200}}"
    found = planned(assembled(folder, sources=declared, more=", gone"))
    [line] = found.absent
    assert "gone.jsonl" in line.why and line.declared == "declared: 1,200 records"
    assert found.rows == {"qa": {"en": 20, "fr": 20}}


def test_a_language_that_the_model_does_not_write_is_told_as_skipped(folder):
    (folder / "half.py").write_text(
        "from langmill.api import LLM, hookimpl\n"
        "class Half(LLM):\n"
        "    @property\n"
        "    def languages(self): return frozenset({'en'})\n"
        "    async def answer(self, messages, *, seed, schema=None): raise AssertionError\n"
        "@hookimpl\n"
        "def register_llms(): return {'half': Half}\n"
    )
    path = folder / "half.yaml"
    text = RECIPE.format(llm="", sources="", more="")
    path.write_text(
        text.replace("model: scripted/one, answers: script.jsonl", "model: half/one") + "plugins: [half.py]\n"
    )
    found = planned(assemble(path))
    assert {cost.language for cost in found.steps} == {"en"}
    [(why, times)] = found.skipped.items()
    assert why == "half/one does not write fr" and times > 4
    shown = lines(found)
    assert f"skipped: {times} times, half/one does not write fr" in shown
    assert any("no price is known for half/one" in line and "llm: prices:" in line for line in shown)


# --- plans held against runs ---


def _bench() -> ModuleType:
    """scripts/bench_plan.py, whose model counts what it says with a real tokenizer."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec = importlib.util.spec_from_file_location("bench_plan", ROOT / "scripts" / "bench_plan.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(ROOT / "scripts"))


BENCH = _bench()
counted = pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="litellm carries the tokenizers")


@counted
@pytest.mark.parametrize("number", [1, 12])
def test_the_real_price_lies_in_the_range_and_all_is_paid_afterwards(number, tmp_path):
    case = BENCH.CASES[number]
    case = case._replace(sources=tuple(name for name in case.sources if name.startswith("own")) or case.fallback)
    result = BENCH.compare(case, tmp_path / "bench", 7 + number, BENCH._texts(), BENCH._lengths(None), None)
    assert result["low"] <= result["cost"] <= result["high"] <= result["worst"]
    assert 0 < result["high"] < 12 * result["low"]
    assert result["known_contained"] and result["below_worst"] and result["all_paid"]


@pytest.fixture
def priced(tmp_path, monkeypatch):
    """A recipe over our own rows with the writer of the bench; gives a function that assembles it with other steps."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("litellm carries the tokenizers")
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    secrets = {
        "text": BENCH._texts(),
        "lengths": BENCH._lengths(None),
        "ratio": BENCH.RATIO,
        **{"talk": 1.0, "carried": 1.0, "unfit": 0.2, "astray": 0.0, "schema_counts": True},
    }
    (tmp_path / "secrets.json").write_text(json.dumps(secrets))
    (tmp_path / "plan_writer.py").write_bytes(BENCH.WRITER.read_bytes())
    for name in ("qa.en", "qa.zh", "passages.en", "passages.zh"):
        (tmp_path / f"{name}.jsonl").write_bytes((ROWS / f"{name}.jsonl").read_bytes())

    def make(steps: str, llm: str = "", more: str = "") -> Assembly:
        path = tmp_path / "recipe.yaml"
        path.write_text(
            "name: priced\nlanguages: [en, zh, fr]\nplugins: [plan_writer.py]\nrun: {use: local, workers: 1}\n"
            f"llm: {{model: writer/one, secrets: secrets.json, tokenizer: o200k_base, max_tokens: 900{llm}}}\n"
            "sources:\n"
            "  qa: {use: table, path: qa.*.jsonl, body: chat, license: CC0-1.0}\n"
            "  passages: {use: table, path: passages.*.jsonl, body: text, license: CC0-1.0}\n"
            f"datasets:\n  made: {{from: [qa, passages], steps: [{steps}]}}\n{more}"
        )
        return assemble(path)

    return make


EXPAND, TRANSLATE = (
    "{use: expand, guards: false, most_characters: 200}",
    "{use: translate, guards: false, into: [fr], limit: 9}",
)
ASK = "{use: ask, guards: false, count: 2, support: 0, keep: never}"


def made(assembly: Assembly, folder: Path) -> float:
    """Run it; what it cost."""
    store = RunFolder(folder)
    runner.run(assembly, store, runner.Request("data"), lambda event: None)
    return _one(f"SELECT nano FROM spending WHERE scope = 'run/{store.run_id}'") / 1e9


def _one(query: str) -> int:
    from langmill.disk.home import home

    db = sqlite3.connect(home() / "ledger.sqlite")
    try:
        return int(db.execute(query).fetchone()[0] or 0)
    finally:
        db.close()


def test_nothing_is_written_to_the_ledger_and_what_was_paid_is_told_to_the_cent(priced, tmp_path):
    assembly = priced(f"{EXPAND}, {ASK}, {TRANSLATE}")
    before = planned(assembly)
    assert _one("SELECT COUNT(*) FROM attempts") == 0 == before.saved
    cost = made(assembly, tmp_path / "run")
    uses, attempts = _one("SELECT COUNT(*) FROM uses"), _one("SELECT COUNT(*) FROM attempts WHERE status = 'answered'")
    after = planned(assembly)
    assert _one("SELECT COUNT(*) FROM uses") == uses
    assert sum(step.calls for step in after.steps) == sum(step.paid for step in after.steps) == attempts, "re-asks too"
    assert after.saved == pytest.approx(cost, abs=1e-9) and after.dollars.high == 0.0 == after.worst
    shown = lines(after)
    assert shown[-1].startswith("all paid: a run costs $0, ") and "saved" in shown[-1]
    assert not any("~" in line for line in shown)


def test_an_edited_step_and_what_hangs_on_it_are_all_that_is_still_to_pay(priced, tmp_path):
    made(priced(f"{EXPAND}, {ASK}, {TRANSLATE}"), tmp_path / "run")
    after = planned(priced(f"{EXPAND}, {ASK.replace('count: 2', 'count: 3')}, {TRANSLATE}"))
    for step in after.steps:
        if step.step == "expand":
            assert step.paid == step.calls
        elif step.step == "ask":
            assert step.paid == 0 and step.dollars.low > 0
    translate = [step for step in after.steps if step.step == "translate"]
    assert any(step.paid < step.calls for step in translate), "new pairs are new rows"
    assert any(step.paid for step in translate), "what was translated of the old rows stays paid"


def test_what_a_model_that_takes_over_has_answered_is_paid(priced, tmp_path):
    made(priced(EXPAND), tmp_path / "run")
    first = "models:\n  first: {model: writer/one, secrets: secrets.json, tokenizer: o200k_base, max_tokens: 900}\n"
    alone = planned(priced(EXPAND, llm=", revision: b"))
    assert sum(step.paid for step in alone.steps) == 0 and all(step.known for step in alone.steps)
    after = planned(priced(EXPAND, llm=", revision: b, fallback: first", more=first))
    answered = [step for step in after.steps if step.paid]
    assert answered and sum(step.calls - step.paid for step in after.steps) < sum(step.paid for step in after.steps)


def test_the_worst_case_is_not_less_than_what_a_run_holds_back(priced, tmp_path):
    assembly = priced(f"{ASK}, {TRANSLATE.replace(', limit: 9', '')}")
    before = planned(assembly)
    made(assembly, tmp_path / "run")
    held = _one("SELECT SUM(reserved) FROM attempts") / 1e9
    assert before.dollars.high < held <= before.worst


def test_of_very_many_rows_a_sample_stands_for_all(priced, tmp_path, monkeypatch):
    assembly = priced(f"{EXPAND.replace('200', '600')}, {TRANSLATE.replace(', limit: 9', '')}")
    whole = planned(assembly)
    monkeypatch.setattr(walk, "MANY", 8)
    monkeypatch.setattr(walk, "SAMPLE", 6)
    sample = planned(assembly)
    assert [step.calls for step in sample.steps] == [step.calls for step in whole.steps]
    assert any(step.sampled for step in sample.steps) and not any(step.sampled for step in whole.steps)
    assert sample.dollars.low == pytest.approx(whole.dollars.low, rel=0.3)
    assert sample.dollars.high == pytest.approx(whole.dollars.high, rel=0.3)
    assert any(line.startswith("~ stands for a sample") for line in lines(sample))
    made(assembly, tmp_path / "run")
    assert all(step.paid == step.calls for step in planned(assembly).steps), (
        "what the ledger knows is looked up in full"
    )


def test_a_call_of_two_data_sets_is_paid_once(priced):
    once = planned(priced(EXPAND))
    twice = planned(priced(EXPAND, more=f"  again: {{from: [qa], steps: [{EXPAND}]}}\n"))
    assert twice.dollars == once.dollars
    assert {step.dataset: step.calls for step in twice.steps if step.language == "zh"}["again"] == 0


def test_a_batch_has_its_price_beside_and_a_run_through_it_costs_that(priced):
    one_by_one, batched = planned(priced(EXPAND)), planned(priced(EXPAND, llm=", batch: true"))
    for alone, together in zip(one_by_one.steps, batched.steps, strict=True):
        assert alone.batch == together.batch == together.dollars
        assert alone.batch.high == pytest.approx(alone.dollars.high / 2)
    assert batched.seconds.high == 86_400
    assert "batch US$" in "\n".join(lines(one_by_one))


def test_limits_a_minute_bound_the_time_from_below(priced):
    free, held = planned(priced(EXPAND)), planned(priced(EXPAND, llm=", requests_per_minute: 2"))
    calls = sum(step.calls for step in held.steps)
    assert held.seconds.low >= 60 * (calls / 2 - len(held.steps)) > free.seconds.low


# --- the table ---


def test_the_table_is_aligned_and_at_most_100_characters_wide(priced):
    from dataclasses import replace

    found = planned(priced(f"{EXPAND}, {ASK}, {TRANSLATE}"))
    for factor in (1.0, 1e6):
        grown = [
            replace(
                step,
                calls=round(step.calls * factor),
                dollars=step.dollars.times(factor, factor),
                batch=step.batch.times(factor, factor),
                prompt_tokens=step.prompt_tokens.times(factor, factor),
                answer_tokens=step.answer_tokens.times(factor, factor),
            )
            for step in found.steps
        ]
        shown = lines(replace(found, steps=grown))
        assert max(map(len, shown)) <= 100
        table = [line for line in shown if line.startswith(("made", "  expand", "  translate"))]
        assert len({len(line) for line in table}) == 1, "figures end below one another"
    assert shown[-1].startswith("--max-cost")
    assert any(line.startswith("all ") for line in shown)


def test_what_may_follow_an_answer_is_told_apart_and_widens_the_price(priced):
    bare = planned(priced("{use: expand, guards: false, most_characters: 200}"))
    judged = planned(priced("{use: expand, most_characters: 200, judge: {}}"))
    assert not any(step.follows for step in bare.steps)
    assert {step.step for step in judged.steps if step.follows} == {"expand repair", "expand judge"}
    first = [step.calls for step in judged.steps if not step.follows]
    assert first == [step.calls for step in bare.steps] and judged.dollars.high > 1.2 * bare.dollars.high
    assert all(step.calls <= calls for step, calls in zip(_following(judged, "repair"), first, strict=True))
    shown = lines(judged)
    repair, judge = (
        next(line for line in shown if line.startswith(f"  expand {name}")) for name in ("repair", "judge")
    )
    assert repair.split()[2].startswith("~") and judge.split()[2].startswith("~"), "no rows: they are counted above"
    assert any(line.startswith("repair, judge and the like follow an answer") for line in shown)


def _following(found: Planned, name: str) -> list[StepCost]:
    return [step for step in found.steps if step.step.endswith(name)]


def test_a_model_without_a_price_says_so_and_names_the_option(priced):
    found = planned(priced(EXPAND))
    bare = [StepCost(**{**vars(step), "dollars": None, "batch": None, "worst": None}) for step in found.steps]
    shown = lines(Planned(found.rows, steps=bare, unpriced={"judge": "x/y"}))
    assert any("models: judge: prices: {input: …, output: …}" in line for line in shown)
    assert not any("$0" in line for line in shown), "unknown is not free"


# --- previews ---


def test_a_preview_shows_prompts_answers_and_rows(folder):
    recipe = folder / "small.yaml"
    assembled(folder)
    recipe.write_text(recipe.read_text().split("      - {use: translate")[0])
    shown = "\n".join(asyncio.run(preview(assemble(recipe), 1, None)))
    assert "--- expand in en, prompt en/expand@" in shown
    assert "<question>" in shown and '=> {"answer":' in shown
    assert "ift: qa/en-qa-01/expand (en, train)" in shown


def test_a_preview_of_absent_sources_says_so(folder):
    declared = "  gone: {use: table, path: gone.jsonl, body: chat, license: MIT}"
    with pytest.raises(MissingInput, match=r"gone\.jsonl"):
        asyncio.run(preview(assembled(folder, sources=declared, more=", gone"), 1, None))


def test_each_preview_is_a_run_of_its_own(folder):
    """A budget is for all that a run has spent."""
    recipe = folder / "small.yaml"
    assembled(folder)
    recipe.write_text(recipe.read_text().split("      - {use: translate")[0])
    for rows in (1, 2):
        asyncio.run(preview(assemble(recipe), rows, None))
    with contextlib.closing(sqlite3.connect(folder / "home" / "ledger.sqlite")) as db:
        assert db.execute("SELECT COUNT(DISTINCT run) FROM attempts").fetchone() == (2,)


# --- the ledger's state ---


def test_plans_and_previews_tell_of_a_damaged_ledger(folder):
    recipe, path = folder / "small.yaml", folder / "home" / "ledger.sqlite"
    assembled(folder)
    recipe.write_text(recipe.read_text().split("      - {use: translate")[0])
    asyncio.run(preview(assemble(recipe), 1, None))
    path.write_bytes(path.read_bytes().replace(b"good deal", b"bad deal "))
    found = planned(assemble(recipe))
    assert "2 answers in" in lines(found)[0] and facts(found)["notice"] == found.notice
    assert sum(cost.paid for cost in found.steps) == 0
    for tell in (
        lambda: lines(planned(assemble(recipe)))[0],
        lambda: asyncio.run(preview(assemble(recipe), 1, None))[0],
    ):
        path.write_bytes(b"no ledger " * 1000)
        assert "the ledger was damaged" in tell()
        for aside in path.parent.glob("ledger.damaged-*"):  # named by the second
            aside.unlink()
