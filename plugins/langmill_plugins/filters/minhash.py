"""Near-duplicates: MinHash to find candidates, true Jaccard to decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from langmill.api import Choice, Drop, Field, Filter, Row, StepContext, missing_package
from langmill_plugins.filters.buckets import buckets
from langmill_plugins.filters.near import Near
from langmill_plugins.filters.wording import Sides, jaccard, mixed, shingle_set

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Hashes: TypeAlias = npt.NDArray[np.uint64]
    Signatures: TypeAlias = npt.NDArray[np.uint32]

QUESTION, OPTIONS, ANSWER = 1, 2, 3
CHUNK = 4096  # shingles permuted at once: 2 MB at 128 permutations


class MinHash(Filter):
    """Drops rows that are nearly another row.

    Texts are cut into shingles as their language pack says (words, or characters where there are no spaces). Two chats
    are near-duplicates when their questions *and* their answers each share at least `threshold` of their shingles
    (Jaccard); two choice items when their questions, their right answers and the items as a whole do; two texts when
    they do. One boilerplate answer under many questions therefore stays, as do many answers to one question.

    MinHash only proposes pairs: each is checked on the rows themselves, so nothing is dropped that is not that near a
    row that is kept. Bands and rows are chosen so that a pair at the threshold is proposed with a chance of at least
    `recall` (0.8 and 128 permutations: 25 bands of 5, 0.99995). Kept is a row of test before dev before train, then one
    with a rationale, then of the earlier source, then the longer answer, then the smaller id.
    """

    scope: ClassVar[Literal["row", "dataset"]] = "dataset"

    threshold: float = Field(0.8, gt=0, le=1, description="least share of shingles that near-duplicates have in common")
    permutations: int = Field(128, ge=16, le=512, description="hashes in a signature; more find more and cost more")
    recall: float = Field(0.999, gt=0, lt=1, description="least chance that a pair at the threshold is found")

    def sign(self, rows: Sequence[Row], context: StepContext) -> pa.RecordBatch:
        """One record a row and band: key (uint64, the band's number in the top 8 bits) and id. A row without a single
        word has none."""
        import numpy as np
        import pyarrow as pa

        bands, width = layout(self.threshold, self.permutations, self.recall)
        sets = [shingle_sets(row, context) for row in rows]
        kinds = np.array([len(item) for item in sets], np.uint64)
        told = np.flatnonzero([any(len(side) for side in item) for item in sets])
        asked = width // 2  # of a band's rows this many come from the first side, the rest from the second
        keys: Hashes = np.zeros((len(rows), bands), np.uint64)
        for kind in np.unique(kinds[told]):
            these = told[kinds[told] == kind]
            first = [sets[index][0] for index in these]
            if kind == 1:
                signature = minima(first, self.permutations, 0, bands * width).reshape(len(these), bands, width)
            else:
                second = [sets[index][1] for index in these]
                left = minima(first, self.permutations, 0, bands * asked)
                right = minima(second, self.permutations, bands * asked, bands * width)
                shapes = (len(these), bands, asked), (len(these), bands, width - asked)
                signature = np.concatenate((left.reshape(shapes[0]), right.reshape(shapes[1])), axis=2)
            keys[these] = band_keys(signature, int(kind))
        ids = pa.array([row.id for row in rows], pa.string())
        return pa.record_batch(
            {"key": pa.array(keys[told].reshape(-1), pa.uint64()), "id": ids.take(pa.array(np.repeat(told, bands)))}
        )

    def decide(
        self,
        signatures: Iterator[pa.RecordBatch],
        fetch: Callable[[Sequence[str]], Mapping[str, Row]],
        context: StepContext,
    ) -> Iterator[tuple[str, Drop]]:
        """Rows that are near a row that is kept."""
        near = Near(self.threshold, fetch, lambda row: shingle_sets(row, context), likeness)
        for bucket in buckets(signatures):
            near.add([(record["position"], record["id"]) for record in bucket])
        yield from near.drops()


def layout(threshold: float, permutations: int, recall: float) -> tuple[int, int]:
    """Bands and rows a band: the longest rows, hence the fewest false candidates, that still find a pair at the
    threshold with the wanted chance, 1 - (1 - threshold ** rows) ** bands. At most 256 bands:
    a key gives them 8 bits."""
    fits = [
        (permutations // rows, rows)
        for rows in range(2, permutations + 1)
        if permutations // rows <= 256 and 1 - (1 - threshold**rows) ** (permutations // rows) >= recall
    ]
    return fits[-1] if fits else (min(permutations, 512) // 2, 2)


def shingle_sets(row: Row, context: StepContext) -> tuple[Hashes, ...]:
    """The sides of a row that must each be near, as sorted shingles: Text (text); Chat (question, answer);
    Choice (question, whole item, right answers). The number of sides tells the kinds apart."""
    facts = context.pack(row.language).need("text")
    sides = Sides.of(row.body)
    if isinstance(row.body, Choice):
        import numpy as np

        question = shingle_set(sides.question, facts, QUESTION)
        options = shingle_set(sides.options, facts, OPTIONS)
        return question, np.union1d(question, options), shingle_set(sorted(sides.answer), facts, ANSWER)
    if row.body.kind == "text":
        return (shingle_set(sides.answer, facts, ANSWER),)
    return shingle_set(sides.question, facts, QUESTION), shingle_set(sides.answer, facts, ANSWER)


def likeness(left: tuple[Hashes, ...], right: tuple[Hashes, ...], least: float) -> float:
    """The lowest Jaccard over the sides of two rows; 0 once a side is below ``least``, or for two kinds of row."""
    if len(left) != len(right):
        return 0.0
    lowest = 1.0
    for one, other in zip(left, right, strict=True):
        lowest = min(lowest, jaccard(one, other))
        if lowest < least:
            return 0.0
    return lowest


def minima(sets: Sequence[Hashes], permutations: int, start: int, stop: int) -> Signatures:
    """MinHash signatures, shape (len(sets), stop - start): permutations ``start`` to ``stop`` of ``permutations``.

    These are the values of datasketch.MinHash(permutations) fed with the low 32 bits of each shingle, for many sets at
    once. An empty set has the highest value everywhere.
    """
    import numpy as np

    a, b = _permutations(permutations)
    a, b = a[start:stop, None], b[start:stop, None]
    out: Signatures = np.full((stop - start, len(sets)), np.iinfo(np.uint32).max, np.uint32)
    lengths = np.array([len(item) for item in sets])
    filled = np.flatnonzero(lengths)
    begin = 0
    while begin < len(filled):
        ends = np.cumsum(lengths[filled[begin:]])
        count = max(1, int(np.searchsorted(ends, CHUNK, side="right")))
        these = filled[begin : begin + count]
        values = _spread(np.concatenate([sets[index] for index in these]).astype(np.uint32))
        permuted = a * values
        permuted += b
        starts = np.concatenate(([0], ends[: count - 1]))
        out[:, these] = np.minimum.reduceat(permuted, starts, axis=1)
        begin += count
    return np.ascontiguousarray(out.T)


def band_keys(signatures: Signatures, kind: int) -> Hashes:
    """Keys of bands, shape (n, bands), from signatures of shape (n, bands, rows): the band's number in the top 8 bits,
    then 56 bits that stand for its rows and the kind of row."""
    import numpy as np

    count, bands, width = signatures.shape
    whole = np.full((count, bands), kind, np.uint64)
    for row in range(width):
        whole = mixed(whole * np.uint64(0x9E3779B97F4A7C15) + signatures[:, :, row].astype(np.uint64))
    return (np.arange(bands, dtype=np.uint64)[None, :] << np.uint64(56)) | (whole >> np.uint64(8))


def _permutations(count: int) -> tuple[Signatures, Signatures]:
    try:
        import datasketch
    except ImportError:
        raise missing_package("minhash", "datasketch", "data") from None
    a, b = datasketch.MinHash(num_perm=count, seed=1, scheme="affine32").permutations
    return a, b


def _spread(values: Signatures) -> Signatures:
    """The finalizer of MurmurHash3, 32 bits, which datasketch applies to every value before it permutes."""
    import numpy as np

    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ (values >> np.uint32(13))
    values = values * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))
