"""A base model or a trained stage that answers, and that says how likely a text is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import PrivateAttr

from langmill.api import LLM, Answer, Context, Field, Likelihood, Message, Question
from langmill_plugins.trainers.options import AdapterTrainer
from langmill_plugins.trainers.tokens.templates import chat_text, with_template
from langmill_plugins.trainers.weights.adapters import load_model, placed, with_saved_adapter
from langmill_plugins.trainers.weights.base_model import Base, find_base, load_tokenizer, quiet
from langmill_plugins.trainers.weights.standing import Standing, merged_model, standing_weights
from langmill_plugins.trainers.weights.trained import Trained, read_trained

TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 16384}  # tokens in one batch of prompts, padding counted


@dataclass(frozen=True)
class Where:
    """What lies behind an opened model."""

    base: Base
    stage: Trained | None
    four_bit: bool
    chat_template: Literal["auto", "own", "plain"]


class LocalWeights(LLM):
    """Weights in this process. Answers greedily; the seed and the temperature change nothing, a schema is not enforced."""

    temperature: float = Field(0.0, ge=0, le=2, description="not used: the likeliest token is taken")
    max_tokens: int = Field(256, ge=1, description="longest answer, in the model's tokens")
    concurrency: int = Field(1, ge=1, description="calls at once; they queue for the one model")
    _where: Where = PrivateAttr()
    _ready: tuple[Any, Any] | None = PrivateAttr(None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages the base says it writes."""
        return self._where.base.languages

    @property
    def demonstration(self) -> bool:
        """Whatever is trained on a demonstration model is one."""
        return self._where.base.demonstration

    def loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model, loaded on first use."""
        if self._ready is None:
            self._ready = _load(self._where)
        return self._ready

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """The likeliest answer, token by token."""
        return await asyncio.to_thread(self._answer, messages)

    def _answer(self, messages: Sequence[Message], most: int | None = None) -> Answer:
        import torch

        with self._lock, torch.inference_mode():
            tokenizer, model = self.loaded()
            ids = tokenizer(chat_text(tokenizer, messages, ask=True), add_special_tokens=False)["input_ids"]
            ends = _end_ids(tokenizer, model)
            made = model.generate(
                input_ids=torch.tensor([ids], device=model.device),
                attention_mask=torch.ones((1, len(ids)), dtype=torch.long, device=model.device),
                max_new_tokens=most or self.max_tokens, do_sample=False, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id,
            )[0, len(ids) :].tolist()  # fmt: skip
        finish = "stop" if made and made[-1] in ends else "length"
        text = tokenizer.decode(made, skip_special_tokens=True).strip()
        return Answer(text, "stop" if finish == "stop" else "length", len(ids), len(made), 0.0)

    @property
    def here(self) -> bool:
        """They are in this process."""
        return True

    def score(self, questions: Sequence[Question]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Log-probability of each continuation as the beginning of the assistant's answer to the messages.

        Each prompt is read once; its continuations are then read on top of what was kept of it. Prompts of like length share a
        batch. No end token is added: a continuation is what the answer begins with.
        """
        import torch

        with self._lock, torch.inference_mode():
            tokenizer, model = self.loaded()
            heads = [chat_text(tokenizer, question.messages, ask=True) for question in questions]
            prompts = [
                _Prompt(tokenizer(head, add_special_tokens=False)["input_ids"], [
                    ((number, place), _continued(tokenizer, head, text))
                    for place, text in enumerate(questions[number].continuations)
                ])
                for number, head in enumerate(heads)
            ]  # fmt: skip
            for batch in _batched(prompts, model):
                found: dict[int, dict[int, Likelihood]] = {}
                for (number, place), likelihood in _score(batch, tokenizer.pad_token_id, model):
                    found.setdefault(number, {})[place] = likelihood
                for number, by_place in found.items():
                    yield number, tuple(by_place[place] for place in sorted(by_place))

    def reply(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """The likeliest answer to each question."""
        for number, question in enumerate(questions):
            yield number, self._answer(question.messages, question.max_tokens)


@dataclass
class _Prompt:
    """A prompt's tokens, and its continuations as ((number of the question, place in it), tokens)."""

    ids: list[int]
    continuations: list[tuple[tuple[int, int], list[int]]]


def open_weights(trainer: AdapterTrainer, folder: Path | None, context: Context) -> LocalWeights:
    """The base (None) or what a stage has left in a folder, held in four bits where it was trained so.

    Nothing is loaded yet, but what is missing, cut short or of another base is an error now.
    """
    quiet()
    base = find_base(trainer.base, context)
    stage = None if folder is None else read_trained(folder, base)
    llm = LocalWeights(model=base.name if folder is None else f"{base.name}+{folder.parent.name}")
    llm._where = Where(base, stage, trainer.four_bit() if stage is None else stage.four_bit, trainer.chat_template)
    return llm


def _load(where: Where) -> tuple[Any, Any]:
    base, stage = where.base, where.stage
    tokenizer, _ = with_template(load_tokenizer(stage.folder if stage else base.folder), where.chat_template)
    if stage is None:
        return tokenizer, load_model(base.folder, base.name, where.four_bit).eval()
    if stage.lora is None:
        return tokenizer, load_model(stage.folder, base.name, False).eval()
    standing = Standing(base, stage.on, stage.merged)
    if stage.merged and not where.four_bit:
        model = placed(merged_model(standing))
    else:  # four bits are made as weights are read from a folder
        with standing_weights(standing, stage.folder.parent) as weights:
            model = load_model(weights, base.name, where.four_bit)
    return tokenizer, with_saved_adapter(model, stage.folder).eval()


def _end_ids(tokenizer: Any, model: Any) -> list[int]:
    named = model.generation_config.eos_token_id
    ends = named if isinstance(named, list) else [named]
    return [*dict.fromkeys(end for end in (*ends, tokenizer.eos_token_id) if end is not None)]


def _continued(tokenizer: Any, head: str, continuation: str) -> list[int]:
    """The tokens a continuation adds. Where tokens would grow together across the edge it is tokenised by itself."""
    before = tokenizer(head, add_special_tokens=False)["input_ids"]
    whole = tokenizer(head + continuation, add_special_tokens=False)["input_ids"]
    if whole[: len(before)] == before:
        return list(whole[len(before) :])
    return list(tokenizer(continuation, add_special_tokens=False)["input_ids"])


def _batched(prompts: list[_Prompt], model: Any) -> list[list[_Prompt]]:
    """Prompts in batches of like length. A model that looks at a window of tokens would count padding in: one at a time."""
    most = TOKENS_AT_ONCE[model.device.type] if not getattr(model.config, "sliding_window", None) else 0
    made: list[list[_Prompt]] = []
    for prompt in sorted(prompts, key=lambda prompt: len(prompt.ids)):
        if made and len(prompt.ids) * (len(made[-1]) + 1) <= most:
            made[-1].append(prompt)
        else:
            made.append([prompt])
    return made


def _score(prompts: list[_Prompt], pad: int, model: Any) -> list[tuple[tuple[int, int], Likelihood]]:
    """((number of the question, place), likelihood) for all continuations of a batch of prompts."""
    import torch

    sizes = torch.tensor([len(prompt.ids) for prompt in prompts], device=model.device)
    ids, seen = _padded([prompt.ids for prompt in prompts], pad, model)
    lasts = torch.unique(sizes - 1)
    read = model(input_ids=ids, attention_mask=seen, use_cache=True, logits_to_keep=lasts)
    column = torch.searchsorted(lasts, sizes - 1)
    first = read.logits[torch.arange(len(prompts), device=model.device), column].float().log_softmax(-1)

    owners = [owner for owner, prompt in enumerate(prompts) for _ in prompt.continuations]
    tails = [tail for prompt in prompts for tail in prompt.continuations]
    total = [float(first[owner, tail[0]]) if tail else 0.0 for owner, (_, tail) in zip(owners, tails, strict=True)]
    longer = [at for at, (_, tail) in enumerate(tails) if len(tail) > 1]
    if longer:
        of = torch.tensor([owners[at] for at in longer], device=model.device)
        more, more_seen = _padded([tails[at][1][:-1] for at in longer], pad, model)
        cache = read.past_key_values
        cache.reorder_cache(of)  # one copy of what was kept of the prompt for each of its continuations
        place = sizes[of, None] + torch.arange(more.shape[1], device=model.device)
        logits = model(
            input_ids=more,
            attention_mask=torch.cat((seen[of], more_seen), 1),
            position_ids=place,
            past_key_values=cache,
        ).logits
        for row, at in enumerate(longer):
            rest = torch.tensor(tails[at][1][1:], device=model.device)
            chances = logits[row, : len(rest)].float().log_softmax(-1)
            total[at] += float(chances.gather(1, rest[:, None]).sum())
    return [(place, Likelihood(total[at], len(tail))) for at, (place, tail) in enumerate(tails)]


def _padded(rows: list[list[int]], pad: int, model: Any) -> tuple[Any, Any]:
    """Token ids and attention mask [rows, longest], padded on the right."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=model.device)
    seen = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device)
    return ids, seen
