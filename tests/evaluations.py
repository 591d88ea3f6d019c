"""Evaluations of a finished run as the core writes them, from answers that are made up here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from langmill.api import Item, Marked, Metric, Table
from langmill.disk.store import RunFolder, file_hash
from langmill.scores.summing import scores_of

METRICS = {
    "letters": Metric("share", "the likeliest letter is right"),
    "perplexity": Metric("exp", "of the words of the row", better="lower"),
}


@dataclass(frozen=True)
class Exam:
    """One evaluation of one model: how many of ``rows`` it had right in each language (the first ones), how many of its wrong
    answers could not be read, and its mean negative log-likelihood in each."""

    name: str
    model: str
    right: Mapping[str, int]
    rows: int = 20
    unreadable: Mapping[str, int] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    prompt: str = "choice_short@0123456789ab"
    stage: str | None = None
    chooses: str | None = None
    base: str = "small/base"

    def items(self) -> Iterable[Item]:
        """What a row loses is the model's, the row's and a little of both."""
        for language, right in self.right.items():
            lost = self.unreadable.get(language, 0)
            for at in range(self.rows):
                readable = at < self.rows - lost
                yield Item(f"{language}-{at}", language, "letters", float(at < right), 0.2, readable)
        for language, loss in self.losses.items():
            for at in range(self.rows):
                yield Item(f"{language}-{at}", language, "perplexity", loss + at / self.rows + math.sin(at * loss) / 3)

    def table(self, language: str) -> Table:
        """The right position by the one that was chosen."""
        letters = ("A", "B", "C", "D")
        right, each = self.right[language] / self.rows, self.rows / len(letters)
        cells = [[each * (right if row == column else (1 - right) / 3) for column in letters] for row in letters]
        if self.chooses:
            cells = [[each * (column == self.chooses) for column in letters] for _ in letters]
        note = "Rows: the right one. Columns: the one that was chosen."
        return Table("positions", language, letters, letters, tuple(map(tuple, cells)), note, places=True)

    def write(self, store: RunFolder, **changed: object) -> dict[str, Any]:
        """Its file in the run's folder; returns what is in it."""
        items = tuple(self.items())
        tables = tuple(self.table(language) for language in self.right)
        marked = Marked(items, dict.fromkeys({item.language for item in items}, self.prompt), tables=tables)
        facts = {
            "key": "k", "use": "asked", "name": self.name, "data": "exams", "split": "test", "model": self.model,
            "decides": {"base": {"base": self.base, "stage": None}, "stage": self.stage},
            "options": {"data": "exams", "split": "test", "limit": 20, "shots": 2},
            "seed": 13, "langmill": "0.1", "code": "c0de", "packs": {}, "rows": self.rows * len(self.right),
            "files": {path.relative_to(store.root).as_posix(): file_hash(path) for path in store.data_files("exams", "test")},
            "metrics": {name: asdict(METRICS[name]) for name in dict.fromkeys(item.metric for item in items)},
            "prompts": dict(marked.prompts), "facts": {"extractor": "letters-1"}, "tables": [asdict(table) for table in tables],
            "items": [asdict(item) for item in items], "scores": [score.plain() for score in scores_of(marked, METRICS, 13)],
            "contents": {item.row: "words" for item in items}, **changed,
        }  # fmt: skip
        store.write_json(f"eval/{self.name}.{self.model}.json", facts)
        return facts


def examined(store: RunFolder) -> None:
    """A base and two stages, the second of them better in every language but Japanese."""
    Exam(
        "exams.asked", "base", {"en": 4, "ja": 5, "ru": 4, "zh": 3}, unreadable={"zh": 6},
        losses={"en": 2.9, "ja": 4.1, "ru": 3.5, "zh": 4.4},
    ).write(store)  # fmt: skip
    Exam(
        "exams.asked", "first", {"en": 5, "ja": 5, "ru": 5, "zh": 4}, stage="k",
        losses={"en": 2.5, "ja": 3.2, "ru": 3.0, "zh": 3.3},
    ).write(store)  # fmt: skip
    Exam(
        "exams.asked", "second", {"en": 17, "ja": 8, "ru": 16, "zh": 15}, stage="k",
        losses={"en": 2.6, "ja": 3.2, "ru": 3.0, "zh": 3.5},
    ).write(store)  # fmt: skip
