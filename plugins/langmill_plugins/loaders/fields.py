"""The field mapping that table and huggingface share: which field holds what."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, Literal, Self

from pydantic import model_validator

from langmill.api import Body, Chat, Field, Part, Row, RowFault, SourceContext, Split, Text

from .keys import Keys
from .layout import USUAL, Need, find, outer
from .records import SPLIT_WORDS, Entry, choice, conversation, key_of, name_of, text_of

CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")
# Options that name a field which need not be there, by body.
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "text": ("title",),
    "chat": ("messages", "context"),
    "choice": ("explanation", "checked", "context", "picture"),
}
Look = Callable[[str], Any]
CHECKED = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Fields(Part):
    """Which field holds what. A field that a record lacks counts as empty; one that no record has is an error.

    ``choices.text`` is the field ``text`` inside of ``choices``.
    """

    body: Literal["chat", "choice", "text"] = Field(description="what a record becomes")
    language: str | None = Field(
        None, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$", description="language of all records, BCP-47"
    )
    language_field: str = Field(
        "language", description="field with a record's language, read when language is left out"
    )
    id: str = Field("id", description="field with the record's id; without one file and line are the id")
    split: str = Field("split", description="field with train, dev or test; without one the file's name tells it")
    family: str = Field("family", description="field with what parallel editions of one item share")
    question: str = Field("question", description="field of the question (chat, choice)")
    answer: str = Field("answer", description="field of the answer: text (chat), letters or indices (choice)")
    answers_from: Literal[0, 1, "text"] | None = Field(
        None, description="the answer is an index counted from 0 or 1, or an option's text, not a letter"
    )
    options: str | tuple[str, ...] = Field(
        "options", description="field with a list or letter: text, or the fields in order"
    )
    same_options: tuple[str, ...] = Field(
        (), description="options that all records share and no field holds: [yes, no, maybe] (choice)"
    )
    picture: str | None = Field(
        None, description="field that is empty unless the question needs a picture; such a record is rejected (choice)"
    )
    explanation: str | None = Field(
        "explanation", description="field with the reasons for the answer; null: they are not read (choice)"
    )
    checked: str = Field(
        "human_check_passed",
        description="field that says whether people checked the explanation and let it pass: true or false; flags the row "
        "explanation_checked or explanation_unchecked (choice)",
    )
    context: str = Field("context", description="field with what the question is about (chat, choice)")
    messages: str = Field(
        "messages", description="field with a conversation of role and content, or from and value; read first (chat)"
    )
    text: str = Field("text", description="field of the running text (text)")
    title: str = Field("title", description="field with a heading, put above the text (text)")

    _keys: Keys = Keys()

    @model_validator(mode="after")
    def _two_same_options(self) -> Self:
        if len(self.same_options) == 1:
            raise ValueError("same_options: one option is no choice, name them all")
        return self

    def needs(self) -> tuple[Need, ...]:
        """The fields that records must have for their body."""
        named, needs = self._told(), []
        if self.body == "text":
            needs.append(Need("text", (self.text,)))
        elif self.body == "chat" and "messages" in named and not named & {"question", "answer"}:
            needs.append(Need("messages", (self.messages,)))
        elif self.body == "chat":
            needs += [Need("question", (self.question, self.messages)), Need("answer", (self.answer, self.messages))]
        else:
            options = self._option_fields()
            needs += [Need("question", (self.question,)), Need("answer", (self.answer,))]
            needs += [Need("options", (name,)) for name in options[:2]]
        if not self.language:
            needs.append(Need("language_field", (self.language_field,)))
        return tuple(needs)

    def named(self) -> tuple[Need, ...]:
        """The fields that the recipe names, of those that not every record must have; the third option and those after it are
        not in files with shorter items."""
        told, optional = self._told(), ("id", "split", "family", *OPTIONAL[self.body])
        fields = [Need(option, (name,)) for option in optional if option in told and (name := getattr(self, option))]
        return (*fields, *(Need("options", (name,)) for name in self._option_fields()[2:]))

    def _option_fields(self) -> tuple[str, ...]:
        if self.body != "choice" or self.same_options:
            return ()
        return (self.options,) if isinstance(self.options, str) else self.options

    def _told(self) -> set[str]:
        """The options that are not as they would be by themselves. (Not ``model_fields_set``: a run writes all options down.)"""
        return {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}

    def columns_of(self, present: Iterable[str]) -> list[str]:
        """Those of the columns at hand that a field is read from, in their order; all where a needed one is not among them,
        so that it can be told which are there."""
        columns = list(present)
        needed = [{outer(name, columns) for name in need.names} for need in self.needs()]
        if not all(names & set(columns) for names in needed):
            return columns
        optional = [getattr(self, name) for name in ("id", "language_field", "split", "family", *OPTIONAL[self.body])]
        others = {outer(name, columns) for name in (*optional, *self._option_fields()) if name}
        wanted = others.union(*needed)
        return [name for name in columns if name in wanted]

    @cached_property
    def _plain(self) -> bool:
        """Whether no field lies inside of another, as with most sets: then nothing has to be looked for."""
        told = (
            getattr(self, name) for name, field in Fields.model_fields.items() if field.annotation in (str, str | None)
        )
        return not any("." in name for name in (*told, *self._option_fields()) if name)

    def _look(self, value: dict[str, Any]) -> Look:
        """What finds a field of a record."""
        return value.get if self._plain else partial(find, value)

    def entry(self, value: Any, position: str, place: str, split: Split | None) -> Entry:
        """A record under its own id, or its position; with its language as far as it is known before it is read."""
        if not isinstance(value, dict):
            return Entry(position, place, value, split, self.language or "")
        look = self._look(value)
        own = look(self.id)
        language = self.language
        if language is None:
            told = look(self.language_field)
            language = told if isinstance(told, str) and CODE.fullmatch(told) else ""
        return Entry((own is not None and name_of(own)) or position, place, value, split, language)

    def made(self, entry: Entry, context: SourceContext) -> Row:
        """The row of a record. Raises RowFault."""
        value = entry.value
        if not isinstance(value, dict):
            raise RowFault("wrong_type", f"the record is a {type(value).__name__}, expected an object")
        look = self._look(value)
        language = self.language or text_of(look(self.language_field), "language")
        if language is not self.language and not CODE.fullmatch(language):
            raise RowFault("bad_language", f"'{language}' is not a language code such as en or zh")
        family = look(self.family)
        return context.row(
            entry.record,
            language,
            self._body(look),
            split=self._split(look) or entry.split,
            family=(family is not None and name_of(family)) or None,
            flags=self._flags(look),
        )

    def _split(self, look: Look) -> Split | None:
        told = look(self.split)
        word = "" if told is None else text_of(told, "split", optional=True).lower()
        if not word:
            return None
        if word not in SPLIT_WORDS:
            raise RowFault("bad_split", f"'{word}' is no split, possible: {', '.join(SPLIT_WORDS)}")
        return SPLIT_WORDS[word]

    def _flags(self, look: Look) -> tuple[str, ...]:
        """What the record says of its explanation; nothing where it says nothing."""
        told = look(self.checked) if self.body == "choice" else None
        if told is None or told == "":
            return ()
        word = str(told).strip().lower()
        if word not in CHECKED:
            raise RowFault("bad_check", f"'{self.checked}' is '{word[:40]}', possible: {', '.join(CHECKED)}")
        return ("explanation_checked" if CHECKED[word] else "explanation_unchecked",)

    def _body(self, look: Look) -> Body:
        if self.body == "text":
            title = text_of(look(self.title), "title", optional=True)
            text = text_of(look(self.text), "text")
            return Text(f"{title}\n\n{text}" if title else text)
        if self.body == "choice":
            return self._choice(look)
        messages = look(self.messages)
        if messages is not None:
            return conversation(messages)
        background = text_of(self._background(look), "context", optional=True)
        question = text_of(look(self.question), "question")
        return Chat.of(f"{background}\n\n{question}" if background else question, text_of(look(self.answer), "answer"))

    def _background(self, look: Look) -> Any:
        """The context; one that is a list of sections as text, a section a line."""
        found = look(self.context)
        if isinstance(found, list) and all(isinstance(part, str) for part in found):
            return "\n".join(part.strip() for part in found)
        return found

    def _choice(self, look: Look) -> Body:
        if self.picture and _filled(look(self.picture)):
            raise RowFault("needs_image", f"'{self.picture}' is not empty")
        labels, options = self._options(look)
        answer = look(self.answer)
        try:
            if self.answers_from is None:
                answers = key_of(answer, labels)
            elif self.answers_from == "text":
                answers = _texts(answer, options)
            else:
                answers = self._indices(answer, self.answers_from, len(options))
        except RowFault as fault:
            if fault.reason != "bad_key":
                raise
            raise RowFault("bad_key", fault.detail + self._way_out(answer, labels, options, look)) from None
        return choice(
            look(self.question),
            options,
            answers,
            explanation=look(self.explanation) if self.explanation else None,
            context=self._background(look),
        )

    def _way_out(self, answer: Any, labels: list[str], options: list[Any], look: Look) -> str:
        """What to type where an answer is no key of the kind that the recipe says, but one of another kind; or nothing."""
        if self.answers_from != "text" and (found := _tried(_texts, answer, options)):
            named = ", ".join(labels[index] for index in found)
            keys = [name for name in USUAL[1] if name != self.answer and _tried(key_of, look(name), labels)]
            other = f", or answer: {keys[0]}" if keys and self.answers_from is None else ""
            return f". It is the words of option {named}: type answers_from: text{other}"
        if self.answers_from is not None and _tried(key_of, answer, labels):
            return ". It is the letter of an option: take answers_from out"
        items = answer if isinstance(answer, list) else [answer]
        if self.answers_from != 0 and self.answers_from != 1 and all(_index(item) is not None for item in items):
            return (
                ""
                if labels[:1] == ["1"] or labels[:1] == ["0"]
                else ". It is a number: type answers_from: 0 or answers_from: 1"
            )
        return ""

    def told_of_ids(self, entry: Entry) -> str:
        """Which field the id comes from; nothing where it is the record's place."""
        own = isinstance(entry.value, dict) and self._look(entry.value)(self.id) is not None
        return f" (ids come from the field '{self.id}'; id: names another one)" if own else ""

    def _options(self, look: Look) -> tuple[list[str], list[Any]]:
        """Labels and texts. A shorter item leaves its last columns empty; a hole in the middle is a fault, found later."""
        if self.same_options:
            found: Any = list(self.same_options)
        elif isinstance(self.options, tuple):
            found = [look(name) for name in self.options]
        else:
            found = look(self.options)
        if isinstance(found, dict):
            while found and found[list(found)[-1]] in (
                None,
                "",
            ):  # Parquet gives every record the letters of the longest
                found = dict(list(found.items())[:-1])
            return list(found), list(found.values())
        if not isinstance(found, list):
            shown = f"the text '{found[:40]}'" if isinstance(found, str) else f"a {type(found).__name__}"
            raise RowFault(
                "no_options",
                f"options are {shown}, expected a list or an object of letter: text. Options with a field each: options: [A, B, C, D]",
            )
        while found and (found[-1] is None or found[-1] == ""):
            found = found[:-1]
        return [chr(ord("A") + index) for index in range(len(found))], found

    def _indices(self, answer: Any, first: Literal[0, 1], options: int) -> tuple[int, ...]:
        if answer is None or answer == "" or answer == [] or answer != answer:  # NaN stands for a gap
            raise RowFault("no_answer", "the answer is empty")
        if isinstance(answer, RowFault):
            raise answer
        found = set()
        for item in (
            answer if isinstance(answer, list) else (answer,) if type(answer) is int else str(answer).split(",")
        ):
            index = _index(item)
            if index is None:
                raise RowFault("bad_key", f"the answer is '{item}', expected an index counted from {first}")
            if index == -1:  # how the hub writes that a record has no label
                raise RowFault("no_answer", "the answer is -1, which stands for none")
            self._keys.add(index, options, first)
            found.add(index - first)
        return tuple(sorted(found))


def _filled(value: Any) -> bool:
    """Whether a field holds something: of an object (a picture is bytes and a path) any of its own."""
    if isinstance(value, dict):
        return any(map(_filled, value.values()))
    return value == value and bool(value)  # NaN, as tables write an empty cell, is not itself


def _index(item: Any) -> int | None:
    """A whole number, also one that a column with gaps made ``2.0`` of; None when it is no such thing."""
    if type(item) is int:
        return item
    try:
        return int(re.sub(r"\.0+$", "", str(item).strip()))
    except ValueError:
        return None


def _tried(read: Callable[[Any, Any], tuple[int, ...]], answer: Any, options: Any) -> tuple[int, ...]:
    """What another way of reading an answer gives; nothing where it can not."""
    try:
        return read(answer, options)
    except RowFault:
        return ()


def _texts(answer: Any, options: list[Any]) -> tuple[int, ...]:
    """The right answers as indices, from the options' texts. Raises RowFault no_answer, bad_key, ambiguous_key."""

    def plain(text: Any) -> str:
        return " ".join(unicodedata.normalize("NFKC", str(text)).casefold().split())

    known = [plain(option) for option in options]
    found = []
    for item in answer if isinstance(answer, list) else [text_of(answer, "answer")]:
        count = known.count(plain(item))
        if count != 1:
            reason = "ambiguous_key" if count else "bad_key"
            raise RowFault(reason, f"the answer is '{str(item)[:80]}', which {count or 'none'} of the options are")
        found.append(known.index(plain(item)))
    return tuple(found)
