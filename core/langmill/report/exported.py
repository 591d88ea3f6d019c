"""What goes with a model or an evaluation that leaves the run's folder: its card, and whether a model is a demonstration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from langmill import __version__
from langmill.api import Row, Stage
from langmill.disk.store import RunFolder
from langmill.disk.whole import write_json
from langmill.licensing.carried import of_stage
from langmill.licensing.licenses import strictest, terms
from langmill.parts.training import result
from langmill.recipe.assembly import Assembly
from langmill.report.cards import NOT_FOR_CARE, base_named, stages_behind, writers_of
from langmill.report.counts import count
from langmill.report.pages import page
from langmill.yaml12 import dump


def demonstration(assembly: Assembly, store: RunFolder, stage: Stage) -> list[str]:
    """Why a trained stage is a demonstration, in words; empty when it is none."""
    reasons = []
    if assembly.trainer and _base_is_demonstration(assembly, store, stage):
        reasons.append(f"its base {base_named(assembly.trainer.base)} is a demonstration model")
    for name in _data(assembly, stage):
        rows = count(store, name, "train").demonstration.total()
        if rows:
            reasons.append(f"{rows:,} train rows of '{name}' were written by a demonstration model")
    return reasons


def licenses_of(assembly: Assembly, store: RunFolder, stage: Stage) -> list[str]:
    """Those of the rows that a trained stage and all before it learnt from, the base as far as that is told: as the rows are now, and
    as they were then."""
    rows = {license for name in _data(assembly, stage) for license in count(store, name, "train").every_license}
    return sorted({*rows, *of_stage(store, stage.name)})


def export_card(assembly: Assembly, store: RunFolder, stage: Stage, about: str, use: str) -> str:
    """The README.md beside an exported model. ``about`` says what was written, ``use`` (Markdown) how to use it."""
    assert assembly.trainer is not None
    counted = {name: count(store, name, "train") for name in _data(assembly, stage)}
    licenses = licenses_of(assembly, store, stage)
    reasons = demonstration(assembly, store, stage)
    base = base_named(assembly.trainer.base)
    front = {
        "base_model": base,
        "pipeline_tag": "text-generation",
        "language": sorted({language for counts in counted.values() for language in counts.languages}),
        "license": "other",
        "license_name": ", ".join(licenses) or "none",
        "tags": ["langmill", *(["demonstration"] if reasons else [])],
    }
    stages = stages_behind(assembly, stage)
    return page(
        "export_card.md.jinja",
        front=dump(front),
        recipe=assembly.recipe,
        stage=stage,
        stages=stages,
        about=about,
        use=use,
        base=base,
        identity=result(store, stage.name).base_identity,
        demonstration=reasons,
        counted=counted,
        licenses=[terms(license) for license in licenses],
        strictest=strictest(licenses),
        writers=writers_of(assembly, counted.values()),
        trained=_trained(store, stage),
        not_for_care=NOT_FOR_CARE,
        version=__version__,
    )


def evaluation_card(
    assembly: Assembly, name: str, data: str, model: str | None, rows: Sequence[Row], about: str, use: str
) -> str:
    """The README.md beside an exported evaluation: its rows and their licences. ``model`` gave the answers, None where it is the
    questions alone; ``about`` says what was written, ``use`` (Markdown) how to use it."""
    carrying = Counter(license for row in rows for license in row.origin.licenses)
    return page(
        "evaluation_card.md.jinja",
        recipe=assembly.recipe,
        name=name,
        data=data,
        model=model,
        about=about,
        use=use,
        languages=sorted(Counter(row.language for row in rows).items()),
        carrying=carrying,
        licenses=[terms(license) for license in sorted(carrying)],
        strictest=strictest(carrying),
        version=__version__,
    )


def mark(folder: Path, reasons: Sequence[str], licenses: Sequence[str]) -> None:
    """Say in ``langmill.json`` beside an exported model whether it is a demonstration and under which licences it learnt, for whoever
    begins with that model. What its trainer wrote there stays, and so does its word that it is one."""
    path = folder / "langmill.json"
    told = json.loads(path.read_text("utf-8")) if path.exists() else {}
    write_json(path, {**told, "demonstration": bool(reasons or told.get("demonstration")), "licenses": list(licenses)})


def _base_is_demonstration(assembly: Assembly, store: RunFolder, stage: Stage) -> bool:
    """As the stage's figures have it. Where they do not say, or were deleted, the trainer is asked for the base itself."""
    told = result(store, stage.name).base_is_demonstration
    if told is None and assembly.trainer:
        return assembly.trainer.open(None, assembly.context("export")).demonstration
    return bool(told)


def _data(assembly: Assembly, stage: Stage) -> list[str]:
    """The data sets that a stage and those before it learned from."""
    return list(dict.fromkeys(one.data for one in stages_behind(assembly, stage)))


def _trained(store: RunFolder, stage: Stage) -> str:
    """The stage's own card below its title, without the part on the use of its folder."""
    path = store.stage_card(stage.name)
    if not path.exists():
        return ""
    _, _, body = path.read_text("utf-8").removeprefix("---\n").partition("\n---\n")
    _, _, body = body.partition("\n## ")
    return "## " + body.partition("\n## Use\n")[0].strip() if body else ""
