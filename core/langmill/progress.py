"""What a run tells its person: events become lines. A terminal gets one live line a step, anything else plain lines.

A trainer tells ``{event: step, step, of, loss}`` and, where it knows them, ``tokens_per_s`` and ``eta_s``; ``{event: validation,
step, loss}``; ``{event: note, text}``. The loss that is shown of a step is smoothed: batches differ more than the model does.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TextIO

from langmill.parts.evaluation import ALL, Score
from langmill.parts.training import Smoothed
from langmill.report.scores import figure
from langmill.report.summary import left_words

QUIET_SECONDS = 15.0  # between plain lines of one step when nobody watches a terminal
LIVE_SECONDS = 0.1  # between two states of a live line
WINDOW_SECONDS = 30.0  # that rates are taken over
SAMPLE_SECONDS = 0.5  # between two samples of a window


class _Sample(NamedTuple):
    """How far things were at a time: rows or steps done, calls answered and calls that the ledger had, tokens answered."""

    time: float
    done: int
    answered: int
    cached: int
    tokens: int


class Progress:
    """Writes events to a stream. Made once for a run; call it with each event. ``clock`` gives seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic):
        self.stream, self.clock = stream, clock
        self.live = stream.isatty()
        self.told: dict[str, float] = {}
        self.windows: dict[str, deque[_Sample]] = {}
        self.open_line = False
        self.calls: Mapping[str, Any] = {}
        self.losses: dict[str, Smoothed] = {}

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

    def _moving(self, key: str, done: int, of: int, text: Callable[[], str]) -> None:
        """A line that the next one of its kind overwrites; without a terminal one every QUIET_SECONDS and the last. Most calls
        come too soon after the last one to show anything: ``text`` is not made then."""
        now = self.clock()
        window = self.windows.setdefault(key, deque())
        if not window or now - window[-1].time >= SAMPLE_SECONDS:
            calls = self.calls
            seen = (calls.get("answered", 0), calls.get("cached", 0), calls.get("answer_tokens", 0))
            window.append(_Sample(now, done, *seen))
            while len(window) > 2 and window[1].time <= now - WINDOW_SECONDS:
                window.popleft()
        told = self.told.setdefault(key, now - LIVE_SECONDS if self.live else now)
        if done < of and now - told < (LIVE_SECONDS if self.live else QUIET_SECONDS):
            return
        self.told[key] = now
        if not self.live:
            self.line(text())
            return
        self.stream.write("\r\x1b[2K" + text()[: shutil.get_terminal_size().columns - 1])
        self.stream.flush()
        self.open_line = True
        if done == of:
            self.close()

    def _rates(self, key: str, done: int, of: int, unit: str) -> str:
        """Rows a second, tokens a second and the time that is left, by what went on lately. Rows whose answers the ledger had
        come at once and say nothing about the others: the share of calls that were really asked counts."""
        first = self.windows[key][0]
        passed = self.clock() - first.time
        if passed < 1:
            return ""
        answered = self.calls.get("answered", 0) - first.answered
        cached = self.calls.get("cached", 0) - first.cached
        tokens = (self.calls.get("answer_tokens", 0) - first.tokens) / passed
        rows = (done - first.done) / passed
        if cached and (answered or self.calls.get("in_flight")):
            rows *= answered / (answered + cached)
        if not rows:
            return ""
        said = f" · {rows:,.1f} {unit}/s" + (f" · {tokens:,.0f} tokens/s" if tokens > 0 else "")
        return said + (f" · {_seconds((of - done) / rows)} left" if done < of else "")

    def _source(self, event: Mapping[str, Any]) -> None:
        self.line(f"  read {event['source']}: {event['rows']:,} rows{_kept(event['kept'])}")

    def _step(self, event: Mapping[str, Any]) -> None:
        whole = event["kept"] == event["partitions"]
        self.line(f"  {event['dataset']}: {event['step']}{_kept(whole)}")

    def _rows(self, event: Mapping[str, Any]) -> None:
        key, done, of = f"{event['dataset']}/{event['step']}", event["done"], event["of"]

        def text() -> str:
            money = f" · ${self.calls['spent']:.4f}" if self.calls.get("spent") else ""
            flight = f" · {self.calls['in_flight']} in flight" if self.calls.get("in_flight") else ""
            counts = f"{event['rejected']:,} rejected · {event['skipped']:,} skipped{flight}"
            rates = self._rates(key, done, of, "rows")
            return f"    {event['step']} {done:,}/{of:,} rows · {counts}{money}{rates}"

        self._moving(key, done, of, text)

    def _calls(self, event: Mapping[str, Any]) -> None:
        self.calls = event

    def _left(self, event: Mapping[str, Any]) -> None:
        self.line(f"  {left_words(event)}")

    def _dataset(self, event: Mapping[str, Any]) -> None:
        rows = sum(file["rows"] for file in event["files"].values())
        languages = {file["language"] for file in event["files"].values()}
        self.line(f"  {event['dataset']}: {rows:,} rows in {len(languages)} languages{_kept(event['kept'])}")

    def _stage(self, event: Mapping[str, Any]) -> None:
        self.line(f"  stage {event['stage']}{_kept(event['kept'])}")

    def _training(self, event: Mapping[str, Any]) -> None:
        stage, step, of = event["stage"], event["step"], event["of"]
        key = f"stage {stage}"
        if event.get("loss") is not None:
            self.losses.setdefault(key, Smoothed()).add(event["loss"])

        def text() -> str:
            loss = f" · loss {self.losses[key].value:.3f}" if key in self.losses else ""
            if event.get("tokens_per_s"):
                pace = f" · {event['tokens_per_s']:,.0f} tokens/s"
                if event.get("eta_s") is not None and step < of:
                    pace += f" · {_seconds(event['eta_s'])} left"
            else:
                pace = self._rates(key, step, of, "steps")
            return f"    {stage} step {step:,}/{of:,}{loss}{pace}"

        self._moving(key, step, of, text)

    def _validation(self, event: Mapping[str, Any]) -> None:
        when = "before the first step" if event["step"] == 0 else f"after step {event['step']:,}"
        self.line(f"    {event['stage']} validation loss {when}: {event['loss']:.3f}")

    def _eval(self, event: Mapping[str, Any]) -> None:
        self.calls = {}  # what was counted before is of another model
        self.line(f"  score {event['model']} on {event['name']}{_kept(event['kept'])}")

    def _examining(self, event: Mapping[str, Any]) -> None:
        key, done, of = f"{event['name']} {event['model']}", event["done"], event["of"]

        def text() -> str:
            flight = f" · {self.calls['in_flight']} in flight" if self.calls.get("in_flight") else ""
            money = f" · ${self.calls['spent']:.4f}" if self.calls.get("spent") else ""
            return f"    {key} {done:,}/{of:,} questions{flight}{money}{self._rates(key, done, of, 'questions')}"

        self._moving(key, done, of, text)

    def _scored(self, event: Mapping[str, Any]) -> None:
        over = [score for score in map(Score.of, event["scores"]) if score.language == ALL]
        said = [
            f"{score.metric} {figure(score.value)}"
            if score.correct is None
            else f"{score.metric} {100 * score.value:.1f} %"
            for score in over
        ]
        lost = max((score.unreadable for score in over), default=0)
        unread = [f"{lost:,} answers could not be read"] if lost else []
        self.line(f"    {event['name']} {event['model']}, over all languages: {', '.join([*said, *unread])}")

    def _note(self, event: Mapping[str, Any]) -> None:
        self.line(f"  note: {event['text']}")


def _kept(kept: bool) -> str:
    return " (kept)" if kept else ""


def _seconds(seconds: float) -> str:
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
