"""The sides of rows (a question, an answer, an explanation) as they read, passage by passage. Needs numpy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from langmill.api import Pack
from langmill_plugins.text.identifiers import NOT_TOLD, Identifier, identify, plain, written_in
from langmill_plugins.text.passages import is_prose
from langmill_plugins.text.scripts import LATIN, WEIGHTS, Measured, Reading, columns_of, measure

FOREIGN = 0.3  # below this share of letters in its own scripts a text is not in its language, drug names or not
BRIEF = 100  # weight below which that share is one of the weight: a drug's name can be half of a question
SOME = 40  # weight of a passage that may be foreign
FEW = 60  # weight of letters below which a text may be a name or a title, where models are often mistaken
CLEAR, CLEARER = 0.5, 0.7  # score of a foreign passage, and of one with few letters
CHINESE = frozenset({"lzh", "wuu", "yue", "zh"})  # all of them are read as zh where characters tell


class Side(NamedTuple):
    """One side of a row as it reads: the weight of its letters; what it reads as on the whole; what share of it is in foreign
    passages although the whole is not, and the label of most of them."""

    weight: int
    reading: Reading
    foreign: float = 0.0
    foreign_label: str = ""


def labels_of(pack: Pack) -> tuple[str, ...]:
    """The labels that mean a pack's language, as an identifier gives them."""
    labels = tuple(dict.fromkeys(map(plain, pack.identity.lid_labels)))
    return ("zh", *labels) if "zh" not in labels and not CHINESE.isdisjoint(labels) else labels


def read_sides(
    cut: Sequence[Sequence[str]],
    packs: Sequence[Pack],
    identifier: Identifier,
    known: Collection[str],
    least: int,
) -> list[Side | None]:
    """What sides read as: each comes as its passages, with the pack of the language that it claims. ``known`` are the labels of
    languages that a foreign passage may be in. None for a side whose letters weigh less than ``least``."""
    measured = measure([text for pieces in cut for text in pieces])
    sizes = np.fromiter(map(len, cut), np.int64, len(cut))
    enough = np.bincount(np.repeat(np.arange(len(cut)), sizes), measured.weight, minlength=len(cut)) >= least
    found: list[Side | None] = [None] * len(cut)
    long = np.flatnonzero(enough).tolist()  # a model is asked about nothing else
    if not long:
        return found
    own = {code: labels_of(pack) for code, pack in {pack.code: pack for pack in packs}.items()}
    kept: npt.NDArray[np.bool_] = np.repeat(enough, sizes)
    measured = Measured(measured.letters[kept], measured.strange[kept])
    texts = [text for index in long for text in cut[index]]
    owners = [packs[index] for index in long for _ in cut[index]]
    readings = identify(texts, identifier, claims=[own[pack.code] for pack in owners], measured=measured)
    counts, weights = _counts(measured.letters, owners), measured.weight.tolist()
    start = 0
    for index in long:
        here = slice(start, start := start + len(cut[index]))
        passages = list(zip(texts[here], weights[here], readings[here], strict=True))
        found[index] = _side(passages, own[packs[index].code], known, _own_share(counts[here]))
    return found


def _counts(letters: npt.NDArray[np.int64], packs: Sequence[Pack]) -> list[list[int]]:
    """For each passage: letters, weight of them, letters in the scripts of its pack's language, weight of those."""
    found = np.stack([letters.sum(1), letters @ WEIGHTS] * 2, axis=1)
    codes = np.array([pack.code for pack in packs])
    for pack in {pack.code: pack for pack in packs}.values():
        columns = columns_of(pack.identity.scripts)
        if columns:
            mine = letters[codes == pack.code][:, columns]
            found[codes == pack.code, 2:] = np.stack([mine.sum(1), mine @ WEIGHTS[columns]], axis=1)
    return list(found.tolist())


def _own_share(counts: Sequence[Sequence[int]]) -> float:
    """The share of a side's letters that are in the scripts of its language; 1 where a script is not known here."""
    letters, weight, mine, my_weight = counts[0] if len(counts) == 1 else map(sum, zip(*counts, strict=True))
    return my_weight / weight if weight < BRIEF else mine / letters


def _side(
    passages: Sequence[tuple[str, int, Reading]], own: Collection[str], known: Collection[str], share: float
) -> Side:
    """What passages say together: the claimed language if half of them are in it, else what most of them are in."""
    if len(passages) == 1 and share >= FOREIGN:
        return Side(passages[0][1], passages[0][2])
    in_latin = any(written_in(label, LATIN) for label in own)
    weights: Counter[str] = Counter()
    foreign: Counter[str] = Counter()
    scores: dict[str, float] = {}
    for text, weight, (label, score, by_script) in passages:
        weights[label] += weight
        scores[label] = scores.get(label, 0.0) + weight * score
        if not label or label in own or weight < SOME:
            continue
        clear = label in known and score >= (CLEAR if weight >= FEW else CLEARER)
        if by_script or ((clear or (not in_latin and written_in(label, LATIN))) and is_prose(text)):
            foreign[label] += weight
    total = weights.total()
    label = max((name for name in scores if name and name not in own), key=lambda name: scores[name], default="")
    foreign_label = max(foreign, key=lambda name: foreign[name], default="")
    if share < FOREIGN:
        return Side(total, Reading(label or "another script", 1 - share, True))
    mine = sum(weights[name] for name in own)
    if 2 * mine >= total:
        return Side(total, Reading(next(iter(own)), mine / total), foreign.total() / total, foreign_label)
    if not label:
        return Side(total, NOT_TOLD)
    by_script = all(reading.by_script for _, _, reading in passages if reading.label == label)
    return Side(total, Reading(label, scores[label] / total, by_script), foreign.total() / total, foreign_label)
