"""Records in files of any common format: the loader for a data set that needs none of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Context, Field, RecipeError, Row, SourceContext

from .fields import Fields
from .formats.columnar import parquet_rows
from .formats.delimited import csv_rows
from .formats.documents import Item, json_records, line_records
from .formats.sheets import sheet_rows
from .reading import ending
from .records import Entry, FileLoader, name_of

CELLS, SHEETS = (".csv", ".tsv"), (".xlsx",)
# The options that only some files have a use for.
FOR: dict[str, tuple[str, ...]] = {"columns": (*CELLS, *SHEETS), "delimiter": CELLS, "sheet": SHEETS}


class Table(Fields, FileLoader):
    """Reads records from CSV, TSV, JSON, JSON Lines, XLSX and Parquet files, told by their endings (the first four also packed
    with gzip: .json.gz); options say which field holds what.

    A ``.json`` file is a list of records, an object of records keyed by id, or a record a line, whichever it holds; a list of
    texts is read with ``body: text``. Exams with a column an option: ``body: choice``, ``options: [A, B, C, D]``. A CSV or
    XLSX file without a header needs ``columns``. A record that can not be read, is longer than 10 MB or lacks what its body
    needs is rejected with its file and line.
    """

    suffixes: ClassVar[tuple[str, ...]] = (*CELLS, ".json", ".jsonl", *SHEETS, ".parquet")
    columns: tuple[str, ...] = Field((), description="names of the columns, for CSV, TSV and XLSX without a header")
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="what stands between two cells; a comma, in .tsv files a tab"
    )
    sheet: str | None = Field(
        None, min_length=1, description="the sheet of XLSX files to read; the first one when left out"
    )

    def files(self, context: Context) -> list[Path]:
        """The source's files. Raises RecipeError for a file of no format that is known, and for an option that none of them
        has a use for."""
        found = super().files(context)
        endings = {ending(path) for path in found}
        for path in found:
            if not self.mine(path):
                old = ". Save it as .xlsx" if ending(path) == ".xls" else ""
                raise RecipeError(
                    f"{context.place}.path: '{path.name}': the loader table reads {', '.join(self.suffixes)}, the first four also "
                    f"as .gz{old}"
                )
        for option, fitting in FOR.items():
            if getattr(self, option) and not endings & set(fitting):
                raise RecipeError(
                    f"{context.place}.{option}: is for {', '.join(fitting)}; the source's files end in "
                    f"{', '.join(sorted(endings))}. Take it out"
                )
        return found

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a record, named by its id, its key or its place in the file."""
        split = self.file_split(path, context)
        for number, key, place, value in self._items(path):
            if isinstance(value, str) and self.body == "text":
                value = {self.text: value}
            yield self.entry(value, (key and name_of(key)) or self.position(path, context, number), place, split)

    def mine(self, path: Path) -> bool:
        """Whether the format is known; a spreadsheet or a Parquet file is packed already."""
        packed = path.suffix.lower() == ".gz"
        return ending(path) in (set(self.suffixes) - {*SHEETS, ".parquet"} if packed else self.suffixes)

    def _items(self, path: Path) -> Iterator[Item]:
        kind = ending(path)
        if kind == ".json":
            return json_records(path)
        if kind == ".jsonl":
            return line_records(path)
        if kind in SHEETS:
            rows = sheet_rows(path, self.sheet, self.columns)
        elif kind in CELLS:
            rows = csv_rows(path, self.delimiter or ("\t" if kind == ".tsv" else ","), self.columns)
        else:
            rows = parquet_rows(path, self.columns_of)
        return ((number, "", f"{path.name}:{number}", value) for number, value in rows)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row the fields tell."""
        return self.made(entry, context)
