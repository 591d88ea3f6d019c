"""Real items planted in other wordings, layouts and languages: what the filters find of them, and what they wrongly take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

from bench.cases import EDITED, PACKS, SETS, Case, all_split, as_split, editions, edits, kept, layouts, load
from bench.section import Section, environment, say
from langmill.api import Chat, Choice, Drop, Row, StepContext, words
from langmill_plugins.filters.decontaminate import Decontaminate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


PIECE = 1000
INDEXED, LEAST_SPEED = 10_000, 30_000


def planted(quick: bool, work: Path, data: Path) -> Section:
    """Decontaminate on every case; exact and minhash on those that have one wording, by a run of the command."""
    section = Section("planted")
    sets = {name: load(make(), name, data) for name, make in SETS.items()}
    cases = [*kept(sets), *layouts(sets, data), *editions(sets), *edits(sets, EDITED // 3 if quick else EDITED)]
    rows: list[Sequence[object]] = []
    for case in cases:
        found = decontaminated(case.train, case.tests)
        right = len(found) if case.wanted else len(case.train) - len(found)
        kinds = Counter(drop.detail.partition(":")[0] for drop in found.values())
        rows.append((case.what, "found" if case.wanted else "kept", len(case.train), right,
                     ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())))  # fmt: skip
        section.goal(f"decontaminate, {case.what}: share right", right / max(1, len(case.train)), ">=", case.least)
        section.figures[case.what] = {"planted": len(case.train), "right": right, "evidence": dict(kinds)}
        say(f"  {case.what}: {right} of {len(case.train)}")
    section.table(("decontaminate", "should be", "planted", "right", "evidence"), rows)
    total = sum(len(case.train) for case in cases)
    section.lines.append(f"{total:,} cases planted")
    section.goal("cases planted", total, ">=", 1000 if quick else 2000)
    _speed(section, sets)
    _near(section, cases, work)
    return section


# --- the filter as the core runs it -----------------------------------------------------------------------------------


class _Held:
    """The facts of signed rows, at hand."""

    held = 0

    def __init__(self, table: pa.Table):
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def take(self, positions: npt.NDArray[np.int64]) -> pa.Table:
        """The facts at these positions."""
        import pyarrow as pa

        return self.table.take(pa.array(positions))


def decontaminated(train: Sequence[Row], tests: Sequence[Row]) -> dict[str, Drop]:
    """What decontaminate drops of train rows that are held against test rows, by id."""
    import numpy as np
    import pyarrow as pa

    context = _context(tests)
    part = Decontaminate(against="tests")
    signed = [part.sign(train[start : start + PIECE], context) for start in range(0, len(train), PIECE)]
    keys = np.concatenate([one.keys.column("key").to_numpy() for one in signed])
    order = np.argsort(keys, kind="stable")
    shared = np.isin(keys[order], [key for key, n in Counter(keys.tolist()).items() if n > 1])
    bucket = pa.record_batch({"key": pa.array(keys[order][shared]), "position": pa.array(order[shared])})
    facts = _Held(pa.Table.from_batches([one.facts for one in signed]))
    return {train[position].id: drop for position, drop in part.decide(iter([bucket]), facts, context)}


def _context(tests: Sequence[Row]) -> StepContext:
    return StepContext(
        "datasets.x.steps[0]", 17, PACKS, Path(), rows=lambda name, split: iter(tests if split == "test" else ())
    )


def _speed(section: Section, sets: dict[str, list[Row]]) -> None:
    """Rows a second of CPU of one core that holds short exam items against 10,000 test rows."""
    tests = [*sets["headqa"], *sets["five"], *sets["cmmlu"]][:INDEXED]
    train = [as_split(row, "train", "y") for name in ("medmcqa", "french") for row in sets[name]] * 2
    context, part = _context(all_split(tests, "test")), Decontaminate(against="tests")
    part.sign(train[:1], context)  # reads the test rows and compiles
    began = process_time()
    for start in range(0, len(train), PIECE):
        part.sign(train[start : start + PIECE], context)
    speed = len(train) / (process_time() - began)
    characters = sum(len(words(row.body)) for row in train) / len(train)
    section.figures["rows_per_cpu_second"] = speed
    section.lines.append(
        f"{speed:,.0f} rows of {characters:.0f} characters per CPU-second against {len(tests):,} test rows"
    )
    section.goal("decontaminate, rows per CPU-second, short items", speed, ">=", LEAST_SPEED)


# --- near-duplicates, by the command ----------------------------------------------------------------------------------

RECIPE = """\
name: planted
languages: [en, zh, ja, ko, fr, es, ru]
sources:
  chat: {use: table, path: chat.jsonl, body: chat, license: x}
  choice: {use: table, path: choice.jsonl, body: choice, license: x}
datasets:
  same: {from: [chat, choice], steps: [{use: exact}]}
  near: {from: [chat, choice], steps: [{use: minhash}]}
"""
NEAR = ("same question, another answer", "same stem, other options", "four options for five", "edited: capitals",
        "edited: full-width letters")  # fmt: skip


def _near(section: Section, cases: Sequence[Case], work: Path) -> None:
    """Planted rows dropped by exact and minhash; those with other letters alone are wanted by both."""
    rows: list[Sequence[object]] = []
    for case in cases:
        if not case.what.startswith(NEAR):
            continue
        folder = work / re.sub(r"\W+", "-", case.what)
        dropped = _run(folder, case)
        for step, ids in dropped.items():
            kept = len(case.train) - len(ids)
            right = len(ids) if case.wanted else kept
            rows.append((case.what, step, "found" if case.wanted else "kept", len(case.train), right))
            section.figures[f"{step}, {case.what}"] = {"planted": len(case.train), "right": right}
            if step == "minhash" or not case.what.startswith("four"):  # an option more is another wording
                section.goal(f"{step}, {case.what}: share right", right / max(1, len(case.train)), ">=", case.least)
    section.lines.append("")
    section.table(("near-duplicates", "filter", "should be", "planted", "right"), rows)


def _run(folder: Path, case: Case) -> dict[str, set[str]]:
    """The planted rows that each filter drops. Raises RuntimeError with the command's last words."""
    from langmill.disk.store import RunFolder

    folder.mkdir()
    files = {kind: (folder / f"{kind}.jsonl").open("w", encoding="utf-8") for kind in ("chat", "choice")}
    names: dict[str, str] = {}
    for number, row in enumerate([*case.tests, *case.train]):
        names[f"{row.body.kind}/{number}"] = row.id
        files[row.body.kind].write(json.dumps({"id": str(number), **_record(row)}, ensure_ascii=False) + "\n")
    for file in files.values():
        file.close()
    recipe = "\n".join(
        line
        for line in RECIPE.splitlines()
        if "jsonl" not in line or (folder / f"{line.split(':')[0].strip()}.jsonl").stat().st_size
    )
    full = [kind for kind in files if (folder / f"{kind}.jsonl").stat().st_size]
    (folder / "planted.yaml").write_text(recipe.replace("[chat, choice]", f"[{', '.join(full)}]"), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "langmill.cli", "run", "planted.yaml"],
        cwd=folder, env=environment(LANGMILL_HOME=str(folder / "home")), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the run of '{case.what}' ended with {done.returncode}:\n{done.stderr[-2000:]}")
    train = {row.id for row in case.train}
    found = {}
    for dataset, step in (("same", "exact"), ("near", "minhash")):
        rejects = RunFolder(folder / "runs/planted").rejects(dataset)
        dropped = {names[f"{reject.source}/{reject.record}"] for reject in rejects if ".steps" in reject.step}
        found[step] = dropped & train
    return found


def _record(row: Row) -> dict[str, object]:
    """A row as a line that the loader table reads."""
    known = {"language": row.language, "split": row.split, "family": row.family}
    if isinstance(row.body, Choice):
        answer = [chr(ord("A") + index) for index in row.body.answers]
        extra = {"explanation": row.body.explanation, "context": row.body.context}
        return {**known, "question": row.body.question, "options": list(row.body.options), "answer": ",".join(answer),
                **{name: text for name, text in extra.items() if text}}  # fmt: skip
    assert isinstance(row.body, Chat)
    return {**known, "question": row.body.question, "answer": row.body.answer}
