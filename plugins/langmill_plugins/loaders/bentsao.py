"""BenTsao (Huatuo): Chinese conversations of several turns, written into one string."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import Chat, Gives, Row, RowFault, SourceContext

from .reading import json_document
from .records import Entry, FileLoader, conversation, get, text_of

TURN = re.compile(r"<(user|bot)>\s*[:：]")
ROLES = {"user": "user", "bot": "assistant"}


class BenTsao(FileLoader):
    """Reads BenTsao's conversations about literature (Chinese): a JSON list of ``instruction`` and ``output``.

    ``instruction`` holds all turns but the last, ``<user>: … <bot>: … <user>: …``, and ``output`` is the last reply. Turns that
    do not alternate, or text before the first mark, are rejected. (Its questions without turns are for ``table``.)
    """

    gives: ClassVar[Gives] = Gives(Chat, ("zh",))
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    layout: ClassVar[tuple[str, ...]] = ("instruction", "output")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One an item, named by file and number: only some have an id of their own."""
        split = self.file_split(path, context)
        for number, value in enumerate(json_document(path, list), start=1):
            yield Entry(self.position(path, context, number), f"{path.name}, item {number}", value, split, "zh")

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The conversation."""
        asked = text_of(get(entry.value, "instruction"), "question")
        before, *parts = TURN.split(asked)
        if before.strip() or not parts:
            raise RowFault("bad_messages", f"expected <user>: first, found '{asked[:40]}'")
        turns = [(ROLES[name], text) for name, text in zip(parts[::2], parts[1::2], strict=True)]
        turns.append(("assistant", get(entry.value, "output")))
        if any(role != ("user", "assistant")[number % 2] for number, (role, _) in enumerate(turns)):
            raise RowFault("bad_messages", f"the turns do not alternate: {', '.join(role for role, _ in turns)}")
        body = conversation([{"role": role, "content": text} for role, text in turns])
        return context.row(entry.record, "zh", body, split=entry.split)
