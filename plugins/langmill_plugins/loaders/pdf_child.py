"""The process that reads PDF files, run as a script: bytes from anywhere go through libraries in C, and may end or stall it.

One JSON request a line on standard input, one reply a line on standard output; :mod:`.pdf_pages` is the other end. Requests are
``["open", path]``, ``["text", page]`` and ``["read", page, folder, languages]`` (OCR with Tesseract's data in ``folder``). A reply
is an object; one with ``fault`` says in two words and in a sentence what is wrong. Imports nothing of langmill: it starts at once.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

MEMORY = 4 << 30  # bytes of addresses: a page that unpacks to more ends this process, and no other
DPI = 300
MOST_PIXELS = 40_000_000  # an A3 page at 300 dots an inch has 17 million
FEW_LETTERS = 200  # a page with as many is no picture by the published rule, and need not be looked at


class Book:
    """An open file, and Tesseract once it is asked for."""

    def __init__(self) -> None:
        self.document: Any = None
        self.tesseract: Any = None

    def open(self, path: str) -> dict[str, Any]:
        """How many pages a file has; the one before is closed."""
        import pypdfium2

        if self.document is not None:
            self.document.close()
            self.document = None
        try:
            self.document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            locked = "assword" in str(error) or "ecurity" in str(error)
            told = f"is locked: {error}" if locked else f"is no whole PDF file: {error} Fetch the file again"
            return {"fault": ["encrypted" if locked else "broken_pdf", told]}
        return {"pages": len(self.document)}

    def text(self, number: int) -> dict[str, Any]:
        """A page's text, and whether there is a picture on it: only looked for where there is little text."""
        from pypdfium2 import raw

        page = self.document[number]
        layer = page.get_textpage()
        # A hyphen at a line's end comes as a control character in the place of both.
        text = re.sub("[\x02\ufffe]\n?", "-\n", layer.get_text_bounded().replace("\r\n", "\n"))
        layer.close()
        letters = sum(map(str.isalnum, text))
        sure = letters >= FEW_LETTERS and 2 * letters >= len(text)
        shows = not sure and any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3))
        page.close()
        return {"text": text, "shows": shows}

    def read(self, number: int, folder: str, languages: str) -> dict[str, Any]:
        """A page's text, drawn in grey and read by Tesseract."""
        page = self.document[number]
        inches = page.get_width() * page.get_height() / 72**2
        scale = min(DPI, (MOST_PIXELS / max(inches, 0.01)) ** 0.5) / 72
        bitmap = page.render(scale=scale, grayscale=True)
        if self.tesseract is None:
            import tesserocr

            self.tesseract = tesserocr.PyTessBaseAPI(path=folder, lang=languages)
        try:
            self.tesseract.SetImageBytes(bytes(bitmap.buffer), bitmap.width, bitmap.height, 1, bitmap.stride)
            self.tesseract.SetSourceResolution(max(70, round(scale * 72)))
            return {"text": self.tesseract.GetUTF8Text()}
        finally:
            self.tesseract.Clear()
            bitmap.close()
            page.close()


def main() -> None:
    """Answer until the input ends."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):  # not on this system
        pass
    book = Book()
    for line in sys.stdin:
        what, *rest = json.loads(line)
        try:
            reply = getattr(book, what)(*rest)
        except Exception as error:  # whatever a library finds wrong with a page is told of that page
            reply = {"fault": ["broken_pdf", f"{type(error).__name__}: {error}"[:300]]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
