"""How a row is put: the conversations it becomes, and the order of a choice item's options."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from langmill.api import Choice, Message, Pack, Row
from langmill_plugins.trainers.options import ChoiceFormat

RATIONALE, LETTERS = 0, 1
"""Parts of a choice item that is put both ways; one that is put in one way is part 0."""


def conversations(
    row: Row, pack: Pack, choices: ChoiceFormat, seed_for: Callable[..., int], occurrence: int
) -> list[tuple[int, Sequence[Message]]]:
    """A row's conversations, each with its part number: one, or two where a choice item with a rationale is put both ways.

    What the assistant says goes without the blanks and line breaks around it, whatever the template: some trim it and some do
    not, and a line break at its beginning would grow together with the template's own into one token, half of it to be learnt.

    With ``shuffle`` the options of a choice item come in an order drawn anew for each occurrence (the first one too), where
    nothing speaks of their order. Options in the order of their numbers are shuffled: that order is a custom that says
    where the right one is likely to be, and no part of what is asked.
    """
    return [(part, _trimmed(chat)) for part, chat in _put(row, pack, choices, seed_for, occurrence)]


def _trimmed(chat: Sequence[Message]) -> list[Message]:
    return [one._replace(content=one.content.strip()) if one.role == "assistant" else one for one in chat]


def _put(
    row: Row, pack: Pack, choices: ChoiceFormat, seed_for: Callable[..., int], occurrence: int
) -> list[tuple[int, Sequence[Message]]]:
    body = row.body
    if not isinstance(body, Choice):
        return [(0, pack.conversation(body))]
    put = (
        shuffled(body, seed_for("options", row.id, occurrence)) if choices.shuffle and not pack.ordered(body) else body
    )
    if choices.answer == "letters":
        return [(0, pack.conversation(put, short=True))]
    # A rationale that names letters is right in the order it was written for, and so is its answer line.
    reasoned = body if pack.cites_options(body) else put
    if choices.answer == "rationale":
        return [(0, pack.conversation(reasoned))]
    letters: tuple[int, Sequence[Message]] = LETTERS, pack.conversation(put, short=True)
    return [(RATIONALE, pack.conversation(reasoned)), letters] if body.explanation else [letters]


def shuffled(body: Choice, seed: int) -> Choice:
    """A choice item with its options in an order drawn from the seed; the right ones stay right."""
    order = list(range(len(body.options)))
    random.Random(seed).shuffle(order)
    return replace(
        body,
        options=tuple(body.options[place] for place in order),
        answers=tuple(sorted(order.index(answer) for answer in body.answers)),
    )
