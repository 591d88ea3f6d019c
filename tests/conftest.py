"""A workbench for whole runs: a recipe folder with the hand-written rows, a home of its own, and the command."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from langmill.cli import main
from langmill.disk.home import home
from langmill.disk.store import RunFolder
from langmill.parts.languages import read_pack
from langmill.rows import Reject, Row
from langmill_plugins.trainers.weights.base_model import settle

# For this process, before anything imports torch, and for all that tests start. Small tensors: a second thread that has to wait
# for its core makes a training step ten times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]
FACTORY = (sys.executable, "-m", "langmill.cli")
UNSET = ("FACTORY_DATA", "OPENAI_API_KEY", "LANGMILL_MAX_COST")
_READ_ONCE = cache(read_pack)
PATIENCE = 60.0  # seconds until something awaited counts as never coming; no test is about time

LONG = (
    "This is the longer answer that a teacher would give, with the mechanism behind it and the reason why it matters, "
    "so that a learner who reads it alone understands what was asked and why the answer is as it is in this case. "
) * 2

WRITER = '''"""A writer beside the recipe: it takes its time, its price and its health from files and options."""

import asyncio
import json
from pathlib import Path

from langmill.api import LLM, Answer, CallError, Field, Price, hookimpl


class Writer(LLM):
    """Writes the same long answer to everything, at its own pace."""

    pause: float = Field(0.0, ge=0, description="seconds that an answer takes")
    dollars: float = Field(0.0, ge=0, description="US dollars per token")

    def price(self):
        return Price(self.dollars, self.dollars)

    async def answer(self, messages, *, seed, schema=None):
        await asyncio.sleep(self.pause)
        down = Path(__file__).with_name("down")
        if down.exists() and down.read_text() in messages[-1].content:
            raise CallError("server", "out of order")
        return Answer(json.dumps({"answer": LONG}), prompt_tokens=100, answer_tokens=50)


LONG = %r


@hookimpl
def register_llms():
    return {"writer": Writer}
'''

BARE = """\
from importlib.machinery import PathFinder

find = PathFinder.find_spec


def elsewhere(name, *more):
    data = ("litellm", "datasketch", "datasets", "fasttext", "openai", "openpyxl")
    hidden = (*data, "bitsandbytes", "scipy", "sklearn")
    return None if name.partition(".")[0] in hidden else find(name, *more)


PathFinder.find_spec = staticmethod(elsewhere)
"""

ANSWERS: Sequence[tuple[str, object]] = (
    ("Write a longer answer to the same question", {"answer": LONG}),
    (
        "Write question-answer pairs in English",
        {
            "pairs": [
                {"question": "What does an adult's heart do at each beat?", "answer": "It fills and then it ejects."},
                {"question": "According to the passage, what is blood?", "answer": "It is a tissue that flows."},
            ]
        },
    ),
    (
        "Traduisez en français la question médicale",
        {
            "question": "Quelle valve sépare l'oreillette gauche du ventricule gauche ?",
            "answer": "C'est la valve mitrale, la seule valve du cœur qui n'a que deux feuillets.",
        },
    ),
    ("Explain why this answer is right", {"explanation": "The finding points to it, and the others do not fit."}),
)
"""What the scripted model says to the prompts of the packs en and fr, by words of the prompt."""


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@dataclass
class Bench:
    """A folder with a recipe in it, and the factory at work there."""

    folder: Path
    home: Path
    capture: pytest.CaptureFixture[str] | None = None
    monkeypatch: pytest.MonkeyPatch | None = None

    # --- what lies there ---

    def data(self, *patterns: str) -> None:
        """Copy hand-written rows beside the recipe."""
        (self.folder / "data").mkdir(exist_ok=True)
        for pattern in patterns:
            found = sorted((ROOT / "recipes/data").glob(pattern))
            assert found, pattern
            for path in found:
                shutil.copy(path, self.folder / "data")

    def write(self, name: str, text: str) -> Path:
        """A file beside the recipe."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def bare(self) -> Mapping[str, str]:
        """The environment of a machine that has what training needs and nothing of what makes the data, nor what training would
        import where it is there and do without, which takes longer than a few steps of it."""
        self.write("bare/sitecustomize.py", BARE)
        return {"PYTHONPATH": str(self.folder / "bare")}

    def script(self, *answers: tuple[str, object]) -> None:
        """What scripted/… answers, by words of the prompt; ANSWERS when nothing is given."""
        lines = [json.dumps({"match": match, "answer": answer}) for match, answer in answers or ANSWERS]
        self.write("script.jsonl", "\n".join(lines) + "\n")

    def writer(self) -> None:
        """The plugin file with the slow, priced, failing writer."""
        self.write("writer.py", WRITER % LONG)

    # --- the command ---

    def factory(self, *words: str) -> Said:
        """The command in this process, from the recipe's folder; a traceback is this test's. Not for shared benches."""
        assert self.capture and self.monkeypatch
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setattr(sys, "argv", ["factory", *words])
        self.capture.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        out, err = self.capture.readouterr()
        return Said(code, out, err)

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """The command in a process of its own."""
        return subprocess.Popen(
            [*FACTORY, *words],
            cwd=self.folder,
            env={**_environment(), "LANGMILL_HOME": str(self.home), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def command(self, *words: str, environment: Mapping[str, str] | None = None) -> Said:
        """The command in a process of its own, waited for."""
        child = self.start(*words, environment=environment)
        out, err = child.communicate(timeout=300)
        return Said(child.returncode, out, err)

    def kill_when(self, reached: Callable[[], bool], *words: str, by: signal.Signals = signal.SIGKILL) -> Said:
        """Start the command, and signal it the moment that something is reached."""
        child = self.start(*words)
        self.wait(lambda: reached() or child.poll() is not None)
        child.send_signal(by)
        out, err = child.communicate(timeout=PATIENCE)
        return Said(child.returncode, out, err)

    @staticmethod
    def wait(until: Callable[[], bool]) -> None:
        """Wait for something to become true. Fails when it never does."""
        over = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < over, "what was waited for never came"
            time.sleep(0.02)

    # --- what came of it ---

    def run(self, name: str = "small") -> RunFolder:
        """A run's folder."""
        return RunFolder(self.folder / "runs" / name)

    def rows(self, dataset: str, name: str = "small") -> list[Row]:
        """A finished data set."""
        return list(self.run(name).rows(dataset))

    def rejects(self, dataset: str, name: str = "small") -> list[Reject]:
        """What a finished data set rejected."""
        return list(self.run(name).rejects(dataset))

    def funnel(self, dataset: str, name: str = "small") -> dict[str, dict[str, int]]:
        """What each step counted: {"step language": {what: n}}."""
        facts = self.run(name).dataset_facts(dataset)
        assert facts is not None
        return {
            key.replace("\t", " "): counts for segment in facts["funnel"] for key, counts in segment["counts"].items()
        }

    def calls(self) -> list[dict[str, Any]]:
        """Every request sent so far, of all runs, in order."""
        if not (self.home / "ledger.sqlite").exists():
            return []
        with closing(sqlite3.connect(f"file:{self.home / 'ledger.sqlite'}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in db.execute("SELECT * FROM attempts ORDER BY id")]
            except sqlite3.OperationalError:  # made this moment, and empty yet
                return []

    def answered(self) -> list[str]:
        """The keys of the calls answered so far."""
        return [call["key"] for call in self.calls() if call["status"] == "answered"]

    def state(self, *, below: str = "runs") -> dict[str, tuple[int, int]]:
        """Each file's number and time, to see what was written again."""
        files = sorted(path for path in (self.folder / below).rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in files
            if path.name not in (".lock", "log.jsonl")
        }


def _environment() -> dict[str, str]:
    """This process's environment without what would change a run."""
    return {name: value for name, value in os.environ.items() if name not in UNSET}


def _bench(root: Path) -> Bench:
    """A bench below a folder: its home has the packaged models of the real one, and an empty ledger."""
    models = home() / "models"
    models.mkdir(exist_ok=True)
    made = Bench(root / "recipe", root / "home")
    made.home.mkdir(mode=0o700)
    (made.home / "models").symlink_to(models, target_is_directory=True)
    made.folder.mkdir()
    return made


@pytest.fixture(scope="session")
def processes() -> Iterator[Any]:
    """Makes processes (multiprocessing's Process) that have imported what training needs: each is forked off one that did nothing
    else, so that it begins at once and inherits nothing of the tests."""
    settle()
    making = multiprocessing.get_context("forkserver")
    making.set_forkserver_preload(["torch", "transformers.trainer", "peft", "accelerate", "bitsandbytes"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield making


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One bench for a module, worked by processes of their own; tests look at it, and change copies."""
    return _bench(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty recipe folder and a home of its own."""
    made = _bench(tmp_path)
    made.capture, made.monkeypatch = capsys, monkeypatch
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGMILL_HOME", str(made.home))
    return made


@pytest.fixture
def packs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Language packs are read once for all tests that ask for this: a third of a second each time, where they are no matter."""
    monkeypatch.setattr("langmill.parts.languages.read_pack", _READ_ONCE)


@pytest.fixture
def copied(bench: Bench) -> Callable[[Bench], Bench]:
    """Carries a shared bench, what was run there and its ledger, to one that a test may change."""

    def carry(shared: Bench) -> Bench:
        shutil.copytree(shared.folder, bench.folder, dirs_exist_ok=True)
        for path in shared.home.glob("ledger.sqlite*"):
            shutil.copy(path, bench.home)
        return bench

    return carry
