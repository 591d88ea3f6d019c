"""Conversations as most trainers take them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langmill.api import Context, Exporter, Row, Text
from langmill_plugins.exporters.lines import write_lines


class MessagesJsonl(Exporter):
    """JSON Lines of conversations: messages/LANGUAGE/SPLIT.jsonl, one object a line with messages, id, language, source
    and licenses. Multiple-choice rows are put into words by the language's pack, the way they are trained on. Running
    text has no conversation and is left out."""

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write messages/ below ``folder``. Raises MissingInput when a pack can not put an item into words."""
        lines = (
            (
                f"{row.language}/{row.split}.jsonl",
                {
                    "messages": [message._asdict() for message in context.pack(row.language).conversation(row.body)],
                    "id": row.id,
                    "language": row.language,
                    "source": row.origin.source,
                    "licenses": list(row.origin.licenses),
                },
            )
            for row in rows
            if not isinstance(row.body, Text)
        )
        return write_lines(folder / "messages", lines)
