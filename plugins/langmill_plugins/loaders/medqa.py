"""MedQA: questions of the medical licensing examinations of the USA, mainland China and Taiwan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from langmill.api import Choice, Context, Field, Gives, Row, RowFault, SourceContext

from .pictures import POINTING
from .reading import json_lines
from .records import Entry, FileLoader, choice, get, key_of, name_of, text_of

PARTS = {"us": "en", "mainland": "zh", "taiwan": "zh"}
# Folders of the archive that hold the same questions once more, in another layout or translated.
AGAIN = {"4_options", "metamap_extracted_phrases", "tw_translated_jsonl"}


class MedQA(FileLoader):
    """Reads MedQA in both its layouts, five options or four, from JSON Lines.

    ``options`` is letter: text, ``answer_idx`` the letter and ``answer`` its text; where the two disagree the record is
    rejected, as is a question that points at a picture, which the set does not have. Of the authors' folders ``US``,
    ``Mainland`` and ``Taiwan`` the files of one layout are read, each question once: ``US_qbank.jsonl``, ``4_options`` and
    their likes are read when ``path`` names them.
    """

    gives: ClassVar[Gives] = Gives(Choice, ("en",))
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    layout: ClassVar[tuple[str, ...]] = ("question", "options", "answer_idx")
    pictures: Literal["reject", "keep"] = Field(
        "reject",
        description="questions that point at a picture, which the set does not have; published counts hold them",
    )
    language: str | None = Field(
        None,
        pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$",
        description="the part of the set: en (USMLE), zh (mainland China, Taiwan); left out: the authors' folder tells it, else en",
    )

    def files(self, context: Context) -> list[Path]:
        """The source's files; of a folder those of one layout."""
        found = super().files(context)
        if not context.path(self.path).is_dir():
            return found
        root = context.path(self.path)
        once = [
            path for path in found if not AGAIN & set(path.relative_to(root).parts) and not path.stem.endswith("_qbank")
        ]
        return once or found

    def _language(self, path: Path) -> str:
        return self.language or next((PARTS[name.lower()] for name in path.parts[::-1] if name.lower() in PARTS), "en")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line, named by ``realidx`` or its position."""
        split = self.file_split(path, context)
        for number, value in json_lines(path):
            own = name_of(value.get("realidx")) if isinstance(value, dict) else ""
            record = f"{'.'.join(self.parts(path, context))}-{own}" if own else self.position(path, context, number)
            yield Entry(record, f"{path.name}:{number}", value, split, self._language(path))

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item; its letters stay behind."""
        question = text_of(get(entry.value, "question"), "question")
        picture = POINTING.get(entry.language) if self.pictures == "reject" else None
        if picture and picture.search(question):
            raise RowFault("needs_image", "the question points at a picture or table")
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
        return context.row(entry.record, entry.language, body, split=entry.split)
