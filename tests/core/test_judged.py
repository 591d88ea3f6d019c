"""A judge through the command: it alone judges, and whom it compares were examined alike."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from langmill.scores.differing import differences

sys.path.append(str(Path(__file__).resolve().parents[1]))
examined = importlib.import_module("examined")
noted = examined.noted

JUDGES = """
class Judging(LLM):
    '''Gives 5 where it is the poor one, which is out of money after a while, else 1; likes what comes first.'''

    def price(self):
        return Price(0.0, 0.0)

    async def answer(self, messages, *, seed, schema=None):
        if self.model == "judging/poor" and told("spent"):
            raise CallError("quota", "out of money")
        note(self.model.partition("/")[2], messages[-1].content)
        if "better" in schema["properties"]:
            return Answer('{"reason": "so", "better": "first"}')
        mark = 5 if self.model == "judging/poor" else 1
        return Answer(json.dumps({"reason": "so", "correct": mark, "complete": mark, "safe": mark}))


@hookimpl
def register_evaluators"""
MODELS = """\
  near: {model: noting/near}
  poor: {model: judging/poor, fallback: rich}
  rich: {model: judging/rich}
eval:
  - {use: judge, data: exams, limit: 2, models: [far, near], judge: poor}
"""
NAMES = ("exams.judge.far", "exams.judge.near")


@pytest.fixture
def judged(bench):
    """A bench with two models, which say the same, and two judges, of whom the second would take over from the first."""
    examined.laid_out(bench, examined.RECIPE.partition("eval:")[0] + MODELS)
    plugin = examined.PLUGIN.replace("\n@hookimpl\ndef register_evaluators", JUDGES, 1)
    bench.write("examined.py", plugin.replace('"noting": Noting,', '"noting": Noting, "judging": Judging,'))
    return bench


def test_no_other_model_takes_over_from_a_judge(judged):
    assert judged.factory("run", "small.yaml").code == 0
    judged.write("spent", "all of it")
    stopped = judged.factory("run", "small.yaml", "--set", "eval.0.limit=4")
    assert stopped.code != 0 and "out of money" in stopped.err and "Traceback" not in stopped.err
    assert not noted(judged, "rich"), "marks of two judges have no mean"
    (judged.folder / "spent").unlink()
    assert judged.factory("run", "small.yaml", "--set", "eval.0.limit=4").code == 0
    found = judged.run().evaluations()
    assert all(score["value"] == 5 for name in NAMES for score in found[name]["scores"])
    assert set(noted(judged, "poor").values()) == {1}, "what it said before is not asked again"


def test_models_that_are_held_against_one_another_were_examined_alike(judged):
    said = judged.factory("run", "small.yaml", "--set", "eval.0.judge=rich", "--set", "eval.0.against=far")
    assert said.code == 0 and "was not examined as" not in said.err, said.err
    first, second = (judged.run().evaluations()[name] for name in NAMES)
    assert differences(first, second) == []
    assert set(first["prompts"]) == {"en", "fr", "en preferred", "fr preferred"}
    prompts = {(score["language"], score["metric"]): score["prompt"] for score in second["scores"]}
    assert prompts["en", "preferred"].startswith("en/judge_pair@")
    assert prompts["en", "marked"].startswith("en/judge_answer@")
    for what, model in (("judges", "rich"), ("compared", "far")):
        other = {**second, what: {model: {"model": {"model": "noting/another"}}}}
        assert [(one.what, one.grave) for one in differences(second, other)] == [(f"{what} {model}", True)]
