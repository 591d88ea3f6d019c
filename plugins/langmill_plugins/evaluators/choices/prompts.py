"""How an item is put: the messages, the continuations, and what pins their words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from langmill.api import Choice, Message, Pack, Row

Way = Literal["letters", "text", "generation"]


def messages_for(body: Choice, pack: Pack, way: Way, examples: Sequence[Row]) -> tuple[Message, ...]:
    """The examples as turns of the conversation, then the item. Written answers are asked for with the long prompt (reasons, then
    the answer line), the others with the short one."""
    turns: list[Message] = []
    for row in examples:
        assert isinstance(row.body, Choice)
        turns += [Message("user", pack.ask_choice(row.body, short=way != "generation")), _reply(row.body, pack, way)]
    return (*turns, Message("user", pack.ask_choice(body, short=way != "generation")))


def _reply(body: Choice, pack: Pack, way: Way) -> Message:
    """What an example answers, in the way that is asked for; its rationale only where one is asked for."""
    if way == "letters":
        return Message("assistant", pack.letters(body.answers))
    if way == "text":
        separator: str = pack.need("choice").separator
        return Message("assistant", separator.join(body.options[answer] for answer in body.answers))
    line = pack.answer_line(body.answers)
    return Message("assistant", f"{body.explanation}\n{line}" if body.explanation else line)


def continuations_of(body: Choice, pack: Pack, ways: Sequence[Way]) -> tuple[str, ...]:
    """The letters, then the texts, as far as they are asked for."""
    letters = [pack.letters((place,)) for place in range(len(body.options))] if "letters" in ways else []
    return (*letters, *(body.options if "text" in ways else ()))


def wording(pack: Pack, way: Way, turns: Sequence[Message]) -> dict[str, Any]:
    """All that decides the words of a question beside the row: the pack's template and how it writes options and answers, and the
    turns of the examples. There is no system message; what a model's chat template adds by itself is the model's."""
    facts = pack.need("choice")
    template = "choice" if way == "generation" else "choice_short"
    return {
        "template": template, "words": pack.templates[template], "letters": list(facts.letters),
        "option": facts.option, "separator": facts.separator, "answer": facts.answer, "examples": [list(turn) for turn in turns],
    }  # fmt: skip


def hash_of(words: dict[str, Any]) -> str:
    """What pins a wording: the template's name and twelve digits of sha256 over its JSON with sorted keys."""
    text = json.dumps(words, sort_keys=True, ensure_ascii=True)
    return f"{words['template']}@{hashlib.sha256(text.encode()).hexdigest()[:12]}"
