"""MMLU: exams in 57 subjects, of which six are medical."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Choice, Context, Field, Gives, MissingInput, Row, SourceContext, nearest

from .formats.delimited import csv_rows
from .records import Entry, FileLoader, choice, key_of

COLUMNS = ("question", "A", "B", "C", "D", "answer")
MEDICAL = (
    "anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics", "professional_medicine",
)  # fmt: skip
SPLITS = ("dev", "val", "test")


class MMLU(FileLoader):
    """Reads MMLU (English) as published: CSV files without a header, `SUBJECT_SPLIT.csv`, in `dev`, `val` and `test`.

    Left as it is, the subjects are the six that reports on medicine take: 1,089 test questions (135 of anatomy, 265 of clinical
    knowledge, 144 of college biology, 173 of college medicine, 100 of medical genetics, 272 of professional medicine), 123 of
    val and 30 of dev. Both `val` and `dev` are dev here; `dev`, five questions a subject, is meant for examples before the
    question: `splits: {dev: train}` makes both train. Other folders below the path (`auxiliary_train`) are not read.
    """

    gives: ClassVar[Gives] = Gives(Choice, ("en",))
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)
    subjects: tuple[str, ...] = Field(MEDICAL, min_length=1, description="subjects, as the files are named")

    def files(self, context: Context) -> list[Path]:
        """The files of the subjects. Raises MissingInput for a subject without any."""
        found = super().files(context)
        lacking = [name for name in self.subjects if not any(_subject(path) == name for path in found)]
        if lacking:
            known = sorted({subject for path in found if (subject := _subject(path))})
            raise MissingInput(
                f"{context.place}.subjects: no file of '{lacking[0]}' below '{self.path}': {nearest(lacking[0], known)}"
            )
        return [path for path in found if _subject(path) in self.subjects]

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a record, named by file and line."""
        split = self.file_split(path, context)
        for number, value in csv_rows(path, ",", COLUMNS):
            yield Entry(f"{path.stem}-{number}", f"{path.name}:{number}", value, split, "en")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item."""
        value = entry.value
        body = choice(value["question"], [value[letter] for letter in "ABCD"], key_of(value["answer"], "ABCD"))
        return context.row(entry.record, "en", body, split=entry.split)


def _subject(path: Path) -> str:
    """The subject of a file; empty where it is none of the set's."""
    name, _, split = path.stem.rpartition("_")
    return name if split in SPLITS else ""
