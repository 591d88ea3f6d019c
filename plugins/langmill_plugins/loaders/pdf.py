"""Books and articles in PDF: text pages as they are, pictures of text by OCR where it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from pydantic import PrivateAttr

from langmill.api import Field, Reject, Row, RowFault, SourceContext

from .documents import CODE, DocumentLoader
from .ocr import Data, data_of
from .pages import (
    Weight,
    compounds_in,
    front_and_back,
    is_picture,
    lines_of,
    page_is_picture,
    paragraphs,
    running_titles,
)
from .pdf_pages import Page, Pages
from .reading import WHOLE, readable
from .records import Entry

MOST_PAGES = 50_000  # the longest books have a few thousand


class Sheet(NamedTuple):
    """A page: its number from 0, its text, whether that is to be read from a picture, and why it can not be read."""

    number: int
    text: str
    picture: bool
    fault: RowFault | None = None


class Pdf(DocumentLoader):
    """Reads PDF files as passages of running text.

    A file is a document. As published with MMedC, a book is one of pictures if less than half of its characters, or fewer than
    200 a page, are letters and digits; of a text book of 100 pages and more the front matter (0.018 times its pages, and 3 more)
    and the last 5 pages are left out. The same rule tells single pages apart: in a text book a page is a picture where it fails
    the rule and shows one. Pictures of text are rejects (`image_page`), or with `ocr: tesseract` they are read, and their
    passages flagged `ocr`. Running titles and page numbers go, words parted at line ends are whole again. A page that can not
    be read is a reject, and the others stay; files are read by a process of its own, which a bad one may end or stall. Needs the
    extra `corpus`, for OCR `ocr` too.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".pdf",)
    language: str = Field(pattern=CODE, description="language of all documents, BCP-47")
    ocr: Literal["tesseract"] | None = Field(
        None, description="read pictures of text; null: they are left out and counted"
    )
    ocr_language: str = Field(
        "", pattern=r"^([A-Za-z_]{3,}(\+[A-Za-z_]{3,})*)?$",
        description="Tesseract's own names of its language data, as chi_tra+eng; those of language when left out",
    )  # fmt: skip

    _pages: Pages | None = PrivateAttr(None)
    _data: Data | None = PrivateAttr(None)

    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        """As of any files. Raises MissingInput before the first one when what OCR needs is not on this machine."""
        self._data = data_of(self.ocr_language or self.language, context.place) if self.ocr else None
        self._pages = Pages()
        try:
            yield from super().load(context)
        finally:
            self._pages.close()

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """The passages of a book; the fault of the file, of each page that is not read, and of the pages left out."""
        assert self._pages is not None
        name = self.name(path, context)
        try:
            sheets = _sheets(path, self._pages)
        except RowFault as fault:
            yield Entry(name, path.name, fault, None, self.language)
            return
        if not is_picture([Weight.of(sheet.text) for sheet in sheets]):
            kept = front_and_back(len(sheets))
            if len(kept) < len(sheets):
                told = f"pages 1 to {kept.start} and {kept.stop + 1} to {len(sheets)}: front matter and back"
                yield Entry(f"{name}.ends", path.name, RowFault("front_and_back", told), None, self.language)
            sheets = sheets[kept.start : kept.stop]
        yield from self._passages(name, path, sheets, context)

    def _text(self, sheet: Sheet) -> str:
        """A page's text. Raises RowFault: why there is none."""
        if sheet.fault:
            raise sheet.fault
        if not sheet.picture:
            return sheet.text
        if not self._data or not self._pages:
            raise RowFault("image_page", "a picture of text, left out; ocr: tesseract reads it")
        text = self._pages.read(sheet.number, self._data.folder, self._data.languages)
        if not text.strip():
            raise RowFault("no_text", "a picture in which Tesseract sees no text")
        return text

    def _passages(
        self,
        name: str,
        path: Path,
        sheets: Sequence[Sheet],
        context: SourceContext,
    ) -> Iterator[Entry]:
        """The passages of a book; none of them has text of a picture and of a text page, which the flag tells apart."""
        texts = [sheet.text for sheet in sheets if not sheet.picture]
        compounds, titles = compounds_in(texts), running_titles(texts)
        number = 1
        for picture, run in groupby(sheets, key=lambda sheet: sheet.picture):
            pages: list[list[str]] = []
            place = ""
            for sheet in run:
                here = f"{path.name}:page {sheet.number + 1}"
                try:
                    text = self._text(sheet)
                except RowFault as fault:
                    yield Entry(f"{name}.page{sheet.number + 1}", here, fault, None, self.language)
                    continue
                place = place or here
                pages.append(lines_of(text, titles))
            flags = ("ocr",) if picture else ()
            for entry in self.cut(name, place, paragraphs(pages, compounds), self.language, context, flags, number):
                yield entry
                number += 1


def _sheets(path: Path, pages: Pages) -> list[Sheet]:
    """All pages with their text, told apart. Raises RowFault encrypted, broken_pdf, too_long, no_text."""
    with readable(path):
        if path.stat().st_size > WHOLE:
            raise RowFault("too_long", f"more than {WHOLE:,} bytes")
        path.open("rb").close()
    count = pages.open(path)
    if count > MOST_PAGES:
        raise RowFault("too_long", f"{count:,} pages, at most {MOST_PAGES:,} are read")
    found: list[Page | RowFault] = []
    for number in range(count):
        try:
            found.append(pages.text(number))
        except RowFault as fault:
            found.append(fault)
    if not found:
        raise RowFault("no_text", "the document has no page")
    texts = [page.text for page in found if isinstance(page, Page)]
    if not texts and isinstance(found[0], RowFault):
        raise RowFault(found[0].reason, f"none of {count} pages can be read: {found[0].detail}")
    pictures = is_picture([Weight.of(text) for text in texts])
    return [
        Sheet(number, "", False, page)
        if isinstance(page, RowFault)
        else Sheet(number, page.text, page_is_picture(Weight.of(page.text), page.shows, pictures))
        for number, page in enumerate(found)
    ]
