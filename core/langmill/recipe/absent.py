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
    usable: int | None = None
    tokens: int | None = None

    def __str__(self) -> str:
        return (
            self.why if self.why.startswith(self.place) else f"{self.place}{'.path' if self.name else ''}: {self.why}"
        )

    @property
    def declared(self) -> str:
        """The size that the recipe declares, in words; empty where it declares none."""
        if self.records is None and self.tokens is None:
            return ""
        words = []
        if self.records is not None:
            by_split = ", ".join(f"{split} {n:,}" for split, n in (self.splits or {}).items())
            words.append(f"{self.records:,} records" + (f" ({by_split})" if by_split else ""))
        if self.usable is not None:
            words.append(f"{self.usable:,} of them usable")
        if self.tokens is not None:
            words.append(f"{self.tokens:,} tokens")
        return f"declared: {', '.join(words)}"

    def lines(self) -> list[str]:
        """A source as a block: what it is, where it was looked for or, without a data folder, where it belongs."""
        head = f"{self.name}: licence {self.license}" + (f"; {self.declared}" if self.declared else "")
        return [head, f"  {self.why}" if self.tried else f"  belongs at {self.path}"]

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
        usable=expect.usable,
        tokens=expect.tokens,
    )


def told(items: Sequence[Absent], sources: int) -> list[str]:
    """All of them, a block each, between a line that counts them and one that says what to do; nothing for none. Sources that are to be
    had at one place stand together."""
    if not items:
        return []
    homes: dict[str, list[Absent]] = {}
    for item in items:
        if item.name:
            homes.setdefault(item.home, []).append(item)
    named = sum(map(len, homes.values()))
    rest = [item for item in items if not item.name]
    counted = [f"{named} of {sources} sources"] * bool(named)
    counted += [
        f"{len(rest)} file{'s' * (len(rest) > 1)} that {'steps name' if len(rest) > 1 else 'a step names'}"
    ] * bool(rest)
    blocks = []
    for home, some in homes.items():
        blocks += [line for item in some for line in item.lines()]
        blocks.append(
            f"  where to get {f'these {len(some)}' if len(some) > 1 else 'it'}: {home or 'the recipe does not say (home:)'}"
        )
    blocks += [str(item) for item in rest]
    blocks += [_FOLDER] * any(item.name and not item.tried for item in items) + [_HINT] * any(
        item.tried for item in items
    )
    return [f"absent: {' and '.join(counted)}", *(f"  {line}" for line in blocks)]
