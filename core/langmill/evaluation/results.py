"""The file of one evaluation of one model: facts for people to read, then an item a line. Items can be hundreds of thousands: they are
written as they come, so that the file is never in memory as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from langmill.disk.whole import write_whole


def write_result(path: Path, facts: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> None:
    """Write ``facts`` and, as ``items``, the items, whole or not at all. Raises FactoryError when the disk refuses."""

    def write(work: Path) -> None:
        head = json.dumps(facts, ensure_ascii=False, indent=1)
        with work.open("w", encoding="utf-8", errors="replace", newline="\n") as out:
            out.write(head.removesuffix("\n}") + ',\n "items": [')
            for number, item in enumerate(items):
                out.write((",\n  " if number else "\n  ") + json.dumps(item, ensure_ascii=False))
            out.write("\n ]\n}\n")

    write_whole(path, write)
