"""Parallel text as plain files: a file a language, the same line in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Context, Field, MissingInput, Row, SourceContext, Text

from .named import named
from .reading import lines
from .records import Entry, FileLoader, text_of

ENDINGS = (".txt",)


class Aligned(FileLoader):
    """Reads aligned text: plain files of which line n says the same in each language, as Moses, Tatoeba and FLORES have them.

    The name's last part is the language (``tatoeba.ara-eng.ara``, ``covid19_cdc.en.txt``, ``dev.eng_Latn``), the rest is what
    the editions share; in a folder a file without a partner is none of them. A line and its translations are one family. An
    empty line is rejected and still counts; editions with different numbers of lines are not aligned, and are refused.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".LANGUAGE", ".LANGUAGE.txt")
    languages: tuple[str, ...] = Field((), description="languages to read, of those at hand; left out: all")
    _fitting: frozenset[tuple[Path, str]] = frozenset()

    def files(self, context: Context) -> list[Path]:
        """The files of the languages asked for; of a folder those that an edition in another language stands beside."""
        found = super().files(context)
        if context.path(self.path).is_dir():
            editions = Counter(map(_text, found))
            found = [path for path in found if editions[_text(path)] > 1]
        found = [path for path in found if not self.languages or named(path, *ENDINGS).language in self.languages]
        if not found:
            raise MissingInput(
                f"{context.place}.path: no aligned files below '{self.path}'"
                + (f" in {', '.join(self.languages)}" if self.languages else "")
                + ": they are named NAME.en and NAME.fr, or NAME.en.txt and NAME.fr.txt"
            )
        return found

    def mine(self, path: Path) -> bool:
        """The files whose names tell a language."""
        return bool(named(path, *ENDINGS).language)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line, named by language, file and line. Raises MissingInput for editions that do not fit."""
        shared, language = named(path, *ENDINGS)
        if not language:
            raise MissingInput(f"{path}: the name does not end on a language, as in NAME.en or NAME.en.txt")
        if _text(path) not in self._fitting:
            _fit(path)
            self._fitting |= {_text(path)}
        split = self.file_split(path, context)
        text = ".".join([*self.parts(path, context)[:-1], shared])  # two folders may hold files of one name
        for number, line in lines(path):
            yield Entry(f"{language}.{text}-{number}", f"{path.name}:{number}", line, split, language)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The line."""
        text = text_of(entry.value, "text")
        family = f"{context.source}/{entry.record.removeprefix(f'{entry.language}.')}"
        return context.row(entry.record, entry.language, Text(text), split=entry.split, family=family)


def _text(path: Path) -> tuple[Path, str]:
    """What the editions of a text share: their folder and the beginning of their names."""
    return path.parent, named(path, *ENDINGS).edition_of


def _fit(path: Path) -> None:
    """Raises MissingInput unless all editions beside a file have as many lines."""
    editions = [other for other in path.parent.iterdir() if other.is_file() and _text(other) == _text(path)]
    sizes = {other.name: sum(1 for _ in lines(other)) for other in editions if named(other, *ENDINGS).language}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size:,}" for name, size in sorted(sizes.items()))
        raise MissingInput(f"{path}: not aligned: of lines {told}")
