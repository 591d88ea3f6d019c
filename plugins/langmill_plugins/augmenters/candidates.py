"""What comes of an answer: pieces that stand or fall alone, each with what was found wrong with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langmill.api import Body, Drop, FactoryError, Mark, Reply, Row, RowFault
from langmill_plugins.augmenters.opinions import Opinion

Found = TypeVar("Found")

MUCH = 5000  # characters from which guards read beside the loop, so that no call has to wait for them
EXCERPT = 120  # characters of a faulty text that its reject shows
_QUOTED = 24  # characters of a text in a fault's detail that show it well enough
_THERE = re.compile(r"([^:;,]+) in the (?:translation|longer one|pair)\b")


@dataclass(eq=False)
class Candidate:
    """What stands or falls alone: a translation, a pair of several. ``body`` is what it would make, ``text`` all that the model wrote
    of it, ``name`` what it is called beside others of its answer. No two of one answer may have the same ``key``."""

    body: Body
    text: str
    name: str = ""
    key: str = ""
    faults: list[Drop] = field(default_factory=list)
    mendable: bool = True
    marks: tuple[Mark, ...] = ()
    repaired: bool = False

    def take(self, opinion: Opinion) -> None:
        """Put down what was found, and the calls that it took."""
        self.faults += opinion.faults
        self.marks += opinion.marks
        self.mendable = self.mendable and opinion.mendable

    def child(self, row: Row, name: str, *, language: str | None = None) -> Row:
        """The row it makes, with the marks of all calls that it owes itself to, flagged when it mends another one. Raises RowFault,
        with all that was found and an excerpt of the text, when something was."""
        Reply[Any](self.body, self.marks, self._shown()).sound()
        made = row.child(name, self.body, language=language, marks=self.marks)
        return made.flagged("repaired") if self.repaired else made

    def _shown(self) -> tuple[Drop, ...]:
        """The faults; the last one's detail ends with an excerpt where none quotes the text."""
        if not self.faults:
            return ()
        part = getattr(self.body, self.faults[0].detail.partition(":")[0], None)
        text = " ".join((part if isinstance(part, str) else self.text).split())
        told = "; ".join(fault.detail for fault in self.faults)
        width = min(_QUOTED, len(text))
        if any(told[at : at + width] in text for at in range(len(told) - width + 1)):
            return tuple(self.faults)
        there = _THERE.search(told)
        start = max(0, text.lower().find(there[1].strip().lower()) - EXCERPT // 2) if there else 0
        excerpt = f"{'…' * (start > 0)}{text[start : start + EXCERPT]}{'…' * (start + EXCERPT < len(text))}"
        *first, last = self.faults
        return *first, last._replace(detail=f"{last.detail}; written: '{excerpt}'")


class GuardFailed(RowFault):
    """A guard met what it was not made for."""

    def __init__(self, error: Exception):
        super().__init__("guard_failed", f"{type(error).__name__}: {error}")

    def opinion(self) -> Opinion:
        """A fault that no repair would mend."""
        return Opinion([Drop(self.reason, self.detail)], mendable=False)


async def read_by_guards(characters: int, look: Callable[[], Found]) -> Found:
    """What guards find in so many characters. Raises GuardFailed for anything that no guard should raise: it costs a row, not a
    run."""
    try:
        return await asyncio.to_thread(look) if characters > MUCH else look()
    except FactoryError:
        raise
    except Exception as error:
        raise GuardFailed(error) from error


def settled(looks: Sequence[Sequence[Candidate]], marks: tuple[Mark, ...]) -> Sequence[Candidate]:
    """What is left of an answer and, if there is one, the answer that mends it. ``marks`` are those of their calls.

    What was sound in the first answer stays as it was, whatever became of it in the other one; what was not is replaced, and only
    what differs from the first answer was repaired."""
    first, *mended = looks
    own = marks[:-1] if mended else marks
    for candidate in first:
        candidate.marks = own + candidate.marks
    if not mended:
        return first
    [second] = mended
    before = {candidate.text for candidate in first}
    for candidate in second:
        candidate.repaired = candidate.text not in before
        candidate.marks = (marks if candidate.repaired else own) + candidate.marks
    sound = {place for place, candidate in enumerate(first) if not candidate.faults}
    kept = {first[place].key for place in sound}
    new = [(place in sound, candidate) for place, candidate in enumerate(second) if candidate.key not in kept]
    # A sound one in other words is of no use beside itself: those in its place come last.
    rest = [candidate for _, candidate in sorted(new, key=lambda each: each[0])]
    rest = rest[: max(len(first), len(second)) - len(sound)]
    done = [candidate if place in sound or not rest else rest.pop(0) for place, candidate in enumerate(first)]
    return [*done, *rest]
