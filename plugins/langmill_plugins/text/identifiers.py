"""Which language a text is in: scripts first, then a model, behind one interface. Needs numpy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Protocol
from unicodedata import normalize

import numpy as np

from langmill.api import MissingInput, missing_package, packaged_model
from langmill_plugins.text.codes import two_letters
from langmill_plugins.text.scripts import LATIN, SCRIPTS, WEIGHTS, Measured, Reading, by_script, measure

READ = 300  # characters of a text that a model reads: it is sure long before
HAN_LABELS = ("zh", "ja")
NOT_TOLD = Reading("", 0.0)
MANY = 20  # languages that a model weighs when it is asked for scores
UNSURE = 0.6  # a model that is less sure than this is asked once more
CERTAIN = 0.97  # what it takes against a claim without asking once more
KANJI_CERTAIN = 0.9  # and against a claim to be Chinese or Japanese
KANJI_SURE = 0.75  # below this score Han characters do not tell Chinese from Japanese
_POWER = 8  # of eldc's scores
NAMES = np.array([0.5 if column == LATIN else 1.0 for column in range(len(SCRIPTS))])
"""What a letter tells about the script of a text: names in Latin letters stand in texts of every script."""
EAST_ASIAN = frozenset({"ja", "ko", "wuu", "yue", "zh"})

# Labels of lid.176 by the script they are written in; a label that is not here is written in Latin letters.
_LABELS: dict[str, str] = {
    "ARABIC": "ar arz azb ckb fa mzn pnb ps sd ug ur",
    "ARMENIAN": "hy",
    "BENGALI": "as bn bpy",
    "CYRILLIC": "av ba be bg bxr ce cv kk krc kv ky lez mhr mk mn mrj myv os ru rue sah sr tg tt tyv uk xal",
    "DEVANAGARI": "bh dty gom hi mai mr ne new sa",
    "ETHIOPIC": "am ti",
    "GEORGIAN": "ka xmf",
    "GREEK": "el",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "HANGUL": "ko",
    "HEBREW": "he yi",
    "KANNADA": "kn",
    "KHMER": "km",
    "LAO": "lo",
    "MALAYALAM": "ml",
    "MYANMAR": "my",
    "ORIYA": "or",
    "SINHALA": "si",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAANA": "dv",
    "THAI": "th",
    "TIBETAN": "bo dz",
}
_BOTH = frozenset({"az", "bs", "ku", "sr", "tk", "uz"})  # written in Latin letters and in others


def plain(label: str) -> str:
    """A model's label as lid.176 would write it: ``__label__zh`` and GlotLID's ``__label__cmn_Hani`` are ``zh``."""
    name = label.removeprefix("__label__")
    code, mark, script = name.partition("_")
    return two_letters(code) if mark and len(script) == 4 else name


class Identifier(Protocol):
    """A model that names languages, by labels as :func:`plain` writes them, with scores from 0 to 1. ``labels`` are all that it
    knows."""

    labels: frozenset[str]

    def likeliest(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """The likeliest label of each text and its score; ("", 0.0) where there is none."""
        ...

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Scores of all labels that come into question, slower and better."""
        ...


class FastText:
    """A fastText model: lid.176, GlotLID, or one's own. Asked with lists: one string at a time fails under NumPy 2."""

    def __init__(self, path: str | None, offline: bool, place: str = "language_id"):
        """``path`` is the packaged lid.176 when None, ``place`` what errors begin with. Raises MissingInput without a model."""
        try:
            import fasttext
        except ImportError:
            raise missing_package(f"{place}: identifier fasttext", "fasttext", "fasttext") from None
        fasttext.FastText.eprint = lambda *words, **options: None  # it warns on stderr at every load
        try:
            self._model = fasttext.load_model(path or str(packaged_model("lid.176.ftz", offline).path))
        except ValueError as error:
            raise MissingInput(f"{place}.model: '{path}' can not be read as a fastText model: {error}") from None
        self._plain = cache(plain)
        self.labels = frozenset(map(plain, self._model.get_labels()))

    def likeliest(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """See Identifier."""
        if not texts:
            return []
        labels, scores = self._model.predict(_lines(texts), k=1)
        name = self._plain
        return [
            (name(names[0]), float(values[0])) if names else ("", 0.0)
            for names, values in zip(labels, scores, strict=True)
        ]

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """See Identifier. The mean of a text as it is and in lower case: capitals mislead the model either way."""
        if not texts:
            return []
        lines = _lines(texts)
        labels, scores = self._model.predict([*lines, *(line.lower() for line in lines)], k=MANY)
        found: list[dict[str, float]] = [{} for _ in lines]
        for place, (names, values) in enumerate(zip(labels, scores, strict=True)):
            mine = found[place % len(lines)]
            for label, score in zip(map(self._plain, names), values.tolist(), strict=True):
                mine[label] = mine.get(label, 0.0) + score / 2
        return found


class Eldc:
    """The identifier of the package eldc: sixty languages, several times as fast as fastText."""

    def __init__(self, place: str = "language_id") -> None:
        """``place`` is what errors begin with. Raises MissingInput without the package."""
        try:
            import eldc
        except ImportError:
            raise missing_package(f"{place}: identifier eldc", "eldc", "eldc") from None
        eldc.init()
        self._two, self._many = eldc.instance(), eldc.instance()
        self._two.set_scores(2)
        self._many.set_scores(MANY)
        self.labels = frozenset(eldc.LANGUAGES)

    def likeliest(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """See Identifier."""
        found = []
        for line in _lines(texts):
            best = list(self._two.detect_details(line).scores.items())
            if len(best) == 2:
                (label, first), (_, second) = best
                found.append((label, 1 / (1 + (second / first) ** _POWER)))
            else:
                found.append(best[0] if best else ("", 0.0))
        return found

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """See Identifier. eldc's own scores do not add up to one; their powers, shared out, are right as often as they say."""
        found = []
        for line in _lines(texts):
            powers = {label: score**_POWER for label, score in self._many.detect_details(line).scores.items()}
            total = sum(powers.values())
            found.append({label: power / total for label, power in powers.items()})
        return found


def identify(
    texts: Sequence[str],
    identifier: Identifier,
    *,
    claims: Sequence[Collection[str]] | None = None,
    among: Collection[str] | None = None,
    measured: Measured | None = None,
) -> list[Reading]:
    """The language of each text: by its script where that tells, else by the model among the languages written so.

    ``claims`` are the labels that each text is said to have: one of them is believed if nothing is likelier, and Han characters
    that are at home in Chinese and in Japanese are what they claim to be. ``among`` restricts the answers to some labels.
    """
    measured = measure(texts) if measured is None else measured
    claims = claims or [()] * len(texts)
    readings = by_script(measured)
    kanji, ask = [], []
    for index, found in enumerate(readings):
        if found is None:
            ask.append(index)
        elif found.label in HAN_LABELS and found.score < KANJI_CERTAIN:
            claimed = next((label for label in HAN_LABELS if label in claims[index]), None)
            if claimed:
                readings[index] = Reading(claimed, 0.5, True)
            elif found.score < KANJI_SURE:
                kanji.append(index)
    for index, scores in zip(kanji, identifier.scores([texts[index] for index in kanji]), strict=True):
        label = max(HAN_LABELS, key=lambda label: scores.get(label, 0.0))
        readings[index] = Reading(label, 0.5, True) if scores.get(label) else readings[index]
    main = (measured.letters[ask] * WEIGHTS * NAMES).argmax(1).tolist()
    again = []
    for index, column, best in zip(ask, main, identifier.likeliest([texts[index] for index in ask]), strict=True):
        if not column:
            continue
        label, score = best
        readings[index] = Reading(label, score)
        if label in claims[index]:
            continue
        enough = UNSURE
        if claims[index]:  # in letters of another script nothing speaks for the claim, so once is enough
            enough = CERTAIN if any(written_in(claimed, column) for claimed in claims[index]) else 0.0
        if score < enough or not written_in(label, column) or (among is not None and label not in among):
            again.append((index, column))
    for (index, column), scores in zip(again, identifier.scores([texts[index] for index, _ in again]), strict=True):
        readings[index] = _weighed(possible(scores, column, among), claims[index])
    return [found or NOT_TOLD for found in readings]


def _weighed(scores: Mapping[str, float], claimed: Collection[str]) -> Reading:
    """The likeliest label; a claimed one if the claimed ones together are as likely."""
    label, best = max(scores.items(), key=lambda item: item[1], default=("", 0.0))
    mine = sum(scores.get(label, 0.0) for label in claimed)
    return Reading(next(iter(claimed)), mine) if mine and mine >= best else Reading(label, best)


def possible(scores: Mapping[str, float], column: int, among: Collection[str] | None = None) -> dict[str, float]:
    """The scores of languages that are written in a script and are among some labels."""
    return {
        label: score
        for label, score in scores.items()
        if written_in(label, column) and (among is None or label in among)
    }


@cache
def written_in(label: str, column: int) -> bool:
    """Whether a language is written in the script of a column; True where nothing is known."""
    name = SCRIPTS[column]
    if column == LATIN:
        return label in _BOTH or label not in _elsewhere()
    return label in _BOTH or name not in _LABELS or label in _LABELS[name].split()


@cache
def _elsewhere() -> frozenset[str]:
    return frozenset(label for labels in _LABELS.values() for label in labels.split()) | EAST_ASIAN


def _lines(texts: Sequence[str]) -> list[str]:
    """What a model reads of texts: their beginnings on one line, full-width letters and letters in parts as they are usually
    written, headings in small letters, without NUL (which ends a text for C) and lone surrogates."""
    lines = [text[:READ].replace("\n", " ").replace("\0", " ") for text in texts]
    lines = [line if line.isascii() else normalize("NFKC", line) for line in lines]
    lines = [line.lower() if line.isupper() else line for line in lines]
    try:
        "".join(lines).encode()
    except UnicodeEncodeError:
        lines = [line.encode("utf-8", "replace").decode() for line in lines]
    return lines
