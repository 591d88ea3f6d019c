"""Rows with rationales, for tests of what people say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from langmill.api import Choice, Context, Origin, Row, Split, StepContext, packs_in

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = Context("mmedbench.review_sheet", 17, PACKS, Path())
HEBREW = replace(
    PACKS["en"],
    identity=PACKS["en"].identity.model_copy(
        update={"code": "he", "name": "Hebrew", "native_name": "עברית", "scripts": ("Hebr",)}
    ),
)


def item(id: str, language: str, explanation: str | None, split: Split = "test", *, question: str = "") -> Row:
    """A row of two options, of which the second is right."""
    body = Choice(question or f"Question {id}?", ("=SUM(A1)", "Vitamin C"), (1,), explanation)
    return Row(f"s/{id}", language, split, f"s/{id}", body, Origin("s", id, ("CC0-1.0",)))


def rows_of() -> list[Row]:
    """Six test rows with a rationale in three languages, as a data set streams them; among them what a sheet or a page could
    stumble over. And one of train."""
    return [
        item("en-0", "en", "Collagen needs it.", "train"),
        item("en-1", "en", "Collagen needs it.\n\"So\" they say; it's known, too."),
        item("en-2", "en", "</script><img src=x onerror=alert(1)> <!-- @ITEMS@ &amp; \u2028 -->"),
        item("en-3", "en", "=HYPERLINK(\"x\")", question="-1 or +1?"),
        item("ja-1", "ja", "コラーゲンの合成に必要である。", question="壊血病を防ぐのはどれか。"),
        item("ja-2", "ja", "'=1 と書いてある。\t終わり", question="@何か"),
        item("zh-1", "zh", "胶原合成需要它。", question="哪种维生素可预防坏血病？"),
    ]  # fmt: skip


def step_context(place: str = "datasets.reviewed.steps[0]") -> StepContext:
    """What a step is handed."""
    return StepContext(place, 17, PACKS, Path())
