"""What people said of a row's rationale, as the row's flags have it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

from langmill.api import Choice

CHECKED = "explanation_checked"
"""People checked the explanation and let it pass."""
UNCHECKED = "explanation_unchecked"
"""Nobody checked it; of a published row: nobody did, or it did not pass."""
FAILED = "explanation_failed"
"""People checked it and did not let it pass."""
DISPUTED = "explanation_disputed"
"""Two reviewers disagree."""
CHANGED = "explanation_changed"
"""There is a verdict, but of other words than the row has now: it does not count."""


def told(flags: Collection[str]) -> bool | None:
    """Whether people let the explanation pass; None where nobody says anything of it. A verdict of ours outweighs what the source
    said before."""
    if {FAILED, DISPUTED, CHANGED} & set(flags):
        return False
    if CHECKED in flags:
        return True
    return False if UNCHECKED in flags else None


def shown_hash(body: Choice) -> str:
    """What a verdict is of: question, passage, options, right answers and explanation, as 16 hexadecimal digits after a letter, so that
    no spreadsheet takes it for a number."""
    shown = [body.question, body.context, body.options, body.answers, body.explanation]
    return f"h{hashlib.sha256(json.dumps(shown, ensure_ascii=False).encode('utf-8')).hexdigest()[:16]}"
