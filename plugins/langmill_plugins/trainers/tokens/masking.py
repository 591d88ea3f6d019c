"""Which tokens of a rendered conversation carry loss: the assistant's words and the token that ends its turn, nothing else.

A text is tokenised once, as a whole, and places in it become tokens by character offsets, which stays right where a prefix's
tokens are not a prefix of the tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langmill.api import RecipeError, RowFault


def encoded(tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """Each text's tokens, as the encodings of the ``tokenizers`` package, whole and with nothing added.

    It asks the tokenizer below transformers' own, which copies every token's place into Python.
    """
    with _bare(tokenizer.backend_tokenizer) as backend:
        return list(backend.encode_batch(list(texts), add_special_tokens=False))


@contextmanager
def _bare(backend: Any) -> Iterator[Any]:
    """Without what would cut, fill up, or trim: a post-processor that adds nothing may still take the blanks at a token's ends out of
    its place, so that a token of two line breaks, one the prompt's and one the answer's, would look like the answer's alone."""
    kept = backend.post_processor, backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    backend.post_processor = None
    try:
        yield backend
    finally:
        backend.post_processor = kept[0]
        if kept[1]:
            backend.enable_truncation(**kept[1])
        if kept[2]:
            backend.enable_padding(**kept[2])


def masked(encoding: Any, text: str, spans: Sequence[tuple[int, int]], steering: Sequence[int]) -> list[slice]:
    """The tokens that carry loss: those of each span of characters, and what the template writes from there up to the token that ends
    the turn. ``steering``: where the steering tokens stand, ascending.

    A token that holds the template's blank before the first word as well (``[/INST] Yes``) is the answer's: it is what the
    model has to write. Raises RowFault (``empty_answer``, ``no_clear_edge``) and RecipeError for a template that ends a
    turn with no steering token.
    """
    learnt: list[slice] = []
    for start, end in spans:
        if not text[start:end].strip():
            raise RowFault("empty_answer", "the assistant says nothing")
        first = _token_at(encoding, start, end)
        place = bisect_left(steering, first)
        while (
            place < len(steering) and steering[place] == first
        ):  # a steering token that took the blanks after it along
            first, place = first + 1, place + 1
        before = encoding.token_to_chars(first)[0]
        if before < start and text[before:start].strip(" "):
            raise RowFault("no_clear_edge", "one token holds the end of the prompt and the beginning of the answer")
        if place == len(steering) or encoding.token_to_chars(steering[place])[0] < end:
            raise RecipeError("the base model's chat template ends a turn with no special token: it could never stop")
        learnt.append(slice(first, steering[place] + 1))
    return learnt


def _token_at(encoding: Any, start: int, end: int) -> int:
    """The token that the first character from ``start`` on lies in; a tokenizer may drop characters."""
    for place in range(start, end):
        token = encoding.char_to_token(place)
        if token is not None:
            return int(token)
    raise RowFault("empty_answer", "the tokenizer knows none of the words")
