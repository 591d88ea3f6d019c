"""Books and articles in PDF: text pages as they are, pictures of text by OCR where it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from langmill.api import Field, Reject, Row, RowFault, SourceContext, missing_package

from .documents import CODE, DocumentLoader
from .ocr import Reader
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
from .reading import WHOLE, readable
from .records import Entry


class Sheet(NamedTuple):
    """A page: its number from 0, its text, and whether that is to be read from a picture."""

    number: int
    text: str
    picture: bool


class Pdf(DocumentLoader):
    """Reads PDF files as passages of running text.

    A file is a document. As published with MMedC, a book is one of pictures if less than half of its characters, or fewer than
    200 a page, are letters and digits; of a text book of 100 pages and more the front matter (0.018 times its pages, and 3 more)
    and the last 5 pages are left out. The same rule tells single pages apart: in a text book a page is a picture where it fails
    the rule and shows one. Pictures of text are rejects (`image_page`), or with `ocr: tesseract` they are read, and their
    passages flagged `ocr`. Running titles and page numbers go, words parted at line ends are whole again. Needs the extra
    `corpus`, for OCR `ocr` too.
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

    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        """As of any files. Raises MissingInput before the first one when what OCR needs is not on this machine."""
        if self.ocr:
            self._reader(context).close()
        yield from super().load(context)

    def _reader(self, context: SourceContext) -> Reader:
        return Reader(self.ocr_language or self.language, context.place)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """The passages of a book; the fault of the file, of each picture that is not read, and of the pages left out."""
        name = self.name(path, context)
        with ExitStack() as stack:
            try:
                book = _opened(path, stack)
                sheets = _sheets(book)
            except RowFault as fault:
                yield Entry(name, path.name, fault, None, self.language)
                return
            if not is_picture([Weight.of(sheet.text) for sheet in sheets]):
                kept = front_and_back(len(sheets))
                if len(kept) < len(sheets):
                    told = f"pages 1 to {kept.start} and {kept.stop + 1} to {len(sheets)}: front matter and back"
                    yield Entry(f"{name}.ends", path.name, RowFault("front_and_back", told), None, self.language)
                sheets = sheets[kept.start : kept.stop]
            wanted = self.ocr and any(sheet.picture for sheet in sheets)
            reader = stack.enter_context(closing(self._reader(context))) if wanted else None
            yield from self._passages(
                name, path, sheets, lambda sheet: reader.read(book[sheet.number]) if reader else None, context
            )

    def _passages(
        self,
        name: str,
        path: Path,
        sheets: Sequence[Sheet],
        read: Callable[[Sheet], str | None],
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
                    text = read(sheet) if picture else sheet.text
                    if text is None:
                        raise RowFault("image_page", "a picture of text, left out; ocr: tesseract reads it")
                except RowFault as fault:
                    yield Entry(f"{name}.page{sheet.number + 1}", here, fault, None, self.language)
                    continue
                place = place or here
                pages.append(lines_of(text, titles))
            flags = ("ocr",) if picture else ()
            for entry in self.cut(name, place, paragraphs(pages, compounds), self.language, context, flags, number):
                yield entry
                number += 1


def _opened(path: Path, stack: ExitStack) -> Any:
    """The document, closed with ``stack``. Raises RowFault encrypted, broken_pdf or too_long, MissingInput without the package."""
    try:
        import pypdfium2
    except ImportError:
        raise missing_package("reading PDF", "pypdfium2", "corpus") from None
    with readable(path):
        if path.stat().st_size > WHOLE:
            raise RowFault("too_long", f"more than {WHOLE:,} bytes")
    try:
        book = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error) or "ecurity" in str(error):
            raise RowFault("encrypted", f"is locked: {error}") from None
        raise RowFault("broken_pdf", f"is no whole PDF file: {error}. Fetch the file again") from None
    stack.callback(book.close)
    return book


def _sheets(book: Any) -> list[Sheet]:
    """All pages with their text, told apart. Raises RowFault broken_pdf, no_text."""
    import pypdfium2

    found = []
    try:
        for number in range(len(book)):
            page = book[number]
            text = page.get_textpage()
            # A hyphen at a line's end comes as a control character in the place of both.
            words = re.sub("[\x02\ufffe]\n?", "-\n", text.get_text_bounded().replace("\r\n", "\n"))
            found.append((number, words, _shows_picture(page)))
            text.close()
            page.close()
    except pypdfium2.PdfiumError as error:
        raise RowFault("broken_pdf", f"page {len(found) + 1} can not be read: {error}") from None
    if not found:
        raise RowFault("no_text", "the document has no page")
    weights = [Weight.of(text) for _, text, _ in found]
    pictures = is_picture(weights)
    return [
        Sheet(number, text, page_is_picture(weight, shown, pictures))
        for (number, text, shown), weight in zip(found, weights, strict=True)
    ]


def _shows_picture(page: Any) -> bool:
    from pypdfium2 import raw

    return any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3))
