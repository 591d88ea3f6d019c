"""The fields that a set's records must have, and what to say when a set comes in another layout.

A record without a field that others have is a reject. A field that no record has is another matter: the set was published anew,
or the recipe names the wrong field, and thousands of rejects would hide that.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

from langmill.api import MissingInput, RecipeError

FIRST = 1000  # records of a file among which a needed field must be
FEW = 20  # a file of fewer records may lack a field that others of the source have
FIELDS = 1000  # names that are remembered: objects may be keyed by anything
MISSING = object()
# What published sets call the same thing; the nearest name is looked for among these before it is looked for by spelling.
USUAL: tuple[tuple[str, ...], ...] = (
    ("question", "query", "instruction", "input", "prompt", "problem_text", "qtext", "stem", "sent1", "问题"),
    ("answer", "answer_idx", "cop", "ra", "correct_answers", "final_decision", "output", "response", "completion", "label", "答案"),
    ("options", "choices", "answers", "option", "endings"),
    ("messages", "conversations", "conversation", "dialogue", "turns", "data"),
    ("text", "content", "passage", "abstract", "document", "body"),
    ("explanation", "rationale", "exp", "cot", "long_answer", "reason", "解析"),
    ("context", "contexts", "passage", "background"),
    ("id", "qid", "problem_id", "pairid", "pubid", "realidx", "idx"),
    ("language", "lang", "language_code"),
)  # fmt: skip


class Record(Protocol):
    """Anything that carries what a format gave."""

    @property
    def value(self) -> Any: ...


R = TypeVar("R", bound=Record)


class Need(NamedTuple):
    """A field that records must have: one of ``names``. ``option`` is the word of the recipe that names it, empty where a
    loader knows its set's fields itself."""

    option: str
    names: tuple[str, ...]


def find(value: Any, name: str, default: Any = None) -> Any:
    """A field of an object. ``choices.text`` is the field ``text`` of the object, or of each in the list, that is the field
    ``choices``; a field whose own name holds the full stop comes first."""
    if not isinstance(value, dict):
        return default
    if name in value:
        return value[name]
    head = outer(name, value)
    if head == name:
        return default
    inner, rest = value[head], name[len(head) + 1 :]
    if isinstance(inner, list):
        found = [find(item, rest, MISSING) for item in inner]
        return default if found and all(item is MISSING for item in found) else [_no(item) for item in found]
    return None if inner is None else find(inner, rest, default)


def outer(name: str, present: Container[str]) -> str:
    """The field at hand that a dotted name goes into, the longest one; the name itself when it is there, or none is."""
    head = name
    while head not in present:
        head, dot, _ = head.rpartition(".")
        if not dot:
            return name
    return head


def _no(item: Any) -> Any:
    return None if item is MISSING else item


class Layout:
    """Watches the records of one source for the fields they need (``needs``) and for those that the recipe names and that not
    every record must have (``named``). ``several``: the source has more than one file."""

    def __init__(self, place: str, needs: Sequence[Need], named: Sequence[Need], *, several: bool = False):
        self.place, self.needs, self.named, self.several = place, tuple(needs), tuple(named), several
        self.unmet = [*self.named]
        self.asked = {name for need in (*self.needs, *self.named) for name in need.names}
        self.there: dict[str, None] = {}  # fields met, in their order
        self.here: dict[str, None] = {}  # those of the file at hand
        self.denied = set[Need]()  # needs of which a record said that it has not their field
        self.never: dict[Need, str] = dict.fromkeys(
            needs, ""
        )  # needs not met in any file, with what to say of the first one

    def checked(self, entries: Iterable[R], file: str) -> Iterator[R]:
        """The records of a file, held back until each needed field was met once. Raises RecipeError when the first records
        all lack one; of a file with few records it waits for the others (``done``)."""
        lacking, held, records = self.needs, list[Any](), 0
        self.here = {}
        self.denied.difference_update(self.needs)
        stream = iter(entries)
        broken: MissingInput | None = None
        while lacking and len(held) < FIRST:
            try:
                entry = next(stream)
            except StopIteration:
                break
            except MissingInput as fault:
                broken = fault
                break
            held.append(entry)
            if isinstance(entry.value, dict):
                records += 1
                self._meet(entry.value)
                lacking = tuple(self._lacking(entry.value, lacking))
        if records:
            for need in self.needs:
                if need not in lacking:
                    self.never.pop(need, None)
        lacking = tuple(need for need in lacking if need in self.denied)
        if lacking and records:
            counted = "the only record lacks" if records == 1 else f"none of the first {records:,} records has"
            said = f"{file}: {counted} the field"
            if records == 1 and (lies := _lies_inside(held, lacking)):
                raise RecipeError(f"{self.place}: {file}: {lies}")
            if records >= FEW or not self.several:
                raise RecipeError(self._told(lacking, said))
            self.never.update((need, self._told(lacking, said)) for need in lacking if self.never.get(need) == "")
        yield from held
        if broken:
            raise broken
        for entry in stream:
            if not self.unmet:
                yield entry
                break
            if isinstance(entry.value, dict):
                self._meet(entry.value)
            yield entry
        yield from stream

    def done(self) -> None:
        """After the last file. Raises RecipeError when no record of the source had a field that is needed or that the recipe
        names."""
        if told := next(filter(None, self.never.values()), ""):
            raise RecipeError(told)
        if need := next((need for need in self.unmet if need in self.denied), None):
            raise RecipeError(
                f"{self.place}.{need.option}: no record has the field '{need.names[0]}'. Fields there: {_listed(self.there)}. "
                f"{self._advice(need, self.there)}{'' if need.option == 'options' else f', or take {need.option} out'}"
            )

    def _meet(self, value: dict[str, Any]) -> None:
        if len(self.here) < FIELDS:
            self.here.update(dict.fromkeys(self._names(value)))
        if len(self.there) < FIELDS:
            self.there.update(self.here)
        if self.unmet:
            self.unmet = self._lacking(value, self.unmet)

    def _names(self, value: dict[str, Any], before: str = "") -> Iterator[str]:
        """An object's fields; where a field that is asked for lies inside of one, those inside, as the recipe names them."""
        for key, inner in value.items():
            name = f"{before}{key}"
            if inner and isinstance(inner, dict) and any(asked.startswith(f"{name}.") for asked in self.asked):
                yield from self._names(inner, f"{name}.")
            else:
                yield name

    def _lacking(self, value: dict[str, Any], needs: Iterable[Need]) -> list[Need]:
        """The needs that a record does not meet. Whether it lacks the field is noted: a null says nothing of what would lie inside."""
        lacking = [need for need in needs if not any(_has(value, name) for name in need.names)]
        self.denied.update(need for need in lacking if all(_has(value, name) is False for name in need.names))
        return lacking

    def whole(self, document: dict[str, Any], file: str) -> None:
        """A file that is one document, and no list of records. Raises RecipeError when it lacks a field."""
        self.here = {}
        self._meet(document)
        if lacking := self._lacking(document, self.needs):
            raise RecipeError(self._told(lacking, f"{file}: has no"))

    def _told(self, lacking: Sequence[Need], found: str) -> str:
        fields = "; ".join(" or ".join(f"'{name}'" for name in need.names) for need in lacking)
        start = f"{self.place}: {found} {fields}. Fields there: {_listed(self.here)}. "
        if lacking[0].option:
            leave = ". If only this file is without it, narrow path:" if self.several else ""
            return f"{start}{'; '.join(dict.fromkeys(self._advice(need, self.here) for need in lacking))}{leave}"
        near = [(need.names[0], self._nearest(need, self.here)) for need in lacking]
        hints = "".join(f"The nearest to '{name}' is '{found}'. " for name, found in near if found)
        return (
            f"{start}{hints}This is not the layout that the loader knows: if the set was published anew, read it with use: table and "
            "say which field holds what (recipes/hub.md has examples); if this is another set's file, narrow path:"
        )

    def _advice(self, need: Need, there: Iterable[str]) -> str:
        if need.option == "language_field":
            field = next((name for name in there if name.casefold() in USUAL[-1]), "")
            typed = f"Type language_field: {field}, or language:" if field else "Type language:"
            return f"{typed} and the code of the set's language, such as en"
        found = self._nearest(need, there)
        if found and need.option in ("question", "answer") and found in USUAL[3]:
            return f"Type messages: {found}"
        if found:
            return f"Type {need.option}: {found}"
        if need.option == "options":
            return "Type options: and the fields that hold them"
        return f"None of them looks like it: type {need.option}: and the field that holds it"

    def _nearest(self, need: Need, there: Iterable[str]) -> str:
        """A field that may be meant, empty when none is near."""
        others = [
            other for other in (*self.needs, *self.named) if other.option != "options" or need.option != "options"
        ]
        taken = {name for other in others for name in other.names}
        free = [name for name in there if name and name not in taken]
        if need.option == "options" and (columns := _lettered(free)):
            return f"[{', '.join(columns)}]"
        folded = {name.casefold(): name for name in reversed(free)}
        typed = [name.casefold() for name in need.names if name != need.option]
        if slips := [slip for name in typed for slip in difflib.get_close_matches(name, folded, 1, 0.8)]:
            return folded[slips[0]]
        for name in (need.option, *need.names):
            known = next((group for group in USUAL if name.casefold() in group), ())
            for other in (name.casefold(), *known):
                if other in folded:
                    return folded[other]
        spelt = [close for name in need.names for close in difflib.get_close_matches(name.casefold(), folded, 1, 0.6)]
        return folded[spelt[0]] if spelt else ""


def _has(value: Any, name: str) -> bool | None:
    """Whether an object has a field; None where that can not be told, since a null is where it would lie."""
    if not isinstance(value, dict) or name in value:
        return isinstance(value, dict)
    head = outer(name, value)
    if head == name:
        return False
    inner, rest = value[head], name[len(head) + 1 :]
    if isinstance(inner, list):
        return find(value, name, MISSING) is not MISSING
    return None if inner is None else _has(inner, rest)


def _lies_inside(entries: Sequence[Record], lacking: Sequence[Need]) -> str:
    """What to say of a file whose only record is a wrapping: the records are a list inside of it."""
    value = next(entry.value for entry in entries if isinstance(entry.value, dict))
    for name, inner in value.items():
        first = inner[0] if inner and isinstance(inner, list) else None
        if isinstance(first, dict) and all(any(_has(first, field) for field in need.names) for need in lacking):
            return inside(str(name), len(inner))
    return ""


def inside(name: str, count: int) -> str:
    """What to say of records that lie inside of a document's field."""
    name = name[:40]
    return f"the records lie inside '{name}' ({count:,} in a list): save that list as a file of its own (jq .{name} in > out)"


def _listed(names: Iterable[str]) -> str:
    shown = [name[:40] for name in names if name]
    return ", ".join(shown[:30]) + (f" and {len(shown) - 30} more" if len(shown) > 30 else "")


def _lettered(names: Iterable[str]) -> list[str]:
    """Columns that look like one option each: opa, opb, opc; A, B, C; answer_a, answer_b; 1, 2, 3."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name[:-1], []).append(name)
    for group in sorted(groups.values(), key=len, reverse=True):
        ends = [name[-1].casefold() for name in group]
        if len(ends) > 1 and ends[0] in "a01" and all(ord(b) - ord(a) == 1 for a, b in pairwise(ends)):
            return group
    return []
