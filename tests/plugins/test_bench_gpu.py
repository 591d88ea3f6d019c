"""The GPU benchmark where there is no GPU: rows, models, order, figures and words. What it measures there is measured on the spot."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.tiny_models import packaged_tokenizer

from langmill_plugins.trainers.forecast.shape import shape_of
from langmill_plugins.trainers.weights.base_model import lacking

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.append(str(SCRIPTS))
asked_of = importlib.import_module("bench.gpu_asked")
kits = importlib.import_module("bench.gpu_kit")
sizes = importlib.import_module("bench.gpu_sizes")
sound = importlib.import_module("bench.gpu_sound")
speeds = importlib.import_module("bench.gpu_speed")
ways = importlib.import_module("bench.gpu_ways")
bench_gpu = importlib.import_module("bench_gpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packaged_tokenizer()
    return sizes.prepare(tmp_path_factory.mktemp("gpu") / "prepared", True)


@pytest.fixture
def kit(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A kit whose trainings are done in this process."""
    found = kits.Kit(prepared.parent / "out", prepared, prepared.parent / "models", "none", True, "")
    found.out.mkdir(exist_ok=True)

    def here(self: Any, asked: Any) -> dict[str, Any]:
        from langmill_plugins.trainers.loop import loop

        whole = loop.collate, loop.answer_loss
        try:
            why = asked_of.lacks(asked.way)
            return {"way": asked.way, "not_measured": why} if why else json.loads(json.dumps(ways.run(asked)))
        finally:
            loop.collate, loop.answer_loss = whole

    monkeypatch.setattr(kits.Kit, "process", here)
    return found


# --- what is trained on ---


def test_a_model_of_random_weights_is_whole_and_of_its_shape(prepared: Path, tmp_path: Path) -> None:
    folder = sizes.write_model(tmp_path / "tiny", "tiny", prepared / "tokenizer")
    assert lacking(folder) is None
    written, told = shape_of(folder), sizes.shape_of_size("tiny")
    assert sorted(written.linears) == sorted(told.linears)
    assert replace(written, linears=()) == replace(told, linears=())
    files = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    sizes.write_model(folder, "tiny", prepared / "tokenizer")
    assert files == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}, "it is written once"


def test_the_shapes_have_as_many_parameters_as_is_published() -> None:
    billions = {size: sizes.shape_of_size(size).parameters / 1e9 for size in ("8b", "70b")}
    assert billions["8b"] == pytest.approx(8.03, abs=0.01) and billions["70b"] == pytest.approx(70.55, abs=0.01)


def test_rows_of_every_split_are_there(prepared: Path) -> None:
    rows = sizes.rows_in(prepared, asked_of.context_of(prepared))
    assert {row.language for row in rows} == {"en", "zh", "ja", "ko", "fr", "es", "ru"}
    assert {row.split for row in rows} == {"train", "dev", "test"}


# --- one way ---


@pytest.mark.parametrize("way", ["peft"])
def test_ours_go_through_the_planned_steps(kit: Any, way: str) -> None:
    found = kit.go(way, base=kit.model("tiny"), max_tokens=256, width=2, batch="auto", steps=2, profile=1)
    assert len(found["losses"]) == len(found["step_seconds"]) == 2
    assert found["batch"] * found["accumulate"] == 2
    assert all(found[name][0] > 0 for name in ("tokens", "answers", "squares"))
    assert found["profile"]["steps"] == 1 and found["data_seconds"] > 0
    again = kit.go(way, base=kit.model("tiny"), max_tokens=256, width=2, batch="auto", steps=2, profile=1)
    assert again == found, "what is done is not done again"


@pytest.mark.parametrize("way", ["unsloth", "notebook_packed"])
def test_what_is_missing_is_told(kit: Any, way: str) -> None:
    found = kit.go(way, base=kit.model("tiny"), max_tokens=256, width=2, batch=1, steps=2)
    assert "unsloth" in found["not_measured"]


def test_the_peer_learns_from_the_same_steps(kit: Any) -> None:
    pytest.importorskip("trl")
    section = speeds.curves(kit)
    assert {goal["what"].split()[0] for goal in section.goals} == {"peft_padded"}
    assert not section.missed
    ours, theirs = section.figures["peft_padded"], section.figures["plain_padded"]
    assert ours["tokens"] == theirs["tokens"] and ours["answers"] == theirs["answers"]


# --- parts ---


def test_a_full_memory_is_caught(kit: Any) -> None:
    section = sound.oom(kit)
    assert len(section.goals) == 3 and not section.missed
    assert "no GPU" in kit.missing[0]


def test_a_forecast_stands_beside_what_was_measured(kit: Any) -> None:
    section = speeds.estimate(kit)
    for one in section.figures.values():
        assert one["memory"] > 0 and one["low"] < one["high"]
    assert any("four combinations" in line for line in kit.missing)


def test_what_fits_grows_with_the_card_and_shrinks_with_the_model(kit: Any) -> None:
    told = sound.fit(kit).figures["told"]
    for size, by in told.items():
        lengths = list(by.values())
        assert lengths == sorted(lengths), size
    assert told["8b"]["24"] >= 2048 and told["70b"]["24"] == 0 and told["70b"]["48"] > 0
    assert all(told["1b"][card] >= told["8b"][card] >= told["70b"][card] for card in told["8b"])


# --- figures ---


def test_spans_that_overlap_count_once() -> None:
    assert asked_of.covered([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7
    assert asked_of.covered([]) == 0


def test_a_name_for_a_stretch_of_the_card_is_no_kernel() -> None:
    """It lasts over the gaps between the kernels inside of it: counted in, the card would never be idle."""

    def event(device: str, begin: int, end: int, named: bool = False) -> Any:
        return SimpleNamespace(
            device_type=f"DeviceType.{device}",
            time_range=SimpleNamespace(start=begin, end=end),
            is_user_annotation=named,
        )

    events = [event("CUDA", 5, 6), event("CPU", 0, 9), event("CUDA", 1, 2), event("CUDA", 1, 6, True)]
    assert asked_of.kernels(events) == [(1, 2), (5, 6)]


def test_speed_is_a_median_after_the_first_steps() -> None:
    shape = sizes.shape_of_size("8b")
    seconds = [50.0, 50.0, 1.0, 1.0, 9.0, 1.0, 1.0, 9.0]
    found = {"step_seconds": seconds, "tokens": [1000] * 8, "answers": [400] * 8, "squares": [10**6] * 8}
    speed = kits.speed_of(found, shape, 989e12, 2)
    assert (speed.tokens, speed.answers) == (1000.0, 400.0)
    work = 4 * shape.linear * 1000 + 6 * 32 * 4096 * 10**6 + 4 * 128256 * 4096 * 400
    assert speed.use == pytest.approx(work / 989e12)
    assert kits.speed_of(found, shape, None, 2).use is None


def test_the_end_tells_all_parts_and_what_is_missing(prepared: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    said = [
        "--quick",
        "--out",
        str(out),
        "--prepared",
        str(prepared),
        "--part",
        "fit",
        "--json",
        str(tmp_path / "all.json"),
    ]
    assert bench_gpu.main(said) == 0
    told = capsys.readouterr().err
    assert "1 of 11 parts" in told and "not measured: speed-4096" in told and "24 GB" in told
    assert json.loads((tmp_path / "all.json").read_text())["fit"]["device"] == "CPU"


def test_without_a_gpu_only_quick_is_possible(prepared: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        bench_gpu.main(["--out", str(tmp_path), "--prepared", str(prepared)])
    assert "--quick" in capsys.readouterr().err


def test_a_part_that_breaks_does_not_stop_the_rest(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def broken(kit: Any) -> Any:
        raise RuntimeError("driver too old")

    monkeypatch.setattr(bench_gpu, "PARTS", {"idle": broken, "fit": sound.fit})
    assert bench_gpu.main(["--quick", "--out", str(tmp_path), "--prepared", str(prepared)]) == 1
    told = capsys.readouterr().err
    assert "BROKE OFF idle: RuntimeError: driver too old" in told and "not measured: idle: it broke off" in told
    assert "fit" in told and json.loads((tmp_path / "fit.json").read_text())["failed"] == []


def test_a_training_that_breaks_off_counts_and_a_missing_package_does_not(prepared: Path, tmp_path: Path) -> None:
    """Each in a process of its own, as on a card."""
    kit = kits.Kit(tmp_path, prepared, tmp_path / "models", "none", True, "")
    found = kit.go("unsloth", base="nowhere", max_tokens=256, batch=1, steps=1)
    assert "unsloth" in found["not_measured"] and kit.failed == []
    found = kit.go("peft", base=str(tmp_path / "nowhere"), max_tokens=256, batch=1, steps=1)
    assert found["not_measured"].startswith("broke off") and "nowhere" in kit.failed[0]
    assert len(list((tmp_path / "logs").glob("*.log"))) == 2


@pytest.mark.parametrize("printed", ['{"a": 1}\nUnsloth: done\n3\n', '{"a": 0}\n{"a": 1}'])
def test_what_libraries_print_besides_is_passed_over(printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def done(*given: Any, **more: Any) -> Any:
        return subprocess.CompletedProcess([], 0, printed, "")

    monkeypatch.setattr(subprocess, "run", done)
    assert kits.child("bench.any") == {"a": 1}


@pytest.mark.parametrize(("code", "out", "word"), [(1, "", "full"), (-9, "", "full"), (0, "3\n", "told nothing")])
def test_a_child_that_tells_nothing_has_failed(code: int, out: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *given, **more: subprocess.CompletedProcess([], code, out, "full"))
    with pytest.raises(RuntimeError, match=word):
        kits.child("bench.any")
