"""Answers read out of hand-written replies: ours beside two readers as they are met in the field."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.section import ROOT, Section
from langmill.api import Choice, Pack, packs_in
from langmill.yaml12 import load_file
from langmill_plugins.replies.reading import VERSION, read_choice

GOLDEN = ROOT / "tests" / "golden" / "replies"
BATCHES = {
    "replies": "while it was built", "held_out": "held out", "later": "held out, hard", "last": "held out, last",
    "fresh": "held out, by another hand", "beside_fresh": "like those misread of these",
}  # fmt: skip
"""The lists in each file of the set, in the order in which they were written; each but the first before it was read at all."""
LETTERS = "ABCDEFGHIJ"
LEAST_RIGHT = 0.98

Answers = tuple[int, ...] | None
Reader = Callable[[str, Choice, Pack, Pack], Answers]


class Written(NamedTuple):
    """A reply, what it was said to, and what it says."""

    code: str
    batch: str
    body: Choice
    says: str
    right: Answers


def replies(quick: bool, work: Path, data: Path) -> Section:
    """Share read rightly over all and by language, replies without an answer that were given one, and the time it takes. The set
    lies in the tests and is the same however quick it has to be."""
    section = Section("replies")
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    some = list(_written())
    readers: dict[str, Reader] = {"langmill": _ours, "first capital": _first_capital, "cascade, else B": _cascade}
    figures: dict[str, Any] = {
        "replies": len(some),
        "without": sum(one.right is None for one in some),
        "version": VERSION,
    }
    seconds = _seconds(some, packs)
    for name, reader in readers.items():
        read = [reader(one.says, one.body, packs[one.code], packs["en"]) for one in some]
        figures[name] = {
            "right": _share(some, read),
            "credited": sum(one.right is None and found is not None for one, found in zip(some, read, strict=True)),
            "wrong": sum(
                one.right is not None and found is not None and found != one.right
                for one, found in zip(some, read, strict=True)
            ),
            "by_language": {code: _share(some, read, code=code) for code in _codes(some)},
            "by_batch": {batch: _share(some, read, batch=batch) for batch in BATCHES},
        }
    _tables(section, figures, some)
    own = figures["langmill"]
    section.goal("replies read rightly", own["right"], ">=", LEAST_RIGHT)
    section.goal("replies read rightly, in the worst language", min(own["by_language"].values()), ">=", LEAST_RIGHT)
    section.goal("replies without an answer that were given one", own["credited"], "==", 0)
    section.goal("milliseconds a reply", 1000 * seconds / len(some), "<=", 20.0)
    section.figures = {**figures, "milliseconds": 1000 * seconds / len(some)}
    return section


def _tables(section: Section, figures: dict[str, Any], some: list[Written]) -> None:
    codes = _codes(some)
    names = [name for name in figures if isinstance(figures[name], dict)]
    section.lines.append(f"{len(some)} replies, {figures['without']} of them without an answer; share read rightly")
    section.table(
        ("reader", "all", *codes, "given one without", "another one"),
        [
            (
                name,
                figures[name]["right"],
                *(figures[name]["by_language"][code] for code in codes),
                figures[name]["credited"],
                figures[name]["wrong"],
            )
            for name in names
        ],
    )
    section.lines.append("")
    counts = {batch: sum(one.batch == batch for one in some) for batch in BATCHES}
    section.table(
        ("written", "replies", *names),
        [
            (said, counts[batch], *(figures[name]["by_batch"][batch] for name in names))
            for batch, said in BATCHES.items()
        ],
    )


def _written() -> Iterator[Written]:
    for path in sorted(GOLDEN.glob("*.yaml")):
        document: dict[str, Any] = load_file(path).data
        for batch in BATCHES:
            for item, says, letters in document[batch]:
                facts = document["items"][item]
                body = Choice("?", tuple(facts["options"]), (0, 1) if facts.get("several") else (0,))
                right = None if letters is None else tuple(LETTERS.index(letter) for letter in letters)
                yield Written(path.stem, batch, body, says, right)


def _codes(some: list[Written]) -> list[str]:
    return list(dict.fromkeys(one.code for one in some))


def _share(some: list[Written], read: list[Answers], code: str = "", batch: str = "") -> float:
    chosen = [
        one.right == found
        for one, found in zip(some, read, strict=True)
        if one.code == (code or one.code) and one.batch == (batch or one.batch)
    ]
    return sum(chosen) / len(chosen)


def _seconds(some: list[Written], packs: dict[str, Pack]) -> float:
    """Processor seconds to read them all, patterns compiled before."""
    for one in some:
        _ours(one.says, one.body, packs[one.code], packs["en"])
    began = time.process_time()
    for one in some:
        _ours(one.says, one.body, packs[one.code], packs["en"])
    return time.process_time() - began


# --- readers ---


def _ours(says: str, body: Choice, pack: Pack, english: Pack) -> Answers:
    return read_choice(says, body, pack, (english,)).answers


def _first_capital(says: str, body: Choice, pack: Pack, english: Pack) -> Answers:
    """The first capital letter from A to E."""
    found = re.search(r"[A-E]", says)
    return (LETTERS.index(found.group()),) if found else None


def _cascade(says: str, body: Choice, pack: Pack, english: Pack) -> Answers:
    """As the evaluation of HuatuoGPT-II is described: a phrase that states the answer, else an option's words, else the first run of
    letters in order; what can not be read counts as B, and where one answer is right the first letter alone."""
    several = len(body.answers) > 1
    stated = re.search(r"(?:answer is|答案[是为：:]|answer[:：])\s*([A-E]+)", says, re.IGNORECASE)
    if stated:
        letters = stated.group(1).upper()
    elif words := [place for place, option in enumerate(body.options) if option in says]:
        letters = "".join(LETTERS[place] for place in words)
    else:
        runs = [run for run in re.findall(r"[A-E]+", says) if list(run) == sorted(run)]
        letters = runs[0] if runs else "B"
    places = tuple(sorted({LETTERS.index(letter) for letter in letters}))
    return places if several else (LETTERS.index(letters[0]),)
