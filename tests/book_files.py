"""Books made by the tests themselves: PDF with text in any script, with pictures of text, and EPUB."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Picture(NamedTuple):
    """A page that shows a grey picture and no text."""

    width: int
    height: int
    grey: bytes


def pdf(pages: Sequence[Sequence[str] | Picture]) -> bytes:
    """A PDF file: each page its lines of text, or a picture over all of it. Its font is not embedded: a ToUnicode map tells which
    characters the codes stand for, which is what readers go by."""
    objects: list[bytes] = [b"", b""]

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    def stream(data: bytes, more: bytes = b"") -> bytes:
        packed = zlib.compress(data)
        return b"<< %s/Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (more, len(packed), packed)

    letters = sorted({letter for page in pages if not isinstance(page, Picture) for line in page for letter in line})
    codes = {letter: number for number, letter in enumerate(letters, start=1)}
    pairs = "\n".join(f"<{code:04x}> <{letter.encode('utf-16-be').hex()}>" for letter, code in codes.items())
    table = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /M def /CMapType 2 def\n"
        f"1 begincodespacerange <0000> <ffff> endcodespacerange\n{len(codes)} beginbfchar\n{pairs}\nendbfchar\n"
        "endcmap CMapName currentdict /CMap defineresource pop end end"
    )
    known = add(stream(table.encode()))
    widths = " ".join(f"{code} [{500 if ord(letter) < 0x1100 else 1000}]" for letter, code in codes.items())
    face = add(b"<< /Type /FontDescriptor /FontName /F /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 900 "
               b"/Descent -200 /CapHeight 700 /StemV 80 >>")  # fmt: skip
    below = add(
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /F /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) "
        b"/Supplement 0 >> /FontDescriptor %d 0 R /DW 500 /W [%s] >>" % (face, widths.encode())
    )
    font = add(
        b"<< /Type /Font /Subtype /Type0 /BaseFont /F /Encoding /Identity-H /DescendantFonts [%d 0 R] /ToUnicode %d 0 R >>"
        % (below, known)
    )
    kids = []
    for page in pages:
        if isinstance(page, Picture):
            size = b"/Width %d /Height %d " % (page.width, page.height)
            shown = add(
                stream(
                    page.grey, b"/Type /XObject /Subtype /Image %s/ColorSpace /DeviceGray /BitsPerComponent 8 " % size
                )
            )
            content, used = b"595 0 0 842 0 0 cm /I Do", b"/XObject << /I %d 0 R >>" % shown
        else:
            rows = "".join(
                f"1 0 0 1 60 {780 - 14 * row} Tm <{''.join(f'{codes[letter]:04x}' for letter in line)}> Tj\n"
                for row, line in enumerate(page)
            )
            content, used = f"BT /F 10 Tf\n{rows}ET".encode(), b"/Font << /F %d 0 R >>" % font
        kids.append(add(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << %s >> /Contents %d 0 R >>"
            % (used, add(stream(content)))
        ))  # fmt: skip
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))
    out, places = b"%PDF-1.5\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(
        b"%010d 00000 n \n" % at for at in places
    )
    return out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)


def with_drawing_of_itself(data: bytes) -> bytes:
    """A PDF of :func:`pdf` whose pictures are drawings that draw themselves twice, without an end."""

    def drawn(found: re.Match[bytes]) -> bytes:
        number = found[1]
        content = b"/I Do /I Do"
        return (
            b"%s 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /I %s 0 R >> >> /Length %d >>\n"
            b"stream\n%s\nendstream\nendobj" % (number, number, len(content), content)
        )

    return re.sub(rb"(\d+) 0 obj\n<< /Type /XObject /Subtype /Image.*?endobj", drawn, data, flags=re.DOTALL)


def photographed(lines: Sequence[str]) -> Picture:
    """A page of Latin text as a scanner would give it: drawn by pdfium in a font of its own, then only dots."""
    import pypdfium2

    book = pypdfium2.PdfDocument(plain_pdf(lines))
    bitmap = book[0].render(scale=200 / 72, grayscale=True)
    data = bytes(bitmap.buffer)
    return Picture(bitmap.width, bitmap.height, b"".join(
        data[row * bitmap.stride : row * bitmap.stride + bitmap.width] for row in range(bitmap.height)
    ))  # fmt: skip


def plain_pdf(lines: Sequence[str]) -> bytes:
    """One page in Helvetica, which every reader can draw. ASCII alone, without brackets."""
    rows = "".join(f"1 0 0 1 60 {780 - 20 * row} Tm ({line}) Tj\n" for row, line in enumerate(lines))
    content = f"BT /F 14 Tf\n{rows}ET".encode()
    return (
        b"%%PDF-1.4\n1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj\n2 0 obj << /Type /Pages /Count 1 /Kids [3 0 R] >> endobj\n"
        b"3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F << /Type /Font /Subtype /Type1 "
        b"/BaseFont /Helvetica >> >> >> /Contents 4 0 R >> endobj\n4 0 obj << /Length %d >>\nstream\n%s\nendstream endobj\n"
        b"trailer << /Root 1 0 R >>\n%%%%EOF" % (len(content), content)
    )


CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def epub(path: Path, chapters: Mapping[str, str], spine: Sequence[str], language: str = "en", **more: str) -> Path:
    """An EPUB 3 file: ``chapters`` are its pages by name, ``spine`` their reading order, ``more`` further members by name, or
    others in their place."""
    items = "".join(
        f'<item id="i{number}" href="{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="i{list(chapters).index(name)}"/>' for name in spine)
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:language>{language}</dc:language></metadata><manifest>'
        f'<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>{items}</manifest>'
        f'<spine><itemref idref="nav"/>{order}</spine></package>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("OEBPS/book.opf", package)
        archive.writestr(
            "OEBPS/nav.xhtml", "<html><body><nav><ol><li>Contents of the book</li></ol></nav></body></html>"
        )
        for name, text in {**{f"OEBPS/{name}": text for name, text in chapters.items()}, **more}.items():
            archive.writestr(name, text)
    return path
