"""Where the key stands and which place is chosen: whether a model prefers a place to an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import pstdev
from typing import Any, NamedTuple

from langmill.api import Table

NEARLY_ALL, SOME = 0.95, 20
"""A note says that one place is always taken where it is in so many answers of so many."""


class Place(NamedTuple):
    """Of so many ``places`` the one of the key, and the chosen one: None where no single answer could be read."""

    places: int
    key: int
    chosen: int | None


def table_of(way: str, language: str, places: Iterable[Place], letters: Sequence[str]) -> tuple[Table, dict[str, Any]]:
    """The key's places by the chosen ones, and the figures of it as plain data."""
    found = list(places)
    size = max(place.places for place in found)
    cells = [[0.0] * (size + 1) for _ in range(size)]
    for _, key, chosen in found:
        cells[key][size if chosen is None else chosen] += 1
    facts = bias(cells)
    names = tuple(letters[:size])
    columns = (*names, "none") if any(row[size] for row in cells) else names
    table = Table(
        f"{way}: place of the key by place chosen",
        language,
        names,
        columns,
        tuple(tuple(row[: len(columns)]) for row in cells),
        _note(facts, names),
        places=True,
    )
    return table, facts


def bias(cells: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Figures of a table of keys by chosen places (its last column: none chosen).

    ``distance`` is how far the shares of the chosen places are from those of the keys, half the sum of the differences: 0 where each
    place is chosen as often as it holds the key, 1 where none that is chosen ever does. ``rstd`` is the standard deviation of the
    share right by the place of the key (Zheng et al., ICLR 2024, arXiv 2309.03882): 0 where the key's place changes nothing.
    """
    size = len(cells)
    keys = [sum(row) for row in cells]
    chosen = [sum(row[place] for row in cells) for place in range(size)]
    read, n = sum(chosen), sum(keys)
    recalls = [cells[place][place] / keys[place] for place in range(size) if keys[place]]
    shares = [count / read if read else 0.0 for count in chosen]
    key_shares = [count / n for count in keys]
    return {
        "n": int(n),
        "chosen": [round(share, 4) for share in shares],
        "keys": [round(share, 4) for share in key_shares],
        "distance": round(sum(abs(a - b) for a, b in zip(shares, key_shares, strict=True)) / 2, 4) if read else None,
        "rstd": round(pstdev(recalls), 4),
    }


def _note(facts: dict[str, Any], names: Sequence[str]) -> str:
    if facts["distance"] is None:
        return f"No answer could be read in {facts['n']:,}."
    per_place = ", ".join(
        f"{name} {chosen:.0%} ({key:.0%})"
        for name, chosen, key in zip(names, facts["chosen"], facts["keys"], strict=True)
    )
    most = max(range(len(names)), key=lambda place: facts["chosen"][place])
    always = facts["n"] >= SOME and facts["chosen"][most] >= NEARLY_ALL
    opening = f"Nearly every answer is {names[most]}, whatever is asked. " if always else ""
    return (
        f"{opening}Chosen, and in brackets the key: {per_place}. Distance of the two {facts['distance']:.2f} (0 to 1); spread of the "
        f"share right by the key's place {facts['rstd']:.2f} (standard deviation, 0 is even)."
    )
