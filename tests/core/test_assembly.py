"""Assembly: every part built, every name resolved, and every fault of a recipe told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from langmill.api import (
    LLM,
    Answer,
    Answered,
    Augmenter,
    Context,
    Drop,
    EvalContext,
    Evaluator,
    Executor,
    Exporter,
    Field,
    Filter,
    Flag,
    Loader,
    Marked,
    Message,
    Pack,
    Question,
    Reject,
    Row,
    Skip,
    SourceContext,
    StepContext,
    Trainer,
    TrainJob,
    hookimpl,
)
from langmill.errors import Fault, RecipeError
from langmill.parts.facts import Identity
from langmill.recipe.assembly import Assembly, assemble
from langmill.recipe.registry import Registry
from langmill.recipe.schema import json_schema


class Lines(Loader):
    """A row a line."""

    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        yield from ()


class Near(Filter):
    """Near-duplicates."""

    threshold: float = Field(0.8, gt=0, le=1, description="likeness")
    against: str | None = Field(None, description="an earlier data set")

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        return [None for _ in rows]


class Expand(Augmenter):
    """Longer answers."""

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        return ()


class Scripted(LLM):
    """Answers that are known."""

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        return Answer("yes")


class Hosted(Scripted):
    """Any other provider."""

    api_base: str | None = Field(None, description="address")


class Plain(Exporter):
    """Lines."""

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        return folder


class Lora(BaseModel):
    """Adapter."""

    model_config = ConfigDict(extra="forbid")
    rank: int = Field(8, ge=1, description="rank")


class Adapter(Trainer):
    """Trains an adapter."""

    lora: Lora | None = Field(None, description="the adapter")

    def train(self, job: TrainJob) -> Path:
        return job.folder

    def open(self, adapter: Path | None, context: Context) -> LLM:
        return Scripted(model="scripted/x")


class Accuracy(Evaluator):
    """Right answers."""

    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        return ()

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        return Marked(())


class Here(Executor):
    """In this process."""

    def map(self, work: Callable[[Any], Any], partitions: Sequence[Any], context: Context) -> Iterator[Any]:
        return map(work, partitions)


class Toy:
    """One part of every kind."""

    register_loaders = hookimpl(lambda self: {"lines": Lines}, specname="register_loaders")
    register_filters = hookimpl(lambda self: {"near": Near}, specname="register_filters")
    register_augmenters = hookimpl(lambda self: {"expand": Expand}, specname="register_augmenters")
    register_llms = hookimpl(lambda self: {"scripted": Scripted, "litellm": Hosted}, specname="register_llms")
    register_exporters = hookimpl(lambda self: {"plain": Plain}, specname="register_exporters")
    register_trainers = hookimpl(lambda self: {"adapter": Adapter}, specname="register_trainers")
    register_evaluators = hookimpl(lambda self: {"accuracy": Accuracy}, specname="register_evaluators")
    register_executors = hookimpl(lambda self: {"local": Here}, specname="register_executors")

    @hookimpl
    def register_languages(self) -> Iterator[Pack]:
        for code in ("en", "no"):
            identity = Identity(
                code=code,
                name=code,
                native_name=code,
                scripts=("Latn",),
                lid_labels=(code,),
                sample="a sentence that is so long",
            )
            yield Pack(identity, None, None, {})


class Twofold:
    """A plugin with an augmenter that is called like a filter."""

    @hookimpl
    def register_augmenters(self) -> Mapping[str, type[Augmenter]]:
        return {"near": Expand}


WHOLE = """\
name: exams
seed: 5
languages: [en]
llm: {model: scripted/known}
models:
  big: {model: openai/gpt/4, temperature: 0.1}
sources:
  notes: {use: lines, path: notes.txt, license: CC0-1.0}
  exams: {use: lines, path: $data_dir/exams.txt, license: MIT, test: 0.5}
datasets:
  bench:
    from: [exams]
  ift:
    from: [notes, bench]
    steps:
      - {use: near, against: bench}
      - {use: expand, llm: big}
    write: [{use: plain}]
train:
  use: adapter
  base: local/small
  lora: {rank: 4}
  stages:
    - {name: first, data: ift}
    - {name: second, data: bench, start: first, learning_rate: 2e-5}
  allow_unchecked: true
eval:
  - {use: accuracy, data: bench, models: [base, second, big]}
profiles:
  other:
    llm: {modle: x}
"""

PLANTED = """\
name: planted
languages: [en, xx, en]
purpos: research
plugins: [../up.py]
llm: {model: unknown/x, temprature: 0.1}
models:
  base: {model: scripted/x}
  big: {model: scripted/x, max_tokens: many}
sources:
  notes: {use: linez, path: a, license: MIT}
  exams:
    use: lines
    path: a
    limit: 0
datasets:
  exams:
    from: [nots, ift]
  eval:
    from: [notes, notes]
    steps:
      - {use: nearr}
      - {use: near, threshold: 1.5, against: bench}
      - {use: near, treshold: 0.8}
      - {use: near, against: ift}
      - {use: expand, llm: huge}
      - just words
    write: [{use: plane}]
  ift:
    from: [exams]
    steps:
      - {use: lines}
train:
  use: adapter
  lora: {rnk: 3}
  base: x
  stages:
    - {name: first, data: iftt, start: second}
    - {name: second, data: ift, epochs: none}
    - {name: first, data: ift}
eval:
  - {use: accuracy, data: exam, models: [base, third]}
  - {use: accurate, data: ift, models: [base]}
run: {use: ray}
data_dir: nowhere
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FACTORY_DATA", raising=False)
    path = tmp_path / "exams.yaml"
    path.write_text(WHOLE, "utf-8")
    return path


def build(path: Path, **options: Any) -> Assembly:
    return assemble(path, registry=Registry([Toy()]), **options)


def faults(path: Path, **options: Any) -> list[Fault]:
    with pytest.raises(RecipeError) as caught:
        build(path, **options)
    assert all(fault.line is None or fault.line >= 1 for fault in caught.value.faults)
    return list(caught.value.faults)


def changed(path: Path, old: str, new: str) -> Path:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return path


def test_a_recipe_that_holds_is_built_whole(recipe: Path) -> None:
    made = build(recipe)
    assert {name: type(part) for name, part in made.sources.items()} == {"notes": Lines, "exams": Lines}
    assert made.uses == {"notes": "lines", "exams": "lines"}
    ift = made.datasets["ift"]
    assert ift.inputs == ("notes", "bench")
    assert [(step.place, step.use, step.kind) for step in ift.steps] == [
        ("datasets.ift.steps[0]", "near", "filters"),
        ("datasets.ift.steps[1]", "expand", "augmenters"),
    ]
    assert ift.steps[0].part == Near(against="bench")
    assert ift.steps[0].code_id.startswith("Toy sha256:")
    assert [(use, type(part)) for use, part in ift.write] == [("plain", Plain)]
    assert {name: (type(part), part.model) for name, part in made.models.items()} == {
        "llm": (Scripted, "scripted/known"),
        "big": (Hosted, "openai/gpt/4"),  # no plugin is called openai; the whole name stays
    }
    assert isinstance(made.executor, Here)
    assert isinstance(made.trainer, Adapter)
    assert (made.trainer.seed, made.trainer.lora) == (5, Lora(rank=4))  # the recipe's seed
    assert [(stage.name, stage.start, stage.learning_rate) for stage in made.stages] == [
        ("first", "base", 2e-4),
        ("second", "first", 2e-5),
    ]
    assert [(use, part.models) for use, part in made.evaluators] == [("accuracy", ("base", "second", "big"))]
    assert list(made.packs) == ["en"]
    context = made.context("datasets.ift")
    assert (context.place, context.seed, context.folder, context.offline) == ("datasets.ift", 5, recipe.parent, False)


def test_every_planted_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "planted.yaml"
    path.write_text(PLANTED, "utf-8")
    found = faults(path)
    told = {(fault.line, fault.place): fault.message for fault in found}
    expected = {
        (2, "languages[1]"): "factory new language xx",
        (2, "languages[2]"): "'en' is here twice",
        (3, "purpos"): "Did you mean 'purpose'?",
        (4, "plugins[0]"): "leads out of the recipe's folder",
        (5, "llm.temprature"): "Did you mean 'temperature'?",
        (7, "models.base"): "the name 'base' is taken",
        (8, "models.big.max_tokens"): "found the text 'many': must be a valid integer",
        (10, "sources.notes.use"): "there is no loader 'linez'; possible: lines. Did you mean 'lines'?",
        (11, "sources.exams.license"): "is missing: SPDX id",
        (14, "sources.exams.limit"): "found the number 0: must be greater than or equal to 1",
        (16, "datasets.exams"): "'exams' is the name of a source too",
        (17, "datasets.exams.from[0]"): "Did you mean 'notes'?",
        (17, "datasets.exams.from[1]"): "names refer upward",
        (18, "datasets.eval"): "taken by a folder of the run",
        (19, "datasets.eval.from[1]"): "'notes' is here twice",
        (21, "datasets.eval.steps[0].use"): "there is no filter or augmenter 'nearr'",
        (22, "datasets.eval.steps[1].threshold"): "found the number 1.5: must be less than or equal to 1",
        (23, "datasets.eval.steps[2].treshold"): "Did you mean 'threshold'?",
        (24, "datasets.eval.steps[3].against"): "names refer upward",
        (25, "datasets.eval.steps[4].llm"): "there is no model 'huge'; possible: base, big",
        (26, "datasets.eval.steps[5]"): "found the text 'just words': must be a mapping",
        (27, "datasets.eval.write[0].use"): "there is no exporter 'plane'",
        (31, "datasets.ift.steps[0].use"): "there is no filter or augmenter 'lines'",
        (34, "train.lora.rnk"): "there is no 'rnk' here; possible: rank",
        (37, "train.stages[0].data"): "there is no data set 'iftt'",
        (37, "train.stages[0].start"): "names refer upward",
        (38, "train.stages[1].epochs"): "found the text 'none'",
        (39, "train.stages[2].name"): "the name 'first' is taken",
        (41, "eval[0].data"): "there is no data set 'exam'",
        (41, "eval[0].models[1]"): "there is no stage or model 'third'",
        (42, "eval[1].use"): "there is no evaluator 'accurate'",
        (43, "run.use"): "there is no executor 'ray'",
        (44, "data_dir"): "there is no folder",
    }
    assert {where: told[where] for where in expected if where in told and expected[where] in told[where]} == {
        where: told.get(where) for where in expected
    }
    assert set(told) == set(expected)
    assert len(found) == len(expected)
    assert all(fault.file == str(path) for fault in found)
    assert [fault.line for fault in found] == sorted(fault.line for fault in found)


def test_faults_of_profiles_and_sets_point_at_them(recipe: Path) -> None:
    (fault,) = faults(recipe, profile="other")
    assert (fault.file, fault.line, fault.place) == (str(recipe), 31, "llm.modle")
    (fault,) = faults(recipe, sets=["datasets.ift.steps.0.threshold=2"])
    assert (fault.file, fault.line, fault.place) == ("--set", 1, "datasets.ift.steps[0].threshold")
    assert build(recipe, sets=["llm.model=openai/gpt", "llm.api_base=x"]).models["llm"] == Hosted(
        model="openai/gpt", api_base="x"
    )


def test_a_step_name_of_two_kinds_is_a_fault_that_names_both(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="'near' is both a filter of Toy and augmenter of Twofold"):
        assemble(recipe, registry=Registry([Toy(), Twofold()]))


def test_two_plugins_with_one_name_are_told_beside_the_other_faults(recipe: Path) -> None:
    changed(recipe, "seed: 5", "sed: 5")

    class Again(Toy):
        pass

    with pytest.raises(RecipeError) as caught:
        assemble(recipe, registry=Registry([Toy(), Again()]))
    assert "there is no 'sed'" in str(caught.value)
    assert "two plugins, Toy and Again" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "place", "words"),
    [
        ("llm: {model: scripted/known}\n", "", 16, "datasets.ift.steps[1]", "add llm:"),
        ("languages: [en]", "languages: []", 3, "languages", "at least 1 item"),
        ("against: bench", "against: bnch", 16, "datasets.ift.steps[0].against", "Did you mean 'bench'?"),
        ("start: first", "start: second", 25, "train.stages[1].start", "names refer upward"),
        ("name: second", "name: big", 25, "train.stages[1].name", "is taken"),
        ("name: first", "name: base", 24, "train.stages[0].name", "the model that training starts from"),
        ("model: scripted/known", "model: known", 4, "llm.model", "must match pattern"),
        ("base: local/small\n", "\n", 19, "train.base", "is missing: the model to start from"),
        ("{use: plain}", "{use: plain, use: plain}", 18, "datasets.ift.write[0].use", "twice"),
    ],
)
def test_single_faults(recipe: Path, old: str, new: str, line: int, place: str, words: str) -> None:
    changed(recipe, old, new)
    if "llm: big" in WHOLE and old.startswith("llm:"):
        changed(recipe, ", llm: big", "")
    found = [fault for fault in faults(recipe) if fault.place == place]
    assert [(fault.line, words in fault.message) for fault in found] == [(line, True)]


@pytest.mark.parametrize(
    ("models", "line", "place", "words"),
    [
        ("big: {model: scripted/a, fallback: smal}\n  small: {model: scripted/b}", 6, "models.big.fallback", "Did you mean 'small'?"),
        ("big: {model: scripted/a, fallback: llm}", 6, "models.big.fallback", "there is no model under models: 'llm'; possible: big"),
        ("big: {model: scripted/a, fallback: big}", 6, "models.big.fallback", "'big' can not take over from itself"),
        (
            "big: {model: scripted/a, fallback: mid}\n  mid: {model: scripted/b, fallback: end}\n"
            "  end: {model: scripted/c, fallback: mid}",
            7, "models.mid.fallback", "in a circle: mid -> end -> mid",
        ),
    ],
)  # fmt: skip
def test_who_takes_over_is_there_and_comes_to_an_end(
    recipe: Path, models: str, line: int, place: str, words: str
) -> None:
    (fault,) = faults(changed(recipe, "big: {model: openai/gpt/4, temperature: 0.1}", models))
    assert (fault.line, fault.place) == (line, place)
    assert words in fault.message


def test_the_recipes_own_model_has_one_that_takes_over(recipe: Path) -> None:
    whole = build(changed(recipe, "llm: {model: scripted/known}", "llm: {model: scripted/known, fallback: big}"))
    assert whole.models["llm"].fallback == "big"
    (fault,) = faults(changed(recipe, "fallback: big", "fallback: bog"))
    assert fault.place == "llm.fallback"
    assert "Did you mean 'big'?" in fault.message


def test_scoring_the_base_needs_training(recipe: Path) -> None:
    text = recipe.read_text("utf-8")
    start, end = text.index("train:"), text.index("eval:")
    recipe.write_text(text[:start] + text[end:], "utf-8")
    found = faults(recipe)
    assert [fault.place for fault in found] == ["eval[0].models[0]", "eval[0].models[1]"]
    assert "add train:" in found[0].message


# --- data folders ---


def test_absent_sources_are_listed_and_no_fault(recipe: Path) -> None:
    lines = build(recipe).absent()
    assert len(lines) == 2
    assert "sources.notes.path: nothing at 'notes.txt'" in str(lines[0])
    assert "set FACTORY_DATA=DIR" in str(lines[1])
    (recipe.parent / "notes.txt").write_text("a", "utf-8")
    assert len(build(recipe).absent()) == 1


def test_the_data_folder_comes_from_the_recipe_or_the_environment(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = recipe.parent / "sets"
    sets.mkdir()
    (sets / "exams.txt").write_text("a", "utf-8")
    assert build(recipe, sets=["data_dir=sets"]).data_dir == sets
    monkeypatch.setenv("FACTORY_DATA", str(sets))
    made = build(recipe)
    assert made.context("sources.exams").data_dir == sets
    assert len(made.absent()) == 1
    monkeypatch.setenv("FACTORY_DATA", str(sets / "exams.txt"))
    (fault,) = faults(recipe)
    assert str(fault).startswith(
        f"FACTORY_DATA: there is no folder {sets / 'exams.txt'}: name the folder that holds the public sets"
    )
    assert "mkdir -p" in str(fault) and "unset FACTORY_DATA" in str(fault)
    changed(recipe, "$data_dir/exams.txt", "exams.txt")
    assert build(recipe)  # a wrong folder that nothing reads from does no harm


# --- plugin files ---

MINE = '''\
from langmill.api import Filter, hookimpl


class Mine(Filter):
    """Mine."""


@hookimpl
def register_filters():
    return {"mine": Mine}
'''


def test_a_filter_with_one_file_beside_the_recipe(recipe: Path) -> None:
    (recipe.parent / "mine.py").write_text(MINE, "utf-8")
    changed(recipe, "languages: [en]", "languages: [en]\nplugins: [mine.py]")
    changed(recipe, "{use: near, against: bench}", "{use: mine}")
    made = build(recipe)
    assert made.plugin_files == (recipe.parent / "mine.py",)
    assert made.datasets["ift"].steps[0].code_id.startswith("sha256:")
    found = faults(recipe, plugin_files_allowed=False)
    assert found[0].place == "plugins[0]"
    assert "--no-plugin-files" in found[0].message


def test_a_plugin_file_that_does_not_load_is_a_fault_among_others(recipe: Path) -> None:
    (recipe.parent / "torn.py").write_text("import no_such_engine", "utf-8")
    changed(recipe, "languages: [en]", "languages: [en, qq]\nplugins: [torn.py]")
    assert [fault.place for fault in faults(recipe)] == ["languages[1]", "plugins[0]"]


# --- the schema for editors ---


def test_the_schema_tells_parts_apart_by_use(recipe: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema(Registry([Toy()]))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    whole = build(recipe).file.merged
    assert [error.message for error in validator.iter_errors(whole)] == []
    for loc, value in [
        (("sources", "notes", "use"), "linez"),
        (("datasets", "ift", "steps", 0, "threshold"), 2),
        (("datasets", "ift", "steps", 0, "treshold"), 0.5),
        (("train", "lora", "rnk"), 3),
        (("train", "stages", 0, "epochs"), "none"),
        (("llm", "api_base"), "x"),  # an option of another provider's class
        (("eval", 0, "models"), []),
        (("purpos",), "research"),
    ]:
        bad = build(recipe).file.merged
        here: Any = bad
        for step in loc[:-1]:
            here = here[step]
        here[loc[-1]] = value
        assert list(validator.iter_errors(bad)), loc
