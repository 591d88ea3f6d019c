"""Which option a rationale says is right, and whether that is the key."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache

from langmill.api import Drop, Pack
from langmill_plugins.guards.claims import by_words, terms
from langmill_plugins.guards.lexicon import plain

# Options are written into a rationale as these letters of no script, so that patterns find them by their words, too.
FIRST = 0xE000
MOST = 26
LEAST_WORDS = 3  # characters of an option that is looked for by its words; an option "5 mg" is in many a sentence

_MARKS = f"[\\u{FIRST:04x}-\\u{FIRST + MOST:04x}]"
_MARK = re.compile(_MARKS)
# The words after an option's letter, and nothing after them: not "C. Glucagon is ...", which begins another sentence.
_WORDS_AFTER = re.compile(rf"\s?[.:)、]\s*({_MARKS})(?=\s*(?:[.。;\n]|$))")
_WORD = re.compile(r"[^\W_]+")
_ASIDE = re.compile(r"^(.+?)\s*[(]([^()]+)[)][.\s]*$")


def concludes(rationale: str, options: Sequence[str], answers: Sequence[int], pack: Pack) -> list[Drop]:
    """Whether a rationale names another option as right than the ``answers`` (`argues_for_another`), or none, while it hardly
    speaks of the right ones (`no_conclusion`). What names an option is the pack's (``cues.conclusion``); options are named by
    letter, number or words.

    Of several conclusions the last counts. Where there is none, options that are called right (``cues.judged``) are taken for
    one, unless they are more than there are answers: such a rationale weighs statements.
    """
    cues = pack.cues
    if not cues or not cues.conclusion or not rationale.strip() or len(options) > MOST:
        return []
    key, text = frozenset(answers), _marked(rationale, options, by_words(pack))
    named = _named(text, cues.conclusion, len(options), pack)
    if named:
        said = named[-1]
        # One option of several that are right may be named by itself.
        return [] if said & key and (len(said) == 1 or said == key) else _another(said, key, pack)
    judged = _named(text, cues.judged, len(options), pack)
    right = frozenset[int]().union(*judged)
    if right and not right & key and len(right) <= len(key):
        return _another(right, key, pack)
    return [] if right else _unspoken(text, options, key, pack)


def _another(said: Collection[int], key: Collection[int], pack: Pack) -> list[Drop]:
    names, wanted = (", ".join(_letter(index, pack) for index in sorted(some)) for some in (said, key))
    return [Drop("argues_for_another", f"the rationale names {names} as right, the answer is {wanted}")]


def _unspoken(text: str, options: Sequence[str], key: frozenset[int], pack: Pack) -> list[Drop]:
    """A rationale without a conclusion speaks of its answer; one that speaks of another option alone does not argue for it."""
    marks = {ord(mark) - FIRST for mark in _MARK.findall(text)}
    own = frozenset[str]().union(*(terms(options[index], pack) for index in key))
    if len(marks) != 1 or marks & key or own & terms(text, pack):
        return []
    answers = "; ".join(options[index] for index in sorted(key))
    return [Drop("no_conclusion", f"the rationale names no option as right and does not speak of: {answers[:150]}")]


def _letter(index: int, pack: Pack) -> str:
    letters = pack.choice.letters if pack.choice else ()
    return letters[index] if index < len(letters) else str(index + 1)


def _named(text: str, phrases: tuple[str, ...], count: int, pack: Pack) -> list[frozenset[int]]:
    """The options that a marked rationale names by some phrases, by place: one set for each time that it does."""
    if not phrases:
        return []
    letters = pack.choice.letters if pack.choice else ()
    ands = tuple(joiner for joiner in (pack.numbers.joiners if pack.numbers else ()) if joiner.isalpha())
    pattern = _pattern(phrases, letters[:count], count, by_words(pack), ands)
    places = {letter.casefold(): index for index, letter in enumerate(letters)}
    found = []
    for hit in pattern.finditer(text):
        place = next(place for place, group in enumerate(hit.groups(), 1) if group)
        said = hit[place]
        # Where a letter and the words after it are of two options, both are named.
        after = _WORDS_AFTER.match(text, hit.end(place))
        named = [ord(mark) - FIRST for mark in _MARK.findall(said + (after[1] if after else ""))]
        for word in _WORD.findall(_MARK.sub(" ", said)):
            if word.isdecimal():
                named.append(int(word) - 1)
            elif word.casefold() in places or not by_words(pack):
                named += [places[letter] for letter in word.casefold() if letter in places]
        inside = frozenset(index for index in named if 0 <= index < count)
        if inside:
            found.append(inside)
    return found


@lru_cache(maxsize=64)
def _pattern(
    phrases: tuple[str, ...], letters: tuple[str, ...], count: int, by_word: bool, ands: tuple[str, ...]
) -> re.Pattern[str]:
    """All phrases as one, with an option's name, or several, for each {option}. ``ands`` are words between two of them."""
    signs = "".join(map(re.escape, letters)) or chr(FIRST + MOST)
    joined = "|".join(map(re.escape, ands)) or "(?!)"
    digits = f"[1-{min(count, 9)}]"
    if by_word:
        # Not "answer a question": a letter of a spaced script counts as a capital alone.
        one = rf"(?:{_MARKS}|\(?(?<![^\W_])(?-i:[{signs}]|{digits}(?![.,]\d))(?![^\W_]|['’]\w|[-‐]\w|%)\)?)"
        between = rf"(?:\s*[,;/&+]\s*(?:(?:{joined})\s+)?|\s+(?:{joined})\s+)"
    else:
        one = (
            rf"(?:{_MARKS}|[(\[]?(?<![A-Za-z0-9])(?:[{signs}]{{1,{count}}}|{digits})(?![A-Za-z0-9.]*[A-Za-z0-9])[)\]]?)"
        )
        between = rf"\s*(?:[,、，;/&+·]|{joined})\s*"
    # An option's words may follow its letter: B. Glucagon.
    quoted = rf"[\"'“«「『*(]{{0,3}}{one}(?:{between}{one}){{0,5}}"
    parts = [phrase.replace("{option}", f"({quoted})(?!\\w)" if by_word else f"({quoted})") for phrase in phrases]
    return re.compile("|".join(f"(?:{part})" for part in parts) or "(?!)", re.IGNORECASE)


def _marked(rationale: str, options: Sequence[str], by_word: bool) -> str:
    """A rationale with the words of each option, wherever they stand, replaced by its mark."""
    text = unicodedata.normalize("NFKC", rationale)
    text = re.sub(r"\*\*|__", "", text)
    lower = text.lower()
    if len(lower) != len(text):
        text = lower
    spans: list[tuple[int, int, int]] = []
    taken = bytearray(len(text))
    for words, index in sorted(_wordings(options), key=lambda item: -len(item[0])):
        if len(words) < LEAST_WORDS and (by_word or len(words) < 2):
            continue
        start = lower.find(words)
        while start >= 0:
            end = start + len(words)
            alone = not by_word or not (
                (start and lower[start - 1].isalnum()) or (end < len(lower) and lower[end].isalnum())
            )
            if alone and not any(taken[start:end]):
                spans.append((start, end, index))
                taken[start:end] = b"\1" * (end - start)
            start = lower.find(words, end)
    for start, end, index in sorted(spans, reverse=True):
        text = text[:start] + chr(FIRST + index) + text[end:]
    return text


def _wordings(options: Sequence[str]) -> list[tuple[str, int]]:
    """What options are called, each with its place: by all their words, and by those before and inside brackets at the end, unless
    two options share them."""
    found: dict[str, set[int]] = {}
    for index, option in enumerate(options):
        whole = plain(option).strip(" .。")
        aside = _ASIDE.match(whole)
        for words in (whole, *(aside.groups() if aside else ())):
            found.setdefault(words, set()).add(index)
    return [(words, min(places)) for words, places in found.items() if len(places) == 1]
