"""Passes through a causal language model: many prompts at once, what they begin with alike read once, memory bounded.

Prompts of a batch end in the same column. Padding stands before them, or in its place the end of what they begin with, so that
the distance between two tokens of a prompt is what it is without a batch: a layer that looks back over a window of tokens sees the
same tokens. What a prompt leaves behind is kept whole for that reason, beyond the window, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        """Some of the rows, or one several times; ``rows`` are their numbers as a tensor."""
        cache = _cache([(layer.keys[rows], layer.values[rows]) for layer in self.cache.layers])
        return Lines(cache, self.seen[rows], self.sizes[rows], self.logits[rows])


def joined(parts: Sequence[Lines]) -> Lines:
    """Lines that were read apart, as one batch: shorter ones get more padding before them."""
    import torch
    from torch.nn.functional import pad

    if len(parts) == 1:
        return parts[0]
    columns = max(part.seen.shape[1] for part in parts)
    more = [columns - part.seen.shape[1] for part in parts]

    def cat(each: Sequence[Any]) -> Any:
        return torch.cat([pad(numbers, (0, 0, width, 0)) for numbers, width in zip(each, more, strict=True)])

    layers = zip(*(part.cache.layers for part in parts), strict=True)
    return Lines(
        _cache([(cat([one.keys for one in layer]), cat([one.values for one in layer])) for layer in layers]),
        torch.cat([pad(part.seen, (width, 0)) for part, width in zip(parts, more, strict=True)]),
        torch.cat([part.sizes for part in parts]),
        torch.cat([part.logits for part in parts]),
    )


class Reader:
    """A model and its tokenizer, ready to read. ``longest`` is how many tokens it reads at most. ``together`` is how many a line and
    what follows it may come to (the last one is not read) if it is to be read with others and by what is kept of it; a longer one is
    read by itself, from its beginning. It is 0 for a model whose memory of a prompt can not be handed on or padded: states in place
    of keys and values, places it works out itself."""

    def __init__(self, tokenizer: Any, model: Any):
        self.tokenizer, self.model, self.device = tokenizer, model, model.device
        self.room = ROOM[model.device.type]
        config = model.config.get_text_config()
        said = getattr(config, "max_position_embeddings", None)
        self.longest: int = said if isinstance(said, int) and said > 0 else 1 << 30
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        takes = inspect.signature(inner.forward).parameters
        kinds = set(getattr(config, "layer_types", None) or ())
        shares = takes.keys() >= NEEDED and kinds <= PLAIN_LAYERS and not getattr(inner, "_is_stateful", False)
        self.together: int = min(self.longest, _steady(config)) + 1 if shares else 0
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
        cache = new_cache()
        if head:  # one line's, taken to several, each as far to the right as its padding pushes it
            source = (columns[:shared] - before).clamp(0)
            pairs = [(layer.keys[0][:, source], layer.values[0][:, source]) for layer in head.layers]
            cache = _cache([(keys.transpose(0, 1), values.transpose(0, 1)) for keys, values in pairs])
        places = (columns - before).clamp(0)[:, shared:]
        seen = (columns >= before).long()
        logits = self.forward(ids, seen, places, cache, keep=1)[:, -1].float()
        return Lines(cache, seen, sizes, logits)

    def apart(self, prompts: Iterable[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
        """Prompts that may be read together, and those that are read by themselves."""
        near: list[Prompt] = []
        far: list[Prompt] = []
        for prompt in prompts:
            (near if len(prompt.ids) + prompt.beyond <= self.together else far).append(prompt)
        return near, far

    def batches(self, prompts: Iterable[Prompt], rows: int | None = None) -> Iterator[tuple[list[Prompt], Any]]:
        """Prompts of like length, the longest first, ``rows`` at most, and what is kept of what they begin with alike (None:
        nothing)."""
        for group, shared in grouped(list(prompts)):
            head = self.begin([group[0].ids[:shared]]).cache if shared else None
            batch: list[Prompt] = []
            for prompt in sorted(group, key=lambda prompt: -len(prompt.ids)):
                longest, many = len((batch or [prompt])[0].ids), len(batch) + 1
                if batch and (
                    (rows and many > rows)
                    or many * (longest - shared) > self.room.read
                    or not self.fits([*batch, prompt])
                ):
                    yield batch, head
                    batch = []
                batch.append(prompt)
            yield batch, head

    def fits(self, prompts: Sequence[Prompt]) -> bool:
        """Whether there is room to keep what is read of prompts and of what may follow each one."""
        columns = max(len(prompt.ids) for prompt in prompts) + max(prompt.beyond for prompt in prompts)
        return bool(len(prompts) * columns <= self.kept)


def _steady(config: Any) -> int:
    """Up to how many tokens a line's places mean the same whatever is read with it. LongRoPE turns every place of a pass another way
    once the longest line goes beyond the length of its first training. Places that are called dynamic do so only beyond what is
    read at most."""
    said = getattr(config, "rope_parameters", None) or {}
    each = [one for one in (said, *said.values()) if isinstance(one, Mapping)]  # of all layers, or by their kind
    ends = [one.get("original_max_position_embeddings", 0) for one in each if one.get("rope_type") == "longrope"]
    return min(ends, default=1 << 30)


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


def _cache(layers: Iterable[tuple[Any, Any]]) -> Any:
    """A cache of keys and values [rows, heads, columns, width] of each layer."""
    from transformers.cache_utils import DynamicLayer

    made = new_cache()
    for keys, values in layers:
        mine = DynamicLayer()
        mine.lazy_initialization(keys, values)
        mine.keys, mine.values = keys, values
        made.layers.append(mine)
    return made
