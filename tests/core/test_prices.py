"""Prices are looked up when a run begins, and hold for all its resumes."""

from __future__ import annotations

import json

import pytest

from langmill.yaml12 import load_value

SHOP = '''"""A model whose price is in a file, and who notes how often it was looked up."""

import json
from pathlib import Path

from langmill.api import LLM, Answer, Field, Part, Price, hookimpl

HERE = Path(__file__).parent


class Prices(Part):
    """US dollars per million tokens."""

    input: float
    output: float
    batch: float | None = None


class Shop(LLM):
    """Answers for money."""

    prices: Prices | None = Field(None, description="prices, where others hold")

    def price(self):
        if self.prices:
            return Price(self.prices.input / 1e6, self.prices.output / 1e6, self.prices.batch)
        with (HERE / "looks").open("a") as file:
            file.write(self.model + "\\n")
        market = json.loads((HERE / "market.json").read_text())
        return Price(*market[self.model]) if self.model in market else None

    async def answer(self, messages, *, seed, schema=None):
        return Answer(json.dumps({"answer": "A long answer, longer than the one before. " * 20}), prompt_tokens=100, answer_tokens=50)


@hookimpl
def register_llms():
    return {"shop": Shop}
'''

RECIPE = """\
name: small
languages: [en]
plugins: [shop.py]
run: {workers: 1}
llm: {model: shop/one}
models:
  spare: {model: shop/spare}
  idle: {model: shop/idle}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa], steps: [{use: expand, guards: false}]}
"""


@pytest.fixture
def small(bench):
    """A recipe with three models, of which its step asks the first; the second takes over where that is said."""
    bench.data("qa.en.jsonl")
    bench.write("shop.py", SHOP)
    bench.write("small.yaml", RECIPE)
    market(bench, 1.0, 2.0)
    return bench


def market(bench, prompt: float, answer: float) -> None:
    """What models cost now, in US dollars per million tokens; a batch costs half."""
    names = ("shop/one", "shop/two", "shop/spare", "shop/idle")
    bench.write("market.json", json.dumps({name: [prompt / 1e6, answer / 1e6, 0.5] for name in names}))


def locked(bench) -> dict:
    """The recipe as run."""
    return load_value(bench.run().recipe_lock.read_text("utf-8"))


def looks(bench) -> list[str]:
    """The models whose price was looked up before the run's engine started them, in order."""
    return (bench.folder / "looks").read_text("utf-8").split()


def test_a_resumed_run_counts_with_the_prices_it_began_with(small):
    assert small.factory("run", "small.yaml", "--set", "datasets.open.steps.0.limit=2").code == 0
    assert locked(small)["llm"]["prices"] == {"input": 1.0, "output": 2.0, "batch": 0.5}
    assert "prices" not in locked(small)["models"]["idle"], "no step asks it"
    assert looks(small) == ["shop/one"]
    market(small, 1000.0, 2000.0)
    assert small.factory("run", "small.yaml", "--set", "datasets.open.steps.0.limit=4").code == 0
    assert small.factory("run", "runs/small", "--set", "datasets.open.steps.0.limit=6").code == 0
    assert {call["cost"] for call in small.calls()} == {200_000}, (
        "100 and 50 tokens at $1 and $2 a million, in billionths"
    )
    assert len(small.calls()) == 6
    assert looks(small) == ["shop/one"]

    same = small.state()
    kept = small.factory(
        "run", "small.yaml", "--set", "datasets.open.steps.0.limit=6", "--set", "llm.prices={input: 7, output: 8}"
    )
    assert "open: expand (kept)" in kept.err, "a price is no part of what decides a result"
    assert {
        name for name, state in small.state().items() if same.get(name) != state and name.endswith(".parquet")
    } == set()
    assert locked(small)["llm"]["prices"] == {"input": 7, "output": 8}
    assert small.factory("run", "small.yaml", "--fresh").code == 0
    assert locked(small)["llm"]["prices"]["input"] == 1000.0, "a fresh run begins anew"


def test_another_model_has_its_own_price(small):
    assert small.factory("run", "small.yaml", "--set", "datasets.open.steps.0.limit=1").code == 0
    market(small, 3.0, 4.0)
    other = ("--set", "llm.model=shop/two", "--set", "datasets.open.steps.0.limit=1")
    assert small.factory("run", "runs/small", *other).code == 0
    assert locked(small)["llm"]["prices"]["input"] == 3.0
    assert [call["cost"] for call in small.calls()] == [200_000, 500_000]


def test_who_takes_over_is_priced_too(small):
    assert small.factory("run", "small.yaml", "--set", "llm.fallback=spare").code == 0
    assert locked(small)["models"] == {
        "spare": {"model": "shop/spare", "prices": {"input": 1.0, "output": 2.0, "batch": 0.5}},
        "idle": {"model": "shop/idle"},
    }


def test_no_price_is_looked_up_for_a_model_that_no_step_asks(bench, tmp_path):
    """Nor is litellm needed then."""
    bench.data("qa.en.jsonl")
    recipe = RECIPE.replace("plugins: [shop.py]\n", "").replace("[{use: expand, guards: false}]", "[{use: exact}]")
    bench.write("small.yaml", recipe.replace("shop/", "openai/gpt-"))
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "litellm.py").write_text("raise ZeroDivisionError('imported')\n", "utf-8")
    said = bench.command("run", "small.yaml", environment={"PYTHONPATH": str(blocked)})
    assert said.code == 0, said.err
    assert "prices" not in bench.run().recipe_lock.read_text("utf-8")


def test_the_price_that_litellm_knows_is_written_down(bench):
    bench.data("qa.en.jsonl")
    recipe = RECIPE.replace("plugins: [shop.py]\n", "").replace("shop/one", "openai/gpt-4o-mini")
    bench.write("small.yaml", recipe.replace("models:\n  spare: {model: shop/spare}\n  idle: {model: shop/idle}\n", ""))
    assert bench.factory("run", "small.yaml").code == 2, "there is no key"
    prices = locked(bench)["llm"]["prices"]
    assert (prices["input"], prices["output"]) == (0.15, 0.6)
