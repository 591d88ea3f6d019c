"""What the terms of the models that wrote rows say about the use of what they wrote: the declared table, writers.yaml.

A note for people and no gate: nobody here can say whether a model competes with another. No legal advice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from langmill.api import LLM
from langmill.errors import MissingInput
from langmill.models import get
from langmill.yaml12 import load_file

TABLE = Path(__file__).with_name("writers.yaml")
Training = Literal["free", "conditions", "limited", "forbidden", "unknown"]


@dataclass(frozen=True)
class WriterTerms:
    """The terms of one model: whether a model may be trained on what it writes, in words, where they are to be read and when they
    were (empty: never)."""

    model: str
    training: Training
    summary: str
    where: str = ""
    looked_up: str = ""
    seen: str = ""

    @property
    def words(self) -> str:
        """The note: what it may be used for, how sure that is, where it stands."""
        ground = {"the terms": "read", "others": "as others report it,"}.get(self.seen, "")
        told = [
            self.where,
            f"{ground} {self.looked_up}" if ground else "not looked up" * bool(self.where and self.seen),
        ]
        behind = ", ".join(filter(None, told))
        return self.summary + (f" ({behind})" if behind else "")


@lru_cache(maxsize=1)
def _table() -> tuple[Mapping[str, Any], ...]:
    return tuple(load_file(TABLE).data)


def writer_terms(model: str, declared: str | None = None) -> WriterTerms:
    """The terms of PROVIDER/MODEL: as the recipe declares them, as the table has them, as the packaged model's licence has them, or
    unknown."""
    if declared:
        return WriterTerms(model, "unknown", declared, "as the recipe says")
    name = model.lower()
    for entry in _table():
        if any(fnmatchcase(name, pattern) for pattern in entry["match"]):
            return WriterTerms(model, **{key: value for key, value in entry.items() if key != "match"})
    provider, _, rest = model.partition("/")
    if provider == "local":
        try:
            return WriterTerms(model, "unknown", f"weights under {get(rest).license}", "its notice")
        except MissingInput:
            pass
    return WriterTerms(
        model, "unknown", "its terms are not known here: read them, and say them with terms: beside model:"
    )


def terms_of(models: Iterable[str], known: Iterable[LLM] = ()) -> list[WriterTerms]:
    """The terms of models by name, each once; ``known`` are the recipe's, which may declare their own."""
    declared = {str(llm.identity()["model"]): llm.terms for llm in known}
    return [writer_terms(model, declared.get(model)) for model in sorted(set(models))]
