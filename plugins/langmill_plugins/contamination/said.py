"""What many rows say, as items and as keys of their wordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from langmill.api import Row
from langmill_plugins.contamination import overlaps
from langmill_plugins.contamination.items import Item
from langmill_plugins.contamination.overlaps import Hashes
from langmill_plugins.text.shingling import shingled

ENDLESS = 1 << 50  # longer than any text: the text is one shingle


class Said(NamedTuple):
    """Rows as the comparison needs them: items, and keys of shape (rows, 5) as overlaps.item_keys makes them."""

    rows: Sequence[Row]
    items: Sequence[Item]
    keys: Hashes

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Said:
        """What some rows say."""
        items = [Item.of(row) for row in rows]
        sides = [
            (
                (item.question,) * bool(item.question),
                (item.background,) * bool(item.background),
                item.options,
                item.answer,
            )
            for item in items
        ]
        texts = [(text,) for four in sides for side in four for text in side]
        hashes, offsets = shingled(texts, "character", ENDLESS, 0, False)
        told = np.diff(offsets)  # 0 where a text has no letter
        owners: Any = np.repeat(np.arange(4 * len(rows)), [len(side) for four in sides for side in four])
        counts = np.bincount(owners, weights=told, minlength=4 * len(rows)).astype(np.int64)
        return cls(rows, items, overlaps.item_keys(hashes, counts.reshape(-1, 4)))
