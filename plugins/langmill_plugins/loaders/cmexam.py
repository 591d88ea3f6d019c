"""CMExam: questions of the Chinese national medical licensing examination, with explanations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Choice, Gives, Row, RowFault, SourceContext

from .formats.delimited import csv_rows
from .formats.sheets import sheet_rows
from .pictures import IN_CHINESE
from .records import Entry, FileLoader, choice, get, key_of, lettered_lines, text_of


class CMExam(FileLoader):
    """Reads CMExam (Chinese) from its spreadsheets or CSV files: Question, Options, Answer, Explanation.

    The options are one cell, separated by line breaks or by the two characters ``\\n``. Rejected: the answer ``nan``, options
    that do not start with A (the explanation's letters would no longer fit), stems that point at a picture or a table.
    """

    gives: ClassVar[Gives] = Gives(Choice, ("zh",), explained=True)
    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".csv")
    layout: ClassVar[tuple[str, ...]] = ("Question", "Options", "Answer")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a row, named by the file and the row's number."""
        split = self.file_split(path, context)
        rows = sheet_rows(path) if path.suffix.lower() == ".xlsx" else csv_rows(path, ",", ())
        for number, value in rows:
            yield Entry(self.position(path, context, number), f"{path.name}:{number}", value, split, "zh")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item with its explanation."""
        question = text_of(get(entry.value, "Question"), "question")
        if IN_CHINESE.search(question):
            raise RowFault("needs_image", "the question points at a picture or table")
        cell = text_of(get(entry.value, "Options"), "options")
        options = lettered_lines(re.sub(r"\\n|\r\n?", "\n", cell), r"[\s.．、]+")
        explanation = text_of(get(entry.value, "Explanation"), "explanation", optional=True).replace("\\n", "\n")
        answers = key_of(get(entry.value, "Answer"), [chr(ord("A") + index) for index in range(len(options))])
        body = choice(question, options, answers, explanation=None if explanation == "nan" else explanation)
        return context.row(entry.record, "zh", body, split=entry.split)
