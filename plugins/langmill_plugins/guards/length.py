"""Whether a translation is about as long as its source."""

from __future__ import annotations

import math

from langmill.api import Drop, Pack

ALARM = 3.0  # standard deviations: of clean texts 0.1 to 0.5% lie beyond, and most halves of a text
# What one character of English adds to the variance of the logarithm of the ratio; all of a text share it: the fewer there are,
# the further lengths stray. Learned, as size.spread of the packs, from parallel exams and notices in eight languages.
SHORT = 2.5
DENSE = 0.6  # size.of_english below which a letter says as much as several Latin ones
# Such a language's size.of_english is of whole texts; digits and Latin names in them take as much room as in English.
OWN_LETTERS = 0.76


def length(source: str, target: str, source_pack: Pack, target_pack: Pack) -> list[Drop]:
    """Whether a target is far shorter (`too_short`) or longer (`too_long`) than its source would be in the target's language, by
    `size.of_english` and `size.spread` of both packs. Bounds are wide for short texts: one word may become a phrase."""
    source, target = source.strip(), target.strip()
    if not source:
        return []
    if not target:
        return [Drop("too_short", f"nothing is left of {len(source)} characters")]
    before, after = _in_english(source, source_pack), _in_english(target, target_pack)
    strayed = math.log(after / before)
    spread = math.hypot(source_pack.size.spread, target_pack.size.spread)
    if abs(strayed) <= ALARM * math.sqrt(spread**2 + SHORT / math.sqrt(before * after)):
        return []
    usual = max(1, round(len(target) / math.exp(strayed)))
    detail = f"{len(target)} characters for {len(source)} in the source, where about {usual} are usual"
    return [Drop("too_long" if strayed > 0 else "too_short", detail)]


def _in_english(text: str, pack: Pack) -> float:
    """How many characters a text would have in English."""
    of_english = pack.size.of_english
    if of_english >= DENSE:
        return len(text) / of_english
    dense = (len(text.encode("utf-8", "replace")) - len(text)) / 2  # Han, kana and hangul take three bytes
    return max(0.0, len(text) - dense) + dense / (OWN_LETTERS * of_english)
