"""The frame of the loaders of running text: documents in, passages out, all passages of a document one family."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from langmill.api import Field, Row, RowFault, SourceContext, Text
from langmill_plugins.text.codes import two_letters

from .cutting import passages
from .records import Entry, FileLoader, text_of

CODE = r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$"
_NONE = {"und", "mul", "zxx", "mis"}  # no language, or several


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document. ``document`` is the family that it shares with the others; ``flags`` go into the row."""

    text: str
    document: str
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


class DocumentLoader(FileLoader):
    """A source made of documents, each cut into passages at paragraph borders."""

    language: str | None = Field(
        None, pattern=CODE, description="language of all documents, BCP-47; what each says of itself when left out"
    )
    most_characters: int = Field(
        4000, ge=200, description="longest passage, in characters; a longer paragraph is cut at sentence ends"
    )

    def told(self, said: str, context: SourceContext) -> str:
        """The language of a document that says ``said`` of itself: the recipe's own name for as much of the
        tag as it has one for, else its first part.        ``language:`` comes first. Raises RowFault no_language."""
        if self.language:
            return self.language
        parts = said.strip().replace("_", "-").lower().split("-")
        first = two_letters(parts[0])
        if not (first.isascii() and first.isalpha() and 2 <= len(first) <= 3) or first in _NONE:
            raise RowFault("no_language", "the document does not say its language: write language: in the recipe")
        known = {code.lower(): code for code in context.languages}
        tags = ("-".join((first, *parts[1:end])) for end in range(len(parts), 0, -1))
        return next((known[tag] for tag in tags if tag in known), first)

    def cut(
        self,
        document: str,
        place: str,
        paragraphs: Iterable[str],
        language: str,
        context: SourceContext,
        flags: tuple[str, ...] = (),
        first: int = 1,
        between: str = "\n\n",
    ) -> Iterator[Entry]:
        """The passages of a document, numbered from ``first``."""
        pieces = passages(paragraphs, self.most_characters, between)
        for number, text in enumerate(pieces, start=first):
            name = f"{document}-{number}"
            yield Entry(name, place, Passage(text, f"{context.source}/{document}", flags), None, language)

    def name(self, path: Path, context: SourceContext) -> str:
        """A file's name as a document: its folders below the source's and its stem."""
        return ".".join(self.parts(path, context))

    @abstractmethod
    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """The passages of a file's documents; of one that can not be read its fault."""

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The passage."""
        passage: Passage = entry.value
        body = Text(text_of(passage.text, "text"))
        return context.row(entry.record, entry.language, body, family=passage.document, flags=passage.flags)
