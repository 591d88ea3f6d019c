"""What a recipe reads and this machine does not have: in words that say where it is to be had and where to put it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langmill.api import Context, Expect, Loader, MissingInput, Part, Split

_HINT = "put each where it was looked for, or name another place: --set sources.NAME.path=PATH"
_FOLDER = "set the data folder with FACTORY_DATA=DIR, or data_dir: in the recipe, and put each there"


@dataclass(frozen=True)
class Absent:
    """A source, or a file that a step names, that is not there. ``place`` is its place in the recipe, ``why`` says what was tried.
    Of a source also its ``name``, its ``path`` as the recipe has it, where that is on this machine (``tried``, empty without a data
    folder), its licence, its ``home`` (where it is to be had) and its declared size."""

    place: str
    why: str
    name: str = ""
    path: str = ""
    tried: str = ""
    license: str = ""
    home: str = ""
    records: int | None = None
    splits: Mapping[Split, int] | None = None
    tokens: int | None = None

    def __str__(self) -> str:
        return f"{self.place}{'.path' if self.name else ''}: {self.why}"

    @property
    def declared(self) -> str:
        """The size that the recipe declares, in words; empty where it declares none."""
        if self.records is None and self.tokens is None:
            return ""
        words = []
        if self.records is not None:
            by_split = ", ".join(f"{split} {n:,}" for split, n in (self.splits or {}).items())
            words.append(f"{self.records:,} records" + (f" ({by_split})" if by_split else ""))
        if self.tokens is not None:
            words.append(f"{self.tokens:,} tokens")
        return f"declared: {', '.join(words)}"

    def lines(self) -> list[str]:
        """It as a block: what it is, where it was looked for, where it is to be had."""
        if not self.name:
            return [str(self)]
        head = f"{self.name}: licence {self.license}" + (f"; {self.declared}" if self.declared else "")
        why = self.why if self.tried else f"nothing at '{self.path}': no data folder is set"
        return [head, f"  {why}", f"  to be had: {self.home or 'the recipe does not say (home:)'}"]

    def facts(self) -> dict[str, Any]:
        """It as plain data."""
        return asdict(self)


def absent(parts: Iterable[tuple[str, Part, Context]]) -> Iterator[Absent]:
    """Those of (place, part, context) whose files are not there."""
    for place, part, context in parts:
        try:
            part.files(context)  # type: ignore[attr-defined]
        except MissingInput as error:
            why = str(error).removeprefix(f"{place}.path: ").removeprefix(f"{place}: ")
            yield _source(place, why, part, context) if isinstance(part, Loader) else Absent(place, why)


def _source(place: str, why: str, loader: Loader, context: Context) -> Absent:
    expect = loader.expect or Expect()
    try:
        tried = str(context.path(loader.path))
    except MissingInput:  # no data folder is set
        tried = ""
    return Absent(
        place,
        why,
        name=place.partition(".")[2],
        path=loader.path,
        tried=tried,
        license=loader.license,
        home=loader.home,
        records=expect.total,
        splits=dict(expect.rows) if isinstance(expect.rows, Mapping) else None,
        tokens=expect.tokens,
    )


def told(items: Sequence[Absent], sources: int) -> list[str]:
    """All of them, a block each, between a line that counts them and one that says what to do; nothing for none."""
    if not items:
        return []
    named = sum(1 for item in items if item.name)
    rest = len(items) - named
    counted = [f"{named} of {sources} sources"] * bool(named) + [
        f"{rest} file{'s' * (rest > 1)} that steps name"
    ] * bool(rest)
    blocks = [f"  {line}" for item in items for line in item.lines()]
    todo = [_FOLDER] * any(item.name and not item.tried for item in items) + [_HINT] * any(item.tried for item in items)
    return [f"absent: {' and '.join(counted)}", *blocks, *(f"  {line}" for line in todo)]
