"""Sets that are not there: what they are, where they are to be had, where to put them; and those that hold other than declared."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("packs_once")
RECIPE = """\
name: small
languages: [en]
run: {workers: 1}
sources:
  near:
    {use: table, path: near.en.jsonl, body: chat, license: MIT, home: GitHub some/where,
     expect: {rows: {train: 2, test: 1}, tokens: 900}}
  far: {use: table, path: $data_dir/far/x.jsonl, body: chat, license: CC-BY-NC-4.0, expect: {rows: 11451}}
  mute: {use: table, path: "more/*.jsonl", body: chat, license: unknown}
datasets:
  open: {from: [near, far, mute]}
"""
ONE = {
    "language": "en",
    "question": "Which vitamin prevents scurvy?",
    "answer": "Vitamin C does, since collagen needs it.",
}
NEAR = "near: licence MIT; declared: 3 records (train 2, test 1), 900 tokens"


@pytest.fixture
def absent(bench):
    """A recipe of three sources that are not there."""
    bench.write("small.yaml", RECIPE)
    return bench


def blocks(bench, indent: str) -> str:
    return "".join(
        f"{indent}{line}\n"
        for line in (
            "absent: 3 of 3 sources",
            f"  {NEAR}",
            f"    nothing at 'near.en.jsonl' ({bench.folder}/near.en.jsonl)",
            "    where to get it: GitHub some/where",
            "  far: licence CC-BY-NC-4.0; declared: 11,451 records",
            "    belongs at $data_dir/far/x.jsonl",
            "  mute: licence unknown",
            f"    nothing at 'more/*.jsonl' ({bench.folder}/more/*.jsonl)",
            "    where to get these 2: the recipe does not say (home:)",
            "  set the data folder with FACTORY_DATA=DIR, or data_dir: in the recipe, and put each there",
            "  put each where it was looked for, or name another place: --set sources.NAME.path=PATH",
        )
    )


def test_check_and_plan_list_them_all_and_are_content(absent):
    said = absent.factory("check", "small.yaml")
    assert said.code == 0 and blocks(absent, "  ") in said.err, said.err
    said = absent.factory("plan", "small.yaml")
    assert said.code == 0 and blocks(absent, "") in said.err, said.err


@pytest.mark.parametrize("command", ["run", "preview"])
def test_a_run_refuses_in_the_same_words_before_any_call(command, absent):
    said = absent.factory(command, "small.yaml")
    assert said.code == 2 and blocks(absent, "").removeprefix("absent") in said.err, said.err
    assert absent.calls() == [] and not (absent.folder / "runs").exists()


def test_for_programs_each_is_there_with_all_that_is_known(absent):
    found = json.loads(absent.factory("check", "small.yaml", "--json").out)["absent"]
    assert found == json.loads(absent.factory("plan", "small.yaml", "--json").out)["absent"]
    near, far, mute = found
    assert near == {
        "place": "sources.near",
        "why": f"nothing at 'near.en.jsonl' ({absent.folder}/near.en.jsonl)",
        "name": "near",
        "path": "near.en.jsonl",
        "tried": f"{absent.folder}/near.en.jsonl",
        "license": "MIT",
        "home": "GitHub some/where",
        "records": 3,
        "splits": {"train": 2, "test": 1},
        "usable": None,
        "tokens": 900,
    }
    assert (far["tried"], far["records"], far["splits"]) == ("", 11451, None)
    assert (mute["home"], mute["records"]) == ("", None)


def test_a_folder_without_files_of_the_set_says_so(absent):
    (absent.folder / "more").mkdir()
    said = absent.factory("check", "small.yaml", "--set", "sources.mute.path=more")
    assert "nothing at 'more'" in said.err or "below 'more'" in said.err, said.err


def test_a_file_that_a_step_names_is_listed_too(bench):
    bench.write("near.en.jsonl", json.dumps(ONE) + "\n")
    steps = "datasets:\n  open: {from: [near], steps: [{use: language_id, model: none.bin}]}\n"
    bench.write("small.yaml", RECIPE.partition("  far:")[0] + steps)
    said = bench.factory("check", "small.yaml")
    assert said.code == 0 and "  absent: 1 file that a step names\n" in said.err, said.err
    assert "none.bin" in said.err and "put each where" not in said.err


@pytest.mark.parametrize(
    ("expect", "place", "message"),
    [
        ("{rows: many}", "expect.rows", "found the text 'many': must be a valid integer"),
        ("{rows: -1}", "expect.rows", "found the number -1: must be greater than or equal to 0"),
        ("{rows: {trian: 3}}", "expect.rows.trian", "must be 'train', 'dev' or 'test' (possible: dev, test, train. Did you mean 'train'?)"),
        ("{rows: {train: few}}", "expect.rows.train", "found the text 'few': must be a valid integer"),
        ("{row: 3}", "expect.row", "Did you mean 'rows'?"),
    ],
)  # fmt: skip
def test_what_is_expected_is_told_once_and_in_words(expect, place, message, bench):
    bench.write("small.yaml", RECIPE.replace("{rows: 11451}", expect))
    said = bench.factory("check", "small.yaml")
    assert said.code == 2
    assert said.err.count("sources.far") == 1 and f"sources.far.{place}: " in said.err and message in said.err, said.err


# --- there, and not as declared ---


def whole(bench, *splits: str, broken: int = 0) -> None:
    """The source near with a record for each split, some without an answer; and a recipe of it alone."""
    lines = [json.dumps({**ONE, "id": str(n), "split": split}) for n, split in enumerate(splits)]
    lines += [json.dumps({**ONE, "id": f"b{n}", "split": "train", "answer": ""}) for n in range(broken)]
    bench.write("near.en.jsonl", "\n".join(lines) + "\n")
    bench.write("small.yaml", RECIPE.partition("  far:")[0] + "datasets:\n  open: {from: [near]}\n")


def test_a_source_that_is_whole_is_passed_over_in_silence(bench):
    whole(bench, "train", "test", broken=1)
    said = bench.factory("run", "small.yaml")
    assert said.code == 0 and "expected" not in said.err, "what was rejected was read, too"
    read = json.loads((bench.folder / "runs/small/manifest.json").read_text())["read"]["near"]
    assert read == {
        "read": 3,
        "rejected": 1,
        "splits": {"": 1, "test": 1, "train": 1},
        "expected": {"train": 2, "test": 1},
        "difference": "",
    }


def test_a_difference_by_split_is_told_everywhere_and_stops_nothing(bench):
    whole(bench, "train", "train", "train", "dev", broken=1)
    told = "train: expected 2, read 3; test: expected 1, read 0; no split: expected 0, read 1; dev: expected 0, read 1; 1 rejected"
    said = bench.factory("plan", "small.yaml")
    assert said.code == 0 and f"near: {told}\n" in said.err, said.err
    assert json.loads(bench.factory("plan", "small.yaml", "--json").out)["differing"] == {"near": told}
    said = bench.factory("run", "small.yaml")
    assert said.code == 0 and f"source near: {told}" in said.err, said.err
    assert json.loads((bench.folder / "runs/small/manifest.json").read_text())["read"]["near"]["difference"] == told
    assert f"does not hold what the recipe expects: {told}" in (bench.folder / "runs/small/report.html").read_text()
    assert f"source near: {told}" in bench.factory("run", "small.yaml").err, "what was kept is told again"


def test_the_source_s_own_split_counts_and_a_limit_does_not(bench):
    whole(bench, "train", "train", "test")
    more = ("--set", "sources.near.splits={train: dev}", "--limit", "1")
    said = bench.factory("run", "small.yaml", *more)
    assert said.code == 0 and "expected" not in said.err, said.err
    assert [row.split for row in bench.rows("open")].count("dev") == 1


def test_one_number_for_all_splits(bench):
    whole(bench, "train", "test", broken=2)
    said = bench.factory("run", "small.yaml", "--set", "sources.near.expect={rows: 5}")
    assert "source near: expected 5, read 4, 2 rejected" in said.err, said.err
    said = bench.factory("run", "small.yaml", "--set", "sources.near.expect={rows: 4}")
    assert "expected" not in said.err
    source = bench.run().work("sources", "near")
    assert len(list(source.glob("*.end.parquet"))) == 1, "what is expected decides nothing of what is read"
