"""What the benchmarks stand on: a provider that does as it was told, an ideal that can be reached, goals that can be missed."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Drop

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.append(str(SCRIPTS))
server = importlib.import_module("bench.server")
faults = importlib.import_module("bench.faults")
section = importlib.import_module("bench.section")
pairs = importlib.import_module("bench.guard_pairs")
guard_clean = importlib.import_module("bench.guard_clean")
guard_faults = importlib.import_module("bench.guard_faults")
guard_planted = importlib.import_module("bench.guard_planted")
guard_numbers = importlib.import_module("bench.guard_numbers")


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


@pytest.mark.parametrize("name", ["bench_guards.py", "bench_llm.py", "bench_start.py"])
def test_a_benchmark_says_what_it_does(name: str) -> None:
    run = subprocess.run([sys.executable, str(SCRIPTS / name), "--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "--quick" in run.stdout
    assert "--json" in run.stdout


# --- faults that the guards are measured by ---------------------------------------------------------------------------

SPANISH = pairs.Pair(
    "made-up", "en", "es", "text",
    "Give at least 0.5 mg of IL-6 to 25% of the two groups, not on the left arm, for 14 days. It is 12,000 in all.",
    "Dar al menos 0,5 mg de IL-6 al 25 % de los dos grupos, no es en el brazo izquierdo, durante 14 días. Son 12.000 en total.",
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("digits dropped", "0,5 |25 % |14 |12.000 ", ""),
        ("decimal moved", "0,5|25|14", "5|0,05|250|140"),
        ("thousands", "12.000", "12"),
        ("unit changed", "mg|días", "g|µg|horas|semanas"),
        ("unit dropped", " mg| días", ""),
        ("percent dropped", " %", ""),
        ("word changed", "dos", "tres|cuatro|cinco|seis|siete|ocho|nueve|diez"),
        ("negation dropped", "no ", ""),
        ("side swapped", "izquierdo", "derecho"),
        ("comparison turned", "al menos", "como máximo"),
        ("name changed", "IL-6", r"IL-\d"),
    ],
)
def test_a_planted_fault_is_the_one_that_it_is_called(kind: str, before: str, after: str) -> None:
    for fault in guard_faults.plant(kind, [SPANISH]):
        was, now = SPANISH.target, fault.pair.target
        assert fault.sound == SPANISH and was != now
        assert any(
            re.fullmatch(f"{re.escape(was[:start])}(?:{after}){re.escape(was[start + len(word) :])}", now)
            or re.sub(" +", " ", was[:start] + was[start + len(word) :]) == now
            for word in before.split("|")
            for start in range(len(was))
            if was.startswith(word, start)
        ), now


def test_faults_are_the_same_for_the_same_seed() -> None:
    once, again, other = (
        [fault.now for fault in guard_faults.plant("digit changed", [SPANISH] * 5, seed)] for seed in (17, 17, 18)
    )
    assert once == again != other


def test_nothing_is_planted_that_leaves_the_meaning() -> None:
    def planted(kind: str, source: str, target: str) -> list[str]:
        pair = SPANISH._replace(source=source, target=target)
        return [fault.pair.target for fault in guard_faults.plant(kind, [pair])]

    assert planted("digits dropped", "In a week", "En 7 días") == []  # the source says it otherwise
    assert planted("digits dropped", "5 mg once", "5 mg una vez, solo 5 mg") == []  # it stands there once more
    assert planted("digit changed", "1.0 g", "1,0 g")[0] not in ("1 g", "1,00 g")
    assert planted("negation dropped", "It is rare.", "No es frecuente.") == []
    assert planted("negation dropped", "Not only that.", "No solo es eso.") == []
    assert planted("unit dropped", "A man of 65 years", "Un hombre de 65 años") == []
    assert planted("comparison turned", "at least 5 and at most 9", "al menos 5 y como máximo 9") == []


def test_numbers_in_names_are_none() -> None:
    assert guard_numbers.tokens("COVID-19, IL-6, 2019-nCoV, H1N1, CD4, B12, 10.1038/s41, www.x.org/12, (1) one") == ()
    found = guard_numbers.tokens("٥٠ ملغ، 12岁, 1 500 mg, 120/80")
    assert [token.digits for token in found] == ["50", "12", "1500", "120", "80"]


def test_reviewed_alarms_are_few_and_say_why() -> None:
    for name, segments in guard_clean.reviewed().items():
        assert name in pairs.PAIRS
        assert sum(map(len, segments.values())) <= 100
        assert all(why for reasons in segments.values() for why in reasons.values())


def test_real_errors_of_the_data_are_set_apart_and_both_figures_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    some = [SPANISH._replace(id=str(number)) for number in range(4)]
    said = {"0": ["changed_number"], "1": ["changed_number", "too_long"]}
    monkeypatch.setattr(guard_clean, "PAIRS", {"made-up": None})
    monkeypatch.setattr(guard_clean, "SHIFTED", {})
    monkeypatch.setattr(guard_clean, "pairs", lambda name, data: some)
    monkeypatch.setattr(guard_clean, "check", lambda pair: [Drop(reason) for reason in said.get(pair.id, [])])
    monkeypatch.setattr(guard_clean, "reviewed", lambda: {"made-up": {"1": {"changed_number": "wrong_number"}}})
    figures = guard_clean.clean(False, tmp_path, tmp_path).figures["made-up"]
    assert (figures["raw"]["doses"], figures["apart"]["doses"]) == (0.5, 0.25)
    assert (figures["raw"]["any"], figures["apart"]["any"], figures["set_apart"]) == (0.5, 0.5, 1)


def test_faults_are_planted_in_sound_pairs_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    some = [SPANISH._replace(id=str(number)) for number in range(6)]
    monkeypatch.setattr(guard_planted, "translations", lambda language, data: some)
    monkeypatch.setattr(guard_planted, "pairs", lambda name, data: [])
    monkeypatch.setattr(guard_planted, "sound", lambda pair: int(pair.id) % 2 == 0)
    found = list(guard_planted.planted_in("side swapped", "es", 9, tmp_path))
    assert sorted(fault.sound.id for fault in found) == ["0", "2", "4"]
    assert len(list(guard_planted.planted_in("side swapped", "es", 2, tmp_path))) == 2
