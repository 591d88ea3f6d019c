"""One stage over passages and question-answer pairs at once, heavy sources first, packed: by the real command on real rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conftest import Bench
from tests.public_sets import DATA, NEEDS_DATA
from tests.tiny_models import tiny_base

pytestmark = NEEDS_DATA
RECIPE = """\
name: small
languages: [en]
sources:
  book: {use: openstax, path: $data_dir/openstax-anatomy-physiology/modules, license: CC-BY-4.0}
  pairs: {use: medquad, path: $data_dir/medquad/3_GHR_QA, license: CC-BY-4.0, limit: 60, dev: 0.1}
datasets:
  all: {from: [book, pairs]}
train:
  use: peft
  base: tiny
  max_tokens: 192
  lora: {rank: 4, alpha: 8}
  stages:
    - {name: one, data: all, start: base, max_steps: 3, batch: 1, accumulate: 16, eval_rows: 2, packing: true, learning_rate: 0.02,
       sampler: priority, weights: {book: 32}, source_epochs: {pairs: 2}, overlap: 0.25, too_long: cut_prompt, schedule: constant}
"""


@pytest.fixture(scope="module")
def trained(shared_bench: Bench) -> Bench:
    shared_bench.write("small.yaml", RECIPE)
    tiny_base(shared_bench.folder / "tiny")
    environment = {"FACTORY_DATA": str(DATA), **shared_bench.bare()}
    done = shared_bench.command("run", "small.yaml", "--until", "train", environment=environment)
    assert done.code == 0, done.err
    return shared_bench


def facts_of(trained: Bench) -> dict[str, Any]:
    return dict(json.loads((trained.run().root / "train/one/result.json").read_text("utf-8")))


def test_passages_and_pairs_are_learnt_in_one_stage(trained: Bench) -> None:
    facts = facts_of(trained)
    assert facts["steps"] == 3 and facts["packed"] is True and facts["fill"] > 0.95
    assert facts["left_out"]["train"].keys() == {"too_long"}, (
        "a pair goes whole; a passage comes in chunks, however long"
    )
    assert facts["data_tokens"]["train"] > 100_000, "all that there is, however little of it three steps need"
    assert facts["rows"]["train"] <= facts["examples"]["train"] <= sum(facts["draws"]["en"].values()) == 3 * 16
    assert facts["dev_loss"]["last"] < facts["dev_loss"]["first"]
    assert trained.run().adapter("one").is_dir()


def test_the_heavy_source_comes_first(trained: Bench) -> None:
    """32 to 1: what is drawn first is of the book, but for a few pairs."""
    drawn = facts_of(trained)["draws"]["en"]
    assert drawn["book"] > 4 * drawn.get("pairs", 0)
