"""A model file that llama.cpp serves on loopback for as long as the run needs it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, PrivateAttr

from langmill.api import LLM, Answer, CallError, Context, Field, Message, Price, ProviderDown, missing_package
from langmill_plugins.llms.errors import NO_KEY
from langmill_plugins.llms.openai_wire import Wire

SLOTS = 4  # more do not raise the tokens a second on two cores


class Served(LLM):
    """Runs a GGUF file on this machine's CPU: no key, no network, no cost."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may hold a key

    concurrency: int = Field(8, ge=1, description="most calls in flight at once")
    timeout: float = Field(300.0, gt=0, description="seconds until a call counts as lost")

    sampling: ClassVar[Mapping[str, Any]] = {}
    """What every call is sent besides its messages, temperature and bounds."""
    _server: asyncio.subprocess.Process | None = PrivateAttr(None)
    _wire: Wire | None = PrivateAttr(None)

    @abstractmethod
    def file(self, context: Context) -> Path:
        """The model's file. Raises MissingInput."""

    @abstractmethod
    def window(self) -> int:
        """Tokens of prompt and answer together, each slot."""

    def price(self) -> Price:
        """Nothing."""
        return Price(0.0, 0.0)

    def missing(self, context: Context) -> Iterator[str]:
        """What serves it."""
        if importlib.util.find_spec("xllamacpp") is None:
            yield str(missing_package(self.model, "xllamacpp", "local"))

    async def start(self, context: Context) -> None:
        """Start the server and wait until it listens. Raises ProviderDown when it does not."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise missing_package(self.model, "xllamacpp", "local")
        file, window = self.file(context), self.window()
        # One core is left free: llama.cpp's threads wait for one another by spinning, and on a busy machine that costs seconds
        # a token.
        numbers = [str(number) for number in (SLOTS, max(1, (os.cpu_count() or 1) - 1), window)]
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
            "model": file.stem,
            "temperature": self.temperature,
            "max_tokens": min(self.max_tokens, window // 2),
            **self.sampling,
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
