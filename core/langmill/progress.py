"""What a run tells its person: events become lines. A terminal gets one live line a step, anything else plain lines."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any, TextIO

QUIET_SECONDS = 15.0  # between plain lines of one step when nobody watches a terminal


class Progress:
    """Writes events to a stream. Made once for a run; call it with each event."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.live = stream.isatty()
        self.began: dict[str, float] = {}
        self.told: dict[str, float] = {}
        self.open_line = False
        self.calls: Mapping[str, Any] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event; unknown ones are passed over."""
        show = getattr(self, f"_{event.get('event', '')}", None)
        if show is not None:
            show(event)

    def close(self) -> None:
        """End the live line."""
        if self.open_line:
            self.stream.write("\n")
            self.open_line = False

    def line(self, text: str) -> None:
        """One line that stays."""
        if self.open_line:
            self.stream.write("\r\x1b[2K")
            self.open_line = False
        self.stream.write(text + "\n")
        self.stream.flush()

    def _moving(self, key: str, text: str, *, last: bool = False) -> None:
        """A line that the next one of its kind overwrites; without a terminal one every QUIET_SECONDS and the last."""
        now = time.monotonic()
        self.began.setdefault(key, now)
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\x1b[2K" + text[:width])
            self.stream.flush()
            self.open_line = True
            if last:
                self.close()
        elif last or now - self.told.get(key, self.began[key]) >= QUIET_SECONDS:
            self.told[key] = now
            self.line(text)

    def _rate(self, key: str, done: int, of: int) -> str:
        passed = time.monotonic() - self.began.setdefault(key, time.monotonic())
        if passed < 1 or not done:
            return ""
        return f" · {done / passed:.1f}/s · {_seconds((of - done) * passed / done)} left"

    def _source(self, event: Mapping[str, Any]) -> None:
        self.line(f"  read {event['source']}: {event['rows']:,} rows{_kept(event['kept'])}")

    def _step(self, event: Mapping[str, Any]) -> None:
        whole = event["kept"] == event["partitions"]
        self.line(f"  {event['dataset']}: {event['step']}{_kept(whole)}")

    def _rows(self, event: Mapping[str, Any]) -> None:
        key = f"{event['dataset']}/{event['step']}"
        done, of = event["done"], event["of"]
        money = f" · ${self.calls['spent']:.4f}" if self.calls.get("spent") else ""
        flight = f" · {self.calls['in_flight']} in flight" if self.calls.get("in_flight") else ""
        text = (
            f"    {event['step']} {done:,}/{of:,} rows · {event['rejected']:,} rejected · {event['skipped']:,} skipped"
        )
        self._moving(key, text + flight + money + self._rate(key, done, of), last=done == of)

    def _calls(self, event: Mapping[str, Any]) -> None:
        self.calls = event

    def _dataset(self, event: Mapping[str, Any]) -> None:
        rows = sum(file["rows"] for file in event["files"].values())
        languages = {file["language"] for file in event["files"].values()}
        self.line(f"  {event['dataset']}: {rows:,} rows in {len(languages)} languages{_kept(event['kept'])}")

    def _stage(self, event: Mapping[str, Any]) -> None:
        self.line(f"  stage {event['stage']}{_kept(event['kept'])}")

    def _training(self, event: Mapping[str, Any]) -> None:
        key = f"stage {event['stage']}"
        step, of = event["step"], event["of"]
        loss = f" · loss {event['loss']:.3f}" if event.get("loss") is not None else ""
        speed = f" · {event['tokens_per_s']:,.0f} tokens/s" if event.get("tokens_per_s") else ""
        self._moving(key, f"    step {step}/{of}{loss}{speed}{self._rate(key, step, of)}", last=step == of)

    def _eval(self, event: Mapping[str, Any]) -> None:
        self.line(f"  score {event['model']} on {event['data']}{_kept(event['kept'])}")

    def _note(self, event: Mapping[str, Any]) -> None:
        self.line(f"  note: {event['text']}")


def _kept(kept: bool) -> str:
    return " (kept)" if kept else ""


def _seconds(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
