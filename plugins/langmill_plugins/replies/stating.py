"""Where a signed reply states which options it chooses, and how firmly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from langmill.api import Pack
from langmill_plugins.replies.cleaning import CLOSE, OPEN
from langmill_plugins.replies.naming import (
    ALPHABETIC,
    GONE,
    POINTED,
    POINTED_SIGN,
    STRONG,
    STRONG_SIGN,
    WEAK,
    WEAK_SIGN,
    letters_of,
)
from langmill_plugins.replies.sentences import bounds, clause

TICKS, CROSSES = "✓✔✅☑", "✗✘❌✖"
GROUP, FILLER, MOST_GROUPS = 0xE400, "\ue3fe", 1024
"""A sign for each group of options that a reply names together, and what fills the rest of its place: positions stay."""
_SIGN = re.compile(f"{STRONG_SIGN}|{WEAK_SIGN}|{POINTED_SIGN}")
_MARK, _NO_WORD = r"[^\w\s\ue000-\uf8ff]", r"[^\w\n\ue000-\ue3fe\ue400-\uf8ff]"
_OPENS, _CLOSES = r"[\"'“«「『(\[<]{0,3}", r"[\"'”»」』)\]>]{0,3}"

FAR = 400  # characters beyond which a sentence has no say: a reply that loops may be one sentence of thousands of words

Patterns = tuple[str, ...]


class Stated(NamedTuple):
    """Options that a reply states, from ``start`` to ``end`` in its signed text. ``kind`` is the name of the pattern's list,
    ``open`` says that it leaves open which of them."""

    start: int
    end: int
    options: frozenset[int]
    kind: str
    open: bool = False


class Groups(NamedTuple):
    """A signed text in which every group of options is one sign, and what each sign stands for."""

    text: str
    options: list[frozenset[int]]
    open: list[bool]

    def stated(self, hit: re.Match[str], kind: str) -> Stated:
        """What a pattern found."""
        number = ord(next(group for group in hit.groups() if group)) - GROUP
        return Stated(hit.start(), hit.end(), self.options[number], kind, self.open[number])


class Names(NamedTuple):
    """How options are named in the languages of a reply, for items of so many."""

    group: re.Pattern[str]
    each: re.Pattern[str]
    alternative: re.Pattern[str]
    letters: Patterns
    after: str
    prefix: str
    named: str

    def grouped(self, text: str) -> Groups:
        """A signed text with a sign for each group."""
        options: list[frozenset[int]] = []
        opened: list[bool] = []

        def sign(hit: re.Match[str]) -> str:
            said = hit.group()
            named = self._named(said)
            if not named or len(options) >= MOST_GROUPS:
                return said
            options.append(named)
            opened.append(self.alternative.search(said) is not None)
            return chr(GROUP + len(options) - 1) + FILLER * (len(said) - 1)

        return Groups(self.group.sub(sign, text), options, opened)

    def _named(self, said: str) -> frozenset[int]:
        found: list[int] = []
        for hit in self.each.finditer(said):
            name = hit.group()
            if _SIGN.match(name):
                sign = ord(name)
                found.append(sign - (POINTED if sign >= POINTED else WEAK if sign >= WEAK else STRONG))
            elif name.isdecimal():
                found.append(int(name) - 1)
            else:
                run = [self.letters.index(letter) for letter in name.upper()]
                if run != sorted(set(run)):
                    return frozenset()  # "BAD" is a word
                found += run
        return frozenset(found)


class Language(NamedTuple):
    """The patterns of one language."""

    kinds: tuple[tuple[str, re.Pattern[str]], ...]
    denies: re.Pattern[str]
    supposes: re.Pattern[str] | None
    doubts: re.Pattern[str] | None
    concludes: re.Pattern[str] | None
    turns: re.Pattern[str] | None
    withdraws: re.Pattern[str] | None


class Grammar(NamedTuple):
    """How options are named, and what the languages of a reply say of them."""

    names: Names
    languages: tuple[Language, ...]
    alone: re.Pattern[str]
    led: re.Pattern[str]
    tail: re.Pattern[str]
    mentioned: re.Pattern[str]
    lone: re.Pattern[str]


def grammar(packs: Sequence[Pack], count: int, numbers: bool) -> Grammar:
    """The grammar of a reply in the language of the first pack, or falling into those of the others. ``numbers``: whether a bare number
    may name an option."""
    words: list[Words] = []
    lists: list[Lists] = []
    for pack in packs:
        facts, cues = pack.replies, pack.cues
        line = pack.choice.answer if pack.choice else ""
        if facts is None:
            lists.append((line, *((),) * 8))
            continue
        unspaced = pack.text is not None and pack.text.shingles.by == "character"
        words.append((unspaced, facts.named, facts.after, facts.joiners, facts.alternatives, facts.articles))
        states = (*facts.states, *(cues.conclusion if cues else ()))
        judges = (*facts.judges, *(cues.judged if cues else ()))
        clauses = (facts.supposes, facts.doubts, facts.concludes, facts.turns, facts.withdraws)
        lists.append((line, states, judges, facts.denies, *clauses))
    return _grammar(letters_of(packs[0], count), numbers, tuple(words), tuple(lists))


Words = tuple[bool, Patterns, Patterns, Patterns, Patterns, Patterns]
Lists = tuple[str, Patterns, Patterns, Patterns, Patterns, Patterns, Patterns, Patterns, Patterns]


@lru_cache(maxsize=256)
def _grammar(letters: Patterns, numbers: bool, words: tuple[Words, ...], lists: tuple[Lists, ...]) -> Grammar:
    names = _names(letters, numbers, words)
    sign = f"[{chr(GROUP)}-{chr(GROUP + MOST_GROUPS)}]"
    option = rf"{_OPENS}{names.prefix}{_OPENS}({sign}){FILLER}*{_CLOSES}"
    return Grammar(
        names,
        tuple(_language(one, option) for one in lists),
        re.compile(
            rf"^{_MARK}{{0,3}}{option}(?:\s{option})*+(?:{names.after})?[\s.):,、。!?}}\]\"'”’»」』]*$",
            re.MULTILINE | re.IGNORECASE,
        ),
        re.compile(
            rf"^{_MARK}{{0,2}}{option}(?:(?<=[.):,、。!])|\s?[.):,、;。!]|\s[\-–—]|$)", re.MULTILINE | re.IGNORECASE
        ),
        re.compile(rf"(?:[:：=→]\s?|\s[\-–—]\s){option}[\s.。!]*\Z", re.IGNORECASE),
        re.compile(rf"(?:{names.named or '(?!)'})\s*[:#№]?\s*{_OPENS}({sign}){FILLER}*", re.IGNORECASE),
        _lone(letters),
    )


def _lone(letters: Patterns) -> re.Pattern[str]:
    """An option's letter by itself, whatever follows; not those that are words: A, I, and a Cyrillic one before a word."""
    signs = "".join(re.escape(letter) for letter in letters if letter not in "AI")
    before = rf"(?<![{ALPHABETIC}°])(?<![{ALPHABETIC}][-‐‑'’])(?<!\d\s)"
    return re.compile(rf"{before}[{signs or '⟦'}](?![{ALPHABETIC}]|[-‐‑–'’][{ALPHABETIC}]|\s?[%°]|\s[а-яё])")


def _language(lists: Lists, option: str) -> Language:
    line, states, judges, denies, *clauses = lists
    ticks = (rf"{{option}}[^\n]{{0,60}}?[{TICKS}]", rf"[{TICKS}]\s*{{option}}")
    crosses = (rf"{{option}}[^\n{TICKS}]{{0,60}}?[{CROSSES}]", rf"[{CROSSES}]\s*{{option}}")
    kinds = [
        ("marked", (rf"{OPEN}\s*{{option}}[^{CLOSE}]*{CLOSE}",)),
        ("stated", states),
        ("judged", (*ticks, *judges)),
    ]
    head = re.escape(line.partition("{letters}")[0].rstrip(" :：\u00a0"))
    if head:
        kinds.insert(0, ("line", (rf"(?:^|(?<=[.!。]\s)|(?<=[.!。]))\W{{0,3}}{head}\s?[:：=\-–—]\s*{{option}}",)))
    return Language(
        tuple((kind, _with(patterns, option)) for kind, patterns in kinds if patterns),
        _with((*crosses, *denies), option),
        *map(_any, clauses),
    )


def _names(letters: Patterns, numbers: bool, words: tuple[Words, ...]) -> Names:
    """One option's name is a sign, a letter that stands alone and before what may follow one, or a number that does."""
    named = "|".join(one for some in words for one in some[1])
    before = "|".join(one for some in words for one in (*some[1], *some[5]))
    prefix = rf"(?:(?:{before})\s*[:#№]?\s*){{0,2}}" if before else ""
    after = "|".join(_after(some[2], some[0]) for some in words if some[2]) or "(?!)"
    attached = "".join("|" + _after(some[2], True) for some in words if some[0] and some[2])
    both = "|".join(_between(some[3], some[0]) for some in words if some[3]) or "(?!)"
    either = "|".join(_between(some[4], some[0]) for some in words if some[4]) or "(?!)"
    signs = "".join(map(re.escape, letters))
    small = "".join(re.escape(letter.lower()) for letter in letters)
    inside = rf"(?![{ALPHABETIC}])(?![-‐‑–'’][{ALPHABETIC}])"  # what would make it a part of a word
    follows = rf"{inside}(?!\s?[%°])(?![.,]\d)(?=\s*(?:$|{_MARK}|[⟦⟧\ue000-\uf8ff])|{after})"
    tight = rf"{inside}(?=\s*$|{_MARK}|\s{_MARK}{attached})"
    lone = rf"(?<![{ALPHABETIC}])(?<![{ALPHABETIC}][-‐‑'’])"
    each = [
        STRONG_SIGN,
        POINTED_SIGN,
        f"{WEAK_SIGN}{follows}",
        rf"(?-i:{lone}[{signs}]{{1,{len(letters)}}}{follows})",
        rf"(?-i:{lone}[{small}]{tight})",
    ]
    if numbers:
        places = "|".join(str(place) for place in range(len(letters), 0, -1))
        each.append(rf"(?<![.,/]){lone}(?:{places})(?![-–/]\d|[.,]\d){inside}(?=\s*(?:$|{_MARK}))(?!\s?[%°])")
    one = f"(?:{'|'.join(each)})"
    # A semicolon parts clauses rather than the words of a list; so does a comma where words are not spaced.
    clause = rf"(?!\s*{STRONG_SIGN})"
    comma = rf"\s*(?:[、/&+·،]|;{clause}|,{clause if words and words[0][0] else ''})\s*"
    between = rf"(?:{comma}(?:(?:{both}|{either})\s*)?|\s*(?:{both}|{either})\s*)"
    return Names(
        re.compile(rf"{one}(?:{_CLOSES}{between}{_OPENS}{prefix}{_OPENS}{one}){{0,9}}", re.IGNORECASE | re.MULTILINE),
        re.compile("|".join(each), re.IGNORECASE | re.MULTILINE),
        re.compile(either, re.IGNORECASE),
        letters,
        after,
        prefix,
        named,
    )


def _between(words: Patterns, unspaced: bool) -> str:
    """Words between two names; a language with spaces has them round its own."""
    said = "|".join(f"(?:{word})" for word in words)
    return f"(?:{said})" if unspaced else rf"(?<![^\W_])(?:{said})(?![^\W_])"


def _after(after: Patterns, unspaced: bool) -> str:
    said = "|".join(f"(?:{one})" for one in after)
    return rf"\s*(?:{said})" if unspaced else rf"\s+(?:{said})(?!\w)"


def _any(patterns: Patterns) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{one})" for one in patterns), re.IGNORECASE | re.MULTILINE) if patterns else None


def _with(patterns: Patterns, option: str) -> re.Pattern[str]:
    r"""Patterns with a group's sign for {option}. Signs are not among what ``\W`` passes over."""
    joined = "|".join(f"(?:{one.replace(chr(92) + 'W', _NO_WORD).replace('{option}', option)})" for one in patterns)
    return re.compile(joined, re.IGNORECASE | re.MULTILINE)


def without_denied(text: str, rules: Grammar) -> str:
    """A signed reply in which options that it calls wrong are named no more. A name at the end of a sentence has nothing to do with
    what the next one begins with, but for lists: "A. Wrong."."""
    groups, kept = rules.names.grouped(text), list(text)
    for one in rules.languages:
        for hit in one.denies.finditer(groups.text):
            start, end = hit.span()
            begins_line = start == 0 or text[start - 1] == "\n"
            if begins_line or not re.search(r"[.!?。]\s+\S", hit.group()):
                kept[start:end] = GONE * (end - start)
    return "".join(kept)


def statements(text: str, rules: Grammar) -> list[Stated]:
    """All statements of a signed reply that stand: not supposed, asked or taken back. In order of their ends."""
    groups, found = rules.names.grouped(text), []
    for each in rules.languages:
        for kind, pattern in each.kinds:
            some = (groups.stated(hit, kind) for hit in pattern.finditer(groups.text))
            found += [
                one for one in some if kind in ("line", "marked") or not is_supposed(text, one.start, one.end, rules)
            ]
    backs = [one.withdraws for one in rules.languages if one.withdraws]
    taken = max((hit.start() for back in backs for hit in back.finditer(text)), default=-1)
    return sorted((one for one in found if one.start >= taken), key=lambda one: (one.end, -one.start))


def is_supposed(text: str, start: int, end: int, rules: Grammar) -> bool:
    """Whether what stands there is only asked or supposed in its clause."""
    begin, until = bounds(text, start, end)
    begin, until = max(begin, start - FAR), min(until, end + FAR)
    if re.search(r"[?？؟]\W*$", text[end:until]):
        return True
    part = clause(text, (start, begin, until), [one.turns for one in rules.languages])
    if any(one.supposes.search(text, *part) for one in rules.languages if one.supposes):
        return True
    # What follows from a doubt is none, but what follows from a condition holds under it.
    part = clause(text, (start, *part), [one.concludes for one in rules.languages])
    return any(one.doubts.search(text, *part) for one in rules.languages if one.doubts)


def standing_alone(text: str, rules: Grammar) -> list[Stated]:
    """Lines of a signed reply that hold options' names and nothing else, by their place."""
    groups, found = rules.names.grouped(text), []
    for hit in rules.alone.finditer(groups.text):
        names = [ord(sign) - GROUP for sign in hit.group() if GROUP <= ord(sign) < GROUP + MOST_GROUPS]
        options = frozenset[int]().union(*(groups.options[name] for name in names))
        found.append(Stated(hit.start(), hit.end(), options, "letters", any(groups.open[name] for name in names)))
    return found


def leading(text: str, rules: Grammar) -> list[Stated]:
    """Lines of a signed reply that begin with an option's name, parted from what follows."""
    groups = rules.names.grouped(text)
    return [groups.stated(hit, "led") for hit in rules.led.finditer(groups.text)]


def at_the_end(text: str, rules: Grammar) -> Stated | None:
    """Options behind a colon or dash with which a signed reply ends."""
    groups = rules.names.grouped(text)
    hit = rules.tail.search(groups.text)
    return groups.stated(hit, "led") if hit and not is_supposed(text, hit.start(), hit.end(), rules) else None


def mentions(text: str, rules: Grammar) -> tuple[list[Stated], list[Stated]]:
    """Options that a signed reply speaks of by their words, their number, or a letter that is called one, together where it names them
    together; letters in a sentence that calls another one wrong aside. Then the letters that it names besides. None that is supposed."""
    groups = rules.names.grouped(text)
    called = {hit.start(1) for hit in rules.mentioned.finditer(groups.text)}
    found, besides = [], []
    for hit in re.finditer(f"([{chr(GROUP)}-{chr(GROUP + MOST_GROUPS)}]){FILLER}*", groups.text):
        one, said = groups.stated(hit, "words"), text[hit.start() : hit.end()]
        if is_supposed(text, one.start, one.end, rules):
            continue
        if re.search(f"{STRONG_SIGN}|{POINTED_SIGN}", said):
            found.append(one)
        elif GONE not in text[slice(*bounds(text, one.start, one.end))]:
            if hit.start() in called:
                found.append(one)
            elif re.search("[A-Z]", said):  # a bare number, or a small letter, may mean anything
                besides.append(one)
    for hit in islice(rules.lone.finditer(groups.text), MOST_GROUPS):
        if not is_supposed(text, *hit.span(), rules) and GONE not in text[slice(*bounds(text, *hit.span()))]:
            besides.append(Stated(*hit.span(), frozenset({rules.names.letters.index(hit.group())}), "words"))
    return found, besides
