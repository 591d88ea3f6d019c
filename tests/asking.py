"""What tests of calls share: a model that asks the test server with nothing in between, an engine round it, questions."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import importlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from langmill.api import LLM, Answer, CallError, Context, Message, Price, Prompt
from langmill.calls.engine import BoundModel, Engine
from langmill.errors import RowFault
from langmill.ledger.ledger import Ledger

sys.path.append(str(Path(__file__).resolve().parent))
provider = importlib.import_module("provider")
Provider = provider.Provider


class Direct(LLM):
    """Asks the server over aiohttp with nothing in between, so that the engine alone is what is tested."""

    model: str = "test/direct"
    api_base: str = Field(description="the server's address")
    priced: bool = False

    _session: Any = PrivateAttr(None)

    @property
    def place(self) -> str:
        return self.api_base

    def price(self) -> Price:
        return Price(*provider.PRICES) if self.priced else Price(0.0, 0.0)

    async def start(self, context: Context) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def stop(self) -> None:
        await self._session.close()

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        body = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": self.max_tokens,
            "seed": seed,
        }
        try:
            async with self._session.post(f"{self.api_base}/chat/completions", json=body) as reply:
                if reply.status == 429:
                    raise CallError("rate_limit", "too many", float(reply.headers["Retry-After"]))
                if reply.status != 200:
                    raise CallError("auth" if reply.status == 401 else "server", f"status {reply.status}")
                said = await reply.json()
        except json.JSONDecodeError:
            raise CallError("server", "the body is no JSON") from None
        except aiohttp.ClientError as error:
            raise CallError("timeout", type(error).__name__) from None
        choice, usage = said["choices"][0], said.get("usage", {})
        finish = {"content_filter": "refusal"}.get(choice["finish_reason"], choice["finish_reason"])
        return Answer(
            choice["message"]["content"], finish, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        )


class Said(BaseModel):
    """What the test server answers."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1)


def prompt(text: str) -> Prompt:
    return Prompt((Message("system", "Answer."), Message("user", text)), "en/test@0")


@contextlib.asynccontextmanager
async def engine(
    home: Path, llm: LLM, *, run: str = "run", budget: float | None = None, events: list[Any] | None = None, **more: LLM
) -> AsyncIterator[Engine]:
    """An engine whose model ``llm`` is this one; ``more`` by their names."""
    context = Context("llm", 1, {}, home)
    with Ledger(home) as ledger:
        report: Callable[[Mapping[str, Any]], None] = (lambda event: None) if events is None else events.append
        async with Engine(
            {"llm": llm, **more}, ledger, run=run, budget=budget, context=context, report=report
        ) as opened:
            yield opened


async def ask(model: BoundModel, text: str, **options: Any) -> str:
    reply = await model.answer(prompt(text), Said, **{"step": "test", "language": "en", "seed": 1, **options})
    return reply.value.text


async def ask_all(model: BoundModel, texts: Sequence[str]) -> collections.Counter[str]:
    """How the rows ended: 'answered', or the reason."""

    async def one(text: str) -> str:
        try:
            assert await ask(model, text) == f"answer to {text}"
        except RowFault as fault:
            return fault.reason
        return "answered"

    return collections.Counter(await asyncio.gather(*(one(text) for text in texts)))


def together(home: Path, llm: LLM, texts: Sequence[str], **options: Any) -> collections.Counter[str]:
    async def work() -> collections.Counter[str]:
        async with engine(home, llm, **options) as opened:
            return await ask_all(opened.model("llm"), texts)

    return asyncio.run(work())


QUESTIONS = [f"question {number}" for number in range(200)]
