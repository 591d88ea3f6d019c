"""Real text in two languages, for the guards: every pair of one unit, item or case and its translation."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from bench.cases import load
from bench.section import ROOT
from langmill.api import Choice, Pack, Row, packs_in
from langmill.parts.languages import read_pack
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.reading import json_document, json_lines
from langmill_plugins.loaders.rumeddanet import RuMedDaNet

if TYPE_CHECKING:
    from langmill.api import Loader

RATIONALE = "#rationale"
SHIFTED = {"tico-en-fr": (("PubMed_8", 462, 735), ("Wikinews_1", 1086, 1095), ("Wikinews_3", 1107, 1121))}
"""Units by document, first and last, whose two sides belong to different units: no translations of each other."""
ARABIC = ROOT / "tests/outside/langmill_arabic/ar"


class Pair(NamedTuple):
    """A text and its translation: running text, a rationale, or an item's question with its options apart (``kind`` choice)."""

    id: str
    source_language: str
    target_language: str
    kind: str
    source: str
    target: str
    source_options: tuple[str, ...] = ()
    target_options: tuple[str, ...] = ()

    def pieces(self) -> list[tuple[str, str, str]]:
        """Name, source and target of every text in it, as a translated row has them."""
        options = zip(self.source_options, self.target_options, strict=False)
        return [
            ("question" if self.kind == "choice" else "text", self.source, self.target),
            *((f"option {number}", *texts) for number, texts in enumerate(options, start=1)),
        ]

    def turned(self) -> Pair:
        """The same, translated the other way."""
        return Pair(self.id, self.target_language, self.source_language, self.kind, self.target, self.source,
                    self.target_options, self.source_options)  # fmt: skip

    @property
    def row(self) -> str:
        """The row that it is of: an item and its rationale are one."""
        return self.id.removesuffix(RATIONALE)


@lru_cache(maxsize=1)
def packs() -> dict[str, Pack]:
    """The seven packs that come with the factory, and Arabic's from the tests where it is there."""
    found = {pack.code: pack for pack in packs_in("langmill_languages")}
    if (ARABIC / "pack.yaml").is_file():
        found["ar"] = read_pack(ARABIC)
    return found


def pairs(name: str, data: Path, shifted: bool = False) -> list[Pair]:
    """All pairs of a set, segment by segment, without the shifted ones, or these alone. ``data`` is the folder of the public
    sets."""
    found = (PAIRS.get(name) or COPIES[name])(data)
    return [pair for pair in found if _is_shifted(pair, name) == shifted]


def _is_shifted(pair: Pair, name: str) -> bool:
    document, _, number = pair.id.partition(":")
    return any(document == run and first <= int(number) <= last for run, first, last in SHIFTED.get(name, ()))


def _tico(language: str) -> Callable[[Path], Iterator[Pair]]:
    def units(data: Path) -> Iterator[Pair]:
        name = "es-LA" if language == "es" else language
        with (
            zipfile.ZipFile(data / f"tico-19/TM/all.en-{name}.tmx.zip") as archive,
            archive.open(archive.namelist()[0]) as file,
        ):
            for unit in ElementTree.parse(file).iter("tu"):
                source, target = ("".join(seg.itertext()).strip() for seg in unit.iter("seg"))
                yield Pair(unit.get("tuid", ""), "en", language, "text", source, target)

    return units


def _items(read: Callable[[Path], list[Row]], source: str, target: str) -> Callable[[Path], Iterator[Pair]]:
    """Items of a set with editions: the rows of one family are one item."""

    def joined(data: Path) -> Iterator[Pair]:
        editions: dict[str, dict[str, Choice]] = {}
        for row in read(data):
            if isinstance(row.body, Choice):
                editions.setdefault(row.family, {})[row.language] = row.body
        for family, bodies in editions.items():
            if source in bodies and target in bodies:
                yield from _segments(family, source, target, bodies[source], bodies[target])

    return joined


def _segments(id: str, source: str, target: str, mine: Choice, theirs: Choice) -> Iterator[Pair]:
    """An item, and its rationale as a text of its own."""
    yield Pair(id, source, target, "choice", mine.question, theirs.question, mine.options, theirs.options)
    if mine.explanation and theirs.explanation:
        yield Pair(id + RATIONALE, source, target, "text", mine.explanation, theirs.explanation)


@lru_cache(maxsize=1)
def _headqa(data: Path) -> list[Row]:
    return load(HeadQA(path="$data_dir/headqa", license="x"), "headqa", data)


@lru_cache(maxsize=1)
def _casimedicos(data: Path) -> list[Row]:
    """Rows by case: the loader counts the cases of each file, and the three editions have the same ones in the same order."""
    return load(CasiMedicos(path="$data_dir/casimedicos/casimedicos-arg", license="x"), "casimedicos", data)


def _igakuqa(data: Path) -> Iterator[Pair]:
    """The Japanese items with the English that the authors had them translated to by a machine."""
    english = {
        item["problem_id"]: item
        for path in sorted((data / "igakuqa/data").glob("*/*_translate.jsonl"))
        for _, item in json_lines(path)
        if isinstance(item, dict)
    }
    for row in load(IgakuQA(path="$data_dir/igakuqa/data", license="x"), "igakuqa", data):
        item = english.get(row.origin.record)
        if row.language == "ja" and isinstance(row.body, Choice) and item and item.get("choices_en"):
            options = tuple(str(option) for option in item["choices_en"])
            yield Pair(row.origin.record, "ja", "en", "choice", row.body.question, str(item["problem_text_en"]),
                       row.body.options, options)  # fmt: skip


def _korean(data: Path) -> Iterator[Pair]:
    folder = data / "covid19-ko-en/test_sets/en_ko"
    english, korean = (
        (folder / name).read_text("utf-8").split("\n") for name in ("covid19_cdc.en.txt", "covid19_cdc.ko")
    )
    for number, (mine, theirs) in enumerate(zip(english, korean, strict=False), start=1):
        if mine.strip() and theirs.strip():
            yield Pair(str(number), "en", "ko", "text", mine.strip(), theirs.strip())


def _copies(name: str, make: Callable[[], Loader], language: str) -> Callable[[Path], Iterator[Pair]]:
    """Items of one language, each beside its own copy."""

    def copied(data: Path) -> Iterator[Pair]:
        for row in load(make(), name, data):
            if isinstance(row.body, Choice) and row.language == language:
                text = f"{row.body.context}\n{row.body.question}" if row.body.context else row.body.question
                body = Choice(text, row.body.options, row.body.answers, row.body.explanation)
                yield from _segments(row.id, language, language, body, body)

    return copied


def _apollo(data: Path) -> Iterator[Pair]:
    """Apollo's editions are of different questions, so that its Arabic stands beside its own copy, too."""
    for number, item in enumerate(json_document(data / "apollo/metadata/test/ar.json", list), start=1):
        lines = re.split(r"\n(?=\([A-Z]\))", str(item["options"]).strip())
        options = tuple(re.sub(r"\.{2,}$", ".", line[3:].strip()) for line in lines)
        question = str(item["question"]).strip()
        yield Pair(str(number), "ar", "ar", "choice", question, question, options, options)


PAIRS: dict[str, Callable[[Path], Iterator[Pair]]] = {
    **{f"tico-en-{language}": _tico(language) for language in ("zh", "ru", "fr", "es", "ar")},
    "headqa-es-en": _items(_headqa, "es", "en"),
    "headqa-en-es": _items(_headqa, "en", "es"),
    "casimedicos-es-en": _items(_casimedicos, "es", "en"),
    "casimedicos-es-fr": _items(_casimedicos, "es", "fr"),
    "casimedicos-en-fr": _items(_casimedicos, "en", "fr"),
    "covid19-en-ko": _korean,
    "igakuqa-ja-en": _igakuqa,
}
"""Real translations."""

COPIES: dict[str, Callable[[Path], Iterator[Pair]]] = {
    "copies-en": _copies("medqa", lambda: MedQA(path="$data_dir/medqa-usmle", license="x"), "en"),
    "copies-es": _copies("headqa", lambda: HeadQA(path="$data_dir/headqa", license="x"), "es"),
    "copies-fr": _copies("french", lambda: FrenchMedMCQA(path="$data_dir/frenchmedmcqa/corpus", license="x"), "fr"),
    "copies-ja": _copies("igakuqa", lambda: IgakuQA(path="$data_dir/igakuqa/data", license="x"), "ja"),
    "copies-ko": _copies("kor", lambda: KorMedMCQACoT(path="$data_dir/kormedmcqa-cot", license="x"), "ko"),
    "copies-ru": _copies("rumed", lambda: RuMedDaNet(path="$data_dir/rumedbench/data/RuMedDaNet", license="x"), "ru"),
    "copies-zh": _copies("cmexam", lambda: CMExam(path="$data_dir/cmexam", license="x"), "zh"),
    "copies-ar": _apollo,
}
"""Rows beside themselves, for languages in which translations have too few places for a fault."""
