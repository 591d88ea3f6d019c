"""Apollo's exam questions: the options in one string, in several languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Choice, Field, Gives, RecipeError, Row, RowFault, SourceContext

from .pictures import POINTING
from .reading import json_document
from .records import Entry, FileLoader, choice, get, key_of, lettered_lines, text_of


class Apollo(FileLoader):
    """Reads the dev and test questions of Apollo (``metadata/dev/en.json``): a file a language, named by it.

    ``options`` is one string of lines ``(A) text.``; the answer is ``(B)``, or several letters, ``(ACE)``. A full stop that
    ends every option of an item came with the joining and goes; where some options have none, all stay as written. Empty
    options at the end are none, and what points at a picture is rejected. The questions come from other sets, which ``source``
    names: hold them against those before you train on both.
    """

    gives: ClassVar[Gives] = Gives(Choice)
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    layout: ClassVar[tuple[str, ...]] = ("question", "options", "answer")
    languages: tuple[str, ...] = Field((), description="languages to read, of those at hand; left out: all")

    def mine(self, path: Path) -> bool:
        """The files of the languages asked for."""
        return super().mine(path) and (not self.languages or path.stem in self.languages)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One an item, named by folder, file and number. Raises RecipeError when the file's name is no language."""
        if not re.fullmatch("[a-z]{2,3}", path.stem):
            raise RecipeError(f"{context.place}.path: '{path.name}' is not named by a language, as in en.json")
        split = self.file_split(path, context)
        for number, value in enumerate(json_document(path, list), start=1):
            place = f"{path.parent.name}/{path.name}, item {number}"
            yield Entry(self.position(path, context, number), place, value, split, path.stem)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item with all its right answers."""
        value = entry.value
        told = text_of(get(value, "options"), "options")
        options = lettered_lines(re.sub(r"^\s*\(([A-Z])\)", r"\1)", told, flags=re.MULTILINE), r"\)\s*")
        if all(option.endswith(".") for option in options):
            options = [option[:-1].rstrip() for option in options]
        while options and not options[-1]:  # five places for four options
            options.pop()
        letters = [chr(ord("A") + index) for index in range(len(options))]
        answer = text_of(get(value, "answer"), "answer", optional=True)
        key = re.fullmatch(r"\(?([^()]*)\)?", answer)
        if not key:
            raise RowFault("bad_key", f"the answer is '{answer[:40]}', expected letters in brackets")
        body = choice(get(value, "question"), options, key_of(key[1], letters), context=get(value, "context"))
        if (picture := POINTING.get(entry.language)) and picture.search(body.question):
            raise RowFault("needs_image", "the question points at a picture or table")
        return context.row(entry.record, entry.language, body, split=entry.split)
