"""Everyday layouts of an exam item that is written out in a conversation or a text."""

from __future__ import annotations

import json
from collections.abc import Callable

from langmill.api import Chat, Choice, Row, Text


def in_text(row: Row) -> Text:
    """An item in a line, its right options by their words at the end."""
    body = row.body
    assert isinstance(body, Choice)
    return Text(f"{body.question} {_listed(body, '({}) {}', ' ')} Answer: {_right(body)}")


def _listed(body: Choice, form: str, between: str) -> str:
    return between.join(form.format(letter, text) for letter, text in zip("ABCDEFGHIJ", body.options, strict=False))


def _right(body: Choice) -> str:
    return ", ".join(body.options[index] for index in body.answers)


def _letters(body: Choice) -> str:
    return ", ".join("ABCDEFGHIJ"[index] for index in body.answers)


def _lines(form: str, before: str = "", between: str = "\n") -> Callable[[Row], Chat]:
    """A conversation: the options as lines of this form, answered by letters."""

    def layout(row: Row) -> Chat:
        assert isinstance(row.body, Choice)
        return Chat.of(f"{before}{row.body.question}{between}{_listed(row.body, form, between)}", _letters(row.body))

    return layout


def _reply(form: str, before: str = "") -> Callable[[Row], Chat]:
    """A conversation: the question without options, answered by the right ones."""

    def layout(row: Row) -> Chat:
        assert isinstance(row.body, Choice)
        return Chat.of(before + row.body.question, form.format(_letters(row.body), _right(row.body)))

    return layout


def _as_json(row: Row) -> Chat:
    assert isinstance(row.body, Choice)
    options = dict(zip("ABCDEFGHIJ", row.body.options, strict=False))
    return Chat.of(f"{row.body.question}\n{json.dumps(options, ensure_ascii=False)}", _letters(row.body))


LAYOUTS: dict[str, Callable[[Row], Chat | Text]] = {
    "a numbered question over lines": _lines("{}. {}", "3. "),
    "lines with bold letters": _lines("**{}.** {}"),
    "lines with dashes and letters": _lines("- {}. {}"),
    "bullets": _lines("- {1}"),
    "question and options after their names": _lines("{}. {}", "Question: "),
    "one line": _lines("({}) {}", between=" "),
    "one line of text": in_text,
    "JSON": _as_json,
    "question and lettered answer": _reply("{}. {}"),
    "question and answer in a sentence": _reply("The correct answer is {1}."),
    "instruction, question and answer": _reply("{1}", "Answer this medical exam question.\n"),
}
