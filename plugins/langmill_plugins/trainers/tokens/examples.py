"""Examples: what a model is trained on, all of them in a few flat arrays.

Five bytes a token and a dozen an example, whatever their number: a Python object a token would take forty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

NO_LOSS = -100  # what PyTorch's cross-entropy passes over


class Example(NamedTuple):
    """One example as it is made: token ids, and for each whether it carries loss; where it came from.

    ``row`` is the row's number in the data set's split; ``part`` tells the examples of one row apart (a second format, a
    later chunk).
    """

    ids: Sequence[int]
    learnt: Sequence[bool]
    row: int
    part: int
    language: str
    source: str


@dataclass(frozen=True)
class Examples:
    """NumPy arrays. Example i has the tokens ``starts[i]:starts[i + 1]``.

    ids int32 [tokens]; learnt bool [tokens]; starts int64 [n + 1]; row and part int32 [n]; language and source int16
    [n], places in ``languages`` and ``sources``.
    """

    ids: Any
    learnt: Any
    starts: Any
    row: Any
    part: Any
    language: Any
    source: Any
    languages: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Examples:
        """Examples gathered, in their order."""
        import numpy as np

        # Buffers that grow in place: lists of arrays would be there twice when they are put together.
        ids, learnt = bytearray(), bytearray()
        sizes, rows, parts, spoken, origins = [], [], [], [], []
        languages: dict[str, int] = {}
        sources: dict[str, int] = {}
        for example in examples:
            ids += np.asarray(example.ids, np.int32).tobytes()
            learnt += np.asarray(example.learnt, bool).tobytes()
            sizes.append(len(example.ids))
            rows.append(example.row)
            parts.append(example.part)
            spoken.append(languages.setdefault(example.language, len(languages)))
            origins.append(sources.setdefault(example.source, len(sources)))
        starts: Any = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        return cls(
            np.frombuffer(ids, np.int32), np.frombuffer(learnt, bool), starts, np.asarray(rows, np.int32),
            np.asarray(parts, np.int32), np.asarray(spoken, np.int16), np.asarray(origins, np.int16), tuple(languages),
            tuple(sources),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Any:
        """Tokens of each example, int32 [n]."""
        import numpy as np

        return np.diff(self.starts).astype(np.int32)

    @property
    def tokens(self) -> int:
        """Tokens in all examples."""
        return len(self.ids)

    @property
    def trained(self) -> int:
        """Tokens that carry loss, in all examples."""
        return int(self.learnt.sum())

    def ids_of(self, number: int) -> Any:
        """The token ids of one example, int32."""
        return self.ids[self.starts[number] : self.starts[number + 1]]

    def labels_of(self, number: int) -> Any:
        """Its labels, int32: the id where it carries loss, else NO_LOSS."""
        import numpy as np

        part = slice(self.starts[number], self.starts[number + 1])
        return np.where(self.learnt[part], self.ids[part], NO_LOSS)

    def joined(self, more: Examples) -> Examples:
        """These, then those."""
        import numpy as np

        def places(mine: tuple[str, ...], theirs: tuple[str, ...], of: Any) -> tuple[tuple[str, ...], Any]:
            names = (*mine, *(name for name in theirs if name not in mine))
            return names, np.asarray([names.index(name) for name in theirs] or [0], np.int16)[of]

        languages, spoken = places(self.languages, more.languages, more.language)
        sources, origins = places(self.sources, more.sources, more.source)
        return Examples(
            np.concatenate((self.ids, more.ids)), np.concatenate((self.learnt, more.learnt)),
            np.concatenate((self.starts, more.starts[1:] + self.starts[-1])), np.concatenate((self.row, more.row)),
            np.concatenate((self.part, more.part)), np.concatenate((self.language, spoken)),
            np.concatenate((self.source, origins)), languages, sources,
        )  # fmt: skip

    def digest(self) -> str:
        """A hash of every token, every mask and every border."""
        digest = hashlib.sha256(self.ids.tobytes())
        digest.update(self.learnt.tobytes())
        digest.update(self.starts.tobytes())
        return digest.hexdigest()
