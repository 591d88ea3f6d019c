"""A Modelfile for Ollama beside a GGUF file.

Ollama takes the chat template of a GGUF only where it resembles one that it knows, so the template is written out in its own
language (Go's): made of the words that the tokenizer's template puts around each turn, and left out where turns can not be
told apart that way. None of this was run in Ollama itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from langmill.api import Message, RowFault
from langmill_plugins.trainers.tokens.templates import chat_text


class Frame(NamedTuple):
    """What stands around turns: ``begin`` before the first one where no system turn is; each pair before and after the words."""

    begin: str
    system: tuple[str, str] | None
    user: tuple[str, str]
    assistant: tuple[str, str]

    def text(self, messages: Sequence[Message]) -> str:
        """A conversation, with the beginning of the answer to come."""
        said = [] if messages[0].role == "system" else [self.begin]
        for message in messages:
            before, after = {"system": self.system or ("", ""), "user": self.user, "assistant": self.assistant}[
                message.role
            ]
            said += (before, message.content, after)
        return "".join((*said, self.assistant[0]))


def modelfile(tokenizer: Any, file: str, legal: Sequence[str]) -> str:
    """The Modelfile for a GGUF file beside it. ``legal``: texts of the base's licence and notice."""
    lines = [f"FROM ./{file}"]
    frame = frame_of(tokenizer)
    if frame is None:
        lines.append(
            "# No TEMPLATE: the model's chat template has no such simple shape, and Ollama goes by the one in the file."
        )
    else:
        lines.append(f'TEMPLATE """{go_template(frame)}"""')
        ends = dict.fromkeys((tokenizer.eos_token, frame.assistant[1].strip()))
        lines += [f'PARAMETER stop "{end}"' for end in ends if end and not {'"', "\n"} & set(end)]
    words = "\n\n".join(text.strip().replace('"""', "'''") for text in legal)
    lines.append(f'LICENSE """{words or "Those of the base and of the rows: README.md."}"""')
    return "\n".join(lines) + "\n"


def frame_of(tokenizer: Any) -> Frame | None:
    """What a tokenizer's template puts around turns; None where it does not treat all turns of a kind alike.

    The begin token is left out where the tokenizer adds it by itself: llama.cpp will, too.
    """
    system, user, answer, again = (f"\ue000{word}\ue001" for word in ("system", "user", "answer", "again"))
    talk = [Message("user", user), Message("assistant", answer), Message("user", again)]
    try:
        plain = _text(tokenizer, talk)
        first, _, rest = plain.partition(user)
        between, _, rest = rest.partition(answer)
        after, _, last = rest.partition(again)
        # An answer's turn ends with the end token; what then stands alike before the first user's turn and the next begins one.
        # ``last`` ends a user's turn and begins an answer; where the one stops and the other starts is no matter of text.
        head = _common_end(first, after.removeprefix(tokenizer.eos_token))
        frame = Frame(first.removesuffix(head), None, (head, last), ("", after.removesuffix(head)))
        if between != last or frame.text(talk) != plain:
            return None
        try:
            with_system = _text(tokenizer, [Message("system", system), *talk])
        except RowFault:
            return frame
        before, found, rest = with_system.partition(system)
        if not found or not rest.endswith(plain.removeprefix(first)):
            return frame
        tail = rest.removesuffix(plain.removeprefix(first)).removesuffix(head)
        whole = frame._replace(system=(before, tail))
        return whole if whole.text([Message("system", system), *talk]) == with_system else frame
    except RowFault:
        return None


def go_template(frame: Frame) -> str:
    """The frame in Go's template language. Blanks around actions are trimmed; what is said stands in strings."""
    begin = _said(frame.begin)
    if frame.system:
        before, after = map(_said, frame.system)
        begin = f"{{{{- if .System -}}}}{before}{{{{- .System -}}}}{after}{{{{- else -}}}}{begin}{{{{- end -}}}}"
    turns = [f"{_said(before)}{{{{- .Content -}}}}{_said(after)}" for before, after in (frame.user, frame.assistant)]
    return (
        f"{begin}\n{{{{- range .Messages -}}}}\n"
        f'{{{{- if eq .Role "user" -}}}}{turns[0]}\n'
        f'{{{{- else if eq .Role "assistant" -}}}}{turns[1]}\n'
        f"{{{{- end -}}}}\n{{{{- end -}}}}{_said(frame.assistant[0])}"
    )


def _said(text: str) -> str:
    return f"{{{{- {json.dumps(text, ensure_ascii=False)} -}}}}" if text else ""


def _text(tokenizer: Any, messages: Sequence[Message]) -> str:
    text = chat_text(tokenizer, messages, ask=True)
    begin = tokenizer.bos_token
    adds = begin and tokenizer("")["input_ids"] == [tokenizer.bos_token_id]
    return text.removeprefix(begin) if adds else text


def _common_end(one: str, other: str) -> str:
    """The longest text that both end with."""
    size = 0
    while size < min(len(one), len(other)) and one[-1 - size] == other[-1 - size]:
        size += 1
    return one[len(one) - size :]
