"""Shingles of many texts at once: what wording.py says of one text, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langmill.api import missing_package
from langmill_plugins.filters.wording import folded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes: TypeAlias = npt.NDArray[np.uint64]
    Offsets: TypeAlias = npt.NDArray[np.int64]


def shingled(
    items: Sequence[Sequence[str]], by: Literal["word", "character"], size: int, tag: int = 0, distinct: bool = True
) -> tuple[Hashes, Offsets]:
    """The 64-bit hashes of the shingles of each item, an item being several texts.

    A shingle is a run of ``size`` words (wording.word_list) or characters (wording.letters_only); a shorter text is one
    shingle, a text without a word has none, and none crosses two texts. Another ``tag`` makes other hashes of the same
    text. Returns values, shape (n,), and offsets, shape (len(items) + 1,): item i has values[offsets[i] : offsets[i + 1]],
    sorted and each once if ``distinct``, else in the texts' order with repeats.
    """
    import numpy as np

    count = len(items)
    words, sizes, tags = (np.full(count, value) for value in (by == "word", size, tag))
    return cut(items, words, sizes, tags, distinct)


def cut(
    items: Sequence[Sequence[str]], words: npt.NDArray[np.bool_], sizes: Offsets, tags: Offsets, distinct: bool
) -> tuple[Hashes, Offsets]:
    """shingled() with a cut (by word or by character), a size and a tag for each item."""
    import numpy as np

    try:
        from langmill_plugins.filters import kernels
    except ImportError:
        raise missing_package("shingling", "numba", "data") from None
    from langmill_plugins.filters.folding import table

    texts = list(chain.from_iterable(items))
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    forms: Any = np.full(len(texts), kernels.ASCII, np.int8)
    foreign = [index for index, text in enumerate(texts) if not text.isascii()]
    if foreign:
        forms[foreign] = kernels.RAW
        data, starts = _joined([encoded[index] for index in foreign])
        for index in np.array(foreign)[kernels.bound_together(data, starts, table())]:
            encoded[index] = folded(texts[index]).encode("utf-8", "surrogatepass")
            forms[index] = kernels.FOLDED
    data, starts = _joined(encoded)
    counts = np.fromiter(map(len, items), np.int64, len(items))
    found: tuple[Hashes, Offsets] = kernels.shingled(data, starts, forms, table(), counts, words, sizes, tags, distinct)
    return found


def _joined(encoded: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], Offsets]:
    import numpy as np

    starts: Any = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=starts[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), starts
