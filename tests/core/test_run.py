"""A run's life: killed, interrupted, continued, carried elsewhere; and every bad input told in words."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from types import SimpleNamespace

import pytest

from langmill import run as running
from langmill.disk.store import RunFolder

OPEN = """\
name: small
languages: [en]
plugins: [writer.py]
run: {workers: 1}
llm: {model: writer/one}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa], steps: [{use: expand, guards: false}]}
"""

TRAIN = """\
name: small
languages: [en]
run: {workers: 1}
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}
  choice: {use: table, path: data/choice.en.jsonl, body: choice, license: CC0-1.0}
datasets:
  exams: {from: [choice]}
  open: {from: [qa], steps: [{use: expand, guards: false, limit: 3}]}
train:
  use: peft
  base: local/smollm2-135m-instruct
  max_tokens: 64
  stages: [{name: first, data: open, max_steps: 3, batch: 1, save_steps: 1, eval_rows: 1}]
"""


EVAL = """\
  allow_unchecked: true
eval:
  - {use: choice_accuracy, data: exams, models: [first], limit: 1}
"""


@pytest.fixture
def writing(bench):
    """A recipe with a writer that takes its time."""
    bench.data("qa.en.jsonl")
    bench.writer()
    bench.write("small.yaml", OPEN)
    return bench


# --- killed, and continued ---


def test_a_kill_in_the_middle_of_augmenting_repeats_no_answered_call(writing):
    slow = ("run", "small.yaml", "--set", "llm.pause=0.3", "--set", "llm.concurrency=2")
    killed = writing.kill_when(lambda: len(writing.answered()) >= 3, *slow)
    assert killed.code == -signal.SIGKILL
    answered = writing.answered()
    assert 3 <= len(answered) < 14
    out = [call["key"] for call in writing.calls() if call["status"] == "sent"]
    assert 0 < len(out) <= 4, "two in flight, and as many on disk that were to follow"
    assert not (writing.run().root / "open/data").exists()

    again = writing.command("run", "small.yaml")
    assert again.code == 0, again.err
    calls = Counter(call["key"] for call in writing.calls())
    assert {calls[key] for key in answered} == {1}
    assert {key for key, n in calls.items() if n > 1} <= set(out), "the calls in flight are the only ones sent twice"
    made = [row for row in writing.rows("open") if row.origin.marks]
    assert len(made) == len(calls) == len(set(writing.answered()))
    assert list(writing.run().root.rglob("*.tmp")) == []


def test_the_first_interrupt_drains_and_the_same_command_continues(writing):
    slow = ("run", "small.yaml", "--set", "llm.pause=0.3", "--set", "llm.concurrency=2")
    stopped = writing.kill_when(lambda: len(writing.answered()) >= 2, *slow, by=signal.SIGINT)
    assert stopped.code == 1, stopped.err
    assert "stopping: calls in flight are finished and kept" in stopped.err
    assert "stopped as asked" in stopped.err
    assert "Traceback" not in stopped.err
    calls = writing.calls()
    assert {call["status"] for call in calls} <= {"answered", "failed"}, "what was in flight was waited for"
    assert {call["cost"] for call in calls if call["status"] == "failed"} <= {0}, "on disk already, and never sent"
    assert 2 <= len(writing.answered()) < 14
    assert re.search(r"left of open expand: \d+ of 14 rows", stopped.err)
    assert writing.command("run", "small.yaml").code == 0
    assert max(Counter(writing.answered()).values()) == 1


def test_an_interrupt_ends_the_run_though_every_call_was_in_flight(writing):
    """The step is whole then, and still nothing more is begun."""
    writing.write(
        "small.yaml", OPEN.replace("{use: expand, guards: false}]}", "{use: expand, guards: false}, {use: exact}]}")
    )
    slow = ("run", "small.yaml", "--set", "llm.pause=3")
    stopped = writing.kill_when(lambda: len(writing.calls()) == 14, *slow, by=signal.SIGINT)
    assert stopped.code == 1, stopped.err
    assert "open: exact" not in stopped.err
    assert len(writing.answered()) == 14
    again = writing.command("run", "small.yaml")
    assert again.code == 0
    assert "open: expand (kept)" in again.err


def test_the_second_interrupt_stops_at_once(writing):
    child = writing.start("run", "small.yaml", "--set", "llm.pause=50", "--set", "llm.concurrency=2")
    writing.wait(lambda: len(writing.calls()) >= 2)
    child.send_signal(signal.SIGINT)
    for line in child.stderr:
        if "stopping" in line:
            break
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=40)
    assert child.returncode == 1
    assert "the same command continues" in err
    assert "Traceback" not in err


LAZY = '''"""A filter that takes its time."""

import time
from pathlib import Path

from langmill.api import Filter, hookimpl


class Lazy(Filter):
    """Thinks long about each row."""

    def judge(self, rows, context):
        Path(__file__).with_name("thinking").touch()
        time.sleep(50)
        return [None for _ in rows]


@hookimpl
def register_filters():
    return {"lazy": Lazy}
'''


def test_an_interrupt_stops_filters_too(writing):
    writing.write("lazy.py", LAZY)
    recipe = OPEN.replace("[writer.py]", "[writer.py, lazy.py]").replace(
        "[{use: expand, guards: false}]", "[{use: exact}, {use: lazy}]"
    )
    writing.write("small.yaml", recipe)
    stopped = writing.kill_when((writing.folder / "thinking").exists, "run", "small.yaml", by=signal.SIGINT)
    assert stopped.code == 1, stopped.err
    assert "the same command continues" in stopped.err
    assert "Traceback" not in stopped.err


def test_a_killed_stage_goes_on_and_the_data_trains_elsewhere(bench):
    """Made here with a model, killed after its first checkpoint, carried to a place with neither sources nor litellm."""
    bench.data("qa.en.jsonl", "choice.en.jsonl")
    bench.script()
    bench.write("small.yaml", TRAIN + EVAL)
    made = bench.command("run", "small.yaml", "--until", "data")
    assert made.code == 0, made.err
    assert not (bench.run().root / "train").exists()

    there = bench.folder / "there"
    shutil.move(bench.run().root, there)
    for name in ("data", "small.yaml", "script.jsonl", "runs"):
        path = bench.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    bench.monkeypatch.setenv("PYTHONPATH", bench.bare()["PYTHONPATH"])

    train = ("run", "there", "--only", "train")
    folder = there / "train/first"
    checkpoints = folder / "checkpoints"
    killed = bench.kill_when(lambda: any(checkpoints.glob("step-*/contents.json")), *train)
    assert killed.code == -signal.SIGKILL, killed.err
    before = [json.loads(line) for line in (folder / "train_log.jsonl").read_text("utf-8").splitlines()]
    kept = max(int(path.parent.name.removeprefix("step-")) for path in checkpoints.glob("step-*/contents.json"))
    done = {line["step"]: line for line in before if "loss" in line and line["step"] <= kept}
    assert done

    again = bench.command(*train)
    assert again.code == 0, again.err
    log = [json.loads(line) for line in (folder / "train_log.jsonl").read_text("utf-8").splitlines()]
    steps = [line["step"] for line in log if "loss" in line]
    assert steps == [1, 2, 3]
    assert {line["step"]: line for line in log if "loss" in line and line["step"] in done} == done, "not done again"
    assert (folder / "adapter/adapter_model.safetensors").is_file()
    assert not checkpoints.exists()
    assert "not reviewed" in (folder / "README.md").read_text("utf-8").lower()

    kept_stage = bench.command(*train)
    assert kept_stage.code == 0
    assert "stage first (kept)" in kept_stage.err

    scored = bench.command("run", "there", "--only", "eval")
    assert scored.code == 0, scored.err
    assert set(RunFolder(there).evaluations()) == {"exams.choice_accuracy.first"}

    said = bench.command("run", "there", "--only", "eval", "--set", "train.stages.0.max_steps=1")
    assert said.code == 0, said.err
    assert "max_steps: 1\n" in (there / "recipe.lock.yaml").read_text("utf-8"), "a job does what was asked for"


def test_a_run_continues_from_its_own_folder(writing):
    """The plugin file travels in it; the recipe's relative paths are told from where the recipe is."""
    assert writing.factory("run", "small.yaml").code == 0
    calls = len(writing.calls())
    again = writing.factory("run", "runs/small")
    assert again.code == 0, again.err
    assert "open: expand (kept)" in again.err
    fresh = writing.factory("run", "runs/small", "--fresh")
    assert fresh.code == 0, fresh.err
    assert "(kept)" not in fresh.err
    assert len(writing.calls()) == calls
    assert (writing.run().root / "writer.py").is_file()
    for command in ("check", "plan", "preview"):
        said = writing.factory(command, "runs/small")
        assert said.code == 0, said.err
        assert "absent" not in said.err


def test_a_run_without_the_folder_of_its_recipe_says_so(bench):
    """Scripted answers and the data folder are told from there too."""
    bench.data("qa.en.jsonl")
    bench.script()
    (bench.folder / "data").rename(bench.folder / "sets")
    recipe = OPEN.replace("plugins: [writer.py]\n", "data_dir: sets\n").replace("data/qa", "$data_dir/qa")
    bench.write("small.yaml", recipe.replace("writer/one", "scripted/writer, answers: script.jsonl"))
    assert bench.factory("run", "small.yaml", "--limit", "1").code == 0
    asked = len(bench.calls())
    again = bench.factory("run", "runs/small")
    assert again.code == 0, again.err
    assert len(bench.calls()) > asked, "sources, data folder and script are found"

    there = bench.folder.with_name("there")
    shutil.move(bench.run().root, there)
    here, gone = bench.folder, bench.folder.with_name("gone")
    here.rename(gone)
    bench.folder = gone
    said = bench.factory("run", str(there))
    no_traceback(said)
    assert "the folder that this run's recipe came from is not here" in said.err
    assert f"factory run RECIPE --out {there}" in said.err
    assert bench.factory("run", str(there), "--only", "eval").code == 0
    gone.rename(here)
    bench.folder = here
    assert bench.factory("run", str(there)).code == 0, "where it came from is not forgotten meanwhile"


def test_swapping_the_provider_is_one_word(writing):
    writing.script()
    assert writing.factory("run", "small.yaml").code == 0
    other = writing.factory(
        "run", "small.yaml", "--set", "llm.model=scripted/other", "--set", "llm.answers=script.jsonl", "--out", "other"
    )
    assert other.code == 0, other.err
    assert Counter(call["model"] for call in writing.calls()) == {"writer/one": 14, "scripted/other": 14}
    second = writing.factory("run", "small.yaml", "--set", "llm.model=writer/two")
    assert second.code == 0
    assert {mark.model for row in writing.rows("open") for mark in row.origin.marks} == {"writer/two"}


# --- a filter in one file beside the recipe ---

SHORT = '''"""A filter of my own."""

from langmill.api import Drop, Field, Filter, hookimpl, words


class Short(Filter):
    """Drops long rows."""

    most: int = Field(100, ge=1, description="most characters")

    def judge(self, rows, context):
        return [Drop("too_long_for_me") if len(words(row.body)) > self.most else None for row in rows]


@hookimpl
def register_filters():
    return {"short": Short}
'''


def test_a_filter_with_one_file_beside_the_recipe(writing):
    writing.write("short.py", SHORT)
    recipe = OPEN.replace("[writer.py]", "[short.py]").replace("llm: {model: writer/one}\n", "")
    writing.write(
        "small.yaml", recipe.replace("[{use: expand, guards: false}]", "[{use: exact}, {use: short, most: 150}]")
    )
    done = writing.command("run", "small.yaml")
    assert done.code == 0, done.err
    assert done.err.splitlines()[0].startswith("plugin file beside the recipe: short.py")
    dropped = [reject for reject in writing.rejects("open") if reject.reason == "too_long_for_me"]
    assert 0 < len(dropped) < 20
    assert len(writing.rows("open")) == 20 - len(dropped)

    writing.write("short.py", SHORT.replace("> self.most", "> self.most - 30"))
    changed = writing.command("run", "small.yaml")
    assert changed.code == 0
    assert "open: exact (kept)" in changed.err
    assert "open: short\n" in changed.err
    assert len(writing.rejects("open")) > len(dropped)

    refused = writing.command("run", "small.yaml", "--no-plugin-files")
    assert refused.code == 2
    assert "small.yaml:3: plugins[0]: 'short.py' is not run" in refused.err


# --- what may be rejected ---


def test_exit_code_4_above_the_share_that_may_be_rejected(writing):
    recipe = OPEN.replace("{use: expand, guards: false}", "{use: length, least: 100}").replace(
        "name: small", "name: small\nmax_rejected: 0.05"
    )
    writing.write("small.yaml", recipe)
    done = writing.factory("run", "small.yaml")
    assert done.code == 4
    rejected = len(writing.rejects("open"))
    assert 1 < rejected < 20
    assert f"{rejected / 20:.1%} of what was read or made was rejected" in done.err
    assert "max_rejected is 5.0%" in done.err
    assert "raise max_rejected" in done.err
    assert (writing.run().root / "report.html").exists(), "finished all the same"
    assert writing.factory("run", "small.yaml", "--set", f"max_rejected={rejected / 20 + 0.01}").code == 0


def test_the_share_counts_data_sets_made_of_data_sets(writing):
    made = "  open: {from: [qa]}\n  second: {from: [open], steps: [{use: length, least: 100}]}\n"
    recipe = OPEN[: OPEN.index("  open: {from")].replace("name: small", "name: small\nmax_rejected: 0.05") + made
    writing.write("small.yaml", recipe)
    assert writing.factory("run", "small.yaml").code == 4
    assert len(writing.rejects("second")) > 1


def test_work_that_was_rejected_never_makes_the_share_exceed_one(writing):
    writing.write("down", "")
    done = writing.factory("run", "small.yaml", "--set", "llm.timeout=0.05", "--set", "max_rejected=0.2")
    assert done.code == 4
    assert len(writing.rejects("open")) == 14
    assert f"{14 / 34:.1%} of what" in done.err


# --- bad input ---


def no_traceback(said, code: int = 2) -> None:
    assert said.code == code, said.err
    assert "Traceback" not in said.err
    assert "factory: " in said.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("data/qa.en.jsonl", "data/nothing.jsonl", ["  qa: licence ", "nothing at 'data/nothing.jsonl'"]),
        ("data/qa.en.jsonl", "$data_dir/qa", ["  qa: licence ", "set the data folder with FACTORY_DATA=DIR, or data_dir:"]),
        ("name: small", "name: small\ndata_dir: nowhere", ["small.yaml:2: data_dir", "there is no folder", "nowhere"]),
        ("use: expand", "use: expnad", ["small.yaml:9", "there is no filter or augmenter 'expnad'", "Did you mean 'expand'?"]),
        ("use: table", "use: tables", ["small.yaml:7", "'tables'", "possible: ", "table"]),
        ("guards: false", "limt: 3", ["small.yaml:9", "limt", "Did you mean 'limit'?"]),
        ("[en]", "[en, tlh]", ["small.yaml:2", "no language pack 'tlh'", "factory new language tlh"]),
        ("name: small", "name: small\nlanguges: [en]", ["small.yaml:2", "languges", "Did you mean 'languages'?"]),
        ("writer/one", "scripted/x, answers: nothing.jsonl", ["no script at 'nothing.jsonl'"]),
        ("writer/one", "local/gpt", ["small.yaml:5: llm.model", "no packaged model is called 'gpt'", "smollm2-135m-instruct"]),
    ],
)  # fmt: skip
def test_bad_recipes_are_told_before_anything_is_written(writing, old, new, words):
    assert old in OPEN
    writing.write("small.yaml", OPEN.replace(old, new))
    said = writing.factory("run", "small.yaml")
    no_traceback(said)
    for word in words:
        assert word in said.err
    assert writing.calls() == []
    if "scripted" not in new:
        assert not (writing.folder / "runs").exists()


def test_a_data_folder_that_is_not_there(writing, monkeypatch):
    monkeypatch.setenv("FACTORY_DATA", str(writing.folder / "nowhere"))
    writing.write("small.yaml", OPEN.replace("data/qa.en.jsonl", "$data_dir/qa"))
    said = writing.factory("run", "small.yaml")
    no_traceback(said)
    assert "FACTORY_DATA" in said.err
    assert "nowhere" in said.err


def test_a_language_that_a_step_translates_into_has_no_pack(writing):
    writing.write(
        "small.yaml", OPEN.replace("{use: expand, guards: false}", "{use: translate, guards: false, into: [fr]}")
    )
    said = writing.factory("run", "small.yaml")
    no_traceback(said)
    assert "no language pack 'fr'" in said.err
    assert "possible: en" in said.err


def test_an_empty_source_makes_an_empty_data_set(writing):
    writing.write("data/qa.en.jsonl", "")
    said = writing.factory("run", "small.yaml")
    assert said.code == 0, said.err
    assert writing.rows("open") == []
    assert "open: 0 rows" in said.err


def test_a_damaged_file_is_counted_line_by_line(writing):
    lines = (writing.folder / "data/qa.en.jsonl").read_bytes().splitlines()[:5]
    damaged = [lines[0], b'{"id": "cut', b"\xff\xfe\x00", b"", b"[1, 2]", b'{"id": "x", "language": "en"}', *lines[1:]]
    (writing.folder / "data/qa.en.jsonl").write_bytes(b"\n".join(damaged))
    said = writing.factory("run", "small.yaml", "--set", "datasets.open.steps=[]")
    assert said.code == 0, said.err
    assert len(writing.rows("open")) == 5
    found = Counter(reject.reason for reject in writing.rejects("open"))
    assert sum(found.values()) == 4
    assert all(re.search(r"qa\.en\.jsonl:\d", reject.detail) for reject in writing.rejects("open"))
    assert "rejected: " in said.err


def test_no_key_for_the_provider(writing):
    writing.write("small.yaml", OPEN.replace("writer/one", "openai/gpt-4o-mini"))
    said = writing.factory("run", "small.yaml")
    no_traceback(said)
    assert "OPENAI_API_KEY" in said.err
    assert "export OPENAI_API_KEY=" in said.err
    assert writing.calls() == []
    assert not (writing.run().root / "open/data").exists()


def test_offline_calls_nothing_beyond_this_machine(writing, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for model in ("openai/gpt-4o-mini", "openai/x, api_base: 'http://10.0.0.1/v1'"):
        writing.write("small.yaml", OPEN.replace("writer/one", model))
        said = writing.factory("run", "small.yaml", "--offline", "--fresh")
        no_traceback(said)
        assert "is not on this machine, and --offline calls nothing beyond it" in said.err
    assert writing.calls() == []


def test_a_damaged_answer_is_asked_for_again_and_told(writing):
    """One flipped byte turns "dose 5 mg" into "dose 9 mg" and is still an answer."""
    assert writing.factory("run", "small.yaml").code == 0
    asked = len(writing.calls())
    with closing(sqlite3.connect(writing.home / "ledger.sqlite")) as db, db:
        key, text = db.execute("SELECT key, answer FROM answers ORDER BY key").fetchone()
        changed = bytearray(text.encode() if isinstance(text, str) else text)
        changed[len(changed) // 2] ^= 1
        db.execute("UPDATE answers SET answer = ? WHERE key = ?", (bytes(changed), key))
    said = writing.factory("run", "small.yaml", "--fresh")
    assert said.code == 0, said.err
    assert [call["key"] for call in writing.calls()[asked:]] == [key]
    assert "damaged" in said.err
    assert writing.factory("run", "small.yaml", "--fresh").code == 0
    assert len(writing.calls()) == asked + 1


def test_a_budget_of_nothing_sends_nothing(writing):
    priced = ("run", "small.yaml", "--set", "llm.dollars=0.001")
    said = writing.factory(*priced, "--max-cost", "0")
    no_traceback(said, 3)
    assert "the cap of this run is met" in said.err
    assert "raise the cap and run again" in said.err
    assert "left of open expand: 14 of 14 rows\n" in said.err
    assert writing.calls() == []
    again = writing.factory(*priced)
    assert again.code == 3, "the cap belongs to the run, over all its resumes"
    assert writing.calls() == []
    assert writing.factory(*priced, "--max-cost", "100000").code == 0


def test_what_a_cap_leaves_is_told_with_its_price_and_done_later(writing):
    writing.data("qa.fr.jsonl")
    two = OPEN.replace("languages: [en]", "languages: [en, fr]").replace("from: [qa]", "from: [qa, more]")
    more = "  more: {use: table, path: data/qa.fr.jsonl, body: chat, license: CC0-1.0}\ndatasets:"
    writing.write("small.yaml", two.replace("datasets:", more))
    # $0.15 an answer; what a call may cost at the most is somewhat below $3
    priced = ("run", "small.yaml", "--set", "llm.dollars=0.001", "--set", "llm.concurrency=1", "--json")
    said = writing.factory(*priced, "--max-cost", "5.3")
    no_traceback(said, 3)
    done = len(writing.answered())
    assert 14 < done < 25
    left = json.loads(said.out)["left"]
    assert (left["dataset"], left["step"], left["rows"], left["of"]) == ("open", "expand", 25 - done, 25)
    assert left["dollars"] == pytest.approx(0.15 * (25 - done))
    assert left["spent"] == pytest.approx(0.15 * done)
    told = f"left of open expand: {25 - done} of 25 rows, about ${0.15 * (25 - done):.4f} more for this step"
    assert told in said.err
    assert told in writing.factory("status", "runs/small").err
    assert writing.run().dataset_facts("open") is None
    again = writing.factory(*priced, "--max-cost", "100")
    assert again.code == 0, again.err
    assert len(writing.calls()) == len(set(writing.answered())) == 25
    assert json.loads(again.out)["left"] is None


OUT_OF_MONEY = """\
        if Path(__file__).with_name("empty").exists() and "Rédigez une" in messages[-1].content:
            while getattr(Writer, "answered", 0) < 14:
                await asyncio.sleep(0.01)
            raise CallError("quota", "no money")
        Writer.answered = getattr(Writer, "answered", 0) + 1
"""


def test_a_provider_that_is_out_leaves_what_is_done(writing):
    writing.data("qa.fr.jsonl")
    two = OPEN.replace("languages: [en]", "languages: [en, fr]").replace("from: [qa]", "from: [qa, more]")
    more = "  more: {use: table, path: data/qa.fr.jsonl, body: chat, license: CC0-1.0}\ndatasets:"
    writing.write("small.yaml", two.replace("datasets:", more))
    text = (writing.folder / "writer.py").read_text("utf-8")
    writing.write("writer.py", text.replace("        down = Path", OUT_OF_MONEY + "        down = Path"))
    writing.write("empty", "")
    said = writing.factory("run", "small.yaml", "--set", "llm.concurrency=32")
    no_traceback(said, 1)
    assert "no money" in said.err
    assert "left of open expand: 11 of 25 rows" in said.err
    (writing.folder / "empty").unlink()
    assert len(writing.answered()) == 14
    (whole,) = writing.run().work("open", "00 expand").glob("*.parquet")
    before = whole.stat().st_mtime_ns
    done = set(writing.answered())
    assert writing.factory("run", "small.yaml").code == 0
    calls = Counter(call["key"] for call in writing.calls())
    assert {calls[key] for key in done} == {1}
    assert len(set(writing.answered())) == 25
    assert whole.stat().st_mtime_ns == before, "what was whole is not made again"


FULL = (
    "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2);"
    "sys.argv[:] = ['factory', *sys.argv[2:]];"
    "from langmill.cli import main; main()"
)


@pytest.mark.parametrize(
    ("room", "words"),
    [(100, "writer.py: File too large"), (20_000, "ledger.sqlite can not be opened"), (100_000, ".parquet: ")],
)
def test_a_full_disk_leaves_nothing_half_written(writing, room, words):
    """A limit on the size of a file is the nearest thing to a full disk that a test can make. It is met by the recipe's
    copy, by the ledger, and by the rows."""
    for number in range(6):  # rows that no compression makes small
        letters = hashlib.sha512(str(number).encode()).hexdigest() * 3
        lines = [json.dumps({"id": f"{number}-{n}", "language": "en", "question": hashlib.sha512(f"{letters}{n}".encode()).hexdigest(),
                             "answer": hashlib.sha512(f"{n}{letters}".encode()).hexdigest()}) for n in range(200)]  # fmt: skip
        with (writing.folder / "data/qa.en.jsonl").open("a", encoding="utf-8") as handle:
            handle.write("\n".join(lines) + "\n")
    import subprocess
    import sys

    from langmill.disk.tables import read_rows

    command = [sys.executable, "-c", FULL, str(room), "run", "small.yaml"]
    said = subprocess.run(command, cwd=writing.folder, capture_output=True, text=True)
    assert said.returncode == 1, said.stderr
    assert "Traceback" not in said.stderr
    assert words in said.stderr
    assert "run the same command" in said.stderr or "LANGMILL_HOME" in said.stderr
    root = writing.run().root
    assert list(root.rglob("*.tmp")) == []
    for path in root.rglob("*.parquet"):
        list(read_rows(path))
    assert not (root / "report.html").exists()
    again = writing.command("run", "small.yaml", "--set", "datasets.open.steps=[]")
    assert again.code == 0, again.err
    assert len(writing.rows("open")) == 1220


def test_a_second_run_on_the_same_folder(writing):
    first = writing.start("run", "small.yaml", "--set", "llm.pause=50")
    writing.wait(lambda: bool(writing.calls()))
    second = writing.command("run", "small.yaml")
    first.kill()
    first.communicate()
    no_traceback(second, 1)
    assert f"another run (process {first.pid}) is writing to runs/small" in second.err
    assert "--out DIR" in second.err


def test_a_folder_that_is_no_run(writing):
    for words in (("run", "data"), ("status", "data"), ("report", "data"), ("show", "data", "qa/1"), ("check", "data")):
        said = writing.factory(*words)
        no_traceback(said)
        assert "data is not a run's folder (no recipe.lock.yaml in it)" in said.err
    assert [path.name for path in (writing.folder / "data").iterdir()] == ["qa.en.jsonl"]
    only = writing.factory("run", "small.yaml", "--only", "train")
    no_traceback(only)
    assert "runs/small is not a run's folder" in only.err
    assert not (writing.folder / "runs").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(writing):
    writing.write("mine/.notes.tmp", "precious")
    for words in ((), ("--fresh",)):
        said = writing.factory("run", "small.yaml", "--out", "mine", *words)
        no_traceback(said)
        assert "mine is not empty and no run's folder" in said.err
        assert "--out DIR" in said.err
    assert [path.name for path in (writing.folder / "mine").iterdir()] == [".notes.tmp"]
    file = writing.factory("run", "small.yaml", "--out", "small.yaml")
    no_traceback(file)
    both = writing.factory("run", "small.yaml", "--only", "train", "--fresh")
    no_traceback(both)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [small", "small.yaml:1"),
        ("", "a recipe is a mapping"),
        ("- just\n- a list\n", "a recipe is a mapping"),
        ("\tname: small", "small.yaml:1"),
        ("name: small\nname: other\nlanguages: [en]\n", "small.yaml:2"),
    ],
)
def test_a_recipe_that_is_none(bench, text, words):
    bench.write("small.yaml", text)
    for command in ("run", "check"):
        said = bench.factory(command, "small.yaml")
        no_traceback(said)
        assert words in said.err


def test_a_recipe_that_is_not_there_or_is_no_text(bench):
    no_traceback(bench.factory("run", "nothing.yaml"))
    (bench.folder / "small.yaml").write_bytes(b"\x00\xff\xfe\x80binary")
    no_traceback(bench.factory("run", "small.yaml"))


def test_options_of_the_command_that_are_wrong(writing):
    for words in (("--limit", "0"), ("--limit", "few"), ("--max-cost", "-1"), ("--frsh",)):
        said = writing.factory("run", "small.yaml", *words)
        assert said.code == 2
        assert words[0] in said.err
    for words in (("--until", "dat"), ("--only", "data"), ("--set", "llm.model"), ("--profile", "publik")):
        no_traceback(writing.factory("run", "small.yaml", *words))
    assert not (writing.folder / "runs").exists()


def test_limit_keeps_the_first_rows_of_each_source_and_split(writing):
    assert writing.factory("run", "small.yaml", "--limit", "2").code == 0
    rows = Counter(row.split for row in writing.rows("open") if not row.origin.marks)
    assert max(rows.values()) == 2
    assert writing.funnel("open")["read qa en"]["skipped:over_limit"] == 20 - rows.total()


@pytest.mark.parametrize(("key", "again"), [("an older version's", True), (None, False)])
def test_a_stage_that_is_trained_again_says_so(key, again, tmp_path, monkeypatch):
    """Before it costs anything: what was trained under another reckoning of its options, say by an older version, is not kept."""
    told = []

    def stopped(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_job", stopped)
    done = {"train/first/stage.json": {"key": key}} if key else {}
    store = SimpleNamespace(
        root=tmp_path, read_json=done.get, write_json=lambda *given: None, data_files=lambda name: [], stage=lambda name: tmp_path / name
    )  # fmt: skip
    assembly = SimpleNamespace(
        trainer=SimpleNamespace(deciding=lambda stage, context: {}), packs={}, context=lambda name: None,
        file=SimpleNamespace(merged={"train": {"use": "peft"}}),
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        running._train(assembly, store, SimpleNamespace(name="first", start="base", data="open"), told.append)
    notes = [event["text"] for event in told if event["event"] == "note"]
    assert any("first is trained again" in note for note in notes) == again
