"""FrenchMedMCQA: questions of the French specialisation diploma in pharmacy, one to five right answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from langmill.api import Choice, Field, Gives, Row, RowFault, SourceContext

from .reading import json_document
from .records import Entry, FileLoader, choice, get, key_of, name_of, text_of

# A figure that has to be seen. 'Ci-dessous' and 'suivant' alone mostly mean the options, so they count only where the stem
# ends on one thing of which the options then speak.
FIGURE = re.compile(
    r"\b(figure|schéma|image|graphique|dessin|cliché|photographie|tracé|tableau) (ci|suivante?\b|n°|\d)"
    r"|\bci-(contre|joint)"
    r"|\bstructure( chimique)? est la suivante"
    r"|\b(le composé|la molécule|la structure|la formule) suivante?\s*:?\s*$"
    r"|\b(les|ces) deux \w+ ci-dessous\s*:?\s*$"
    r"|\bdu composé \d au composé \d",
    re.IGNORECASE,
)


class FrenchMedMCQA(FileLoader):
    """Reads FrenchMedMCQA (French) from its JSON lists. Stems that point at a figure, which the set does not have, are rejected."""

    gives: ClassVar[Gives] = Gives(Choice, ("fr",))
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    pictures: Literal["reject", "keep"] = Field(
        "reject",
        description="questions that point at a picture, which the set does not have; published counts hold them",
    )
    layout: ClassVar[tuple[str, ...]] = ("question", "answers", "correct_answers")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One an item, named by the set's id."""
        split = self.file_split(path, context)
        for number, value in enumerate(json_document(path, list), start=1):
            own = name_of(value.get("id")) if isinstance(value, dict) else ""
            yield Entry(own or self.position(path, context, number), f"{path.name}, item {number}", value, split, "fr")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item with all its right answers."""
        question = text_of(get(entry.value, "question"), "question")
        if self.pictures == "reject" and FIGURE.search(" ".join(question.split())):
            raise RowFault("needs_image", "the question points at a figure")
        options = get(entry.value, "answers")
        if not isinstance(options, dict) or not options:
            raise RowFault("no_options", "expected answers as letter: text")
        answers = key_of(get(entry.value, "correct_answers"), list(options))
        return context.row(entry.record, "fr", choice(question, list(options.values()), answers), split=entry.split)
