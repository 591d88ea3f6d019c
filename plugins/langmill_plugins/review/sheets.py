"""The sheet that reviewers fill in: written for spreadsheets, and read back however a spreadsheet saves it.

All cells stand in quotes and lines end as spreadsheets end them; the file begins with a byte-order mark, without which they take UTF-8
for something else. A cell that a spreadsheet would take for a formula (it begins with = + - @, the same in full width, a tab or a line's
end) gets an apostrophe before it, which is taken off again when the sheet is read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langmill.api import Choice, Pack, Row

from .verdicts import shown_hash

COLUMNS = ("id", "hash", "question", "options", "answer", "rationale", "model", "verdict", "comment")
NEEDED = ("id", "hash", "verdict")
WORDS = {"pass": "pass", "p": "pass", "fail": "fail", "f": "fail"}
BOM = "\ufeff"
CELL = 10_000_000  # characters of the longest cell that is read
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # in full width, too: so Japanese and Chinese write them


class Said(NamedTuple):
    """A line that somebody filled in. ``verdict`` is pass, fail, or empty beside a comment; ``shown`` is the hash of what it is of;
    ``place`` is ``file:line``."""

    place: str
    id: str
    shown: str
    verdict: str
    comment: str


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def original(cell: str) -> str:
    """What :func:`harmless` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def line_of(row: Row, pack: Pack) -> dict[str, str]:
    """What a reviewer sees of a multiple-choice row, by column; verdict and comment are empty."""
    body = row.body
    assert isinstance(body, Choice)
    options = pack.lettered(body.options)
    return {
        "id": row.id,
        "hash": shown_hash(body),
        "question": f"{body.context}\n\n{body.question}" if body.context else body.question,
        "options": "\n".join(options),
        "answer": "\n".join(options[index] for index in body.answers),
        "rationale": body.explanation or "",
        "model": ", ".join(dict.fromkeys(mark.model for mark in row.origin.marks)),
        "verdict": "",
        "comment": "",
    }


def sheet(lines: Iterable[Mapping[str, str]]) -> str:
    """A sheet's text, to be written as UTF-8."""
    out = io.StringIO()
    table = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    table.writerow(COLUMNS)
    table.writerows([harmless(line[column]) for column in COLUMNS] for line in lines)
    return BOM + out.getvalue()


def read_sheets(paths: Sequence[Path]) -> tuple[list[Said], list[str]]:
    """The filled lines of sheets, and everything that is wrong in them, each with file and line. Raises OSError for a file that can
    not be read."""
    said: list[Said] = []
    faults: list[str] = []
    for path in paths:
        for item in _lines(path):
            (said if isinstance(item, Said) else faults).append(item)  # type: ignore[arg-type]
    return said, faults


def _lines(path: Path) -> Iterator[Said | str]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        yield f"{path}:{line}: is not UTF-8: save the sheet as 'CSV UTF-8'"
        return
    delimiter = next((sign for sign in ",;\t" if set(NEEDED) <= set(_head(text, sign))), "")
    if not delimiter:
        found = ", ".join(_head(text, ",")[:9]) or "nothing"
        yield f"{path}:1: the first line names the columns, {', '.join(NEEDED)} among them; found: {found[:200]}"
        return
    reader = _reader(text, delimiter)
    columns = _names(next(reader))
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        yield f"{path}:1: two columns are named '{twice[0]}'"
        return
    while True:
        place = f"{path}:{reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (
            csv.Error
        ) as error:  # what follows is inside of a quote that never ends, or begins in the middle of a cell
            yield f"{place}: this line is no CSV: {error}"
            return
        if any(cell.strip() for cell in cells[len(columns) :]):
            yield f"{place}: {len(cells)} cells, expected {len(columns)}: is a quote missing?"
            continue
        item = _said(place, dict(zip(columns, cells, strict=False)))  # spreadsheets may leave out empty last cells
        if item:
            yield item


def _said(place: str, cells: Mapping[str, str]) -> Said | str | None:
    """What a line says; None where nobody filled it in."""
    id, shown, told, comment = (original(cells.get(name, "")).strip() for name in (*NEEDED, "comment"))
    if told and told.lower() not in WORDS:
        return f"{place}: the verdict is '{told[:40]}', possible: pass, fail, or nothing"
    if not (told or comment):
        return None
    if not (id and shown):
        return f"{place}: a verdict on no row: the cells 'id' and 'hash' must stay as they were"
    return Said(place, id, shown, WORDS.get(told.lower(), ""), comment)


def _reader(text: str, delimiter: str) -> Any:
    csv.field_size_limit(CELL)
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _head(text: str, delimiter: str) -> list[str]:
    try:
        return _names(next(_reader(text, delimiter), []))
    except csv.Error:
        return []


def _names(cells: Iterable[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]
