"""Rows as examples and tokens, before anything is tokenised for good: exact on the rows looked at, a range for the others.

With the base's tokenizer.json at hand its tokens are counted (the tokenizers package alone, no torch); else characters are
counted, and a token is as many of them as the language's pack says. What the chat template writes round the words is counted
once, on a conversation made up for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from langmill.api import Chat, Context, FactoryError, Message, Reach, Row, RowAhead, Text
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer
from langmill_plugins.trainers.tokens.chunks import chunks
from langmill_plugins.trainers.tokens.forms import conversations
from langmill_plugins.trainers.tokens.templates import DATE, PLAIN

A_MESSAGE = (3, 12)  # tokens that a template puts round a message, where it can not be asked
ANY_SIZE = (0.7, 4.8)  # characters a token, where neither tokenizer nor pack tells
SEEN = 0.02  # how far a count on rows that were looked at may lie beside, as a share
FULL = 0.995  # of a packed line, on the average


class _Example(NamedTuple):
    """One example of a row: tokens, and how many of them carry loss."""

    tokens: float
    answers: float


@dataclass
class _Group:
    """The examples of one source in one language."""

    looked: int = 0
    sampled: bool = False
    low: list[tuple[float, _Example]] = field(default_factory=list)  # with the weight each has
    high: list[tuple[float, _Example]] = field(default_factory=list)


@dataclass(frozen=True)
class Counted:
    """What a stage learns from, all its epochs together. ``longest``: tokens of the longest example; ``answers``: share of an
    example's tokens that carry loss, of one that has many; ``by_tokenizer``: whether tokens were counted and not reckoned."""

    rows: Reach
    left_out: Reach
    examples: Reach
    tokens: Reach
    longest: int
    answers: float
    by_tokenizer: bool

    @property
    def mean(self) -> float:
        """Tokens of an average example, where there are many."""
        return self.tokens[1] / max(1.0, self.examples[1])


def counted(
    trainer: AdapterTrainer, stage: AdapterStage, rows: Iterable[RowAhead], context: Context, folder: Path | None
) -> Counted:
    """``folder`` is where the base's tokenizer lies, None where it is not at hand."""
    meter = _Meter(trainer, context, folder)
    ahead = list(rows)
    low = meter.examples([row.short for row in ahead], stage)
    high = low if all(row.long is row.short for row in ahead) else meter.examples([row.long for row in ahead], stage)
    groups: dict[tuple[str, str], _Group] = {}
    out = [0.0, 0.0]
    for row, ends in zip(ahead, zip(low, high, strict=True), strict=True):
        group = groups.setdefault((row.long.origin.source, row.long.language), _Group())
        group.looked += 1
        group.sampled |= row.weight > 1 and row.long is row.short
        weights = (row.weight * row.share, row.weight)
        kept = [[each for each in end[at] if each] for at, end in enumerate(ends)]
        group.low += [(weights[0], each) for each in kept[0]]
        group.high += [(weights[1], each) for each in kept[1]]
        for end in (0, 1):
            out[end] += weights[end] * (bool(ends[end][end]) and not kept[end])
    rates = _rates(stage, groups)
    tokens, examples = [0.0, 0.0], [0.0, 0.0]
    apart = 0.0
    for key, group in groups.items():
        sums = [sum(weight * one.tokens for weight, one in end) * rates[key] for end in (group.low, group.high)]
        for end, some in enumerate((group.low, group.high)):
            examples[end] += sum(weight for weight, _ in some) * rates[key]
            tokens[end] += sums[end]
        spread = 2 * _spread([one.tokens for _, one in group.high])
        if group.sampled:
            apart += (spread / math.sqrt(group.looked) * sums[1]) ** 2
        if (part := rates[key] % 1) and rates[key]:  # which ones come once more is left to chance
            number = sum(weight for weight, _ in group.high)
            apart += (spread * sums[1] / (number * rates[key])) ** 2 * number * part * (1 - part)
    if stage.tokens is not None and all(tokens):  # as many passes as that takes, to within an example
        examples = [many * stage.tokens / of for many, of in zip(examples, tokens, strict=True)]
        tokens, apart = [float(stage.tokens)] * 2, 0.0
    width = math.sqrt(apart)
    every = [one for group in groups.values() for _, one in (*group.low, *group.high)]
    longest = max((one.tokens for one in every), default=0.0)
    if any(group.sampled for group in groups.values()):
        longest *= 1.25  # the longest of all is seldom among those looked at
    shares = sorted(one.answers / max(1.0, one.tokens) for one in every)
    return Counted(
        rows=(sum(row.weight * row.share for row in ahead), sum(row.weight for row in ahead)),
        left_out=(min(out), max(out)),
        examples=(min(examples), max(examples)),
        tokens=(max(0.0, min(tokens) * (1 - SEEN) - width), max(tokens) * (1 + SEEN) + width),
        longest=min(trainer.max_tokens, math.ceil(longest)),
        answers=shares[int(0.9 * (len(shares) - 1))] if shares else 0.0,
        by_tokenizer=meter.counts,
    )


def steps_of(trainer: AdapterTrainer, stage: AdapterStage, what: Counted, packed: bool) -> Reach:
    """Optimiser steps: so many examples each, packed or not; but a packed step has a whole line at least."""
    width = stage.width
    most = stage.max_steps or math.inf
    ends = [math.ceil(end / width - 1e-6) for end in what.examples]
    if packed:
        lines = (math.ceil(end / (trainer.max_tokens * FULL) - 1e-6) for end in what.tokens)
        ends = [min(end, many) for end, many in zip(ends, lines, strict=True)]
    return min(ends[0], most), min(ends[1], most)


def lines_a_step(stage: AdapterStage, mean: float, size: int) -> float:
    """How many packed lines of ``size`` tokens an average step takes, its examples being ``mean`` tokens long on the average."""
    return max(1.0, stage.width * mean / (size * FULL))


def _rates(stage: AdapterStage, groups: Mapping[tuple[str, str], _Group]) -> dict[tuple[str, str], float]:
    """How often an example of each source and language comes in all, by the rules that the stage's order goes by."""
    rate = {key: stage.source_epochs.get(key[0], 1.0) for key in groups}
    drawn: dict[str, float] = {}
    for (source, language), group in groups.items():
        amount = sum(weight for weight, _ in group.high) * rate[source, language]
        drawn[language] = drawn.get(language, 0.0) + amount
    balance, factor = stage.languages, dict.fromkeys(drawn, 1.0)
    whole = sum(drawn.values())
    if balance.temperature != 1 and whole:
        powers = {language: (amount / whole) ** (1 / balance.temperature) for language, amount in drawn.items()}
        factor = {
            language: powers[language] / sum(powers.values()) * whole / amount if amount else 1.0
            for language, amount in drawn.items()
        }
    for language, amount in drawn.items():
        most = balance.most.get(language) if isinstance(balance.most, Mapping) else balance.most
        if most is not None and amount * factor[language] > most:
            factor[language] = most / amount
        factor[language] *= balance.epochs.get(language, 1.0)
    return {key: each * factor[key[1]] * stage.epochs for key, each in rate.items()}


def _spread(values: Sequence[float]) -> float:
    """The standard deviation as a share of the mean."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) / max(1.0, mean)


# --- tokens ---


class _Meter:
    """Tokens of texts, from low to high."""

    def __init__(self, trainer: AdapterTrainer, context: Context, folder: Path | None):
        self.trainer, self.context = trainer, context
        self._tokenizer = _tokenizer(folder)
        self.counts = self._tokenizer is not None
        self._message, self._once = self._round(folder)

    def examples(self, rows: Sequence[Row], stage: AdapterStage) -> list[tuple[list[_Example | None], ...]]:
        """For each row its examples by the low and by the high count; None stands for one that is too long."""
        texts: list[tuple[str, str]] = []  # with the language
        put: list[
            list[list[tuple[int, bool]]]
        ] = []  # by row, example and message: the text, and whether it is answered
        for row in rows:
            put.append([])
            for chat in self._chats(row, stage):
                put[-1].append([(len(texts) + at, role == "assistant") for at, (role, _) in enumerate(chat)])
                texts += [(words, row.language) for _, words in chat]
        sizes = self._sizes(texts)
        ends: list[tuple[list[_Example | None], ...]] = []
        for row, chats in zip(rows, put, strict=True):
            both: tuple[list[_Example | None], list[_Example | None]] = ([], [])
            for end in (0, 1):
                for places in chats:
                    both[end].extend(self._made(row, [(sizes[at][end], mine) for at, mine in places], stage, end))
            ends.append(both)
        return ends

    def _chats(self, row: Row, stage: AdapterStage) -> list[list[tuple[str, str]]]:
        if isinstance(row.body, Text):
            return [[("assistant", row.body.text)]]
        try:
            pack = self.context.pack(row.language)
            put = conversations(row, pack, stage.choices, self.context.seed_for, 0)
        except FactoryError:
            return []  # training leaves it out, too, and says why
        return [[(message.role, message.content) for message in chat] for _, chat in put]

    def _made(
        self, row: Row, parts: Sequence[tuple[float, bool]], stage: AdapterStage, end: int
    ) -> Iterable[_Example | None]:
        most = self.trainer.max_tokens
        if isinstance(row.body, Text):
            length = math.ceil(parts[0][0]) + 1  # the end token
            for chunk in chunks(length, most, int(stage.overlap * most)):
                yield _Example(chunk.end - chunk.start, chunk.end - chunk.learnt)
            return
        tokens = sum(size for size, _ in parts) + self._once[end] + self._message[end] * len(parts)
        answers = sum(size + 1 for size, mine in parts if mine)
        if tokens <= most:
            yield _Example(tokens, answers)
        elif stage.too_long == "cut_prompt" and isinstance(row.body, Chat) and answers < most:
            yield _Example(most, answers)
        else:
            yield None

    def _sizes(self, texts: Sequence[tuple[str, str]]) -> list[Reach]:
        if self._tokenizer is not None:
            read = self._tokenizer.encode_batch_fast([text for text, _ in texts], add_special_tokens=False)
            return [(len(one.ids), len(one.ids)) for one in read]
        sizes = []
        for text, language in texts:
            pack = self.context.languages.get(language)
            few, many = pack.size.characters_a_token if pack else ANY_SIZE
            sizes.append((len(text) / many, len(text) / few))
        return sizes

    def _round(self, folder: Path | None) -> tuple[Reach, Reach]:
        """Tokens round each message, and once a conversation."""
        template = _template(folder, self.trainer.chat_template)
        if self._tokenizer is None or template is None or folder is None:
            return A_MESSAGE, (0, 0)
        try:
            short, long = (
                len(self._tokenizer.encode(_rendered(template, turns, folder), add_special_tokens=False).ids)
                for turns in (1, 2)
            )
        except Exception:  # whatever a template of somebody's does in a sandbox
            return A_MESSAGE, (0, 0)
        a_message = max(0.0, (long - short) / 2 - 1)  # each of the made-up messages is one token
        once = max(0.0, short - 2 - 2 * a_message)
        return (a_message, a_message), (once, once)


def _tokenizer(folder: Path | None) -> Any:
    """The base's own, None where the file or the package is not there."""
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # the package's one class for a file that it can not read; or it is not installed
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _template(folder: Path | None, said: str) -> str | None:
    if folder is None:
        return None
    own = _config(folder).get("chat_template")
    file = folder / "chat_template.jinja"
    if file.is_file():
        own = file.read_text("utf-8")
    return PLAIN if said == "plain" or not isinstance(own, str) else own


def _rendered(template: str, exchanges: int, folder: Path) -> str:
    """A conversation of so many exchanges of one short word each."""
    from datetime import date

    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> str:
        raise ValueError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False)
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: date(*DATE).strftime(form)}
    steering = {
        name: token["content"] if isinstance(token, dict) else token or ""
        for name, token in _config(folder).items()
        if name.endswith("_token")
    }
    messages = [*(Message("user", "a")._asdict(), Message("assistant", "a")._asdict())] * exchanges
    known = {"eos_token": "", "bos_token": "", **steering, "messages": messages, "add_generation_prompt": False}
    return environment.from_string(template).render(enable_thinking=False, **known)


def _config(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found
