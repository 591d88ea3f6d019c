"""OpenStax textbooks: running text of the published modules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element

from langmill.api import Field, Row, RowFault, SourceContext, Text

from .cutting import passages
from .reading import xml_root
from .records import Entry, FileLoader, text_of

LEFT_OUT = {"metadata", "glossary", "exercise", "figure", "table", "equation", "label"}
CLASSES = {"references", "multiple-choice", "free-response", "interactive-exercise", "interactive"}
FIGURE, TABLE = "\x01", "\x02"  # stand for links without words of their own until the sentence is known
RAISED = str.maketrans("0123456789+-−–n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻ⁿ")
LOWERED = str.maketrans("0123456789+-−–", "₀₁₂₃₄₅₆₇₈₉₊₋₋₋")


class OpenStax(FileLoader):
    """Reads an OpenStax book (``modules/*/index.cnxml``) as passages of running text.

    Passages end where paragraphs end; a paragraph that is longer is cut at sentences. Headings stand above their first
    paragraph. Left out: learning goals, figures, tables, exercises, glossary, references and boxes about videos. All passages
    of a module are one family. Raised and lowered figures are kept as such (10⁶, Ca²⁺), since 10 to the sixth is not 106.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".cnxml",)
    language: str = Field("en", pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$", description="language of the book, BCP-47")
    max_characters: int = Field(1500, ge=200, description="longest passage, in characters")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a passage: the module's folder and a number are its name."""
        module = path.parent.name if path.stem == "index" else path.stem
        place = f"{module}/{path.name}"
        try:
            found = list(passages(paragraphs(xml_root(path)), self.max_characters))
        except RowFault as fault:
            yield Entry(module, place, fault, None, self.language)
            return
        if not found:
            yield Entry(module, place, RowFault("no_text", "the module has no running text"), None, self.language)
        for number, passage in enumerate(found, start=1):
            yield Entry(f"{module}-{number}", place, passage, None, self.language)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The passage."""
        family = f"{context.source}/{entry.record.rpartition('-')[0]}"
        return context.row(entry.record, self.language, Text(text_of(entry.value, "text")), family=family)


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def paragraphs(root: Element) -> list[str]:
    """The paragraphs of a module's content in reading order, each heading above the first paragraph after it."""
    found: list[str] = []
    heading = ""

    def walk(element: Element) -> None:
        nonlocal heading
        for child in element:
            name = _name(child)
            if name in LEFT_OUT or CLASSES & set((child.get("class") or "").split()):
                continue
            if name == "title":
                heading = inline(child)
            elif name in ("para", "list"):
                texts = [inline(child)] if name == "para" else [f"- {inline(item)}" for item in child]
                text = "\n".join(text for text in texts if text not in ("", "- "))
                if text and name == "list" and found and not heading:
                    found[-1] += f"\n{text}"  # a list belongs to the sentence that announces it
                elif text:
                    found.append(f"{heading}\n{text}" if heading else text)
                    heading = ""
            elif name in ("section", "note"):
                heading = ""
                walk(child)

    content = next((item for item in root.iter() if _name(item) == "content"), None)
    if content is not None:
        walk(content)
    return found


def inline(element: Element) -> str:
    """An element's text on one line; a link without words reads "the figure", a bracket that only points at one goes."""
    text = " ".join(_inline(element).split())
    text = re.sub(rf"\s*\([^()]{{0,200}}[{FIGURE}{TABLE}][^()]{{0,200}}\)", "", text)
    text = re.sub(rf"([{FIGURE}{TABLE}])[a-f]\b", r"\1", text)  # part b of a figure
    text = text.replace(FIGURE, "the figure").replace(TABLE, "the table")
    text = re.sub(r"(^|[.!?] )the (figure|table)\b", r"\1The \2", text)
    return re.sub(r" +([.,;:)₀-₉])", r"\1", text).strip()


def _inline(element: Element) -> str:
    name = _name(element)
    if name in LEFT_OUT or name == "list":
        return ""
    parts = [_inline(child) for child in element]
    if name in ("msub", "msup", "msubsup") and len(parts) >= 2:
        low = parts[1] if name != "msup" else ""
        high = parts[-1] if name != "msub" else ""
        return parts[0] + _shifted(low, LOWERED) + _shifted(high, RAISED)
    text = (element.text or "") + "".join(part + (child.tail or "") for part, child in zip(parts, element, strict=True))
    if name == "sup":
        return _shifted(text, RAISED)
    if name == "sub":
        return _shifted(text, LOWERED)
    if name == "link" and not text.strip():
        return TABLE if "tbl" in (element.get("target-id") or "") else FIGURE
    if name == "mo":
        return f" {text.strip()} "
    return " " if name == "newline" else text


def _shifted(text: str, table: dict[int, int]) -> str:
    """Raised or lowered figures as Unicode has them; letters (21st, PaCO2's a) have none and stay as they are."""
    bare = text.strip()
    shifted = bare.translate(table) if all(ord(letter) in table for letter in bare) else bare
    return text.replace(bare, shifted) if bare else text
