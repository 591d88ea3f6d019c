"""Text that says the same over and over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from langmill.api import Body, Chat, Choice, Drop, Field, Filter, Flag, Row, StepContext, Text

if TYPE_CHECKING:
    from langmill_plugins.text.repeating import Repeats


class Repetition(Filter):
    """Drops or flags rows with a text that has fallen into repeating itself, as small models do.

    Reasons: `loop` (a unit of up to 1,000 characters, from one character to some sentences, is said at least four times on
    end, over at least 30 characters, 12 in Chinese, Japanese and Korean) and `repeated_passages` (over half of the characters
    stand in passages of about ten words that the same text had before). Each message, question, context and rationale is
    looked at by itself, since an answer may repeat its question; options are not, since they are meant to be alike.
    """

    action: Literal["drop", "flag"] = Field("drop", description="drop such rows, or keep and count them")
    share: float = Field(
        0.5, gt=0, le=1, description="most of a text that may stand in passages it had before; Rae et al. (2021) allow web pages 0.1"
    )  # fmt: skip

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row: of the worst of its texts."""
        from langmill_plugins.text.repeating import repeats

        texts = [(index, text) for index, row in enumerate(rows) for text in _texts(row.body)]
        verdicts: list[Drop | Flag | None] = [None] * len(rows)
        for (index, _), found in zip(texts, repeats([text for _, text in texts]), strict=True):
            drop = self._one(found)
            if drop and verdicts[index] is None:
                verdicts[index] = drop if self.action == "drop" else Flag(drop.reason)
        return verdicts

    def _one(self, found: Repeats) -> Drop | None:
        if found.unit:
            return Drop("loop", f"{found.times} times '{found.unit[:80]}'")
        if found.share > self.share:
            return Drop("repeated_passages", f"{found.share:.0%} of the text stood in it before")
        return None


def _texts(body: Body) -> list[str]:
    match body:
        case Text(text=text):
            return [text]
        case Chat(messages=messages):
            return [message.content for message in messages]
        case Choice(question=question, explanation=explanation, context=context):
            return [text for text in (context, question, explanation) if text]
