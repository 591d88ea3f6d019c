"""Rows as tokens, and which of them carry loss: the assistant's words and the token that ends its turn, nothing else.

The model's own chat template renders the conversation. Where the assistant's words lie in the rendered text is known by
construction: the template is rendered once with a mark in place of each answer, and the marks are then replaced by the
answers; the result must equal what the template makes of the real conversation. So neither a search for words that may
occur twice nor a template that renders an earlier turn differently when another follows (Qwen 3 drops the empty thoughts
of all turns but the last) can put the loss in the wrong place. The text is tokenised once, as a whole, and the places
become tokens by character offsets, which stays right where a prefix's tokens are not a prefix of the tokens.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from langmill.api import Context, Message, MissingInput, RecipeError, Row, RowFault, Text

NO_LOSS = -100  # what PyTorch's cross-entropy passes over
AT_ONCE = 512  # rows a call to the tokenizer
MARK = "\ue000answer-{}-7f3a9c51\ue001"  # private-use characters: no row of real text holds it


class Example(NamedTuple):
    """One row as 32-bit integers: token ids, and labels of the same length (the id itself, or NO_LOSS)."""

    ids: array[int]
    labels: array[int]


@dataclass
class Tokenised:
    """What became of a data set: examples in the order of their rows, and rows left out by reason and language."""

    examples: list[Example] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        """Tokens in all examples."""
        return sum(len(example.ids) for example in self.examples)

    def left_out_by_reason(self) -> dict[str, dict[str, int]]:
        """``{reason: {language: rows}}``, sorted, for a report."""
        table: dict[str, dict[str, int]] = {}
        for (reason, language), count in sorted(self.left_out.items()):
            table.setdefault(reason, {})[language] = count
        return table


def tokenise(rows: Iterable[Row], tokenizer: Any, context: Context, max_tokens: int) -> Tokenised:
    """Every row that fits in ``max_tokens``, whole. The others are counted, never cut.

    Reasons to be left out: ``too_long``; ``special_token_in_text``: the words hold a token that steers the model;
    ``template_alters_words`` and ``template_refuses``: the chat template changes the words beyond trimming, or does not know
    this order of roles; ``no_clear_edge``: one token holds the end of the prompt and the beginning of the answer, so that no
    mask is right; ``empty_answer``. Raises RecipeError for a tokenizer that can not
    render conversations.
    """
    done = Tokenised()
    specials = special_texts(tokenizer)
    waiting = iter(rows)
    while some := list(islice(waiting, AT_ONCE)):
        texts: list[str] = []
        kept: list[tuple[Row, list[tuple[int, int]] | None]] = []
        for row in some:
            try:
                text, spans = _as_text(row, tokenizer, context, specials)
            except RowFault as fault:
                done.left_out[fault.reason, row.language] += 1
                continue
            texts.append(text)
            kept.append((row, spans))
        if not texts:
            continue
        # The template writes the begin token itself; the tokenizer must not add a second one.
        batch = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False)
        found = zip(kept, texts, batch["input_ids"], batch["offset_mapping"], strict=True)
        for (row, spans), text, ids, offsets in found:
            try:
                if spans is None:
                    example = _running_text(ids, tokenizer)
                else:
                    example = masked(text, ids, offsets, spans, tokenizer)
            except RowFault as fault:
                done.left_out[fault.reason, row.language] += 1
                continue
            if len(example.ids) > max_tokens:
                done.left_out["too_long", row.language] += 1
            else:
                done.examples.append(example)
    return done


def special_texts(tokenizer: Any) -> tuple[str, ...]:
    """The texts a tokenizer reads as steering tokens and not as words."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple({str(token) for token in added if token.special} | set(tokenizer.all_special_tokens))


def _as_text(
    row: Row, tokenizer: Any, context: Context, specials: Sequence[str]
) -> tuple[str, list[tuple[int, int]] | None]:
    """The text of a row, and where in it the answers lie; None for running text, which is learnt whole."""
    if isinstance(row.body, Text):
        _refuse_specials((row.body.text,), specials)
        return row.body.text, None
    messages = context.pack(row.language).conversation(row.body)
    _refuse_specials([message.content for message in messages], specials)
    return render(tokenizer, messages)


def _refuse_specials(texts: Iterable[str], specials: Sequence[str]) -> None:
    """Row text is data. A text that holds '<|im_end|>' would end a turn where none ends."""
    for text in texts:
        for special in specials:
            if special in text:
                raise RowFault("special_token_in_text", special)


def render(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as the model's template writes it, and [start, end) of the assistant's words in it, in characters."""
    words = [message.content for message in messages if message.role == "assistant"]
    marks = iter(range(len(words)))
    marked = [
        Message("assistant", MARK.format(next(marks))) if message.role == "assistant" else message
        for message in messages
    ]
    pattern = chat_text(tokenizer, marked)
    whole = chat_text(tokenizer, messages)
    for said in (words, [word.strip() for word in words]):  # some templates trim, Gemma's for one
        text, spans = _filled(pattern, said)
        if text == whole:
            return text, spans
    raise RowFault("template_alters_words", "the chat template changes the words beyond trimming")


def _filled(pattern: str, words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The pattern with its marks replaced by words, and where they came to lie."""
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0
    for number, word in enumerate(words):
        before, found, pattern = pattern.partition(MARK.format(number))
        if not found:
            raise RowFault("template_alters_words", "the chat template leaves an answer out")
        start = length + len(before)
        length = start + len(word)
        pieces += (before, word)
        spans.append((start, length))
    return "".join((*pieces, pattern)), spans


def chat_text(tokenizer: Any, messages: Sequence[Message], *, ask: bool = False) -> str:
    """The messages as text; with ``ask`` the beginning of the assistant's turn is added."""
    if not tokenizer.chat_template:
        raise RecipeError(
            "the base model brings no chat template (it is no instruction model): name an instruction model as train.base"
        )
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask))
    except Exception as fault:  # Jinja's errors, by which a template refuses roles or their order
        raise RowFault("template_refuses", f"{type(fault).__name__}: {fault}") from fault


def masked(
    text: str,
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    spans: Sequence[tuple[int, int]],
    tokenizer: Any,
) -> Example:
    """Loss on the tokens inside each span and on what the template writes from there up to the token that ends the turn.

    A token that holds the template's blank before the first word as well (``[/INST] Yes``) is the answer's: it is what the
    model has to write.
    """
    special = _special_ids(tokenizer)
    labels = array("i", [NO_LOSS]) * len(ids)
    at = 0
    for start, end in spans:
        if start == end:
            raise RowFault("empty_answer", "the assistant says nothing")
        while at < len(ids) and (offsets[at][1] <= start or ids[at] in special):
            at += 1
        if at == len(ids) or text[offsets[at][0] : start].strip(" "):
            raise RowFault("no_clear_edge", "one token holds the end of the prompt and the beginning of the answer")
        while at < len(ids) and ids[at] not in special:
            labels[at] = ids[at]
            at += 1
        if at == len(ids) or offsets[at][0] < end:
            raise RecipeError("the base model's chat template ends a turn with no special token: it could never stop")
        labels[at] = ids[at]
        at += 1
    return Example(array("i", ids), labels)


def _running_text(ids: Sequence[int], tokenizer: Any) -> Example:
    """Running text: every token carries loss but the first, which nothing predicts, and an end token closes it."""
    body = [*_begin(tokenizer), *ids, tokenizer.eos_token_id]
    return Example(array("i", body), array("i", [NO_LOSS, *body[1:]]))


def _begin(tokenizer: Any) -> list[int]:
    """What this tokenizer itself puts in front of a text: a begin token, or nothing."""
    empty = tokenizer("", add_special_tokens=True)["input_ids"]
    return [token for token in empty if token == tokenizer.bos_token_id]


def _special_ids(tokenizer: Any) -> frozenset[int]:
    added: Mapping[int, Any] = tokenizer.added_tokens_decoder
    return frozenset(number for number, token in added.items() if token.special) | frozenset(tokenizer.all_special_ids)


def learnt(example: Example) -> Iterator[int]:
    """The tokens of an example that carry loss."""
    return (label for label in example.labels if label != NO_LOSS)


def need_end_token(tokenizer: Any) -> None:
    """Raises MissingInput for a tokenizer that names no end token."""
    if tokenizer.eos_token_id is None:
        raise MissingInput("the base model's tokenizer names no end token: add eos_token to its tokenizer_config.json")
