"""What ``factory new`` makes works as it is."""

from __future__ import annotations

import importlib
import sys
import tomllib

import pytest

from langmill.parts.languages import faults_of
from langmill.recipe.registry import Registry
from langmill.rows import Chat, Drop, Origin, Row


@pytest.fixture
def importing(monkeypatch):
    """Imports a module from a folder, and forgets it afterwards."""
    names = []

    def load(folder, name):
        monkeypatch.syspath_prepend(str(folder))
        names.append(name)
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_a_new_plugin_works(bench, importing, monkeypatch):
    said = bench.factory("new", "plugin", "too_short")
    assert said.code == 0
    root = bench.folder / "langmill-too-short"
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["langmill"] == {"too_short": "langmill_too_short"}
    registry = Registry([importing(root, "langmill_too_short")])
    assert registry.names("filters") == ("too_short",)
    part = registry.part("filters", "too_short", {"least": 20}, "steps[0]")
    rows = [
        Row(f"s/{n}", "en", "train", f"s/{n}", Chat.of("Q?", "a" * n), Origin("s", str(n), ("CC0-1.0",)))
        for n in (5, 40)
    ]
    assert part.judge(rows, None) == [Drop("too_few_characters"), None]
    assert "pip install -e langmill-too-short" in said.err

    (bench.folder / "langmill_too_short.py").write_bytes((root / "langmill_too_short.py").read_bytes())
    bench.data("qa.en.jsonl")
    bench.write("small.yaml", "name: small\nlanguages: [en]\nplugins: [langmill_too_short.py]\nsources:\n"
                "  qa: {use: table, path: data/qa.en.jsonl, body: chat, license: CC0-1.0}\n"
                "datasets:\n  open: {from: [qa], steps: [{use: too_short, least: 120}]}\n")  # fmt: skip
    assert bench.factory("run", "small.yaml").code == 0, "as the last line said"
    assert {reject.reason for reject in bench.rejects("open")} == {"too_few_characters"}


@pytest.mark.parametrize("code", ["pt", "zh-Hant"])
def test_a_new_language_works(bench, importing, code):
    said = bench.factory("new", "language", code, "--into", "packs")
    assert said.code == 0, said.err
    name = f"langmill_{code.lower().replace('-', '_')}"
    root = bench.folder / f"packs/langmill-{code.lower()}"
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert list(project["entry-points"]["langmill"].values()) == [name]
    packs = Registry([importing(root, name)]).packs()
    assert list(packs) == [code]
    assert faults_of(packs[code]) == []
    assert packs[code].render("expand", question="Q", answer="A").messages
    assert f"factory languages check {code}" in said.err


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("plugin", "Bad-Name", "lower-case letters, digits and _"),
        ("plugin", "class", "can not be a plugin's name"),
        ("plugin", "../up", "can not be a plugin's name"),
        ("language", "English", "BCP-47"),
        ("language", "../x", "BCP-47"),
        ("language", "en", "is there already (English): factory languages check en"),
        ("loader", "x", "possible: factory new plugin NAME, factory new language CODE"),
    ],
)
def test_names_that_can_not_be(bench, kind, name, words):
    said = bench.factory("new", kind, name)
    assert said.code == 2
    assert words in said.err
    assert list(bench.folder.iterdir()) == []


def test_nothing_is_overwritten(bench):
    assert bench.factory("new", "plugin", "mine").code == 0
    before = {path: path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()}
    again = bench.factory("new", "plugin", "mine")
    assert again.code == 2
    assert "langmill-mine is there already" in again.err
    assert {path: path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()} == before
