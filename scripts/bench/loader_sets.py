"""Every public set of the data folder: which loader reads it, how it is read plainly, and the counts its readme states."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench import loader_plain as plain
from bench.loader_plain import Plain
from langmill.api import Choice, Reject, Row

LETTERS = {"body": "choice", "options": ("A", "B", "C", "D")}
REPEATED = {"en": 8, "es": 10, "jp": 1}
"""Terms that the lists of keywords hold again."""
CHAT, TEXT = {"body": "chat"}, {"body": "text"}


@dataclass
class Audit:
    """What came of one set: rows and rejects in order, the plain reading beside them, and why it was refused as a whole."""

    items: list[Row | Reject]
    plains: list[Plain]
    refusal: str = ""
    rows: list[Row] = field(init=False)
    reasons: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [item for item in self.items if isinstance(item, Row)]
        self.reasons = Counter(item.reason for item in self.items if isinstance(item, Reject))

    def count(self, holds: Callable[[Plain], object]) -> int:
        """Raw records of which something holds."""
        return sum(1 for one in self.plains if holds(one))

    def kept(self, holds: Callable[[Choice], object]) -> int:
        """Choice rows of which something holds."""
        return sum(1 for row in self.rows if isinstance(row.body, Choice) and holds(row.body))


Fact = tuple[str, int, Callable[[Audit], int]]
"""What a readme states: in words, its number, and how it is counted."""


@dataclass(frozen=True)
class DataSet:
    """One set. ``how`` says how the two readings are held together: ``each`` record by record with its answers, ``within`` with the
    question inside the raw record, ``whole`` by all text of a language, ``cover`` by how much of it is there, ``count`` not at all.
    ``doubtful`` are stated figures that a count of ours does not give: told, and no goals."""

    folder: str
    use: str
    read: Callable[[Path], Iterable[Plain]]
    facts: tuple[Fact, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    how: Literal["each", "within", "whole", "cover", "count"] = "each"
    part: str = ""
    doubtful: tuple[Fact, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.folder} {self.part}".strip()

    def differing(self, audit: Audit) -> list[str]:
        """The readme's figures that no count of ours gives, beside what we count."""
        return [
            f"{what}: the readme says {stated:,}, counted {count(audit):,}" for what, stated, count in self.doubtful
        ]


def _records(number: int) -> Fact:
    return "records", number, lambda audit: len(audit.plains)


def _reason(reason: str, number: int) -> Fact:
    return f"rejected as {reason}", number, lambda audit: audit.reasons[reason]


def _split(split: str, number: int, said: str = "") -> Fact:
    return f"{said or split} records", number, lambda audit: audit.count(lambda one: one.split == split)


def _several(audit: Audit) -> int:
    return audit.count(lambda one: len(one.answers) > 1)


def _options(number: int, stated: int) -> Fact:
    return f"records of {number} options", stated, lambda audit: audit.count(lambda one: one.options == number)


def _in(language: str, number: int) -> Fact:
    return f"records in {language}", number, lambda audit: audit.count(lambda one: one.language == language)


def _marked(mark: str, said: str, number: int) -> Fact:
    return said, number, lambda audit: audit.count(lambda one: one.mark == mark)


def _repeats(texts: Iterable[str]) -> int:
    found = list(texts)
    return len(found) - len(set(found))


def _hangul(text: str) -> float:
    """The share of Hangul in Hangul and Latin letters."""
    hangul, latin = len(re.findall("[가-힣]", text)), len(re.findall("[A-Za-z]", text))
    return hangul / max(1, hangul + latin)


def _again(audit: Audit) -> int:
    return sum(_repeats(line for line in one.question.splitlines() if line) for one in audit.plains)


def _english_apart(audit: Audit) -> int:
    """Units whose English is not the same in every archive."""
    halves: dict[str, list[str]] = {}
    for one in audit.plains:
        if one.language == "en":
            halves.setdefault(one.split, []).append(one.question.strip())
    return sum(len(set(texts)) > 1 for texts in zip(*halves.values(), strict=True))


def _picked(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _terms(name: str, folder: Path) -> Iterable[Plain]:
    return plain.terms(folder / f"terminologies/f_en-{name}.csv")


def _txt(code: str, *patterns: str) -> Callable[[Path], Iterable[Plain]]:
    return lambda folder: plain.texts(lambda path: code, _picked(folder, *patterns))


SETS = (
    DataSet("medquad", "medquad", plain.medquad, (
        _marked("pair", "pairs in the readme's spelling", 5209),
        ("documents without a pair in that spelling", 6,
         lambda a: len({one.mark for one in a.plains if "older" in one.mark}) + a.reasons["no_pairs"]),
        _reason("no_answer", 423),
    )),
    DataSet("medqa-usmle", "medqa", plain.with_text, (_records(900), _options(5, 900))),
    DataSet("medqa-usmle-4opt", "medqa", plain.with_text, (_records(300), _options(4, 300))),
    DataSet("medmcqa-normalised", "medmcqa", plain.with_text, (_records(1200), _options(4, 1200))),
    DataSet("mmlu-pro-health-normalised", "table", plain.with_text, (_records(150), _options(10, 108)),
            {"body": "choice", "language": "en", "id": "realidx", "answer": "answer_idx"}),
    DataSet("pubmedqa", "pubmedqa", plain.pubmedqa, (_records(600), _split("test", 291))),
    DataSet("genmedgpt-5k", "table", lambda folder: plain.alpaca(folder / "chatdoctor5k.json", "en", "input"), (_records(1500),),
            {**CHAT, "path": "*.json", "language": "en", "question": "input", "answer": "output"}),
    DataSet("medicationqa", "table", plain.medicationqa, (_records(339),),
            {**CHAT, "language": "en", "question": "Question", "answer": "Answer"}),
    DataSet("huatuogpt2-unification", "table",
            lambda folder: (Plain("en", text) for text in plain.document(folder / "pubmed_test.json")), (_records(200),),
            {**TEXT, "language": "en"}),
    DataSet("openstax-anatomy-physiology", "openstax", _txt("en", "text/*.txt"),
            (("modules", 30, lambda a: len({row.family for row in a.rows})),), {"path": "modules"}, "count", "modules"),
    DataSet("openstax-anatomy-physiology", "text", _txt("en", "text/*.txt"), (_records(30),),
            {"path": "text", "language": "en"}, "whole", "text"),
    DataSet("cmexam", "cmexam", plain.cmexam, (
        _records(4500), _options(4, 127), _options(5, 4373), _marked("nan", "answers 'nan'", 1), _reason("no_answer", 1),
        ("records of several letters", 132, _several),
        ("rows of several letters", 132, lambda a: a.kept(lambda body: len(body.answers) > 1)),
        ("questions that say 图 or 表", 249, lambda a: a.count(lambda one: re.search("[图表]", one.question))),
    )),
    DataSet("cmmlu", "table", plain.cmmlu, (_records(1757), _split("dev", 35),
            ("records of the five medical subjects", 1244,
             lambda a: a.count(lambda one: one.mark not in ("chinese_history", "marketing"))),
            ), {**LETTERS, "path": "data", "language": "zh", "question": "Question", "answer": "Answer"}),
    DataSet("bentsao-huatuo", "table", lambda folder: plain.alpaca(folder / "data/llama_data.json", "zh", "instruction"), (_records(3000),),
            {**CHAT, "path": "data/llama_data.json", "language": "zh", "question": "instruction", "answer": "output"}, part="QA"),
    DataSet("bentsao-huatuo", "bentsao", lambda folder: plain.alpaca(folder / "data-literature/liver_cancer.json", "zh", "instruction"),
            (_records(400),), {"path": "data-literature"}, "each", "turns"),
    DataSet("igakuqa", "igakuqa", plain.igakuqa, (
        _records(1600), _reason("needs_image", 430), _reason("number_answer", 9),
        ("questions in English", 8, lambda a: a.count(lambda one: one.language == "en")),
        ("answers of several letters", 237, _several),
        ("key 'a or d' and numbers: no letters", 10, lambda a: a.count(lambda one: not one.answers)),
        ("with LaTeX", 16, lambda a: a.count(lambda one: "$" in one.mark)),
        ("with full-width letters or digits", 10, lambda a: a.count(lambda one: re.search("[０-９Ａ-Ｚａ-ｚ]", one.mark))),
        ("of six or eight choices", 3, lambda a: a.count(lambda one: one.options > 5)),
    )),
    DataSet("jmmlu", "table", plain.jmmlu, (_records(831),
            ("records of the four medical subjects", 531, lambda a: a.count(lambda one: one.mark not in ("philosophy", "marketing")))),
            {**LETTERS, "path": "JMMLU", "language": "ja", "columns": ("question", "A", "B", "C", "D", "answer")}),
    DataSet("jmed-llm", "table", lambda folder: plain.jmed(folder / "datasets/crade.csv"), (_records(100), _options(4, 100)),
            {"body": "choice", "path": "datasets/crade.csv", "language": "ja", "options": ("optionA", "optionB", "optionC", "optionD")},
            part="crade"),
    DataSet("jmed-llm", "table", lambda folder: plain.jmed(folder / "datasets/smdis.csv"), (_records(100), _options(2, 100)),
            {"body": "choice", "path": "datasets/smdis.csv", "language": "ja", "options": ("optionA", "optionB")}, part="smdis"),
    DataSet("frenchmedmcqa", "frenchmedmcqa", plain.frenchmedmcqa, (
        _records(2483), _split("train", 2171), _split("dev", 312),
        ("train records of several letters", 1576, lambda a: a.count(lambda one: one.split == "train" and len(one.answers) > 1)),
        ("train records with all five", 34, lambda a: a.count(lambda one: one.split == "train" and len(one.answers) == 5)),
    ), doubtful=(("train stems that repeat", 41, lambda a: _repeats(one.question for one in a.plains if one.split == "train")),)),
    DataSet("rumedbench", "rumeddanet", plain.rumeddanet, (_records(1308), _split("train", 1052), _split("dev", 256)),
            {"path": "data/RuMedDaNet"}, part="RuMedDaNet"),
    DataSet("rumedbench", "table", plain.rumedtest, (_records(250), ("rows", 0, lambda a: len(a.rows)),
            ("refused", 1, lambda a: int("'answer'" in a.refusal))),
            {"body": "choice", "path": "data/RuMedTest", "language": "ru", "id": "idx", "options": ("1", "2", "3", "4")},
            "count", "RuMedTest"),
    DataSet("rumedbench", "table", plain.rumedtest, (_records(250),),
            {**TEXT, "path": "data/RuMedTest", "language": "ru", "id": "idx", "text": "question"}, part="RuMedTest as text"),
    DataSet("headqa", "headqa", plain.headqa, (
        _in("es", 4023), _in("en", 4023),
        ("pictures in an edition", 98, lambda a: a.reasons["needs_image"] // 2),
        _split("train", 2 * 2657), _split("dev", 2 * 1366),
        ("2015 with other than four options", 0, lambda a: a.count(lambda one: one.split == "dev" and one.options != 4)),
        ("2013, 2014 with other than five", 0, lambda a: a.count(lambda one: one.split == "train" and one.options != 5)),
    )),
    DataSet("casimedicos", "casimedicos", plain.casimedicos, (
        _in("en", 436), _in("es", 436), _in("fr", 436),
        ("keys found", 3 * 436, lambda a: a.kept(lambda body: body.answers)), _split("train", 3 * 381),
    ), how="within"),
    DataSet("kormedmcqa-cot", "kormedmcqa_cot", plain.kormedmcqa, (
        _records(1000), _options(5, 1000),
        ("explanations under 30% Hangul", 408, lambda a: a.count(lambda one: _hangul(one.mark) < 0.3)),
        ("explanations under 5% Hangul", 227, lambda a: a.count(lambda one: _hangul(one.mark) < 0.05)),
    ), doubtful=(("between 20% and 50% Hangul", 11, lambda a: a.count(lambda one: 0.2 <= _hangul(one.mark) <= 0.5)),)),
    DataSet("covid19-ko-en", "aligned", plain.aligned, (_in("ko", 258), _in("en", 258),
            ("families", 258, lambda a: len({row.family for row in a.rows})))),
    DataSet("ud-korean-pud", "conllu", plain.conllu, (_records(600),)),
    DataSet("apollo", "apollo", plain.apollo, (
        ("ar, dev", 54, lambda a: a.count(lambda one: (one.language, one.split) == ("ar", "dev"))),
        _in("en", 416), _in("zh", 437),
        ("ar, test", 600, lambda a: a.count(lambda one: (one.language, one.split) == ("ar", "test"))),
        ("repeated questions of ar, test", 18,
         lambda a: _repeats(one.mark for one in a.plains if (one.language, one.split) == ("ar", "test"))),
    ), {"path": "metadata"}),
    DataSet("tico-19", "tmx", plain.tico, (
        *(_in(code, 3071) for code in ("ar", "es", "fr", "ru", "zh")), ("documents", 31, lambda a: len({row.family for row in a.rows})),
        ("English halves left out again", 4, lambda a: a.reasons["duplicate_id"] // sum(row.language == "en" for row in a.rows)),
    ), {"path": "TM"}, "whole", doubtful=(("English units that differ between pairs", 0, _english_apart),)),
    *(DataSet("tico-19", "table", partial(_terms, name), (_records(612 if name == "es_XX" else 306),),
              {**CHAT, "path": f"terminologies/f_en-{name}.csv", "language": name[:2], "question": "sourceString",
               "answer": "targetString"}, part=f"terms {name}")
      for name in ("ja_XX", "ko_KR", "zh_CN", "zh_TW", "ru_RU", "es_XX", "fr_XX", "ar_AR", "de_DE")),
    DataSet("xquad", "squad", plain.paragraphs, (
        *(_in(code, 240) for code in ("ar", "en", "es", "ru", "zh")), ("articles", 48, lambda a: len({row.family for row in a.rows})),
    ), TEXT, part="paragraphs"),
    DataSet("xquad", "squad", plain.questions, (), CHAT, part="questions"),
    DataSet("udhr", "html", plain.pages, (_records(14), ("pages read", 14, lambda a: len({row.family for row in a.rows}))),
            {"path": "declaration"}, "cover"),
    DataSet("tatoeba-laser", "aligned", plain.aligned, (
        *(_in(code, 600) for code in ("zh", "ja", "fr", "ru", "es", "ko", "ar", "de", "pt", "vi")), _in("en", 6000),
        ("pairs", 6000, lambda a: len({row.family for row in a.rows})),
    ), {"path": "v1"}),
    *(DataSet("debian-reference", "text", _txt(code[:2], f"*.{code}.txt"), (_records(1),),
              {"path": f"debian-reference.{code}.txt", "language": code[:2]}, "whole", code) for code in ("fr", "ja", "zh-cn", "es")),
    *(DataSet("mmedc-keywords", "text", _txt({"jp": "ja"}.get(code, code), f"{code}_*.txt"),
              (_records(2), ("terms given twice", REPEATED.get(code, 0), _again)),
              {"path": f"{code}_*.txt", "language": {"jp": "ja"}.get(code, code)}, "whole", code)
      for code in ("en", "zh", "jp", "fr", "ru", "es")),
)  # fmt: skip
