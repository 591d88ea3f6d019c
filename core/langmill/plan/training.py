"""What the stages of a recipe would take, by the rows that a walk through it has come to.

Of the rows that are there some of each language and file, drawn by chance, are handed on, each standing for several; rows that
models have yet to make are handed on as the stand-ins that the walk has for them. What a trainer makes of them is its own
affair (``Trainer.forecast``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from langmill.api import RowAhead, StageForecast
from langmill.disk.tables import count_rows, read_rows, read_table, table_rows
from langmill.plan.walk import Walk

LOOKED_AT = 300  # rows a language of a data set


def stages(walk: Walk) -> list[StageForecast]:
    """A forecast for each stage of which the trainer can say anything, in the recipe's order."""
    assembly = walk.assembly
    if assembly.trainer is None:
        return []
    rows: dict[str, list[RowAhead]] = {}
    found = []
    for stage in assembly.stages:
        if stage.data not in rows:
            rows[stage.data] = [*_there(walk, stage.data), *_yet_to_be_made(walk, stage.data)]
        forecast = assembly.trainer.forecast(stage, rows[stage.data], assembly.context("train"))
        if forecast is not None:
            found.append(forecast)
    return found


def _there(walk: Walk, dataset: str) -> Iterator[RowAhead]:
    counts = {path: count_rows(path) for path in walk.store.data_files(dataset, "train")}
    sums: dict[str, int] = {}
    for path, count in counts.items():
        sums[path.parent.name] = sums.get(path.parent.name, 0) + count
    for path, count in counts.items():
        wanted = -(-LOOKED_AT * count // sums[path.parent.name])
        if wanted >= count:
            yield from (RowAhead(row, row) for row in read_rows(path))
            continue
        # By chance and not evenly: sources have rhythms (a question of each kind for each disease, say).
        places = sorted(random.Random(walk.assembly.recipe.seed).sample(range(count), wanted))
        for row in table_rows(read_table(path).take(places)):
            yield RowAhead(row, row, count / wanted)


def _yet_to_be_made(walk: Walk, dataset: str) -> Iterator[RowAhead]:
    for made in walk.made.get(dataset, ()):
        if made.long.split == "train":
            yield RowAhead(made.short, made.long, made.weight, made.share)
