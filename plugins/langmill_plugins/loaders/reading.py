"""Files as records, with limits: lines, JSON, XML (more formats lie in ``formats``). Nothing here knows a data set.

A record that can not be read becomes a :class:`RowFault` in the stream, so that the reader goes on after it; a file that can
not be read at all raises MissingInput with its name. Nothing is unbounded: a line, a cell and a whole document have a largest
size, XML has a largest depth and may not declare a document type (so no entity is ever expanded).
"""

from __future__ import annotations

import gzip
import json
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from langmill.api import MissingInput, RowFault

LINE = 10_000_000  # bytes: no record of a text set comes near it
WHOLE = 512_000_000  # bytes of a document that has to be in memory whole
DEPTH = 100  # nested XML elements
PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst")  # what a file's name may go on with; the first is read where it says so
ELEMENTS = 10_000_000  # XML elements: each takes some hundred bytes of memory, however short it is written


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever the system says while reading becomes a MissingInput that names the file."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MissingInput(f"{path}: is not a whole gzip file: {error}. Fetch the file again") from None
    except OSError as error:
        raise MissingInput(f"{path}: can not be read: {error.strerror or error}") from error


def opened(path: Path) -> IO[bytes]:
    """A file to be read, unpacked on the way when its name ends in ``.gz``. Raises what the system and gzip raise."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def ending(path: Path) -> str:
    """What a file's name ends in, in small letters, without a ``.gz``: ``.json`` of ``c4-ru.JSON.gz``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == ".gz" else suffix


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
    with readable(path), opened(path) as file:
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
                detail = f"byte {error.start + 1} of the line is not UTF-8: {as_utf8(line)}"
                yield number, RowFault("not_utf8", detail)


def as_utf8(data: bytes) -> str:
    """What to do with a file of another encoding. Which one it is, only UTF-16 tells; the others are named for people to choose."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16: save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 in > out"
    return (
        "save the file as UTF-8, or: iconv -f GB18030 -t UTF-8 in > out (or WINDOWS-1252, WINDOWS-1251, SHIFT_JIS, EUC-KR: "
        "what it was written in)"
    )


def parsed(text: str | bytes) -> Any:
    """JSON. Raises RowFault broken_json or too_deep; of bytes UnicodeDecodeError, too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise RowFault("too_deep", "nested too deeply") from None
    except UnicodeDecodeError:  # of a whole file, which its reader tells
        raise
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
    data = whole(path).removeprefix(b"\xef\xbb\xbf")
    try:
        value = parsed(data)
    except UnicodeDecodeError as error:
        raise MissingInput(f"{path}: byte {error.start + 1:,} is not UTF-8: {as_utf8(data)}") from None
    except RowFault as fault:
        raise MissingInput(f"{path}: is not JSON: {fault.detail}. Fetch the file again") from None
    if not isinstance(value, kind):
        raise MissingInput(
            f"{path}: holds a {type(value).__name__}, expected a {kind.__name__}: it is another set's file, or the set in a newer "
            "layout, which use: table may read (recipes/hub.md)"
        )
    return value


class _Tree(ElementTree.TreeBuilder):
    """Builds a tree, but refuses a document type (the way to entity tricks), deep nesting and masses of elements."""

    depth = elements = 0

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise RowFault("doctype", "declares a document type, which is not read")

    def start(self, tag: Any, attrs: Any, /) -> ElementTree.Element:
        self.depth += 1
        self.elements += 1
        if self.depth > DEPTH:
            raise RowFault("too_deep", f"more than {DEPTH} nested elements")
        if self.elements > ELEMENTS:
            raise RowFault("too_long", f"more than {ELEMENTS:,} elements")
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
    return xml_of(data)


def xml_of(data: bytes) -> ElementTree.Element:
    """The root of an XML document's bytes. Raises RowFault broken_xml (with line and column), doctype, too_deep or
    too_long."""
    try:
        root: ElementTree.Element = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Tree()))
    except ElementTree.ParseError as error:
        raise RowFault("broken_xml", str(error)) from None
    except (LookupError, ValueError) as error:
        raise RowFault("broken_xml", f"encoding: {error}") from None
    return root
