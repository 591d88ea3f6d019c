"""The command that takes a trained model out of a run's folder: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langmill.cli.arguments import Run, opened, say
from langmill.errors import FactoryError, MissingInput, RecipeError, nearest


def export(
    run: Run,
    stage: Annotated[str, typer.Argument(help="A trained stage.", show_default=False)],
    as_: Annotated[
        str, typer.Option("--as", help="What to make of it, e.g. merged; a wrong word lists what there is.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make; not overwritten.")],
    allow_demo: Annotated[
        bool, typer.Option("--allow-demo", help="Also where the model is made of demonstration models.")
    ] = False,
) -> None:
    """Write a trained stage as a model that other programs run, with its card."""
    from langmill.jobs import run_job
    from langmill.licensing.gate import refuse_rows
    from langmill.report.cards import stages_behind
    from langmill.report.exported import demonstration

    assembly, store = opened(run)
    trainer = assembly.trainer
    if trainer is None:
        raise MissingInput(f"{run} trains nothing, so there is nothing to export: add train: to the recipe")
    by_name = {one.name: one for one in assembly.stages}
    if stage not in by_name:
        raise MissingInput(f"{run} has no stage '{stage}': {nearest(stage, by_name)}")
    kinds = trainer.exports()
    if as_ not in kinds:
        there = "; ".join(f"{kind} ({about})" for kind, about in kinds.items()) or "nothing: this trainer exports none"
        raise RecipeError(f"--as {as_}: possible: {there}")
    trained = store.adapter(stage)
    if not trained.is_dir():
        raise MissingInput(
            f"{trained} is not there: delete {store.stage(stage)}, then factory run {run} --only train makes it again"
        )
    if out.exists():
        raise FactoryError(f"--out {out}: there is something already, and nothing is overwritten: name a new folder")
    refuse_rows(assembly, store, (one.data for one in stages_behind(assembly, by_name[stage])), [stage])
    reasons = demonstration(assembly, store, by_name[stage])
    if reasons and not allow_demo:
        raise FactoryError(
            f"stage '{stage}' is a demonstration: {'; '.join(reasons)}. It shows the way through and knows nothing reliable "
            "of medicine, so it stays in the run's folder. To take it out all the same, marked as such: --allow-demo"
        )
    log = store.stage(stage) / "export.stderr.log"
    for event in run_job(store.root, "export", stage, as_, str(out.resolve()), log=log):
        if "text" in event:
            say(str(event["text"]))
    log.unlink(missing_ok=True)
    say(f"{out}: {kinds[as_]}; what it is and how to use it: {out / 'README.md'}")
