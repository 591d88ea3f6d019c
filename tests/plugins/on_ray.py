"""The executor Ray, on a real one; test_executors.py runs this file in a process of its own."""

from __future__ import annotations

import importlib
import os
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.test_executors import CONTEXT, MODULE

from langmill.api import FactoryError, MissingInput, RowFault
from langmill_plugins.executors.local import AHEAD
from langmill_plugins.executors.ray import Ray


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The functions, where the workers of a Ray find them; the first executor that is asked starts it."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "work_for_ray.py").write_text(textwrap.dedent(MODULE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("work_for_ray")
        importlib.import_module("ray").shutdown()


def test_ray_gives_what_local_gives(on_ray: Any) -> None:
    found = list(Ray(workers=2).map(on_ray.square, range(7), CONTEXT))
    assert [number for number, _ in found] == [0, 1, 4, 9, 16, 25, 36]
    assert os.getpid() not in {pid for _, pid in found}
    assert list(Ray(workers=2).map(on_ray.slow_first, range(5), CONTEXT)) == [0, 1, 2, 3, 4]
    assert list(Ray(workers=2).map(on_ray.square, [], CONTEXT)) == []
    assert list(Ray(workers=2).map(on_ray.threads, range(2), CONTEXT)) == [("1", "1")] * 2


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are looked up in /proc")
def test_a_ray_of_our_own_listens_on_loopback_alone(on_ray: Any) -> None:
    assert len(list(Ray(workers=2).map(on_ray.square, range(2), CONTEXT))) == 2
    session = importlib.import_module("ray")._private.worker._global_node.get_session_dir_path()
    listening = {}
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            place, state, inode = (line.split()[column] for column in (1, 3, 9))
            if state == "0A":
                listening[f"socket:[{inode}]"] = place.split(":")[0]
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if session in (process / "cmdline").read_text():
                found |= {
                    listening[end]: process
                    for each in (process / "fd").iterdir()
                    if (end := os.readlink(each)) in listening
                }
        except OSError:
            continue
    assert found.keys() <= {"0100007F", "0000000000000000FFFF00000100007F"} and found


def test_few_partitions_are_in_flight_on_ray(on_ray: Any, tmp_path: Path) -> None:
    results = Ray(workers=2).map(on_ray.note, [(number, str(tmp_path)) for number in range(40)], CONTEXT)
    assert next(results) == 0
    time.sleep(0.2)
    assert len(list(tmp_path.glob("[0-9]*"))) <= 2 * AHEAD + 1
    assert list(results) == list(range(1, 40))


def test_an_error_on_ray_arrives_as_it_was(on_ray: Any) -> None:
    with pytest.raises(MissingInput, match="nothing at 'x'"):
        list(Ray(workers=2).map(on_ray.fail, range(5), CONTEXT))
    with pytest.raises(RowFault, match="schema: no answer"):
        list(Ray(workers=2).map(on_ray.fault, range(3), CONTEXT))


def test_ray_does_again_what_a_process_lost(on_ray: Any, tmp_path: Path) -> None:
    items = [(number, str(tmp_path)) for number in range(4)]
    assert list(Ray(workers=2).map(on_ray.die_once, items, CONTEXT)) == [0, 1, 2, 3]
    assert (tmp_path / "died").exists()
    with pytest.raises(FactoryError, match=r"steps\[1\]: Ray could not do partition 4 of 8: WorkerCrashedError"):
        list(Ray(workers=2).map(on_ray.die, range(8), CONTEXT))


def test_an_address_where_no_cluster_is(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("ray").shutdown()
    if any("gcs_server" in _command(process) for process in Path("/proc").glob("[0-9]*")):
        pytest.skip("another Ray runs on this machine, and 'auto' means that one")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(MissingInput, match="no Ray cluster at 'auto'"):
        list(Ray(address="auto").map(len, ["a"], CONTEXT))


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""
