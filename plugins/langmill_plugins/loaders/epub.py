"""Electronic books in the EPUB format."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple
from urllib.parse import unquote

from langmill.api import RowFault, SourceContext

from .documents import DocumentLoader
from .main_text import main_text, page_text
from .reading import LINE, WHOLE, readable, xml_of
from .records import Entry

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")


class Book(NamedTuple):
    """What a book says of itself: its language, and the files of its chapters in reading order."""

    language: str
    chapters: list[str]


class Epub(DocumentLoader):
    """Reads electronic books (EPUB 2 and 3) as passages of running text.

    A book is a document; its chapters come in the order of its spine, without its table of contents and what stands outside the
    reading order. Without `language:` what the book says of itself counts. Nothing is unpacked to disk; a book that
    unpacks to more than half a gigabyte, is locked, or is no whole zip file is a reject, and so is a chapter that is not there or
    has no running text. Needs the extra `corpus`.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".epub",)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """The passages of a book; the fault of the book, or of a chapter in the place of its passages."""
        name, language = self.name(path, context), self.language or ""
        try:
            with readable(path), _opened(path) as archive:
                book = _book(archive)
                language = self.told(book.language, context)
                number = 1
                for chapter in book.chapters:
                    place = f"{path.name}:{chapter}"
                    try:
                        paragraphs = _chapter(archive, chapter)
                    except RowFault as fault:
                        if fault.reason != "no_text":  # a cover, a page with a picture: nothing is lost
                            yield Entry(f"{name}.{posixpath.basename(chapter)}", place, fault, None, language)
                        continue
                    for entry in self.cut(name, place, paragraphs, language, context, first=number, between="\n"):
                        yield entry
                        number += 1
                if number == 1:
                    raise RowFault("no_text", "no chapter of the book has running text")
        except RowFault as fault:
            yield Entry(name, path.name, fault, None, language)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A book's archive, measured before anything is unpacked. Raises RowFault broken_zip or too_long."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
            if size > WHOLE:
                raise RowFault("too_long", f"unpacks to {size:,} bytes, at most {WHOLE:,} are read")
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise RowFault("broken_zip", f"is not a whole zip file: {error}. Fetch the file again") from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive. Raises RowFault no_chapter, encrypted, too_long, broken_zip; a member that says less of its size than
    it holds fails its checksum."""
    try:
        item = archive.getinfo(name)
    except KeyError:
        raise RowFault("no_chapter", f"the book names '{name[:200]}', which it does not hold") from None
    if item.flag_bits & 1:
        raise RowFault("encrypted", f"{name} asks for a password")
    if item.file_size > LINE:
        raise RowFault("too_long", f"{name}: more than {LINE:,} bytes")
    try:
        return archive.read(item)
    except Exception as error:  # zlib, lzma and zipfile each have their own for bytes they can not unpack
        raise RowFault("broken_zip", f"{name}: {error}") from None


def _book(archive: zipfile.ZipFile) -> Book:
    """Language and chapters, as the book's package file has them. Raises RowFault."""
    root = xml_of(_member(archive, CONTAINER)).find(".//{*}rootfile")
    package = unquote((root.get("full-path") if root is not None else None) or "")
    tree = xml_of(_member(archive, package))
    said = tree.find(".//{http://purl.org/dc/elements/1.1/}language")
    files, known = {}, set()
    for item in tree.iterfind(".//{*}manifest/{*}item"):
        known.add(item.get("id"))
        contents = "nav" in (item.get("properties") or "").split()
        if item.get("media-type") in PAGES and not contents:
            files[item.get("id")] = _inside(package, item.get("href") or "")
    spine = [item.get("idref") for item in tree.iterfind(".//{*}spine/{*}itemref") if item.get("linear") != "no"]
    # What the spine names and the manifest does not is told of as a chapter that is not there; pictures and contents are none.
    chapters = list(dict.fromkeys(files.get(id, f"#{id}") for id in spine if id in files or id not in known))
    if not chapters:
        raise RowFault("no_chapter", f"{package} names no chapter to read")
    if locked := _locked(archive) & set(chapters):
        raise RowFault("encrypted", f"{len(locked)} of {len(chapters)} chapters are locked")
    return Book((said.text if said is not None else None) or "", chapters)


def _inside(package: str, link: str) -> str:
    """The name in the archive of what a package file links to. Names only ever look up members: none is a path on the disk."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(link.partition("#")[0])))


def _locked(archive: zipfile.ZipFile) -> set[str]:
    """The members that are encrypted; fonts often are, in books that can be read."""
    if ENCRYPTION not in archive.namelist():
        return set()
    return {
        unquote(item.get("URI") or "")
        for item in xml_of(_member(archive, ENCRYPTION)).iterfind(".//{*}CipherReference")
    }


def _chapter(archive: zipfile.ZipFile, chapter: str) -> list[str]:
    return main_text(page_text(_member(archive, chapter)), chapter=True)[0]
