"""Sources that are not there, reckoned with by what they declare: held against the same sources when they are there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from tests.public_sets import DATA, NEEDS_DATA, SETS, load

from langmill import run as runner
from langmill.api import Choice
from langmill.disk.store import RunFolder
from langmill.errors import MissingInput
from langmill.pipeline.expected import Read
from langmill.plan.declared import EACH, declared
from langmill.plan.forecast import Planned, facts, plan
from langmill.plan.lines import lines
from langmill.recipe.assembly import assemble

RECIPE = """
name: ahead
languages: [en, zh, es, fr]
data_dir: {data}
llm: {{model: openai/gpt-4o-mini, max_tokens: 1024, prices: {{input: 0.15, output: 0.6, batch: 0.5}}}}
sources:
  bentsao: {{use: table, path: $data_dir/bentsao-huatuo/data/llama_data.json, body: chat, language: zh, question: instruction,
            answer: output, license: CC0-1.0, dev: 0.01, home: somewhere{bentsao}}}
  headqa: {{use: headqa, path: $data_dir/headqa/HEAD, languages: [es], license: CC0-1.0,
            splits: {{dev: test, train: null}}, dev: 0.01{headqa}}}
  casimedicos: {{use: casimedicos, path: $data_dir/casimedicos/casimedicos-arg, license: CC0-1.0, splits: {{dev: test}}{casimedicos}}}
datasets:
  exams: {{from: [headqa, casimedicos]}}
  answers:
    from: [bentsao]
    steps:
      - {{use: expand, most_characters: 400}}
      - {{use: translate, into: [en]}}
  reasons:
    from: [exams]
    steps:
      - {{use: explain}}
eval:
  - {{use: choice_accuracy, data: exams, models: [llm], ask: [generation], max_tokens: 500}}
"""
NOTHING = dict.fromkeys(("bentsao", "headqa", "casimedicos"), "")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path


def written(folder: Path, data: Path, **expected: str) -> Path:
    path = folder / "ahead.yaml"
    path.write_text(RECIPE.format(data=data, **{**NOTHING, **expected}))
    return path


def planned(path: Path) -> Planned:
    return asyncio.run(plan(assemble(path)))


def sums(found: Planned) -> dict[tuple[str, str], tuple[int, float, float]]:
    """Calls and dollars of each step and data set, all languages together."""
    out: dict[tuple[str, str], tuple[int, float, float]] = {}
    for cost in found.steps:
        if not cost.follows:
            calls, low, high = out.get((cost.dataset, cost.step), (0, 0.0, 0.0))
            assert cost.dollars is not None
            out[cost.dataset, cost.step] = calls + cost.calls, low + cost.dollars.low, high + cost.dollars.high
    return out


class TestHeldAgainstWhatIsThere:
    """Three sets read for real, and then by their true counts alone."""

    pytestmark = NEEDS_DATA

    @pytest.mark.parametrize("tokens", ["", ", tokens: 270000"], ids=["rows alone", "rows and tokens"])
    def test_the_plan_of_declared_counts_holds_that_of_the_rows(self, empty, tokens):
        truth = planned(written(empty, DATA))
        assert not truth.absent and truth.rows["bentsao"] == {"zh": 3000}
        headqa = Counter(row.split for row in load("headqa") if row.language == "es")
        casimedicos = Counter(row.split for row in load("casimedicos"))
        said = {
            "bentsao": f", expect: {{rows: 3000{tokens}}}",
            "headqa": f", expect: {{rows: {json.dumps(headqa)}}}",
            "casimedicos": f", expect: {{rows: {json.dumps(casimedicos)}}}",
        }
        found = planned(written(empty, empty / "data", **said))
        assert {item.name for item in found.absent} == {"bentsao", "headqa", "casimedicos"} == set(found.declared)
        counted, true = sums(found), sums(truth)
        assert counted.keys() == true.keys()
        for key, (calls, low, high) in counted.items():
            was, least, most = true[key]
            assert calls == pytest.approx(was, rel=0.03), key
            assert low <= most and least <= high, f"the ranges of {key} do not meet: {counted[key]} beside {true[key]}"
            middle = (least * most) ** 0.5
            assert low <= middle <= high, f"{key}: what it costs is not in the range: {counted[key]} beside {true[key]}"
        if tokens:  # told lengths make the range about as narrow as that of the rows themselves
            _, low, high = counted["answers", "translate"]
            _, least, most = true["answers", "translate"]
            assert high / low < 1.5 * most / least


def test_what_rests_on_declared_counts_is_marked(empty):
    path = written(
        empty,
        empty / "data",
        bentsao=", expect: {rows: 8658}",
        headqa=", expect: {rows: {train: 2657, test: 2742}}",
    )
    found = planned(path)
    assert found.uncounted == ("casimedicos",) and found.dealt == ()
    assert found.declared == {"bentsao": {"zh": 8658}, "headqa": {"es": 5399}}
    assert found.resting == ("exams", "answers", "reasons")
    assert all(cost.declared == cost.made for cost in found.steps if not cost.follows)
    by_step = {cost.step: cost for cost in found.steps if not cost.follows}
    assert by_step["explain"].calls == by_step["explain"].declared == round(2657 * 0.99)
    [exam] = found.examinations
    assert (exam.questions, exam.made, exam.declared) == (2742, 2742, 2742)
    assert found.dollars.low > 0 < by_step["explain"].batch.low
    shown = "\n".join(lines(found))
    assert "declared: 14,057 rows of 2 absent sources are reckoned with" in shown
    assert "not counted, since they declare neither rows nor tokens (expect:): casimedicos" in shown
    assert "answers (declared)" in shown and "eval exams.choice_accuracy (declared)" in shown
    told = json.loads(json.dumps(facts(found)))
    assert told["declared"]["bentsao"] == {"zh": 8658} and told["uncounted"] == ["casimedicos"]
    assert told["resting"] == ["exams", "answers", "reasons"]


def test_examples_before_questions_about_absent_sets_are_stand_ins(empty):
    """In languages of which no row is there at all."""
    headqa, casimedicos = (f", expect: {{rows: {{train: {n}, test: {m}}}}}" for n, m in ((2657, 2742), (434, 63)))
    path = written(empty, empty / "data", headqa=headqa, casimedicos=casimedicos)
    asked = path.read_text()
    bare = planned(path)
    path.write_text(asked.replace("max_tokens: 500}", "max_tokens: 500, shots: 3}"))
    found = planned(path)
    assert not [exam.why for exam in found.examinations if exam.why]
    plain, longer = (
        {cost.language: cost for cost in one.steps if cost.dataset.startswith("eval ")} for one in (bare, found)
    )
    assert set(longer) == set(plain) == {"en", "es", "fr"}
    for language, cost in longer.items():
        assert cost.calls == plain[language].calls
        assert 2 < cost.prompt_tokens.high / plain[language].prompt_tokens.high < 12, "three more items, each answered"
    path.write_text(asked.replace("max_tokens: 500}", "max_tokens: 500, shots: 32}"))
    assert not [exam.why for exam in planned(path).examinations if exam.why], "each stand-in is many rows"


def test_a_plan_of_sources_that_declare_nothing_is_as_before(empty):
    found = planned(written(empty, empty / "data"))
    assert (found.steps, found.declared, found.resting) == ([], {}, ())
    assert found.uncounted == ("bentsao", "headqa", "casimedicos")


def test_an_absent_source_s_limit_and_the_command_s_hold(empty):
    path = written(empty, empty / "data", bentsao=", limit: 500, expect: {rows: 8658}")
    assert sum(planned(path).declared["bentsao"].values()) == 500 + round(8658 * 0.01)
    found = asyncio.run(plan(assemble(path), 20))
    assert found.declared["bentsao"] == {"zh": 40}, "20 a split"


def test_sizes_of_stand_ins(empty):
    """By number and split, by declared tokens, with as many explanations as are declared."""
    path = written(
        empty,
        empty / "data",
        bentsao=", expect: {rows: 8658, usable: 1000, tokens: 90000}",
        headqa=", expect: {rows: {train: 100, test: 50}, explained: {train: 50}}",
        casimedicos=", expect: {rows: 30}",
    )
    assembly = assemble(path)
    ahead = declared(assembly, ["bentsao", "headqa", "casimedicos"], None)
    chats = [made for made in ahead.made["bentsao"] if made.long.split == "train"]
    assert len(chats) == EACH and sum(made.weight for made in ahead.made["bentsao"]) == pytest.approx(1000)
    low, high = assembly.packs["zh"].size.characters_a_token
    for end in ("short", "long"):
        mean = (
            sum(len("".join(message.content for message in getattr(made, end).body.messages)) for made in chats) / EACH
        )
        assert 90 * low < mean < 90 * high
    items = ahead.made["headqa"]
    explained = {
        split: [made.weight for made in items if made.long.split == split and made.long.body.explanation]
        for split in ("train", "test")
    }
    assert sum(explained["train"]) == pytest.approx(50, rel=0.02), "one in a hundred goes to dev"
    assert not explained["test"]
    assert all(isinstance(made.long.body, Choice) and made.long.body.explanation for made in ahead.made["casimedicos"])
    assert {made.long.language for made in ahead.made["casimedicos"]} == {"es", "en", "fr"}
    texts = [str(made.short.body) for name in ahead.made for made in ahead.made[name]]
    assert len(set(texts)) == len(texts), "what is asked twice would be paid once"


def test_a_run_refuses_still(empty):
    path = written(empty, empty / "data", bentsao=", expect: {rows: 8658}")
    with pytest.raises(MissingInput, match="absent: 3 of 3 sources"):
        runner.run(assemble(path), RunFolder(empty / "run"), runner.Request(), lambda event: None)


def test_what_a_source_puts_in_no_split_is_learnt_from():
    assert Read(1000, 0, {"test": 500, "": 500}, {"train": 500, "test": 500}).difference == ""
    assert "test: expected 500, read 0" in Read(1000, 0, {"": 1000}, {"train": 500, "test": 500}).difference
    assert Read(990, 0, {"test": 500, "": 490}, {"train": 500, "test": 500}).difference


@pytest.mark.parametrize(
    "name", ["medquad", "cmexam", "french", "headqa", "casimedicos", "korean", "russian", "igakuqa"]
)
class TestWhatLoadersSay:
    pytestmark = NEEDS_DATA

    def test_a_loader_s_word_on_its_set_is_true(self, name):
        loader, rows = SETS[name](), load(name)
        assert loader.gives is not None
        assert {type(row.body) for row in rows} == {loader.gives.body}
        languages = loader.gives.languages or getattr(loader, "languages", ())
        assert {row.language for row in rows} <= set(languages)
        if loader.gives.body is Choice:
            explained = sum(bool(row.body.explanation) for row in rows) / len(rows)
            assert explained > 0.8 if loader.gives.explained else explained < 0.1
