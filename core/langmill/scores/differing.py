"""What was not the same when two evaluations of one name were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

GRAVE = ("use", "data", "split", "options", "prompts", "files", "judges", "compared", "reader")
"""Where these differ, other rows were asked, or in other words, or answers were read in another way, judged by another model or held
against another's: the figures are of two things."""
LIGHT = ("code", "packs", "seed", "langmill", "left_out")
"""These may or may not show in a figure."""


class Difference(NamedTuple):
    """One fact that two evaluations do not share; ``grave`` where their figures can not be compared for it."""

    what: str
    first: Any
    second: Any
    grave: bool


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """What differs in two evaluations as ``eval/NAME.MODEL.json`` has them. Of prompts, packs, files and models those are held against
    one another that both have: a language that one lacks shows in its rows, a judge of another name in the options."""
    return [found for what in (*GRAVE, *LIGHT) for found in _of(what, _told(first, what), _told(second, what))]


def _told(facts: Mapping[str, Any], what: str) -> Any:
    """One fact of an evaluation. How replies were read is told by its evaluator, among facts of its own."""
    return facts.get("facts", {}).get(what) if what == "reader" else facts.get(what)


def _of(what: str, first: Any, second: Any) -> Iterator[Difference]:
    grave = what in GRAVE
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        names = first.keys() | second.keys() if what in ("options", "left_out") else first.keys() & second.keys()
        for name in sorted(names):
            if first.get(name) != second.get(name):
                yield Difference(f"{what} {name}", first.get(name), second.get(name), grave)
    elif first != second:
        yield Difference(what, first, second, grave)
