"""Commands that look at a finished run: status, report, show."""

from __future__ import annotations

from typing import Annotated

import typer

from langmill.cli.arguments import Json, Run, give, opened, say


def status(run: Run, json_: Json = False) -> None:
    """What an earlier run holds and what is left to do."""
    from langmill.report.summary import summary, summary_lines

    assembly, store = opened(run)
    if json_:
        give(summary(assembly, store))
    for line in summary_lines(assembly, store):
        say(line)


def report(run: Run) -> None:
    """Write the report page again."""
    from langmill.report.page import write_report

    assembly, store = opened(run)
    write_report(assembly, store)
    say(f"{store.report}")


def show(run: Run, row_id: Annotated[str, typer.Argument(help="A row's id, or the beginning of one.")]) -> None:
    """Show a row, its parents and its children, kept or rejected, in every data set of a run."""
    from langmill.report.summary import lineage

    assembly, store = opened(run)
    for line in lineage(assembly, store, row_id):
        say(line)
