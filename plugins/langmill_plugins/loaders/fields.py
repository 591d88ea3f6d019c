"""The field mapping that jsonl, csv, parquet and huggingface share: which field holds what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from langmill.api import Body, Chat, Field, Part, Row, RowFault, SourceContext, Split, Text

from .records import SPLIT_WORDS, Entry, choice, conversation, get, key_of, name_of, text_of

CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")
CHECKED = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Fields(Part):
    """Which field holds what. A field that a record lacks counts as empty."""

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
    answers_from: Literal[0, 1] | None = Field(
        None, description="the answer is an index counted from 0 or 1, not a letter"
    )
    options: str | tuple[str, ...] = Field(
        "options", description="field with a list or letter: text, or the fields in order"
    )
    explanation: str = Field("explanation", description="field with the reasons for the answer (choice)")
    checked: str = Field(
        "human_check_passed",
        description="field that says whether people checked the explanation and let it pass: true or false; flags the row "
        "explanation_checked or explanation_unchecked (choice)",
    )
    context: str = Field("context", description="field with what the question is about (chat, choice)")
    messages: str = Field("messages", description="field with a conversation, role and content; read first (chat)")
    text: str = Field("text", description="field of the running text (text)")
    title: str = Field("title", description="field with a heading, put above the text (text)")

    def columns_of(self, present: Iterable[str]) -> list[str]:
        """Those of the columns at hand that a field is read from, in their order."""
        options = (self.options,) if isinstance(self.options, str) else self.options
        body = {
            "text": (self.title, self.text),
            "chat": (self.messages, self.context, self.question, self.answer),
            "choice": (self.question, self.answer, self.explanation, self.checked, self.context, *options),
        }[self.body]
        wanted = {self.id, self.language_field, self.split, self.family, *body}
        return [name for name in present if name in wanted]

    def entry(self, value: Any, position: str, place: str, split: Split | None) -> Entry:
        """A record under its own id, or its position; with its language as far as it is known before it is read."""
        own = name_of(value.get(self.id)) if isinstance(value, dict) else ""
        told = value.get(self.language_field) if isinstance(value, dict) else None
        language = self.language or (told if isinstance(told, str) and CODE.fullmatch(told) else "")
        return Entry(own or position, place, value, split, language)

    def made(self, entry: Entry, context: SourceContext) -> Row:
        """The row of a record. Raises RowFault."""
        value = entry.value
        language = self.language or text_of(get(value, self.language_field), "language")
        if not CODE.fullmatch(language):
            raise RowFault("bad_language", f"'{language}' is not a language code such as en or zh")
        family = name_of(value.get(self.family)) or None
        return context.row(
            entry.record,
            language,
            self._body(value),
            split=self._split(value) or entry.split,
            family=family,
            flags=self._flags(value),
        )

    def _split(self, value: dict[str, Any]) -> Split | None:
        word = text_of(value.get(self.split), "split", optional=True).lower()
        if not word:
            return None
        if word not in SPLIT_WORDS:
            raise RowFault("bad_split", f"'{word}' is no split, possible: {', '.join(SPLIT_WORDS)}")
        return SPLIT_WORDS[word]

    def _flags(self, value: dict[str, Any]) -> tuple[str, ...]:
        """What the record says of its explanation; nothing where it says nothing."""
        told = value.get(self.checked) if self.body == "choice" else None
        if told is None or told == "":
            return ()
        word = str(told).strip().lower()
        if word not in CHECKED:
            raise RowFault("bad_check", f"'{self.checked}' is '{word[:40]}', possible: {', '.join(CHECKED)}")
        return ("explanation_checked" if CHECKED[word] else "explanation_unchecked",)

    def _body(self, value: dict[str, Any]) -> Body:
        if self.body == "text":
            title = text_of(value.get(self.title), "title", optional=True)
            text = text_of(value.get(self.text), "text")
            return Text(f"{title}\n\n{text}" if title else text)
        if self.body == "choice":
            return self._choice(value)
        if value.get(self.messages) is not None:
            return conversation(value[self.messages])
        background = text_of(value.get(self.context), "context", optional=True)
        question = text_of(value.get(self.question), "question")
        return Chat.of(
            f"{background}\n\n{question}" if background else question, text_of(value.get(self.answer), "answer")
        )

    def _choice(self, value: dict[str, Any]) -> Body:
        labels, options = self._options(value)
        answer = value.get(self.answer)
        return choice(
            value.get(self.question),
            options,
            key_of(answer, labels) if self.answers_from is None else self._indices(answer, self.answers_from),
            explanation=value.get(self.explanation),
            context=value.get(self.context),
        )

    def _options(self, value: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """Labels and texts. A shorter item leaves its last columns empty; a hole in the middle is a fault, found later."""
        if isinstance(self.options, tuple):
            found: Any = [value.get(name) for name in self.options]
        else:
            found = value.get(self.options)
        if isinstance(found, dict):
            while found and found[list(found)[-1]] in (
                None,
                "",
            ):  # Parquet gives every record the letters of the longest
                found = dict(list(found.items())[:-1])
            return list(found), list(found.values())
        if not isinstance(found, list):
            raise RowFault("no_options", f"options are a {type(found).__name__}, expected a list or letter: text")
        while found and (found[-1] is None or found[-1] == ""):
            found = found[:-1]
        return [chr(ord("A") + index) for index in range(len(found))], found

    def _indices(self, answer: Any, first: int) -> tuple[int, ...]:
        if answer is None or answer == "" or answer == []:
            raise RowFault("no_answer", "the answer is empty")
        found = set()
        for item in answer if isinstance(answer, list) else str(answer).split(","):
            try:
                found.add(int(item) - first)
            except (TypeError, ValueError):
                raise RowFault("bad_key", f"the answer is '{item}', expected an index counted from {first}") from None
        return tuple(sorted(found))
