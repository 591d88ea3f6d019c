"""Log-likelihoods of continuations and of whole texts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from langmill.api import Likelihood, Question
from langmill_plugins.trainers.weights.asked import WAVE, text_ids, waves_of
from langmill_plugins.trainers.weights.reading import Lines, Prompt, Reader, new_cache

WINDOW = 2048  # tokens of a text that are read at once


def scored(reader: Reader, questions: Sequence[Question], name: str) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
    """(number of the question, likelihood of each continuation), batch by batch. No end token is added: a continuation is what an
    answer begins with. Of an empty one it is certain (0.0) that an answer begins with it.

    A prompt is read once, its continuations on top of what was kept of it; what many prompts begin with is read once. A question
    without messages is a text by itself. Raises FactoryError at once for a question that can not be asked.
    """
    asked = [number for number, question in enumerate(questions) if question.messages]
    texts = [number for number, question in enumerate(questions) if not question.messages]
    waves = waves_of(reader, [questions[number] for number in asked], name)

    def each() -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        for prompts in waves:
            near, far = reader.apart(prompts)
            for batch, head in reader.batches(near):
                for prompt, found in zip(batch, _tails(reader, batch, head), strict=True):
                    yield asked[prompt.number], found
            for prompt in far:
                yield asked[prompt.number], tuple(_alone(reader, prompt.ids, tail) for tail in prompt.tails)
        for begin in range(0, len(texts), WAVE):
            wave = texts[begin : begin + WAVE]
            for number, whole in _texts(reader, [questions[one].continuations[0] for one in wave]):
                yield wave[number], (whole,)

    return each()


# --- continuations ---


class _Tail(NamedTuple):
    """A continuation: the row of its prompt in the batch, its place among that prompt's continuations, its tokens."""

    row: int
    place: int
    ids: list[int]


def _tails(reader: Reader, batch: list[Prompt], head: Any) -> list[tuple[Likelihood, ...]]:
    """The likelihoods of all continuations of a batch of prompts."""
    lines = reader.begin([prompt.ids for prompt in batch], head)
    tails = [_Tail(row, place, tail) for row, prompt in enumerate(batch) for place, tail in enumerate(prompt.tails)]
    found = {(tail.row, tail.place): 0.0 for tail in tails}
    begun = [tail for tail in tails if tail.ids]
    if begun:
        firsts = lines.logits[[tail.row for tail in begun], [tail.ids[0] for tail in begun]]
        sums = lines.logits.logsumexp(-1)[[tail.row for tail in begun]]
        for tail, value in zip(begun, (firsts - sums).tolist(), strict=True):
            found[tail.row, tail.place] = value
    for some in _cut(reader, [tail for tail in tails if len(tail.ids) > 1], lines.seen.shape[1]):
        for tail, value in zip(some, _rest(reader, lines, some), strict=True):
            found[tail.row, tail.place] += value
    return [
        tuple(Likelihood(found[row, place], len(tail)) for place, tail in enumerate(prompt.tails))
        for row, prompt in enumerate(batch)
    ]


def _cut(reader: Reader, tails: list[_Tail], columns: int) -> Iterator[list[_Tail]]:
    """Continuations of like length, as many as there is room for; ``columns`` are the prompts'."""
    some: list[_Tail] = []
    for tail in sorted(tails, key=lambda tail: -len(tail.ids)):
        rows, longest = len(some) + 1, len((some or [tail])[0].ids) - 1
        most = min(reader.logits, reader.room.read)
        if some and (rows * longest > most or rows * (columns + longest) > reader.kept):
            yield some
            some = []
        some.append(tail)
    if some:
        yield some


def _rest(reader: Reader, lines: Lines, tails: list[_Tail]) -> list[float]:
    """The log-probability of each continuation after its first token."""
    mine = lines.keep(reader.tensor([tail.row for tail in tails]))
    ids, next_ = [tail.ids[:-1] for tail in tails], [tail.ids[1:] for tail in tails]
    return _summed(reader, mine.cache, mine.seen, mine.sizes, ids, next_)


def _summed(
    reader: Reader, cache: Any, seen: Any, sizes: Any, rows: list[list[int]], targets: list[list[int]]
) -> list[float]:
    """For rows that are read on top of what is kept: the sum of the log-probabilities of what comes next. A target of -1 is
    not counted; ``seen`` and ``sizes`` tell of the tokens before."""
    import torch

    longest = max(map(len, rows))
    pad = reader.tokenizer.pad_token_id
    ids = reader.tensor([row + [pad] * (longest - len(row)) for row in rows])
    next_ = reader.tensor([row + [-1] * (longest - len(row)) for row in targets])
    real = reader.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    last = (
        sizes[:, None] + real.sum(1, keepdim=True) - 1
    )  # padding stands there, too: a place beyond may change the others'
    total = torch.zeros(len(rows), dtype=torch.float64, device=reader.device)
    piece = max(1, reader.logits // len(rows))
    for begin in range(0, longest, piece):
        end = min(longest, begin + piece)
        seen = torch.cat((seen, real[:, begin:end]), 1)
        places = torch.minimum(sizes[:, None] + torch.arange(begin, end, device=reader.device), last)
        logits = reader.forward(ids[:, begin:end], seen, places, cache)
        for row in range(len(rows)):
            wanted = next_[row, begin:end]
            counted = wanted >= 0
            if counted.any():
                each = logits[row][counted].float()
                chosen = each.gather(1, wanted[counted][:, None])[:, 0]
                total[row] += (chosen - each.logsumexp(-1)).sum(dtype=torch.float64)
    return [float(value) for value in total]


def _alone(reader: Reader, before: list[int], tail: list[int]) -> Likelihood:
    """A continuation in a pass of its own."""
    if not tail:
        return Likelihood(0.0, 0)
    logits = reader.alone([*before, *tail[:-1]], len(tail)).float()
    chosen = logits.gather(1, reader.tensor(tail)[:, None])[:, 0]
    return Likelihood(float((chosen - logits.logsumexp(-1)).double().sum()), len(tail))


# --- texts by themselves ---


class _Window(NamedTuple):
    """A part of a text's tokens, of which those from ``first`` on are scored."""

    text: int
    ids: list[int]
    first: int


def _texts(reader: Reader, texts: Sequence[str]) -> Iterator[tuple[int, Likelihood]]:
    """(number, likelihood) of whole texts. One that is longer than the model reads (or than WINDOW) is read in windows that overlap
    by half: the second half of each is scored with the first half before it, every token once. The harness's rolling windows
    do not overlap, and leave the first tokens of each with next to nothing before them: its perplexities of long texts are
    higher."""
    size = min(reader.longest, WINDOW)
    windows: list[_Window] = []
    counts: dict[int, int] = {}
    for number, text in enumerate(texts):
        ids, before = text_ids(reader.tokenizer, text)
        counts[number] = len(ids) - before
        windows += [
            _Window(number, ids[begin:end], first - begin) for begin, end, first in _spans(len(ids), before, size)
        ]
    left = Counter(window.text for window in windows)
    sums: dict[int, float] = defaultdict(float)
    for number in counts:
        if number not in left:  # an empty text
            yield number, Likelihood(0.0, 0)
    for batch in _full(reader, windows):
        for window, value in zip(batch, _read(reader, batch), strict=True):
            sums[window.text] += value
            left[window.text] -= 1
            if not left[window.text]:
                yield window.text, Likelihood(sums[window.text], counts[window.text])


def _spans(tokens: int, before: int, size: int) -> Iterator[tuple[int, int, int]]:
    """(begin, end, first that is scored) of each window over some tokens, of which those ``before`` the text are not scored."""
    first = before
    while first < tokens:
        end = min(tokens, size if first == before else first + max(1, size // 2))
        yield max(0, end - size), end, first
        first = end


def _full(reader: Reader, windows: list[_Window]) -> Iterator[list[_Window]]:
    """Windows of like length, as many as there is room for."""
    batch: list[_Window] = []
    most = min(reader.room.read, reader.kept)
    for window in sorted(windows, key=lambda window: -len(window.ids)):
        longest = len((batch or [window])[0].ids)
        if batch and (longest > reader.together or (len(batch) + 1) * longest > most):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _read(reader: Reader, windows: list[_Window]) -> list[float]:
    """The log-probability of what is scored of each window."""
    import torch

    if len(windows[0].ids) > reader.together:
        return [
            _alone(reader, window.ids[: window.first], window.ids[window.first :]).log_probability for window in windows
        ]
    targets = [[-1] * (window.first - 1) + window.ids[window.first :] for window in windows]
    nothing = torch.zeros((len(windows), 0), dtype=torch.long, device=reader.device)
    rows = [window.ids[:-1] for window in windows]
    return _summed(reader, new_cache(), nothing, reader.tensor([0] * len(windows)), rows, targets)
