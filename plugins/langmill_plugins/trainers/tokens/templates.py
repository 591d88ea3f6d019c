"""The chat template: the base model's own, or a plain one for models that were never taught a conversation.

One way to write a conversation serves training, evaluation and scoring, so that a model is asked in the very form it has
learnt: the template itself, the date it is told (always the same one) and the absence of thoughts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langmill.api import Message, RecipeError, RowFault

# A line break and not a blank stands before each turn's words: a blank would grow together with the first word, so that the
# end of a prompt and the beginning of an answer would be one token. An answer is closed by the end token. Lines of other
# turns that begin like a turn are pushed in by a blank, so that nothing said can pass for a turn that was not taken.
PLAIN = """\
{%- macro said(text) -%}
{{- ('\\n' ~ (text | trim)) | replace('\\nUser:', '\\n User:') | replace('\\nAssistant:', '\\n Assistant:') -}}
{%- endmacro -%}
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{%- if not loop.first -%}{{- raise_exception('a system message comes first') -}}{%- endif -%}
{{- said(message.content)[1:] + '\\n\\n' -}}
{%- elif message.role == 'user' -%}
{{- 'User:' + said(message.content) + '\\n\\n' -}}
{%- else -%}
{{- 'Assistant:\\n' + (message.content | trim) + eos_token -}}
{%- if not loop.last -%}{{- '\\n\\n' -}}{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'Assistant:\\n' -}}{%- endif -%}
"""
#: Some templates write today's date. A stage that goes on tomorrow must read the tokens it began with.
DATE = (2026, 1, 1)


def with_template(tokenizer: Any, said: Literal["auto", "own", "plain"]) -> tuple[Any, str | None]:
    """The tokenizer with the chat template that ``train.chat_template`` names, and a note for the log where that is the plain one.

    The template is a part of the tokenizer and is saved with it. Raises RecipeError for ``own`` where the base has none.
    """
    if said == "own" and not tokenizer.chat_template:
        raise RecipeError(
            "train.chat_template: own, but the base model brings no chat template (it is no instruction model): "
            "write chat_template: plain (turns as 'User:' and 'Assistant:'), or name an instruction model as train.base"
        )
    if said == "own" or (said == "auto" and tokenizer.chat_template):
        return tokenizer, None
    why = "set aside" if tokenizer.chat_template else "none"
    tokenizer.chat_template = ("{{- bos_token -}}\n" if begin_of(tokenizer) else "") + PLAIN
    return tokenizer, f"chat template: plain ('User:', 'Assistant:', {tokenizer.eos_token}); the base's own: {why}"


def begin_of(tokenizer: Any) -> list[int]:
    """What this tokenizer itself puts in front of a text: a begin token, or nothing."""
    empty = tokenizer("", add_special_tokens=True)["input_ids"]
    return [token for token in empty if token == tokenizer.bos_token_id]


def chat_text(tokenizer: Any, messages: Sequence[Message], *, ask: bool = False) -> str:
    """The messages as text; with ``ask`` the beginning of the assistant's turn is added. Raises RowFault where the template
    refuses them."""
    return chat_texts(tokenizer, [messages], ask=ask)[0]


def chat_texts(tokenizer: Any, chats: Sequence[Sequence[Message]], *, ask: bool = False) -> list[str]:
    """Many at once. Raises RowFault where the template refuses any of them, RecipeError where there is no template."""
    if not tokenizer.chat_template:
        raise RecipeError("the tokenizer has no chat template: write chat_template: plain under train")
    turns = [[{"role": message.role, "content": message.content} for message in chat] for chat in chats]
    try:
        made = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=ask, enable_thinking=False, strftime_now=_fixed_date
        )
    except Exception as fault:  # Jinja's errors, by which a template refuses roles or their order
        raise RowFault("template_refuses", f"{type(fault).__name__}: {fault}") from fault
    return [str(text) for text in made]


def _fixed_date(form: str) -> str:
    from datetime import date

    return date(*DATE).strftime(form)
