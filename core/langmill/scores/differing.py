"""What was not the same when two evaluations of one name were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

GRAVE = ("use", "data", "split", "code", "options", "prompts", "files")
"""Where these differ, other rows were asked, or in other words, or answers were read in another way: the figures are of two things."""
LIGHT = ("packs", "seed", "langmill")
"""These may or may not show in a figure."""


class Difference(NamedTuple):
    """One fact that two evaluations do not share; ``grave`` where their figures can not be compared for it."""

    what: str
    first: Any
    second: Any
    grave: bool


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """What differs in two evaluations as ``eval/NAME.MODEL.json`` has them. Of prompts, packs and files those are held against one
    another that both have: a language that one lacks shows in its rows."""
    return [found for what in (*GRAVE, *LIGHT) for found in _of(what, first.get(what), second.get(what))]


def _of(what: str, first: Any, second: Any) -> Iterator[Difference]:
    grave = what in GRAVE
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        names = first.keys() | second.keys() if what == "options" else first.keys() & second.keys()
        for name in sorted(names):
            if first.get(name) != second.get(name):
                yield Difference(f"{what} {name}", first.get(name), second.get(name), grave)
    elif first != second:
        yield Difference(what, first, second, grave)
