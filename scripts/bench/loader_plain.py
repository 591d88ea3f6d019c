"""The public sets read a second time, plainly and without the loaders: what each raw record asks and which answer it gives."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
ISO = {
    "ara": "ar", "cmn": "zh", "deu": "de", "eng": "en", "fra": "fr", "jpn": "ja", "kor": "ko", "por": "pt", "rus": "ru",
    "spa": "es", "vie": "vi",
}  # fmt: skip


class Plain(NamedTuple):
    """A raw record: its language, what it asks (or says), the texts of its right answers, how many options it has, its split as
    published, and a mark of its own that a set's figures count."""

    language: str
    question: str
    answers: tuple[str, ...] = ()
    options: int = 0
    split: str = ""
    mark: str = ""


def document(path: Path) -> Any:
    """A JSON file, whole."""
    return json.loads(path.read_text("utf-8"))


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]


def _csv(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def sheet(path: Path) -> Iterator[list[str]]:
    """The rows of a spreadsheet's first sheet, from its XML."""
    with zipfile.ZipFile(path) as archive:
        shared = []
        if "xl/sharedStrings.xml" in archive.namelist():
            root = ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))
            shared = ["".join(part.text or "" for part in item.iter(f"{MAIN}t")) for item in root]
        body = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    for row in body.iter(f"{MAIN}row"):
        cells: dict[int, str] = {}
        for cell in row:
            letters = re.match("[A-Z]+", cell.get("r", ""))
            column = ord(letters[0][-1]) - ord("A") if letters else len(cells)
            text = "".join(part.text or "" for part in cell.iter() if part.tag in (f"{MAIN}v", f"{MAIN}t"))
            cells[column] = shared[int(text)] if cell.get("t") == "s" else text
        yield [cells.get(column, "") for column in range(max(cells, default=-1) + 1)]


def medquad(folder: Path) -> Iterator[Plain]:
    """Each pair, ``pair``, or ``older`` and its document, as its tag is spelt; a document without one is ``none``."""
    for path in sorted(folder.rglob("*.xml")):
        text = path.read_text("utf-8")
        pairs = re.findall(r"<(QAPair|pair)\b[^>]*>(.*?)</\1>", text, re.S)
        for tag, pair in pairs:
            cells = [re.search(rf"<{name}\b[^>]*>(.*?)</{name}>", pair, re.S | re.I) for name in ("question", "answer")]
            asked, told = (html.unescape(cell[1]) if cell else "" for cell in cells)
            yield Plain("en", asked, (told,), mark="pair" if tag == "QAPair" else f"older {path.stem}")
        if not pairs:
            yield Plain("en", "", mark="none")


def with_text(folder: Path) -> Iterator[Plain]:
    """JSON Lines whose ``answer`` is the right option's text (MedQA, MedMCQA and MMLU-Pro, normalised)."""
    for path in sorted(folder.glob("*.jsonl")):
        for value in _lines(path):
            yield Plain("en", value["question"], (value["answer"],), len(value["options"]), path.stem)


def pubmedqa(folder: Path) -> Iterator[Plain]:
    tested = document(folder / "data/test_ground_truth.json")
    for article, value in document(folder / "data/ori_pqal.json").items():
        said = [f"{label} {part}" for label, part in zip(value["LABELS"], value["CONTEXTS"], strict=True)]
        split = "test" if article in tested else "train"
        yield Plain("en", "".join([*said, value["QUESTION"]]), (value["final_decision"],), 3, split)


def alpaca(path: Path, language: str, asked: str) -> Iterator[Plain]:
    """Question and ``output``, of a list or of a record a line."""
    for value in document(path) if path.read_bytes().startswith(b"[") else _lines(path):
        yield Plain(language, re.sub("<(user|bot)>:", "", value[asked]), (value["output"],))


def medicationqa(folder: Path) -> Iterator[Plain]:
    for row in list(sheet(folder / "MedInfo2019-QA-Medications.xlsx"))[1:]:
        yield Plain("en", row[0], (row[3],))


def cmexam(folder: Path) -> Iterator[Plain]:
    for asked, offered, key, *_ in list(sheet(folder / "val.xlsx"))[1:]:
        options = dict(re.findall(r"(?:^|\\n)([A-H])\s+(.*?)(?=\\n|$)", offered, re.S))
        letters = "" if key == "nan" else key
        texts = tuple(options.get(letter, "") for letter in letters)
        yield Plain("zh", asked, texts, len(options), "dev", key)


def cmmlu(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.rglob("*.csv")):
        for row in _csv(path)[1:]:
            yield Plain("zh", row[1], (row["ABCD".index(row[6]) + 2],), 4, path.parent.name, path.stem)


def jmmlu(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.rglob("*.csv")):
        for row in _csv(path):
            yield Plain("ja", row[0], (row["ABCD".index(row[5]) + 1],), 4, mark=path.stem)


def jmed(path: Path) -> Iterator[Plain]:
    names, *rows = _csv(path)
    for row in rows:
        value = dict(zip(names, row, strict=True))
        yield Plain("ja", value["question"], (value[f"option{value['answer']}"],), len(names) - 3)


def igakuqa(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.rglob("*.jsonl")):
        if re.fullmatch(r"\d+-[A-Z]", path.stem):
            for value in _lines(path):
                keys = [ord(key) - ord("a") for key in value["answer"] if re.fullmatch("[a-p]", key)]
                texts = tuple(value["choices"][key] for key in keys)
                said = value["problem_text"] + "".join(value["choices"])
                language = "ja" if re.search("[぀-ヿ㐀-鿿]", said) else "en"
                yield Plain(language, value["problem_text"], texts, len(value["choices"]), mark=said)


def frenchmedmcqa(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.rglob("*.json")):
        for value in document(path):
            texts = tuple(value["answers"][letter] for letter in value["correct_answers"])
            yield Plain("fr", value["question"], texts, len(value["answers"]), path.stem)


def rumeddanet(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.glob("data/RuMedDaNet/*.jsonl")):
        for value in _lines(path):
            yield Plain("ru", value["context"] + value["question"], (value["answer"],), 2, path.stem.split("_")[0])


def rumedtest(folder: Path) -> Iterator[Plain]:
    for value in _lines(folder / "data/RuMedTest/private_test_v1.jsonl"):
        yield Plain("ru", value["question"], (), 4, "test")


def headqa(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.glob("*/*_HEAD*.json")):
        whole = document(path)
        for exam in whole["exams"].values():
            for value in exam["data"]:
                right = tuple(option["atext"] for option in value["answers"] if str(option["aid"]) == value["ra"])
                mark = "picture" if value["image"] else exam["year"]
                split = path.stem.split("_")[0]
                yield Plain(whole["language"], value["qtext"], right, len(value["answers"]), split, mark)


def casimedicos(folder: Path) -> Iterator[Plain]:
    """Each case: all that stands before its key, and the text of the last option of the key's number there."""
    for path in sorted(folder.rglob("*.tsv")):
        code = path.parent.name.lower()
        tokens = [(line.split() or [""])[0] for line in path.read_text("utf-8").split("\n")]
        for case in re.split(r"(?:^|\n)QUESTION\nTYPE:?\n", "\n".join(tokens))[1:]:
            said = " ".join(case.replace("\n\n", "\n\x1f\n").split("\n"))
            before, _, after = re.sub(
                "(CORRECT ANSWER|BONNE RÉPONSE|RÉPONSE CORRECTE) ?:", "\x1e", said, count=1
            ).partition("\x1e")
            key = after.split()[0].rstrip(".")
            options = re.findall(rf"\x1f {key} ?- ?(.*?)(?=\x1f [1-9] ?-|$)", before)
            offered = re.findall(r"\x1f [2-5] ?-(?! ?nan)", re.split(r"\x1f 1 ?-", before)[-1])
            yield Plain(code, before, tuple(options[-1:]), 1 + len(offered), path.stem)


def kormedmcqa(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.rglob("*.jsonl")):
        for value in _lines(path):
            user = value["messages"][0]["content"]
            asked, offered = user.split("[문제]")[1].split("[선택지]")
            options = dict(re.findall(r"(?:^|\n)([A-E])\.\s+(.*?)(?=\n[A-E]\.|$)", offered, re.S))
            told = value["messages"][-1]["content"]
            yield Plain("ko", asked, (options[value["meta"]["gold"]],), len(options), "train", told)


def apollo(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.rglob("*.json")):
        for value in document(path):
            options = dict(re.findall(r"(?:^|\n)\(([A-H])\)(.*?)(?=\n\([A-H]\)|$)", value["options"], re.S))
            texts = tuple(options[letter] for letter in re.findall("[A-H]", value["answer"]))
            asked = (value.get("context") or "") + value["question"]
            offered = sum(any(map(str.isalnum, option)) for option in options.values())
            yield Plain(path.stem, asked, texts, offered, path.parent.name, value["question"])


def aligned(folder: Path) -> Iterator[Plain]:
    """The lines of files named by ISO 639-3, or of covid19_cdc."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"):
        code = path.name.removesuffix(".txt").split(".")[-1]
        for line in path.read_text("utf-8").rstrip("\n").split("\n"):
            yield Plain(ISO.get(code, code), line)


def conllu(folder: Path) -> Iterator[Plain]:
    for path in folder.glob("*.conllu"):
        for text in re.findall(r"^# text = (.*)$", path.read_text("utf-8"), re.M):
            yield Plain("ko", text, split="test")


def tico(folder: Path) -> Iterator[Plain]:
    """The units of each archive, the English half and the other, marked with the document."""
    for path in sorted(folder.glob("TM/*.zip")):
        with zipfile.ZipFile(path) as archive:
            root = ElementTree.fromstring(archive.read(path.name.removesuffix(".zip")))
        for unit in root.iter("tu"):
            document = unit.get("tuid", "").split(":")[0]
            for half in unit.iter("tuv"):
                text = "".join(half.find("seg").itertext())  # type: ignore[union-attr]
                yield Plain(half.get(XML_LANG, "").split("-")[0], text, split=path.name, mark=document)


def terms(path: Path) -> Iterator[Plain]:
    names, *rows = _csv(path)
    for row in rows:
        value = dict(zip(names, row, strict=True))
        yield Plain(value["targetLang"][:2], value["sourceString"], (value["targetString"],))


def paragraphs(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.glob("*.json")):
        for article in document(path)["data"]:
            for paragraph in article["paragraphs"]:
                yield Plain(path.name.split(".")[1], paragraph["context"], mark=article["title"])


def questions(folder: Path) -> Iterator[Plain]:
    for path in sorted(folder.glob("*.json")):
        for article in document(path)["data"]:
            for paragraph in article["paragraphs"]:
                for value in paragraph["qas"]:
                    told = paragraph["context"] + value["question"]
                    yield Plain(path.name.split(".")[1], told, (value["answers"][0]["text"],), mark=value["id"])


def texts(code: Callable[[Path], str], paths: Iterable[Path]) -> Iterator[Plain]:
    """Whole files as they are."""
    for path in paths:
        yield Plain(code(path), path.read_text("utf-8"), mark=path.stem)


def pages(folder: Path) -> Iterator[Plain]:
    """The paragraphs of web pages that say their language in their first tag."""
    for path in sorted(folder.glob("declaration/*.html")):
        page = path.read_text("utf-8")
        code = re.search(r'<html[^>]*\blang="?([a-z]+)', page)
        said = "\n".join(re.findall(r"<(?:p|li|h1|h2)\b[^>]*>(.*?)</(?:p|li|h1|h2)>", page, re.S))
        yield Plain(code[1] if code else "", html.unescape(re.sub("<[^>]+>", "", said)), mark=path.stem)


def by_language(plains: Iterable[Plain]) -> dict[str, str]:
    """All that is said in each language, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for plain in plains:
        found[plain.language].append(plain.question)
    return {language: "\n".join(parts) for language, parts in found.items()}
