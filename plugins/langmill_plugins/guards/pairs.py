"""All guards over what a model wrote: over a text by itself, beside its source, beside the passage that it is made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from langmill.api import Drop, Pack
from langmill_plugins.guards import claims, wording
from langmill_plugins.guards.choices import shuffled
from langmill_plugins.guards.conclusions import concludes
from langmill_plugins.guards.cues import changed_cues
from langmill_plugins.guards.glossaries import Glossary
from langmill_plugins.guards.length import length
from langmill_plugins.guards.names import changed_names, not_kept
from langmill_plugins.guards.numbers import changed_numbers
from langmill_plugins.guards.reading import Reading, read

if TYPE_CHECKING:
    from langmill_plugins.text.identifiers import Identifier

WORDED = frozenset({"language", "chatter", "leaks", "loops"})
"""Guards over any text."""
READINGS = frozenset({"numbers", "units", "negation", "sides", "comparisons", "names"})
"""Guards that read a text beside its source."""
TRANSLATED = WORDED | READINGS | {"length", "untranslated", "options"}
"""Guards over a translation."""
UNREADABLE = {"wrong_language", "untranslated"}
"""Reasons after which nothing else can be said of a text."""


class Piece(NamedTuple):
    """A piece of a row, by the word that people call it, and what was made of it."""

    name: str
    source: str
    target: str


@dataclass(frozen=True)
class Asked:
    """What a model was asked: the ``prompt``, and the ``row``'s own pieces in it. ``packs`` are those of the recipe; without an
    ``identifier`` no language is told."""

    packs: Sequence[Pack] = ()
    identifier: Identifier | None = None
    prompt: str = ""
    row: Sequence[str] = ()


def worded(
    texts: Sequence[str], pack: Pack, on: Collection[str], asked: Asked, sources: Sequence[str] = (), *more: Pack
) -> list[list[Drop]]:
    """What is wrong with each of some texts by itself. ``sources`` are what they were translated from, and ``more`` the packs of
    the languages in which a model may chat besides."""
    found: list[list[Drop]] = [[] for _ in texts]
    if "language" in on and asked.identifier:
        same = sources if "untranslated" in on else ()
        _add(found, wording.foreign(texts, pack, wording.labels(asked.packs), asked.identifier, same))
    packs = list(
        {each.code: each for each in (pack, *more, *asked.packs) if each in (pack, *more) or each.code == "en"}.values()
    )
    for index, (drops, text) in enumerate(zip(found, texts, strict=True)):
        if "chatter" in on:
            drops += wording.chatter(text, packs, sources[index] if sources else "")
        if "leaks" in on:
            drops += wording.leaked(text, asked.prompt, asked.row)
    if "loops" in on:
        _add(found, wording.loops(texts, sources))
    return found


def faults(
    pieces: Sequence[Piece],
    options: Sequence[Piece],
    source: Pack,
    target: Pack,
    on: Collection[str],
    asked: Asked,
    *,
    keep: Sequence[str] = (),
    glossary: Glossary | None = None,
) -> list[Drop]:
    """What is wrong with a translated row. ``options`` are those of a choice item, in order; they are one text where a text has to
    be of some length. Of a piece in the wrong language nothing else is told."""
    whole = [*pieces, *options]
    told = worded([piece.target for piece in whole], target, on, asked, [piece.source for piece in whole], source)
    found: list[Drop] = []
    lost = set()
    for piece, drops in zip(whole, told, strict=True):
        reasons = {drop.reason for drop in drops}
        if "untranslated" in on and "untranslated" not in reasons:
            drops[:0] = _left_as_it_was(piece) or wording.untranslated(piece.source, piece.target)
        if UNREADABLE & reasons:
            lost.add(piece.name)
        found += named(drops, piece.name)
    if options and "options" in on:
        found += shuffled([each.source for each in options], [each.target for each in options], source, target)
    if "length" in on:
        one = (
            [Piece("options", "\n".join(o.source for o in options), "\n".join(o.target for o in options))]
            if options
            else []
        )
        for piece in (*pieces, *one):
            if piece.name not in lost:
                found += named(length(piece.source, piece.target, source, target), piece.name)
    for piece in whole:
        if piece.name not in lost:
            found += named(_changed(piece, source, target, on, keep, glossary), piece.name)
    return found


def _left_as_it_was(piece: Piece) -> list[Drop]:
    """A question that is its source: shorter than what is told from its words, and yet never the same in two languages."""
    if piece.name == "question" and piece.source.split() == piece.target.split():
        return [Drop("untranslated", f"as in the source: {piece.target[:150]}")]
    return []


def _changed(
    piece: Piece, source: Pack, target: Pack, on: Collection[str], keep: Sequence[str], glossary: Glossary | None
) -> list[Drop]:
    found: list[Drop] = []
    if READINGS.intersection(on):
        before, after = read(piece.source, source), read(piece.target, target)
        found += changed_numbers(before, after, numbers="numbers" in on, units="units" in on)
        found += changed_cues(
            before, after, negation="negation" in on, sides="sides" in on, comparisons="comparisons" in on
        )
        if "names" in on:
            found += changed_names(before, after)
    if keep:
        found += not_kept(piece.source, piece.target, keep)
    if glossary:
        found += glossary.missing(piece.source, piece.target)
    return found


def expanded(short: str, long: str, pack: Pack, on: Collection[str], asked: Asked) -> list[Drop]:
    """What is wrong with a longer answer beside the short one. It may say more, with more numbers, and nothing else."""
    [found] = worded([long], pack, on, asked)
    if UNREADABLE & {drop.reason for drop in found}:
        return found
    called = "the short answer", "the longer one"
    if READINGS.intersection(on):
        before, after = read(short, pack), read(long, pack)
        changed = changed_numbers(_once(before), after, numbers="numbers" in on, units="units" in on, added=False)
        found += _called(_within(changed, before, after), called)
        found += claims.turned_claim(short, long, pack, negation="negation" in on, sides="sides" in on)
        if "names" in on:
            found += _called(changed_names(before, after), called)
    if "claim" in on:
        found += claims.lost_claim(short, long, pack)
    return found


def explained(
    text: str, options: Sequence[str], answers: Sequence[int], pack: Pack, on: Collection[str], asked: Asked
) -> list[Drop]:
    """What is wrong with the rationale of a choice item's known answers."""
    [found] = worded([text], pack, on, asked)
    if "conclusion" in on and not UNREADABLE & {drop.reason for drop in found}:
        found += concludes(text, options, answers, pack)
    return found


def answered(
    texts: Sequence[tuple[str, str]],
    passage: str,
    pack: Pack,
    on: Collection[str],
    asked: Asked,
    support: float,
    home: Pack | None = None,
) -> list[list[Drop]]:
    """What is wrong with each of some questions and their answers, beside the passage that they are made from. ``support``: the
    least share of a pair's terms that the passage has too; 0 asks for none. ``home``: the pack of the passage's language where it is
    not theirs."""
    by_text = worded([text for pair in texts for text in pair], pack, on, asked)
    compared, seen = bool({"numbers", "units"}.intersection(on)), set[str]()
    found: list[list[Drop]] = []
    for index, (question, answer) in enumerate(texts):
        drops: list[Drop] = []
        if not any(letter.isalpha() for letter in question):
            drops.append(Drop("no_question", question))
        if question.casefold() in seen:
            drops.append(Drop("repeated_question", question))
        seen.add(question.casefold())
        if "standalone" in on:
            drops += claims.speaks_of_text(question, pack) or claims.speaks_of_text(answer, pack)
        drops += [*by_text[2 * index], *by_text[2 * index + 1]]
        whole = f"{question} {answer}"  # on one line: at the beginning of one, numbers may count the lines of a list
        if not UNREADABLE & {drop.reason for drop in drops}:
            if compared:
                known = read(passage, home or pack)
                said = _once(_stated(read(whole, pack), len(read(question, pack).text)))
                changed = changed_numbers(said, known, numbers="numbers" in on, units="units" in on, added=False)
                drops += _called(_within(changed, said, known), ("the pair", "the passage"))
            drops += claims.unsupported(whole, passage, pack, support)
        found.append(drops)
    return found


def strange_terms(answer: str, passage: str, glossary: Glossary) -> list[Drop]:
    """Terms of an answer that its passage, in another language, does not have. ``glossary``: from the answer's language."""
    found = glossary.missing(answer, passage)
    return [fault._replace(detail=fault.detail.replace("in the translation", "in the passage")) for fault in found]


def alike(one: str, other: str, pack: Pack, called: tuple[str, str]) -> tuple[float, list[Drop]]:
    """How alike two texts of a language are, 0 to 1, by shared words; and not at all when their numbers differ, which are told.
    ``called`` is what people call the two."""
    if changed := changed_numbers(read(one, pack), read(other, pack)):
        return 0.0, _called(changed, called)
    return claims.likeness(one, other, pack), []


def _once(reading: Reading) -> Reading:
    """A reading in which no number comes twice: said again it needs no other beside it."""
    numbers = {(number.values, number.unit, number.per, number.kind): number for number in reversed(reading.numbers)}
    return reading._replace(numbers=tuple(sorted(numbers.values())))


def _stated(reading: Reading, question: int) -> Reading:
    """A reading without the numbers that a question, so many characters from the beginning, writes out: "which two causes" states
    nothing."""
    return reading._replace(
        numbers=tuple(number for number in reading.numbers if not number.word or number.end > question)
    )


def _within(faults: Sequence[Drop], part: Reading, whole: Reading) -> Sequence[Drop]:
    """Faults between a text and one that says more than it: which way and how often may be told of other things there, too."""
    for kind in ("frequency", "route"):
        said, there = ({hit.value for hit in reading.hits if hit.kind == kind} for reading in (part, whole))
        if said <= there:
            faults = [fault for fault in faults if fault.reason != f"changed_{kind}"]
    return faults


def _called(faults: Sequence[Drop], called: tuple[str, str]) -> list[Drop]:
    """Faults between two texts of which neither is a translation: ``called`` is what people call the source and the target."""
    source, target = called
    return [
        fault._replace(detail=fault.detail.replace("the source", source).replace("the translation", target))
        for fault in faults
    ]


def named(faults: Sequence[Drop], name: str) -> list[Drop]:
    """Faults whose details begin with the name of what they are in, if it has one."""
    return [fault._replace(detail=f"{name}: {fault.detail}") if name else fault for fault in faults]


def _add(found: list[list[Drop]], more: Sequence[Sequence[Drop]]) -> None:
    for drops, others in zip(found, more, strict=True):
        drops += others
