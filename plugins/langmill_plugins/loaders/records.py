"""From records to rows: the frame that every loader of files shares, and the checks that make a body.

A loader names its records (:class:`Entry`) and makes a row of each. Whatever goes wrong with one record is a RowFault with a
countable reason, and becomes a reject with file and line; the others are not touched.
"""

from __future__ import annotations

import math
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from langmill.api import (
    Chat,
    Choice,
    Context,
    Loader,
    Message,
    MissingInput,
    Reject,
    Row,
    RowFault,
    Seen,
    SourceContext,
    Split,
)

from .keys import Keys
from .layout import Layout, Need
from .reading import PACKED, ending

SPLIT_WORDS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}
# Zero-width characters, direction marks and control bytes alone are no text.
VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")


class Entry(NamedTuple):
    """One record: ``place`` is ``file:line`` for people, ``record`` its name, ``value`` what the format gave or its fault."""

    record: str
    place: str
    value: Any
    split: Split | None = None
    language: str = ""


class FileLoader(Loader):
    """A source made of files. A file that can not be read is a reject, unless none of them can: then it is an error."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    layout: ClassVar[tuple[str, ...]] = ()
    """The fields of the set's records without which none can become a row; ``a|b`` where either will do."""
    _named: tuple[Path | None, str] = (None, "")
    _keys: Keys = Keys()

    def files(self, context: Context) -> list[Path]:
        """The source's files; of a folder those that the format can be. Raises MissingInput if none; a packed file in their
        place is named."""
        try:
            found = super().files(context)
        except MissingInput as fault:
            raise MissingInput(f"{fault}{self._packed_told(context)}") from None
        if context.path(self.path).is_dir():
            found = [path for path in found if self.mine(path)]
        if not found:
            raise MissingInput(
                f"{context.place}.path: no file of this set ({', '.join(self.suffixes)}) below '{self.path}'"
                f"{self._packed_told(context)}"
            )
        return found

    def _packed_told(self, context: Context) -> str:
        """A packed file where none was found, and what to do with it; empty when there is none."""
        path = context.path(self.path)
        if path.is_dir():
            beside = [item for item in sorted(path.rglob("*")) if item.suffix.lower() in PACKED]
        else:
            beside = [item for item in self._beside(context) if item.is_file()]
        if not beside:
            return ""
        found = beside[0]
        read = not path.is_dir() and self.mine(found)
        return f". {found.name} is there: {f'type path: {self.path}{found.suffix}' if read else 'unpack it'}"

    def _beside(self, context: Context) -> list[Path]:
        """What lies where the source's files are, or would, under a packed file's name or as a link to nothing."""
        path, root, pattern = context.path(self.path), self.root(context), self._pattern()
        if pattern:
            names = [pattern, *(pattern + suffix for suffix in PACKED if not pattern.endswith("**"))]
            found = [item for name in names for item in root.glob(name)]
        else:
            found = [*path.rglob("*")] if path.is_dir() else [path.with_name(path.name + suffix) for suffix in PACKED]
        dangling = [item for item in found if item.is_symlink() and not item.exists()]
        return sorted({*dangling, *(item for item in found if item.suffix.lower() in PACKED)})

    def _left_out(self, files: Sequence[Path], context: Context) -> Iterator[tuple[Path, str, str]]:
        """Files that lie among the source's and can not be read, with reason and detail: packed ones, and links to nothing."""
        pattern = self._pattern()
        for path in self._beside(context) if self.root(context).is_dir() else ():
            plain = path.with_suffix("")
            if not path.exists():
                if pattern or self.mine(path):
                    yield path, "unreadable_file", "is a link to a file that is not there"
            elif path not in files and not plain.exists() and (pattern or (self.mine(plain) and not self.mine(path))):
                either = ", or let path: match it" if self.mine(path) else ""
                yield path, "packed_file", f"is packed and not read: unpack it{either}"

    def mine(self, path: Path) -> bool:
        """Whether a file found in the source's folder belongs to the set."""
        return path.suffix.lower() in self.suffixes

    def holds_records(self, path: Path) -> bool:
        """Whether a file holds records; one that only tells about those of others does not."""
        return True

    def needs(self) -> tuple[Need, ...]:
        """The fields that records must have."""
        return tuple(Need("", tuple(field.split("|"))) for field in self.layout)

    def named(self) -> tuple[Need, ...]:
        """The fields that the recipe names and that not every record must have."""
        return ()

    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        """Every record as a row or as a reject, in the files' order. A second record of one name is a reject, and so is a
        file that holds none or breaks off. Raises MissingInput when files can not be read and the others hold nothing, and
        RecipeError when no record has a field that is needed."""
        files = list(filter(self.holds_records, self.files(context)))
        seen, layout = Seen(), Layout(context.place, self.needs(), self.named(), several=len(files) > 1)
        keys = self._keys = Keys()
        broken: MissingInput | None = None
        for path in files:
            before = len(seen)
            try:
                yield from self.rows_of(layout.checked(self.entries(path, context), str(path)), seen, context)
            except MissingInput as fault:
                broken = broken or fault
                yield self._unread(path, "unreadable_file", str(fault).replace(str(path), path.name), context)
            else:
                if len(seen) == before:
                    names = ending(path) in (".csv", ".tsv", ".xlsx") and path.stat().st_size
                    only = ", only the names of its columns" if names else ""
                    yield self._unread(path, "no_records", f"{path.name}: holds no record{only}", context)
        if broken and not seen:
            raise broken
        layout.done()
        keys.done(context.place)
        for path, reason, detail in self._left_out(files, context):
            yield self._unread(path, reason, f"{path.name}: {detail}", context)

    def _unread(self, path: Path, reason: str, detail: str, context: SourceContext) -> Reject:
        return context.reject(".".join(self.parts(path, context)), reason, _plain(detail[:500]))

    def rows_of(self, entries: Iterator[Entry], seen: Seen, context: SourceContext) -> Iterator[Row | Reject]:
        """The rows and rejects of records; ``seen`` are the names met so far in the source, and grows."""
        for entry in entries:
            record, again = entry.record, 1
            while not seen.add(record):
                again += 1
                record = f"{entry.record}#{again}"
            try:
                if isinstance(entry.value, RowFault):
                    raise entry.value
                if again > 1:
                    raise RowFault("duplicate_id", f"'{entry.record}' was there before{self.told_of_ids(entry)}")
                yield self.row(entry, context)
            except RowFault as fault:
                detail = f"{entry.place}: {fault.detail}" if fault.detail else entry.place
                yield context.reject(
                    record,
                    fault.reason,
                    _plain(detail[:500]),
                    excerpt=excerpt(entry.value),
                    language=entry.language,
                    split=entry.split,
                )

    def told_of_ids(self, entry: Entry) -> str:
        """What to say of a second record of one id: where the id comes from, if the recipe can change that."""
        return ""

    @abstractmethod
    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """The records of one file."""

    @abstractmethod
    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row a record becomes. Raises RowFault when it can not."""

    def position(self, path: Path, context: SourceContext, number: int | str) -> str:
        """A record's name by its place: the file below the source's folder, without its ending, and a number."""
        if self._named[0] is not path:  # asked of every record
            self._named = path, ".".join(self.parts(path, context))
        return f"{self._named[1]}-{number}"

    def parts(self, path: Path, context: SourceContext) -> tuple[str, ...]:
        """Folders and stem of a file below the part of ``path`` that the recipe spells out."""
        root = self.root(context)
        inside = path.relative_to(root) if root.is_dir() else Path(path.name)
        return (*inside.parent.parts, Path(inside.stem).stem if inside.suffix.lower() == ".gz" else inside.stem)

    def file_split(self, path: Path, context: SourceContext) -> Split | None:
        """The split a file's name tells (``train_v1.jsonl``), else its folders inside the source; None when none does."""
        return split_told(self.parts(path, context))


def split_told(parts: Sequence[str]) -> Split | None:
    """The split that the last of a file's folders and its name tells; None when none does."""
    for part in reversed(parts):
        told = {SPLIT_WORDS[word] for word in re.split(r"[\W_]+", part.lower()) if word in SPLIT_WORDS}
        if len(told) == 1:
            return told.pop()
    return None


def excerpt(value: Any) -> str:
    """The beginning of a record, for people; always fit to be written as UTF-8."""
    if isinstance(value, RowFault):
        return ""
    try:
        text = value if isinstance(value, str) else str(value)
    except RecursionError:
        return ""
    return _plain(text[:200])


def _plain(text: str) -> str:
    """Text that is fit to be written as UTF-8, whatever a file held."""
    return text.encode("utf-8", "replace").decode("utf-8")


def name_of(value: Any) -> str:
    """A set's own id as a record's name: one line, no blanks, at most 200 characters; empty when it has none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return re.sub(r"[\s/\x00-\x1f\ud800-\udfff]+", "_", str(value).strip())[:200]


def text_of(value: Any, name: str, *, optional: bool = False) -> str:
    """A cell as text, stripped. Raises RowFault: ``no_NAME`` when it is empty, wrong_type, broken_text."""
    if value is None and optional:
        return ""
    if isinstance(value, RowFault):  # a cell of a spreadsheet that can not be read
        raise RowFault(value.reason, f"{name} is {value.detail}")
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise RowFault("wrong_type", f"{name} is a {type(value).__name__}, expected text")
    text = "" if value is None else str(value).strip()
    if not VISIBLE.search(text):
        text = ""
    if not text and not optional:
        raise RowFault(f"no_{name}", f"{name} is empty")
    if "\0" in text or (not text.isascii() and re.search("[\ud800-\udfff]", text)):
        raise RowFault("broken_text", f"{name} holds characters that are no text")
    return text


def get(value: Any, name: str) -> Any:
    """A field of an object, None when it is not there. Raises RowFault wrong_type when ``value`` is no object."""
    if not isinstance(value, dict):
        raise RowFault("wrong_type", f"expected an object with '{name}', found a {type(value).__name__}")
    return value.get(name)


def key_of(value: Any, labels: Sequence[str]) -> tuple[int, ...]:
    """The right answers as indices, from letters: ``C``, ``A,D``, ``ABDE`` or a list of letters.

    Raises RowFault: no_answer (also for ``nan``, which spreadsheets leave), ambiguous_key (``a or d``: either counts),
    bad_key when a letter names no option.
    """
    words = [str(item) for item in value] if isinstance(value, list | tuple) else [text_of(value, "answer")]
    told = " ".join(words).strip()[:80]  # as it was written, for people
    text = unicodedata.normalize("NFKC", " ".join(words)).strip().casefold()
    if text in ("", "nan", "none", "null"):
        raise RowFault("no_answer", f"the answer is '{told}'")
    if re.search(r"\b(or|ou|oder|или|либо)\b|または|又は|或", text):
        raise RowFault("ambiguous_key", f"the answer is '{told}'")
    known = {unicodedata.normalize("NFKC", label).casefold(): index for index, label in enumerate(labels)}
    found: set[int] = set()
    for word in re.split(r"[\s,;/、·&+]+", text):
        letters = [word] if word in known else list(word)
        for letter in letters:
            if letter not in known:
                raise RowFault("bad_key", f"the answer is '{told}', possible: {', '.join(labels)}")
            found.add(known[letter])
    if not found:
        raise RowFault("no_answer", f"the answer is '{told}'")
    return tuple(sorted(found))


def choice(
    question: Any, options: Sequence[Any], answers: Sequence[int], *, explanation: Any = None, context: Any = None
) -> Choice:
    """A multiple-choice item of raw cells. Raises RowFault: no_question, no_options, empty_option, bad_key."""
    if len(options) < 2:
        raise RowFault("no_options", f"{len(options)} options")
    texts = []
    for number, option in enumerate(options, start=1):
        text = text_of(option, "option", optional=True)
        if not text:
            raise RowFault("empty_option", f"option {number} of {len(options)} is empty")
        texts.append(text)
    if not answers:
        raise RowFault("no_answer", "no option is right")
    if min(answers) < 0 or max(answers) >= len(texts):
        raise RowFault("bad_key", f"an answer points outside the {len(texts)} options")
    return Choice(
        text_of(question, "question"),
        tuple(texts),
        tuple(sorted(set(answers))),
        text_of(explanation, "explanation", optional=True) or None,
        text_of(context, "context", optional=True) or None,
    )


def lettered_lines(text: str, mark: str) -> list[str]:
    """Options of one string, a line each: ``A`` + ``mark`` + text, in the letters' order. A line that does not start with
    the next letter belongs to the option before it. Raises RowFault broken_options when the first is not A: the letters
    that an explanation speaks of would then no longer fit."""
    options: list[list[str]] = []
    for line in text.split("\n"):
        letter = chr(ord("A") + len(options))
        if letter <= "Z" and (found := re.match(rf"\s*{letter}{mark}", line)):
            options.append([line[found.end() :]])
        elif options:
            options[-1].append(line)
        elif line.strip():
            raise RowFault("broken_options", f"the options do not start with A but with '{line.strip()[:20]}'")
    return ["\n".join(line.strip() for line in option).strip() for option in options]


# ``from`` and ``value`` are the names of ShareGPT's layout, with human and gpt.
ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
}  # fmt: skip


def conversation(messages: Any) -> Chat:
    """A conversation from ``[{role, content}, …]`` or ``[{from, value}, …]``. Raises RowFault bad_messages, no_question,
    no_answer."""
    if not isinstance(messages, list):
        raise RowFault("bad_messages", f"messages is a {type(messages).__name__}, expected a list")
    turns: list[Message] = []
    for number, item in enumerate(messages, start=1):
        told = get(item, "role") or get(item, "from")
        role = ROLES.get(told) if isinstance(told, str) else None
        if role is None:
            raise RowFault("bad_messages", f"message {number} has the role '{told}', possible: {', '.join(ROLES)}")
        content = item["content"] if item.get("content") is not None else item.get("value")
        turns.append(Message(role, text_of(content, "answer" if role == "assistant" else "question")))
    roles = [turn.role for turn in turns if turn.role != "system"]
    if not roles or roles[0] != "user" or roles[-1] != "assistant" or turns[-1].role != "assistant":
        raise RowFault("bad_messages", "a conversation starts with the user and ends with the assistant")
    return Chat(tuple(turns))
