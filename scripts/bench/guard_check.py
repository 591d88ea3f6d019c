"""The guards as `translate` runs them, over pairs of texts that are at hand."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from bench.guard_pairs import Pair, packs
from langmill.api import Drop
from langmill_plugins.guards.choices import shuffled
from langmill_plugins.guards.pairs import TRANSLATED, Asked, Piece, faults
from langmill_plugins.text.identifiers import FastText

GUARDS = {
    "numbers": ("changed_number",), "units": ("changed_unit", "changed_frequency", "changed_route"),
    "negation": ("changed_negation",), "sides": ("changed_side",), "comparisons": ("changed_comparison",),
    "names": ("changed_name",), "language": ("wrong_language", "mixed_language"), "chatter": ("chatter",),
    "leaks": ("prompt_leak",), "loops": ("loop",), "length": ("too_short", "too_long"), "untranslated": ("untranslated",),
    "options": ("options_count", "options_order", "repeated_option"),
}  # fmt: skip
"""Guards by the reasons they give."""
FACTS = frozenset({"numbers", "units", "negation", "sides", "comparisons", "names", "options"})
"""Guards that hold facts of one text against another's; alone over a copy, which is in one language."""


def guard_of(reason: str) -> str:
    """The guard that gives a reason. Raises KeyError for a reason of none, which a new guard would bring."""
    return next((guard for guard, reasons in GUARDS.items() if reason in reasons), reason)


@lru_cache(maxsize=1)
def _identifier() -> FastText:
    return FastText(None, False, "bench")


@lru_cache(maxsize=1)
def _known() -> tuple[Any, ...]:
    return tuple(packs().values())


def prompt_of(pair: Pair) -> str:
    """What `translate` would ask a model for this pair."""
    source, target = packs()[pair.source_language], packs()[pair.target_language]
    if pair.kind == "choice":
        letters = [target.letters((index,)) for index in range(len(pair.source_options))]
        options = [{"letter": letter, "text": text} for letter, text in zip(letters, pair.source_options, strict=True)]
        prompt = target.render("translate_choice", source=source.identity.native_name, question=pair.source,
                               options=options, explanation="", context="")  # fmt: skip
    else:
        prompt = target.render("translate", source=source.identity.native_name, question=pair.source, answer="-")
    return "\n".join(message.content for message in prompt.messages)


def asked_of(pair: Pair) -> Asked:
    """What the guards are told of the question."""
    return Asked(_known(), _identifier(), prompt_of(pair), [source for _, source, _ in pair.pieces()])


def check(pair: Pair, on: Collection[str] | None = None, asked: Asked | None = None) -> list[Drop]:
    """What the default guards say of a pair; of a copy, those that do not mind that it is one."""
    source, target = packs()[pair.source_language], packs()[pair.target_language]
    if on is None:
        on = FACTS if pair.source_language == pair.target_language else TRANSLATED
    if len(pair.source_options) != len(pair.target_options):
        return list(shuffled(pair.source_options, pair.target_options, source, target))
    pieces = [Piece(*piece) for piece in pair.pieces()]
    options = [piece for piece in pieces if piece.name.startswith("option ")]
    return list(
        faults([piece for piece in pieces if not piece.name.startswith("option ")], options,
               source, target, on, asked or asked_of(pair))
    )  # fmt: skip
