"""One batch and its provider: handing it in, finding it again, waiting until it is done. Nothing here knows the ledger."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from langmill.api import LLM, Answer, BatchItem, CallError, Unlisted
from langmill.calls.limits import Limiter
from langmill.errors import ProviderDown

TRIES = 5  # times that a batch is handed in, or looked for, while the provider's servers fail
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between them, doubling
FIRST_LOOK, LONGEST_LOOK = 5.0, 60.0  # seconds between two looks at a batch, growing
ARRIVING = 30.0  # seconds in which a batch may still show that was on its way when its reply, or its process, was lost
GIVEN_UP = 30 * 86400.0  # seconds after which a batch that the provider does not show is gone: none keeps them longer


class Refused(Exception):
    """The batch brings no answers. ``kind`` as in CallError, or "lost"; ``paid``: it may have been billed."""

    def __init__(self, kind: str, words: str, *, paid: bool):
        self.kind, self.paid = kind, paid
        super().__init__(words)


@dataclass(frozen=True)
class Delivery:
    """The way of one model's batches. ``note`` tells a person; pauses end with the limiter's error when it is closed."""

    llm: LLM
    limiter: Limiter
    note: Callable[[str], None]

    async def submit(self, items: Sequence[BatchItem], mark: str) -> str:
        """Hand in, again where it did not arrive; the provider's name for it. Raises Refused, ProviderDown."""
        for tries in range(1, TRIES + 1):
            try:
                return await self.llm.submit(items, mark)
            except CallError as error:
                trouble = error
            if trouble.kind in ("server", "timeout"):  # the reply may have been lost, and the batch not
                try:
                    if found := await self._shown(mark, ARRIVING):
                        return found
                except Unlisted:
                    raise Refused(trouble.kind, str(trouble), paid=True) from None
            elif trouble.kind != "rate_limit":
                break
            if tries < TRIES:
                pause = trouble.retry_after or min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries)
                await self.limiter.sleep(pause * random.uniform(1.0, 1.3))
        raise Refused(trouble.kind, str(trouble), paid=False)

    async def arrived(self, mark: str, started: float) -> str:
        """The name of a batch whose process ended while handing it in, at ``started`` (seconds since 1970). Raises Refused
        when it never came, or when nobody can say."""
        try:
            name = await self._shown(mark, started + ARRIVING - time.time())
        except Unlisted:
            raise Refused("lost", "whether it arrived can not be told", paid=True) from None
        if name is None:
            raise Refused("lost", "it never arrived", paid=False)
        return name

    async def wait(self, name: str, calls: int, started: float) -> Mapping[str, Answer | CallError]:
        """Look again and again until it is done. Raises Refused when it was refused as a whole, ProviderDown."""
        hours, pause, state, troubled = (time.time() - started) / 3600, FIRST_LOOK, "", False
        if hours > 0.1:
            self.note(f"waiting for the batch of {calls:,} calls that was handed in {hours:.1f} h ago ({name})")
        while True:
            try:
                found = await self.llm.collect(name)
                if not isinstance(found, str):
                    return found
                if found != state:
                    self.note(f"the batch {name} is now {found}")
                state, troubled = found, False
            except CallError as error:
                if error.kind == "bad_request":
                    raise Refused(error.kind, f"the batch {name} was refused: {error}", paid=False) from None
                if error.kind == "auth" and time.time() - started > GIVEN_UP:
                    raise Refused("lost", f"the batch {name} is gone: {error}", paid=True) from None
                if error.kind in ("auth", "quota"):
                    self._down(f"the batch {name} can not be looked at: {error}")
                if not troubled:
                    self.note(f"the batch {name} could not be looked at, which is tried again: {error}")
                troubled = True
            await self.limiter.sleep(pause)
            pause = min(LONGEST_LOOK, pause * 1.3)

    async def _shown(self, mark: str, seconds: float) -> str | None:
        """The name of a batch as soon as the provider shows it; None when it does not show it within so many seconds."""
        end, pause = time.monotonic() + min(seconds, ARRIVING), FIRST_LOOK / 5
        while (name := await self._find(mark)) is None and (left := end - time.monotonic()) > 0:
            await self.limiter.sleep(min(pause, left))
            pause *= 1.3
        return name

    async def _find(self, mark: str) -> str | None:
        """Raises Unlisted where the provider can not be asked for a mark."""
        for tries in range(1, TRIES + 1):
            try:
                return await self.llm.find_batch(mark)
            except CallError as error:
                trouble = error
            if trouble.kind not in ("server", "timeout", "rate_limit"):
                break
            await self.limiter.sleep(trouble.retry_after or FIRST_PAUSE * 2**tries)
        self._down(f"a batch may be on its way, and can not be looked for: {trouble}")

    def _down(self, words: str) -> NoReturn:
        raise ProviderDown(
            f"{self.llm.model}: {words}. It stays in the ledger; run the same again to continue"
        ) from None
