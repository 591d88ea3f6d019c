"""Answers, token by token: the likeliest each time, for many prompts at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langmill.api import Answer, Question
from langmill_plugins.trainers.weights.asked import waves_of
from langmill_plugins.trainers.weights.reading import Lines, Prompt, Reader, joined


def written(reader: Reader, questions: Sequence[Question], name: str, most: int) -> Iterator[tuple[int, Answer]]:
    """(number of the question, answer) as each one ends: at an end token, at the question's bound (``most`` where it has none), or
    where the model's reading ends. Penalties and temperatures that a model's files ask for are left out. Raises FactoryError at once
    for a question that can not be asked."""
    ends = end_ids(reader.tokenizer, reader.model)
    waves = waves_of(reader, questions, name, most)

    def each() -> Iterator[tuple[int, Answer]]:
        for prompts in waves:
            near, far = reader.apart(prompts)
            for batch, lines in _together(reader, near):
                for prompt, made in _batch(reader, batch, lines, frozenset(ends)):
                    yield prompt.number, _answer(reader, prompt, made, ends)
            for prompt in far:
                yield prompt.number, _answer(reader, prompt, _alone(reader, prompt, ends), ends)

    return each()


def end_ids(tokenizer: Any, model: Any) -> list[int]:
    """The tokens that end an answer: those that the model's generation_config names, and the tokenizer's."""
    named = model.generation_config.eos_token_id
    ends = named if isinstance(named, list) else [named]
    return [*dict.fromkeys(end for end in (*ends, tokenizer.eos_token_id) if end is not None)]


def _together(reader: Reader, prompts: Sequence[Prompt]) -> Iterator[tuple[list[Prompt], Lines]]:
    """Prompts that were read as is quickest, with others of like length that begin alike, and then put into full batches: a batch of
    sixteen writes sixteen tokens in little more time than one."""
    batch: list[Prompt] = []
    begun: list[Lines] = []
    for some, head in reader.batches(prompts, reader.room.rows):
        if batch and (len(batch) + len(some) > reader.room.rows or not reader.fits([*batch, *some])):
            yield batch, joined(begun)
            batch, begun = [], []
        batch += some
        begun.append(reader.begin([prompt.ids for prompt in some], head))
    if batch:
        yield batch, joined(begun)


def _batch(
    reader: Reader, batch: list[Prompt], lines: Lines, ends: frozenset[int]
) -> Iterator[tuple[Prompt, list[int]]]:
    """Each prompt with its answer's tokens. An answer that has ended leaves the batch."""
    import torch

    live: list[tuple[Prompt, list[int]]] = [(prompt, []) for prompt in batch]
    while live:
        chosen = lines.logits.argmax(-1)
        for (_, made), token in zip(live, chosen.tolist(), strict=True):
            made.append(token)
        going = [row for row, (prompt, made) in enumerate(live) if made[-1] not in ends and len(made) < prompt.most]
        if len(going) < len(live):
            yield from [one for row, one in enumerate(live) if row not in set(going)]
            live = [live[row] for row in going]
            if not live:
                return
            rows = reader.tensor(going)
            lines, chosen = lines.keep(rows), chosen[rows]
        lines.seen = torch.cat((lines.seen, lines.seen.new_ones(len(live), 1)), 1)
        logits = reader.forward(chosen[:, None], lines.seen, lines.sizes[:, None], lines.cache)
        lines.sizes = lines.sizes + 1
        lines.logits = logits[:, -1].float()


def _alone(reader: Reader, prompt: Prompt, ends: list[int]) -> list[int]:
    """The answer's tokens of a model that reads a line at a time, by its own kind of memory."""
    import torch

    with torch.inference_mode():
        made = reader.model.generate(
            input_ids=reader.tensor([prompt.ids]), attention_mask=reader.tensor([[1] * len(prompt.ids)]),
            max_new_tokens=prompt.most, do_sample=False, repetition_penalty=1.0, eos_token_id=ends,
            pad_token_id=reader.tokenizer.pad_token_id,
        )  # fmt: skip
    return list(made[0, len(prompt.ids) :].tolist())


def _answer(reader: Reader, prompt: Prompt, made: list[int], ends: Sequence[int]) -> Answer:
    text = reader.tokenizer.decode(made, skip_special_tokens=True).strip()
    return Answer(text, "stop" if made and made[-1] in ends else "length", len(prompt.ids), len(made), 0.0)
