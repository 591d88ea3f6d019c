"""What a run holds, in a few lines: data sets, stages, scores, money; and one row's family tree."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langmill.disk.store import RunFolder
from langmill.disk.tables import read_rejects
from langmill.errors import MissingInput
from langmill.parts import training
from langmill.parts.evaluation import ALL
from langmill.recipe.assembly import Assembly
from langmill.report.scores import Evaluation, Figures, evaluations
from langmill.report.ways import ways
from langmill.rows import words

WIDTH = 100  # of a line, which a terminal shows whole


def summary(assembly: Assembly, store: RunFolder) -> dict[str, Any]:
    """The run as plain data: what is finished, and what of the recipe is not."""
    datasets: dict[str, Any] = {}
    for name in assembly.datasets:
        facts = store.dataset_facts(name)
        if facts is None:
            datasets[name] = None
            continue
        rows: Counter[str] = Counter()
        for file in facts["files"].values():
            rows[file["language"]] += file["rows"]
        rejected: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        for segment in facts["funnel"]:
            for counts in segment["counts"].values():
                for what, n in counts.items():
                    kind, _, reason = what.partition(":")
                    if kind == "rejected":
                        rejected[reason] += n
                    elif kind == "skipped":
                        skipped[reason] += n
        datasets[name] = {"rows": dict(rows), "rejected": dict(rejected), "skipped": dict(skipped)}
    stages = {stage.name: store.read_json(f"train/{stage.name}/stage.json") is not None for stage in assembly.stages}
    scores = [
        {"name": evaluation.name, "data": evaluation.any["data"], "model": model, **score}
        for evaluation in evaluations(assembly, store)
        for model, its in evaluation.facts.items()
        for score in its["scores"]
    ]
    calls = (store.read_json("manifest.json") or {}).get("calls")
    done = {"datasets": datasets, "stages": stages, "scores": scores, "calls": calls}
    return {"folder": str(store.root), **done, "left": store.left}


def summary_lines(assembly: Assembly, store: RunFolder) -> Iterator[str]:
    """The same for people."""
    facts = summary(assembly, store)
    yield ""
    for name, data in facts["datasets"].items():
        if data is None:
            yield f"{name}: not finished"
            continue
        per_language = "  ".join(f"{language} {n:,}" for language, n in data["rows"].items())
        yield f"{name}: {sum(data['rows'].values()):,} rows   {per_language}"
        for what in ("rejected", "skipped"):
            if data[what]:
                listed = ", ".join(
                    f"{reason} {n:,}" for reason, n in sorted(data[what].items(), key=lambda item: -item[1])
                )
                yield f"  {what}: {listed}"
        yield from _first_rejects(store, name)
    for stage, done in facts["stages"].items():
        told = training.result(store, stage).told if done else []
        losses = [f"{words} {ends.first:.3f} -> {ends.last:.3f}" for words, ends in told]
        yield f"stage {stage}: {', '.join(losses) or 'done' if done else 'not trained'}"
    found = evaluations(assembly, store)
    yield from score_lines(found)
    if side_by_side := ways(assembly, store, found):
        yield "ways side by side"
        yield from side_by_side.lines()
    if facts["left"]:
        yield left_words(facts["left"])
    if any(llm.demonstration for llm in assembly.models.values()):
        yield "the writing model is fit for demonstration only: this run shows the way through, not quality"
    yield f"report: {store.report}" if store.report.exists() else f"folder: {store.root}"


def _first_rejects(store: RunFolder, dataset: str) -> Iterator[str]:
    """Of each source with rejects the first one: its detail says what a count can not."""
    told = set()
    for path in sorted((store.dataset(dataset) / "rejected").glob("*-read-*.parquet")):
        first = next(iter(read_rejects(path)), None)
        if first and first.source not in told:
            told.add(first.source)
            detail = f": {first.detail}" if first.detail else ""
            yield from _wrapped(f"{first.source}, the first reject: {first.record}: {first.reason}{detail}", "  ")


def left_words(left: Mapping[str, Any]) -> str:
    """What a run that stopped has left of the step it was at, and about what that costs."""
    money = f", about ${left['dollars']:.4f} more for this step" if left["dollars"] else ""
    spent = f" (${left['spent']:.4f} spent so far)" if left["spent"] else ""
    return f"left of {left['dataset']} {left['step']}: {left['rows']:,} of {left['of']:,} {left.get('unit', 'rows')}{money}{spent}"


def score_lines(found: Sequence[Evaluation]) -> Iterator[str]:
    """Every evaluation and metric as a table, models down, languages across, at most WIDTH wide; then what it says in words."""
    for evaluation in found:
        for figures in evaluation.figures:
            unit, about = ", %" if figures.share else "", f": {figures.metric.about}" if figures.metric.about else ""
            lower = " (lower is better)" if figures.metric.better == "lower" else ""
            yield from _wrapped(f"{evaluation.name} {figures.name}{unit}{about}{lower}", "")
            yield from _table(figures)
            for line in _remarks(figures):
                yield from _wrapped(line, "  ")
        for title, model, said in evaluation.always_same(str):
            yield from _wrapped(f"{model} says nearly always the same, whatever it is asked ({title}): {said}", "  ")
        for model, since in evaluation.stale.items():
            yield f"{evaluation.name}: {model} {since} after it was scored: factory run FOLDER --only eval"
        for first, other, pins in evaluation.differing():
            yield from _wrapped(f"{evaluation.name}: {other} was not examined as {first} was: {pins} differ", "")


def _table(figures: Figures) -> Iterator[str]:
    """Each figure with the farther end of its interval as ±, where that fits; else the interval of the last column alone, and
    as many lines as the languages need."""
    chances = {language: score.chance for (language, _), score in figures.scores.items() if score.chance is not None}
    plain = {place: figures.shown(score.value) for place, score in figures.scores.items()}
    plain |= {(language, "chance"): figures.shown(chance) for language, chance in chances.items()}
    far = {
        place: "±" + figures.shown(max(score.value - score.interval[0], score.interval[1] - score.value))
        for place, score in figures.scores.items()
    }
    tail = max(map(len, far.values()))
    full = {place: text + far.get(place, "").ljust(tail) for place, text in plain.items()}
    rows = (*figures.models, *(["chance"] if chances else []))
    label, last = max(map(len, rows)) + 2, figures.languages[-1]
    cells, ends = full, {}
    if label + (max(map(len, full.values())) + 2) * len(figures.languages) > WIDTH:
        cells = plain
        ends = {model: f"   {figures.interval(figures.scores[last, model].interval)}" for model in figures.models}
    column = max(map(len, (*cells.values(), *figures.languages))) + 2
    each = max(1, (WIDTH - label - max(map(len, ends.values()), default=0)) // column)
    for start in range(0, len(figures.languages), each):
        languages = figures.languages[start : start + each]
        heads = [language.rjust(column - (tail if cells is full else 0)).ljust(column) for language in languages]
        yield (" " * label + "".join(heads) + (f"   95% of {last}" if ends and last in languages else "")).rstrip()
        for row in rows:
            line = f"  {row}".ljust(label) + "".join(
                cells.get((language, row), "").rjust(column) for language in languages
            )
            yield (line + (ends.get(row, "") if last in languages else "")).rstrip()


def _remarks(figures: Figures) -> Iterator[str]:
    """In words: what could not be read, what guessing would have got as well, and the paired tests."""
    lost: dict[str, list[str]] = {}
    for (language, model), score in figures.unreadable().items():
        lost.setdefault(model, []).append(f"{language} {score.unreadable:,} of {score.n:,}")
    for model, places in lost.items():
        yield f"{model}: not readable {', '.join(places)}"
    for models, said in figures.beside_chance(str):
        yield f"{models}: {said}"
    for pair in figures.pairs:
        over = pair.by_language.get(ALL)
        more = f"; over all: {figures.verdict(over)}" if over and len(pair.by_language) > 1 else ""
        left = f" ({pair.unmatched})" if pair.unmatched else ""
        yield f"{pair.second} against {pair.first}: {pair.words(str)}{more}{left}"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)


def lineage(assembly: Assembly, store: RunFolder, row_id: str) -> Iterator[str]:
    """Every row and reject whose id begins with ``row_id`` or from which it was made, with origin and text. Raises
    MissingInput when there is none."""
    found = False
    for name in assembly.datasets:
        if store.dataset_facts(name) is None:
            continue
        for row in store.rows(name):
            if not (row.id.startswith(row_id) or row_id.startswith(f"{row.id}/")):
                continue
            found = True
            yield f"{name}: {row.id}   {row.language}, {row.split}, licence {' + '.join(row.origin.licenses)}"
            for mark in row.origin.marks:
                yield f"    {mark.step}: {mark.model}, prompt {mark.prompt}, call {mark.call[:16]}"
            if row.flags:
                yield f"    flags: {', '.join(row.flags)}"
            yield "    " + words(row.body).replace("\n", "\n    ")
        for reject in store.rejects(name):
            id = reject.row.id if reject.row else f"{reject.source}/{reject.record}"
            if id.startswith(row_id) or row_id.startswith(f"{id}/"):
                found = True
                yield f"{name}: {id}   rejected at {reject.step}: {reject.reason} {reject.detail}"
                yield "    " + reject.excerpt.replace("\n", "\n    ")
    if not found:
        raise MissingInput(
            f"{store.root}: no row or reject begins with '{row_id}'. Ids are in the data files' column id"
        )
