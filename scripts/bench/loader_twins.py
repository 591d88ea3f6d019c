"""Items of one exam that two sets hold: how many the filters for duplicates find, row by row, between the sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.loader_audit import audited, letters
from bench.loader_sets import SETS
from bench.section import Section
from langmill.api import Choice, DatasetFilter, Row, StepContext, packs_in
from langmill_plugins.filters.exact import Exact
from langmill_plugins.filters.minhash import MinHash

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

PIECE = 1000
BEGINNING = 60  # letters that two Spanish exam questions begin with when they are one; later ones differ in spelling
CONTEXT = StepContext("datasets.x.steps[0]", 17, {pack.code: pack for pack in packs_in("langmill_languages")}, Path())


class Twins(NamedTuple):
    """Two sets, the language they are compared in, and how many of the second's items the readme says the first has, too."""

    first: str
    second: str
    language: str
    stated: int


# The last four are of Apollo's dev questions, which were taken from these sets.
PAIRS = (
    Twins("medqa-usmle", "medqa-usmle-4opt", "en", 300),
    Twins("headqa", "casimedicos", "es", 97),
    Twins("medqa-usmle", "apollo", "en", 45),
    Twins("medmcqa-normalised", "apollo", "en", 68),
    Twins("pubmedqa", "apollo", "en", 29),
    Twins("cmmlu", "apollo", "zh", 45),
)
QUICK = 2
# Pairs of which so many must be found: pictures are rejected before (277 of 300 are left), and Apollo cuts pubmedqa's passages.
FOUND = (
    ("medqa-usmle", "medqa-usmle-4opt", 277),
    ("headqa", "casimedicos", 95),
    ("medmcqa-normalised", "apollo", 68),
    ("cmmlu", "apollo", 45),
)


@dataclass
class _Held:
    """The facts of signed rows, at hand."""

    table: pa.Table
    held: int = 0

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def take(self, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        import pyarrow as pa

        return self.table.select(list(columns or self.table.column_names)).take(pa.array(positions))


def dropped(part: DatasetFilter, rows: Sequence[Row]) -> dict[str, str]:
    """What a filter drops of rows, each with the row that it repeats; run as the core runs it."""
    import numpy as np
    import pyarrow as pa

    keys, facts = [], []
    for start in range(0, len(rows), PIECE):
        made = part.sign(rows[start : start + PIECE], CONTEXT)
        places = made.keys.column("row").to_numpy().astype(np.int64) + start
        keys.append(pa.table({"key": made.keys.column("key"), "position": places}))
        facts.append(made.facts)
    table = pa.concat_tables(keys).sort_by([("key", "ascending"), ("position", "ascending")]).combine_chunks()
    drops = part.decide(iter(table.to_batches()), _Held(pa.Table.from_batches(facts)), CONTEXT)
    return {rows[position].id: drop.like for position, drop in drops}


def _rows(data: Path, folder: str, language: str) -> list[Row]:
    one = next(one for one in SETS if one.folder == folder)
    return [replace(row, split="train") for row in audited(data, one).rows if row.language == language]


def _beginnings(rows: Sequence[Row]) -> list[str]:
    found = [letters(row.body.question).casefold() for row in rows if isinstance(row.body, Choice)]
    return [text[:BEGINNING] for text in found]


def twins(quick: bool, work: Path, data: Path) -> Section:
    """Of each pair: rows of the second set whose question begins as one of the first, and what the filters find of them."""
    section = Section("twins")
    table = []
    for pair in PAIRS[:QUICK] if quick else PAIRS:
        first, second = (_rows(data, name, pair.language) for name in (pair.first, pair.second))
        begins = set(_beginnings(first))
        alike = {row.id for row, begin in zip(second, _beginnings(second), strict=True) if begin in begins}
        counts = []
        for part in (Exact(), MinHash()):
            likes = dropped(part, [*first, *second])
            between = {tuple(sorted(both, key=lambda id: id.startswith(pair.second))) for both in likes.items()
                       if len({id.split("/")[0] for id in both}) == 2}  # fmt: skip
            counts.append(len({both[1] for both in between}))
        table.append((f"{pair.first}, {pair.second} ({pair.language})", len(second), pair.stated, len(alike), *counts))
        section.figures[f"{pair.first}, {pair.second}"] = {"stated": pair.stated, "rows": len(second), "alike": len(alike),
                                                          "exact": counts[0], "minhash": counts[1]}  # fmt: skip
    section.table(
        ("sets", "rows of the second", "stated", f"begin alike ({BEGINNING} letters)", "exact", "minhash"), table
    )
    for first, second, least in FOUND[:QUICK] if quick else FOUND:
        figures = section.figures[f"{first}, {second}"]
        section.goal(f"{first}, {second}: found by minhash, of those stated or kept", figures["minhash"], ">=", least)
    return section
