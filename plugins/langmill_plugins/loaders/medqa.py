"""MedQA: questions of the US medical licensing examination."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Field, Row, RowFault, SourceContext

from .pictures import IN_ENGLISH
from .reading import json_lines
from .records import Entry, FileLoader, choice, get, key_of, name_of, text_of


class MedQA(FileLoader):
    """Reads MedQA in both its layouts, five options or four, from JSON Lines.

    ``options`` is letter: text, ``answer_idx`` the letter and ``answer`` its text; where the two disagree the record is
    rejected, as is a question that points at a picture, which the set does not have.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    language: str = Field("en", description="the part of the set: en (USMLE), zh (mainland China, Taiwan)")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line, named by ``realidx`` or its position."""
        split = self.file_split(path, context)
        for number, value in json_lines(path):
            own = name_of(value.get("realidx")) if isinstance(value, dict) else ""
            record = f"{'.'.join(self.parts(path, context))}-{own}" if own else self.position(path, context, number)
            yield Entry(record, f"{path.name}:{number}", value, split, self.language)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item; its letters stay behind."""
        question = text_of(get(entry.value, "question"), "question")
        if IN_ENGLISH.search(question):
            raise RowFault("needs_image", "the question points at a picture")
        options = get(entry.value, "options")
        if not isinstance(options, dict) or not options:
            raise RowFault("no_options", "expected options as letter: text")
        answers = key_of(get(entry.value, "answer_idx"), list(options))
        body = choice(question, list(options.values()), answers)
        told = text_of(get(entry.value, "answer"), "answer", optional=True)
        if told and told != body.options[answers[0]]:
            raise RowFault(
                "key_mismatch", f"the letter means '{body.options[answers[0]][:80]}', the answer is '{told[:80]}'"
            )
        return context.row(entry.record, self.language, body, split=entry.split)
