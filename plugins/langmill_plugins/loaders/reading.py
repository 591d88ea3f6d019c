"""Files as records, with limits: lines, JSON, CSV, XML, spreadsheets. Nothing here knows a data set.

A record that can not be read becomes a :class:`RowFault` in the stream, so that the reader goes on after it; a file that can
not be read at all raises MissingInput with its name. Nothing is unbounded: a line, a cell and a whole document have a largest
size, XML has a largest depth and may not declare a document type (so no entity is ever expanded), a spreadsheet is measured
before it is unpacked.
"""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, RowFault, missing_package

LINE = 10_000_000  # bytes: no record of a text set comes near it
WHOLE = 512_000_000  # bytes of a document that has to be in memory whole
COLUMNS = 100  # a sheet may claim sixteen thousand
DEPTH = 100  # nested XML elements


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever the system says while reading becomes a MissingInput that names the file."""
    try:
        yield
    except OSError as error:
        raise MissingInput(f"{path}: can not be read: {error.strerror or error}") from error


def whole(path: Path) -> bytes:
    """A file's bytes. Raises MissingInput when it is larger than WHOLE."""
    with readable(path):
        size = path.stat().st_size
        if size > WHOLE:
            raise MissingInput(
                f"{path}: {size:,} bytes, and this format is read whole: at most {WHOLE:,}. Split the file"
            )
        return path.read_bytes()


def lines(path: Path) -> Iterator[tuple[int, str | RowFault]]:
    """Numbered lines (from 1, line ends kept), or the fault of one: too_long, not_utf8. A byte-order mark is dropped."""
    with readable(path), path.open("rb") as file:
        number = 0
        while line := file.readline(LINE + 1):
            number += 1
            if len(line) > LINE:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE)
                yield number, RowFault("too_long", f"a line of more than {LINE:,} bytes")
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                yield number, RowFault("not_utf8", f"byte {error.start + 1} of the line is not UTF-8")


def parsed(text: str | bytes) -> Any:
    """JSON. Raises RowFault broken_json or too_deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise RowFault("too_deep", "nested too deeply") from None
    except ValueError as error:
        raise RowFault("broken_json", str(error)) from None


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """One JSON object a line, with its line number; blank lines are no records. A fault stands in for a broken line."""
    for number, line in lines(path):
        if isinstance(line, RowFault):
            yield number, line
        elif line.strip():
            try:
                value = parsed(line)
            except RowFault as fault:
                value = fault
            else:
                if not isinstance(value, dict):
                    value = RowFault("wrong_type", f"the line is a {type(value).__name__}, expected an object")
            yield number, value


def json_document(path: Path, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A whole JSON file that must be a list or an object. Raises MissingInput, naming the file, when it is neither."""
    try:
        value = parsed(whole(path).removeprefix(b"\xef\xbb\xbf"))
    except RowFault as fault:
        raise MissingInput(f"{path}: is not JSON: {fault.detail}. Fetch the file again") from None
    if not isinstance(value, kind):
        raise MissingInput(
            f"{path}: holds a {type(value).__name__}, expected a {kind.__name__}: is it another set's file?"
        )
    return value


def csv_rows(path: Path, delimiter: str, header: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    """Records as ``column -> cell`` with the number of their first line. Without ``header`` the first record is it.

    Raises MissingInput when there is no header to read, or it names a column twice.
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
            yield first, RowFault("broken_line", str(error))
            continue
        broken = [faults.pop(number) for number in range(first, reader.line_num + 1) if number in faults]
        if broken:
            if not names:
                raise MissingInput(f"{path}:{first}: the names of the columns can not be read: {broken[0].detail}")
            yield first, broken[0]
        elif not any(cell.strip() for cell in cells):
            continue
        elif not names:
            names = cells
            if twice := [name for name in names if name and names.count(name) > 1]:
                raise MissingInput(f"{path}:{first}: two columns are named '{twice[0]}'")
        elif len(cells) != len(names):
            yield first, RowFault("broken_line", f"{len(cells)} cells, expected {len(names)}")
        else:
            yield first, dict(zip(names, cells, strict=True))
    if not names:
        raise MissingInput(f"{path}: is empty: a CSV file starts with the names of its columns")


class _Tree(ElementTree.TreeBuilder):
    """Builds a tree, but refuses a document type (the way to entity tricks) and deep nesting."""

    depth = 0

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise RowFault("doctype", "declares a document type, which is not read")

    def start(self, tag: Any, attrs: Any, /) -> ElementTree.Element:
        self.depth += 1
        if self.depth > DEPTH:
            raise RowFault("too_deep", f"more than {DEPTH} nested elements")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> ElementTree.Element:
        self.depth -= 1
        return super().end(tag)


def xml_root(path: Path) -> ElementTree.Element:
    """The root of an XML document. Raises RowFault broken_xml (with line and column), doctype, too_deep or too_long."""
    with readable(path):
        if path.stat().st_size > LINE:
            raise RowFault("too_long", f"more than {LINE:,} bytes")
        data = path.read_bytes()
    try:
        root: ElementTree.Element = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Tree()))
    except ElementTree.ParseError as error:
        raise RowFault("broken_xml", str(error)) from None
    except (LookupError, ValueError) as error:
        raise RowFault("broken_xml", f"encoding: {error}") from None
    return root


def sheet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The first sheet of a spreadsheet as ``column -> cell`` (text, None when empty) with the row's number.

    Raises MissingInput when the file is no spreadsheet, unpacks to more than WHOLE bytes, or declares a document type.
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
            names: list[str] = []
            rows = book.worksheets[0].iter_rows(max_col=COLUMNS, values_only=True) if book.worksheets else iter(())
            for number, cells in enumerate(rows, start=1):
                texts = [None if cell is None else str(cell) for cell in cells]
                if not any(texts):
                    continue
                if names:
                    yield number, dict(zip(names, texts, strict=False))
                else:
                    names = [text or "" for text in texts]
            if not names:
                raise MissingInput(f"{path}: the first sheet is empty")
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
