"""Commands about the ledger: show, export, purge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langmill.cli.arguments import Json, give, say

ledger = typer.Typer(
    help="What was asked of models and what it cost, over all runs.", no_args_is_help=True, rich_markup_mode=None
)
Dataset = Annotated[str | None, typer.Option(help="Answers that this data set uses.")]


@ledger.command()
def show(json_: Json = False) -> None:
    """Calls, tokens and money by model, month and run."""
    from langmill.ledger import view as ledger_view

    facts = ledger_view.facts()
    if json_:
        give(facts)
    for line in ledger_view.lines(facts):
        say(line)


@ledger.command()
def export(
    out: Annotated[Path, typer.Option(help="The file to write, JSON lines; not overwritten.")],
    dataset: Dataset = None,
    model: Annotated[str | None, typer.Option(help="Answers of this model, PROVIDER/MODEL.")] = None,
) -> None:
    """Write answers to a file, one object a line."""
    from langmill.ledger import view as ledger_view

    count, damaged = ledger_view.export(out, dataset, model)
    say(f"{out}: {count:,} answers, for your eyes alone (mode 0600)")
    if damaged:
        say(f"  {damaged:,} are damaged in the ledger and were left out: a run that needs one asks again")


@ledger.command()
def purge(
    dataset: Dataset = None,
    older_than: Annotated[float | None, typer.Option(min=0, help="Answers older than so many days.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; without it they are only counted.")] = False,
) -> None:
    """Delete answers for good; attempts, money and caps stay."""
    from langmill.ledger import view as ledger_view

    for line in ledger_view.purge_lines(ledger_view.purge(dataset, older_than, delete=False), dataset):
        say(line)
    if not yes:
        say("nothing was deleted: add --yes for that. Attempts, money and caps stay, and the rows of finished runs")
        return
    say(f"{ledger_view.purge(dataset, older_than, delete=True).answers:,} answers deleted for good")
