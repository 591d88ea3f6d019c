"""A base model or a trained stage that answers, and that says how likely a text is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import PrivateAttr

from langmill.api import LLM, Answer, Context, Field, Likelihood, Message, Price, Question
from langmill_plugins.trainers.options import AdapterTrainer
from langmill_plugins.trainers.tokens.templates import with_template
from langmill_plugins.trainers.weights.adapters import load_model, placed, with_saved_adapter
from langmill_plugins.trainers.weights.base_model import Base, find_base, load_tokenizer, quiet
from langmill_plugins.trainers.weights.reading import Reader
from langmill_plugins.trainers.weights.scoring import scored
from langmill_plugins.trainers.weights.standing import Standing, merged_model, standing_weights
from langmill_plugins.trainers.weights.trained import Trained, read_trained
from langmill_plugins.trainers.weights.writing import written

ONE_AT_A_TIME = threading.Lock()
"""Held while a model is loaded, and while one answers a call of its own."""


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

    def reader(self) -> Reader:
        """Tokenizer and model, ready to read."""
        with ONE_AT_A_TIME:
            return Reader(*self.loaded())

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """The likeliest answer, token by token."""
        question = Question("", "", "", tuple(messages))
        return await asyncio.to_thread(self._answer, question)

    def _answer(self, question: Question) -> Answer:
        reader = self.reader()
        with ONE_AT_A_TIME:
            ((_, answer),) = written(reader, [question], self.model, self.max_tokens)
        return answer

    @property
    def here(self) -> bool:
        """They are in this process."""
        return True

    def price(self) -> Price:
        """Nothing."""
        return Price(0.0, 0.0)

    def score(self, questions: Sequence[Question]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Log-probability of each continuation as the beginning of the assistant's answer to the messages, or of a text by itself;
        see :mod:`langmill_plugins.trainers.weights.scoring`."""
        return scored(self.reader(), questions, self.model)

    def reply(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """The likeliest answer to each question; see :mod:`langmill_plugins.trainers.weights.writing`."""
        return written(self.reader(), questions, self.model, self.max_tokens)


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
    said = (
        stage.folder if stage and any(stage.folder.glob("tokenizer*")) else base.folder
    )  # an adapter may come without
    tokenizer, _ = with_template(load_tokenizer(said), where.chat_template)
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
