"""Medical text told from other text: precision and recall by language and by whose keywords, and speed beside plain searches."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from bench.section import Section, say
from langmill.api import Pack, packs_in
from langmill_plugins.filters.medical_text import Finder, Share
from langmill_plugins.text.wording import folded

SIZE = 1500
"""Characters of an English document; in other languages as many as its translation has."""
MEDICAL_ARTICLES = ("Immune_system", "Pharmacy", "Black_Death")
"""The articles of XQuAD that are about medicine; the other 45 are not."""
TICO = {"es": "es-LA", "fr": "fr", "ru": "ru", "zh": "zh"}
UDHR = {"en": "eng", "es": "spa", "fr": "fra", "ja": "jpn", "ko": "kor", "ru": "rus", "zh": "cmn_hans"}
TATOEBA = {"es": "spa", "fr": "fra", "ja": "jpn", "ko": "kor", "ru": "rus", "zh": "cmn"}
DEBIAN = {"es": "es", "fr": "fr", "ja": "ja", "zh": "zh-cn"}
PUBLISHED = {"en": "en", "es": "es", "fr": "fr", "ja": "jp", "ru": "ru", "zh": "zh"}
LEAST_RECALL, MOST_TAKEN, LEAST_SPEEDUP = 0.80, 0.05, 1.5


class Document(NamedTuple):
    """A text of one source document; documents of one origin stay on one side when the set is halved."""

    origin: str
    text: str
    medical: bool


class Limits(NamedTuple):
    """What a text must hold to be taken for medical."""

    keywords: int
    density: float

    def take(self, found: Share) -> bool:
        """Whether a text with these keywords is taken."""
        return found.keywords >= self.keywords and found.density >= self.density


def medical(quick: bool, work: Path, data: Path) -> Section:
    """Keywords and thresholds of MMedC and of the packs on public sets, then how long a pass over them takes."""
    section = Section("medical")
    tables: tuple[list[list[object]], ...] = ([], [], [])
    slowest = float("inf")
    for pack in packs_in("langmill_languages"):
        documents = list(_documents(pack, data))
        facts = pack.need("medical")
        lists = {"published": _published(pack, data), "ours": list(pack.keywords)}
        plain = [(_as_published(lists["published"], facts.by, document.text), document) for document in documents]
        finders = {name: Finder(keywords, facts.by) for name, keywords in lists.items()}
        found = {
            name: [(finder.share(document.text), document) for document in documents]
            for name, finder in finders.items()
        }
        count = sum(document.medical for document in documents)
        row: list[object] = [pack.code, count, len(documents) - count]
        published = facts.published and Limits(facts.published.least_keywords, facts.published.least_density)
        limits = Limits(facts.least_keywords, facts.least_density)
        for some, least in ((plain, published), (found["published"], published), (found["ours"], published)):
            row += _measured(some, least) if least else ("", "")
        row += _measured(found["ours"], limits)
        tables[0].append(row)
        tables[1].append(
            [pack.code, *(_halves(found["published"]) if lists["published"] else [""] * 3), *_halves(found["ours"])]
        )
        recall, taken = _measured(found["ours"], limits)[1], _taken(found["ours"], limits, False)
        section.goal(f"{pack.code}, recall at the pack's thresholds", recall, ">=", LEAST_RECALL)
        section.goal(f"{pack.code}, other documents taken for medical", taken, "<=", MOST_TAKEN)
        texts = [document.text for document in documents] * (1 if quick else 4)
        once, each = _speed(texts, lists["ours"][:200], facts.by)
        tables[2].append([pack.code, once, each, once / each])
        slowest = min(slowest, once / each)
        section.figures[pack.code] = {"quality": row, "tuned": tables[1][-1], "speed": tables[2][-1], "taken": taken}
        say(f"  {pack.code}: {len(documents)} documents")
    section.goal(
        "one pass against 200 searches of text folded alike, the slowest language", slowest, ">=", LEAST_SPEEDUP
    )
    by_list = ("MMedC's P", "R", "its words P", "R", "its limits P", "R", "ours P", "R")
    section.lines.append(
        "MMedC's: its filter, as published; its words: its keywords and limits, matched our way; its limits: our keywords"
    )
    section.lines.append(
        f"precision (P) and recall (R), documents of {SIZE} characters in English and as long elsewhere"
    )
    section.table(("language", "medical", "other", *by_list), tables[0])
    section.lines.append(
        "the same, thresholds (keywords/density) tuned on half of the documents, tested on the other half"
    )
    section.table(("language", "MMedC's", "P", "R", "ours", "P", "R"), tables[1])
    section.lines.append("MB of UTF-8 a second of CPU")
    section.table(("language", "one pass", "200 searches", "ratio"), tables[2])
    return section


def _as_published(keywords: Sequence[str], by: Literal["word", "character"], text: str) -> Share:
    """What MMedC's own filter finds: substrings, but in spaced scripts short keywords are whole words between blanks."""
    lower = text.lower()
    tokens = Counter(lower.split())
    hits = {}
    for keyword in {keyword.lower().strip() for keyword in keywords}:
        long = len(keyword) > 10 or (" " in keyword and len(keyword) > 5)
        hits[keyword] = lower.count(keyword) if by == "character" or long else tokens[keyword]
    covered = sum(times * len(keyword) for keyword, times in hits.items())
    return Share(sum(times > 0 for times in hits.values()), covered / len(text))


Found = Sequence[tuple[Share, Document]]


def _measured(found: Found, limits: Limits) -> tuple[float, float]:
    """Precision and recall."""
    taken = [document.medical for share, document in found if limits.take(share)]
    return sum(taken) / max(1, len(taken)), _taken(found, limits, True)


def _taken(found: Found, limits: Limits, medical: bool) -> float:
    """The share of medical documents, or of the others, that are taken."""
    shares = [share for share, document in found if document.medical == medical]
    return sum(limits.take(share) for share in shares) / len(shares)


def _halves(found: Found) -> list[object]:
    """The thresholds that tell one half's documents apart best (Youden's J), and precision and recall on the other."""
    halves: tuple[list[tuple[Share, Document]], ...] = ([], [])
    for item in found:
        halves[hashlib.sha256(item[1].origin.encode()).digest()[0] % 2].append(item)
    choices = [Limits(keywords, density / 200) for keywords in range(1, 21) for density in range(31)]
    best = max(choices, key=lambda limits: _taken(halves[0], limits, True) - _taken(halves[0], limits, False))
    return [f"{best.keywords}/{best.density:g}", *_measured(halves[1], best)]


def _speed(texts: Sequence[str], keywords: Sequence[str], by: Literal["word", "character"]) -> tuple[float, float]:
    """Megabytes a second: one pass with all keywords, and a search for each of them in the text folded alike."""
    finder = Finder(keywords, by)
    size = sum(len(text.encode()) for text in texts) / 1e6
    plain = [folded(keyword.rstrip("*")) for keyword in keywords]
    taken: list[tuple[float, float]] = []
    for _ in range(3):
        start = process_time()
        for text in texts:
            finder.share(text)
        middle = process_time()
        for text in texts:
            same = folded(text)
            sum(same.count(keyword) * len(keyword) for keyword in plain)
        taken.append((middle - start, process_time() - middle))
    once, each = (min(times) for times in zip(*taken, strict=True))
    return size / once, size / each


def _published(pack: Pack, data: Path) -> list[str]:
    files = sorted((data / "mmedc-keywords").glob(f"{PUBLISHED.get(pack.code, '-')}_*.txt"))
    return [line for file in files for line in file.read_text("utf-8").splitlines() if line.strip()]


# --- documents: paragraphs and sentences of one source document, joined in their order up to SIZE ---


def _documents(pack: Pack, data: Path) -> Iterator[Document]:
    size = int(SIZE * pack.size.of_english)
    for origin, medical_text, pieces in _sources(pack.code, data):
        for text in _joined(pieces, size):
            yield Document(origin, text, medical_text)


def _joined(pieces: Iterable[str], size: int) -> Iterator[str]:
    """Pieces joined to texts of about so many characters; a last one of less than a third is left out."""
    text = ""
    for piece in pieces:
        text += piece.strip() + "\n"
        if len(text) >= size:
            yield text
            text = ""
    if len(text) > size / 3:
        yield text


def _sources(code: str, data: Path) -> Iterator[tuple[str, bool, Iterable[str]]]:
    """Origin, whether it is medical, and its pieces in order."""
    for name, units in _tico(code, data).items():
        yield f"tico/{name}", True, units
    if code == "en":
        for path in sorted((data / "openstax-anatomy-physiology/text").glob("*.txt")):
            yield path.name, True, path.read_text("utf-8").splitlines()
    if code == "zh":
        yield from _cmexam(data)
    if code == "ja":
        with (data / "jmed-llm/datasets/crade.csv").open(encoding="utf-8-sig", newline="") as file:
            reports = {
                row["question"].partition("\n")[2] for row in csv.DictReader(file)
            }  # its first line is the question
        for number, report in enumerate(sorted(reports)):
            yield f"crade/{number}", True, re.split(r"(?<=。)", report)
        for path in sorted((data / "igakuqa/data").glob("*/*[A-Z].jsonl")):
            texts = [json.loads(line)["problem_text"] for line in path.read_text("utf-8").splitlines()]
            yield f"igakuqa/{path.stem}", True, texts
    if code == "ko":
        lines = (data / "covid19-ko-en/test_sets/en_ko/covid19_cdc.ko").read_text("utf-8").splitlines()
        for number in range(0, len(lines), 20):
            yield f"cdc/{number}", True, lines[number : number + 20]
        pud = "\n".join(path.read_text("utf-8") for path in sorted((data / "ud-korean-pud").glob("*.conllu")))
        sentences = re.findall(r"^# text = (.+)$", pud, re.M)
        for number in range(0, len(sentences), 20):
            yield f"pud/{number}", False, sentences[number : number + 20]
    path = data / f"xquad/xquad.{code}.json"
    if path.is_file():
        for article in json.loads(path.read_text("utf-8"))["data"]:
            paragraphs = [paragraph["context"] for paragraph in article["paragraphs"]]
            yield f"xquad/{article['title']}", article["title"] in MEDICAL_ARTICLES, paragraphs
    if code in DEBIAN:
        text = (data / f"debian-reference/debian-reference.{DEBIAN[code]}.txt").read_text("utf-8")
        for number, part in enumerate(_joined(text.split("\n\n"), 6000)):
            yield f"debian/{number}", False, part.splitlines()
    page = (data / f"udhr/declaration/{UDHR[code]}.html").read_text("utf-8")
    yield "udhr", False, [html.unescape(re.sub("<[^>]+>", "", line)) for line in re.findall("<p>.*?</p>", page, re.S)]
    if code in TATOEBA:
        name = f"tatoeba.{TATOEBA[code]}-eng.{TATOEBA[code]}"
        lines = (data / "tatoeba-laser/v1" / name).read_text("utf-8").splitlines()
        for number in range(0, len(lines), 60):
            yield f"tatoeba/{number}", False, lines[number : number + 60]


def _tico(code: str, data: Path) -> dict[str, list[str]]:
    """The units of TICO-19 by document, in one language; its English side is the same in all pairs."""
    pair = TICO.get(code, "fr" if code == "en" else "")
    if not pair:
        return {}
    with zipfile.ZipFile(data / f"tico-19/TM/all.en-{pair}.tmx.zip") as archive:
        root = ElementTree.fromstring(archive.read(archive.namelist()[0]))
    side = 0 if code == "en" else 1
    documents: dict[str, list[str]] = {}
    for unit in root.iter("tu"):
        segment = unit.findall("tuv/seg")[side]
        documents.setdefault(unit.get("tuid", "").rpartition(":")[0], []).append("".join(segment.itertext()))
    return documents


def _cmexam(data: Path) -> Iterator[tuple[str, bool, Iterable[str]]]:
    """Explanations of a Chinese exam, ten to an origin: short paragraphs by many hands."""
    import openpyxl

    sheet = openpyxl.load_workbook(data / "cmexam/val.xlsx", read_only=True).worksheets[0]
    texts = [str(row[3]) for row in sheet.iter_rows(min_row=2, max_row=1001, values_only=True) if row[3]]
    for number in range(0, len(texts), 10):
        yield f"cmexam/{number}", True, texts[number : number + 10]
