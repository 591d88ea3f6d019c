"""The command. Results go to standard output only with --json; lines for people go to standard error.

Exit codes: 0 done, 1 failed, 2 the recipe or the command is wrong, 3 budget reached, 4 finished with more rejected rows
than the recipe allows. Everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

import errno
import sys

import typer

from langmill.cli.arguments import say
from langmill.cli.comparing import compare
from langmill.cli.evaluating import evaluate
from langmill.cli.exporting import export
from langmill.cli.ledger import ledger
from langmill.cli.looking import report, show, status
from langmill.cli.parts import doctor, languages, new, plugins, schema
from langmill.cli.running import check, plan, preview, retry, run
from langmill.errors import FactoryError

INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="factory",
    help="Make instruction data in many languages from a recipe, train a model on it, score it per language.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    run,
    retry,
    check,
    plan,
    preview,
    status,
    report,
    show,
    compare,
    export,
    plugins,
    languages,
    new,
    schema,
    doctor,
):
    app.command()(command)
app.command("eval")(evaluate)
app.add_typer(ledger, name="ledger")


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
