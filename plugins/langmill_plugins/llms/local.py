"""The packaged small model, served on loopback by llama.cpp for as long as the run needs it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, PrivateAttr, field_validator

from langmill.api import (
    LLM,
    Answer,
    CallError,
    Context,
    Field,
    Message,
    MissingInput,
    PackagedModel,
    Price,
    ProviderDown,
    missing_package,
    packaged_model,
)
from langmill_plugins.llms.access import Address
from langmill_plugins.llms.counting import gguf_tokens
from langmill_plugins.llms.errors import NO_KEY
from langmill_plugins.llms.litellm import Prices
from langmill_plugins.llms.openai_wire import Wire

SLOTS = 4  # more do not raise the tokens a second on two cores
CONTEXT = 2048  # tokens of prompt and answer, each slot
SAMPLING = {"dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 4}
"""llama.cpp's guard against loops of words ("don't repeat yourself"): without it a model this small writes 1234567890 until it
is cut off. The plainer penalty on single tokens also hits the quotation marks of JSON, and answers come out empty."""
UNUSED = "of no use here: it may stay when a recipe swaps its provider for this one"


class Local(LLM):
    """Runs a packaged model (local/smollm2-135m-instruct) on this machine's CPU: no key, no network, no cost. Small models
    show the way through; they are no source of knowledge."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may hold a key

    model: str = Field(pattern=r"^local/.+", description="local/NAME of a packaged model")
    concurrency: int = Field(8, ge=1, description="most calls in flight at once")
    timeout: float = Field(300.0, gt=0, description="seconds until a call counts as lost")
    api_base: Address | None = Field(None, description=UNUSED)
    api_key_env: str | None = Field(None, description=UNUSED)
    prices: Prices | None = Field(None, description=UNUSED)

    _server: asyncio.subprocess.Process | None = PrivateAttr(None)
    _wire: Wire | None = PrivateAttr(None)

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        try:
            packaged_model(model.removeprefix("local/"))
        except MissingInput as error:
            raise ValueError(str(error)) from None
        return model

    @property
    def packaged(self) -> PackagedModel:
        """What is known of the model."""
        return packaged_model(self.model.removeprefix("local/"))

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages the packaged model writes."""
        return self.packaged.languages

    @property
    def demonstration(self) -> bool:
        """Whether the packaged model is fit to show the way only."""
        return self.packaged.demonstration

    def identity(self) -> dict[str, object]:
        """A local file counts by its content."""
        return {**super().identity(), "sha256": self.packaged.sha256, **SAMPLING}

    def price(self) -> Price:
        """Nothing."""
        return Price(0.0, 0.0)

    def count(self, texts: Sequence[str]) -> list[int] | None:
        """By the tokenizer in the model's file, where that is on this machine already."""
        try:
            file = packaged_model(self.model.removeprefix("local/"), offline=True).path
        except MissingInput:
            return None
        return gguf_tokens(file, texts)

    async def start(self, context: Context) -> None:
        """Start the server and wait until it listens. Raises ProviderDown when it does not."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise missing_package(self.model, "xllamacpp", "local")
        name = self.model.removeprefix("local/")
        file = packaged_model(name, context.offline).path
        # One core is left free: llama.cpp's threads wait for one another by spinning, and on a busy machine that costs seconds
        # a token.
        numbers = [str(number) for number in (SLOTS, max(1, (os.cpu_count() or 1) - 1), CONTEXT)]
        self._server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "langmill_plugins.llms.local_server", str(file), *numbers,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert self._server.stdout is not None
        try:
            async with asyncio.timeout(120):
                while not (line := await self._server.stdout.readline()).startswith(b"ready"):
                    if not line:
                        raise ProviderDown(f"{self.model}: its server ended before it listened. Try: factory doctor")
        except TimeoutError:
            raise ProviderDown(f"{self.model}: its server did not listen within 120 s") from None
        fields = {
            "model": name,
            "temperature": self.temperature,
            "max_tokens": min(self.max_tokens, CONTEXT // 2),
            **SAMPLING,
            "seed": True,
        }
        self._wire = Wire(f"{line.split()[1].decode()}/v1", fields, key=NO_KEY)
        await self._wire.open()

    async def stop(self) -> None:
        """End the server."""
        if self._wire is not None:
            await self._wire.close()
        if self._server is not None:
            if self._server.returncode is None:
                self._server.kill()
            await self._server.wait()
        self._server = self._wire = None

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """One call, its JSON held to the schema by the server's own grammar. Raises ProviderDown when the server has ended."""
        assert self._wire is not None
        assert self._server is not None
        try:
            return await self._wire.answer(messages, seed, schema)
        except CallError as error:
            if error.kind in ("server", "timeout"):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):  # an end is heard of a moment after the connection is lost
                        code = await self._server.wait()
                        raise ProviderDown(
                            f"{self.model}: its server ended (exit code {code}), as it does when memory runs out. "
                            "Run the same again, with a lower concurrency: if that helps"
                        ) from None
            raise
