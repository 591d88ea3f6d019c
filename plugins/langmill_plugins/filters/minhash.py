"""Near-duplicates: MinHash to find candidates, true Jaccard to decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pydantic import model_validator

from langmill.api import Body, Chat, Choice, Drop, Facts, Field, IndexedFilter, Row, Signed, StepContext, Text
from langmill_plugins.filters.exact import rank
from langmill_plugins.text.shingling import cut
from langmill_plugins.text.wording import Sides, answer_key

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Factors: TypeAlias = npt.NDArray[np.uint32]

KINDS = {"text": 0, "chat": 1, "choice": 2}
MOST = 512  # permutations
QUESTION, OPTIONS, ANSWER = 1, 2, 3  # tags: a word of the question is not a word of the answer


class MinHash(IndexedFilter):
    """Drops rows that are nearly another row.

    Texts are cut into shingles as their language pack says (words, or characters where there are no spaces). Two chats
    are near-duplicates when their questions *and* their answers each share at least `threshold` of their shingles
    (Jaccard); two choice items when their questions and the items as a whole do and their right answers are the same,
    signs included; two texts when they do. Short questions must share 0.9, so that a template filled with another name
    stays. One boilerplate answer under many questions therefore stays, as do many answers to one question.

    MinHash only proposes pairs: each is checked by its shingles, so nothing is dropped that is not that near a row that
    is kept. Bands and rows are chosen so that a pair at the threshold is proposed with a chance of at least `recall`;
    nearer pairs soon have every chance. Kept is a row of test before dev before train, then one with a rationale, then
    of the source whose first row among those alike comes first, then the longer answer, then the smaller id. At 0.45 a
    pair with a tenth of its words changed is found; at 0.8, the habit, one with a fiftieth.
    """

    threshold: float = Field(
        0.45, gt=0, le=1, description="least share of shingles that near-duplicates have in common"
    )
    permutations: int = Field(128, ge=16, le=MOST, description="hashes in a signature; more find more and cost more")
    recall: float = Field(0.98, gt=0, lt=1, description="least chance that a pair at the threshold is found")

    @model_validator(mode="after")
    def _in_reach(self) -> MinHash:
        """Raises ValueError when no bands keep the promise of ``recall``."""
        chances = {count: found(self.threshold, count // 2, 2) for count in range(self.permutations, MOST + 1)}
        enough = next((count for count, chance in chances.items() if chance >= self.recall), None)
        if enough == self.permutations:
            return self
        told = (
            f"recall: {self.permutations} permutations find a pair at threshold {self.threshold:g} "
            f"with a chance of {chances[self.permutations]:.3f}, not {self.recall:g}"
        )
        if enough:
            raise ValueError(f"{told}; permutations: {enough} would")
        raise ValueError(f"{told}, nor do {MOST}, the most ({chances[MOST]:.3f}): lower recall or raise threshold")

    def sign(self, rows: Sequence[Row], context: StepContext) -> Signed:
        """One key a row and band, none for a row without a single word; facts: id, source, rank, length, kind, right (the digest
        of right answers, see _right), and the shingles of question, options and answer one after another,
        with the counts of the first two."""
        import numpy as np
        import pyarrow as pa

        laid = _laid(rows)
        counts = np.array(laid.counts, np.int64)
        words, sizes = _cuts(rows, context)
        tags = np.tile([QUESTION, OPTIONS, ANSWER], len(rows))
        values, offsets = cut(laid.texts, counts, np.repeat(words, 3), np.repeat(sizes, 3), tags, distinct=False)
        from langmill_plugins.text import kernels

        held = np.diff(offsets).astype(np.int32)
        # Half of each hash is enough for facts: in one of 250,000 pairs of rows of 130 shingles two are taken for one.
        halves = (values >> np.uint64(32)).astype(np.uint32)
        kinds = np.array(laid.kinds, np.int8)
        bands, width = layout(self.threshold, self.permutations, self.recall)
        a, b = permutations(self.permutations)
        rights = np.array(laid.rights, np.uint64)
        keys = kernels.band_keys(values, offsets, kinds, rights, a, b, bands, width)
        told = np.flatnonzero(np.diff(offsets[::3]))
        return Signed(
            pa.record_batch(
                {"row": np.repeat(told.astype(np.int32), bands), "key": keys[told].reshape(-1)},
            ),
            pa.record_batch(
                {
                    "id": pa.array([row.id for row in rows], pa.string()),
                    "source": pa.array([row.origin.source for row in rows], pa.string()),
                    "rank": pa.array(laid.ranks, pa.int8()),
                    "length": pa.array(laid.lengths, pa.int64()),
                    "kind": kinds,
                    "right": rights,
                    "shingles": pa.ListArray.from_arrays(offsets[::3].astype(np.int32), halves),
                    "question": held[::3],
                    "options": held[1::3],
                }
            ),
        )

    def decide(
        self, buckets: Iterator[pa.RecordBatch], facts: Facts, context: StepContext
    ) -> Iterator[tuple[int, Drop]]:
        """Rows that are near a row that is kept."""
        from langmill_plugins.near.clusters import Near

        yield from Near(facts, self.threshold).drops(buckets)


def layout(threshold: float, permutations: int, recall: float) -> tuple[int, int]:
    """Bands and rows a band: the longest rows, hence the fewest false candidates, that still find a pair at the
    threshold with the wanted chance; as many bands as can be if none does. Never rows of one: a band of a chat
    is of question and answer."""
    fits = [
        (permutations // rows, rows)
        for rows in range(2, permutations + 1)
        if found(threshold, permutations // rows, rows) >= recall
    ]
    return fits[-1] if fits else (permutations // 2, 2)


def found(jaccard: float, bands: int, rows: int) -> float:
    """The chance that two rows of this Jaccard share a band and are compared: the S-curve."""
    return 1 - (1 - jaccard**rows) ** bands


def permutations(count: int) -> tuple[Factors, Factors]:
    """Factors and summands of datasketch.MinHash(count, seed=1, scheme="affine32"), without its imports."""
    import numpy as np

    random = np.random.RandomState(1)
    a = random.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, random.randint(0, 1 << 32, count, dtype=np.uint32)


class _Laid(NamedTuple):
    """Rows taken to pieces: texts of question, options and answer, of each how many (three a row), and of each row its kind, the
    digest of its right answers (see _right), its rank, and the characters of its answer and rationale."""

    texts: list[str]
    counts: list[int]
    kinds: list[int]
    rights: list[int]
    ranks: list[int]
    lengths: list[int]


def _laid(rows: Sequence[Row]) -> _Laid:
    ranks = [rank(row) for row in rows]
    texts = [row.body.text for row in rows if isinstance(row.body, Text)]
    if len(texts) == len(rows):  # a corpus is millions of these
        return _Laid(texts, [0, 0, 1] * len(rows), [0] * len(rows), [0] * len(rows), ranks, list(map(len, texts)))
    laid = _Laid([], [], [], [], ranks, [])
    for row in rows:
        body, sides = row.body, Sides.of(row.body)
        laid.texts.extend(chain.from_iterable(sides))
        laid.counts.extend(map(len, sides))
        laid.kinds.append(KINDS[body.kind])
        laid.rights.append(_right(body, sides))
        explained = body.explanation if isinstance(body, Choice) else None
        laid.lengths.append(sum(map(len, sides.answer)) + len(explained or ""))
    return laid


def _right(body: Body, sides: Sides) -> int:
    """The digest of what near rows must answer alike, signs included: right options, and an answer without a letter or digit.
    0 for other rows."""
    if isinstance(body, Choice) or (isinstance(body, Chat) and not any(map(str.isalnum, "".join(sides.answer)))):
        return int.from_bytes(answer_key(sides.answer)[:8], "little")
    return 0


def _cuts(rows: Sequence[Row], context: StepContext) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each row's language is cut by word, and the size of its shingles."""
    import numpy as np

    codes = [row.language for row in rows]
    cuts = {code: context.pack(code).need("text").shingles for code in set(codes)}
    if len(cuts) == 1:
        (each,) = cuts.values()
        return np.full(len(codes), each.by == "word"), np.full(len(codes), each.size)
    by_word = {code: each.by == "word" for code, each in cuts.items()}
    size = {code: each.size for code, each in cuts.items()}
    return np.array([by_word[code] for code in codes], bool), np.array([size[code] for code in codes], np.int64)
