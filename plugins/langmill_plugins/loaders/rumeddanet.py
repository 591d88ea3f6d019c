"""RuMedDaNet: yes or no about a passage, in Russian."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Choice, Gives, Row, RowFault, SourceContext

from .reading import json_lines
from .records import Entry, FileLoader, choice, get, name_of, text_of

ANSWERS = ("да", "нет")


class RuMedDaNet(FileLoader):
    """Reads RuMedDaNet (Russian) as items with a passage and the options да and нет. Its private test has no answers: rejected."""

    gives: ClassVar[Gives] = Gives(Choice, ("ru",))
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    layout: ClassVar[tuple[str, ...]] = ("context", "question")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line, named by the set's id."""
        split = self.file_split(path, context)
        for number, value in json_lines(path):
            own = name_of(value.get("pairID")) if isinstance(value, dict) else ""
            yield Entry(own or self.position(path, context, number), f"{path.name}:{number}", value, split, "ru")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item."""
        answer = text_of(get(entry.value, "answer"), "answer").lower()
        if answer not in ANSWERS:
            raise RowFault("bad_key", f"the answer is '{answer}', possible: {', '.join(ANSWERS)}")
        passage = text_of(get(entry.value, "context"), "context")
        body = choice(get(entry.value, "question"), ANSWERS, (ANSWERS.index(answer),), context=passage)
        return context.row(entry.record, "ru", body, split=entry.split)
