"""Short real exam items of seven languages, one right option each, in an order that a hash decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.train_rows import EXAMS, PACKS, rows_of
from langmill.api import Choice, Loader, Row
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.medqa import MedQA

BRIEF: Mapping[str, Loader] = {
    **EXAMS,
    "en": MedQA(path="$data_dir/medqa-usmle", license="x"),
    "fr": FrenchMedMCQA(path="$data_dir/frenchmedmcqa/corpus", license="x"),
    "es": HeadQA(path="$data_dir/headqa/HEAD", license="x"),
}


def brief_rows(data: Path, language: str, tokens: Callable[[str], int], most: int, count: int) -> list[Row]:
    """The ``count`` items of a language that are shortest as they are put, each question once and without its reading passage, whose
    questions have fewer than ``most`` tokens; in an order of their own."""
    found: dict[str, tuple[int, Row]] = {}
    for row in rows_of(BRIEF[language], data):
        body = row.body
        if row.language != language or not isinstance(body, Choice) or len(body.answers) != 1:
            continue
        if body.question not in found and len(set(body.options)) == len(body.options) and tokens(body.question) < most:
            bare = replace(body, context=None, explanation=None)
            found[body.question] = (tokens(PACKS[language].ask_choice(bare, short=True)), replace(row, body=bare))
    shortest = sorted(found.values(), key=lambda one: (one[0], one[1].id))[:count]
    return sorted((row for _, row in shortest), key=lambda row: sha256(row.id.encode()).digest())


def exam_record(row: Row, **more: Any) -> dict[str, Any]:
    """An item as the JSON Lines loader reads it."""
    body = row.body
    assert isinstance(body, Choice)
    item = {"question": body.question, "options": list(body.options), "answer": list(body.answers)}
    return {"id": row.id, "family": row.id, "language": row.language, **item, **more}


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """JSON Lines."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
