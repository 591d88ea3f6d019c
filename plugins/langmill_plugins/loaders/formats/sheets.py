"""Spreadsheets (.xlsx), measured before they are unpacked and read row by row."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, RowFault, missing_package, nearest
from langmill_plugins.loaders.reading import WHOLE, readable

# A formula with an empty value, or none. With t="str" the value is a text that is empty, as of =IF(A2>1;"x";"").
FORMULA = re.compile(rb"<c([^<>]*)>(?:<f[^<>]*/>|<f[^<>]*>[^<]*</f>)(?:<v ?/>|<v></v>)?</c>")
UNSAVED = "a formula without a stored value: open the file in a spreadsheet program and save it once"
COLUMNS, ROWS = 100, 1 << 20  # a sheet may claim sixteen thousand columns, and a row any number


def sheet_rows(path: Path, sheet: str | None = None, header: tuple[str, ...] = ()) -> Iterator[tuple[int, Any]]:
    """A sheet of a spreadsheet, the first one when none is named, as ``column -> cell`` (text, None when empty) with the row's
    number. Without ``header`` the first row that is not empty is it. Of a formula the value is read that was saved with it; one
    without is a RowFault in its cell. Of merged cells the first has the value.

    Raises MissingInput when the file is no spreadsheet, has no such sheet, names a column twice, unpacks to more than WHOLE
    bytes, or declares a document type.
    """
    try:
        import openpyxl
    except ImportError:
        raise missing_package("reading a spreadsheet", "openpyxl", "data") from None
    with readable(path):
        try:
            unsaved = _safe_archive(path)
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            formulas = openpyxl.load_workbook(path, read_only=True) if unsaved else None
        except (MissingInput, OSError, MemoryError):
            raise
        except Exception as error:  # zipfile, zlib, XML and openpyxl each have their own for a file they can not take
            raise MissingInput(f"{path}: is not a whole spreadsheet: {error}. Fetch the file again") from None
        try:
            titles = [found.title for found in book.worksheets]
            if sheet is not None and sheet not in titles:
                raise MissingInput(f"{path}: has no sheet '{sheet}': {nearest(sheet, titles)}")
            found = titles.index(sheet) if sheet is not None else 0
            names: list[str] = list(header)
            rows = _cells(book, found) if titles else iter(())
            written = _cells(formulas, found) if formulas else repeat(())
            for number, (cells, made) in enumerate(zip(rows, written, strict=False), start=1):
                texts = [None if cell is None else str(cell) for cell in cells]
                if not any(texts) and not any(made):
                    continue
                if names:
                    value: dict[str, Any] = dict(zip(names, texts, strict=False))
                    for name, formula in zip(names, made, strict=False):
                        if formula is not None and value[name] is None:
                            value[name] = RowFault("no_value", UNSAVED)
                    yield number, value
                else:
                    names = [(text or "").strip() for text in texts]
                    if twice := [name for name in names if name and names.count(name) > 1]:
                        raise MissingInput(
                            f"{path}:{number}: two columns are named '{twice[0]}': rename one of them in the file"
                        )
            if not names:
                raise MissingInput(f"{path}: the sheet '{titles[found] if titles else ''}' is empty")
        except (ElementTree.ParseError, zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
            raise MissingInput(f"{path}: the sheet breaks off: {error}. Fetch the file again") from None
        finally:
            book.close()
            if formulas:
                formulas.close()


def _cells(book: Any, sheet: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a sheet. The size that it declares is not believed: many programs write one that is too small."""
    book.worksheets[sheet].reset_dimensions()
    rows: Iterator[tuple[Any, ...]] = book.worksheets[sheet].iter_rows(max_col=COLUMNS, max_row=ROWS, values_only=True)
    return rows


def _safe_archive(path: Path) -> bool:
    """Whether formulas seem to be without a value. Raises MissingInput for an archive that is not to be unpacked."""
    found = set[bool]()
    with zipfile.ZipFile(path) as archive:
        size = sum(item.file_size for item in archive.infolist())
        if size > WHOLE:
            raise MissingInput(f"{path}: unpacks to {size:,} bytes, at most {WHOLE:,} are read")
        for item in archive.infolist():
            if not item.filename.endswith((".xml", ".rels")):
                continue
            with archive.open(item) as member:
                tail = b""
                while block := member.read(1 << 20):
                    found.update(b't="str"' in match[1] for match in FORMULA.finditer(block))
                    # without the zero bytes of UTF-16 the same words show in every encoding
                    if re.search(rb"<!(DOCTYPE|ENTITY)", tail + block.replace(b"\0", b"")):
                        raise MissingInput(f"{path}: {item.filename} declares a document type, which is not read")
                    tail = block.replace(b"\0", b"")[-16:]
    return found == {False}
