"""Questions as tokens: the prompt in the form that the model was trained in, and its continuations beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langmill.api import FactoryError, Question, RowFault
from langmill_plugins.trainers.tokens.templates import begin_of, chat_text, chat_texts
from langmill_plugins.trainers.weights.reading import Prompt, Reader

WAVE = 4096  # questions whose tokens are held at once, and that are put in order among themselves


def waves_of(reader: Reader, questions: Sequence[Question], name: str, most: int = 0) -> Iterator[list[Prompt]]:
    """The questions' tokens, some thousands of questions at a time, numbered as they come; ``most`` may be written where a question
    says nothing, and no more than the model reads.

    Raises FactoryError, naming a question, where the chat template refuses one or it is longer than the model reads: an exam
    question is not cut, since nobody would see it. All of them are looked at at once, so that hours of answers do not come before the
    news; tokens are not held for so many, and are made once more.
    """
    begins = range(0, len(questions), WAVE)
    long: list[tuple[str, int]] = []
    prompts: list[Prompt] = []
    for begin in begins:
        prompts = _prompts(reader, questions, begin, name, most)
        for prompt in prompts:
            tokens = len(prompt.ids) + max(map(len, prompt.tails), default=1)
            if tokens > reader.longest + 1:  # what is last is not read
                long.append((questions[prompt.number].name, tokens))
    if long:
        first, tokens = long[0]
        raise FactoryError(
            f"{len(long):,} questions are longer than {name} reads ({reader.longest:,} tokens), e.g. '{first}' with {tokens:,}, and "
            "none is cut: put fewer examples before a question, or leave long rows out with the filter length"
        )
    return (prompts if len(begins) == 1 else _prompts(reader, questions, begin, name, most) for begin in begins)


def _prompts(reader: Reader, questions: Sequence[Question], begin: int, name: str, most: int) -> list[Prompt]:
    """A wave's."""
    wave = questions[begin : begin + WAVE]
    heads = _heads(reader.tokenizer, wave, name)
    ids = reader.tokenizer(heads, add_special_tokens=False)["input_ids"] if heads else []
    continued = _Continued(reader.tokenizer)
    made = []
    for number, (question, head, prompt) in enumerate(zip(wave, heads, ids, strict=True), start=begin):
        tails = tuple(continued.tails(head, question.continuations))
        written = 0 if tails else min(question.max_tokens or most, reader.longest + 1 - len(prompt))
        made.append(Prompt(number, prompt, tails, written))
    return made


def text_ids(tokenizer: Any, text: str) -> tuple[list[int], int]:
    """The tokens of a text by itself, and how many of them stand before it: what the tokenizer puts there, or else its begin
    token, or else its end token, which parts texts where there is no begin token. So the text's first token has a likelihood, too
    (lm-evaluation-harness does the same)."""
    before = begin_of(tokenizer) or [
        tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    ]
    return [*before, *tokenizer(text, add_special_tokens=False)["input_ids"]], len(before)


def _heads(tokenizer: Any, questions: Sequence[Question], name: str) -> list[str]:
    """The questions' messages as text, up to where the answer begins."""
    if not questions:
        return []
    try:
        return chat_texts(tokenizer, [question.messages for question in questions], ask=True)
    except RowFault:
        for question in questions:
            try:
                chat_text(tokenizer, question.messages, ask=True)
            except RowFault as fault:
                raise FactoryError(
                    f"the chat template of {name} refuses the question '{question.name}': {fault.detail}. chat_template: plain "
                    "takes the place of the model's own"
                ) from fault
        raise


class _Continued:
    """Tokens of continuations. What stands before a prompt's last special token has no part in them, and is left out."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]

    def tails(self, head: str, continuations: Sequence[str]) -> list[list[int]]:
        """The tokens that each continuation adds. Where tokens would grow together across the edge it is tokenised by itself: a
        model that writes its answer has read the prompt's tokens and can not take one back."""
        if not continuations:
            return []
        near = head[max(0, *(head.rfind(token) for token in self.special)) :] if self.special else head
        texts = [near, *(near + text for text in continuations)]
        before, *wholes = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [
            whole[len(before) :]
            if whole[: len(before)] == before
            else self.tokenizer(text, add_special_tokens=False)["input_ids"]
            for whole, text in zip(wholes, continuations, strict=True)
        ]
