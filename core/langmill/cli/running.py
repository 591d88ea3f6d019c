"""Commands that work on a recipe: run, retry, check, plan, preview."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from langmill.cli.arguments import Json, Profile, Recipe, Run, Sets, assembled, give, opened, run_folder, say
from langmill.errors import FactoryError, RecipeError

if TYPE_CHECKING:
    from langmill.disk.store import RunFolder
    from langmill.recipe.assembly import Assembly
    from langmill.run import Request


def run(
    recipe: Recipe,
    profile: Profile = None,
    set_: Sets = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME when left out.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows per source, language and split.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop after: data, train.")] = None,
    only: Annotated[str | None, typer.Option(help="Only: train, eval. Reads the run's folder alone.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Most US dollars, over all resumes of this run.")
    ] = None,
    offline: Annotated[bool, typer.Option(help="Fetch nothing, call nothing beyond this machine.")] = False,
    fresh: Annotated[bool, typer.Option(help="Empty the run's folder first; paid answers stay in the ledger.")] = False,
    no_plugin_files: Annotated[bool, typer.Option(help="Refuse plugin files beside the recipe.")] = False,
    json_: Json = False,
) -> None:
    """Do everything a recipe says; run again to continue."""
    from langmill.run import Request

    if until not in (None, "data", "train"):
        raise RecipeError(f"--until {until}: possible: data, train")
    if only not in (None, "train", "eval"):
        raise RecipeError(f"--only {only}: possible: train, eval")
    if only and fresh:
        raise RecipeError(
            f"--only {only} works on what lies in the run's folder, --fresh empties it: leave out one of them"
        )
    assembly = assembled(recipe, profile, set_, not no_plugin_files)
    store = run_folder(recipe, assembly, profile, out)
    if only is not None and store.recipe_lock.exists() and not recipe.is_dir():
        assembly = assembled(store.root, None, set_, not no_plugin_files)
    request = Request(until, only, limit, max_cost, offline, fresh)  # type: ignore[arg-type]
    say(f"{assembly.recipe.name}{f', profile {profile}' if profile else ''} -> {store.root}/")
    _run(assembly, store, request, json_)


def retry(
    run: Run,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Only rejects with this reason, e.g. schema; repeatable. All when left out."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after: data, train.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Most US dollars, over all resumes of this run.")
    ] = None,
    json_: Json = False,
) -> None:
    """Ask a model again about the rows that its steps rejected, then continue the run. Nothing else is paid again."""
    from langmill.run import Request

    if until not in (None, "data", "train"):
        raise RecipeError(f"--until {until}: possible: data, train")
    assembly, store = opened(run)
    say(f"{assembly.recipe.name} -> {store.root}/")
    _run(assembly, store, Request(until, max_cost=max_cost, retry=tuple(reason or ())), json_)  # type: ignore[arg-type]


def _run(assembly: Assembly, store: RunFolder, request: Request, json_: bool) -> NoReturn:
    """Run, show progress, and end with the exit code; what a run that stopped has left is told as well."""
    from langmill import run as runner
    from langmill.progress import Progress
    from langmill.report.summary import summary, summary_lines

    progress = Progress(sys.stderr)
    try:
        code = runner.run(assembly, store, request, progress)
    except FactoryError:
        if json_ and store.left:
            give(summary(assembly, store))
        raise
    finally:
        progress.close()
    if json_:
        give(summary(assembly, store))
    for line in summary_lines(assembly, store):
        say(line)
    raise typer.Exit(code)


def check(recipe: Recipe, profile: Profile = None, set_: Sets = None, json_: Json = False) -> None:
    """Find everything that can be wrong with a recipe, without running it."""
    from langmill.licensing.gate import refusals, refuse
    from langmill.licensing.notes import notes
    from langmill.recipe.able import all_unable
    from langmill.recipe.absent import told

    assembly = assembled(recipe, profile, set_)
    absent, unready, unable = assembly.absent(), assembly.unready(), all_unable(assembly)
    said, refused = [*assembly.foreign(), *notes(assembly)], [str(one) for one in refusals(assembly)]
    if json_:
        missing = [item.facts() for item in absent]
        lacks = {"absent": missing, "unready": unready, "unable": unable}
        give({"recipe": assembly.recipe.name, "refused": refused, "notes": said, **lacks})
    refuse(assembly)
    parts = f"{len(assembly.sources)} sources, {len(assembly.datasets)} data sets, {len(assembly.stages)} stages"
    say(f"{recipe}: sound. {parts}, {len(assembly.evaluators)} evaluations, languages {' '.join(assembly.packs)}")
    for line in told(absent, len(assembly.sources)):
        say(f"  {line}")
    for line in said:
        say(f"  note: {line}")
    for line in unready:
        say(f"  can not train yet: {line}")
    for line in unable:
        say(f"  can not answer yet: {line}")


def plan(
    recipe: Recipe,
    profile: Profile = None,
    set_: Sets = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows per source, language and split.")] = None,
    json_: Json = False,
) -> None:
    """Count rows, calls, tokens, money and time before a run; nothing is asked and nothing is kept."""
    import asyncio

    from langmill.plan import forecast as planner
    from langmill.plan.lines import lines

    planned = asyncio.run(planner.plan(assembled(recipe, profile, set_), limit))
    if json_:
        give(planner.facts(planned))
    for line in lines(planned):
        say(line)


def preview(
    recipe: Recipe,
    rows: Annotated[int, typer.Option("-n", "--rows", min=1, help="Rows per source, language and split.")] = 1,
    profile: Profile = None,
    set_: Sets = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Most US dollars.")] = None,
) -> None:
    """Send a few rows through every step, prompts shown; the answers stay in the ledger, nothing else is kept."""
    import asyncio

    from langmill.plan import preview as previewer

    assembly = assembled(recipe, profile, set_)
    budget = max_cost if max_cost is not None else assembly.recipe.budget
    for line in asyncio.run(previewer.preview(assembly, rows, budget)):
        say(line)
