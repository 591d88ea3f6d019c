"""Data sets made by the command, from hand-written rows and a model whose answers are known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from langmill.disk.store import file_hash
from langmill.rows import Chat, Choice

SMALL = """\
name: small
languages: [en, fr]
run: {use: local, workers: 1}
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  qa: {use: table, path: data/qa.*.jsonl, body: chat, license: CC-BY-4.0}
  passages: {use: table, path: data/passages.*.jsonl, body: text, license: CC0-1.0}
  choice: {use: table, path: data/choice.en.jsonl, body: choice, license: CC0-1.0}
datasets:
  exams:
    from: [choice]
    steps: [{use: sound_choice}, {use: exact}]
  open:
    from: [qa, passages]
    steps:
      - {use: language_id}
      - {use: exact}
      - {use: decontaminate, against: exams}
      - {use: expand, guards: false}
      - {use: ask, repair: false, keep: never}
      - {use: translate, guards: false, into: [fr], limit: 3}
      - {use: length, most: 3000}
    write: [{use: messages_jsonl}]
  choices:
    from: [exams]
    steps: [{use: explain, guards: false, keep: skipped}]
"""


@pytest.fixture(scope="module")
def done(shared_bench):
    """Two languages of questions, passages and exam items, made once into data sets; the model is scripted."""
    bench = shared_bench
    bench.data("qa.en.jsonl", "passages.en.jsonl", "choice.en.jsonl")
    items = [json.loads(line) for line in (bench.folder / "data/choice.en.jsonl").read_text("utf-8").splitlines()]
    for item in items[:3]:
        item["explanation"] = ""
    bench.write("data/choice.en.jsonl", "".join(json.dumps(item) + "\n" for item in items))
    with (bench.folder / "data/qa.en.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"id": "en-qa-99", "language": "en", "question": "Cut off')  # a damaged line
    bench.script()
    bench.write("small.yaml", SMALL)
    said = bench.command("run", "small.yaml", "--json")
    assert said.code == 0, said.err
    return bench, said


@pytest.fixture
def small(done, copied):
    """The finished run, carried to another folder and free to be changed."""
    return copied(done[0])


def test_a_recipe_end_to_end(done):
    bench, said = done
    told = json.loads(said.out)
    rows = {name: bench.rows(name) for name in ("exams", "open", "choices")}
    assert {name: sum(facts["rows"].values()) for name, facts in told["datasets"].items()} == {
        name: len(items) for name, items in rows.items()
    }
    assert "read qa: 20 rows" in said.err
    assert "report:" in said.err

    root = bench.run().root
    manifest = json.loads((root / "manifest.json").read_text("utf-8"))
    assert "open/data/fr/train-00000.parquet" in manifest["files"]
    assert manifest["files"] == {
        name: {"sha256": file_hash(root / name), "bytes": (root / name).stat().st_size} for name in manifest["files"]
    }
    assert manifest["sources"]["qa"] == {"qa.en.jsonl": file_hash(bench.folder / "data/qa.en.jsonl")}
    sent = Counter(call["step"] for call in bench.calls())
    assert {usage["step"]: usage["calls"] for usage in manifest["calls"]} == sent
    assert set(sent) == {"expand", "ask", "translate.fr", "explain"}
    for name in ("report.html", "recipe.lock.yaml", "open/README.md", "choices/README.md"):
        assert (root / name).read_text("utf-8").strip(), name


def test_running_again_does_nothing_again(small, done):
    before, calls = small.state(), len(small.calls())
    again = small.command("run", "small.yaml", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["datasets"] == json.loads(done[1].out)["datasets"]
    changed = {name for name, state in small.state().items() if before.get(name) != state}
    assert {name for name in changed if name.endswith((".parquet", ".jsonl", "dataset.json"))} == set()
    assert len(small.calls()) == calls, "an answer that is known is not asked for"
    done_now = again.err.partition("\n\n")[0]  # the summary is behind
    work = [line for line in done_now.splitlines() if line.startswith("  ") and ": " in line]
    assert work and [line for line in work if not line.endswith("(kept)")] == []


def test_the_funnel_adds_up(done):
    small, _ = done
    for name in ("exams", "open", "choices"):
        facts = small.run().dataset_facts(name)
        rows = Counter(row.language for row in small.rows(name))
        after: Counter[str] = Counter()
        for segment in facts["funnel"]:
            reads = segment["segment"].startswith("read ")
            if not reads:
                after_before, after = after, Counter()
            for key, n in segment["counts"].items():
                step, language = key.split("\t")
                gone = sum(count for what, count in n.items() if what.startswith("rejected:"))
                skipped = sum(count for what, count in n.items() if what.startswith("skipped:"))
                kept, read = n.get("kept", 0), n.get("read", 0)
                if reads:
                    assert read == kept + gone + skipped, key
                elif step in ("expand", "ask", "translate", "explain"):
                    assert read == kept + n.get("replaced", 0) + n.get("dropped", 0), key
                else:
                    assert read == kept + gone, key
                after[language] += kept + n.get("made", 0)
                if not reads:
                    assert read == after_before[language], f"{key}: in is what came out before"
        assert +after == rows, name
        rejected = Counter(reject.reason for reject in small.rejects(name))
        told: Counter[str] = Counter()
        for segment in facts["funnel"]:
            for n in segment["counts"].values():
                told.update({what[9:]: count for what, count in n.items() if what.startswith("rejected:")})
        assert rejected == told
    funnel = small.funnel("open")
    assert funnel["read qa "]["rejected:broken_json"] == 1
    ask = funnel["ask en"]
    assert ask["rejected:not_standalone"] == ask["replaced"] + ask.get("dropped", 0) == 5
    assert ask["read"] == ask["kept"] + 5
    assert small.funnel("choices")["read exams en"] == {"kept": 15, "read": 15}
    assert funnel["translate fr"] == {"made": 3}
    assert funnel["translate en"]["read"] == funnel["translate en"]["kept"] == ask["kept"] + ask["made"]
    assert small.funnel("choices")["explain en"]["made"] > 0
    (broken,) = [reject for reject in small.rejects("open") if reject.reason == "broken_json"]
    assert "qa.en.jsonl:21" in broken.detail


def test_every_row_can_be_traced(done):
    small, _ = done
    answered = set(small.answered())
    models = {"scripted/writer"}
    by_id = {row.id: row for name in ("exams", "open", "choices") for row in small.rows(name)}
    assert len(by_id) == len({(row.id, row.body) for name in ("exams", "open", "choices") for row in small.rows(name)})
    licenses = {"qa": ("CC-BY-4.0",), "passages": ("CC0-1.0",), "choice": ("CC0-1.0",)}
    made = 0
    for row in by_id.values():
        origin = row.origin
        assert origin.licenses == licenses[origin.source]
        root = f"{origin.source}/{origin.record}"
        assert row.family == root
        assert row.id == root or row.id.startswith(root + "/")
        assert len(origin.marks) == len(origin.parents)
        for parent, mark in zip(origin.parents, origin.marks, strict=True):
            assert row.id.startswith(parent + "/")
            assert mark.call in answered
            assert mark.model in models
            assert mark.prompt.split("/")[0] in ("en", "fr")
        if origin.parents:
            made += 1
            assert row.split == "train"
            if origin.parents[0] in by_id:
                assert by_id[origin.parents[0]].split == row.split
        else:
            assert row.id == root
    assert made > 20
    (twice, *_) = [row for row in by_id.values() if row.id.endswith("/translate.fr")]
    assert twice.language == "fr"
    assert isinstance(twice.body, Chat)
    shown = small.command("show", "runs/small", twice.id)
    assert shown.code == 0
    assert twice.origin.record in shown.err
    assert f"call {twice.origin.marks[-1].call[:16]}" in shown.err


def test_rows_of_dev_and_test_pass_augmenters_untouched(done):
    small, _ = done
    lines = (small.folder / "data/choice.en.jsonl").read_text("utf-8").splitlines()
    own = {f"choice/{item['id']}": item for item in map(json.loads, lines)}
    rows = [row for row in small.rows("choices") if row.language == "en"]
    assert {row.split for row in rows} == {"train", "dev", "test"}
    for row in rows:
        if row.split != "train":
            item = own[row.id]
            assert not row.origin.marks
            assert isinstance(row.body, Choice)
            assert row.body.explanation == item["explanation"]
            assert row.body.question == item["question"]
    assert {row.id for row in rows if row.split != "train"} == {
        id for id, item in own.items() if item["split"] != "train"
    }


def test_editing_one_step_redoes_that_step_alone(small):
    calls = Counter(call["step"] for call in small.calls())
    before = small.state()
    small.write("small.yaml", SMALL.replace("into: [fr], limit: 3", "into: [fr], limit: 5"))
    done = small.factory("run", "small.yaml")
    assert done.code == 0
    assert Counter(call["step"] for call in small.calls()) - calls == {"translate.fr": 2}
    same = {name for name, state in small.state().items() if before.get(name) == state}
    kept = {Path(name).parent for name in same}
    assert {folder.name for folder in kept if folder.parent.name == "work"} >= {
        "00 language_id", "02 decontaminate", "03 expand", "04 ask",
    }  # fmt: skip
    assert "open: expand (kept)" in done.err
    assert "open: translate\n" in done.err
    assert "choices: 15 rows in 1 languages (kept)" in done.err


def test_moving_and_adding_filters_repeats_no_call(small):
    calls, rows = len(small.calls()), {row.id for row in small.rows("open")}
    moved = SMALL.replace(
        "      - {use: language_id}\n      - {use: exact}\n",
        "      - {use: minhash}\n      - {use: exact}\n      - {use: language_id}\n",
    )
    assert moved != SMALL
    small.write("small.yaml", moved)
    assert small.factory("run", "small.yaml").code == 0
    assert len(small.calls()) == calls
    assert {row.id for row in small.rows("open")} == rows


def test_another_run_of_the_same_rows_pays_nothing(small):
    calls = len(small.calls())
    assert small.factory("run", "small.yaml", "--out", "elsewhere").code == 0
    assert len(small.calls()) == calls
    fresh = small.factory("run", "small.yaml", "--fresh")
    assert fresh.code == 0
    assert "(kept)" not in fresh.err
    assert len(small.calls()) == calls


# --- what a model can not do ---

SLOW = """\
name: small
languages: [en]
plugins: [writer.py]
llm: {model: writer/one, timeout: 0.2}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa], steps: [{use: expand, guards: false}]}
"""


def test_what_a_provider_refused_is_tried_again_and_nothing_else(bench):
    bench.data("qa.en.jsonl")
    bench.writer()
    bench.write("small.yaml", SLOW)
    bench.write("down", "mitral")  # the provider fails for the rows that speak of it
    done = bench.factory("run", "small.yaml")
    assert done.code == 0
    refused = [reject for reject in bench.rejects("open") if reject.reason == "provider"]
    assert refused
    assert all("out of order" in reject.detail for reject in refused)
    answered = bench.answered()

    (bench.folder / "down").unlink()
    sent = len(bench.calls())
    assert bench.factory("run", "small.yaml").code == 0
    assert bench.rejects("open") == []
    assert len(bench.calls()) == sent + len(refused)
    assert len(set(bench.answered())) == len(bench.answered()) == len(answered) + len(refused)
    kept = bench.factory("run", "small.yaml")
    assert "open: expand (kept)" in kept.err


def test_the_parent_is_kept_always_when_skipped_or_never(bench):
    bench.data("qa.en.jsonl")
    lines = (bench.folder / "data/qa.en.jsonl").read_text("utf-8").splitlines()
    items = [{**json.loads(line), "split": "train"} for line in lines[:4]]
    items[3]["answer"] = items[3]["answer"] * 60  # too long to be translated: skipped
    bench.write("data/qa.en.jsonl", "".join(json.dumps(item) + "\n" for item in items))
    french = {"question": "Où ?", "answer": "Là."}
    unfit = {"question": "Où ?"}  # rejected
    bench.script((items[2]["question"], unfit), ("Traduisez", french))
    recipe = SMALL.split("datasets:")[0].replace("X", "X")
    recipe = "\n".join(line for line in recipe.splitlines() if "passages" not in line and "choice" not in line)
    sets = "".join(
        f"  {keep}: {{from: [qa], steps: [{{use: translate, guards: false, into: [fr], keep: {keep}}}]}}\n"
        for keep in ("always", "skipped", "never")
    )
    bench.write("small.yaml", f"{recipe}\ndatasets:\n{sets}")
    assert bench.factory("run", "small.yaml").code == 0
    made = {f"qa/{item['id']}/translate.fr" for item in items[:2]}
    parents = [f"qa/{item['id']}" for item in items]
    found = {keep: {row.id for row in bench.rows(keep)} for keep in ("always", "skipped", "never")}
    assert found == {"always": {*parents, *made}, "skipped": {parents[3], *made}, "never": made}
    for keep in found:
        assert [reject.reason for reject in bench.rejects(keep)] == ["schema"]
    counts = bench.funnel("never")["translate en"]
    assert counts == {"dropped": 2, "read": 4, "rejected:schema": 1, "replaced": 2, "skipped:row_too_long": 1}


def test_a_demonstration_model_marks_what_it_writes(bench):
    bench.data("qa.en.jsonl")
    bench.writer()
    text = (bench.folder / "writer.py").read_text("utf-8")
    bench.write(
        "writer.py",
        text.replace(
            "    def price", "    @property\n    def demonstration(self):\n        return True\n\n    def price"
        ),
    )
    bench.write("small.yaml", SLOW)
    assert bench.factory("run", "small.yaml").code == 0
    for row in bench.rows("open"):
        assert ("demonstration" in row.flags) == bool(row.origin.marks)
    for page in ("open/README.md", "report.html"):
        assert "emonstration" in (bench.run().root / page).read_text("utf-8")


def test_a_limit_takes_the_same_rows_whatever_else_there_is(bench):
    bench.data("qa.en.jsonl", "qa.fr.jsonl")
    bench.writer()
    recipe = SLOW.replace("[en]", "[en, fr]").replace("qa.en.jsonl", "qa.*.jsonl")

    def chosen(limit: int, text: str = recipe) -> dict[str, set[str]]:
        bench.write(
            "small.yaml",
            text.replace("{use: expand, guards: false}", f"{{use: expand, guards: false, limit: {limit}}}"),
        )
        assert bench.factory("run", "small.yaml").code == 0
        found: dict[str, set[str]] = {}
        for row in bench.rows("open"):
            if row.origin.marks:
                found.setdefault(row.language, set()).add(row.id)
        return found

    three = chosen(3)
    assert {language: len(ids) for language, ids in three.items()} == {"en": 3, "fr": 3}
    five = chosen(5)
    assert all(len(five[language]) == 5 and three[language] < five[language] for language in three)
    assert chosen(3, recipe.replace("qa.*.jsonl", "qa.en.jsonl")) == {"en": three["en"]}
    assert chosen(3, recipe.replace("steps: [", "steps: [{use: length, most: 100000}, ")) == three
    assert chosen(3, recipe.replace("name: small", "name: small\nseed: 5")) != three


def test_rows_with_one_id_do_not_wipe_each_other_out(bench):
    """A data set and the source it is made of, both read: each row is there once, what comes again is told."""
    bench.data("qa.en.jsonl")
    bench.writer()
    bench.write(
        "small.yaml",
        SLOW.replace("datasets:\n", "datasets:\n  first: {from: [qa], steps: [{use: length, least: 90}]}\n").replace(
            "from: [qa], steps: [{use: expand, guards: false}]",
            "from: [first, qa], steps: [{use: exact}, {use: expand, guards: false}, {use: expand, guards: false}]",
        ),
    )
    assert bench.factory("run", "small.yaml").code == 0
    first, ids = bench.rows("first"), Counter(row.id for row in bench.rows("open"))
    assert 0 < len(first) < 20
    assert max(ids.values()) == 1
    assert sum(id.count("/") == 1 for id in ids) == 20
    told = [reject for reject in bench.rejects("open") if reject.reason == "duplicate_id"]
    longer = [id for id in ids if id.endswith("/expand") and id.count("/") == 2]
    assert longer
    assert len(told) == len(first) + len(longer), "the second expand makes nothing that is not there"


def test_the_number_of_processes_changes_nothing(bench):
    """Several sources are read in processes of their own."""
    bench.data("qa.en.jsonl", "qa.fr.jsonl")
    bench.write(
        "small.yaml",
        """\
name: small
languages: [en, fr]
sources:
  one: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
  two: {use: table, path: data/qa.fr.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [one, two], steps: [{use: exact}]}
""",
    )
    for workers in (1, 2):
        said = bench.command("run", "small.yaml", "--set", f"run.workers={workers}", "--out", f"out{workers}")
        assert said.code == 0, said.err
    one, two = bench.folder / "out1", bench.folder / "out2"
    files = sorted(path.relative_to(one) for path in one.glob("*/data/*/*.parquet"))
    assert len(files) == 4
    assert [file_hash(one / path) for path in files] == [file_hash(two / path) for path in files]
