"""Training rows that give away rows a model will be scored on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import PrivateAttr

from langmill.api import Choice, Drop, Field, Filter, Flag, Row, Split, StepContext, Text, words
from langmill_plugins.filters.wording import Sides, choice_key, digest, distinct, folded, shingles, word_list

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes: TypeAlias = npt.NDArray[np.uint64]

# Words or characters to an n-gram. 13 words is what published contamination checks use; 20 characters of Chinese or Japanese
# hold about as many words. A side with fewer than FEWEST grams is a stock phrase as likely as not ("which of the following is
# the most likely diagnosis in this patient" has 12 words) and is compared whole, never by its grams alone.
GRAM = {"word": 13, "character": 20}
FEWEST = 8


class Decontaminate(Filter):
    """Drops rows that give away a test or dev row of an earlier data set.

    A row is dropped as `contaminated`, with the test row's id and the evidence, when

    - it is of the same family as a test row, or a test row is among its ancestors (so a translation of a test row, or a
      parallel edition of the same exam, is a test row);
    - it says the same: the same text, the same question with the same answer, or the same question with the same options
      in whatever order;
    - it holds at least `threshold` of the n-grams of a test row's question, or of its question and options together, or
      asks the same question and holds as much of its answer: 13 words where a language is cut by words, 20 characters
      where it is cut by characters. A side with fewer than 8 n-grams is compared whole only.

    The default is low because one changed word spoils 13 n-grams: at 0.3 the same questions of two years of Spanish exams
    are found in spite of their edits, and ten of 2,171 FrenchMedMCQA items hold that much of a dev item.
    """

    splits: tuple[Split, ...] = Field(("train",), description="splits this step acts on; rows of other splits pass")
    against: str = Field(description="the earlier data set whose test and dev rows must not be given away")
    threshold: float = Field(0.3, gt=0, le=1, description="share of a test row's n-grams that gives it away")

    _index: Any = PrivateAttr(None)

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row; the first call reads the test rows."""
        if self._index is None:
            self._index = _Index.of(
                (row for split in ("test", "dev") for row in context.rows(self.against, split)), _cutter(context)
            )
        found = (self._index.evidence(row, self.threshold) for row in rows)
        return [Drop("contaminated", evidence) if evidence else None for evidence in found]


Cutter: TypeAlias = Callable[[str, str], "Hashes"]


@dataclass
class _Probe:
    """One side of a test row: how many n-grams it has, and the question a row must ask for the side to count."""

    id: str
    side: str
    grams: int
    question: bytes = b""


@dataclass
class _Index:
    """What is known of the test rows: ids, families, wordings and n-grams. Holds hashes, not text."""

    cut: Cutter
    ids: dict[str, str] = field(default_factory=dict)
    families: dict[str, str] = field(default_factory=dict)
    wordings: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    probes: list[_Probe] = field(default_factory=list)
    grams: Any = None
    owners: Any = None

    @classmethod
    def of(cls, rows: Iterable[Row], cut: Cutter) -> _Index:
        """The index of test rows."""
        import numpy as np

        index = cls(cut)
        grams: list[Hashes] = []
        for row in rows:
            index.ids.setdefault(row.id, row.id)
            for parent in row.origin.parents:
                index.ids.setdefault(parent, row.id)
            index.families.setdefault(row.family, row.id)
            for what, key in _wordings(row):
                index.wordings.setdefault(key, (row.id, what))
            for side, texts, question in _probed(row):
                found = index.cut_all(texts, row.language)
                if len(found) >= FEWEST:
                    index.probes.append(_Probe(row.id, side, len(found), question))
                    grams.append(found)
        owners: Any = np.repeat(np.arange(len(grams)), [len(found) for found in grams])
        whole = np.concatenate(grams) if grams else np.empty(0, np.uint64)
        order = np.argsort(whole, kind="stable")
        index.grams, index.owners = whole[order], owners[order]
        return index

    def cut_all(self, texts: Iterable[str], language: str) -> Hashes:
        """The distinct n-grams of several texts, none across two texts."""
        import numpy as np

        runs = [self.cut(text, language) for text in texts]
        return distinct(np.concatenate(runs)) if runs else np.empty(0, np.uint64)

    def evidence(self, row: Row, threshold: float) -> str:
        """Why a row gives a test row away; empty when it does not."""
        if row.family in self.families:
            return f"family: same family as {self.families[row.family]}"
        for ancestor in (row.id, *row.origin.parents):
            if ancestor in self.ids:
                return f"ancestry: {ancestor} is, or became, {self.ids[ancestor]}"
        for _, key in _wordings(row):
            if key in self.wordings:
                known, what = self.wordings[key]
                return f"{what}: as in {known}"
        return self._overlap(row, threshold)

    def _overlap(self, row: Row, threshold: float) -> str:
        import numpy as np

        mine = self.cut_all(_told(row), row.language)
        starts: Any = np.searchsorted(self.grams, mine, side="left")
        ends: Any = np.searchsorted(self.grams, mine, side="right")
        hits = [self.owners[starts[index] : ends[index]] for index in np.flatnonzero(ends > starts)]
        if not hits:
            return ""
        owners, counts = np.unique(np.concatenate(hits), return_counts=True)
        question, best = _question(row), (0.0, "")
        for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
            probe = self.probes[owner]
            if count / probe.grams > best[0] and probe.question in (b"", question):
                best = count / probe.grams, f"overlap: {count / probe.grams:.2f} of the {probe.side} of {probe.id}"
        return best[1] if best[0] >= threshold else ""


def _cutter(context: StepContext) -> Cutter:
    """Cuts a text into n-grams the language's way; a text shorter than one n-gram has none."""

    def cut(text: str, language: str) -> Hashes:
        by = context.pack(language).need("text").shingles.by
        found = shingles(text, by, GRAM[by])
        return found[:0] if len(found) == 1 else found

    return cut


def _wordings(row: Row) -> Iterable[tuple[str, bytes]]:
    """Keys under which two rows say the same, each with its name."""
    sides = Sides.of(row.body)
    yield "same text", digest(("text", folded(words(row.body))))
    if sides.question:
        question = folded("\n".join(sides.question))
        yield "same question and answer", digest(("asked", question, *sorted(map(folded, sides.answer))))
    if isinstance(row.body, Choice):
        yield "same question and options", digest(("choice", *choice_key((row.body.question,), row.body.options)))


def _question(row: Row) -> bytes:
    """Stands for what a row asks, punctuation apart."""
    asked = (row.body.question,) if isinstance(row.body, Choice) else Sides.of(row.body).question
    return digest(("question", *word_list("\n".join(asked))))


def _probed(row: Row) -> Iterable[tuple[str, tuple[str, ...], bytes]]:
    """The sides of a test row that must not be found elsewhere, and the question that must go with them.

    A passage that a question is asked about is none: other questions are asked about it, too. Nor is an answer without its
    question: one paragraph on heredity answers for a hundred diseases.
    """
    sides = Sides.of(row.body)
    if isinstance(row.body, Choice):
        yield "question", (row.body.question,), b""
        yield "question and options", (row.body.question, *sides.options), b""
    elif isinstance(row.body, Text):
        yield "text", sides.answer, b""
    else:
        yield "question", sides.question, b""
        yield "answer", sides.answer, _question(row)


def _told(row: Row) -> tuple[str, ...]:
    """Everything a row says."""
    if isinstance(row.body, Choice):
        return (row.body.context or "", row.body.question, *row.body.options, row.body.explanation or "")
    sides = Sides.of(row.body)
    return (*sides.question, *sides.answer)
