"""Is a text about medicine? The filter of the corpus MMedC, by keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import PrivateAttr

from langmill.api import (
    Context,
    Drop,
    Field,
    Filter,
    Flag,
    MissingInput,
    Pack,
    Row,
    StepContext,
    missing_package,
    nearest,
    words,
)
from langmill_plugins.text.wording import folded, word_list

if TYPE_CHECKING:
    from pathlib import Path

# A blank beside a character of an unspaced script is a line break of the page, not of the sentence.
_LINE_BREAK = re.compile(r"(?<=[^\x00-\x7f]) | (?=[^\x00-\x7f])")
_LATIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
# The published filter takes keywords longer than this as substrings, so that they match inflected forms, too.
LONG_WORD, LONG_PHRASE = 10, 5


_HOME = "a keyword a line; MMedC's own are in data_collection/filtering/keywords.py of GitHub MAGIC-AI4Med/MMedLM (CC BY-SA), a list a file"


class Share(NamedTuple):
    """How much of a text its keywords are."""

    keywords: int
    density: float


class Finder:
    """One pass over a text finds every keyword of a list, however many there are (Aho-Corasick).

    ``by`` word: a keyword begins where a word begins, right beside punctuation too, and ends where a word ends. One that is
    written with a star at its end, or is longer than ten characters, or longer than five and of several words, may end inside
    a word, so that endings may follow. ``by`` character: a keyword stands anywhere, but its Latin letters and digits do not
    stand in a longer run of such.
    """

    def __init__(self, keywords: Iterable[str], by: Literal["word", "character"]):
        try:
            import ahocorasick_rs
        except ImportError:
            raise missing_package("medical_text", "ahocorasick_rs", "data") from None
        self.by, self.keywords = by, tuple(keywords)
        keys = {self._key(keyword) for keyword in self.keywords} - {""}
        self._words = [key.strip() for key in sorted(keys)]
        self._automaton = ahocorasick_rs.AhoCorasick(sorted(keys))

    def __reduce__(self) -> tuple[type[Finder], tuple[tuple[str, ...], str]]:
        """A process that a step is sent to makes the automaton anew: it can not be pickled."""
        return Finder, (self.keywords, self.by)

    def share(self, text: str) -> Share:
        """How many different keywords a text holds, and which share of its characters stands in one.

        On the text folded (NFKC, lower case). Published are both, over all characters; here a character that two keywords share
        counts once, and where words stand between blanks punctuation does not count.
        """
        plain = self._plain(text)
        found, covered, low = set(), 0, len(plain)
        for number, start, end in reversed(self._automaton.find_matches_as_indexes(plain, overlapping=True)):
            start, end = start + (plain[start] == " "), end - (plain[end - 1] == " ")
            if self.by == "character" and _inside(plain, start, end):
                continue
            found.add(self._words[number])
            if start < low:  # they come by falling end: all from ``low`` to this end is covered
                covered += min(end, low) - start
                low = start
        return Share(len(found), covered / max(1, len(plain.strip())))

    def _plain(self, text: str) -> str:
        """The text as keywords are looked for in it. Lone surrogates, which are no characters, become question marks."""
        if self.by == "word":
            text = f" {' '.join(word_list(text))} "
        else:
            text = _LINE_BREAK.sub("", folded(text))
        return text if text.isascii() else text.encode("utf-8", "replace").decode()

    def _key(self, keyword: str) -> str:
        """What is looked for, with a blank where a word must begin or end; empty when the keyword has no letter."""
        plain = self._plain(keyword.rstrip("*")).strip()
        if self.by == "character" or not plain:
            return plain
        long = len(plain) > LONG_WORD or (" " in plain and len(plain) > LONG_PHRASE)
        return f" {plain}" if long or keyword.endswith("*") else f" {plain} "


def _inside(text: str, start: int, end: int) -> bool:
    """Whether a piece of a text begins or ends inside a run of Latin letters and digits."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return (before in _LATIN and text[start] in _LATIN) or (after in _LATIN and text[end - 1] in _LATIN)


class MedicalText(Filter):
    """Drops rows that are not about medicine, as the corpus MMedC was filtered (arXiv 2402.13963).

    A row stays that holds enough different keywords of its language, and of whose characters a large enough share stands in
    keywords. Keywords and thresholds are the language pack's; with `keywords` they are those files', and the thresholds those
    published with MMedC's lists. Made for running text: an exam question is too short to hold five keywords, so lower
    `least_keywords` for such rows. Reason: `not_medical`.
    """

    keywords: str | Mapping[str, str] = Field(
        "", description="keyword files in place of the packs', a keyword on each line; {lang} is the row's language, wildcards "
        "may be used; or such a path for each language",
    )  # fmt: skip
    least_keywords: int | None = Field(None, ge=1, description="fewest different keywords; the pack's when left out")
    least_density: float | None = Field(
        None, ge=0, le=1, description="smallest share of characters that stand in keywords; the pack's when left out"
    )
    _finders: dict[str, tuple[Finder, int, float]] = PrivateAttr(default_factory=dict)

    def files(self, context: Context) -> list[Path]:
        """The keyword files of the recipe's languages. Raises MissingInput for a path where nothing is, and for a language that
        is not the recipe's."""
        for code in self.keywords if isinstance(self.keywords, Mapping) else ():
            if code not in context.languages:
                known = nearest(code, context.languages)
                raise MissingInput(f"{context.place}.keywords: '{code}' is no language of the recipe: {known}")
        return [
            file for code in sorted(context.languages) if (path := self._path(code)) for file in _files(path, context)
        ]

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row. Raises MissingInput for a language without keywords or thresholds."""
        return [self._one(words(row.body), row.language, context) for row in rows]

    def _one(self, text: str, language: str, context: StepContext) -> Drop | None:
        if language not in self._finders:
            self._finders[language] = self._finder(context.pack(language), context)
        finder, least_keywords, least_density = self._finders[language]
        found = finder.share(text)
        if found.keywords >= least_keywords and found.density >= least_density:
            return None
        return Drop(
            "not_medical",
            f"{found.keywords} keywords (least {least_keywords}), density {found.density:.3f} (least {least_density:g})",
        )

    def _finder(self, pack: Pack, context: StepContext) -> tuple[Finder, int, float]:
        facts = pack.need("medical")
        path = self._path(pack.code)
        limits = facts.published if path else facts
        least_keywords = self.least_keywords or (limits and limits.least_keywords)
        least_density = self.least_density if self.least_density is not None else limits and limits.least_density
        if least_keywords is None or least_density is None:
            raise MissingInput(
                f"{context.place}: no thresholds were published for '{pack.code}': "
                "say least_keywords and least_density beside keywords"
            )
        return Finder(_read(path, context) if path else pack.keywords, facts.by), least_keywords, least_density

    def _path(self, language: str) -> str:
        """The keyword files of a language, as a path with wildcards; empty when they are the pack's."""
        path = self.keywords if isinstance(self.keywords, str) else self.keywords.get(language, "")
        return path.replace("{lang}", language)


def _files(path: str, context: Context) -> list[Path]:
    place = context.path(path)
    found = sorted(item for item in place.parent.glob(place.name) if item.is_file())
    if not found:
        raise MissingInput(f"{context.place}.keywords: nothing at '{path}' ({place}): {_HOME}")
    return found


def _read(path: str, context: StepContext) -> list[str]:
    """The keywords of all files that a path with wildcards names."""
    try:
        lines = [line.strip() for file in _files(path, context) for line in file.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise MissingInput(f"{context.place}.keywords: {path} is not UTF-8: {error}") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise MissingInput(f"{context.place}.keywords: no keywords at {path}")
    return found
