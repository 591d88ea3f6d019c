"""The errors a person may meet.

    FactoryError                 printed without a traceback; ``exit_code`` says what the command returns
    ├── RecipeError              the recipe or the command is wrong: holds every fault found, exit code 2
    ├── MissingInput             a source, a model or a package is not there, exit code 2
    ├── BudgetReached            the cap on money was met; what is done is kept, exit code 3
    ├── NothingRead              no record of a source became a row, exit code 4
    ├── ProviderDown             a provider refused for good (key, quota, unknown model), exit code 1
    └── RowFault                 one row could not be made: ``reason`` is a countable word, ``detail`` is for people

Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class FactoryError(Exception):
    """Something a person can mend; the message says where, what, and what to type next."""

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a recipe or pack: ``file:line``, the place inside it, what was found and what was possible. What is wrong
    in the environment has no line: its variable is the file."""

    file: str
    line: int | None
    place: str
    message: str

    def __str__(self) -> str:
        where = (self.file, self.place) if self.line is None else (f"{self.file}:{self.line}", self.place)
        return ": ".join((*filter(None, where), self.message))


class RecipeError(FactoryError):
    """All faults of a recipe (or of one command line) at once."""

    exit_code = 2

    def __init__(self, faults: Sequence[Fault] | str):
        self.faults = () if isinstance(faults, str) else tuple(faults)
        super().__init__(faults if isinstance(faults, str) else "\n".join(str(fault) for fault in self.faults))


class MissingInput(FactoryError):
    """A file, a model or a package that the recipe needs is not there."""

    exit_code = 2


class BudgetReached(FactoryError):
    """The next call could cost more than is left."""

    exit_code = 3


class NothingRead(FactoryError):
    """A source has records, and none of them became a row."""

    exit_code = 4  # as a run that rejects more than its recipe allows


class ProviderDown(FactoryError):
    """The provider will not answer however often it is asked; carries the provider's own words."""


class RowFault(FactoryError):
    """One row can not be made. The pipeline turns it into a reject; it never stops a run."""

    def __init__(self, reason: str, detail: str = ""):
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class LanguageNotWritten(RowFault):
    """The model does not write this language: the row is skipped, which is counted apart from rejected."""

    def __init__(self, model: str, language: str):
        super().__init__("language_not_written", f"{model} does not write {language}")


def missing_package(part: str, package: str, extra: str) -> MissingInput:
    """The one wording for an optional package that is not installed."""
    return MissingInput(f"{part} needs {package}, which is not installed: pip install 'langmill[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str:
    """``possible: a, b, c. Did you mean 'b'?`` for a name that is not among ``known``."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f". Did you mean '{close[0]}'?" if close else ""
    return f"possible: {', '.join(names) or 'none'}{hint}"
