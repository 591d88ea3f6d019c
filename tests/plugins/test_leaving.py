"""What a model takes along when it leaves, what tells it from another, and what a full disk or a killed process leaves behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import PACKAGED, leave_stage, tiny_base

from langmill.api import Context, FactoryError, MissingInput, whole_folder
from langmill_plugins.trainers.exporting.exports import write_export
from langmill_plugins.trainers.options import Lora
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.weights import base_model, standing
from langmill_plugins.trainers.weights.base_model import Base, find_base, identity_of, lacking, mark, weight_files
from langmill_plugins.trainers.weights.standing import Standing, ended_with, forget_merged, standing_weights
from langmill_plugins.trainers.weights.trained import read_trained

LORA = Lora(rank=4, alpha=8)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context("train.one", 17, {}, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def one(tiny: Path, context: Context, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a stage left that trained an adapter."""
    return leave_stage(tmp_path_factory.mktemp("run"), "one", Standing(find_base(str(tiny), context)), LORA, 1)


# --- what tells two models apart ---


def _places(weights: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    """Where the numbers begin, and each tensor's place after that."""
    content = weights.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return 8 + size, {name: one["data_offsets"] for name, one in header.items() if name != "__metadata__"}


@pytest.mark.parametrize("read", [1, base_model.READ])
@pytest.mark.parametrize("where", ["begin", "middle", "end"])
def test_one_tensor_makes_another_model(
    read: int, where: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any of them, not only those at the ends of a file."""
    monkeypatch.setattr(base_model, "READ", read)
    monkeypatch.setattr(base_model, "LEAST", 16)
    shutil.copytree(tiny, tmp_path / "other")
    known, weights = identity_of(tiny), tmp_path / "other" / "model.safetensors"
    start, places = _places(weights)
    content = weights.read_bytes()
    for name, (begin, end) in places.items():
        at = start + {"begin": begin, "middle": (begin + end) // 2, "end": end - 1}[where]
        weights.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert identity_of(tmp_path / "other") != known, name
    weights.write_bytes(content)
    assert identity_of(tmp_path / "other") == known


def test_identity_reads_little_of_a_large_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 8 << 20
    header = json.dumps(
        {f"t{n}": {"dtype": "U8", "shape": [size], "data_offsets": [n * size, (n + 1) * size]} for n in range(290)}
    )
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + 290 * size)  # zeros that take no room
    (tmp_path / "config.json").write_text("{}")
    hashed = 0

    class Counting:
        def __init__(self, content: bytes) -> None:
            self.update(content)

        def update(self, content: bytes) -> None:
            nonlocal hashed
            hashed += len(content)

        def hexdigest(self) -> str:
            return "0"

    monkeypatch.setattr(base_model.hashlib, "sha256", Counting)
    identity_of(tmp_path)
    assert base_model.READ * 0.9 < hashed < base_model.READ * 1.1


def test_other_safetensors_are_no_part_of_the_model(tiny: Path, tmp_path: Path) -> None:
    """A publisher's own form of the same weights lies beside them, or an adapter."""
    shutil.copytree(tiny, tmp_path / "model")
    known = identity_of(tmp_path / "model")
    for name in ("consolidated.safetensors", "adapter_model.safetensors", "model-00001-of-00009.safetensors"):
        (tmp_path / "model" / name).write_bytes(b"half of it")
    assert [path.name for path in weight_files(tmp_path / "model")] == ["model.safetensors"]
    assert identity_of(tmp_path / "model") == known
    assert lacking(tmp_path / "model") is None
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert [path.name for path in weight_files(tmp_path / "model")] == sorted(shards.values())
    assert lacking(tmp_path / "model") == "model-00002-of-00002.safetensors: missing or cut short"


# --- what is written of where and what a model is ---


def test_no_file_says_where_the_base_lies(tiny: Path, context: Context, one: Path, tmp_path: Path) -> None:
    base = find_base(str(tiny), context)
    assert base.name == "tiny"
    (tmp_path / "out").mkdir()
    write_export(PeftTrainer(base=str(tiny)), "adapter", one, tmp_path / "out", context)
    written = [path for folder in (one, tmp_path / "out") for path in folder.rglob("*.json")]
    assert {"base.json", "adapter_config.json", "langmill.json"} <= {path.name for path in written}
    assert [path for path in written if str(tiny.parent) in path.read_text()] == []
    assert json.loads((one / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    llm = PeftTrainer(base=str(tiny)).open(one, context)  # found by the recipe's own words
    assert llm.model == "tiny+one"


def test_a_demonstration_stays_one_when_it_is_the_next_base(tiny: Path, context: Context, tmp_path: Path) -> None:
    known = Base("local/small", tiny, identity_of(tiny), frozenset({"en", "fr"}), True)
    trained = leave_stage(tmp_path / "run", "one", Standing(known), LORA, 1)
    packaged = pytest.MonkeyPatch()
    packaged.setattr("langmill_plugins.trainers.exporting.exports.find_base", lambda *_: known)
    with packaged.context():
        (tmp_path / "out").mkdir()
        write_export(PeftTrainer(base=PACKAGED), "merged", trained, tmp_path / "out", context)
    packaged.undo()
    found = find_base(str(tmp_path / "out"), context)
    assert (found.demonstration, found.languages) == (True, {"en", "fr"})
    assert PeftTrainer(base=str(tmp_path / "out")).open(None, context).demonstration
    facts = json.loads((tmp_path / "out" / "langmill.json").read_text())
    assert facts == {
        "base": "local/small",
        "identity": known.identity,
        "demonstration": True,
        "languages": ["en", "fr"],
    }


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, (None, False)),
        ('{"demonstration": false}', (None, False)),
        ('{"demonstration": false, "languages": null}', (None, False)),
        ('{"demonstration": true, "languages": []}', (frozenset(), True)),
        ('{"demonstration": "perhaps"}', (None, True)),
        ('{"languages": ["en"]}', None),
        ("[1]", None),
        ("{", None),
    ],
)
def test_what_a_mark_says(
    told: str | None, expected: tuple[Any, bool] | None, tiny: Path, context: Context, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    if told is not None:
        (tmp_path / "model" / "langmill.json").write_text(told)
    if expected is None:
        with pytest.raises(MissingInput, match="not whether this is a demonstration model: export it again"):
            find_base(str(tmp_path / "model"), context)
    else:
        found = find_base(str(tmp_path / "model"), context)
        assert (found.languages, found.demonstration) == expected


def test_a_base_that_says_no_languages_leaves_none(tiny: Path, tmp_path: Path) -> None:
    mark(Base("tiny", tiny, "x"), tmp_path)
    assert json.loads((tmp_path / "langmill.json").read_text())["languages"] is None


def test_licences_are_fetched_along(context: Context) -> None:
    with pytest.raises(MissingInput) as told:
        find_base("nobody/nothing@main", context)
    words = "hf download nobody/nothing --revision main --include '*.safetensors' '*.json' "
    assert words in str(told.value)
    assert "'LICENSE*' 'NOTICE*' 'USE_POLICY*' --exclude 'consolidated*'" in str(told.value)


# --- what stays behind ---


@pytest.fixture
def full() -> Iterator[None]:
    """No file can become larger than a MiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("full")
def test_a_full_disk(tiny: Path, one: Path, context: Context, tmp_path: Path) -> None:
    """Weights are written by a library that has an error of its own for it."""
    base, said = find_base(str(tiny), context), "can not write .*File too large.*make room"
    with pytest.raises(FactoryError, match=said), whole_folder(tmp_path / "out") as work:
        write_export(PeftTrainer(base=str(tiny)), "merged", one, work, context)
    merged = ended_with(read_trained(one, base), base)
    with pytest.raises(FactoryError, match=f"{said}.*take four bytes a parameter"):
        standing_weights(merged, tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_any_other_error_goes_through(tmp_path: Path) -> None:
    for fault in (ValueError("no"), MissingInput("gone (os error 2)"), KeyError("x")):
        with pytest.raises(type(fault)) as told, whole_folder(tmp_path / "out"):
            raise fault
        assert told.value is fault
    with (
        pytest.raises(FactoryError, match=r"can not write .*No space left on device \(os error 28\)"),
        whole_folder(tmp_path / "out"),
    ):
        raise Exception("I/O error: No space left on device (os error 28)")
    assert list(tmp_path.iterdir()) == []


def _gone() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    gone, mine = _gone(), os.getppid()
    swept = [f".out.{gone}.tmp", f".out.old.{gone}.tmp"]
    stays = [f".out.{mine}.tmp", f".outer.{gone}.tmp", f".out.x{gone}.tmp", f"out.{gone}.tmp", f".out.{gone}.tmp.d"]
    for name in ["out", *swept, *stays]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    with whole_folder(tmp_path / "out") as work:
        (work / "weights").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"out", *stays}
    assert (tmp_path / "out" / "weights").read_text() == "new"


def test_what_was_there_before_a_kill_goes_back(tmp_path: Path) -> None:
    """Killed between two renames: the older folder has its other name, and the new one is not in its place."""
    old = tmp_path / f".out.old.{_gone()}.tmp"
    old.mkdir()
    (old / "weights").write_text("old")
    with pytest.raises(KeyError), whole_folder(tmp_path / "out"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "weights").read_text() == "old"


# --- one merging for several processes ---


@pytest.fixture
def merges(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every merging."""
    done: list[str] = []
    plain: Callable[..., Any] = standing.merged_model
    monkeypatch.setattr(standing, "merged_model", lambda what: done.append("merged") or plain(what))
    return done


def test_several_processes_merge_once(
    tiny: Path, one: Path, context: Context, tmp_path: Path, merges: list[str]
) -> None:
    base = find_base(str(tiny), context)
    what = ended_with(read_trained(one, base), base)
    found: list[Path] = []

    def wait() -> None:
        with standing_weights(what, tmp_path, 1) as weights:
            assert lacking(weights) is None
            found.append(weights)

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive() and not found
    with standing_weights(what, tmp_path, 0) as weights:
        waiting.join(30)
        assert found == [weights]
    with standing_weights(what, tmp_path, 0) as again:  # started anew with smaller batches
        assert again == weights
    assert merges == ["merged"]
    assert (weights.name[0], weights.suffix) == (".", ".tmp")
    with standing_weights(what, tmp_path) as alone:
        assert alone != weights
    forget_merged(tmp_path)
    assert list(tmp_path.iterdir()) == []
