"""Real text in two languages, for the guards: every pair of one unit, item or case and its translation."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from bench.cases import load
from bench.section import ROOT
from langmill.api import Choice, Pack, Row, packs_in
from langmill.parts.languages import read_pack
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.reading import json_document, json_lines

ARABIC = ROOT / "tests/outside/langmill_arabic/ar"


class Pair(NamedTuple):
    """A text and its translation. An item (``kind`` choice) has its question there, and its options and rationale apart."""

    id: str
    source_language: str
    target_language: str
    kind: str
    source: str
    target: str
    source_options: tuple[str, ...] = ()
    target_options: tuple[str, ...] = ()
    answers: tuple[int, ...] = ()
    source_rationale: str = ""
    target_rationale: str = ""

    def pieces(self) -> list[tuple[str, str, str]]:
        """Name, source and target of every text in it, as a translated row has them."""
        named = [("question" if self.kind == "choice" else "text", self.source, self.target)]
        for number, (mine, theirs) in enumerate(zip(self.source_options, self.target_options, strict=False), start=1):
            named.append((f"option {number}", mine, theirs))
        if self.source_rationale or self.target_rationale:
            named.append(("rationale", self.source_rationale, self.target_rationale))
        return named

    def turned(self) -> Pair:
        """The same, translated the other way."""
        return Pair(
            self.id, self.target_language, self.source_language, self.kind, self.target, self.source,
            self.target_options, self.source_options, self.answers, self.target_rationale, self.source_rationale,
        )  # fmt: skip


@lru_cache(maxsize=1)
def packs() -> dict[str, Pack]:
    """The seven packs that come with the factory, and Arabic's from the tests where it is there."""
    found = {pack.code: pack for pack in packs_in("langmill_languages")}
    if (ARABIC / "pack.yaml").is_file():
        found["ar"] = read_pack(ARABIC)
    return found


def pairs(name: str, data: Path) -> list[Pair]:
    """All pairs of a set. ``data`` is the folder of the public sets."""
    return list(PAIRS[name](data))


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
                yield _pair(family, source, target, bodies[source], bodies[target])

    return joined


def _pair(id: str, source: str, target: str, mine: Choice, theirs: Choice) -> Pair:
    return Pair(
        id, source, target, "choice", mine.question, theirs.question, mine.options, theirs.options, mine.answers,
        mine.explanation or "", theirs.explanation or "",
    )  # fmt: skip


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
                       row.body.options, options, row.body.answers)  # fmt: skip


def _korean(data: Path) -> Iterator[Pair]:
    folder = data / "covid19-ko-en/test_sets/en_ko"
    english, korean = (
        (folder / name).read_text("utf-8").split("\n") for name in ("covid19_cdc.en.txt", "covid19_cdc.ko")
    )
    for number, (mine, theirs) in enumerate(zip(english, korean, strict=False), start=1):
        if mine.strip() and theirs.strip():
            yield Pair(str(number), "en", "ko", "text", mine.strip(), theirs.strip())


def _apollo(language: str, split: str) -> Callable[[Path], Iterator[Pair]]:
    """Apollo's editions are of different questions: a row stands beside its own copy."""

    def copies(data: Path) -> Iterator[Pair]:
        items = json_document(data / f"apollo/metadata/{split}/{language}.json", list)
        for number, item in enumerate(items, start=1):
            options = tuple(
                re.sub(r"\.{2,}$", ".", line[3:].strip())
                for line in re.split(r"\n(?=\([A-Z]\))", str(item["options"]).strip())
            )
            answers = tuple(sorted("ABCDEFGHIJ".index(letter) for letter in set(re.findall("[A-J]", item["answer"]))))
            question = str(item["question"]).strip()
            yield Pair(str(number), language, language, "choice", question, question, options, options, answers)

    return copies


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
    "apollo-ar": _apollo("ar", "test"),
    "apollo-zh": _apollo("zh", "dev"),
    "apollo-en": _apollo("en", "dev"),
}
"""Rows of a set whose editions are not parallel: only good for planted faults."""

PAIRS |= COPIES
