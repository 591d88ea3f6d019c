"""The wording of an answer: its language, what a model says round it, and what it copied."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from langmill.api import Drop, Pack
from langmill_plugins.text.wording import folded

if TYPE_CHECKING:
    from langmill_plugins.text.identifiers import Identifier
    from langmill_plugins.text.sides import Side

TELLING = 20  # weight of letters below which a model of languages is not asked
# How much likelier than the claimed language another one must be, from so many letters on. In 10,000 clean pieces of exams and
# notices in English, Spanish and French hardly one reaches that; those of under 30 letters are often names.
CLEAR = ((60, 1.5), (40, 3.0), (30, 6.0), (0, 30.0))
COPIED = 1.2  # the same for a text most of whose words stand in its source
NEAR = 0.7  # share of a text's words that its source has, too, from which on it may be the source, touched up
SURE = 0.9  # score of a language that no pack is of
LEAST_NAME = 6  # letters of a single word that a language in other letters than Latin ones writes in its own

SURE_KANJI = 0.95  # score of Han characters without kana that a short text is Chinese, or Japanese
PROSE = 6  # words in small letters that make running text of a line of names

_WORD = re.compile(r"[^\W\d_]{2,}")
_SMALL = re.compile(r"(?<![^\W_])[a-z\u00df-\u00ff]{2,}(?![^\W_])")
_SPECIES = re.compile(
    r"[A-Z][a-z]*\.? (?:[a-z]*(?:us|um|is|ae?|ii?|[ae]?ns|es|x|os|on|oli|ile|or)|spp?)(?: [a-z]+)?[. ]*"
)

TAIL = 400  # characters at the end of a text in which a model may speak to the reader
CHUNK, CHUNK_WIDE = 20, 8  # characters that are looked up in a prompt; of Han, kana and hangul
LEAK, LEAK_WIDE = 40, 16  # characters that nobody writes like the prompt by chance
SHORTEST_LOOP = 12  # characters of the shortest loop
REPEATED = 0.5  # share of a text in passages it had before
LEAST_SENTENCE, LEAST_WIDE = 20, 10  # characters of a sentence, and Han, kana and hangul in one
BESIDE = 30  # characters beside a sentence that tell whether it is a title
LEFT = 3  # words in small letters that a sentence has at least

_BREAK = re.compile(r"\n\s*|[.!?…]\)?\s+|[。！？]\s*|\s(?=[(（])")
_TAG = re.compile(r"</?[a-z_]{4,20}>|\{\{ ?[a-z_]+ ?\}\}|\{%")
_KEY = re.compile(r"[\"'](?:question|answer|options?|explanation|context|pairs|letter|text|translation)[\"']\s*:")
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
_ADDRESS = re.compile(r"\w/[\w-]+[/.]|\w@\w")
_SENTENCE = re.compile(r"[^.!?…。！？\n]+(?:[.!?…。！？]+(?![.\w])|\n|$|[.!?…]+(?=\w))")


def labels(packs: Iterable[Pack]) -> frozenset[str]:
    """The labels of some packs' languages, and of English, into which models fall back whatever they were asked for."""
    from langmill_plugins.text.sides import labels_of

    return frozenset({"en", *(label for pack in packs for label in labels_of(pack))})


def foreign(
    texts: Sequence[str], pack: Pack, known: Collection[str], identifier: Identifier, sources: Sequence[str] = ()
) -> list[list[Drop]]:
    """Which texts are not in the language of ``pack``: `wrong_language`, or `mixed_language` where a passage of one is not.

    Texts of many rows go in one call: scripts and model see them at once. ``known`` are the labels of languages that they may
    be in (:func:`labels`). ``sources`` are the texts that these were translated from, in the same order: a text that came
    back word for word is `untranslated`, unless it is a name, a number or a term that both languages have.
    """
    from langmill_plugins.text.passages import passages
    from langmill_plugins.text.sides import labels_of, read_sides

    own, latin = labels_of(pack), pack.identity.scripts == ("Latn",)
    sides = read_sides([passages(text, latin) for text in texts], [pack] * len(texts), identifier, known, TELLING)
    strange, other_letters = _letters(texts, pack)
    found: list[list[Drop]] = [[] for _ in texts]
    unsure: list[tuple[int, bool]] = []
    for index, (text, side) in enumerate(zip(texts, sides, strict=True)):
        copied = bool(sources) and _copied(sources[index], text, latin)
        drop = None
        if strange[index]:
            drop = Drop("wrong_language", f"{pack.code} is wanted, and this is in other letters: {text[:100]}")
        elif latin:
            if copied or (side and side.reading.label not in own and not side.reading.by_script):
                unsure.append((index, copied))
            elif side:
                drop = _read(text, side, own, pack)
        elif copied:
            drop = Drop("untranslated", f"as in the source: {text[:100]}")
        elif side and not (side.reading.by_script and _is_name(text, side.reading.label, other_letters[index])):
            drop = _read(text, side, own, pack)
        if drop:
            found[index].append(drop)
    weighed = _weighed([texts[index] for index, _ in unsure], own, known, identifier)
    for (index, copied), (likeliest, times) in zip(unsure, weighed, strict=True):
        side, text = sides[index], texts[index]
        if copied and times >= COPIED:
            found[index].append(Drop("untranslated", f"as in the source: {text[:100]}"))
        elif side and not _SPECIES.fullmatch(text.strip()):
            near = bool(sources) and _shares_words(sources[index], text)
            least = COPIED if near else next(least for weight, least in CLEAR if side.weight >= weight)
            if times >= least:
                found[index].append(_wrong(pack, likeliest, text))
            elif side.reading.score >= SURE and side.weight >= CLEAR[0][0] and side.reading.label not in own:
                found[index].append(_wrong(pack, side.reading.label, text))
    return found


def _read(text: str, side: Side, own: Collection[str], pack: Pack) -> Drop | None:
    """The verdict on a text that reads clearly."""
    from langmill_plugins.text.identifiers import HAN_LABELS

    label, score, by_script = side.reading
    if label and label not in own:
        if not (label in HAN_LABELS and by_script and score < SURE_KANJI and side.weight < CLEAR[0][0]):
            return _wrong(pack, label, text)
        return None
    if side.foreign:
        detail = f"{pack.code} is wanted, and {side.foreign:.0%} of this is {side.foreign_label}: {text[:100]}"
        return Drop("mixed_language", detail)
    return None


def _wrong(pack: Pack, label: str, text: str) -> Drop:
    return Drop("wrong_language", f"{pack.code} is wanted, and this is {label}: {text[:100]}")


def _letters(texts: Sequence[str], pack: Pack) -> tuple[list[bool], list[bool]]:
    """Of each text: whether most of its letters are in scripts that the language does not use (Latin and Greek ones it may),
    and whether any is not a Latin or Greek one."""
    from langmill_plugins.text.scripts import SCRIPTS, WEIGHTS, columns_of, measure

    mine = columns_of(pack.identity.scripts)
    letters = measure(texts).letters * WEIGHTS
    free = {SCRIPTS.index("LATIN"), SCRIPTS.index("GREEK")}
    whole = letters.sum(1)
    others = letters[:, sorted(free)].sum(1) < whole
    if mine is None:
        return [False] * len(texts), list(others.tolist())
    return list((2 * letters[:, sorted(free.union(mine))].sum(1) < whole).tolist()), list(others.tolist())


def _weighed(
    texts: Sequence[str], own: Collection[str], known: Collection[str], identifier: Identifier
) -> list[tuple[str, float]]:
    """The likeliest of the known languages in Latin letters apart from ``own``, and how many times likelier than that it is."""
    from langmill_plugins.text.identifiers import possible
    from langmill_plugins.text.scripts import LATIN

    found = []
    for scores in identifier.scores(texts):
        scores = possible(scores, LATIN, {*known, *own})
        mine = sum(scores.pop(label, 0.0) for label in own)
        label = max(scores, key=lambda label: scores[label], default="")
        found.append((label, scores.get(label, 0.0) / (mine + 1e-3)))
    return found


def _is_name(text: str, label: str, other_letters: bool) -> bool:
    """Whether a text that reads as in Latin letters may stand so in any language: a germ's name, a line of names."""
    from langmill_plugins.text.identifiers import written_in
    from langmill_plugins.text.scripts import LATIN

    if label and not written_in(label, LATIN):
        return False
    small = len(_SMALL.findall(text))
    return bool(_SPECIES.fullmatch(text.strip())) or small < (PROSE if other_letters else 2)


def _copied(source: str, text: str, latin: bool) -> bool:
    """Whether a text is its source word for word and should not be."""
    if folded(source) != folded(text) or _SPECIES.fullmatch(text.strip()):
        return False
    words = _WORD.findall(text)
    if latin or len(words) > 1:
        return len(words) > 1 and bool(_SMALL.search(text))
    return len(words) == 1 and len(words[0]) >= LEAST_NAME and words[0][1:].islower() and words[0].isascii()


def _shares_words(source: str, text: str) -> bool:
    """Whether most words of a text stand in its source, too."""
    words = set(_WORD.findall(text.lower()))
    return len(words) > 3 and len(words & set(_WORD.findall(source.lower()))) >= NEAR * len(words)


def chatter(text: str, packs: Sequence[Pack], source: str = "") -> list[Drop]:
    """What a model said round its answer, by the phrases that ``packs`` have for it (the answer's, English, the source's): at
    the beginning, or from the beginning of a line or sentence near the end on. A source that begins or ends so, too, is no
    model's."""
    pattern = _chatter(tuple(phrase for pack in packs if pack.cues for phrase in pack.cues.chatter))
    for name, places in (("begins", _beginning), ("ends", _ends)):
        found = next((hit for place in places(text) if (hit := pattern.match(text, place))), None)
        if found and not any(pattern.match(source, place) for place in places(source)):
            return [Drop("chatter", f"the answer {name} with what is no part of it: {found.group().strip()[:100]}")]
    return []


@lru_cache
def _chatter(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"[\s\W_]{{0,8}}(?:```|{'|'.join(phrases) or '(?!)'})", re.IGNORECASE)


def _beginning(text: str) -> list[int]:
    return [0]


def _ends(text: str) -> list[int]:
    """Where the lines and sentences begin that stand in the last characters of a text."""
    start = max(1, len(text) - TAIL)
    return [mark.end() for mark in _BREAK.finditer(text, start)]


def leaked(text: str, prompt: str, own: Sequence[str] = ()) -> list[Drop]:
    """What an answer took over from the instructions: a run of 40 characters (16 in scripts without spaces) of the prompt, or
    its tags and keys. ``own`` are the pieces of the row that stand in the prompt: they may come again."""
    lower, asked, mine = _spaced(text), _spaced(prompt), list(map(_spaced, own))
    for mark in (*_TAG.findall(lower), *_KEY.findall(lower)):
        if not any(mark in piece for piece in mine):
            return [Drop("prompt_leak", f"the answer has {mark}")]
    for piece in sorted(mine, key=len, reverse=True):
        if len(piece) >= CHUNK_WIDE:
            asked = asked.replace(piece, "\0")
    step = CHUNK_WIDE if _WIDE.search(lower) else CHUNK
    for start in range(0, len(lower) - step + 1, step):
        place = asked.find(lower[start : start + step])
        if place < 0:
            continue
        run = _run(lower, start, asked, place)
        least = LEAK_WIDE if 2 * len(_WIDE.findall(run)) > len(run) else LEAK
        if len(run) >= least and not any(run in piece for piece in mine):
            return [Drop("prompt_leak", f"the answer repeats its instructions: {run[:100]}")]
    return []


def _run(text: str, start: int, other: str, place: int) -> str:
    """The longest run that two texts have in common round a place where they agree."""
    end = start
    while start and place and text[start - 1] == other[place - 1]:
        start, place = start - 1, place - 1
    while end < len(text) and place + end - start < len(other) and text[end] == other[place + end - start]:
        end += 1
    return text[start:end]


def loops(texts: Sequence[str], sources: Sequence[str] = ()) -> list[list[Drop]]:
    """Which texts have fallen into repeating themselves (`loop`), as text.repeating tells; a source that does so, too, is to
    be followed. Texts of many rows go in one call."""
    from langmill_plugins.text.repeating import repeats

    found: list[list[Drop]] = [[] for _ in texts]
    long = [index for index, text in enumerate(texts) if len(text) >= SHORTEST_LOOP]
    for index, what in zip(long, repeats([texts[index] for index in long]), strict=True):
        if not what.unit and what.share <= REPEATED:
            continue
        before = repeats([sources[index]])[0] if sources else None
        if what.unit and not (before and 2 * before.times >= what.times):
            found[index].append(Drop("loop", f"{what.times} times '{what.unit[:80]}'"))
        elif what.share > REPEATED and not (before and 2 * before.share >= what.share):
            found[index].append(Drop("loop", f"{what.share:.0%} of the text stood in it before"))
    return found


def untranslated(source: str, target: str) -> list[Drop]:
    """A sentence of the source, in running words, that stands in the target as it was. References and titles may."""
    from langmill_plugins.text.passages import is_prose

    before = _spaced(source)
    for found in _SENTENCE.finditer(target):
        sentence = found.group()
        said = _spaced(sentence).strip(" .;:,。、")
        if len(said) < LEAST_WIDE or said not in before:
            continue
        wide = len(_WIDE.findall(said))
        if (len(said) < LEAST_SENTENCE and wide < LEAST_WIDE) or _ADDRESS.search(sentence):
            continue
        # A title is told by the names and the year beside it.
        around = target[max(0, found.start() - BESIDE) : found.end() + BESIDE]
        if wide >= LEAST_WIDE or (is_prose(sentence, LEFT) and (_WIDE.search(around) or is_prose(around, LEFT))):
            return [Drop("untranslated", f"as in the source: {sentence.strip()[:100]}")]
    return []


def _spaced(text: str) -> str:
    return " ".join(text.casefold().split())
