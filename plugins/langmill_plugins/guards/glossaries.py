"""Glossaries as people write them: read with every fault told by its line."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

from langmill.api import MissingInput
from langmill_plugins.guards.names import Glossary

_LAYOUTS = ({"source", "target"}, {"sourceLang", "targetLang", "sourceString", "targetString"})
_POSSIBLE = (
    "possible: a CSV file in UTF-8, parted by commas, whose first line is source,target "
    "or sourceLang,targetLang,sourceString,targetString"
)


def glossary_of(path: Path, source: str, target: str) -> Glossary:
    """The terms of a file for a pair of languages, none if it has none (see Glossary.read). Raises MissingInput, with path, line and
    what is possible, for a file that can not be read."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MissingInput(f"{path}:{line}: this is no UTF-8; {_POSSIBLE}") from None
    rows = csv.reader(StringIO(text, newline=""))
    try:
        columns = next(rows, [])
        for _ in rows:
            pass
    except csv.Error as error:
        raise MissingInput(f"{path}:{rows.line_num}: {error}; {_POSSIBLE}") from None
    if not any(layout <= set(columns) for layout in _LAYOUTS):
        raise MissingInput(f"{path}:1: found '{','.join(columns)[:80]}'; {_POSSIBLE}")
    return Glossary.read(path, source, target)
