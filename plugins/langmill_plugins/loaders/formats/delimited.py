"""Cells between commas or tabs: CSV and TSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, RowFault
from langmill_plugins.loaders.reading import LINE, lines


def csv_rows(path: Path, delimiter: str, header: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    """Records as ``column -> cell`` with the number of their first line. Without ``header`` the first record is it.

    Raises MissingInput when there is no header to read, it names a column twice, or its names seem to stand between other signs.
    """
    faults: dict[int, RowFault] = {}

    def feed() -> Iterator[str]:
        for number, line in lines(path):
            if isinstance(line, RowFault):
                faults[number] = line
                yield "\n"
            else:
                yield line

    csv.field_size_limit(LINE)
    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    names: list[str] = list(header)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if not names:
                raise MissingInput(f"{path}:{first}: the names of the columns can not be read: {error}") from None
            more = f", up to line {reader.line_num}" if reader.line_num > first else ""  # a quotation that does not end
            yield first, RowFault("broken_line", f"{error}{more}")
            continue
        broken = [faults.pop(number) for number in range(first, reader.line_num + 1) if number in faults]
        if broken:
            if not names:
                raise MissingInput(f"{path}:{first}: the names of the columns can not be read: {broken[0].detail}")
            yield first, broken[0]
        elif not any(cell.strip() for cell in cells):
            continue
        elif not names:
            names = [cell.strip() for cell in cells]
            if len(names) == 1 and (others := [sign for sign in ";\t|," if sign != delimiter and sign in names[0]]):
                raise MissingInput(
                    f"{path}:{first}: the only column is named '{names[0][:80]}', expected {json.dumps(delimiter)} between the names: "
                    f"use: table reads it with delimiter: {json.dumps(others[0])}"
                )
            if twice := [name for name in names if name and names.count(name) > 1]:
                raise MissingInput(
                    f"{path}:{first}: two columns are named '{twice[0]}': rename one of them in the file"
                )
        elif len(cells) != len(names):
            yield first, RowFault("broken_line", f"{len(cells)} cells, expected {len(names)}")
        else:
            yield first, dict(zip(names, cells, strict=True))
    if not names:
        raise MissingInput(f"{path}: is empty: a CSV file starts with the names of its columns")
