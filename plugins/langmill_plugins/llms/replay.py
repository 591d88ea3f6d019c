"""A model that is never asked: every answer must be in the ledger already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import field_validator

from langmill.api import LLM, Answer, Context, Field, Message, MissingInput, Price
from langmill_plugins.llms.litellm import LiteLLM
from langmill_plugins.llms.local import Local


class Replay(LiteLLM):
    """Takes the answers of another model from the ledger and sends nothing: replay/PROVIDER/MODEL. All options may stay as they
    are; those of sampling must. Rows come out as in the first run, byte for byte; a call that the ledger does not have ends
    the run."""

    model: str = Field(pattern=r"^replay/[^/]+/.+", description="replay/PROVIDER/MODEL")

    @field_validator("batch")
    @classmethod
    def _nothing_is_sent(cls, _: bool) -> bool:
        return False

    @property
    def _original(self) -> LLM:
        options = self.model_dump(include={"temperature", "max_tokens", "revision"})
        name = self.model.removeprefix("replay/")
        return Local(model=name, **options) if name.startswith("local/") else LiteLLM(model=name, **options)

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages of the model it stands for."""
        return self._original.languages

    @property
    def demonstration(self) -> bool:
        """Whether the model it stands for is fit to show the way only."""
        return self._original.demonstration

    def identity(self) -> dict[str, object]:
        """The identity of the model it stands for."""
        return self._original.identity()

    @property
    def place(self) -> None:
        """None: nothing is asked anywhere."""
        return None

    def price(self) -> Price:
        """Nothing: nothing is sent."""
        return Price(0.0, 0.0)

    def count(self, texts: Sequence[str]) -> list[int] | None:
        """As the model it stands for counts them."""
        return self._original.count(texts)

    def missing(self, context: Context) -> Iterator[str]:
        """Nothing: nobody is asked."""
        return iter(())

    async def start(self, context: Context) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """Refuse: what comes here is not in the ledger. Raises MissingInput, over which no fallback takes."""
        raise MissingInput(
            f"{self.model}: the ledger has no answer for this call, and replay sends none. To ask the model itself: "
            f"--set llm.model={self.model.removeprefix('replay/')}"
        )
