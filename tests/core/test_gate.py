"""The gate: what licences forbid is refused in check, plan, preview, run, export and where a run's folder is all there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.parrot import TRAINER

from langmill.disk.store import RunFolder
from langmill.disk.tables import rows_to_table
from langmill.errors import RecipeError
from langmill.licensing.gate import flows, refuse_rows, row_refusals
from langmill.recipe.assembly import assemble
from langmill.rows import Chat, Origin, Row

pytestmark = pytest.mark.usefixtures("packs_once")
ROW = {
    "id": "valve",
    "language": "en",
    "question": "Which valve separates the left atrium from the left ventricle?",
    "answer": "The mitral valve does, the only one of the heart's valves that has two leaflets and not three.",
    "split": "train",
}
RECIPE = """\
name: small
languages: [en, fr]
plugins: [parrot.py]
run: {workers: 1}
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  bound: {use: table, path: bound.en.jsonl, body: chat, license: LICENSE}
  free: {use: table, path: free.en.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [bound, free], steps: STEPS}
train: {use: parrot, base: serious, allow_unchecked: true, stages: [{name: first, data: open}]}
"""
TRANSLATE = "[{use: translate, into: [fr], guards: false}]"


@pytest.fixture
def made(bench):
    """Writes a recipe of a source under a licence and a free one, and the steps over them."""

    def make(license: str = "CC-BY-NC-4.0", steps: str = TRANSLATE, text: str = RECIPE):
        bench.write("parrot.py", TRAINER)
        bench.script()
        bench.write("bound.en.jsonl", json.dumps(ROW) + "\n")
        bench.write(
            "free.en.jsonl", json.dumps({**ROW, "id": "mitral", "question": "What is the mitral valve?"}) + "\n"
        )
        bench.write("small.yaml", text.replace("LICENSE", license).replace("STEPS", steps))
        return bench

    return make


REFUSED = (
    "factory: purpose: commercial is refused by the licences of these sources:\n"
    "  bound: licence CC-BY-NC-4.0: not for commercial use; it flows into open\n"
    "  set purpose: research if that is what it is for, or leave these sources out: scoring with them is use, too\n"
)


@pytest.mark.parametrize("command", ["check", "plan", "preview", "run"])
def test_a_purpose_that_a_licence_forbids_is_refused_before_any_call(command, made):
    bench = made()
    said = bench.factory(command, "small.yaml", "--set", "purpose=commercial")
    assert said.code == 2 and said.err.endswith(REFUSED), said.err
    assert bench.calls() == [] and not (bench.folder / "runs").exists()


def test_check_as_json_names_what_is_refused(made):
    said = made().factory("check", "small.yaml", "--set", "purpose=commercial", "--json")
    assert said.code == 2
    assert json.loads(said.out)["refused"] == [
        "bound: licence CC-BY-NC-4.0: not for commercial use; it flows into open"
    ]


@pytest.mark.parametrize(
    ("license", "why"),
    [
        ("unknown", "licence unknown: its terms are not known, which counts as not permitted"),
        ("'Apache-2.0, academic use only by its readme'", "academic use only by its readme: not for commercial use"),
        (
            "CC-BYNC-4.0",
            "not permitted (it is not in the table and counts as unknown; nearest: CC-BY-NC-4.0); it flows into",
        ),
        ("'MIT, with a rider'", "licence MIT, with a rider: its terms are not known, which counts as not permitted"),
    ],
)
def test_what_is_not_known_counts_as_not_permitted(license, why, made):
    bench = made(license)
    said = bench.factory("check", "small.yaml", "--set", "purpose=commercial")
    assert said.code == 2 and why in said.err
    assert bench.factory("check", "small.yaml").code == 0, "research is another purpose"


def test_the_licence_of_a_translated_row_reaches_card_export_and_training(made):
    bench = made()
    said = bench.factory("run", "small.yaml")
    assert said.code == 0, said.err
    rows = {row.id: row for row in bench.rows("open")}
    assert rows["bound/valve/translate.fr"].origin.licenses == ("CC-BY-NC-4.0",)
    assert rows["free/mitral/translate.fr"].origin.licenses == ("CC0-1.0",)
    card = (bench.run().card("open")).read_text("utf-8")
    assert "The strictest here is **CC-BY-NC-4.0**" in card and "**not for commercial use**" in card
    for text in (card, (bench.run().stage_card("first")).read_text("utf-8")):
        assert "- written by scripted/writer: answers of a script" in text
    for name in ("bound.en.jsonl", "free.en.jsonl", "small.yaml"):
        (bench.folder / name).unlink()  # the rows alone are left

    told = (
        "factory: purpose: commercial is refused by the licences of these data sets:\n"
        "  open, 2 rows: licence CC-BY-NC-4.0: not for commercial use\n"
        "  set purpose: research if that is what it is for, or leave these sources out: scoring with them is use, too\n"
    )
    said = bench.factory("run", "runs/small", "--only", "train", "--set", "purpose=commercial")
    assert said.code == 2 and said.err.endswith(told), said.err
    assert bench.factory("run", "runs/small", "--only", "train").code == 0

    words = ("export", "runs/small", "first", "--as", "word", "--out")
    assert bench.factory(*words, "research").code == 0
    lock = bench.run().recipe_lock
    lock.write_text(lock.read_text("utf-8") + "purpose: commercial\n", "utf-8")
    said = bench.factory(*words, "commercial")
    assert said.code == 2 and said.err.endswith(told), said.err
    assert not (bench.folder / "commercial").exists()


def test_a_source_that_is_only_scored_is_used_too(made):
    more = "  asked: {from: [bound]}\neval: [{use: choice_accuracy, data: asked, models: [base]}]\n"
    bench = made(text=RECIPE.replace("from: [bound, free]", "from: [free]").replace("train:", more + "train:"))
    said = bench.factory("check", "small.yaml", "--set", "purpose=commercial")
    assert said.code == 2 and "it flows into asked\n" in said.err


def test_a_source_that_nothing_reads_is_not_used(made):
    bench = made(text=RECIPE.replace("from: [bound, free]", "from: [free]"))
    said = bench.factory("check", "small.yaml", "--set", "purpose=commercial")
    assert said.code == 0, said.err


@pytest.mark.parametrize("step", ["{use: translate, into: [fr]}", "{use: expand}"])
def test_no_rows_are_made_of_rows_that_permit_no_derivatives(step, made):
    bench = made("CC-BY-ND-4.0", f"[{step}]")
    said = bench.factory("run", "small.yaml")
    use = step.removeprefix("{use: ").rstrip("}").partition(",")[0]
    assert said.code == 2 and said.err.endswith(
        "factory: what the recipe makes of these sources is refused by their licences:\n"
        f"  bound: licence CC-BY-ND-4.0: it permits no derivatives, which {use} (datasets.open.steps[0]) would make\n"
        "  take these sources into a data set without such a step, where they are read and nothing is made of them\n"
    )
    assert bench.calls() == []


def test_rows_that_permit_no_derivatives_may_be_read_and_passed_by(made):
    assert made("CC-BY-ND-4.0", "[{use: exact}]").factory("check", "small.yaml").code == 0
    assert made("CC-BY-ND-4.0", "[{use: ask}]").factory("check", "small.yaml").code == 0, "ask works on texts alone"


def test_exams_that_permit_no_derivatives_pass_steps_on_texts_by(made):
    exams = RECIPE.replace("{use: table, path: bound.en.jsonl, body: chat,", "{use: headqa, path: none,")
    for step, code in (("ask", 0), ("explain", 2)):
        bench = made("CC-BY-ND-4.0", f"[{{use: {step}}}]", exams)
        assert bench.factory("check", "small.yaml").code == code, step


def test_through_data_sets_a_source_flows_on(made):
    more = "  on: {from: [open]}\n  last: {from: [on], steps: [{use: expand}]}\ntrain:"
    bench = made("CC-BY-ND-4.0", "[]", RECIPE.replace("train:", more))
    assembly = assemble(bench.folder / "small.yaml")
    assert flows(assembly) == dict.fromkeys(("open", "on", "last"), ("bound", "free"))
    said = bench.factory("check", "small.yaml")
    assert said.code == 2 and "which expand (datasets.last.steps[0]) would make" in said.err


# --- rows ---


def test_rows_in_a_folder_are_looked_at_by_all_their_licences(made, tmp_path):
    bench = made("CC0-1.0")
    store = RunFolder(tmp_path / "run")
    rows = [
        _row("a", ("CC-BY-ND-4.0",), ()),
        _row("b", ("CC-BY-ND-4.0", "MIT"), ("a",)),
        _row("c", ("CC-BY-NC-4.0", "unknown"), ()),
    ]
    store.write_dataset("open", iter([rows_to_table(rows)]), {})
    assembly = assemble(bench.folder / "small.yaml")
    assert [str(one) for one in row_refusals(assembly, store, "open")] == [
        "open, 1 row: licence CC-BY-ND-4.0: it permits no derivatives, and these were made from others"
    ]
    with pytest.raises(RecipeError, match="what the recipe makes of these data sets is refused by their licences"):
        refuse_rows(assembly, store, ["open"])
    commercial = assemble(bench.folder / "small.yaml", sets=["purpose=commercial"])
    assert sorted(str(one) for one in row_refusals(commercial, store, "open")) == [
        "open, 1 row: licence CC-BY-NC-4.0 + unknown: its terms are not known, which counts as not permitted",
        "open, 1 row: licence CC-BY-ND-4.0: it permits no derivatives, and these were made from others",
    ]


def _row(id: str, licenses: tuple[str, ...], parents: tuple[str, ...]) -> Row:
    return Row(id, "en", "train", id, Chat.of("Why?", "Because."), Origin("made", id, licenses, parents))


# --- what is told ---


def test_licences_that_do_not_go_together_are_told_in_check_and_card(made):
    text = RECIPE.replace("license: CC0-1.0", "license: CC-BY-NC-SA-4.0")
    bench = made("CC-BY-SA-4.0", "[]", text)
    line = "CC-BY-NC-SA-4.0 and CC-BY-SA-4.0 each want the same licence again: no licence fits both"
    assert f"  note: {line} (in open); each row keeps its own\n" in bench.factory("check", "small.yaml").err
    assert bench.factory("run", "small.yaml", "--until", "data").code == 0
    assert f"- **{line}.** Each row keeps its own" in (bench.run().card("open")).read_text("utf-8")
    assert line in bench.run().report.read_text("utf-8")


def test_rows_made_of_rows_under_unknown_terms_are_told(made):
    said = made("unknown").factory("check", "small.yaml")
    assert (
        "note: bound: licence unknown: whether rows may be made from its rows is not known, and translate would\n"
        in said.err
    )


def test_a_licence_that_may_be_mistyped_is_told_in_check_and_plan(made):
    bench = made("CC-BY-NCC-4.0", "[]")
    line = "sources.bound: licence 'CC-BY-NCC-4.0' is not in the table and counts as unknown; nearest: CC-BY-NC-4.0"
    assert f"  note: {line}\n" in bench.factory("check", "small.yaml").err
    assert json.loads(bench.factory("plan", "small.yaml", "--json").out)["notes"] == [line]


def test_the_writers_terms_are_told_and_loudly_where_they_matter(made):
    wordy = RECIPE.replace("scripted/writer, answers: script.jsonl", "openai/gpt-4o-mini")
    bench = made("CC0-1.0", text=wordy)
    line = "to be written by openai/gpt-4o-mini: what it writes is the user's, but its terms forbid to develop models"
    assert f"  note: {line}" in bench.factory("check", "small.yaml").err
    said = bench.factory("check", "small.yaml", "--set", "purpose=commercial")
    assert said.code == 0, "a note and no gate"
    assert f"  note: READ THIS BEFORE ANY COMMERCIAL USE: {line}" in said.err
    said = bench.factory("check", "small.yaml", "--set", "llm.terms=ours by contract")
    assert "note: to be written by openai/gpt-4o-mini: ours by contract (as the recipe says)\n" in said.err
    planned = json.loads(made("CC0-1.0", "[]").factory("plan", "small.yaml", "--json").out)
    assert planned["notes"] == [], "no step asks a model"


def test_no_recipe_of_the_project_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from langmill.licensing.gate import refusals

    monkeypatch.delenv("FACTORY_DATA", raising=False)
    recipe = Path(__file__).parents[2] / "recipes/mmed_ift.yaml"
    for profile in (None, "public", "paper"):
        assert refusals(assemble(recipe, profile=profile)) == []
    names = [one.name for one in refusals(assemble(recipe, profile="public", sets=["purpose=commercial"]))]
    assert names == ["bentsao", "cmmlu", "igakuqa", "kormedmcqa_cot", "mmlu_pro"]
