"""Training rows that give away rows a model will be scored on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from langmill.api import (
    DatasetFilter,
    Drop,
    Facts,
    Field,
    MissingInput,
    RecipeError,
    Row,
    Signed,
    Split,
    StepContext,
    missing_package,
)

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = 65_536  # facts read at once


class Decontaminate(DatasetFilter):
    """Drops rows that give away a test or dev row of a data set that a model is scored on.

    A row is dropped as `contaminated`, with the test row's id and the evidence, when

    - it is of the same family as a test row, or a test row is among its ancestors (so a translation of a test row, or a
      parallel edition of the same exam, is a test row);
    - it says the same, letter case, width, spacing and punctuation apart: the same text, the same question with the same
      answer, or the same question with the same options, in whatever order and with whatever letters before them;
    - it holds at least `threshold` of the n-grams of a test row's question, or of its question and options together, or
      asks the same question and holds as much of its answer, or a few of what it is asked about: 13 words where a language
      is cut by words, 20 characters where it is cut by characters. A side with fewer than 8 n-grams is never compared so,
      nor a question with fewer than 20 where there are other options or another answer to compare;
    - it is a text or a conversation, in whatever layout, that holds the question of a test item word for word with its
      options right behind it, or with its right answer (in the reply, or right behind it in a text) where question and
      answer have 8 words or 12 characters; a question shorter than a shingle of its language is not looked for so;
    - it is a test item with a word or two changed: 0.6 of the shingles of its question and of its options, and the same
      question or the same right answer (of a list in lines 0.9 will do without); or, for short questions, the same options
      and right answer, and 0.6 of the two questions letter by letter;
    - it is of the family of a row that is dropped so: the other languages of one item go with it.

    The default is low because one changed word spoils 13 n-grams: at 0.3 the same questions of two years of Spanish exams
    are found in spite of their edits.
    """

    splits: tuple[Split, ...] = Field(("train",), description="splits this step acts on; rows of other splits pass")
    against: str | tuple[str, ...] = Field(
        "eval", description="the data sets whose test and dev rows must not be given away; eval: all that eval: asks"
    )
    threshold: float = Field(0.3, gt=0, le=1, description="share of a test row's n-grams that gives it away")

    _known: Any = PrivateAttr(None)

    def sign(self, rows: Sequence[Row], context: StepContext) -> Signed:
        """Key: the family. Facts: what a row gives away, with the evidence. The first call reads the test rows."""
        import pyarrow as pa
        import xxhash

        families = [xxhash.xxh3_64_intdigest(row.family.encode("utf-8", "surrogatepass")) for row in rows]
        hits = self._giveaways(context).evidence(rows)
        facts = {
            "family": pa.array(families, pa.uint64()),
            "like": pa.array([hit.test if hit else "" for hit in hits], pa.string()),
            "detail": pa.array([f"{hit.kind}: {hit.detail}" if hit else "" for hit in hits], pa.string()),
        }
        keys = {"row": pa.array(range(len(rows)), pa.int32()), "key": facts["family"]}
        return Signed(pa.record_batch(keys), pa.record_batch(facts))

    def decide(
        self, buckets: Iterator[pa.RecordBatch], facts: Facts, context: StepContext
    ) -> Iterator[tuple[int, Drop]]:
        """The rows with evidence, then the rest of their families."""
        import numpy as np

        families: dict[int, str] = {}
        dropped: Any = np.zeros(len(facts), np.bool_)
        for start in range(facts.held, len(facts), FACTS):
            table = facts.take(np.arange(start, min(start + FACTS, len(facts))))
            for place, (family, like, detail) in enumerate(
                zip(*(column.to_pylist() for column in table.columns), strict=True)
            ):
                if like:
                    families.setdefault(family, like)
                    dropped[start + place] = True
                    yield start + place, Drop("contaminated", detail, like)
        given = np.array(sorted(families), np.uint64)
        for batch in buckets:
            keys, positions = batch.column("key").to_numpy(), batch.column("position").to_numpy()
            mine = np.isin(keys, given) & ~dropped[positions]
            for key, position in zip(keys[mine].tolist(), positions[mine].tolist(), strict=True):
                like = families[key]
                yield position, Drop("contaminated", f"other edition: of the family of a row that repeats {like}", like)

    def _giveaways(self, context: StepContext) -> Any:
        if self._known is None:
            try:
                from langmill_plugins.contamination.giveaways import Giveaways
            except ImportError:
                raise missing_package("decontaminate", "numba", "data") from None
            self._known = Giveaways.of(self._held_out(context), context, self.threshold)
        return self._known

    def _held_out(self, context: StepContext) -> Iterator[Row]:
        """The rows that must not be given away: test, dev, and whatever else is asked."""
        names = context.held_against(self.against)
        if not names:
            raise RecipeError(f"{context.place}: there is no eval:, so nothing to hold rows against: name data sets")
        for name in names:
            splits = tuple(dict.fromkeys(("test", "dev", *context.benchmarks.get(name, ()))))
            read = 0
            for split in splits:
                for row in context.rows(name, split):
                    read += 1
                    yield row
            if not read:
                raise MissingInput(
                    f"{context.place}: '{name}' has no row to hold rows against (splits: {', '.join(splits)}): "
                    f"see what its sources and steps leave of it, or take it out of against: or eval:"
                )
