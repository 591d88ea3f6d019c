"""Which licences lie on what is already made: on the rows of a data set, on a trained stage, on a base model that this program wrote.

Rows carry the licences of all that they were made from, as they were when the rows were made; a licence that the recipe names another
way by now counts as well. A stage keeps what it learnt from, with all before it, since its data set may be made anew without it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from langmill.api import MissingInput, Split, Stage
from langmill.disk.store import RunFolder
from langmill.recipe.assembly import Assembly

Carried = tuple[tuple[str, ...], bool]
"""The licences of a row (an empty one where it names none), and whether it was made of another row."""


def of_rows(
    assembly: Assembly, store: RunFolder, dataset: str, splits: Iterable[Split | None] = (None,)
) -> Counter[Carried]:
    """How many rows of a finished data set carry which licences. ``splits`` None: all. Raises MissingInput when it is not there."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: Counter[tuple[str, tuple[str, ...], bool]] = Counter()
    for path in (path for split in splits for path in store.data_files(dataset, split)):
        for batch in pq.ParquetFile(path).iter_batches(columns=["source", "licenses", "parents"]):
            made = pc.greater(pc.list_value_length(batch["parents"]), 0).to_pylist()
            texts = map(tuple, batch["licenses"].to_pylist())
            found.update(zip(batch["source"].to_pylist(), texts, made, strict=True))
    carried: Counter[Carried] = Counter()
    for (source, licenses, was_made), n in found.items():
        now = [assembly.sources[source].license] if source in assembly.sources else []
        carried[tuple(dict.fromkeys((*licenses, *now))) or ("",), was_made] += n
    return carried


def of_base(assembly: Assembly) -> list[str]:
    """The licences of what the base learnt from, where it is a folder that this program wrote: an exported model, or a stage of a run."""
    base = assembly.trainer.base if assembly.trainer else ""
    try:
        folder = assembly.context("train.base").path(base) if base else None
    except MissingInput:
        folder = None
    if folder is None or base.startswith("local/") or not folder.is_dir():
        return []
    return sorted({*_told(folder / "langmill.json"), *_told(folder.parent / "stage.json")})


def of_stage(store: RunFolder, stage: str) -> list[str]:
    """The licences of what a trained stage and those before it learnt from, as they were then."""
    return _told(store.root / "train" / stage / "stage.json")


def learning(assembly: Assembly, store: RunFolder, stage: Stage) -> list[str]:
    """The licences of what a stage is about to learn from: its rows, and what it starts from."""
    start = of_base(assembly) if stage.start == "base" else of_stage(store, stage.start)
    rows = of_rows(assembly, store, stage.data, ("train", "dev"))
    return sorted({*start, *(license for licenses, _ in rows for license in licenses)})


def _told(path: Path) -> list[str]:
    try:
        licenses = json.loads(path.read_text("utf-8")).get("licenses")
    except (OSError, ValueError, AttributeError):  # none of ours, or damaged, which its reader says better
        return []
    return [str(license) for license in licenses] if isinstance(licenses, list) else []
