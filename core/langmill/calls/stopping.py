"""Ctrl-C while models are asked."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from langmill.calls.account import Report
from langmill.calls.engine import Engine


@contextmanager
def draining(engine: Engine, report: Report) -> Iterator[None]:
    """While a model is asked, in a running loop. First Ctrl-C: no new calls, those in flight are waited for. Second: stop at once;
    the ledger is whole either way. Outside of it the first one stops at once: what was finished is kept."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def first() -> None:
        report({"event": "note", "text": "stopping: calls in flight are finished and kept; Ctrl-C again stops at once"})
        engine.drain()
        if task is not None:
            loop.add_signal_handler(signal.SIGINT, task.cancel)

    loop.add_signal_handler(signal.SIGINT, first)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)  # back to KeyboardInterrupt
