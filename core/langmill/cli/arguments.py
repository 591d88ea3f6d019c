"""What the commands share: how a recipe and a run are named, where lines and results go."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langmill.errors import MissingInput

if TYPE_CHECKING:
    from langmill.disk.store import RunFolder
    from langmill.recipe.assembly import Assembly

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


def assembled(recipe: Path, profile: str | None, sets: list[str] | None, plugin_files: bool = True) -> Assembly:
    """The recipe at a path, or the one of a run's folder, built. Raises what it lacks."""
    from langmill.disk.store import RunFolder
    from langmill.plan.prices import current
    from langmill.recipe.assembly import assemble

    path, origin, store, said = recipe, None, None, list(sets or ())
    if recipe.is_dir():
        store = RunFolder(recipe)
        path, origin = store.recipe_lock, store.origin
        if not path.exists():
            raise MissingInput(f"{recipe} is not a run's folder (no {path.name} in it): factory run RECIPE makes one")
        if store.data_dir and not any(text.startswith("data_dir=") for text in said):
            said.append(f"data_dir={json.dumps(str(store.data_dir))}")
    assembly = assemble(path, profile=profile, sets=said, plugin_files_allowed=plugin_files, origin=origin)
    if store is not None:
        assembly = current(assembly, store)
    for name in assembly.recipe.plugins:
        say(f"plugin file beside the recipe: {name} (its code runs with your rights; --no-plugin-files refuses it)")
    return assembly


def run_folder(recipe: Path, assembly: Assembly, profile: str | None, out: Path | None) -> RunFolder:
    """Where a run lies: --out, the folder that was named, or runs/NAME."""
    from langmill.disk.store import RunFolder

    if out is not None:
        return RunFolder(out)
    if recipe.is_dir():
        return RunFolder(recipe)
    return RunFolder(Path("runs") / (f"{assembly.recipe.name}.{profile}" if profile else assembly.recipe.name))


def opened(run: Path) -> tuple[Assembly, RunFolder]:
    """A finished or half-finished run. Raises MissingInput for a folder that is none."""
    from langmill.disk.store import RunFolder

    store = RunFolder(run)
    if not store.recipe_lock.exists():
        raise MissingInput(
            f"{run} is not a run's folder (no {store.recipe_lock.name} in it): factory run RECIPE makes one"
        )
    return assembled(run, None, None), store
