"""Which options a reply chooses. No option is ever taken for want of another one: what can not be read is unreadable."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from langmill.api import Choice, Pack
from langmill_plugins.replies.cleaning import cleaned, outside_thoughts
from langmill_plugins.replies.naming import (
    GONE,
    MOST,
    POINTED,
    STRONG,
    UNSPACED,
    WEAK,
    WEAK_SIGN,
    counts_by_number,
    letters_of,
    plain_option,
    signed,
)
from langmill_plugins.replies.sentences import outermost, unfinished
from langmill_plugins.replies.stating import (
    Grammar,
    Stated,
    at_the_end,
    grammar,
    leading,
    mentions,
    standing_alone,
    statements,
    without_denied,
)

VERSION = 2
"""Which way replies are read. It changes whenever any reply may be read otherwise; packs have hashes of their own, see :func:`reader`."""

BRIEF = 240  # characters, a Han character, kana or hangul counting as three, of a reply in which an option merely mentioned is its answer
LISTED = "\ue3fd"
"""Stands where the options were listed."""
SHOWN = 80  # characters of a reply that an excerpt holds

How = Literal["line", "marked", "stated", "letters", "led", "judged", "words", "refusal", "empty", "none", "several"]
"""How an answer was found: in the answer line; in a box or tag; in a phrase that states one; letters or numbers alone; at the head of the
first or last line; as the only option called right; as the only one whose words are there. Or why none was: the reply declines,
is empty, holds no answer, or more than one."""


class Reading(NamedTuple):
    """What was made of a reply: ``answers`` are places of options, ascending, None where it is unreadable; ``excerpt`` is where in the
    reply, with option names as they stood."""

    answers: tuple[int, ...] | None
    how: How
    excerpt: str = ""


def read_choice(reply: str, body: Choice, pack: Pack, others: Sequence[Pack] = (), *, cut: bool = False) -> Reading:
    """The options that a reply chooses.

    ``others`` are packs of languages that a model may fall into, English as a rule. Of the right answers nothing is used but whether
    they are several: the prompt says so, too. Then a set is read; else a reply that leaves two open is unreadable. Of several
    statements the last one counts. ``cut``: the reply was cut off at its bound; what it says first of its options may be the first
    of a list, and only a statement, an answer line, a mark or letters for themselves at its beginning count.
    """
    said, thinking = outside_thoughts(reply)
    text = cleaned(said)
    if not any(one.isalnum() for one in text):
        return Reading(None, "empty")
    others = [other for other in others if other.code != pack.code]
    for other in (pack, *others):
        until = _next_question(text, other)
        if until:
            own = _read(text[:until], body, pack, others, (thinking, False))
            if own.answers is not None:
                return own
    return _read(text, body, pack, others, (thinking, cut))


def reader(packs: Iterable[Pack]) -> str:
    """What pins the reading: the version, and a hash of all that these packs say for it."""
    said = []
    for pack in packs:
        facts = pack.replies.model_dump(mode="json") if pack.replies else None
        cues = (pack.cues.conclusion, pack.cues.judged) if pack.cues else None
        choice = (pack.choice.letters, pack.choice.answer) if pack.choice else None
        said.append([pack.code, facts, cues, choice, pack.identity.scripts, str(pack.text)])
    return f"{VERSION}@{hashlib.sha256(json.dumps(sorted(said, key=str)).encode()).hexdigest()[:12]}"


def _read(text: str, body: Choice, pack: Pack, others: Sequence[Pack], broken: tuple[bool, bool]) -> Reading:
    """``broken``: whether the text is of thoughts that never ended, and whether it was cut off."""
    thinking, cut = broken
    count, several = len(body.options), len(body.answers) > 1
    if count > MOST:
        return Reading(None, "none")
    marked = signed(text, body.options, pack, others)
    numbers = counts_by_number(body.options)
    rules = grammar((pack, *others), count, numbers)
    kept = without_denied(_without_list(marked, count), rules)
    show = _Shower(body.options, letters_of(pack, count))
    found = statements(kept, rules)
    if thinking:
        firm = [one for one in found if one.kind in ("line", "marked")]
        return _settled(firm[-1], several, kept, show) if firm else Reading(None, "none")
    alone = [one for one in _lines(kept, rules, several) if not cut or one.start == 0]
    firm = [one for one in found if one.kind != "judged"] + alone
    if firm:
        return _settled(max(firm, key=lambda one: (one.end, -one.start)), several, kept, show)
    if cut:
        return Reading(None, "none")
    refused = any(_refuses(marked, one) for one in (pack, *others))
    kept = _without_begun_list(kept, rules)
    led = _led(kept, rules, several)
    if led and refused and re.search(WEAK_SIGN, kept[led.start : led.end]):
        led = None  # "yes and no can both be argued"
    for weaker in (led, _judged(found), None if refused else at_the_end(kept, rules)):
        if weaker:
            return _settled(weaker, several and len(weaker.options) < count, kept, show)
    if refused:
        return Reading(None, "refusal")
    return _by_words(kept, rules, several, show)


def _settled(one: Stated, several: bool, text: str, show: _Shower) -> Reading:
    excerpt = show(text[one.start : one.end])
    if one.open or (len(one.options) > 1 and not several):
        return Reading(None, "several", excerpt)
    return Reading(tuple(sorted(one.options)), _HOW[one.kind], excerpt)


_HOW: dict[str, How] = {
    "line": "line", "marked": "marked", "stated": "stated", "letters": "letters", "led": "led", "judged": "judged",
}  # fmt: skip


def _lines(text: str, rules: Grammar, several: bool) -> list[Stated]:
    """The first and the last line, where they hold letters alone; a list of letters is none. Where several are right, letters may
    stand on a line each."""
    alone, count = standing_alone(text, rules), text.count("\n") + 1
    if several and len(alone) == count:
        return [_union(alone)]
    if len({one.options for one in alone}) > 2:
        return []
    last = text.rfind("\n") + 1
    ends = [one for one in alone if one.start == 0 or one.end > last]
    return ends if len({one.options for one in alone}) == 1 or any(one.end > last for one in ends) else []


def _union(some: Sequence[Stated]) -> Stated:
    options = frozenset[int]().union(*(one.options for one in some))
    return Stated(some[0].start, some[-1].end, options, some[0].kind, any(one.open for one in some))


def _led(text: str, rules: Grammar, several: bool) -> Stated | None:
    """The first or the last line, where it begins with an option, and the only such line; of a list of all options, the one that stands
    there once more at the end."""
    heads = leading(text, rules)
    if not heads:
        return None
    last = text.rfind("\n") + 1
    different = {one.options for one in heads}
    if several and len(heads) == text.count("\n") + 1 and len(heads) > 1:
        return _union(heads)
    if len(different) == 1:
        return next((one for one in heads if one.start == 0 or one.end > last), None)
    again = heads[-1].options in {one.options for one in heads[:-1]}
    return heads[-1] if again and heads[-1].start >= last and len(heads) == len(different) + 1 else None


def _without_begun_list(text: str, rules: Grammar) -> str:
    """A signed reply without a last line that is the first of a list and was not finished: an introduction stands before it, or its end
    is missing."""
    heads = leading(text, rules)
    head = heads[-1] if heads else None
    if not head or len({one.options for one in heads}) > 1 or "\n" in text[head.start :].strip() or head.start == 0:
        return text
    said = text[head.end :].strip()
    if not said or text[head.end - 1] not in ":-–—":
        return text
    begun = text[: head.start].rstrip().endswith(":") or not re.search(r"[.!?。…]\W*$", said)
    return text[: head.start].rstrip() if begun else text


def _judged(found: Sequence[Stated]) -> Stated | None:
    judged = [one for one in found if one.kind == "judged"]
    return _union(judged) if judged else None


def _without_list(text: str, count: int) -> str:
    """A signed reply without the list of all options in their order, which only says the question again."""
    between = r"[\s.,;:、()\-–—]{0,4}(?:[^\W\d_]{1,3}\s)?"
    signs = (f"[{chr(STRONG + place)}{chr(WEAK + place)}]" for place in range(count))
    return re.sub(between.join(signs), lambda found: LISTED * len(found.group()), text) if count > 2 else text


def _by_words(text: str, rules: Grammar, several: bool, show: _Shower) -> Reading:
    """The only option that is spoken of in a brief reply, or at the beginning or the end of a long one: in the midst of an explanation
    an option is spoken of for many a reason. All of them, where several are right and nothing else is said."""
    hits, besides = mentions(text, rules)
    long = len(text) + 2 * len(UNSPACED.findall(text)) > BRIEF
    if not hits or (long and not any(outermost(text, one.start, one.end) for one in hits)):
        return Reading(None, "several" if LISTED in text else "none")
    if all(unfinished(text, one.start, one.end) for one in hits):
        return Reading(None, "none")
    options = frozenset[int]().union(*(one.options for one in hits))
    around = show(text[max(0, hits[0].start - SHOWN // 2) : hits[0].end + SHOWN // 2])
    rest = len(re.findall(r"[^\W_]+", UNSPACED.sub(" x ", text)))
    together = len({one.options for one in hits}) == 1 or rest <= 2 * len(options)
    strange = any(not one.options <= options for one in besides)
    if strange or any(one.open for one in hits) or (len(options) > 1 and not (several and together)):
        return Reading(None, "several", around)
    return Reading(tuple(sorted(options)), "words", around)


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in patterns), re.IGNORECASE | re.MULTILINE)


def _refuses(text: str, pack: Pack) -> bool:
    facts = pack.replies
    return bool(facts and facts.refuses and _compiled(facts.refuses).search(text))


def _next_question(text: str, pack: Pack) -> int:
    """Where a model goes on to another question; 0 where it does not."""
    facts = pack.replies
    found = _compiled(facts.again).search(text) if facts and facts.again else None
    return found.start() if found else 0


class _Shower:
    """Turns signs back into words."""

    def __init__(self, options: Sequence[str], letters: Sequence[str]):
        self._names = {}
        for index, option in enumerate(options):
            words = plain_option(option)
            self._names[STRONG + index] = self._names[WEAK + index] = words
            self._names[POINTED + index] = f"#{index + 1}"

    def __call__(self, text: str) -> str:
        return text.translate(self._names).replace(GONE, "…").replace(LISTED, "…").strip()[:SHOWN]
