"""The packaged small model, served on loopback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from langmill.api import Context, Field, MissingInput, PackagedModel, packaged_model
from langmill_plugins.llms.access import Address
from langmill_plugins.llms.counting import gguf_tokens
from langmill_plugins.llms.litellm import Prices
from langmill_plugins.llms.served import Served

CONTEXT = 2048  # tokens of prompt and answer, each slot
SAMPLING = {"dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 4}
"""llama.cpp's guard against loops of words ("don't repeat yourself"): without it a model this small writes 1234567890 until it
is cut off. The plainer penalty on single tokens also hits the quotation marks of JSON, and answers come out empty."""
UNUSED = "of no use here: it may stay when a recipe swaps its provider for this one"


class Local(Served):
    """Runs a packaged model (local/smollm2-135m-instruct) on this machine's CPU: no key, no network, no cost. Small models
    show the way through; they are no source of knowledge."""

    model: str = Field(pattern=r"^local/.+", description="local/NAME of a packaged model")
    api_base: Address | None = Field(None, description=UNUSED)
    api_key_env: str | None = Field(None, description=UNUSED)
    prices: Prices | None = Field(None, description=UNUSED)

    sampling: ClassVar = SAMPLING

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

    def count(self, texts: Sequence[str]) -> list[int] | None:
        """By the tokenizer in the model's file, where that is on this machine already."""
        try:
            file = packaged_model(self.model.removeprefix("local/"), offline=True).path
        except MissingInput:
            return None
        return gguf_tokens(file, texts)

    def missing(self, context: Context) -> Iterator[str]:
        """What serves it, and its file where it may not be fetched."""
        yield from super().missing(context)
        try:
            if context.offline:
                self.file(context)
        except MissingInput as fault:
            yield str(fault)

    def file(self, context: Context) -> Path:
        """Fetched when it is not there yet."""
        return packaged_model(self.model.removeprefix("local/"), context.offline).path

    def window(self) -> int:
        """As much as small questions and answers need."""
        return CONTEXT
