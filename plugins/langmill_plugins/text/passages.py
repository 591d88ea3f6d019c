"""A text cut into passages: sentences and lines, long enough to be read each by itself."""

from __future__ import annotations

import re

from langmill_plugins.text.scripts import sampled

LEAST = 40  # bytes of a passage; what is shorter goes with what follows it
LEAST_BY_SCRIPT = 24  # the same where the script tells: eight Han or hangul letters
BRIEF = 200  # bytes of a text that is one passage
LONGEST = 600  # characters after which a passage without an end is cut
MOST = 48  # passages of a text that are read; of more, some from all over it
_END = re.compile(r"[.!?…؟।](?=\s)|[。！？｡\n]")
_LATIN = "[A-Za-z][A-Za-z0-9 ,;:'’()/-]{40}"  # the beginning of what may be a passage in Latin letters
_END_OR_LATIN = re.compile(rf"[.!?…؟।](?=[^.\da-z])|[。！？｡\n]|[^\x00-\u024f](?= ?{_LATIN})")
# A source that is named, a web address, a title: these are in a language of their own anywhere.
_REFERENCE = re.compile(r"\b(?:19|20)\d\d\b|https?:|www\.|\bdoi\b|\bet al\b|\d[;:]\s?\d|®|™", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")


def passages(text: str, latin: bool) -> list[str]:
    """The passages of a text, in order; the text itself where it is short. Where its language is not written in ``latin``
    letters, a run of those is a passage of its own."""
    if len(text) < BRIEF and len(text.encode("utf-8", "replace")) < BRIEF:
        return [text]
    text, least = sampled(text), LEAST if latin else LEAST_BY_SCRIPT
    found: list[str] = []
    start = 0
    for end in (*(mark.end() for mark in (_END if latin else _END_OR_LATIN).finditer(text)), len(text)):
        piece = text[start:end]
        if len(piece) >= least or len(piece.encode("utf-8", "replace")) >= least:
            found += [piece[cut : cut + LONGEST] for cut in range(0, len(piece), LONGEST)]
            start = end
    if start < len(text):
        found.append(text[start:])
    if len(found) > MOST:
        found = [found[index * (len(found) - 1) // (MOST - 1)] for index in range(MOST)]
    return found


def is_prose(passage: str, least: int = 6) -> bool:
    """Whether a passage is running text: ``least`` words, most of them in lower case, and no reference. Names of drugs and
    of germs, abbreviations and titles are not: any language takes them over as they are."""
    found = _WORD.findall(passage)
    small = sum(word.islower() and len(word) > 1 for word in found)
    return small >= least and 2 * small > len(found) and not _REFERENCE.search(passage)
