"""Faults in small words and in the wording: negations, sides, bounds, names, chatter, what is left or cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from bench import guard_words as words
from bench.guard_numbers import LETTER, Edit, Sides

# --- small words ------------------------------------------------------------------------------------------------------


def _denials(text: str, language: str) -> int:
    return len(re.findall(words.NEGATIONS[language], text.casefold()))


def negation_dropped(sides: Sides) -> Iterator[Edit]:
    theirs, mine = (_denials(sides.source, sides.source_language), _denials(sides.target, sides.target_language))
    if not 0 < mine <= theirs:
        return
    for pattern, instead in words.DENIED[sides.target_language]:
        for match in re.finditer(pattern, sides.target):
            around = sides.target[max(0, match.start() - 6) : match.end() + 12].casefold()
            if not re.search(words.NOT_ONLY[sides.target_language], around):
                yield Edit(match.start(), match.end(), match.expand(instead))


def negation_added(sides: Sides) -> Iterator[Edit]:
    if _denials(sides.source, sides.source_language) > _denials(sides.target, sides.target_language):
        return
    for pattern, instead in words.AFFIRMED[sides.target_language]:
        for match in re.finditer(pattern, sides.target):
            yield Edit(match.start(), match.end(), match.expand(instead))


def side_swapped(sides: Sides) -> Iterator[Edit]:
    source, target = sides.source.casefold(), sides.target
    for mine in words.SIDES[sides.target_language]:
        for index in (0, 1):
            there = any(_word(theirs[index]).search(source) for theirs in words.SIDES[sides.source_language])
            for match in _word(mine[index]).finditer(target) if there else ():
                if not re.match("[左右]$", match.group()) or not re.match(
                    "[左右]", target[match.end() :] + target[match.start() - 1]
                ):
                    yield Edit(match.start(), match.end(), mine[1 - index])


@lru_cache(maxsize=1024)
def _word(text: str) -> re.Pattern[str]:
    edge = f"[{LETTER}]"
    left, right = (f"(?<!{edge})" if re.match(edge, text[0]) else "", f"(?!{edge})" if re.match(edge, text[-1]) else "")
    return re.compile(f"{left}{re.escape(text)}{right}", re.IGNORECASE)


def comparison_turned(sides: Sides) -> Iterator[Edit]:
    """Beside a number alone, and where the source has a bound of the same kind and none of the other."""
    for index in (0, 1):
        theirs = [any(_word(pair[side]).search(sides.source) for pair in (*words.COMPARISONS[sides.source_language], *words.SIGNS))
                  for side in (index, 1 - index)]  # fmt: skip
        if theirs != [True, False]:
            continue
        for pair in (*words.COMPARISONS[sides.target_language], *words.SIGNS):
            for match in _word(pair[index]).finditer(sides.target):
                near = (
                    sides.target[max(0, match.start() - 7) : match.start()],
                    sides.target[match.end() : match.end() + 7],
                )
                if any(re.search(r"\d", text) for text in near):
                    yield Edit(match.start(), match.end(), pair[1 - index])


_NAME = re.compile(r"(?<![A-Za-z0-9-])(?=[a-z-]*[A-Z])[A-Za-z]+(?:-[A-Za-z]+)*-?\d+(?![A-Za-z0-9])")


def name_changed(sides: Sides) -> Iterator[Edit]:
    theirs = set(_NAME.findall(sides.source))
    for match in _NAME.finditer(sides.target):
        if match.group() in theirs:
            last = int(match.group()[-1])
            now = match.group()[:-1] + str(sides.chance.choice([digit for digit in range(1, 10) if digit != last]))
            if now not in sides.source:
                yield Edit(match.start(), match.end(), now)


# --- whole texts ------------------------------------------------------------------------------------------------------

_SENTENCE = re.compile(r"[^.!?؟。！？]+(?:[.](?!\s|$)[^.!?؟。！？]+)*[.!?؟。！？]+\s*")


def sentence_left(sides: Sides) -> Iterator[Edit]:
    """One sentence of the source in the place of its translation, where both sides have as many."""
    theirs, mine = list(_SENTENCE.finditer(sides.source)), list(_SENTENCE.finditer(sides.target))
    if len(theirs) == len(mine) >= 2:
        for one, other in zip(theirs, mine, strict=True):
            if len(re.findall(r"\w+", one.group())) >= 6 or len(one.group()) >= 30:
                yield Edit(other.start(), other.end(), one.group().strip() + " ")


def halved(sides: Sides) -> Iterator[Edit]:
    if len(sides.target) >= 60:
        yield Edit(len(sides.target) // 2, len(sides.target), "")


def looped(sides: Sides) -> Iterator[Edit]:
    if len(sides.target) >= 30:
        end = sides.target[-40:] if len(sides.target) > 60 else sides.target
        yield Edit(len(sides.target), len(sides.target), end * 12)


def chatter(place: int, own: bool) -> Callable[[Sides], Iterator[Edit]]:
    """A phrase before (0) or after (1) the answer, in the target language or in English."""

    def edits(sides: Sides) -> Iterator[Edit]:
        text = sides.chance.choice(words.CHATTER[sides.target_language if own else "en"][place])
        at = len(sides.target) if place else 0
        yield Edit(at, at, text)

    return edits
