"""PubMedQA: questions answered yes, no or maybe by an abstract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Choice, Context, Gives, Row, RowFault, SourceContext

from .reading import json_document
from .records import Entry, FileLoader, choice, get, name_of, text_of

TESTED = "test_ground_truth.json"
ANSWERS = ("yes", "no", "maybe")


class PubMedQA(FileLoader):
    """Reads PubMedQA (English) from ``ori_pqal.json``: the abstract is the context, the long answer the explanation.

    The articles listed in ``test_ground_truth.json`` beside it are test, as upstream tests on them; the rest has no split.
    """

    gives: ClassVar[Gives] = Gives(Choice, ("en",), explained=True)
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    layout: ClassVar[tuple[str, ...]] = ("QUESTION", "CONTEXTS", "LABELS", "final_decision")

    def files(self, context: Context) -> list[Path]:
        """The questions and, where it is there, the list of test articles."""
        found = super().files(context)
        return sorted({*found, *(path.with_name(TESTED) for path in found if path.with_name(TESTED).is_file())})

    def holds_records(self, path: Path) -> bool:
        """Not the list of test articles."""
        return path.name != TESTED

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One an article, named by its PubMed id."""
        truth = path.with_name(TESTED)
        tested = set(json_document(truth, dict)) if truth.is_file() else set()
        for number, (article, value) in enumerate(json_document(path, dict).items(), start=1):
            record = name_of(article) or self.position(path, context, number)
            yield Entry(record, f"{path.name}, {record}", value, "test" if article in tested else None, "en")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item."""
        value = entry.value
        answer = text_of(get(value, "final_decision"), "answer").lower()
        if answer not in ANSWERS:
            raise RowFault("bad_key", f"the answer is '{answer}', possible: {', '.join(ANSWERS)}")
        parts, labels = get(value, "CONTEXTS"), get(value, "LABELS")
        if not isinstance(parts, list) or not isinstance(labels, list) or len(parts) != len(labels):
            raise RowFault("wrong_type", "expected CONTEXTS and LABELS as lists of one length")
        sections = [
            f"{text_of(label, 'label')}: {text_of(part, 'context')}" for label, part in zip(labels, parts, strict=True)
        ]
        body = choice(
            get(value, "QUESTION"),
            ANSWERS,
            (ANSWERS.index(answer),),
            explanation=get(value, "LONG_ANSWER"),
            context="\n".join(sections),
        )
        return context.row(entry.record, "en", body, split=entry.split)
