"""report.html: one page a person can read from the sources to the result. No script, nothing fetched, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from langmill import __version__
from langmill.disk.store import RunFolder
from langmill.disk.whole import write_text
from langmill.ledger.ledger import Usage
from langmill.parts.languages import Pack
from langmill.parts.training import result, smoothed
from langmill.recipe.assembly import Assembly
from langmill.report.cards import NOT_FOR_CARE, language_names, source_facts, stages_behind
from langmill.report.charts import Series, interval_bar, line_chart, share_bar
from langmill.report.counts import Counts, Step, checks, count, funnel, guarding, sample_rows, unchecked
from langmill.report.licenses import strictest
from langmill.report.pages import page
from langmill.rows import Choice, Reject, Row

if TYPE_CHECKING:
    from markupsafe import Markup

REJECT_SAMPLES = 2
_RIGHT_TO_LEFT = {"Adlm", "Arab", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"}
_LOOKS = ("base", "first", "second", "third", "fourth")


def write_report(assembly: Assembly, store: RunFolder) -> None:
    """Write the run's page from what lies in its folder; what is not there yet is left out or said to be missing."""
    datasets = [_dataset(assembly, store, name) for name in assembly.datasets if store.dataset_facts(name)]
    manifest = store.read_json("manifest.json") or {}
    text = page(
        "report.html.jinja",
        recipe=assembly.recipe,
        version=__version__,
        now=datetime.now(UTC),
        seconds=manifest.get("seconds"),
        not_for_care=NOT_FOR_CARE,
        names=language_names(assembly, list(assembly.packs)),
        native={code: pack.identity.native_name for code, pack in assembly.packs.items()},
        directions={code: _direction(pack) for code, pack in assembly.packs.items()},
        datasets=datasets,
        unfinished=[name for name in assembly.datasets if not store.dataset_facts(name)],
        demonstration=sum(item["counts"].demonstration.total() for item in datasets),
        written=sum(item["counts"].total for item in datasets),
        stages=[_stage(assembly, store, stage.name) for stage in assembly.stages],
        evaluations=_evaluations(assembly, store),
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
        "strictest": strictest(counts.every_license),
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
    return {
        "name": name,
        "stage": stage,
        "done": store.read_json(f"train/{name}/stage.json"),
        "result": result(store, name),
        "plot": line_chart(series, f"loss of stage {name} over its steps"),
        "series": [item for item in series if item.points],
        "behind": [one.name for one in stages_behind(assembly, stage)][:-1],
        "card": store.stage_card(name).relative_to(store.root).as_posix(),
    }


def _evaluations(assembly: Assembly, store: RunFolder) -> list[dict[str, Any]]:
    """Figures grouped by what was asked and how; within a group the base comes first, then the stages in order."""
    order = ["base", *(stage.name for stage in assembly.stages)]
    groups: dict[tuple[str, str, str, str], dict[str, dict[str, Any]]] = {}
    for facts in store.evaluations().values():
        for score in facts["scores"]:
            key = (facts["data"], facts.get("split", "test"), facts["use"], score["metric"])
            groups.setdefault(key, {}).setdefault(facts["model"], {})[score["language"]] = score
    found = []
    for (data, split, use, metric), scores in groups.items():
        models = sorted(scores, key=lambda model: (order.index(model) if model in order else len(order), model))
        languages = list(dict.fromkeys(language for model in models for language in scores[model]))
        languages.sort(key=lambda language: (language not in assembly.packs, language))
        looks = {model: _LOOKS[min(index, len(_LOOKS) - 1)] for index, model in enumerate(models)}
        bars = {
            (language, model): _bar(model, language, score, looks[model])
            for model in models
            for language, score in scores[model].items()
        }
        found.append(
            {
                "data": data,
                "split": split,
                "use": use,
                "metric": metric,
                "models": models,
                "looks": looks,
                "languages": languages,
                "scores": scores,
                "bars": bars,
                "comparisons": [_compared(scores, first, second, languages) for first, second in _pairs(models, order)],
            }
        )
    return found


def _bar(model: str, language: str, score: Mapping[str, Any], look: str) -> Markup:
    value, (low, high) = score["accuracy"], score["interval"]
    title = f"{model}, {language}: {value:.3f} ({low:.3f} to {high:.3f})"
    return interval_bar(value, low, high, score["chance"], look, title)


def _pairs(models: Sequence[str], order: Sequence[str]) -> list[tuple[str, str]]:
    """Which models are worth comparing: each stage with the base, and with the stage before it."""
    trained = [model for model in models if model in order[1:]]
    with_base = [("base", model) for model in trained] if "base" in models else []
    return list(dict.fromkeys([*with_base, *pairwise(trained)]))


def _compared(
    scores: Mapping[str, Mapping[str, Any]], first: str, second: str, languages: Sequence[str]
) -> dict[str, Any]:
    """Where the second model's interval lies above, below or over the first's."""
    found: dict[str, list[str]] = {"higher": [], "lower": [], "open": []}
    for language in languages:
        before, after = scores[first].get(language), scores[second].get(language)
        if before is None or after is None:
            continue
        if after["interval"][0] > before["interval"][1]:
            found["higher"].append(language)
        elif after["interval"][1] < before["interval"][0]:
            found["lower"].append(language)
        else:
            found["open"].append(language)
    return {"first": first, "second": second, **found}


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
