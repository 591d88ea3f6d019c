"""MedMCQA: questions of Indian medical entrance examinations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from langmill.api import Choice, Field, Gives, RecipeError, Row, RowFault, SourceContext

from .pictures import IN_ENGLISH
from .reading import json_lines
from .records import Entry, FileLoader, choice, get, key_of, name_of


class MedMCQA(FileLoader):
    """Reads MedMCQA from JSON Lines: as published (``opa`` to ``opd``, ``cop``, ``exp``) or normalised (``options``, ``answer_idx``).

    The published key ``cop`` counts from 1 in the authors' files and from 0 in the hub's copy, and no record tells which:
    say it with ``answers_from``. One option is right whatever ``choice_type`` says. ``cop: -1`` is an unpublished answer.
    Questions that point at a picture are rejected.
    """

    gives: ClassVar[Gives] = Gives(Choice, ("en",), explained=True)
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    layout: ClassVar[tuple[str, ...]] = ("question", "opa|options", "cop|answer_idx")
    answers_from: Literal[0, 1] | None = Field(
        None, description="published layout: 1 for the authors' files, 0 for the hub's"
    )

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line, named by the set's id."""
        split = self.file_split(path, context)
        for number, value in json_lines(path):
            own = name_of(value.get("id") or value.get("realidx")) if isinstance(value, dict) else ""
            yield Entry(own or self.position(path, context, number), f"{path.name}:{number}", value, split, "en")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item. Raises RecipeError for the published layout without ``answers_from``."""
        body = self._published(entry.value, context) if "opa" in entry.value else self._normalised(entry.value)
        if IN_ENGLISH.search(body.question):
            raise RowFault("needs_image", "the question points at a picture")
        return context.row(entry.record, "en", body, split=entry.split)

    def _normalised(self, value: object) -> Choice:
        options = get(value, "options")
        if not isinstance(options, dict) or not options:
            raise RowFault("no_options", "expected options as letter: text")
        return choice(get(value, "question"), list(options.values()), key_of(get(value, "answer_idx"), list(options)))

    def _published(self, value: object, context: SourceContext) -> Choice:
        if self.answers_from is None:
            raise RecipeError(
                f"{context.place}: this is MedMCQA as published, whose key counts from 1 in the authors' files and from 0 "
                "in the hub's copy: add answers_from: 1 or answers_from: 0"
            )
        key = get(value, "cop")
        if key is None or key == -1:
            raise RowFault("no_answer", f"cop is {key}")
        if isinstance(key, bool) or not isinstance(key, int):
            raise RowFault("bad_key", f"cop is '{key}', expected a number")
        options = [get(value, name) for name in ("opa", "opb", "opc", "opd")]
        self._keys.add(key, len(options), self.answers_from)
        return choice(get(value, "question"), options, (key - self.answers_from,), explanation=get(value, "exp"))
