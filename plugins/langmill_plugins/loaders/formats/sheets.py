"""Spreadsheets (.xlsx), measured before they are unpacked and read row by row."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, missing_package, nearest
from langmill_plugins.loaders.reading import WHOLE, readable

COLUMNS, ROWS = 100, 1 << 20  # a sheet may claim sixteen thousand columns, and a row any number


def sheet_rows(path: Path, sheet: str | None = None, header: tuple[str, ...] = ()) -> Iterator[tuple[int, Any]]:
    """A sheet of a spreadsheet, the first one when none is named, as ``column -> cell`` (text, None when empty) with the row's
    number. Without ``header`` the first row that is not empty is it. Of a formula the value is read that was saved with it, of
    merged cells the first has it.

    Raises MissingInput when the file is no spreadsheet, has no such sheet, names a column twice, unpacks to more than WHOLE
    bytes, or declares a document type.
    """
    try:
        import openpyxl
    except ImportError:
        raise missing_package("reading a spreadsheet", "openpyxl", "data") from None
    with readable(path):
        try:
            _safe_archive(path)
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
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
            if titles:  # many programs write a size that is smaller than the sheet
                book.worksheets[found].reset_dimensions()
            rows = (
                book.worksheets[found].iter_rows(max_col=COLUMNS, max_row=ROWS, values_only=True)
                if titles
                else iter(())
            )
            for number, cells in enumerate(rows, start=1):
                texts = [None if cell is None else str(cell) for cell in cells]
                if not any(texts):
                    continue
                if names:
                    yield number, dict(zip(names, texts, strict=False))
                else:
                    names = [(text or "").strip() for text in texts]
                    if twice := [name for name in names if name and names.count(name) > 1]:
                        raise MissingInput(f"{path}:{number}: two columns are named '{twice[0]}'")
            if not names:
                raise MissingInput(f"{path}: the sheet '{titles[found] if titles else ''}' is empty")
        except (ElementTree.ParseError, zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
            raise MissingInput(f"{path}: the sheet breaks off: {error}. Fetch the file again") from None
        finally:
            book.close()


def _safe_archive(path: Path) -> None:
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
                    # without the zero bytes of UTF-16 the same words show in every encoding
                    if re.search(rb"<!(DOCTYPE|ENTITY)", tail + block.replace(b"\0", b"")):
                        raise MissingInput(f"{path}: {item.filename} declares a document type, which is not read")
                    tail = block.replace(b"\0", b"")[-16:]
