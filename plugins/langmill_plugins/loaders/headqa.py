"""HEAD-QA: Spanish examinations for specialised health professions, and their English translation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from langmill.api import Choice, Field, Gives, MissingInput, Row, RowFault, SourceContext

from .layout import Layout, Need
from .reading import json_document
from .records import Entry, FileLoader, choice, get, name_of


class HeadQA(FileLoader):
    """Reads HEAD-QA (Spanish, and machine-translated English) from ``train_HEAD.json`` and its likes.

    Both languages of a question are one family, so they never straddle train and test. Questions with a picture are rejected.
    """

    gives: ClassVar[Gives] = Gives(Choice)
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    layout: ClassVar[tuple[str, ...]] = ("qtext", "answers", "ra")
    languages: tuple[str, ...] = Field(("es", "en"), min_length=1, description="editions to read: es, en")
    pictures: Literal["reject", "keep"] = Field(
        "reject",
        description="questions that point at a picture, which the set does not have; published counts hold them",
    )

    def mine(self, path: Path) -> bool:
        """The files of one split; ``HEAD.json``, which holds all of them once more, is left out."""
        return super().mine(path) and re.match(r"(train|dev|test)_HEAD", path.stem) is not None

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a question: language, examination and number are its name. Raises RecipeError for another layout, MissingInput for another
        set's file."""
        document = json_document(path, dict)
        Layout(context.place, (Need("", ("language",)), Need("", ("exams",))), ()).whole(document, str(path))
        language, exams = document["language"], document["exams"]
        if not isinstance(language, str) or not isinstance(exams, dict):
            raise MissingInput(f"{path}: 'language' is no text or 'exams' no object: is it another set's file?")
        if language not in self.languages:
            return
        split = self.file_split(path, context)
        for name, exam in exams.items():
            questions = exam.get("data") if isinstance(exam, dict) else None
            if not isinstance(questions, list):
                fault = RowFault("wrong_type", f"the examination {name} has no list 'data'")
                yield Entry(f"{language}.{name_of(name)}", path.name, fault, split, language)
                continue
            for number, value in enumerate(questions, start=1):
                own = name_of(value.get("qid")) if isinstance(value, dict) else ""
                record = f"{language}.{name_of(name)}-{own or f'item{number}'}"
                yield Entry(record, f"{path.name}, {name}, item {number}", value, split, language)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item."""
        value = entry.value
        if self.pictures == "reject" and get(value, "image"):
            raise RowFault("needs_image", f"the picture {value['image']}")
        options: Any = get(value, "answers")
        if not isinstance(options, list):
            raise RowFault("no_options", "expected answers as a list")
        numbers = [str(get(option, "aid")) for option in options]
        key = str(get(value, "ra")).strip()
        if key not in numbers:
            raise RowFault("bad_key", f"the answer is '{key}', possible: {', '.join(numbers)}")
        texts = [_plain(get(option, "atext")) for option in options]
        body = choice(_plain(get(value, "qtext")), texts, (numbers.index(key),))
        family = f"headqa/{entry.record.removeprefix(f'{entry.language}.')}"
        return context.row(entry.record, entry.language, body, split=entry.split, family=family)


def _plain(text: Any) -> Any:
    """A cell without the runs of blanks of the exam's columns and the zero-width spaces that the translation left."""
    return re.sub(r"[^\S\n]+", " ", text.replace("\u200b", "")) if isinstance(text, str) else text
