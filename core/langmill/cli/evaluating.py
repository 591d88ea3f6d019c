"""The command that works on evaluations: eval, to have models answer, or to take questions and answers to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langmill.cli.arguments import Json, Profile, Recipe, Sets, assembled, opened, run_folder, say
from langmill.errors import FactoryError, MissingInput, RecipeError, nearest

if TYPE_CHECKING:
    from langmill.disk.store import RunFolder
    from langmill.recipe.assembly import Assembly


def evaluate(
    run: Recipe,
    profile: Profile = None,
    set_: Sets = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Most US dollars, over all resumes of this run.")
    ] = None,
    offline: Annotated[bool, typer.Option(help="Fetch nothing, call nothing beyond this machine.")] = False,
    export: Annotated[
        str | None, typer.Option(help="Ask nothing; write for another program, e.g. lm-eval or mmedbench.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --export: the folder to make; not overwritten.")] = None,
    name: Annotated[str | None, typer.Option(help="With --export: the evaluation, where there are several.")] = None,
    model: Annotated[str | None, typer.Option(help="With --export: whose answers, e.g. base or a stage.")] = None,
    json_: Json = False,
) -> None:
    """Score the models of a run that has its data and stages; or, with --export, write an evaluation for other programs."""
    if export is None:
        for option, given in (("--out", out), ("--name", name), ("--model", model)):
            if given is not None:
                raise RecipeError(f"{option} belongs to --export; without it every evaluation of the recipe is done")
        from langmill.cli.running import run as run_command

        run_command(run, profile, set_, only="eval", max_cost=max_cost, offline=offline, json_=json_)
        return
    if out is None:
        raise RecipeError(f"--export {export} needs --out DIR, the folder to make")
    if max_cost is not None:
        raise RecipeError("--max-cost caps what is asked, and --export asks nothing: leave it out")
    assembly = assembled(run, profile, set_)
    store = run_folder(run, assembly, profile, None)
    if not run.is_dir():  # what was run is what is written; a run's own recipe holds its profile already
        opened(store.root)
        assembly = assembled(store.root, None, set_)
    number = _chosen(assembly, store, export, name)
    if out.exists():
        raise FactoryError(f"--out {out}: there is something already, and nothing is overwritten: name a new folder")
    about = _write(assembly, store, number, export, model, out)
    say(f"{out}: {about}; what it is and how to use it: {out / 'README.md'}")


def _chosen(assembly: Assembly, store: RunFolder, kind: str, name: str | None) -> int:
    """The number of the evaluation to export: the one that is named, or the only one that can be written as ``kind``."""
    parts = {evaluator.called(use): (at, evaluator) for at, (use, evaluator) in enumerate(assembly.evaluators)}
    if not parts:
        raise MissingInput(f"{store.root} evaluates nothing: add eval: to the recipe")
    if name is not None and name not in parts:
        raise MissingInput(f"--name {name}: {store.root} has no such evaluation: {nearest(name, parts)}")
    asked = parts if name is None else {name: parts[name]}
    fit = {called: at for called, (at, evaluator) in asked.items() if kind in evaluator.exports()}
    if not fit:
        there = {one: about for _, evaluator in asked.values() for one, about in evaluator.exports().items()}
        listed = "; ".join(f"{one} ({about})" for one, about in there.items()) or "nothing"
        raise RecipeError(f"--export {kind}: {'' if name is None else name + ' can be written as '}possible: {listed}")
    if len(fit) > 1:
        raise RecipeError(
            f"--export {kind}: several evaluations can be written so, choose with --name: {', '.join(fit)}"
        )
    (number,) = fit.values()
    return number


def _write(assembly: Assembly, store: RunFolder, number: int, kind: str, model: str | None, out: Path) -> str:
    """Write the folder, whole or not at all; returns in words what was written."""
    from langmill.disk.whole import whole_folder
    from langmill.evaluation.rows import answers_file, context_of
    from langmill.licensing.gate import refuse_rows
    from langmill.report.exported import evaluation_card
    from langmill.scoring import Examination

    told = [stage.name for stage in assembly.stages if stage.name == model]  # its answers go out, too
    refuse_rows(assembly, store, [assembly.evaluators[number][1].data], told)
    one = Examination(assembly, store, number, lambda event: None, offline=True)
    evaluator = one.evaluator
    if model is not None and model not in evaluator.models:
        raise MissingInput(f"--model {model}: {one.name} does not ask it: {nearest(model, evaluator.models)}")
    if model is not None and not answers_file(store, one.name, model).exists():
        raise MissingInput(f"'{model}' has not answered {one.name} yet: factory eval {store.root} asks it")
    said = [] if model is None else one.said_by(model)
    about = evaluator.exports()[kind]
    with whole_folder(out) as work:
        use = evaluator.export(kind, one.rows, said, work, context_of(assembly, store, number, offline=True))
        card = evaluation_card(assembly, one.name, evaluator.data, model, one.rows, about, use)
        (work / "README.md").write_text(card, encoding="utf-8")
    return about
