"""Faults planted in real translations, by a seed: where the other side plainly has the same number, unit, side or negation, it is
changed, taken away or added."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench import guard_numbers as numbers
from bench import guard_texts as texts
from bench.guard_numbers import Edit, Sides
from bench.guard_pairs import Pair


class Fault(NamedTuple):
    """A pair with a fault in its translation: the sound one, which piece of it, what stood there and what stands there now."""

    kind: str
    sound: Pair
    pair: Pair
    piece: str
    was: str
    now: str


KINDS: dict[str, Callable[[Sides], Iterator[Edit]]] = {
    "digit changed": numbers.digit_changed, "digits dropped": numbers.digits_dropped, "number added": numbers.number_added,
    "word changed": numbers.word_changed, "word dropped": numbers.word_dropped, "decimal moved": numbers.decimal_moved,
    "thousands": numbers.thousands_lost, "unit changed": numbers.unit_changed, "unit dropped": numbers.unit_dropped,
    "percent dropped": numbers.percent_dropped, "negation dropped": texts.negation_dropped, "negation added": texts.negation_added,
    "side swapped": texts.side_swapped, "comparison turned": texts.comparison_turned, "name changed": texts.name_changed,
    "sentence left": texts.sentence_left, "halved": texts.halved, "looped": texts.looped, "chatter before": texts.chatter(0, True),
    "chatter after": texts.chatter(1, True), "English before": texts.chatter(0, False), "English after": texts.chatter(1, False),
}  # fmt: skip
"""Kinds of fault in one text, by what plants them."""


def plant(kind: str, pairs: Sequence[Pair], seed: int = 17) -> Iterator[Fault]:
    """Faults of a kind, first one in every piece that has a place for it, then further ones in the same pieces."""
    chance = random.Random(f"{seed} {kind}")
    pieces = [(pair, *piece) for pair in pairs for piece in pair.pieces()]
    chance.shuffle(pieces)
    waiting: list[tuple[Pair, str, str, list[Edit]]] = []
    for pair, name, source, target in pieces:
        sides = Sides(source, target, pair.source_language, pair.target_language, chance)
        edits = list(dict.fromkeys(KINDS[kind](sides)))
        chance.shuffle(edits)
        if edits:
            yield _fault(kind, pair, name, target, edits.pop())
            waiting.append((pair, name, target, edits))
    while waiting := [one for one in waiting if one[3]]:
        for pair, name, target, edits in waiting:
            yield _fault(kind, pair, name, target, edits.pop())


def _fault(kind: str, pair: Pair, piece: str, target: str, edit: Edit) -> Fault:
    text = re.sub(r"(?<=\S) {2,}(?=\S)", " ", target[: edit.start] + edit.text + target[edit.end :])
    around = slice(max(0, edit.start - 20), edit.end + 20)
    now = target[max(0, edit.start - 20) : edit.start] + edit.text + target[edit.end : edit.end + 20]
    return Fault(kind, pair, with_piece(pair, piece, text), piece, target[around], now)


def with_piece(pair: Pair, name: str, text: str) -> Pair:
    """The pair with another translation of one of its pieces."""
    if not name.startswith("option "):
        return pair._replace(target=text)
    index = int(name.split()[1]) - 1
    return pair._replace(target_options=(*pair.target_options[:index], text, *pair.target_options[index + 1 :]))
