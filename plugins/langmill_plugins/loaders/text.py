"""Plain text."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from langmill.api import Field, RowFault, SourceContext

from .cutting import joined
from .documents import CODE, DocumentLoader
from .reading import LINE, lines, readable
from .records import Entry

BLOCK = 1 << 20  # bytes, and the characters of a paragraph after which it is handed on as it is


class PlainText(DocumentLoader):
    """Reads plain text files (UTF-8) as passages of running text.

    A file is a document, or with `documents: blank_line` each piece between blank lines is one. Paragraphs end at blank lines;
    passages are made of whole ones. All passages of a document are one family. A file in another encoding is a reject; where
    every piece is a document, only the pieces that are not UTF-8 are.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".text")
    language: str = Field(pattern=CODE, description="language of all documents, BCP-47")
    documents: Literal["file", "blank_line"] = Field(
        "file", description="what one document is: a file, or each piece between blank lines"
    )
    unwrap: bool = Field(
        False, description="join the lines of a paragraph: for files whose lines were broken at a fixed width"
    )

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """The passages, named by file, document and number."""
        name = self.name(path, context)
        if self.documents == "file":
            try:
                _check(path)
            except RowFault as fault:
                yield Entry(name, path.name, fault, None, self.language)
                return
            paragraphs = (self._laid(text) for _, text in _paragraphs(path) if isinstance(text, str))
            yield from self.cut(name, path.name, paragraphs, self.language, context)
            return
        for number, text in _paragraphs(path):
            place = f"{path.name}:{number}"
            if isinstance(text, RowFault):
                yield Entry(f"{name}.{number}", place, text, None, self.language)
            else:
                yield from self.cut(f"{name}.{number}", place, [self._laid(text)], self.language, context)

    def _laid(self, text: str) -> str:
        return joined(text) if self.unwrap else "\n".join(line.rstrip() for line in text.splitlines())


def _check(path: Path) -> None:
    """Read a file once without keeping it. Raises RowFault not_utf8, broken_text or too_long: half a document is none."""
    with readable(path), path.open("rb") as file:
        decoder, done, line = codecs.getincrementaldecoder("utf-8")(), 0, 0
        while True:
            block = file.read(BLOCK)
            if not done and block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise RowFault("not_utf8", "the file is UTF-16: save it as UTF-8")
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise RowFault("not_utf8", f"{error.reason} in the block at byte {done:,}: save it as UTF-8") from None
            if "\0" in text:
                raise RowFault("broken_text", "the file holds zero bytes: it is no text")
            if not block:
                return
            done, line = (
                done + len(block),
                len(block) - 1 - at if (at := block.rfind(b"\n")) >= 0 else line + len(block),
            )
            if line > LINE:
                raise RowFault("too_long", f"a line of more than {LINE:,} bytes")


def _paragraphs(path: Path) -> Iterator[tuple[int, str | RowFault]]:
    """The pieces between blank lines, each with the number of its first line, or the fault of one of its lines."""
    held: list[str] = []
    first, size = 0, 0
    fault: RowFault | None = None
    for number, line in lines(path):
        blank = isinstance(line, str) and not line.strip()
        if (blank or size > BLOCK) and (held or fault):
            yield first, fault or "".join(held)
            held, size, fault = [], 0, None
        if blank:
            continue
        if not held and not fault:
            first = number
        if isinstance(line, RowFault):
            fault = fault or line
        else:
            held.append(line)
            size += len(line)
    if held or fault:
        yield first, fault or "".join(held)
