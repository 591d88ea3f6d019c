"""Conversations as a chat template writes them, and where in that text the assistant's words lie.

Where they lie is known by construction and not by a search for words, which may occur twice. A conversation with marks in place of
all words is rendered once for each order of roles; what stands between the marks must then lie, piece by piece, between the words of
each real conversation, and nothing else. Where a template looks at the words themselves, and so writes other pieces, the marks
take the place of that conversation's answers alone. A template that renders an earlier turn differently when another follows (Qwen 3
drops the empty thoughts of all turns but the last) is right by the same construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from langmill.api import Message, RowFault
from langmill_plugins.trainers.tokens.templates import chat_texts

MARK = "\ue000words-{}-7f3a9c51\ue001"  # private-use characters: no row of real text holds it


class Rendered(NamedTuple):
    """A conversation as text, [start, end) of each answer in it (in characters), and what the template itself wrote: the text
    without any words, whose steering tokens are the only ones that may be there."""

    text: str
    spans: list[tuple[int, int]]
    frame: str


class Renderer:
    """Renders conversations with one tokenizer's chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._steering = steering_texts(tokenizer)
        self._patterns: dict[tuple[str, ...], tuple[tuple[str, ...], str] | None] = {}

    def render(self, chats: Sequence[Sequence[Message]]) -> list[Rendered | RowFault]:
        """Each conversation, or why it can not be: ``template_refuses``, ``template_alters_words``, ``special_token_in_text``."""
        if not chats:
            return []
        try:
            texts: list[str | RowFault] = [*chat_texts(self._tokenizer, chats)]
        except RowFault:  # one of them; which one is found by asking for each alone
            texts = [self._alone(chat) for chat in chats]
        return [
            text if isinstance(text, RowFault) else self._placed(chat, text)
            for chat, text in zip(chats, texts, strict=True)
        ]

    def _alone(self, chat: Sequence[Message]) -> str | RowFault:
        try:
            return chat_texts(self._tokenizer, [chat])[0]
        except RowFault as fault:
            return fault

    def _placed(self, chat: Sequence[Message], text: str) -> Rendered | RowFault:
        shape = tuple(message.role for message in chat)
        if shape not in self._patterns:
            marked = [Message(message.role, MARK.format(number)) for number, message in enumerate(chat)]
            self._patterns[shape] = self._pattern(marked, range(len(chat)))
        pattern = self._patterns[shape]
        found = pattern and _places(text, pattern[0], [message.content for message in chat])
        if pattern and found:
            spans = [span for message, span in zip(chat, found, strict=True) if message.role == "assistant"]
            return Rendered(text, spans, pattern[1])
        return self._looked_at(chat, text)

    def _looked_at(self, chat: Sequence[Message], text: str) -> Rendered | RowFault:
        """For a template that looks at the words: marks for the answers alone."""
        for message in chat:
            if any(steering in message.content for steering in self._steering):
                return RowFault("special_token_in_text", "the words hold a token that steers the model")
        answers = [number for number, message in enumerate(chat) if message.role == "assistant"]
        marked = [
            Message(message.role, MARK.format(number)) if message.role == "assistant" else message
            for number, message in enumerate(chat)
        ]
        pattern = self._pattern(marked, answers)
        found = pattern and _places(text, pattern[0], [chat[number].content for number in answers])
        if pattern and found:
            return Rendered(text, found, pattern[1])
        return RowFault("template_alters_words", "the chat template changes the words beyond trimming")

    def _pattern(self, marked: Sequence[Message], numbers: Iterable[int]) -> tuple[tuple[str, ...], str] | None:
        """What a template writes before, between and after the marks, and all of it; None when it keeps not each mark once and in
        order."""
        text = self._alone(marked)
        if isinstance(text, RowFault):
            return None
        pieces: list[str] = []
        rest = text
        for number in numbers:
            before, found, rest = rest.partition(MARK.format(number))
            if not found:
                return None
            pieces.append(before)
        return (*pieces, rest), text


def _places(text: str, pieces: Sequence[str], words: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where the words lie between the pieces, each as it is or trimmed as templates trim (Gemma and Llama 3: blanks; Qwen 3: line
    breaks before it); None when the text is anything else."""
    places: list[tuple[int, int]] = []
    at = 0
    for piece, after, word in zip(pieces, pieces[1:], words, strict=False):
        if not text.startswith(piece, at):
            return None
        at += len(piece)
        for said in (word, word.strip(), word.lstrip("\n"), word.strip("\n")):
            end = at + len(said)
            if text.startswith(said, at) and text.startswith(after, end):
                break
        else:
            return None
        places.append((at, end))
        at = end
    return places if text[at:] == pieces[-1] else None


def steering_texts(tokenizer: Any) -> tuple[str, ...]:
    """The texts a tokenizer reads as steering tokens and not as words."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple({str(token) for token in added if token.special} | set(tokenizer.all_special_tokens))


def steering_ids(tokenizer: Any) -> frozenset[int]:
    """The tokens that steer a model. One that stands for characters unknown to the tokenizer does not, unless it has another
    duty as well (with SmolLM2 it is the one between documents)."""
    added = tokenizer.added_tokens_decoder.items()
    steering = {number for number, token in added if token.special} | set(tokenizer.all_special_ids)
    on_duty = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return frozenset(steering - ({tokenizer.unk_token_id} - on_duty))


def steered(words: str, frame: str, texts: Sequence[str]) -> RowFault:
    """Why a text has other steering tokens than its frame."""
    if any(words.count(text) != frame.count(text) for text in texts):
        return RowFault("special_token_in_text", "the words hold a token that steers the model")
    return RowFault("unknown_character", "for a character it does not know the tokenizer writes a token that steers")
