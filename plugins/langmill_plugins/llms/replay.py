"""A model that is never asked: every answer must be in the ledger already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langmill.api import LLM, Answer, CallError, Field, Message


class Replay(LLM):
    """Takes the answers of another model from the ledger and sends nothing: replay/PROVIDER/MODEL. The sampling options must
    be those of the first run; a call that the ledger does not have rejects its row."""

    model: str = Field(pattern=r"^replay/[^/]+/.+", description="replay/PROVIDER/MODEL")

    def identity(self) -> dict[str, object]:
        """The identity of the model it stands for."""
        return {**super().identity(), "model": self.model.removeprefix("replay/")}

    def price(self) -> tuple[float, float]:
        """Nothing: nothing is sent."""
        return 0.0, 0.0

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """Refuse: what comes here is not in the ledger."""
        raise CallError("bad_request", "the ledger has no answer for this call, and replay sends none")
