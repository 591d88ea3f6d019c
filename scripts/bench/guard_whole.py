"""Faults of whole texts and items: another language, a leaked prompt, options that went astray."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from bench.guard_check import prompt_of
from bench.guard_faults import Fault
from bench.guard_pairs import Pair, pairs

LEAST_LETTERS = 20  # of a text whose language anybody could tell
EDITIONS = (
    "tico-en-zh",
    "tico-en-ru",
    "tico-en-fr",
    "tico-en-es",
    "tico-en-ar",
    "casimedicos-es-fr",
    "casimedicos-es-en",
)


@lru_cache(maxsize=1)
def _editions(data: Path) -> dict[str, dict[str, str]]:
    """Texts of the same unit by language, for sets in more than two."""
    found: dict[str, dict[str, str]] = {}
    for name in EDITIONS:
        for pair in pairs(name, data):
            languages = found.setdefault(pair.id, {})
            languages[pair.source_language], languages[pair.target_language] = pair.source, pair.target
    return found


def wrong_language(some: Sequence[Pair], chance: random.Random, data: Path) -> Iterator[Fault]:
    """The whole text as another edition has it, or as its source."""
    for pair in some:
        texts = {pair.source_language: pair.source, **_editions(data).get(pair.id, {})}
        texts.pop(pair.target_language, None)
        text = texts[chance.choice(sorted(texts))]
        if sum(map(str.isalpha, text)) >= LEAST_LETTERS and text.strip() != pair.target.strip():
            yield Fault(
                "wrong language", pair, pair._replace(target=text), pair.pieces()[0][0], pair.target[:40], text[:40]
            )


def prompt_leak(some: Sequence[Pair], chance: random.Random, data: Path) -> Iterator[Fault]:
    """A line of the instructions before the text."""
    for pair in some:
        own = [text for _, text, _ in pair.pieces()]
        lines = [
            line
            for line in prompt_of(pair).splitlines()
            if len(line) > LEAST_LETTERS and not any(line in text or text in line for text in own)
        ]
        line = chance.choice(lines)
        yield Fault("prompt leak", pair, pair._replace(target=f"{line}\n{pair.target}"), "text", "", line[:60])


def _items(some: Sequence[Pair]) -> Iterator[Pair]:
    return (pair for pair in some if len(set(pair.target_options)) == len(pair.target_options) >= 2)


def option_count(some: Sequence[Pair], chance: random.Random, data: Path) -> Iterator[Fault]:
    """An option dropped, or one there twice."""
    for pair in _items(some):
        options, index = list(pair.target_options), chance.randrange(len(pair.target_options))
        what = chance.choice(("dropped", "twice"))
        options[index : index + 1] = [] if what == "dropped" else [options[index]] * 2
        yield Fault("option count", pair, pair._replace(target_options=tuple(options)), f"option {index + 1}", "", what)


def options_swapped(some: Sequence[Pair], chance: random.Random, data: Path) -> Iterator[Fault]:
    """Two options in each other's place, their letters in order: only their words can tell."""
    for pair in _items(some):
        options = list(pair.target_options)
        one, other = chance.sample(range(len(options)), 2)
        options[one], options[other] = options[other], options[one]
        yield Fault("options swapped", pair, pair._replace(target_options=tuple(options)), f"option {one + 1}",
                    pair.target_options[one], options[one])  # fmt: skip


def option_became_another(some: Sequence[Pair], chance: random.Random, data: Path) -> Iterator[Fault]:
    """An option with the text of another one."""
    for pair in _items(some):
        options = list(pair.target_options)
        one, other = chance.sample(range(len(options)), 2)
        options[one] = options[other]
        yield Fault("option is another", pair, pair._replace(target_options=tuple(options)), f"option {one + 1}",
                    pair.target_options[one], options[one])  # fmt: skip


WHOLE: dict[str, Callable[[Sequence[Pair], random.Random, Path], Iterator[Fault]]] = {
    "wrong language": wrong_language, "prompt leak": prompt_leak, "option count": option_count,
    "options swapped": options_swapped, "option is another": option_became_another,
}  # fmt: skip
"""Kinds of fault in a whole segment, by what plants them."""
