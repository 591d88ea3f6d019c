"""Passes through a causal language model: many prompts at once, what they begin with alike read once, memory bounded.

Prompts of a batch end in the same column. Padding stands before them, or in its place the end of what they begin with, so that
the distance between two tokens of a prompt is what it is without a batch: a layer that looks back over a window of tokens sees the
same tokens. What a prompt leaves behind is kept whole for that reason, beyond the window, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

LEAST_SHARED = 16  # tokens: a shorter common beginning is not worth a pass of its own
PLAIN_LAYERS = frozenset({"full_attention", "sliding_attention"})
NEEDED = frozenset({"attention_mask", "position_ids", "past_key_values", "logits_to_keep"})


class Room(NamedTuple):
    """Most tokens in one pass, bytes of what is kept of them, bytes of logits, and answers that are written at once."""

    read: int
    kept: int
    logits: int
    rows: int


ROOM = {"cpu": Room(1024, 512 << 20, 256 << 20, 16), "cuda": Room(16384, 4 << 30, 1 << 30, 64)}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question's tokens: its ``number``, the prompt's, and those of its continuations or how many may be written."""

    number: int
    ids: list[int]
    tails: tuple[list[int], ...] = ()
    most: int = 0

    @property
    def beyond(self) -> int:
        """Most tokens that may follow the prompt."""
        return max(map(len, self.tails), default=self.most)


@dataclass(slots=True)
class Lines:
    """Prompts that were read: what is kept of them, the columns that hold tokens [rows, columns], their lengths [rows], and the
    logits of each one's next token [rows, vocabulary]."""

    cache: Any
    seen: Any
    sizes: Any
    logits: Any

    def keep(self, rows: Any) -> Lines:
        """Some of the rows, or one several times; ``rows`` are their numbers as a tensor. Logits are left behind."""
        return Lines(
            _picked(self.cache, lambda kept: kept.index_select(0, rows)), self.seen[rows], self.sizes[rows], None
        )


class Reader:
    """A model and its tokenizer, ready to read. ``longest`` is how many tokens it reads at most. ``shares`` is False for one whose
    memory of a prompt can not be handed on or padded (states in place of keys and values, places it works out itself): that one
    reads a line at a time, from its beginning."""

    def __init__(self, tokenizer: Any, model: Any):
        self.tokenizer, self.model, self.device = tokenizer, model, model.device
        self.room = ROOM[model.device.type]
        config = model.config.get_text_config()
        said = getattr(config, "max_position_embeddings", None)
        self.longest: int = said if isinstance(said, int) and said > 0 else 1 << 30
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        takes = inspect.signature(inner.forward).parameters
        kinds = set(getattr(config, "layer_types", None) or ())
        self.shares = takes.keys() >= NEEDED and kinds <= PLAIN_LAYERS and not getattr(inner, "_is_stateful", False)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.kept = max(1, self.room.kept // (2 * config.num_hidden_layers * heads * width * model.dtype.itemsize))
        """Most tokens of which something is kept at once."""
        self.logits = max(1, self.room.logits // (3 * 4 * config.vocab_size))
        """Most tokens whose logits are made at once: as they are, in float32, and once more while they are summed up."""

    def tensor(self, numbers: Any) -> Any:
        """Numbers on the model's device."""
        import torch

        return torch.tensor(numbers, device=self.device)

    def forward(self, ids: Any, seen: Any, places: Any, cache: Any, keep: int = 0) -> Any:
        """Logits [rows, tokens, vocabulary] of a pass, or those of the last ``keep`` tokens. ``cache`` takes in what is kept."""
        import torch

        with torch.inference_mode():
            return self.model(
                input_ids=ids,
                attention_mask=seen,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=keep,
            ).logits

    def alone(self, ids: list[int], keep: int) -> Any:
        """Logits [keep, vocabulary] of the last tokens of one line that is read from its beginning."""
        import torch

        with torch.inference_mode():
            return self.model(input_ids=self.tensor([ids]), use_cache=False).logits[0, -keep:]

    def begin(self, prompts: Sequence[list[int]], head: Any = None) -> Lines:
        """Read prompts. ``head``: what is kept of the tokens that they all begin with."""
        import torch

        shared = head.get_seq_length() if head else 0
        longest = max(map(len, prompts))
        fresh = longest - shared
        sizes = self.tensor([len(ids) for ids in prompts])
        before = longest - sizes[:, None]  # columns of padding
        pad = self.tokenizer.pad_token_id
        ids = self.tensor([[pad] * (fresh - len(ids)) + ids[-fresh:] for ids in prompts])
        columns = torch.arange(longest, device=self.device)
        cache = _picked(head, _moved((columns[:shared] - before).clamp(0))) if head else new_cache()
        places = (columns - before).clamp(0)[:, shared:]
        seen = (columns >= before).long()
        logits = self.forward(ids, seen, places, cache, keep=1)[:, -1].float()
        return Lines(cache, seen, sizes, logits)

    def batches(self, prompts: Iterable[Prompt], *, writes: bool = False) -> Iterator[tuple[list[Prompt], Any]]:
        """Prompts of like length, the longest first, and what is kept of what they begin with alike (None: nothing)."""
        read = self.room.read * 8 if writes else self.room.read  # a batch is read once, and then written token by token
        groups = list(grouped(list(prompts)))
        if (
            writes
        ):  # what takes long is the tokens one by one, so that full batches count for more than a beginning read once
            few = [prompt for group, _ in groups if len(group) < self.room.rows for prompt in group]
            groups = [one for one in groups if len(one[0]) >= self.room.rows] + ([(few, 0)] if few else [])
        for group, shared in groups:
            head = self.begin([group[0].ids[:shared]]).cache if shared else None
            batch: list[Prompt] = []
            for prompt in sorted(group, key=lambda prompt: -len(prompt.ids)):
                longest, beyond = len((batch or [prompt])[0].ids), max(one.beyond for one in (*batch, prompt))
                rows = len(batch) + 1
                full = rows * (longest - shared) > read or rows * (longest + beyond) > self.kept
                if batch and (full or (writes and rows > self.room.rows)):
                    yield batch, head
                    batch = []
                batch.append(prompt)
            yield batch, head


def new_cache() -> Any:
    """Nothing read yet. It is told of no windows, so that it keeps everything: padding would count in a window."""
    from transformers import DynamicCache

    return DynamicCache()


def grouped(prompts: list[Prompt]) -> Iterator[tuple[list[Prompt], int]]:
    """Prompts that begin alike, and how many tokens of all of them are the same (0: they are read on their own): the words of one
    language before each question, examples. The last token of a prompt is never among them: its logits are asked for."""
    group: list[Prompt] = []
    shared = 0
    for prompt in sorted(prompts, key=lambda prompt: prompt.ids):
        if group:
            alike = _alike(group[-1].ids[:-1], prompt.ids[:-1])
            alike = min(alike, shared) if len(group) > 1 else alike
            # Two questions may happen to share more than their language's words: they do not keep the others out.
            if alike < LEAST_SHARED or (len(group) > 1 and 2 * alike < shared):
                yield group, shared if len(group) > 1 else 0
                group = []
            shared = alike
        group.append(prompt)
    if group:
        yield group, shared if len(group) > 1 else 0


def _alike(one: list[int], other: list[int]) -> int:
    """How many tokens two lines begin with alike."""
    differ = (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    return next(differ, min(len(one), len(other)))


def _moved(source: Any) -> Any:
    """Takes what is kept of one line to several, in other columns: ``source`` [rows, columns] says from where."""
    return lambda kept: kept[0][:, source].transpose(0, 1)


def _picked(cache: Any, pick: Any) -> Any:
    """A cache of what ``pick`` takes from the keys and from the values of each layer [rows, heads, columns, width]."""
    from transformers.cache_utils import DynamicLayer

    made = new_cache()
    for layer in cache.layers:
        mine = DynamicLayer()
        mine.lazy_initialization(layer.keys, layer.values)
        mine.keys, mine.values = pick(layer.keys), pick(layer.values)
        made.layers.append(mine)
    return made
