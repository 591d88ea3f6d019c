"""The recipe's shape, profiles and --set: what is merged, and that every fault names the line that said it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from langmill.errors import Fault, RecipeError
from langmill.recipe.file import Recipe, draft_recipe, read_recipe

WHOLE = """\
name: exams
languages: [en, no]
llm:
  model: local/small
  temperature: 0.7
sources:
  notes: {use: table, path: notes.jsonl, license: CC0-1.0}
datasets:
  ift:
    from: [notes]
    steps:
      - {use: exact}
      - {use: minhash, threshold: 0.8}
    write:
      - {use: messages}
train:
  use: peft
  base: local/small
  stages:
    - {name: first, data: ift}
profiles:
  public:
    llm:
      model: openai/gpt
      temperature: null
    languages: [fr]
    datasets:
      ift:
        steps:
          - use: other
  broken:
    llm:
      modle: x
    train:
      stages: null
    budget: -1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "exams.yaml"
    path.write_text(WHOLE, "utf-8")
    return path


def faults(path: Path, profile: str | None = None, sets: tuple[str, ...] = ()) -> list[Fault]:
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, profile, sets)
    return list(caught.value.faults)


def test_the_shape_and_its_defaults(recipe: Path) -> None:
    file = read_recipe(recipe)
    shape = file.recipe
    assert (shape.name, shape.seed, shape.purpose, shape.max_rejected) == ("exams", 17, "research", 1.0)
    assert shape.languages == ("en", "no")  # Norwegian, not false
    assert shape.run.use == "local"
    assert shape.budget is None
    assert shape.datasets["ift"].inputs == ("notes",)
    assert shape.datasets["ift"].steps[1].model_extra == {"threshold": 0.8}
    assert file.folder == recipe.parent
    assert "profiles" not in file.merged
    assert str(file.fault(("datasets", "ift", "steps", 1, "threshold"), "odd")) == (
        f"{recipe}:13: datasets.ift.steps[1].threshold: odd"
    )


def test_a_profile_merges_mappings_replaces_the_rest_and_removes_with_null(recipe: Path) -> None:
    file = read_recipe(recipe, "public")
    assert file.merged["llm"] == {"model": "openai/gpt"}
    assert file.merged["languages"] == ["fr"]
    assert file.merged["datasets"]["ift"] == {
        "from": ["notes"],
        "steps": [{"use": "other"}],
        "write": [{"use": "messages"}],
    }
    assert file.merged["sources"] == read_recipe(recipe).merged["sources"]
    lines = [file.fault(loc, "").line for loc in [("llm", "model"), ("llm", "temperature"), ("llm", "x"), ("train",)]]
    assert lines == [24, 25, 3, 16]
    assert file.fault(("datasets", "ift", "steps", 0, "threshold"), "").line == 30
    assert file.fault(("datasets", "ift", "from", 0), "").line == 10


def test_faults_of_an_overlay_point_at_the_profile(recipe: Path) -> None:
    found = {(fault.line, fault.place) for fault in faults(recipe, "broken")}
    assert found == {(35, "train.stages"), (36, "budget")}  # modle is an option, and options are the registry's
    assert read_recipe(recipe)  # a profile that is not picked does no harm


def test_an_unknown_profile_names_those_there_are(recipe: Path) -> None:
    (fault,) = faults(recipe, "publik")
    assert "no profile 'publik': possible: broken, public. Did you mean 'public'?" in fault.message
    assert fault.line == 21


def test_a_profile_is_a_mapping_without_profiles_inside(recipe: Path) -> None:
    recipe.write_text(WHOLE + "  odd: 3\n  inner:\n    profiles: {x: {}}\n", "utf-8")
    found = {(fault.line, fault.place) for fault in faults(recipe, "inner")}
    assert found == {(37, "profiles.odd"), (39, "profiles.inner.profiles")}


def test_set_reaches_every_key(recipe: Path) -> None:
    sets = (
        "llm.model=ollama/qwen3:32b",
        "llm.api_base=http://127.0.0.1:8000/v1",
        "datasets.ift.steps.1.threshold=2e-1",
        "datasets.ift.steps[0].use=sound_choice",
        "languages.1=fr",
        "train.lora.rank=8",
        "budget=3",
        "sources.notes.limit=null",
        "datasets.ift.write=[{use: csv}]",
        "llm.temperature=null",
    )
    merged = read_recipe(recipe, None, sets).merged
    assert merged["llm"] == {"model": "ollama/qwen3:32b", "api_base": "http://127.0.0.1:8000/v1"}
    assert merged["datasets"]["ift"]["steps"] == [{"use": "sound_choice"}, {"use": "minhash", "threshold": 0.2}]
    assert merged["datasets"]["ift"]["write"] == [{"use": "csv"}]
    assert merged["languages"] == ["en", "fr"]
    assert merged["train"]["lora"] == {"rank": 8}
    assert merged["budget"] == 3
    assert "limit" not in merged["sources"]["notes"]


def test_set_goes_over_the_profile(recipe: Path) -> None:
    assert read_recipe(recipe, "public", ["llm.model=x/y"]).merged["llm"]["model"] == "x/y"


def test_an_empty_section_can_be_set_into(recipe: Path) -> None:
    recipe.write_text(WHOLE.replace("profiles:", "models:\nprofiles:", 1), "utf-8")
    assert read_recipe(recipe, None, ["models.big.model=x/y"]).merged["models"] == {"big": {"model": "x/y"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sorces.notes.path=x", "there is no 'sorces' here"),
        ("datasets.ift.stepz.0.use=x", "there is no 'stepz' here; possible: from, steps, write. Did you mean 'steps'?"),
        ("datasets.ift.steps.2.use=x", "'datasets.ift.steps' has items 0 to 1"),
        ("datasets.ift.steps.first.use=x", "no item 'first'"),
        ("name.inner=x", "'name' is the text 'exams', which has no 'inner' inside"),
        ("nothing", "is not key=value"),
        ("=3", "is not key=value"),
        ("a..b=3", "is not key=value"),
        ("budget=[1", "not YAML"),
        ("budget=much", "found the text 'much'"),
        ("seed=true", "found true"),
        ("name=null", "is missing"),
        ("profiles.public.budget=3", "set the key itself"),
    ],
)
def test_a_wrong_set_names_the_place_and_its_number(recipe: Path, text: str, words: str) -> None:
    (fault,) = faults(recipe, None, ("seed=3", text))
    assert (fault.file, fault.line) == ("--set", 2)
    assert words in fault.message


def test_all_faults_of_the_shape_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        dedent("""\
        name: ../up
        languages: []
        purpos: research
        purpose: fun
        seed: "17"
        max_rejected: 2
        llm: {model: nothing}
        sources:
          Bad-Name: {use: table}
          b: {path: x}
        datasets:
          a: {form: [b], steps: [x, {use: 3}]}
        train: {use: peft, stages: []}
        eval: {use: x}
        seed: 18
        """),
        "utf-8",
    )
    found = {(fault.line, fault.place) for fault in faults(path)}
    assert found == {
        (1, "name"),
        (2, "languages"),
        (3, "purpos"),
        (4, "purpose"),
        (5, "seed"),
        (6, "max_rejected"),
        (7, "llm.model"),
        (9, "sources.Bad-Name"),
        (10, "sources.b.use"),
        (12, "datasets.a.form"),
        (12, "datasets.a.from"),
        (12, "datasets.a.steps[0]"),
        (12, "datasets.a.steps[1].use"),
        (13, "train.stages"),
        (14, "eval"),
        (15, "seed"),
    }
    draft = draft_recipe(path)
    assert len(draft.faults) == 16
    with pytest.raises(RecipeError):
        _ = draft.recipe


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n", "a: [1\n"])
def test_what_is_no_recipe_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=r"r\.yaml:\d: \(top\)"):
        draft_recipe(path)


def test_every_option_of_a_recipe_says_what_it_is() -> None:
    assert all(info.description for info in Recipe.model_fields.values())
