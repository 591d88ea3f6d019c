"""TMX: translation memories, as running text in each of their languages."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, NamedTuple
from xml.etree.ElementTree import Element

from langmill.api import Field, MissingInput, Row, RowFault, SourceContext, Text

from .named import code_of
from .reading import WHOLE, readable, whole, xml_of
from .records import Entry, FileLoader, name_of, text_of

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
UNSPACED = ("zh", "ja")  # no blank between two sentences
CODES = ("bpt", "ept", "it", "ph", "ut")  # hold the markup of the translated document, which is no text
# As many tools write it, with no declarations in it; what declares something itself is refused with its file.
DOCTYPE = re.compile(rb"<!DOCTYPE\s+tmx\s+(?:SYSTEM|PUBLIC)\b[^<>\[]*>")


class Unit(NamedTuple):
    """A unit: its document and id, and its text by language."""

    document: str
    name: str
    texts: dict[str, str]


class Tmx(FileLoader):
    """Reads TMX files, plain or zipped, as passages in each language: the consecutive units of a document are running text.

    A unit's document is what its ``tuid`` says before the colon (``PubMed_8:12``), in all files; a unit without colon or without
    ``tuid`` is a document of its file, of its own.
    Passages are cut between units, at the same ones in all languages; all passages of a document, in all languages, are one
    family. A unit that lacks one of its file's languages is rejected whole, so that the passages stay parallel. Where several
    files hold the same half again (English, in TICO-19), it is kept once: the others are rejected as ``duplicate_id``. The
    language is the tag without its region, ``es-LA`` is es; of two regions in one unit the first is read.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".tmx", ".zip")
    languages: tuple[str, ...] = Field((), description="languages to read, of those at hand; left out: all")
    documents: tuple[str, ...] = Field(
        ("*",), min_length=1, description="documents to read: names or patterns, PubMed_*"
    )
    max_characters: int = Field(
        1500, ge=1, description="longest passage, in characters of the first language; 1: each unit alone"
    )

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a passage and language, named by language, document and number."""
        try:
            stem = ".".join(self.parts(path, context)).removesuffix(".tmx")  # x.tmx.zip
            units = [unit for unit in _units(_document(path), stem) if self._asked(unit.document)]
        except RowFault as fault:
            yield Entry(".".join(self.parts(path, context)), path.name, fault)
            return
        present = list(dict.fromkeys(language for unit in units for language in unit.texts))
        complete = []
        for unit in units:
            lacking = [language for language in present if not unit.texts.get(language, "").strip()]
            if lacking:
                value: str | RowFault = RowFault("no_text", f"nothing in {', '.join(lacking)}")
                yield Entry(f"unit.{unit.name}", f"{path.name}, {unit.name}", value)
            else:
                complete.append(unit)
        split = self.file_split(path, context)
        for document, number, units in _passages(complete, present[:1], self.max_characters):
            for language in present:
                if not self.languages or language in self.languages:
                    texts = [unit.texts[language].strip() for unit in units]
                    value = ("" if language in UNSPACED else " ").join(texts)
                    place = f"{path.name}, {units[0].name}"
                    yield Entry(f"{language}.{document}-{number}", place, value, split, language)

    def _asked(self, document: str) -> bool:
        return any(fnmatchcase(document, pattern) for pattern in self.documents)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The passage."""
        document = entry.record.removeprefix(f"{entry.language}.").rpartition("-")[0]
        body = Text(text_of(entry.value, "text"))
        return context.row(entry.record, entry.language, body, split=entry.split, family=f"{context.source}/{document}")


def _document(path: Path) -> Element:
    """The document of a file, or of the one ``.tmx`` in an archive. Raises MissingInput, RowFault as xml_of does."""
    if path.suffix.lower() != ".zip":
        return _parsed(whole(path))
    with readable(path):
        try:
            with zipfile.ZipFile(path) as archive:
                found = [item for item in archive.infolist() if item.filename.lower().endswith(".tmx")]
                if len(found) != 1:
                    raise MissingInput(f"{path}: holds {len(found)} .tmx files, expected one: unpack it")
                if found[0].file_size > WHOLE:
                    raise MissingInput(f"{path}: unpacks to {found[0].file_size:,} bytes, at most {WHOLE:,} are read")
                with archive.open(found[0]) as member:
                    return _parsed(member.read(WHOLE))
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise MissingInput(f"{path}: is not a whole archive: {error}. Fetch the file again") from None


def _parsed(data: bytes) -> Element:
    return xml_of(DOCTYPE.sub(b"", data[:4096], count=1) + data[4096:])


def _units(root: Element, stem: str) -> Iterator[Unit]:
    """The units of a document, in order. ``stem`` is the file's name, without which plain numbers of two files would be one."""
    for number, unit in enumerate(root.iter("tu"), start=1):
        told = name_of(unit.get("tuid"))
        name = told if ":" in told else f"{stem}.{told or number}"
        texts: dict[str, str] = {}
        for half in unit.iter("tuv"):
            tag, segment = half.get(LANG) or half.get("lang") or "", half.find("seg")
            if tag and segment is not None:
                texts.setdefault(code_of(tag), " ".join("".join(_words(segment)).split()))
        yield Unit(name.rpartition(":")[0] or name, name, texts)


def _words(segment: Element) -> Iterator[str]:
    """The text of a segment, without the markup that stands in it."""
    yield segment.text or ""
    for inner in segment:
        if inner.tag not in CODES:
            yield from _words(inner)
        yield inner.tail or ""


def _passages(units: Sequence[Unit], measure: Sequence[str], most: int) -> Iterator[tuple[str, int, list[Unit]]]:
    """Consecutive units of one document whose text in the language of ``measure`` has together at most ``most`` characters, with
    the document's name and the passage's number in it."""
    numbers: dict[str, int] = {}
    group: list[Unit] = []
    size = 0
    for unit in units:
        more = sum(len(unit.texts[language]) for language in measure)
        if group and (unit.document != group[0].document or size + more > most):
            numbers[group[0].document] = number = numbers.get(group[0].document, 0) + 1
            yield group[0].document, number, group
            group, size = [], 0
        group.append(unit)
        size += more
    if group:
        yield group[0].document, numbers.get(group[0].document, 0) + 1, group
