"""What models are asked to reply with: pieces of text that are never empty and that end."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from langmill.api import Row

# Bounds in characters. They are wide for a good model; a small one that loops is stopped by them.
Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=3000)]
Answer = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Option = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)]
Maybe = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000)]

JSON = 16  # characters of braces, quotes and a key round one text


class Reply(BaseModel):
    """A closed reply: a key that was not asked for is a fault."""

    model_config = ConfigDict(extra="forbid")


class Pair(Reply):
    """A question and its answer."""

    question: Question
    answer: Answer


def single_turn(row: Row) -> tuple[str, str] | None:
    """The question and the answer of a conversation that has one of each, a system message aside; else None."""
    if row.body.kind != "chat":
        return None
    turns = [message for message in row.body.messages if message.role != "system"]
    if [turn.role for turn in turns] != ["user", "assistant"]:
        return None
    return turns[0].content, turns[1].content
