"""The rules of the house that no linter holds: what is shipped, what loads when, who prints, who reads YAML."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "langmill": ROOT / "core/langmill",
    "langmill_plugins": ROOT / "plugins/langmill_plugins",
    "langmill_languages": ROOT / "languages/langmill_languages",
}
HEAVY = {
    "accelerate", "bitsandbytes", "datasets", "datasketch", "fasttext", "gguf", "litellm", "numba", "numpy", "openai",
    "pandas", "peft", "ray", "scipy", "torch", "transformers", "trl", "unsloth", "xllamacpp",
}  # fmt: skip
ROOMS = tuple(f"langmill_plugins.{room}." for room in ("text", "near", "contamination", "guards"))
SOURCES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
SKIPPED_FOLDERS = {"__pycache__", "runs", "dist", "unsloth_compiled_cache"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_in(nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
    """The top-level names of what is imported, with lines."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: all but the bodies of functions and what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


def module_of(path: Path) -> str:
    """Its dotted name."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])
    return name.removesuffix(".__init__")


def modules_in(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """The dotted names of what is imported; of ``from a import b`` both a and a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of_the_project() -> list[Path]:
    """What a clone would hold: what git tracks or is about to, or every file where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if (ROOT / ".git").exists() and listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
        return [path for path in found if path.is_file()]
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name for name in folders if (name not in SKIPPED_FOLDERS and not name.startswith(".")) or name == ".ci"
        ]
        found += [Path(folder, name) for name in names if not name.startswith(".venv")]
    return found


def test_no_module_is_a_drawer_for_everything() -> None:
    assert len(SOURCES) > 20
    assert not {path.stem for path in SOURCES} & {"utils", "util", "helpers", "common", "base", "manager", "misc"}


def test_no_file_has_grown_too_long() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_nothing_heavy_is_imported_with_a_module() -> None:
    """Compiled and vectorised code lies in rooms of its own, which parts open inside their methods."""
    known = {module_of(path): path for path in SOURCES}
    named = {name: set(modules_in(at_import(tree_of(path)))) for name, path in known.items()}
    loads = {name: {each for each in found if each in known} for name, found in named.items()}
    heavy = {name for name, found in named.items() if {each.split(".")[0] for each in found} & HEAVY}
    assert all(name.startswith(ROOMS) for name in heavy), sorted(heavy)
    for name in known:
        if not name.startswith(ROOMS):
            seen, todo = set[str](), [name]
            while todo:
                seen.add(each := todo.pop())
                todo += loads[each] - seen
            assert not seen & heavy, f"{name} loads {sorted(seen & heavy)}"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from langmill.cli import main\n"
        "sys.argv = ['factory', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print('loaded:', *sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    said, _, loaded = run.stderr.rpartition("loaded:")
    assert "run" in run.stdout + said
    assert "langmill" in loaded.split()
    assert HEAVY & set(loaded.split()) == set()


def test_only_yaml12_reads_yaml() -> None:
    readers = {
        name_of(path)
        for path in SOURCES
        for module, _ in imports_in(ast.walk(tree_of(path)))
        if module in {"yaml", "ruamel"}
    }
    assert readers == {"core/langmill/yaml12.py"}


def test_only_the_command_prints() -> None:
    """The package fetcher, the job process, the model server and the reader of books are programs of their own: their output is
    their answer."""
    may = re.compile(
        r"core/langmill/(cli(/\w+)?|models|jobs)\.py|plugins/langmill_plugins/(llms/local_server|loaders/pdf_child)\.py"
    )
    found = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "print",
                "sys.stdout.write",
                "sys.stderr.write",
                "typer.echo",
            }:
                found.append(f"{name_of(path)}:{node.lineno}")
    assert [place for place in found if not may.match(place)] == []
    assert any(place.startswith("core/langmill/cli") for place in found)


def test_nothing_reads_or_runs_what_it_should_not() -> None:
    """No pickle, no eval, no code from a model's repository."""
    found = []
    for path in SOURCES:
        tree = tree_of(path)
        for module, line in imports_in(ast.walk(tree)):
            if module in {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}:
                found.append(f"{name_of(path)}:{line}: {module}")
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
                found.append(f"{name_of(path)}:{node.lineno}: {node.func.id}")
            for option in node.keywords:
                if option.arg == "trust_remote_code" and ast.unparse(option.value) != "False":
                    found.append(f"{name_of(path)}:{node.lineno}: trust_remote_code")
                if option.arg == "shell" and ast.unparse(option.value) != "False":
                    found.append(f"{name_of(path)}:{node.lineno}: shell")
    assert found == []


def test_a_language_is_data_only() -> None:
    """One Python file hands over the packs; everything else there is YAML, Jinja or prose."""
    folder = PACKAGES["langmill_languages"]
    assert [path.name for path in folder.rglob("*.py")] == ["__init__.py"]
    packs = sorted(path.parent.name for path in folder.glob("*/pack.yaml"))
    assert {"en", "es", "fr", "ja", "ko", "ru", "zh"} <= set(packs)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names inside a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    run = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert not [name for name in wheel if "__pycache__" in name or "test" in name.split("/")]


def test_the_wheel_holds_every_file_of_the_packages(wheel: list[str]) -> None:
    """Python, packs, prompts, the typing mark: whatever lies in a package and is ours."""
    mine = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(name.endswith("/pack.yaml") for name in mine)
    assert any(name.endswith(".jinja") for name in mine)
    assert mine - set(wheel) == set()


def test_the_wheel_brings_command_plugins_and_licence(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


@pytest.mark.parametrize("script", ["scripts/factory", "scripts/test", "scripts/check", "scripts/setup", ".ci/run"])
def test_scripts_can_be_run_as_they_are(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False).returncode == 0


def pins() -> dict[str, str]:
    """Package name to pinned version; a package pinned twice, or not exactly, is an error here."""
    found: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)", line)
            assert match, f"not an exact pin without a build suffix: {line}"
            assert match[1] not in found, f"pinned twice: {line}"
            found[match[1]] = match[2]
    return found


def test_every_direct_package_is_pinned_and_the_pin_is_allowed() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    pinned = pins()
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name == "langmill":
            assert requirement.extras <= set(project["optional-dependencies"])
            continue
        assert name in pinned, f"{name} has no pin in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} does not allow {pinned[name]}"


def test_the_bad_litellm_releases_can_not_be_had() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (litellm,) = [Requirement(line) for line in project["optional-dependencies"]["data"] if line.startswith("litellm")]
    assert not litellm.specifier.contains("1.82.7")
    assert not litellm.specifier.contains("1.82.8")
    assert pins()["litellm"] not in {"1.82.7", "1.82.8"}


def test_no_file_names_a_registry_or_a_machine() -> None:
    """Whose mirror or whose home folder it was is nobody's business, and wrong on the next machine."""
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("/opt/pypi",), ("/opt/wheels",))]
    machine = re.compile(r"(?<![\w.$}\-])/(root|work|home|Users)/[\w.]+")
    found = []
    for path in files_of_the_project():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path == Path(__file__).resolve():
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if any(host in line for host in hosts) or machine.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    assert found == []
