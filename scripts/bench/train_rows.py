"""Real rows of seven languages for two stages: open questions for the first, exam items for the second, none in both.

Sets with open questions are at hand in English and Chinese alone. In the other languages the items of one half of an exam
set are put openly: the question without its options, answered by the right option and the reason or passage that comes with
it. The other half stays as it is. Which half, and which split, is decided by a hash of the item's family.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from langmill.api import Body, Chat, Choice, Loader, Row, SourceContext, packs_in
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.medquad import MedQuad
from langmill_plugins.loaders.rumeddanet import RuMedDaNet
from langmill_plugins.loaders.table import Table

LANGUAGES = ("en", "zh", "ja", "ko", "fr", "es", "ru")
DEV_SHARE = 0.35  # of the families; few rows are taken, so that many can be left for the validation loss
LEAST_QUESTION = 12  # characters; a shorter one can not be answered without its options
FRAME = 40  # tokens that a chat template may add
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}

CASIMEDICOS = CasiMedicos(path="$data_dir/casimedicos/casimedicos-arg", license="x")
IGAKUQA = IgakuQA(path="$data_dir/igakuqa/data", license="x")
KOREAN = KorMedMCQACoT(path="$data_dir/kormedmcqa-cot/data/sft", license="x")
RUSSIAN = RuMedDaNet(path="$data_dir/rumedbench/data/RuMedDaNet", license="x")
OPEN: Mapping[str, Loader] = {
    "en": MedQuad(path="$data_dir/medquad", license="x"),
    "zh": Table(
        path="$data_dir/bentsao-huatuo/data/llama_data.json", body="chat", language="zh", question="instruction",
        answer="output", license="x",
    ),
    "ja": IGAKUQA, "ko": KOREAN, "fr": CASIMEDICOS, "es": HeadQA(path="$data_dir/headqa/HEAD", license="x"), "ru": RUSSIAN,
}  # fmt: skip
EXAMS: Mapping[str, Loader] = {
    "en": CASIMEDICOS, "zh": CMExam(path="$data_dir/cmexam", license="x"), "ja": IGAKUQA, "ko": KOREAN, "fr": CASIMEDICOS,
    "es": CASIMEDICOS, "ru": RUSSIAN,
}  # fmt: skip


@dataclass(frozen=True)
class Amount:
    """Rows of each language, and the most tokens that one may have; the shortest there are, or any."""

    train: int
    dev: int
    tokens: int
    shortest: bool = False


def write_rows(
    folder: Path, data: Path, amount: Amount, tokens: Callable[[str], int], languages: Sequence[str] = LANGUAGES
) -> dict[str, dict[str, Any]]:
    """Write ``open.jsonl`` and ``exams.jsonl``; returns rows by file, split and language. ``tokens`` counts a text's."""
    counts: dict[str, dict[str, Any]] = {}
    for name, sets in (("open", OPEN), ("exams", EXAMS)):
        lines: list[str] = []
        table: dict[str, Any] = {"train": {}, "dev": {}}
        for language in languages:
            rows = [row for row in rows_of(sets[language], data) if row.language == language]
            if sets[language] in EXAMS.values():
                rows = [row for row in rows if (_share(row.family, "half") < 0.5) == (name == "open")]
            records = _fitting(rows, name, amount, tokens)
            for split, most in (("train", amount.train), ("dev", amount.dev)):
                chosen = [record for record in records if record["split"] == split][:most]
                table[split][language] = len(chosen)
                lines += [json.dumps(record, ensure_ascii=False) for record in chosen]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        counts[name] = table
    return counts


def rows_of(loader: Loader, data: Path) -> Iterator[Row]:
    """A set's rows, as its loader reads them."""
    context = SourceContext("sources.s", 17, PACKS, Path(), data, source=type(loader).__name__, splits=loader.splits)
    return (item for item in loader.load(context) if isinstance(item, Row))


def _share(family: str, what: str) -> float:
    """A number in [0, 1) that a family always gets: parallel editions of an item fall on one side."""
    return int.from_bytes(sha256(f"{what}\0{family}".encode()).digest()[:6], "big") / 2**48


def _fitting(rows: Iterable[Row], kind: str, amount: Amount, tokens: Callable[[str], int]) -> list[dict[str, Any]]:
    """Records of rows that fit as their language's pack puts them, in the order in which they are to be taken; each question
    once."""
    found: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (_share(row.family, "order"), row.id)):
        body = _opened(row.body) if kind == "open" else row.body
        if not isinstance(body, Chat | Choice) or body.question in found:
            continue
        size = tokens("\n".join(message.content for message in PACKS[row.language].conversation(body)))
        if size <= amount.tokens - FRAME:
            split = "dev" if _share(row.family, "split") < DEV_SHARE else "train"
            known = {"id": row.id, "family": row.family, "language": row.language, "split": split}
            found[body.question], sizes[row.id] = {**known, **_record(body)}, size
    return sorted(found.values(), key=lambda record: sizes[record["id"]] if amount.shortest else 0)


def _opened(body: Body) -> Chat | None:
    """A question and its answer in words; None for an item that makes no open question."""
    if isinstance(body, Chat):
        return body
    if not isinstance(body, Choice) or len(body.answers) > 1 or len(body.question) < LEAST_QUESTION:
        return None
    words = [body.options[body.answers[0]], body.context or ""]
    return Chat.of(body.question, ". ".join(word.rstrip(". ") for word in words if word) + ".")


def _record(body: Chat | Choice) -> dict[str, Any]:
    """A body as the JSON Lines loader reads it."""
    if isinstance(body, Chat):
        return {"question": body.question, "answer": body.answer}
    more = {"explanation": body.explanation, "context": body.context}
    told = {name: text for name, text in more.items() if text}
    return {"question": body.question, "options": list(body.options), "answer": list(body.answers), **told}
