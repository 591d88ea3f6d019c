"""Near-duplicates with a known truth: what is found and what is wrongly taken, how fast, in how much memory, beside peers."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from bench.section import Section, environment, say

SHINGLES = {"en": "w3", "zh": "c5", "ja": "c5"}
"""What the truth was cut by: words between blanks, or all characters, in lower case."""
PEERS = {"ds_bulk_xx": ("datasketch", 12.0), "rensa_inline32": ("rensa", 3.5)}
"""Peers that are tuned to find most: their package and how many times as fast ours has to be."""
LEAST_RECALL, MOST_BYTES, MOST_SLOPE = 0.999, 1000, 1.08
AT: dict[str, Any] = {"threshold": 0.8, "recall": 0.998, "plain": True}
"""How ours is set beside peers: 21 bands of 6."""
THRESHOLDS = (0.45, 0.5, 0.6, 0.8)
KINDS = ("scatter0.01", "scatter0.02", "scatter0.05", "scatter0.1", "scatter0.15", "block0.15", "hard")
SIGNED_AT_ONCE, FILE_ROWS = 1000, 16_000


def near(quick: bool, work: Path, data: Path) -> Section:
    """Corpora of real sentences with planted edits, the same ones for every tool, tools in turn, one thread each."""
    section = Section("near")
    scripts = os.environ.get("BENCH_SCRIPTS")
    if scripts is None:
        section.lines.append("left out: BENCH_SCRIPTS is not set, and its scripts make the corpora")
        return section
    size, large, rounds = (30_000, 100_000, 1) if quick else (100_000, 1_000_000, 3)
    _call(sys.executable, f"{scripts}/pools.py", "--data", str(data), "--out", str(work / "src"))
    peers = [tool for tool, (package, _) in PEERS.items() if _has(package, section)]
    runs: list[dict[str, Any]] = []
    for language in SHINGLES:
        corpus = _corpus(scripts, work, language, size)
        for number in range(rounds):
            for tool in ("ours", *peers) if number % 2 == 0 else (*reversed(peers), "ours"):
                runs.append(_run(tool, corpus, language, scripts, **AT))
                say(f"  {tool} {language}: {runs[-1]['docs_cpu_s']:,} documents per CPU-second")
    _compared(section, runs, peers)
    scaled = [_run("ours", _corpus(scripts, work, "en", count), "en", scripts, **AT) for count in (10_000, large)]
    _scaling(section, scaled)
    edits = [
        _run(
            "ours", work / f"{language}-{size}.jsonl", language, scripts, threshold=threshold, recall=0.98, plain=False
        )
        for language in SHINGLES
        for threshold in THRESHOLDS
    ]
    _thresholds(section, edits)
    _curve(section)
    section.figures = {"runs": runs, "scaling": scaled, "edits": edits}
    return section


def _compared(section: Section, runs: Sequence[dict[str, Any]], peers: Sequence[str]) -> None:
    table = []
    for language in SHINGLES:
        for tool in ("ours", *peers):
            same = [run for run in runs if (run["language"], run["tool"]) == (language, tool)]
            first = same[0]
            speed, memory = median(run["docs_cpu_s"] for run in same), first["rss_over_docs_mb"]
            table.append((language, tool, speed, first["rec_J"], first["prec_J"], memory))
            if tool == "ours":
                section.goal(f"{language}: recall of pairs of 0.8 and more", first["rec_J"], ">=", LEAST_RECALL)
                section.goal(f"{language}: precision", first["prec_J"], "==", 1.0)
                own = [run["docs_cpu_s"] for run in same]
            else:
                ratio = median(ours / run["docs_cpu_s"] for ours, run in zip(own, same, strict=True))
                section.goal(f"{language}: times as fast as {tool}", ratio, ">=", PEERS[tool][1])
    section.lines.append(f"{runs[0]['n']:,} documents, 128 permutations, 0.8, one thread")
    section.table(("language", "tool", "docs/CPU-s", "recall", "precision", "MB over the input"), table)


def _scaling(section: Section, runs: Sequence[dict[str, Any]]) -> None:
    small, large = runs
    slope = math.log(large["cpu_s"] / small["cpu_s"]) / math.log(large["n"] / small["n"])
    section.table(
        ("en", "docs/CPU-s", "bytes a document over the input"),
        [(run["n"], run["docs_cpu_s"], 1e6 * run["rss_over_docs_mb"] / run["n"]) for run in runs],
    )
    section.goal(f"CPU grows from {small['n']:,} to {large['n']:,} with n to the", slope, "<=", MOST_SLOPE)
    spent = 1e6 * large["rss_over_docs_mb"] / large["n"]
    section.goal(f"bytes of memory a document at {large['n']:,}", spent, "<=", MOST_BYTES)


def _thresholds(section: Section, runs: Sequence[dict[str, Any]]) -> None:
    section.lines.append(
        "caught by the packs' own cut: edits by kind and rate; 'hard' share half their text and should stay"
    )
    table = [
        (
            run["language"],
            run["threshold"],
            *(run["by_kind"].get(kind, 0.0) for kind in KINDS),
            run["prec"],
            run["docs_cpu_s"],
        )
        for run in runs
    ]
    section.table(("language", "threshold", *KINDS, "precision", "docs/CPU-s"), table)


def _curve(section: Section) -> None:
    from langmill_plugins.filters.minhash import found, layout

    ours = [layout(threshold, 128, recall) for threshold, recall in ((0.45, 0.98), (0.8, 0.98), (0.8, 0.998))]
    layouts = [*ours, (9, 13)]
    section.lines.append(
        "chance that a pair is found, by its Jaccard and by bands x rows; 9x13 is datasketch's choice at 0.8"
    )
    names = [f"{bands}x{rows}" for bands, rows in layouts]
    steps = [share / 20 for share in range(4, 20)]
    section.table(("Jaccard", *names), [(step, *(found(step, *each) for each in layouts)) for step in steps])


# --- runs ---


def _has(package: str, section: Section) -> bool:
    python = os.environ.get("BENCH_PEERS", sys.executable)
    there = subprocess.run([python, "-c", f"import {package}, xxhash"], capture_output=True).returncode == 0
    if not there:
        section.lines.append(
            f"left out: {package} is not installed in {Path(python).name} (BENCH_PEERS); its goal is not stated"
        )
    return there


def _corpus(scripts: str, work: Path, language: str, count: int) -> Path:
    out = work / f"{language}-{count}.jsonl"
    if not out.exists():
        names = ("--src", str(work / "src"), "--lang", language, "--n", str(count), "--out", str(out))
        _call(sys.executable, f"{scripts}/mkcorpus.py", *names)
    return out


def _run(
    tool: str, corpus: Path, language: str, scripts: str, *, threshold: float, recall: float, plain: bool
) -> dict[str, Any]:
    """One tool over one corpus, in a process of its own."""
    shingle = SHINGLES[language]
    if tool == "ours":
        options = {
            "corpus": str(corpus),
            "language": language,
            "threshold": threshold,
            "recall": recall,
            "plain": plain,
        }
        said = _call(
            sys.executable, "-m", "bench.near", json.dumps({**options, "shingle": shingle, "scripts": scripts})
        )
    else:
        names = ("--tool", tool, "--corpus", str(corpus), "--shingle", shingle, "--thr", str(threshold))
        said = _call(os.environ.get("BENCH_PEERS", sys.executable), f"{scripts}/dedup_bench.py", *names)
    return {**json.loads(said.splitlines()[-1]), "tool": tool, "language": language, "threshold": threshold}


def _call(*command: str) -> str:
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "NUMBA", "OPENBLAS", "MKL", "RAYON")}
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(**threads))
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])}: {done.stderr[-2000:]}")
    return done.stdout


# --- our own process ---


def ours(options: dict[str, Any]) -> dict[str, Any]:
    """Sign, merge and decide as a run does, over rows that are in memory; what numba compiles is compiled before."""
    import resource
    from types import SimpleNamespace

    import pyarrow as pa

    from langmill.api import Origin, Row, StepContext, Text, packs_in
    from langmill_plugins.filters.minhash import MinHash

    pa.set_cpu_count(1)
    language, shingle = options["language"], options["shingle"]
    packs: dict[str, Any] = {pack.code: pack for pack in packs_in("langmill_languages")}
    if options["plain"]:
        _cut_plainly(shingle)
        facts = SimpleNamespace(
            shingles=SimpleNamespace(by="word" if shingle[0] == "w" else "character", size=int(shingle[1:]))
        )
        packs = {language: SimpleNamespace(need=lambda section: facts)}
    context = StepContext("near", 17, packs, Path())
    part = MinHash(threshold=options["threshold"], recall=options["recall"])
    with open(options["corpus"], encoding="utf-8") as file:
        texts = (json.loads(line)["text"] for line in file)
        rows = [
            Row(f"s/{number}", language, "train", "", Text(text), Origin("s", str(number), ("x",)))
            for number, text in enumerate(texts)
        ]
    with tempfile.TemporaryDirectory(dir=Path(options["corpus"]).parent) as folder:
        _removed(part, [*rows[:300], *rows[:300]], context, Path(folder, "warm"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = process_time()
        removed = _removed(part, rows, context, Path(folder, "run"))
        cpu = process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sys.path.insert(0, options["scripts"])
    from dedup_bench import score  # type: ignore[import-not-found]

    truth = "w3" if language == "en" else "c3"
    wanted = SimpleNamespace(
        corpus=options["corpus"], shingle0=shingle if options["plain"] else truth, flags=False, thr=options["threshold"]
    )
    speed = round(len(rows) / cpu)
    return {
        "n": len(rows),
        "cpu_s": cpu,
        "docs_cpu_s": speed,
        "rss_over_docs_mb": memory,
        **score(removed, wanted, len(rows)),
    }


def _removed(part: Any, rows: Sequence[Any], context: Any, folder: Path) -> set[int]:
    from langmill.disk.signatures import FactsOnDisk, key_ranges, merge_keys, read_buckets, write_signed

    def signed(start: int) -> Iterator[Any]:
        for place in range(start, min(start + FILE_ROWS, len(rows)), SIGNED_AT_ONCE):
            yield part.sign(rows[place : min(place + SIGNED_AT_ONCE, start + FILE_ROWS)], context)

    folder.mkdir()
    files = [write_signed(folder / f"{start}.json", signed(start)) for start in range(0, len(rows), FILE_ROWS)]
    merged = merge_keys(files, key_ranges(files), folder / "merged.arrow")
    drops = part.decide(read_buckets([merged]), FactsOnDisk([], files), context)
    return {position for position, _ in drops}


def _cut_plainly(shingle: str) -> None:
    """Cut as the truth was: white space alone parts words, nothing is taken out, lower case."""
    import numpy as np

    from langmill_plugins.text import folding

    entries: Any = np.arange(folding.POINTS, dtype=np.uint32)
    for point in range(1 << 16):
        if len(low := chr(point).lower()) == 1:
            entries[point] = ord(low)
        if shingle[0] == "w" and chr(point).isspace():
            entries[point] = folding.GAP
    vars(folding)["table"] = lambda: entries


if __name__ == "__main__":
    print(json.dumps(ours(json.loads(sys.argv[1]))))
