"""All filters in one recipe: the same bytes by every executor and after kills; speed and memory over a large Parquet file."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path

from bench.section import Section, environment, say
from langmill.api import Loader, Row, SourceContext, words
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.medquad import MedQuad
from langmill_plugins.loaders.rumeddanet import RuMedDaNet

POOLS: Mapping[str, Loader] = {
    "en": MedQuad(path="$data_dir/medquad", license="x"),
    "zh": CMExam(path="$data_dir/cmexam", license="x"),
    "ja": IgakuQA(path="$data_dir/igakuqa/data", license="x"),
    "fr": FrenchMedMCQA(path="$data_dir/frenchmedmcqa/corpus", license="x"),
    "ru": RuMedDaNet(path="$data_dir/rumedbench/data/RuMedDaNet", license="x"),
    "es": HeadQA(path="$data_dir/headqa/HEAD", license="x"),
    "ko": KorMedMCQACoT(path="$data_dir/kormedmcqa-cot", license="x"),
}
SHARES = {"en": 0.4, "zh": 0.15, "ja": 0.15, "fr": 0.1, "ru": 0.1, "es": 0.05, "ko": 0.05}
SIZES = {"zh": (150, 500), "ja": (150, 500), "ko": (200, 600)}  # characters of a document; elsewhere (400, 1500)
NEAR, EXACT, FOREIGN, SHORT = 0.10, 0.03, 0.01, 0.01  # shares of documents that a filter should take
WRITTEN = 20_000  # documents written at a time
KILLS = 3
PATIENCE = 3600.0  # seconds until a run counts as hanging
LIMIT = 640 << 20  # bytes of memory that each process may ask for; below some 450 MB the libraries themselves hang
MOST_MEMORY, MOST_GROWTH = 1500.0, 1.5  # MB of all processes; or times that of a tenth of the rows
RECIPE = """\
name: chain
languages: [en, zh, ja, fr, ru, es, ko]
sources:
  texts: {use: table, path: texts.parquet, body: text, license: x}
  five: {use: medqa, path: $data_dir/medqa-usmle, license: x}
  four: {use: medqa, path: $data_dir/medqa-usmle-4opt, license: x, splits: {test: train}}
datasets:
  exam: {from: [five]}
  corpus:
    from: [texts, four]
    steps:
      - {use: length, least: 40}
      - {use: repetition}
      - {use: sound_choice}
      - {use: language_id}
      - {use: medical_text, least_keywords: 1, least_density: 0.001}
      - {use: exact}
      - {use: minhash}
      - {use: decontaminate, against: [exam]}
"""


def chain(quick: bool, work: Path, data: Path) -> Section:
    """Both parts: what comes out, then what it costs."""
    section = Section("chain")
    pools = {language: _sentences(loader, data) for language, loader in POOLS.items()}
    _same(section, quick, work / "same", data, pools)
    _large(section, quick, work / "large", data, pools)
    return section


# --- the same bytes ---


def _same(section: Section, quick: bool, folder: Path, data: Path, pools: Mapping[str, Sequence[str]]) -> None:
    rows = 3_000 if quick else 30_000
    _corpus(folder, rows, pools)
    one = _Run(folder, data, "one", "run.workers=1")
    one.go()
    two = _Run(folder, data, "two", "run.workers=2")
    two.go()
    runs = [one, two]
    if importlib.util.find_spec("ray"):
        runs.append(_Run(folder, data, "ray", "run.use=ray", "run.workers=2"))
        runs[-1].go()
    else:
        section.lines.append("ray is not installed: its executor is left out")
    killed, dice, kills = _Run(folder, data, "killed", "run.workers=2"), random.Random(5), 0
    for _ in range(KILLS):
        kills += killed.kill_after(dice.uniform(0.15, 0.3) * two.seconds)
    killed.go()
    runs.append(killed)
    outputs = [run.output() for run in runs]
    same = [files == outputs[0] for files in outputs]
    table = [(run.name, rows, run.seconds, str(equal)) for run, equal in zip(runs, same, strict=True)]
    section.table(("run", "rows", "seconds", "same bytes"), table)
    section.figures["same"] = {run.name: files for run, files in zip(runs, outputs, strict=True)}
    for run, equal in zip(runs[1:], same[1:], strict=True):
        section.goal(f"{run.name}: the bytes of one process", int(equal), "==", 1)
    section.goal("kills that hit a living run", kills, "==", KILLS)


# --- speed and memory ---


def _large(section: Section, quick: bool, folder: Path, data: Path, pools: Mapping[str, Sequence[str]]) -> None:
    sizes = (5_000, 25_000) if quick else (100_000, 1_000_000)
    runs = []
    for rows in sizes:
        held = _corpus(folder / str(rows), rows, pools)
        runs.append(_Run(folder / str(rows), data, "free"))
        runs[-1].go()
    limited = _Run(folder / str(sizes[1]), data, "limited")
    limited.go(LIMIT)
    free, table = runs[1], []
    for rows, run in zip((*sizes, sizes[1]), (*runs, limited), strict=True):
        table.append((run.name, rows, run.seconds, rows / run.seconds, run.cpu / rows * 1e6, run.peak / 1e6))
    names = ("run", "rows", "seconds", "rows/s", "CPU us/row", "peak MB")
    section.table(names, table)
    section.lines.append(f"limited: at most {LIMIT >> 20} MiB a process; the text alone has {held >> 20} MiB")
    section.lines.extend(f"{seconds:7.1f} s  {line}" for line, seconds in free.segments)
    section.figures["large"] = {
        "runs": [dict(zip(names, row, strict=True)) for row in table],
        "segments": free.segments, "limit": LIMIT, "text_bytes": held,
    }  # fmt: skip
    section.goal("with a limit on memory: the same bytes", int(limited.output() == free.output()), "==", 1)
    if not quick:
        section.goal("the limit, of the text alone in memory", LIMIT / held, "<=", 0.75)
    small, large = (run.peak / 1e6 for run in runs)
    section.goal(f"peak MB of all processes at {sizes[1]:,} rows", large, "<=", max(MOST_MEMORY, MOST_GROWTH * small))


# --- the corpus ---


def _sentences(loader: Loader, data: Path) -> list[str]:
    """The sentences of a set's rows, sorted, each once."""
    context = SourceContext("sources.pool", 17, {}, data, data, source="pool", license="x")
    found = set()
    for item in loader.load(context):
        if isinstance(item, Row):
            parts = re.split(r"(?<=[.!?])\s+|(?<=[。！？；])|\n+", words(item.body))
            found.update(part.strip() for part in parts if 12 <= len(part.strip()) <= 400)
    return sorted(found)


def _corpus(folder: Path, rows: int, pools: Mapping[str, Sequence[str]]) -> int:
    """Write recipe and texts.parquet; returns the bytes of the text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE, "utf-8")
    schema = pa.schema([("id", pa.string()), ("language", pa.string()), ("text", pa.string())])
    held, batch = 0, list[tuple[str, str, str]]()
    with pq.ParquetWriter(folder / "texts.parquet", schema, compression="zstd") as file:
        for number, (language, text) in enumerate(_documents(rows, pools), start=1):
            batch.append((f"d{number}", language, text))
            if len(batch) == WRITTEN or number == rows:
                columns = [pa.array(column, pa.string()) for column in zip(*batch, strict=True)]
                held += columns[-1].nbytes
                file.write_table(pa.Table.from_arrays(columns, schema=schema))
                batch = []
    return held


def _documents(rows: int, pools: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Sentences put together anew; some documents repeat an earlier one, change a sentence of it, or are in no language."""
    dice = random.Random(11)
    recent: list[tuple[str, list[str]]] = []
    languages, shares = list(SHARES), list(SHARES.values())
    for _ in range(rows):
        luck = dice.random()
        if recent and luck < NEAR + EXACT:
            language, parts = dice.choice(recent)
            parts = list(parts)
            if luck < NEAR:
                parts[dice.randrange(len(parts))] = dice.choice(pools[language])
        else:
            (language,) = dice.choices(languages, shares)
            written = dice.choice(languages) if luck > 1 - FOREIGN else language
            most = 20 if 1 - FOREIGN - SHORT < luck <= 1 - FOREIGN else dice.uniform(*SIZES.get(written, (400, 1500)))
            parts = []
            while sum(map(len, parts)) < most:
                parts.append(dice.choice(pools[written]))
            recent.append((language, parts))
            if len(recent) > 10_000:
                recent[dice.randrange(10_000)] = recent.pop()
        yield language, ("" if language in ("zh", "ja") else " ").join(parts)


# --- a run ---


class _Run:
    """The command on a folder's recipe; it can be killed and started again."""

    def __init__(self, folder: Path, data: Path, name: str, *settings: str):
        self.folder, self.data, self.name, self.settings = folder, data, name, settings
        self.seconds = self.cpu = self.peak = 0.0  # bytes of all its processes, shared pages divided among them
        self.segments: list[tuple[str, float]] = []

    def start(self, limit: int | None = None) -> subprocess.Popen[str]:
        """The command, in a process of its own; ``limit`` in bytes for it and each of its children. Under a limit Arrow takes
        memory from the system, since its own allocator reserves a gigabyte of addresses and the limit counts them."""
        command = [sys.executable, "-m", "langmill.cli", "run", "recipe.yaml", "--until", "data", "--out", self.name]
        pool = {"ARROW_DEFAULT_MEMORY_POOL": "system"} if limit else {}
        for setting in self.settings:
            command += ["--set", setting]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(FACTORY_DATA=str(self.data), LANGMILL_HOME=str(self.folder / "home"), **pool),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )

    def go(self, limit: int | None = None) -> None:
        """Run to the end. Raises RuntimeError when it fails."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = self.start(limit)
        watch = threading.Thread(target=self._watch, args=(process,), daemon=True)
        watch.start()
        end = threading.Timer(PATIENCE, process.kill)
        end.start()
        lines: list[tuple[str, float]] = []
        for line in process.stderr or ():
            lines.append((line.strip(), time.monotonic() - began))
        code = process.wait()
        end.cancel()
        watch.join()
        self.seconds += time.monotonic() - began
        if code:
            raise RuntimeError(f"factory run ended with {code}:\n" + "\n".join(line for line, _ in lines[-20:]))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.segments = _lengths(lines, self.seconds)
        say(f"  {self.name}: {self.seconds:.1f} s, {self.peak / 1e6:,.0f} MB")

    def kill_after(self, seconds: float) -> bool:
        """Run for so long, then kill -9; whether it was still alive."""
        began, process = time.monotonic(), self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=seconds)
        alive = process.poll() is None
        process.kill()
        process.communicate()
        self.seconds += time.monotonic() - began
        return alive

    def _watch(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            self.peak = max(self.peak, sum(_memory(pid) for pid in _family(process.pid)))
            time.sleep(0.2)

    def output(self) -> dict[str, str]:
        """The files of data and of rejects, and their hashes."""
        found = {}
        for dataset in ("corpus", "exam"):
            for part in ("data", "rejected"):
                for path in sorted((self.folder / self.name / dataset / part).rglob("*.parquet")):
                    with path.open("rb") as handle:
                        name = str(path.relative_to(self.folder / self.name))
                        found[name] = file_digest(handle, "sha256").hexdigest()
        return found


def _lengths(lines: Sequence[tuple[str, float]], whole: float) -> list[tuple[str, float]]:
    """What a run said and how long it was until it said the next thing."""
    ends = [*(at for _, at in lines[1:]), whole]
    return [(line, end - at) for (line, at), end in zip(lines, ends, strict=True) if line and end - at >= 0.1]


def _family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                found.extend(map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split()))
    return found


def _memory(pid: int) -> int:
    """Bytes that a process holds, pages that it shares counted in part; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(found[1]) * 1024 if found else 0
