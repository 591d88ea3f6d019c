"""JSON: a list of records, an object keyed by id, or an object a line, told by what is in the file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, RowFault
from langmill_plugins.loaders.layout import FEW, inside
from langmill_plugins.loaders.reading import LINE, as_utf8, json_lines, lines, opened, parsed, readable

# A record: its number, its own name where the file is keyed by name, how people find it, and what it is or its fault.
Item = tuple[int, str, str, Any]
AT_ONCE = 1 << 20  # characters of a document read at once
BLANK = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()


def json_records(path: Path) -> Iterator[Item]:
    """The records of a JSON file, whatever its shape, one after the other: none is held longer than it is asked for.

    Raises MissingInput when it is no JSON, after the records before the break, or an object whose first value is no record.
    """
    if _a_line_each(path):
        yield from line_records(path)
        return
    members = _members(path)
    for number, (key, value) in enumerate(members, start=1):
        if key is None:
            yield number, "", f"{path.name}, item {number}", value
        elif isinstance(value, dict):
            yield number, key, f"{path.name}, {key[:80]}", value
        elif number == 1:
            raise MissingInput(f"{path}: {_no_records(key, value, members)}")
        else:
            fault = RowFault("wrong_type", f"the value is a {type(value).__name__}, expected an object")
            yield number, key, f"{path.name}, {key[:80]}", fault


def _no_records(key: str, value: Any, members: Iterator[tuple[str | None, Any]]) -> str:
    """What to say of an object that is not made of records: where in it they lie."""
    found = {key: value}
    with suppress(MissingInput):  # what breaks off later has been looked at as far as it goes
        found.update((str(name), inner) for name, inner in islice(members, FEW))
    for name, inner in found.items():
        if inner and isinstance(inner, list) and all(isinstance(item, dict) for item in inner):
            return inside(name, len(inner))
    if _columns(found):
        return (
            f"holds a list for each field ({', '.join(name[:40] for name in found)}), expected an object for each record: "
            'write [{"question": …, "answer": …}, …] into a file of its own'
        )
    return (
        f"is one object, whose '{key[:40]}' is a {type(value).__name__}; expected a list of records, an object of "
        "records keyed by id, or a record a line. A set in a layout of its own may have a loader: see factory plugins"
    )


def _columns(found: dict[str, Any]) -> bool:
    """Whether an object's fields are columns: lists of cells, all of one length."""
    lists = [
        inner
        for inner in found.values()
        if isinstance(inner, list) and not any(isinstance(item, dict | list) for item in inner)
    ]
    return len(lists) == len(found) > 1 and len({len(inner) for inner in lists}) == 1


def line_records(path: Path) -> Iterator[Item]:
    """The records of a JSON Lines file."""
    for number, value in json_lines(path):
        yield number, "", f"{path.name}:{number}", value


def _members(path: Path) -> Iterator[tuple[str | None, Any]]:
    """What the list (without a key) or the object that a file holds is made of. Raises MissingInput, also for a value of more
    than LINE characters."""
    with readable(path):
        with opened(path) as file:
            encoding = json.detect_encoding(file.read(4))
        with opened(path) as file:
            text = _Text(path, io.TextIOWrapper(file, encoding, "surrogatepass", newline=""))
            try:
                first = text.sign()
                if first not in ("[", "{"):
                    raise MissingInput(f"{path}: holds a {type(text.value()).__name__}, expected a list of records")
                closing, sign = {"[": "]", "{": "}"}[first], first
                text.at += 1
                if text.sign() == closing:
                    text.at += 1
                    sign = closing
                while sign != closing:
                    key = None
                    if closing == "}":
                        key = text.value()
                        if not isinstance(key, str):
                            raise text.broken("a name is no text")
                        text.passed(":")
                    yield key, text.value()
                    sign = text.passed(",", closing)
                if text.sign():
                    raise text.broken("more after its end")
            except UnicodeDecodeError as error:
                raise MissingInput(f"{path}: is not UTF-8 ({error.reason}): {as_utf8(error.object)}") from None


class _Text:
    """A window on a document, moved along it: ``at`` is the place in what is held."""

    def __init__(self, path: Path, file: io.TextIOWrapper):
        self.path, self.file, self.held, self.at, self.dropped, self.ended = path, file, "", 0, 0, False

    def more(self) -> bool:
        """Reads on, and drops what was passed. False at the end of the file."""
        found = "" if self.ended else self.file.read(max(AT_ONCE, len(self.held) - self.at))
        self.ended = not found
        self.dropped += self.at
        self.held, self.at = self.held[self.at :] + found, 0
        return bool(found)

    def sign(self) -> str:
        """The next character that is not blank, which is not passed; empty at the end."""
        while True:
            self.at = BLANK.match(self.held, self.at).end()  # type: ignore[union-attr]  # it always matches
            if self.at < len(self.held):
                return self.held[self.at]
            if not self.more():
                return ""

    def passed(self, *possible: str) -> str:
        """The next character, passed. Raises MissingInput when it is none of those possible."""
        if (sign := self.sign()) not in possible:
            raise self.broken(f"expected {' or '.join(possible)}")
        self.at += 1
        return sign

    def value(self) -> Any:
        """The next value, passed. Raises MissingInput."""
        self.sign()
        while True:
            fault = ""
            try:
                value, end = DECODER.raw_decode(self.held, self.at)
                if end < len(self.held) or self.ended:  # at the very end a number may go on
                    self.at = end
                    return value
            except json.JSONDecodeError as error:  # or what is held ends inside of the value
                fault = f"{error.msg} at character {self.dropped + error.pos + 1:,}"
            except RecursionError:
                raise self.broken("nested too deeply") from None
            except ValueError as error:  # a number of more digits than Python reads
                raise self.broken(str(error)) from None
            if len(self.held) - self.at > LINE or (not self.more() and fault):
                raise MissingInput(
                    f"{self.path}: is not JSON: {fault or 'a value that is too long'}. Fetch the file again"
                )

    def broken(self, reason: str) -> MissingInput:
        """The fault of the place reached."""
        return MissingInput(
            f"{self.path}: is not JSON: {reason} at character {self.dropped + self.at + 1:,}. Fetch the file again"
        )


def _a_line_each(path: Path) -> bool:
    """Whether one of the first two lines that are not blank is an object of its own, and not the whole file with all its records."""
    first = list(islice((line for _, line in lines(path) if isinstance(line, RowFault) or line.strip()), 2))
    found = [_object(line) for line in first]
    if len(first) == 1 and found[0] is not None:
        return not (_columns(found[0]) or all(isinstance(value, dict) for value in found[0].values()))
    return any(value is not None for value in found) and not str(first[0]).lstrip().startswith("[")


def _object(line: str | RowFault) -> dict[str, Any] | None:
    try:
        value = parsed(line) if isinstance(line, str) and line.rstrip().endswith("}") else None
    except RowFault:
        return None
    return value if isinstance(value, dict) else None
