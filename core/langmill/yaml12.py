"""The only reader and writer of YAML: plain data by the core schema of YAML 1.2, with the line of every key and item.

YAML 1.1 reads ``no`` as false, ``12:30`` as 750 and ``2e-4`` as text; the core schema of 1.2.2 (chapter 10.3) does not.
Stricter than the standard where it guards people: keys are text and written once, and there are no tags, anchors or
aliases, so a file can neither build objects nor unfold into gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from langmill.errors import Fault, RecipeError

Loc = tuple[str | int, ...]
DEPTH = 64
"""Deepest nesting read. A recipe needs about eight levels; far deeper nesting would exhaust the interpreter's stack."""

_CONSTANTS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Document:
    """What a file says and where: ``lines`` maps a location such as ``("steps", 1, "use")`` to its line, from 1.

    ``faults`` is empty but in a draft: what was read past, such as a key written twice.
    """

    name: str
    data: Any
    lines: dict[Loc, int] = field(repr=False)
    faults: tuple[Fault, ...] = ()

    def line(self, loc: Loc) -> int:
        """The line of a key or item; of its nearest ancestor when the file does not have it."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def fault(self, loc: Loc, message: str) -> Fault:
        """A fault at a location of this file."""
        return Fault(self.name, self.line(loc), place_of(loc), message)


def place_of(loc: Loc) -> str:
    """A location as people read it: ``datasets.ift.steps[1].threshold``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return text.removeprefix(".") or "(top)"


def load_file(path: Path) -> Document:
    """Read a file. Raises RecipeError with the line of everything wrong; a file that does not open is a fault too."""
    return _sound(draft_file(path))


def load_text(text: str, name: str) -> Document:
    """Read a text; ``name`` stands for the file in faults. Raises RecipeError with every fault found."""
    return _sound(draft_text(text, name))


def _sound(document: Document) -> Document:
    if document.faults:
        raise RecipeError(document.faults)
    return document


def draft_file(path: Path) -> Document:
    """Read a file whose faults are to be told with others. Raises RecipeError only where it is not YAML at all."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise RecipeError([Fault(str(path), 1, place_of(()), reason)]) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise RecipeError([Fault(str(path), line, place_of(()), found)]) from None
    return draft_text(text, str(path))


def draft_text(text: str, name: str) -> Document:
    """As :func:`draft_file`, of a text."""
    builder = _Builder(name)
    try:
        data = builder.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        fault = Fault(name, mark.line + 1 if mark else 1, place_of(()), f"not YAML: {message}")
        raise RecipeError([*builder.faults, fault]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"the character U+{ord(text[error.position]):04X} may not stand in YAML; escape it in double quotes"
        raise RecipeError([*builder.faults, Fault(name, line, place_of(()), found)]) from None
    return Document(name, data, builder.lines, tuple(builder.faults))


def load_value(text: str) -> Any:
    """One value as the command line gives it: ``3``, ``true``, ``[en, fr]``. Raises RecipeError."""
    return load_text(text, "--set").data


def scalar(text: str) -> Any:
    """An unquoted word by the core schema: null, a truth value, a number, or else the text itself."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float("nan") if special[3] else float(special[1] + "inf")
    return text


class _TooDeep(yaml.MarkedYAMLError):
    """Nesting beyond DEPTH."""


class _Builder:
    """Plain data from the parser's events."""

    def __init__(self, name: str):
        self.name = name
        self.faults: list[Fault] = []
        self.lines: dict[Loc, int] = {(): 1}

    def document(self, events: Iterator[Any]) -> Any:
        """The single document of a stream; None when there is none."""
        data: Any = None
        count = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count == 2:
                    self.fault(event, (), "a second document starts here ('---'): one file holds one")
                value = self.value(next(events), events, ())
                data = value if count == 1 else data
        return data

    def value(self, event: Any, events: Iterator[Any], loc: Loc) -> Any:
        """The value that ``event`` begins."""
        if len(loc) > DEPTH:
            raise _TooDeep(problem=f"nested more than {DEPTH} deep", problem_mark=event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self.fault(event, loc, f"'*{event.anchor}': aliases are not read, write the value out")
            return None
        if event.anchor is not None:
            self.fault(event, loc, f"'&{event.anchor}': anchors are not read, leave it out")
        if event.tag is not None:
            self.fault(event, loc, f"the tag '{event.tag}' is not read: only plain data, leave it out")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(events, loc)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(events, loc)
        return self.word(event, loc)

    def word(self, event: Any, loc: Loc) -> Any:
        """A scalar: quoted and block text is text, an unquoted word goes by the core schema."""
        if any("\ud800" <= letter <= "\udfff" for letter in event.value):
            self.fault(event, loc, "half a surrogate pair: write the character itself, or \\U and its eight digits")
            return None
        if event.style is not None:
            return event.value
        try:
            return scalar(event.value)
        except ValueError:  # Python reads no integer of more than 4300 digits
            self.fault(event, loc, f"a number of {len(event.value)} digits: put quotes around it if it is text")
            return None

    def sequence(self, events: Iterator[Any], loc: Loc) -> list[Any]:
        """The items up to the end of the list."""
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*loc, len(items))
            self.lines[here] = event.start_mark.line + 1
            items.append(self.value(event, events, here))
        return items

    def mapping(self, events: Iterator[Any], loc: Loc) -> dict[str, Any]:
        """The entries up to the end of the mapping; the first of two equal keys stands."""
        entries: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.value(event, events, (*loc, "(key)"))
            if not isinstance(key, str):
                if not isinstance(event, yaml.AliasEvent):
                    hint = "put quotes around it" if isinstance(event, yaml.ScalarEvent) else "not a list or mapping"
                    self.fault(event, loc, f"a key is text: {hint}")
                self.value(next(events), events, (*loc, "(key)"))
                continue
            here = (*loc, key)
            if key in entries:
                self.fault(event, here, f"'{key}' is here twice, first on line {self.lines[here]}: keep one")
                self.value(next(events), events, (*loc, "(key)"))
                continue
            self.lines[here] = event.start_mark.line + 1
            entries[key] = None  # before the value is read, so that the order of keys is the file's
            entries[key] = self.value(next(events), events, here)
        return entries

    def fault(self, event: Any, loc: Loc, message: str) -> None:
        """Note a fault at an event's line."""
        self.faults.append(Fault(self.name, event.start_mark.line + 1, place_of(loc), message))


class _Dumper(yaml.SafeDumper):
    """Writes what :func:`load_text` reads back as it was."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # The emitter quotes what YAML 1.1 would misread; the core schema also reads 2e-4 and 0o14 as numbers.
    style = "'" if not isinstance(_quiet_scalar(text), str) else None
    if any(mark in text for mark in "\n\r\x85\u2028\u2029\ufeff"):
        style = '"'  # the other styles fold line breaks, of which YAML 1.1 knows more than one
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _quiet_scalar(text: str) -> Any:
    try:
        return scalar(text)
    except ValueError:
        return None


_Dumper.add_representer(str, _text)
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def dump(data: Any) -> str:
    """Plain data as YAML, keys in their order. Raises yaml.YAMLError for anything that is not plain data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)
