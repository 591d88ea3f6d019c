"""report.html: one page a person can read from the sources to the result. No script, nothing fetched, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langmill import __version__
from langmill.api import Score
from langmill.disk.store import RunFolder
from langmill.disk.whole import write_text
from langmill.ledger.ledger import Usage
from langmill.licensing.licenses import conflicts, strictest
from langmill.parts.evaluation import ALL
from langmill.parts.languages import Pack
from langmill.parts.training import result, smoothed
from langmill.recipe.assembly import Assembly
from langmill.report.cards import NOT_FOR_CARE, language_names, source_facts, stages_behind, writers_of
from langmill.report.charts import Dot, Series, dot_lines, line_chart, scale, share_bar, shares, thinned
from langmill.report.counts import Counts, Step, checks, count, funnel, guarding, sample_rows, unchecked
from langmill.report.pages import page
from langmill.report.scores import ALL_LANGUAGES, Evaluation, Figures, against_chance, evaluations
from langmill.report.ways import ways
from langmill.rows import Choice, Reject, Row

if TYPE_CHECKING:
    from markupsafe import Markup

REJECT_SAMPLES = 2
MIX_ROWS = 11  # of the table beside the chart of sources
_RIGHT_TO_LEFT = {"Adlm", "Arab", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"}
_LOOKS = ("base", "first", "second", "third", "fourth", "fifth", "other")


def write_report(assembly: Assembly, store: RunFolder) -> None:
    """Write the run's page from what lies in its folder; what is not there yet is left out or said to be missing."""
    datasets = [_dataset(assembly, store, name) for name in assembly.datasets if store.dataset_facts(name)]
    manifest = store.read_json("manifest.json") or {}
    names = language_names(assembly, list(assembly.packs))
    scored = evaluations(assembly, store)
    text = page(
        "report.html.jinja",
        recipe=assembly.recipe,
        version=__version__,
        now=datetime.now(UTC),
        seconds=manifest.get("seconds"),
        not_for_care=NOT_FOR_CARE,
        names=names,
        native={code: pack.identity.native_name for code, pack in assembly.packs.items()},
        directions={code: _direction(pack) for code, pack in assembly.packs.items()},
        datasets=datasets,
        unfinished=[name for name in assembly.datasets if not store.dataset_facts(name)],
        demonstration=sum(item["counts"].demonstration.total() for item in datasets),
        written=sum(item["counts"].total for item in datasets),
        stages=[_stage(assembly, store, stage.name) for stage in assembly.stages],
        name_of=lambda code: names.get(code, ALL_LANGUAGES if code == ALL else code),
        against_chance=against_chance,
        evaluations=[_evaluation(one, names) for one in scored],
        ways=ways(assembly, store, scored),
        differing={name: one["difference"] for name, one in (manifest.get("read") or {}).items() if one["difference"]},
        money=_money(manifest.get("calls")),
        lock=store.recipe_lock.name,
    )
    write_text(store.report, text)


def _direction(pack: Pack) -> str:
    return "rtl" if _RIGHT_TO_LEFT & set(pack.identity.scripts) else "ltr"


# --- data sets --------------------------------------------------------------------------------------------------------


def _dataset(assembly: Assembly, store: RunFolder, name: str) -> dict[str, Any]:
    plan = assembly.datasets[name]
    facts = store.dataset_facts(name) or {}
    counts = count(store, name)
    steps = funnel(plan, facts)
    rows = sample_rows(store, name, [id for ids in counts.samples.values() for id in ids])
    return {
        "name": name,
        "plan": plan,
        "counts": counts,
        "columns": _columns(assembly, counts, steps),
        "steps": [{"step": step, "bar": _step_bar(step)} for step in steps],
        "earlier": [
            {"name": one, "rows": sum(file["rows"] for file in earlier["files"].values())}
            for one in plan.inputs
            if one in assembly.datasets and (earlier := store.dataset_facts(one))
        ],
        "sources": source_facts(assembly, counts),
        "tables": [table for _, part in plan.write for table in part.tables(store.dataset(name))],
        "strictest": strictest(counts.every_license),
        "conflicts": conflicts(counts.every_license),
        "writers": writers_of(assembly, [counts]),
        "guards": guarding(assembly, name),
        "checks": checks(assembly, store, name),
        "unchecked": unchecked(assembly, name),
        "samples": {
            code: [_shown(assembly, rows[id]) for id in ids if id in rows] for code, ids in counts.samples.items()
        },
        "rejects": _reject_samples(store, name),
        "card": store.card(name).relative_to(store.root).as_posix(),
        "folder": store.dataset(name).relative_to(store.root).as_posix(),
    }


def _columns(assembly: Assembly, counts: Counts, steps: Sequence[Step]) -> dict[str, list[str]]:
    """The table's columns: the recipe's languages, then all others together, where there are such."""
    columns = {code: [code] for code in sorted(assembly.packs)}
    others = sorted({code for step in steps for code in step.counts} - set(columns))
    return {**columns, "other": others} if others else columns


def _step_bar(step: Step) -> Markup:
    kept, made = step.total("kept"), step.total("made")
    left = max(0, step.total("read") - kept)
    title = f"{kept} kept, {made} made, {left} left"
    return share_bar({"kept": kept, "made": made, "left": left}, kept + made + left, title)


def _shown(assembly: Assembly, row: Row) -> dict[str, Any]:
    """A row as the page shows it; options carry their letters and whether they are right."""
    options = []
    if isinstance(row.body, Choice):
        pack = assembly.packs.get(row.language)
        letters = pack.choice.letters if pack and pack.choice else ()
        for index, text in enumerate(row.body.options):
            letter = letters[index] if index < len(letters) else str(index + 1)
            options.append({"letter": letter, "text": text, "right": index in row.body.answers})
    return {"row": row, "body": row.body, "options": options}


def _reject_samples(store: RunFolder, name: str) -> list[dict[str, Any]]:
    """A few rejects of each step and reason, with how many there are."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for reject in store.rejects(name):
        group = found.setdefault((reject.step, reject.reason), {"n": 0, "rejects": []})
        group["n"] += 1
        shown: list[Reject] = group["rejects"]
        languages = {one.language for one in shown}
        if len(shown) < REJECT_SAMPLES:
            shown.append(reject)
        elif len(languages) == 1 and reject.language not in languages:
            shown[-1] = reject
    return [{"step": step, "reason": reason, **group} for (step, reason), group in found.items()]


# --- training and scores ----------------------------------------------------------------------------------------------


def _stage(assembly: Assembly, store: RunFolder, name: str) -> dict[str, Any]:
    stage = next(stage for stage in assembly.stages if stage.name == name)
    log = store.train_log(name)
    found: dict[str, list[tuple[float, float]]] = {}
    for split, keys in (("train", ("loss",)), ("dev", ("dev_loss", "eval_loss"))):
        found[split] = [
            (float(line["step"]), float(line[key]))
            for line in log
            for key in keys
            if isinstance(line.get("step"), int | float) and isinstance(line.get(key), int | float)
        ]
    series = [
        Series("train loss, each step", "raw", found["train"]),
        Series("train loss, smoothed", "first", smoothed(found["train"])),
        Series("validation loss", "second", found["dev"], dots=True),
    ]
    told = result(store, name)
    sources = shares(told.mix.ends, told.mix.draws) if told.mix else []
    return {
        "name": name,
        "stage": stage,
        "done": store.read_json(f"train/{name}/stage.json"),
        "result": told,
        "plot": line_chart(series, f"loss of stage {name} over its steps"),
        "series": [item for item in series if item.points],
        "mix": line_chart(sources, _mix_title(name, sources), share=True),
        "sources": [line._replace(points=thinned(line.points, MIX_ROWS)) for line in sources],
        "behind": [one.name for one in stages_behind(assembly, stage)][:-1],
        "card": store.stage_card(name).relative_to(store.root).as_posix(),
    }


def _mix_title(stage: str, sources: Sequence[Series]) -> str:
    """The chart of sources in words."""
    told = ", ".join(
        f"{line.name} from {line.points[0][1]:.0%} over {max(y for _, y in line.points):.0%} at the most to {line.points[-1][1]:.0%}"
        for line in sources
    )
    return f"share of each source in what stage {stage} learns from, over its steps: {told}"


def _evaluation(evaluation: Evaluation, names: Mapping[str, str]) -> dict[str, Any]:
    """An evaluation as the page shows it, drawings made."""
    looks = {model: _LOOKS[min(index, len(_LOOKS) - 1)] for index, model in enumerate(evaluation.models)}
    unreadable: dict[tuple[str, str], Score] = {}
    for figures in evaluation.figures:
        unreadable |= figures.unreadable()
    return {
        "of": evaluation,
        "looks": looks,
        "figures": [_drawn(figures, looks, names) for figures in evaluation.figures],
        "unreadable": [
            (language, model, score, share_bar({"left": score.unreadable}, score.n, f"{score.unreadable} of {score.n}"))
            for (language, model), score in sorted(unreadable.items())
        ],
    }


def _drawn(figures: Figures, looks: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    """One metric: a band of dots for each language, all on one scale."""
    ends = [end for score in figures.scores.values() for end in (score.value, *score.interval) if math.isfinite(end)]
    chances = [score.chance for score in figures.scores.values() if score.chance is not None]
    across = scale([*ends, *chances] or [0.0], share=figures.share, logarithm=figures.metric.kind == "exp")
    bands = []
    for language in figures.languages:
        dots, chance = [], None
        for model in figures.models:
            score = figures.scores.get((language, model))
            if score is None or not all(map(math.isfinite, (score.value, *score.interval))):
                continue
            chance = score.chance
            said = f"{model} {figures.shown(score.value)}{figures.unit} ({figures.interval(score.interval)})"
            dots.append(Dot(score.value, *score.interval, looks[model], said))
        title = f"{names.get(language, ALL_LANGUAGES)}: " + ", ".join(dot.title for dot in dots)
        if chance is not None:
            title += f"; chance {figures.shown(chance)}{figures.unit}"
        bands.append((language, dot_lines(dots, across, chance, title)))
    marks = [
        (round(across.place(mark), 2), f"{100 * mark:g} %" if figures.share else f"{mark:g}") for mark in across.marks
    ]
    return {"of": figures, "bands": bands, "marks": marks, "chance": bool(chances)}


# --- money ------------------------------------------------------------------------------------------------------------


def _money(calls: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """What the ledger says of this run, by model and step."""
    uses = [Usage(**call) for call in calls or ()]
    return {
        "uses": uses,
        "calls": sum(use.calls for use in uses),
        "cached": sum(use.cached for use in uses),
        "failed": sum(use.failed for use in uses),
        "prompt_tokens": sum(use.prompt_tokens for use in uses),
        "answer_tokens": sum(use.answer_tokens for use in uses),
        "cost": sum(use.cost for use in uses),
        "priced": all(use.priced for use in uses),
    }
