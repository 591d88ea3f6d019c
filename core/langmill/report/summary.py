"""What a run holds, in a few lines: data sets, stages, scores, money; and one row's family tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from langmill.disk.store import RunFolder
from langmill.errors import MissingInput
from langmill.parts import training
from langmill.recipe.assembly import Assembly
from langmill.rows import words


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
        {"data": facts["data"], "model": facts["model"], **score}
        for facts in store.evaluations().values()
        for score in facts["scores"]
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
    for stage, done in facts["stages"].items():
        told = training.result(store, stage).told if done else []
        losses = [f"{words} {ends.first:.3f} -> {ends.last:.3f}" for words, ends in told]
        yield f"stage {stage}: {', '.join(losses) or 'done' if done else 'not trained'}"
    yield from _score_lines(assembly, facts["scores"])
    if facts["left"]:
        yield left_words(facts["left"])
    if any(llm.demonstration for llm in assembly.models.values()):
        yield "the writing model is fit for demonstration only: this run shows the way through, not quality"
    yield f"report: {store.report}" if store.report.exists() else f"folder: {store.root}"


def left_words(left: Mapping[str, Any]) -> str:
    """What a run that stopped has left of the step it was at, and about what that costs."""
    money = f", about ${left['dollars']:.4f} more for this step" if left["dollars"] else ""
    spent = f" (${left['spent']:.4f} spent so far)" if left["spent"] else ""
    return f"left of {left['dataset']} {left['step']}: {left['rows']:,} of {left['of']:,} rows{money}{spent}"


def _score_lines(assembly: Assembly, scores: list[dict[str, Any]]) -> Iterator[str]:
    """A table per data set and metric: a line for each model, a column for each language."""
    for data, metric in dict.fromkeys((score["data"], score["metric"]) for score in scores):
        mine = [score for score in scores if score["data"] == data and score["metric"] == metric]
        columns = list(dict.fromkeys(score["language"] for score in mine))
        yield f"{data} {metric}, % right" + "".join(f"{column:>8}" for column in columns)
        order = ["base", *(stage.name for stage in assembly.stages)]
        models = sorted({score["model"] for score in mine}, key=lambda m: order.index(m) if m in order else len(order))
        for model in models:
            cells = {score["language"]: 100 * score["accuracy"] for score in mine if score["model"] == model}
            label = f"  {model}".ljust(len(f"{data} {metric}, % right"))
            yield label + "".join(f"{cells[column]:8.1f}" if column in cells else " " * 8 for column in columns)


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
