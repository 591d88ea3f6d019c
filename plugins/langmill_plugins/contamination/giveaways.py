"""What is known of the rows that a model is scored on, and the evidence that a row gives one of them away.

It is known as hashes; short items are known by their wording, too, to be found in running text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np

from langmill.api import Chat, Choice, Row, StepContext, Text
from langmill_plugins.contamination.grams import Grams
from langmill_plugins.contamination.letters import Letters
from langmill_plugins.contamination.overlaps import Hashes, Places
from langmill_plugins.contamination.quotes import Quotes
from langmill_plugins.contamination.said import Said
from langmill_plugins.text.shingling import shingled
from langmill_plugins.text.wording import folded, letters_only, word_list

# Words or characters to a long gram. 13 words is what published contamination checks use; 20 characters of Chinese or
# Japanese hold about as many words. A side with fewer than FEWEST of them is a stock phrase as likely as not ("which of the
# following is the most likely diagnosis in this patient" has 12 words) and never counts by its long grams alone.
LONG = {"word": 13, "character": 20}
# Nor is a question of fewer than STEM enough where there is more to compare: a row's own options ("which of the following
# findings are seen in …"), or the answer that a test row has in words of its own.
FEWEST, STEM = 8, 20
# Short items are compared by the shingles of their language pack. One typo spoils three of them, so that two thirds are left
# of a question of nine words; an item written out in a text, whose right answer is not told, must be there nearly whole.
EDITED, WHOLE = 0.6, 0.9
# A question of so many shingles loses fewer than that by two typos: a shorter one is compared by its letters, too.
LETTERS = 15
LONG_TAG, SHORT_TAG = 1, 2
BATCH = 1000
EXCERPT = 160


class Hit(NamedTuple):
    """The evidence that a row gives a test row away: its ``kind``, the test row's id, and the rest in words."""

    kind: str
    test: str
    detail: str


class _Probe(NamedTuple):
    """A side of a test row: its row's number, its name, and the question that must be asked as well (0: any)."""

    test: int
    side: str
    question: int = 0


@dataclass
class Giveaways:
    """The test rows by all that gives them away: ids and ancestors, families, wordings, long grams, short items."""

    context: StepContext
    threshold: float
    ids: list[str] = field(default_factory=list)
    ancestors: dict[str, int] = field(default_factory=dict)
    families: dict[str, int] = field(default_factory=dict)
    wordings: dict[int, tuple[int, str]] = field(default_factory=dict)
    answers: list[tuple[int, int]] = field(default_factory=list)  # keys of question and answer
    long: Grams = field(default_factory=Grams)
    probes: list[_Probe] = field(default_factory=list)
    passages: dict[int, list[int]] = field(default_factory=dict)  # a question to what it is asked about
    short: Grams = field(default_factory=Grams)
    edited: dict[int, int] = field(default_factory=dict)  # a question's set to its test row
    mates: dict[int, int] = field(default_factory=dict)  # a question's set to its options'
    quotes: Quotes = field(default_factory=Quotes)
    letters: Letters = field(default_factory=Letters)
    worded: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))

    @classmethod
    def of(cls, rows: Iterable[Row], context: StepContext, threshold: float) -> Giveaways:
        """What there is to know of test rows."""
        known = cls(context, threshold)
        stream = iter(rows)
        while some := list(islice(stream, BATCH)):
            known._add(some)
        known.long.build(threshold, unlisted={one for sets in known.passages.values() for one in sets})
        known.short.build(EDITED, known.mates)
        known.quotes.grams.build(1.0)
        known.letters.grams.build(EDITED)
        known.worded = np.array(sorted(known.wordings), np.uint64)
        return known

    def _add(self, rows: Sequence[Row]) -> None:
        said, first = Said.of(rows), len(self.ids)
        for number, row in enumerate(rows, start=first):
            self.ids.append(row.id)
            self.families.setdefault(row.family, number)
            for id in (row.id, *row.origin.parents):
                self.ancestors.setdefault(id, number)
        for number, (row, keys) in enumerate(zip(rows, said.keys.tolist(), strict=True), start=first):
            self.answers.append((keys[0], keys[3]))
            for key, what in ((keys[1], "same question and options"), (keys[2], _ANSWERED[isinstance(row.body, Text)])):
                if key:
                    self.wordings.setdefault(key, (number, what))
        self._probe_long(said, first)
        self._probe_short(said, first)

    def _probe_long(self, said: Said, first: int) -> None:
        """Sides that must not be found elsewhere. A passage that a question is asked about counts with its question only:
        other questions are asked about it, too. So does an answer: one paragraph on heredity answers for a hundred diseases."""
        sides: list[tuple[_Probe, Row, tuple[str, ...]]] = []
        for number, (row, item) in enumerate(zip(said.rows, said.items, strict=True), start=first):
            if item.question:
                sides.append((_Probe(number, "question"), row, (item.question,)))
            if item.background:
                sides.append((_Probe(number, "background"), row, (item.background,)))
            if item.options:
                sides.append((_Probe(number, "question and options"), row, (item.question, *item.options)))
            elif isinstance(row.body, Text):
                sides.append((_Probe(number, "text"), row, item.answer))
            else:
                sides.append((_Probe(number, "answer", int(said.keys[number - first, 0]) or 1), row, item.answer))
        languages = [row.language for _, row, _ in sides]
        values, offsets = self._cut([self._long_texts(texts, row) for _, row, texts in sides], languages, True)
        for index, (probe, row, _) in enumerate(sides):
            least = STEM if probe.side == "question" and isinstance(row.body, Chat) else FEWEST
            if offsets[index + 1] - offsets[index] >= least:
                one = self.long.add(values[offsets[index] : offsets[index + 1]])
                self.probes.append(probe)
                if probe.side == "background":
                    self.passages.setdefault(int(said.keys[probe.test - first, 0]), []).append(one)

    def _long_texts(self, texts: Sequence[str], row: Row) -> tuple[str, ...]:
        """The texts that are longer than a gram: a shorter one would count as a gram of its own."""
        by = self.context.pack(row.language).need("text").shingles.by
        units = word_list if by == "word" else letters_only
        return tuple(text for text in texts if len(units(text)) > LONG[by])

    def _probe_short(self, said: Said, first: int) -> None:
        chosen = [
            number for number, item in enumerate(said.items) if item.options and item.question and not item.background
        ]
        sides = [side for number in chosen for side in ((said.items[number].question,), said.items[number].options)]
        values, offsets = self._cut(sides, [said.rows[number].language for number in chosen for _ in range(2)], False)
        for index, number in enumerate(chosen):
            one, two, three = offsets[2 * index], offsets[2 * index + 1], offsets[2 * index + 2]
            if one < two < three:
                question = self.short.add(values[one:two])
                self.edited[question], self.mates[question] = first + number, self.short.add(values[two:three])
                by = self.context.pack(said.rows[number].language).need("text").shingles.by
                self.quotes.add(first + number, said.items[number], by, values[one:two])
        sizes = np.diff(offsets)[::2].tolist()
        few = [number for number, size in zip(chosen, sizes, strict=True) if size < LETTERS]
        self.letters.add(said, few, first)

    def _cut(self, texts: Sequence[Sequence[str]], languages: Sequence[str], long: bool) -> tuple[Hashes, Places]:
        """Grams of items, sorted and each once, with offsets as shingled() gives them."""
        groups: dict[tuple[Literal["word", "character"], int], list[int]] = {}
        cuts = {code: self.context.pack(code).need("text").shingles for code in set(languages)}
        for index, code in enumerate(languages):
            cut = cuts[code]
            groups.setdefault((cut.by, LONG[cut.by] if long else cut.size), []).append(index)
        runs: list[Hashes] = [np.empty(0, np.uint64)] * len(texts)
        for (by, size), members in groups.items():
            values, offsets = shingled(
                [texts[index] for index in members], by, size, LONG_TAG if long else SHORT_TAG
            )  # fmt: skip
            if len(members) == len(texts):
                return values, offsets
            for place, index in enumerate(members):
                runs[index] = values[offsets[place] : offsets[place + 1]]
        sizes = np.fromiter(map(len, runs), np.int64, len(runs))
        return np.concatenate([np.empty(0, np.uint64), *runs]), np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))

    # --- evidence ---

    def evidence(self, rows: Sequence[Row]) -> list[Hit | None]:
        """Why each row gives a test row away; None where it does not."""
        said = Said.of(rows)
        hits = [self._related(row) for row in rows]
        for number in np.flatnonzero(np.isin(said.keys[:, 1:3], self.worded).any(axis=1)).tolist():
            hits[number] = hits[number] or self._worded(said, number)
        told = [item.told() for item in said.items]
        languages = [row.language for row in rows]
        for long in (True, False):
            values, offsets = self._cut(told, languages, long)
            if not long:
                self._quoting(said, values, offsets, hits)
            found = self._overlapping(said, values, offsets) if long else self._edited(said, values, offsets)
            for number, (share, one) in found.items():
                if hits[number] is None:
                    hits[number] = self._shared(told[number], rows[number].language, share, one, long)
        for number, test, share in self.letters.alike(said, EDITED):
            if hits[number] is None:
                id, text = self.ids[test], _excerpt(folded(said.items[number].question))
                hits[number] = Hit("edited item", id, f'{share:.2f} of the question of {id} and its options; "{text}"')
        return hits

    def _related(self, row: Row) -> Hit | None:
        if (test := self.families.get(row.family)) is not None:
            return Hit("family", self.ids[test], f"same family as {self.ids[test]}")
        for ancestor in (row.id, *row.origin.parents):
            if (test := self.ancestors.get(ancestor)) is not None:
                return Hit("ancestry", self.ids[test], f"{ancestor} is, or became, {self.ids[test]}")
        return None

    def _worded(self, said: Said, number: int) -> Hit:
        test, what = next(self.wordings[key] for key in said.keys[number, 1:3].tolist() if key in self.wordings)
        item = said.items[number]
        text = _excerpt(folded(item.question or item.answer[0]))
        return Hit(what, self.ids[test], f'as in {self.ids[test]}; "{text}"')

    def _overlapping(self, said: Said, values: Hashes, offsets: Places) -> dict[int, tuple[float, int]]:
        """Rows that hold enough of the long grams of a side, with the greatest share and the set; or that ask the same
        question about a passage of which they hold a few."""
        rows, sets = self.long.proposed(values, offsets)
        shares = self.long.share(rows, sets, values, offsets)
        best: dict[int, tuple[float, int]] = {}
        enough = shares >= self.threshold
        for row, number, share in zip(
            rows[enough].tolist(), sets[enough].tolist(), shares[enough].tolist(), strict=True
        ):
            probe, stem = self.probes[number], len(self.long.set(number)) < STEM
            if stem and said.items[row].options and probe.side.startswith("question"):
                continue
            if probe.question in (0, int(said.keys[row, 0])) and share > best.get(row, (0.0,))[0]:
                best[row] = share, number
        asked = said.keys[:, 0].tolist()
        pairs = [(row, one) for row, key in enumerate(asked) if key for one in self.passages.get(key, ())]
        rows, sets = np.array(pairs, np.int64).reshape(-1, 2).T
        shares = self.long.share(rows, sets, values, offsets)
        for row, number, share in zip(rows.tolist(), sets.tolist(), shares.tolist(), strict=True):
            if round(share * len(self.long.set(number))) >= FEWEST:
                best.setdefault(row, (share, number))
        return best

    def _quoting(self, said: Said, values: Hashes, offsets: Places, hits: list[Hit | None]) -> None:
        """Adds texts and conversations that hold a short item's question with its options or its right answer."""
        cuts = {code: self.context.pack(code).need("text").shingles.by for code in {row.language for row in said.rows}}
        by = [cuts[row.language] for row in said.rows]
        for quote in self.quotes.found(said, by, values, offsets):
            if hits[quote.row] is None:
                id, text = self.ids[quote.test], _excerpt(quote.question)
                hits[quote.row] = Hit("quoted item", id, f'question and {quote.with_what} of {id}; "{text}"')

    def _edited(self, said: Said, values: Hashes, offsets: Places) -> dict[int, tuple[float, int]]:
        """Rows that are a short item with a word or two changed: enough of its question and of its options, and the same
        question or the same right answer, since items that ask the opposite differ by a word, too."""
        rows, sets = self.short.proposed(values, offsets)
        shares = self.short.share(rows, sets, values, offsets)
        rows, sets, shares = (array[shares >= EDITED] for array in (rows, sets, shares))
        mates = np.array([self.mates[number] for number in sets.tolist()], np.int64)
        shares = np.minimum(shares, self.short.share(rows, mates, values, offsets))
        best: dict[int, tuple[float, int]] = {}
        enough = shares >= EDITED
        for row, number, share in zip(
            rows[enough].tolist(), sets[enough].tolist(), shares[enough].tolist(), strict=True
        ):
            question, answer = self.answers[self.edited[number]]
            alike = question == int(said.keys[row, 0]) or answer == int(said.keys[row, 3])
            told = alike or (share >= WHOLE and not isinstance(said.rows[row].body, Choice))
            if told and share > best.get(row, (0.0,))[0]:
                best[row] = share, number
        return best

    def _shared(self, texts: Sequence[str], language: str, share: float, number: int, long: bool) -> Hit:
        """The evidence that a row holds a share of a set, with the longest run of its wording that is in the set."""
        probe = self.probes[number] if long else _Probe(self.edited[number], "question and options")
        grams = self.long.set(number) if long else self.short.set(number)
        cut = self.context.pack(language).need("text").shingles
        size, gap, best = (LONG[cut.by] if long else cut.size), " " if cut.by == "word" else "", ""
        for text in texts:
            units: Sequence[str] = word_list(text) if cut.by == "word" else letters_only(text)
            values, _ = shingled([(text,)], cut.by, size, LONG_TAG if long else SHORT_TAG, False)
            edges = np.flatnonzero(np.diff(np.isin(values, grams).astype(np.int8), prepend=0, append=0))
            for start, end in edges.reshape(-1, 2).tolist():
                best = max(best, gap.join(units[start : end - 1 + size]), key=len)
        id = self.ids[probe.test]
        words = f'{share:.2f} of the {probe.side} of {id}; "{_excerpt(best)}"'
        return Hit("overlap" if long else "edited item", id, words)


def _excerpt(text: str) -> str:
    """The start of a text; what no file can hold as question marks."""
    return text[:EXCERPT].encode("utf-8", "replace").decode("utf-8")


_ANSWERED = {False: "same question and answer", True: "same text"}
