"""A conversation that is too long, made shorter from its oldest end. What the assistant says in what is left stays whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from langmill.api import Message

OLDER_TURNS, QUESTION = "older_turns", "question"
TRIES = 8  # the tokens at a new beginning are not quite what they were: it takes a second look, seldom a third


def cut(
    messages: Sequence[Message],
    size: Callable[[Sequence[Message]], int | None],
    most: int,
    starts: Callable[[str], Sequence[int]],
) -> tuple[list[Message], list[str]] | None:
    """The conversation in at most ``most`` tokens, and what went: whole exchanges, oldest first (the system's words stay), then the
    beginning of the first question that is left, up to the border of a token.

    ``size`` counts a conversation's tokens (None: it can not be put), ``starts`` tells where each token of a text begins. None
    where that is not enough: no answer is cut, and no question to nothing.
    """
    head, exchanges = _exchanges(messages)
    went: list[str] = []
    now = size(messages)
    while now is not None and now > most and len(exchanges) > 1:
        del exchanges[0]
        went = [OLDER_TURNS]
        now = size([*head, *chain.from_iterable(exchanges)])
    left = list(chain.from_iterable(exchanges))
    if now is not None and now > most and left[0].role == "user":
        words, now = _shorter(left[0].content, now, most, starts, lambda words: size(_put(head, words, left)))
        left = [Message("user", words), *left[1:]]
        went.append(QUESTION)
    return None if now is None or now > most else ([*head, *left], went)


def _shorter(
    words: str,
    now: int,
    most: int,
    starts: Callable[[str], Sequence[int]],
    size: Callable[[str], int | None],
) -> tuple[str, int | None]:
    """The words without so many tokens at their beginning that ``size`` is at most ``most``, and that size; None where no words are
    left."""
    places = starts(words)
    gone = 0
    said = words
    for _ in range(TRIES):
        gone += now - most
        said = words[places[gone] :].strip() if gone < len(places) else ""
        found = size(said) if said else None
        if found is None or found <= most:
            return said, found
        now = found
    return said, None


def _put(head: Sequence[Message], words: str, left: Sequence[Message]) -> list[Message]:
    return [*head, Message("user", words), *left[1:]]


def _exchanges(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """The system's words at the beginning, and the exchanges after them: what is said up to an answer, and that answer."""
    head: list[Message] = []
    exchanges: list[list[Message]] = []
    opened = False
    for message in messages:
        if message.role == "system" and not exchanges:
            head.append(message)
        elif opened:
            exchanges[-1].append(message)
        else:
            exchanges.append([message])
        opened = bool(exchanges) and message.role != "assistant"
    return head, exchanges
