"""CoNLL-U: the sentences of Universal Dependencies' treebanks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Field, RecipeError, Row, RowFault, SourceContext, Text

from .named import code_of
from .reading import lines
from .records import Entry, FileLoader, name_of, text_of


class ConllU(FileLoader):
    """Reads CoNLL-U files (Universal Dependencies) for their sentences: the line ``# text =`` of each block.

    The words and their analysis are not read. The name's beginning is the language (``ko_pud-ud-test.conllu``); all sentences
    of a document are one family where the file says ``# newdoc id =``.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".conllu",)
    language: str | None = Field(
        None,
        pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$",
        description="language, BCP-47; left out: the file's name tells it",
    )

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a sentence, named by file and id or line: parallel treebanks share their ids. Raises RecipeError
        when nothing tells the language."""
        told = re.match(r"[a-z]{2,3}(?=[_-])", path.name)
        if self.language is None and not told:
            raise RecipeError(f"{context.place}: '{path.name}' does not tell its language: add language: CODE")
        language = self.language or code_of(told[0] if told else "")
        split = self.file_split(path, context)
        document = ""
        for number, notes in _blocks(path):
            if isinstance(notes, dict):
                document = notes.get("newdoc id", "" if "newdoc" in notes else document)
                notes["newdoc id"] = document
            own = name_of(notes.get("sent_id")) if isinstance(notes, dict) else ""
            record = self.position(path, context, own or number)
            yield Entry(record, f"{path.name}:{number}", notes, split, language)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The sentence."""
        document = name_of(entry.value["newdoc id"])
        family = f"{context.source}/{document}" if document else None
        body = Text(text_of(entry.value.get("text"), "text"))
        return context.row(entry.record, entry.language, body, split=entry.split, family=family)


def _blocks(path: Path) -> Iterator[tuple[int, dict[str, str] | RowFault]]:
    """The notes (``# name = value``) of each sentence, or the fault of one of its lines, with its first line's number."""
    start, notes = 0, dict[str, str]()
    fault: RowFault | None = None
    for number, line in lines(path):
        if isinstance(line, str) and not line.strip():
            if start:
                yield start, fault or notes
            start, notes, fault = 0, {}, None
            continue
        start = start or number
        if isinstance(line, RowFault):
            fault = line
        elif note := re.match(r"#\s*([^=]+?)\s*(?:=\s*(.*))?$", line):
            notes[note[1]] = (note[2] or "").strip()
    if start:
        yield start, fault or notes
