"""What the benchmarks stand on: a provider that does as it was told, an ideal that can be reached, goals that can be missed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.append(str(SCRIPTS))
server = importlib.import_module("bench.server")
faults = importlib.import_module("bench.faults")
section = importlib.import_module("bench.section")


def ask(provider: Any, row: int, **fields: Any) -> tuple[int, Any]:
    """Status and answer of one request; the body as it came where it is no JSON."""
    body = json.dumps({"messages": [{"role": "user", "content": f"say ROW-{row:06d}"}], **fields}).encode()
    request = urllib.request.Request(f"{provider.url}/chat/completions", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as reply:
            status, said = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        status, said = error.code, error.read()
    try:
        return status, json.loads(said)
    except ValueError:
        return status, said


def test_the_server_answers_counts_and_charges() -> None:
    with server.Server(latency=0.0, prices=(1e-6, 2e-6), length=(0.5, 0.5)) as provider:
        status, said = ask(provider, 7, max_tokens=100)
        ask(provider, 7, max_tokens=100)
        seen = provider.stats()
    assert status == 200
    assert json.loads(said["choices"][0]["message"]["content"])["answer"].startswith("Answer 000007")
    assert said["usage"]["completion_tokens"] == 50
    assert (seen["requests"], seen["rows"], seen["answers"], seen["again"], seen["in_flight"]) == (2, 1, 2, 1, 0)
    assert seen["charged"] == 2 * (1_000 * said["usage"]["prompt_tokens"] + 2_000 * 50)


def test_troubles_come_as_foretold_whoever_asks() -> None:
    shares = {"refuse": 0.2, "broken": 0.2, "cut": 0.2, "garbled": 0.2}
    with server.Server(latency=0.0, **shares) as provider:
        met: Counter[str] = Counter()
        for row in range(60):
            status, said = ask(provider, row)
            if status == 200 and isinstance(said, bytes):
                trouble = "cut"
            elif status == 200:
                trouble = "" if said["choices"][0]["message"]["content"].endswith("}") else "garbled"
            else:
                trouble = {429: "refuse", 500: "broken"}[status]
            assert trouble == provider.fate(row, 1)
            met[trouble] += 1
        assert set(met) == {"", *shares}
        assert provider.stats()["refused"] == met["refuse"]


def test_one_trouble_says_nothing_about_the_next() -> None:
    half = server.Server(broken=0.5)
    met = Counter(tuple(bool(half.fate(row, attempt)) for attempt in (1, 2, 3)) for row in range(2_000))
    assert len(met) == 8
    assert min(met.values()) > 200


def test_the_ideal_is_what_a_perfect_client_would_take() -> None:
    assert faults.ideal_seconds(server.Server(), 64, 16, 60.0) == pytest.approx(4 * faults.LATENCY)
    refused = server.Server(refuse=0.5, retry_after=1)
    row = next(row for row in range(99) if [refused.fate(row, n) for n in (1, 2, 3)] == ["refuse", "refuse", ""])
    foretold = server.Server(refuse=0.5, retry_after=1)
    foretold.fate = lambda _, attempt: refused.fate(row, attempt)  # type: ignore[method-assign]
    assert faults.ideal_seconds(foretold, 1, 4, 60.0) == pytest.approx(2 * (1 + server.REFUSAL_SECONDS) + 0.2)


def test_a_missed_goal_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = section.Section("speed")
    found.goal("rows a second", 9.0, ">=", 10.0)
    found.goal("rows lost", 0, "==", 0)
    assert section.finish([found], True, tmp_path / "figures.json") == 1
    assert "speed: rows a second" in capsys.readouterr().err
    facts = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert [goal["met"] for goal in facts["sections"]["speed"]["goals"]] == [False, True]
    found.goals.pop(0)
    assert section.finish([found], True, None) == 0


@pytest.mark.parametrize("name", ["bench_llm.py", "bench_start.py"])
def test_a_benchmark_says_what_it_does(name: str) -> None:
    run = subprocess.run([sys.executable, str(SCRIPTS / name), "--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "--quick" in run.stdout
    assert "--json" in run.stdout
