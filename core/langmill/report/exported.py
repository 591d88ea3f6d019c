"""What goes with a model that leaves the run's folder: its card, and whether it is a demonstration."""

from __future__ import annotations

from pathlib import PurePath

from langmill import __version__
from langmill.api import Stage
from langmill.disk.store import RunFolder
from langmill.parts.training import result
from langmill.recipe.assembly import Assembly
from langmill.report.cards import NOT_FOR_CARE, stages_behind
from langmill.report.counts import count
from langmill.report.licenses import strictest, terms
from langmill.report.pages import page
from langmill.yaml12 import dump


def demonstration(assembly: Assembly, store: RunFolder, stage: Stage) -> list[str]:
    """Why a trained stage is a demonstration, in words; empty when it is none."""
    reasons = []
    if assembly.trainer and result(store, stage.name).base_is_demonstration:
        reasons.append(f"its base {assembly.trainer.base} is a demonstration model")
    for name in _data(assembly, stage):
        rows = count(store, name, "train").demonstration.total()
        if rows:
            reasons.append(f"{rows:,} train rows of '{name}' were written by a demonstration model")
    return reasons


def export_card(assembly: Assembly, store: RunFolder, stage: Stage, about: str, use: str) -> str:
    """The README.md beside an exported model. ``about`` says what was written, ``use`` (Markdown) how to use it."""
    assert assembly.trainer is not None
    counted = {name: count(store, name, "train") for name in _data(assembly, stage)}
    licenses = sorted({license for counts in counted.values() for license in counts.every_license})
    reasons = demonstration(assembly, store, stage)
    named = assembly.trainer.base
    base = PurePath(named).name if PurePath(named).is_absolute() else named  # and no path of this machine
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
        files=[file for one in stages for file in _files(store, one)],
        licenses=[terms(license) for license in licenses],
        strictest=strictest(licenses),
        trained=_trained(store, stage),
        not_for_care=NOT_FOR_CARE,
        version=__version__,
    )


def _data(assembly: Assembly, stage: Stage) -> list[str]:
    """The data sets that a stage and those before it learned from."""
    return list(dict.fromkeys(one.data for one in stages_behind(assembly, stage)))


def _files(store: RunFolder, stage: Stage) -> list[dict[str, str]]:
    """The files that a stage learned from, with the hashes they had then."""
    facts = store.read_json(f"train/{stage.name}/stage.json") or {}
    paths = [path.relative_to(store.root).as_posix() for path in store.data_files(stage.data)]
    return [
        {"stage": stage.name, "name": name, "sha256": digest}
        for name, digest in zip(paths, facts.get("data_sha256") or (), strict=False)
    ]


def _trained(store: RunFolder, stage: Stage) -> str:
    """The stage's own card below its title, without the part on the use of its folder."""
    path = store.stage_card(stage.name)
    if not path.exists():
        return ""
    _, _, body = path.read_text("utf-8").removeprefix("---\n").partition("\n---\n")
    _, _, body = body.partition("\n## ")
    return "## " + body.partition("\n## Use\n")[0].strip() if body else ""
