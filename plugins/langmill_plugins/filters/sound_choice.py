"""Multiple-choice items that can be answered from what they say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar

from langmill.api import Choice, Drop, Field, Filter, Flag, Pack, Row, StepContext
from langmill_plugins.text.wording import folded

_WORD = re.compile(r"[^\W\d_]{4}")


class SoundChoice(Filter):
    """Drops multiple-choice items that can not be answered from their text.

    Reasons: `empty_question`; `too_few_options` (under two); `empty_option`; `repeated_option` (two options that say the
    same, whatever their spacing, width of letters and case; but genotypes and symbols, AA and Aa, differ by case);
    `needs_image` (the question or an option points to a picture). That the answers are among the options every row
    guarantees. The phrases that point to a picture are the language pack's (section `pictures`): a picture that is merely
    named is no fault, since "the X-ray shows a fracture" says what is seen. A language whose pack has none keeps such items.
    """

    bodies: ClassVar[tuple[type, ...]] = (Choice,)
    images: bool = Field(True, description="drop items that point to a picture")

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row: the first fault found."""
        return [
            self._one(row.body, context.languages.get(row.language)) if isinstance(row.body, Choice) else None
            for row in rows
        ]

    def _one(self, body: Choice, pack: Pack | None) -> Drop | None:
        question, options = folded(body.question), [_wording(option) for option in body.options]
        if not any(character.isalnum() for character in question):
            return Drop("empty_question")
        if len(options) < 2:
            return Drop("too_few_options", f"{len(options)} option")
        for index, option in enumerate(options):
            if not option:
                return Drop("empty_option", f"option {index + 1} of {len(options)}")
            if option in options[:index]:
                return Drop(
                    "repeated_option", f"options {options.index(option) + 1} and {index + 1}: {body.options[index]}"
                )
        if self.images and pack and pack.pictures:
            for text in (question, *map(str.casefold, options)):
                found = pack.pictures.pattern.search(text)
                if found:
                    return Drop("needs_image", f"'{found.group()}'")
        return None


def _wording(option: str) -> str:
    """An option folded; one without a word of four letters keeps its case."""
    if _WORD.search(option):
        return folded(option)
    text = unicodedata.normalize("NFKC", option)
    return " ".join("".join(letter for letter in text if unicodedata.category(letter) != "Cf").split())
