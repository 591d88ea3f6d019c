"""The command. Results go to standard output only with --json; lines for people go to standard error.

Exit codes: 0 done, 1 failed, 2 the recipe or the command is wrong, 3 budget reached, 4 finished with more rejected rows
than the recipe allows. Everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langmill.errors import FactoryError, MissingInput, RecipeError

if TYPE_CHECKING:
    from langmill.assembly import Assembly
    from langmill.registry import Registry
    from langmill.store import RunFolder

INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="factory",
    help="Make instruction data in many languages from a recipe, train a model on it, score it per language.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Recipe = Annotated[Path, typer.Argument(help="A recipe (YAML), or the folder of an earlier run.", show_default=False)]
Profile = Annotated[str | None, typer.Option(help="A named overlay of the recipe.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. llm.model=openai/gpt-4o-mini; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Run = Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)]


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


def give(result: Any) -> None:
    """A result for programs."""
    print(json.dumps(result, ensure_ascii=False, indent=1))


def _assemble(recipe: Path, profile: str | None, sets: list[str] | None, plugin_files: bool = True) -> Assembly:
    from langmill.assembly import assemble
    from langmill.store import LOCK_NAME

    path = recipe / LOCK_NAME if recipe.is_dir() else recipe
    if recipe.is_dir() and not path.exists():
        raise MissingInput(f"{recipe} is not a run's folder (no {LOCK_NAME} in it): factory run RECIPE makes one")
    assembly = assemble(path, profile=profile, sets=tuple(sets or ()), plugin_files_allowed=plugin_files)
    for name in assembly.recipe.plugins:
        say(f"plugin file beside the recipe: {name} (its code runs with your rights; --no-plugin-files refuses it)")
    return assembly


def _run_folder(recipe: Path, assembly: Assembly, profile: str | None, out: Path | None) -> RunFolder:
    from langmill.store import RunFolder

    if out is not None:
        return RunFolder(out)
    if recipe.is_dir():
        return RunFolder(recipe)
    return RunFolder(Path("runs") / (f"{assembly.recipe.name}.{profile}" if profile else assembly.recipe.name))


@app.command()
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
    from langmill import run as runner
    from langmill.progress import Progress

    if until not in (None, "data", "train"):
        raise RecipeError(f"--until {until}: possible: data, train")
    if only not in (None, "train", "eval"):
        raise RecipeError(f"--only {only}: possible: train, eval")
    if only and fresh:
        raise RecipeError(
            f"--only {only} works on what lies in the run's folder, --fresh empties it: leave out one of them"
        )
    assembly = _assemble(recipe, profile, set_, not no_plugin_files)
    store = _run_folder(recipe, assembly, profile, out)
    if only is not None and store.recipe_lock.exists() and not recipe.is_dir():
        assembly = _assemble(store.root, None, set_, not no_plugin_files)
    request = runner.Request(until, only, limit, max_cost, offline, fresh)  # type: ignore[arg-type]
    progress = Progress(sys.stderr)
    say(f"{assembly.recipe.name}{f', profile {profile}' if profile else ''} -> {store.root}/")
    try:
        code = runner.run(assembly, store, request, progress)
    finally:
        progress.close()
    from langmill.summary import summary, summary_lines

    if json_:
        give(summary(assembly, store))
    for line in summary_lines(assembly, store):
        say(line)
    raise typer.Exit(code)


@app.command()
def check(recipe: Recipe, profile: Profile = None, set_: Sets = None, json_: Json = False) -> None:
    """Find everything that can be wrong with a recipe, without running it."""
    assembly = _assemble(recipe, profile, set_)
    absent = assembly.absent()
    if json_:
        give({"recipe": assembly.recipe.name, "absent": absent})
    parts = f"{len(assembly.sources)} sources, {len(assembly.datasets)} data sets, {len(assembly.stages)} stages"
    say(f"{recipe}: sound. {parts}, {len(assembly.evaluators)} evaluations, languages {' '.join(assembly.packs)}")
    for line in absent:
        say(f"  absent: {line}")


@app.command()
def plan(
    recipe: Recipe,
    profile: Profile = None,
    set_: Sets = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows per source, language and split.")] = None,
    json_: Json = False,
) -> None:
    """Count rows, calls, tokens and money before a run; nothing is asked and nothing is kept."""
    import asyncio

    from langmill import plan as planner

    planned = asyncio.run(planner.plan(_assemble(recipe, profile, set_), limit))
    if json_:
        give(planner.facts(planned))
    for line in planner.lines(planned):
        say(line)


@app.command()
def preview(
    recipe: Recipe,
    rows: Annotated[int, typer.Option("-n", "--rows", min=1, help="Rows per source, language and split.")] = 1,
    profile: Profile = None,
    set_: Sets = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Most US dollars.")] = None,
) -> None:
    """Send a few rows through every step, prompts shown; the answers stay in the ledger, nothing else is kept."""
    import asyncio

    from langmill import preview as previewer

    assembly = _assemble(recipe, profile, set_)
    budget = max_cost if max_cost is not None else assembly.recipe.budget
    for line in asyncio.run(previewer.preview(assembly, rows, budget)):
        say(line)


@app.command()
def status(run: Run, json_: Json = False) -> None:
    """What an earlier run holds and what is left to do."""
    from langmill.summary import summary, summary_lines

    assembly, store = _open(run)
    if json_:
        give(summary(assembly, store))
    for line in summary_lines(assembly, store):
        say(line)


@app.command()
def report(run: Run) -> None:
    """Write the report page again."""
    from langmill.report import write_report

    assembly, store = _open(run)
    write_report(assembly, store)
    say(f"{store.report}")


@app.command()
def show(run: Run, row_id: Annotated[str, typer.Argument(help="A row's id, or the beginning of one.")]) -> None:
    """Show a row, its parents and its children, kept or rejected, in every data set of a run."""
    from langmill.summary import lineage

    assembly, store = _open(run)
    for line in lineage(assembly, store, row_id):
        say(line)


def _open(run: Path) -> tuple[Assembly, RunFolder]:
    from langmill.store import RunFolder

    store = RunFolder(run)
    if not store.recipe_lock.exists():
        raise MissingInput(
            f"{run} is not a run's folder (no {store.recipe_lock.name} in it): factory run RECIPE makes one"
        )
    return _assemble(run, None, None), store


@app.command()
def plugins(json_: Json = False) -> None:
    """Every part that a recipe can use."""
    from langmill.registry import KINDS, Registry

    registry = Registry.of_installed()
    rows = [
        {"kind": kind, "use": use, "about": _about(registry, kind, use), "from": registry.owner(kind, use)}
        for kind in KINDS
        for use in registry.names(kind)
    ]
    if json_:
        give(rows)
        return
    last = ""
    for row in rows:
        if row["kind"] != last:
            say(f"{row['kind']}:")
        last = row["kind"]
        say(f"  {row['use']:<16} {row['about']}")
    for name, error in registry.broken.items():
        say(f"  broken: {name}: {error}")


def _about(registry: Registry, kind: str, use: str) -> str:
    """The first line of a part's help, or why it does not load."""
    try:
        return (registry.get(kind, use).__doc__ or "").strip().split("\n")[0]
    except FactoryError as error:
        return f"broken: {error}"


@app.command()
def languages(
    action: Annotated[str | None, typer.Argument(help="check")] = None,
    code: Annotated[str | None, typer.Argument(help="A language's code.")] = None,
    json_: Json = False,
) -> None:
    """The language packs at hand; `factory languages check CODE` tries one out."""
    from langmill.errors import nearest
    from langmill.languages import faults_of
    from langmill.registry import Registry

    packs = Registry.of_installed().packs()
    if action is None:
        if json_:
            give(
                [
                    {"code": pack.code, "name": pack.identity.name, "prompts": sorted(pack.templates)}
                    for pack in packs.values()
                ]
            )
        for pack in packs.values():
            say(f"{pack.code:<4} {pack.identity.name} ({pack.identity.native_name}), {len(pack.templates)} prompts")
        return
    if action != "check" or code is None:
        raise RecipeError(f"factory languages {action}: possible: factory languages, factory languages check CODE")
    if code not in packs:
        raise MissingInput(
            f"no language pack '{code}': {nearest(code, packs)}. Make one with: factory new language {code}"
        )
    faults = faults_of(packs[code])
    for fault in faults:
        say(f"  {fault}")
    say(f"{code}: {'sound' if not faults else f'{len(faults)} things to mend'}")
    raise typer.Exit(2 if faults else 0)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="plugin or language")],
    name: Annotated[str, typer.Argument(help="The plugin's name, or the language's code.")],
    into: Annotated[Path, typer.Option(help="Where to put the folder.")] = Path("."),
) -> None:
    """Start a plugin or a language pack: a folder that already works."""
    from langmill.scaffold import new_language, new_plugin

    makers = {"plugin": new_plugin, "language": new_language}
    if kind not in makers:
        raise RecipeError(f"factory new {kind}: possible: factory new plugin NAME, factory new language CODE")
    for line in makers[kind](name, into):
        say(line)


@app.command()
def schema() -> None:
    """The JSON schema of a recipe, installed plugins included, for editors."""
    from langmill.registry import Registry
    from langmill.schema import json_schema

    give(json_schema(Registry.of_installed()))


@app.command()
def doctor() -> None:
    """What this machine has: packages, models, GPU, ledger; and what to type for what is missing."""
    from langmill.doctor import findings

    for line in findings():
        say(line)


def main() -> None:
    """The console script: errors a person can mend are printed plainly, everything else is a bug and shows itself."""
    try:
        app()
    except FactoryError as error:
        say(f"factory: {error}")
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        say("factory: stopped. What was finished is kept: the same command continues")
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        say(f"factory: the disk is full ({error.filename}). Make room, then run the same command: it continues")
        sys.exit(1)


if __name__ == "__main__":
    main()
