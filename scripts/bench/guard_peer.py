"""The numeral filter of OpusFilter on the same faults and the same clean pairs, side by side with ours. OpusFilter runs in
BENCH_PEERS, a Python that has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from bench.guard_check import check, guard_of
from bench.guard_clean import sample
from bench.guard_pairs import PAIRS, Pair
from bench.guard_planted import SETS, planted_in
from bench.section import Section, say

MANY, QUICK = 500, 100
STRICT = 1.0
COMPARED = ("digit changed", "digits dropped", "number added", "word changed", "word dropped", "decimal moved", "thousands",
            "unit changed", "unit dropped", "percent dropped")  # fmt: skip
"""Kinds that a filter of numerals could be asked for."""
_SCORES = """
import json, sys
from opusfilter.filters import NonZeroNumeralsFilter
part = NonZeroNumeralsFilter()
print(json.dumps({"threshold": part.threshold, "scores": [score[0] for score in part.score(map(tuple, json.load(sys.stdin)))]}))
"""


def scores(pairs: Sequence[Pair]) -> tuple[float, list[float]]:
    """Its own threshold, and its score of each pair. Raises RuntimeError with its last words when it can not be run."""
    texts = [["\n".join(text) for text in zip(*((source, target) for _, source, target in pair.pieces()), strict=True)]
             for pair in pairs]  # fmt: skip
    done = subprocess.run(
        [os.environ.get("BENCH_PEERS", sys.executable), "-c", _SCORES], input=json.dumps(texts), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no answer")
    said = json.loads(done.stdout)
    return float(said["threshold"]), [float(score) for score in said["scores"]]


def _ours(pair: Pair) -> bool:
    """Whether our guards of numbers and units find something."""
    return any(guard_of(drop.reason) in ("numbers", "units") for drop in check(pair))


def peer(quick: bool, work: Path, data: Path) -> Section:
    """Faults by kind over all languages, and clean pairs by set."""
    section = Section("peer")
    try:
        threshold, _ = scores([])
    except (RuntimeError, OSError) as error:
        section.lines.append(f"left out: OpusFilter does not run in BENCH_PEERS ({error})")
        return section
    most = QUICK if quick else MANY
    table: list[Sequence[object]] = []
    for kind in COMPARED:
        faults = [fault for language in SETS for fault in islice(planted_in(kind, language, most, data), most)]
        _, found = scores([fault.pair for fault in faults])
        _, before = scores([fault.sound for fault in faults])
        shares = []
        for bound in (threshold, STRICT):  # like ours, it is asked of pairs that it passes as they are
            passed = [score for score, own in zip(found, before, strict=True) if own >= bound]
            shares.append(sum(score < bound for score in passed) / max(1, len(passed)))
        ours = sum(_ours(fault.pair) for fault in faults) / len(faults)
        table.append((kind, len(faults), *(f"{share:.1%}" for share in (*shares, ours))))
        section.figures[kind] = {"faults": len(faults), "threshold": shares[0], "strict": shares[1], "ours": ours}
        say(f"  {kind}: {shares[0]:.1%} and {shares[1]:.1%} by the peer, {ours:.1%} by ours")
    names = (f"at {threshold:g}, its own", f"at {STRICT:g}", "ours")
    section.lines.append(
        "share of planted faults caught by the numeral filter of OpusFilter and by our numbers and units"
    )
    section.table(("fault", "planted", *names), table)
    table = []
    for name in PAIRS:
        some = sample(name, data, quick)
        _, found = scores(some)
        shares = [sum(score < bound for score in found) / len(some) for bound in (threshold, STRICT)]
        ours = sum(map(_ours, some)) / len(some)
        table.append((name, len(some), *(f"{share:.1%}" for share in (*shares, ours))))
        section.figures[name] = {"segments": len(some), "threshold": shares[0], "strict": shares[1], "ours": ours}
    section.lines += ["", "share of clean segments with an alarm, raw"]
    section.table(("pair", "segments", *names), table)
    return section
