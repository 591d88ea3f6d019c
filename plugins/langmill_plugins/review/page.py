"""The page on which reviewers judge rationales: one file, everything inside, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from langmill.api import Choice, Pack, Row

from .sheets import COLUMNS, line_of

TO_THE_LEFT = {"Adlm", "Arab", "Hebr", "Nkoo", "Syrc", "Thaa"}  # scripts written from right to left, ISO 15924


def page_of(rows: Iterable[tuple[Row, Pack]], title: str) -> str:
    """The page of some multiple-choice rows, each with its language's pack. What rows say stands in it as JSON, and becomes text
    and never markup; the page runs no script but its own."""
    items = []
    for row, pack in rows:
        body = row.body
        assert isinstance(body, Choice)
        identity = pack.identity
        items.append(
            {
                "language": row.language,
                "name": f"{identity.native_name} ({identity.name})",
                "direction": "rtl" if TO_THE_LEFT & set(identity.scripts) else "ltr",
                "options": pack.lettered(body.options),
                "answers": body.answers,
                "cells": line_of(row, pack),
            }
        )
    data = json.dumps({"columns": COLUMNS, "items": items}, ensure_ascii=False).replace("<", "\\u003c")
    template = files(__package__).joinpath("page.html").read_text("utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    known = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    # rows come last: nothing that they say is taken for a place of the template
    head, _, tail = template.partition("@ITEMS@")
    head = head.replace("@CSP@", f"'sha256-{known}'").replace("@TITLE@", escape(title))
    return f"{head}{data}{tail}"
