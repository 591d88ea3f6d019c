"""Planted faults: how many of each kind the guards catch, language by language."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from bench import guard_words as words
from bench.guard_check import check, guard_of
from bench.guard_faults import KINDS, Fault, plant
from bench.guard_pairs import Pair, pairs
from bench.guard_whole import WHOLE
from bench.section import Section, say

MANY, QUICK = 500, 100
DIGITS, WORDS, UNITS, NEGATION, TEXTS = 0.99, 0.90, 0.98, 0.90, 0.97
LEAST = {
    "digit changed": DIGITS, "digits dropped": DIGITS, "number added": DIGITS, "word changed": WORDS, "word dropped": WORDS,
    "decimal moved": UNITS, "thousands": UNITS, "unit changed": UNITS, "unit dropped": UNITS, "percent dropped": UNITS,
    "negation dropped": NEGATION, "negation added": NEGATION, "wrong language": TEXTS, "chatter before": TEXTS,
    "chatter after": TEXTS, "English before": TEXTS, "English after": TEXTS, "option count": 1.0,
}  # fmt: skip
"""Least share caught; the other kinds are told without a bound."""
NUMERALS = ("zh", "ja")
"""Languages whose written numbers are numerals, and held to the bound of digits."""
SETS: dict[str, tuple[tuple[str, bool], ...]] = {
    "en": (("headqa-es-en", False), ("casimedicos-es-en", False), ("igakuqa-ja-en", False)),
    "es": (("tico-en-es", False), ("headqa-en-es", False)),
    "fr": (("tico-en-fr", False), ("casimedicos-en-fr", False), ("casimedicos-es-fr", False)),
    "ru": (("tico-en-ru", False),), "ar": (("tico-en-ar", False),), "zh": (("tico-en-zh", False),),
    "ja": (("igakuqa-ja-en", True),), "ko": (("covid19-en-ko", False),),
}  # fmt: skip
"""Real translations into each language; True: turned round."""
ANYWHERE = ("sentence left", "halved", "looped", "chatter before", "chatter after", "English before", "English after")
"""Kinds that a row beside its own copy says nothing about."""


@lru_cache(maxsize=8)
def translations(language: str, data: Path) -> list[Pair]:
    """Real pairs into a language."""
    return [pair.turned() if turn else pair for name, turn in SETS[language] for pair in pairs(name, data)]


@lru_cache(maxsize=1 << 16)
def sound(pair: Pair) -> bool:
    """Whether a pair raises no alarm as it is: only then is an alarm the fault's."""
    return not check(pair)


def planted_in(kind: str, language: str, most: int, data: Path) -> Iterator[Fault]:
    """Faults of a kind in sound pairs, ``most`` or as many as there are. Where translations have too few places, rows beside
    their own copies have the rest."""
    made = 0
    for fault in _faults(kind, language, data):
        if sound(fault.sound):
            yield fault
            made += 1
            if made == most:
                return


def _faults(kind: str, language: str, data: Path) -> Iterator[Fault]:
    some = translations(language, data)
    if plan := WHOLE.get(kind):
        chance = random.Random(f"17 {kind} {language}")
        if kind.startswith("option"):
            some = some + pairs(f"copies-{language}", data)[: 2 * MANY]
        yield from plan(
            sorted(some, key=lambda pair: (pair.source_language == language, chance.random())), chance, data
        )
        return
    yield from plant(kind, some)
    if kind not in ANYWHERE:
        copies = pairs(f"copies-{language}", data)
        yield from plant(kind, copies)
        if kind.startswith("word") and language in words.SPELLED:
            yield from plant(kind, [spelled(pair) for pair in copies])


def spelled(pair: Pair) -> Pair:
    """A row beside its own copy, with single digits written out where the language counts with words."""
    language = pair.target_language
    table = words.NUMBERS[language]

    def written(text: str) -> str:
        return re.sub(rf"(?<![\d.,:/A-Za-z-])([2-9]) ?(?={words.SPELLED[language]})", said, text)

    def said(digit: re.Match[str]) -> str:
        return table[int(digit[1])].split("|")[0] + (" " if language == "ko" else "")

    text, options = written(pair.source), tuple(map(written, pair.source_options))
    return pair._replace(source=text, target=text, source_options=options, target_options=options)


def planted(quick: bool, work: Path, data: Path) -> Section:
    """Every kind in every language."""
    section = Section("planted")
    most = QUICK if quick else MANY
    table: list[list[object]] = []
    for kind in (*KINDS, *WHOLE):
        row: list[object] = [kind]
        for language in SETS:
            faults = list(planted_in(kind, language, most, data))
            if not faults:
                row.append("-")
                continue
            caught = [check(fault.pair) for fault in faults]
            share = sum(map(bool, caught)) / len(faults)
            copies = sum(fault.sound.source_language == fault.sound.target_language for fault in faults)
            by = Counter(guard for drops in caught for guard in {guard_of(drop.reason) for drop in drops})
            section.figures[f"{kind}, {language}"] = {
                "planted": len(faults), "in copies": copies, "caught": share, "by": dict(by.most_common())}  # fmt: skip
            few = f" of {len(faults)}" if len(faults) < most else ""
            row.append(f"{share:.1%}{'*' if copies else ''}{few}")
            least = DIGITS if language in NUMERALS and kind.startswith("word") else LEAST.get(kind)
            if least is not None:
                section.goal(f"{kind}, {language}: share caught of {len(faults)}", share, ">=", least)
        table.append(row)
        say("  " + "  ".join(map(str, row)))
    section.lines.append(
        f"share caught of {most} faults of each kind, planted in pairs that raise no alarm themselves;"
    )
    section.lines.append("*: partly in rows beside their own copies, where translations have too few places")
    section.table(("fault", *SETS), table)
    return section
