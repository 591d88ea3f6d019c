"""Commands about what is installed: plugins, languages, new, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langmill.cli.arguments import Json, give, say
from langmill.errors import FactoryError, MissingInput, RecipeError

if TYPE_CHECKING:
    from langmill.recipe.registry import Registry


def plugins(json_: Json = False) -> None:
    """Every part that a recipe can use."""
    from langmill.recipe.registry import KINDS, Registry

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


def languages(
    action: Annotated[str | None, typer.Argument(help="check")] = None,
    code: Annotated[str | None, typer.Argument(help="A language's code.")] = None,
    json_: Json = False,
) -> None:
    """The language packs at hand; `factory languages check CODE` tries one out."""
    from langmill.errors import nearest
    from langmill.parts.languages import faults_of
    from langmill.recipe.registry import Registry

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


def schema() -> None:
    """The JSON schema of a recipe, installed plugins included, for editors."""
    from langmill.recipe.registry import Registry
    from langmill.recipe.schema import json_schema

    give(json_schema(Registry.of_installed()))


def doctor() -> None:
    """What this machine has: packages, models, GPU, ledger; and what to type for what is missing."""
    from langmill.doctor import findings

    for line in findings():
        say(line)
