"""Rows too short or too long."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from pydantic import model_validator

from langmill.api import Drop, Field, Filter, Flag, Row, StepContext, words

# English letters to one Chinese, Japanese or Korean character in translated medical text: 2.9 (tico-19), 2.7 (IgakuQA),
# 2.7 (Korean disease control agency on COVID-19).
WIDE = 3


class Length(Filter):
    """Drops rows whose text is too short or too long, by a measure that is alike in every language: letters and digits,
    where a wide one (Han, kana, hangul) counts as three. An English word has about five."""

    least: int = Field(1, ge=0, description="fewest letters and digits; shorter rows are dropped as too_short")
    most: int | None = Field(None, ge=1, description="most letters and digits; longer rows are dropped as too_long")

    @model_validator(mode="after")
    def _least_first(self) -> Length:
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least: {self.least} is more than most: {self.most}, so that no row would stay")
        return self

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row."""
        return [self._one(measure(words(row.body))) for row in rows]

    def _one(self, found: int) -> Drop | None:
        if found < self.least:
            return Drop("too_short", f"{found} letters and digits, least {self.least}")
        if self.most is not None and found > self.most:
            return Drop("too_long", f"{found} letters and digits, most {self.most}")
        return None


def measure(text: str) -> int:
    """Letters and digits of a text, wide ones three times."""
    return sum(
        times * (WIDE if unicodedata.east_asian_width(character) == "W" else 1)
        for character, times in Counter(unicodedata.normalize("NFKC", text)).items()
        if character.isalnum()
    )
