"""Shingles of many texts at once: what wording.py says of one text, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langmill.api import missing_package
from langmill_plugins.text.wording import folded

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

    texts = list(chain.from_iterable(items))
    counts = np.fromiter(map(len, items), np.int64, len(items))
    words, sizes, tags = (np.full(len(items), value) for value in (by == "word", size, tag))
    return cut(texts, counts, words, sizes, tags, distinct)


def cut(
    texts: Sequence[str], counts: Offsets, words: npt.NDArray[np.bool_], sizes: Offsets, tags: Offsets, distinct: bool
) -> tuple[Hashes, Offsets]:
    """shingled() of the next counts[i] texts for each item i, with a cut (by word or by character), a size and a tag each."""
    import numpy as np

    try:
        from langmill_plugins.text import kernels
    except ImportError:
        raise missing_package("shingling", "numba", "data") from None
    from langmill_plugins.text.folding import table

    texts = list(texts)
    forms: Any = np.where(np.fromiter(map(str.isascii, texts), np.bool_, len(texts)), kernels.ASCII, kernels.RAW)
    for _ in range(2):
        data = np.frombuffer("".join(texts).encode("utf-8", "surrogatepass"), np.uint8)
        points = np.fromiter(map(len, texts), np.int64, len(texts))
        values, offsets, together = kernels.shingled(data, points, forms, table(), counts, words, sizes, tags, distinct)
        if not together.any():
            break
        for index in np.flatnonzero(together).tolist():
            texts[index], forms[index] = folded(texts[index]), kernels.FOLDED
    return values, offsets
