"""Answers in the layout in which MMedBench takes results.

MMedBench's repository (MAGIC-AI4Med/MMedLM, ``SubmissionTutorial.md``) asks for two kinds of table: results with the columns
Language, ModelInput, ModelOutput and GT_Answer, and figures with a column for each of its six languages. Its languages go by their
English names, as its test files are called.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from langmill.api import Message

ABOUT = "a model's written answers in MMedBench's submission layout"
WHOSE = "--export mmedbench is made of a model's written answers: --model {models}"
LANGUAGES = {"en": "English", "zh": "Chinese", "ja": "Japanese", "fr": "French", "ru": "Russian", "es": "Spanish"}
SIZES = {"en": 1273, "zh": 3426, "ja": 199, "fr": 622, "ru": 256, "es": 2742}  # rows of MMedBench's test split


class Result(NamedTuple):
    """One line: what a model was asked, what it said, and what would have been right."""

    language: str
    asked: Sequence[Message]
    said: str
    gold: str


def write_results(path: Path, results: Iterable[Result]) -> Counter[str]:
    """Write the lines of MMedBench's languages; returns lines by language, those that it does not have among them."""
    counts: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        table = csv.writer(file)
        table.writerow(("Language", "ModelInput", "ModelOutput", "GT_Answer"))
        for one in results:
            counts[one.language] += 1
            if one.language in LANGUAGES:
                asked = "\n\n".join(message.content for message in one.asked)
                table.writerow((LANGUAGES[one.language], asked, one.said, one.gold))
    return counts


def write_figures(path: Path, figures: Mapping[str, Mapping[str, float]], *, named: bool) -> None:
    """Write figures in percent, a line for each metric and a column for each language that has any; ``named`` puts the metric's name
    in a first column."""
    columns = [code for code in LANGUAGES if any(code in by_language for by_language in figures.values())]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow((*(["Metric"] if named else []), *(LANGUAGES[code] for code in columns)))
        for metric, by_language in figures.items():
            cells = (f"{100 * by_language[code]:.2f}" if code in by_language else "" for code in columns)
            table.writerow((*([metric] if named else []), *cells))


def sizes_told(counts: Mapping[str, int]) -> str:
    """For people, in Markdown: how many rows of each language there are, and how many MMedBench's test split has."""
    lines = [f"| {LANGUAGES[code]} | {counts.get(code, 0):,} | {SIZES[code]:,} |" for code in LANGUAGES]
    others = {code: n for code, n in sorted(counts.items()) if code not in LANGUAGES}
    told = ", ".join(f"{n:,} rows in '{code}'" for code, n in others.items())
    more = f"\n\nLeft out, since MMedBench does not have their languages: {told}." if told else ""
    return "| language | rows here | rows of MMedBench's test |\n|---|---|---|\n" + "\n".join(lines) + more
