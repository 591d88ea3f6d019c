"""What a short text claims, found again in another one: by the words they share, in every script."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from langmill.api import Drop, Pack
from langmill_plugins.guards.lexicon import lexicon, plain

CLAIM_KEPT = 0.2  # share of a short answer's terms that a longer one has too, at the least
SHOWN = 150  # characters of a text that a fault quotes
_SPACED, _UNSPACED = re.compile(r"(?<!\w)([^\W\d_]{4,5})\w*"), re.compile(r"(?=([^\W\d_]{2}))")
_CLAUSE = re.compile(r"[^\W_][^,.;:!?،。、，；：！？]*")


def by_words(pack: Pack) -> bool:
    """Whether the language parts words by spaces, as its pack says; so it is taken where the pack does not say."""
    return pack.text is None or pack.text.shingles.by == "word"


def terms(text: str, pack: Pack) -> frozenset[str]:
    """What a text speaks of, roughly: the first five letters of its words of at least four, so that inflected forms meet;
    where words are not spaced, every pair of neighbouring letters."""
    return frozenset((_SPACED if by_words(pack) else _UNSPACED).findall(plain(text)))


def unsupported(text: str, passage: str, pack: Pack, least: float) -> list[Drop]:
    """``not_supported``: less than the share ``least`` of a text's terms occurs in a passage. A text without any term has no
    support either; nothing is asked for with 0."""
    own = terms(text, pack)
    shared = len(own & terms(passage, pack))
    if not least or shared >= max(1.0, least * len(own)):
        return []
    return [Drop("not_supported", f"{shared} of {len(own)} terms are in the passage: {text[-SHOWN:]}")]


def lost_claim(short: str, long: str, pack: Pack) -> list[Drop]:
    """``claim_lost``: too few of a short answer's terms are in the longer one."""
    own = terms(short, pack)
    shared = len(own & terms(long, pack))
    if shared >= CLAIM_KEPT * len(own):
        return []
    return [Drop("claim_lost", f"the longer answer has {shared} of {len(own)} terms of the short one: {short[:SHOWN]}")]


def turned_claim(short: str, long: str, pack: Pack, *, negation: bool = True, sides: bool = True) -> list[Drop]:
    """What a longer answer must not turn round: ``changed_negation`` when a short answer negates and the longer one nowhere does,
    or when the longer one begins with a bare no and the short one negates nothing; ``changed_side`` when a side is gone and the
    other one there. More negations and more sides are what a longer answer is for."""
    before, after = plain(short), plain(long)
    had, has = ({hit.kind for hit in lexicon(pack).hits(text)} for text in (before, after))
    denied = {"negation", "softer"}
    found = []
    if negation and "negation" in had and not denied & has:
        found.append(Drop("changed_negation", f"the short answer negates and the longer one does not: {short[:SHOWN]}"))
    if negation and not denied & had and _denies(after, pack):
        found.append(Drop("changed_negation", f"begins with a no that the short answer does not have: {long[:SHOWN]}"))
    for side, other in (("left", "right"), ("right", "left")):
        if sides and side in had and other not in had and other in has and side not in has:
            found.append(Drop("changed_side", f"{side} in the short answer, {other} in the longer one"))
    return found


def _denies(text: str, pack: Pack) -> bool:
    """Whether the first clause of a plain text is a negation and nothing else: no, nein, いいえ."""
    clause = _CLAUSE.search(text)
    return clause is not None and any(
        hit.kind == "negation"
        and hit.start == clause.start()
        and hit.end >= clause.start() + len(clause.group().rstrip())
        for hit in lexicon(pack).hits(text[: clause.end()])
    )


def speaks_of_text(text: str, pack: Pack) -> list[Drop]:
    """``not_standalone``: it speaks of a text that its reader does not have (the pack's ``cues.passage``)."""
    phrases = pack.cues.passage if pack.cues else ()
    found = _pattern(phrases).search(plain(text)) if phrases else None
    return [Drop("not_standalone", f"'{found.group()}' in: {text[:SHOWN]}")] if found else []


@lru_cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{phrase})" for phrase in phrases))


def likeness(one: str, other: str, pack: Pack) -> float:
    """How alike two texts of a language are, 0 to 1: the share of words and pairs of words, or of letters and pairs of letters,
    that they have in common (Dice)."""
    grams = [_grams(plain(text), by_words(pack)) for text in (one, other)]
    whole = sum(map(len, grams))
    return 2 * len(grams[0] & grams[1]) / whole if whole else 1.0


def _grams(text: str, by_word: bool) -> frozenset[tuple[str, ...]]:
    pieces = re.findall(r"\w+", text) if by_word else [letter for letter in text if letter.isalnum()]
    return frozenset([*((piece,) for piece in pieces), *pairwise(pieces)])
