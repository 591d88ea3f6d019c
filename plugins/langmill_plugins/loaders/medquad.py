"""MedQuAD: questions and answers of US health agencies, one XML document a topic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element

from langmill.api import Chat, Gives, Row, RowFault, SourceContext

from .reading import xml_root
from .records import Entry, FileLoader, text_of


class MedQuad(FileLoader):
    """Reads MedQuAD (English questions and answers) from its folders of XML documents.

    Pairs without an answer (three folders have none, by the authors' decision) are rejected, and documents without a pair.
    A few documents are written in an older spelling (``doc``, ``pair``) and are read as well. Answers lose the indentation
    they were cut out with and get their lists back, questions the blank before the question mark.
    """

    gives: ClassVar[Gives] = Gives(Chat, ("en",))
    suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a pair: folder, document and pair are its name, since document ids start anew in each folder."""
        document = f"{path.parent.name}.{path.stem}"
        place = f"{path.parent.name}/{path.name}"
        try:
            root = xml_root(path)
        except RowFault as fault:
            yield Entry(document, place, fault, language="en")
            return
        found = False
        for number, pair in enumerate((item for item in root.iter() if _name(item) in ("qapair", "pair")), start=1):
            found = True
            yield Entry(f"{document}-{pair.get('pid') or number}", place, _cells(pair), language="en")
        if not found:
            yield Entry(document, place, RowFault("no_pairs", "the document has no question"), language="en")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """Question and answer, cleaned."""
        question, answer = entry.value
        question = " ".join(text_of(question, "question").split())
        if question.endswith("?"):
            question = question.rstrip(" ?") + "?"
        return context.row(entry.record, "en", Chat.of(question, tidied(text_of(answer, "answer"))))


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _cells(pair: Element) -> tuple[str, str]:
    texts = {_name(child): "".join(child.itertext()) for child in pair}
    return texts.get("question", ""), texts.get("answer", "")


def tidied(answer: str) -> str:
    """An answer without the indentation it was cut out with; ``  - item`` inside a line becomes an item again."""
    answer = re.sub(r"[^\S\n]+", lambda run: " " if len(run[0]) == 1 else "  ", answer)
    answer = re.sub(r"  - {1,2}(?=\S)", "\n- ", answer)
    answer = re.sub(r"\b(includ(?:e|es|ing)|following) - (?=[^\n]{0,2000}\n- )", r"\1:\n- ", answer)
    lines = [" ".join(line.split()) for line in answer.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line for line in lines if line != "-")).strip()
