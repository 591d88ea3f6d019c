"""What a stage has learnt about this machine and its base, kept in its folder so that whoever goes on begins there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from langmill.api import write_json

MEMORY = "memory.json"


@dataclass(frozen=True, slots=True)
class Memory:
    """``halvings``: how often micro-batches were cut in two because memory ran out; ``unpacked``: the model was found to mix up the
    examples of a line; ``batch``: what ``batch: auto`` came to (None: not known yet); ``keeps``: layers keep what the way back
    needs; ``of``: the options this holds for."""

    of: str
    halvings: int = 0
    unpacked: bool = False
    batch: int | None = None
    keeps: bool = False

    @classmethod
    def read(cls, folder: Path, of: str) -> Memory:
        """What is known; nothing, where other options were tried."""
        try:
            facts = json.loads((folder / MEMORY).read_text("utf-8"))
            batch = facts.get("batch")
            found = cls(
                str(facts["of"]),
                int(facts["halvings"]),
                bool(facts["unpacked"]),
                batch and int(batch),
                bool(facts.get("keeps")),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(of)
        return found if found.of == of else cls(of)

    def write(self, folder: Path) -> None:
        """Keep it."""
        write_json(folder / MEMORY, asdict(self))
