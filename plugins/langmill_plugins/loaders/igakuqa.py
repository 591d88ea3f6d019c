"""IgakuQA: the Japanese national medical licensing examination, 2018 to 2022."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from langmill.api import Choice, Field, Gives, Row, RowFault, SourceContext

from .reading import json_lines
from .records import Entry, FileLoader, choice, get, key_of, name_of


class IgakuQA(FileLoader):
    """Reads IgakuQA (Japanese) from its JSON Lines, without the metadata and translation files beside them.

    Rejected: questions that need a picture (``text_only: false``), withdrawn ones (``points: 0``), calculations whose answer
    is a number, and keys such as ``a or d``. A few questions of the examination are asked in English and are English rows;
    without en in ``languages`` they are rejected.
    """

    gives: ClassVar[Gives] = Gives(Choice)
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    layout: ClassVar[tuple[str, ...]] = ("problem_text", "choices", "answer")
    languages: tuple[Literal["ja", "en"], ...] = Field(
        ("ja", "en"), min_length=1, description="languages to read: ja, en (some ten questions of the examination)"
    )

    def mine(self, path: Path) -> bool:
        """The questions alone."""
        return super().mine(path) and not path.stem.endswith(("_metadata", "_translate"))

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line, named by the problem's id, which is unique over all years."""
        for number, value in json_lines(path):
            own = name_of(value.get("problem_id")) if isinstance(value, dict) else ""
            yield Entry(own or self.position(path, context, number), f"{path.name}:{number}", value, None, "ja")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item, in Japanese or English; all editions of a problem are one family."""
        value = entry.value
        if get(value, "text_only") is False:
            raise RowFault("needs_image", "text_only is false")
        if str(get(value, "points")).strip() == "0":
            raise RowFault("withdrawn", "points is 0")
        options, answer = get(value, "choices"), get(value, "answer")
        if not options and answer:
            raise RowFault("number_answer", f"no choices, the answer is {answer}")
        if not isinstance(options, list):
            raise RowFault("no_options", "expected choices as a list")
        body = choice(get(value, "problem_text"), options, key_of(answer, "abcdefghijklmnop"[: len(options)]))
        english = not re.search(r"[぀-ヿ㐀-鿿]", body.question + "".join(body.options))
        language: Literal["ja", "en"] = "en" if english else "ja"
        if language not in self.languages:
            raise RowFault("other_language", f"the question is in '{language}', read: {', '.join(self.languages)}")
        return context.row(entry.record, language, body, family=f"igakuqa/{entry.record}")
