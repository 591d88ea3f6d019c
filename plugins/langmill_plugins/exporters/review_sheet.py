"""Rationales for people to check: sheets for a spreadsheet, and a page for a browser."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from langmill.api import SPLITS, Choice, Context, Exporter, Field, Row, Split, whole_folder
from langmill_plugins.review.page import page_of
from langmill_plugins.review.sheets import line_of, read_sheets, sheet
from langmill_plugins.review.verdicts import told

EARLIER, PAGE = "earlier", "review.html"


class ReviewSheet(Exporter):
    """Multiple-choice rows with a rationale, for people to check: review/LANGUAGE.csv to fill in with a spreadsheet, and
    review/review.html, one file that needs no server and no network, to do the same with keys. The filter `reviewed` reads back what
    either saves.

    Of each language and split `rows` rows are taken, chosen by a hash of the row's id, so that the same ones are chosen as long as
    they are there; rows whose rationale already passed are left out. A sheet that somebody has filled in is never written over: it
    goes to review/earlier/ when new ones are written, and so does what else lies there.
    """

    rows: int = Field(50, ge=1, description="most rows of each language and split")
    splits: tuple[Split, ...] = Field(("test",), min_length=1, description="splits that are checked")

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write review/ below ``folder``."""
        target = folder / "review"
        chosen = self._chosen(rows, context)
        kept = list(_filled(target))
        with whole_folder(target) as work:
            for language, some in chosen.items():
                text = sheet(line_of(row, context.pack(language)) for row in some)
                (work / f"{language}.csv").write_bytes(text.encode("utf-8"))
            pages = [(row, context.pack(language)) for language, some in chosen.items() for row in some]
            (work / PAGE).write_bytes(page_of(pages, folder.name).encode("utf-8"))
            for name, data in kept:
                (work / EARLIER).mkdir(exist_ok=True)
                (work / EARLIER / name).write_bytes(data)
        return target

    def _chosen(self, rows: Iterable[Row], context: Context) -> dict[str, list[Row]]:
        """The sample by language, in the order of the data set."""
        best: dict[tuple[str, Split], list[tuple[int, int, Row]]] = {}
        for number, row in enumerate(rows):
            if (
                row.split in self.splits
                and isinstance(row.body, Choice)
                and row.body.explanation
                and not told(row.flags)
            ):
                ranked = best.setdefault((row.language, row.split), [])
                # the heap's first is the worst of the best
                item = (-context.seed_for("review", row.id), number, row)
                heapq.heappush(ranked, item) if len(ranked) < self.rows else heapq.heappushpop(ranked, item)
        chosen: dict[str, list[Row]] = {}
        for language, split in sorted(best, key=lambda key: (key[0], SPLITS.index(key[1]))):
            found = sorted((number, row.id, row) for _, number, row in best[language, split])
            chosen.setdefault(language, []).extend(row for _, _, row in found)
        return chosen


def _filled(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What people left in an older export, by the name that it is kept under: sheets that somebody has touched, and files of other
    kinds, since a sheet may have been saved as a workbook."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if not path.is_file() or path == folder / PAGE or path.name.startswith("."):
            continue
        if path.suffix.lower() != ".csv" or any(read_sheets([path])):
            data = path.read_bytes()
            mark = hashlib.sha256(data).hexdigest()[:8]
            yield path.name if mark in path.name else f"{path.stem}-{mark}{path.suffix}", data
