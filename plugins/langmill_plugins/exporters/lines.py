"""A folder of JSON Lines files that appears whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langmill.api import whole_folder


def write_lines(target: Path, lines: Iterable[tuple[str, Mapping[str, Any]]]) -> Path:
    """Write each line to its file (a path below ``target``) and put the folder in the place of an older one. One file is open
    at a time, so lines come grouped by file."""
    with whole_folder(target) as folder, ExitStack() as stack:
        name, handle = "", None
        for file, line in lines:
            if handle is None or file != name:
                stack.close()
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                name, handle = file, stack.enter_context(path.open("a", encoding="utf-8", newline="\n"))
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
    return target
