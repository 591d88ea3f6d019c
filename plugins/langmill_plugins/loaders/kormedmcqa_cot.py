"""KoMEDMCQA_CoT: questions of the Korean health licensing examinations with machine-written reasoning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Choice, Gives, Row, RowFault, SourceContext

from .reading import json_lines
from .records import Entry, FileLoader, choice, conversation, get, key_of, lettered_lines, name_of

PICTURE = re.compile(r"사진이다|사진과 같다|다음 ?(그림|사진)")  # "this is the X-ray"; a described one needs no picture


class KorMedMCQACoT(FileLoader):
    """Reads KoMEDMCQA_CoT (Korean) from its chat files.

    Question and options come out of the user's message, the explanation out of the assistant's, the key from ``meta``. Where
    the key, the answer used and the answer stated differ the record is rejected, as is a question that shows a picture.

    The explanations are machine-written and about four in ten are mostly English: filter them by language.
    """

    gives: ClassVar[Gives] = Gives(Choice, ("ko",), explained=True)
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    layout: ClassVar[tuple[str, ...]] = ("messages", "meta")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a line, named by the set's id."""
        split = self.file_split(path, context)
        for number, value in json_lines(path):
            meta = value.get("meta") if isinstance(value, dict) else None
            own = name_of(meta.get("id")) if isinstance(meta, dict) else ""
            yield Entry(own or self.position(path, context, number), f"{path.name}:{number}", value, split, "ko")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item with its reasoning, without the line that states the answer."""
        chat, meta = conversation(get(entry.value, "messages")), get(entry.value, "meta")
        _, asked, rest = chat.question.partition("[문제]")
        question, offered, choices = rest.partition("[선택지]")
        if not asked or not offered:
            raise RowFault("bad_messages", "no [문제] and [선택지] in the user's message")
        if PICTURE.search(question):
            raise RowFault("needs_image", "the question shows a picture")
        options = lettered_lines(choices.strip(), r"\.(?:\s+|$)")
        lines = chat.answer.rstrip().split("\n")
        stated = re.fullmatch(r"\W*정답\s*:\s*([A-Z])\W*", lines.pop())
        if not stated:
            raise RowFault("no_answer", "the assistant does not end with 정답: and a letter")
        while lines and _leads_on(lines[-1]):
            lines.pop()
        keys = {str(get(meta, "gold")), str(get(meta, "answer_used")), stated[1]}
        if len(keys) > 1:
            raise RowFault("key_mismatch", f"gold, answer_used and the stated answer differ: {', '.join(sorted(keys))}")
        answers = key_of(get(meta, "gold"), [chr(ord("A") + index) for index in range(len(options))])
        body = choice(question, options, answers, explanation="\n".join(lines))
        return context.row(entry.record, "ko", body, split=entry.split)


def _leads_on(line: str) -> bool:
    """Whether a last line only leads to the answer line: "Final answer:", or that 정답: is to be written now."""
    line = line.strip()
    return len(line) <= 80 and (not line or line.endswith(":") or "정답:" in line)
