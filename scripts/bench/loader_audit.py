"""The audit of the loaders: each set by its loader and by a plain reading, held together record by record and against its readme."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import process_time

from bench.loader_plain import Plain, by_language
from bench.loader_sets import SETS, Audit, DataSet
from bench.section import Section, say
from langmill.api import Chat, Choice, Loader, RecipeError, Reject, Row, SourceContext, Text, words
from langmill_plugins import register_loaders

COVER = 0.9  # share of a web page's paragraphs that the main text must hold: headings may go


def audited(data: Path, one: DataSet) -> Audit:
    """A set read twice."""
    options = dict(one.options)
    path = "/".join(part for part in ("$data_dir", one.folder, str(options.pop("path", ""))) if part)
    loader: Loader = register_loaders()[one.use](path=path, license="as published", **options)
    context = SourceContext(f"sources.{one.folder}", 17, {}, Path(), data, source=one.folder, splits=loader.splits)
    plains = list(one.read(data / one.folder))
    try:
        return Audit(list(loader.load(context)), plains)
    except RecipeError as error:
        return Audit([], plains, str(error))


def letters(text: str) -> str:
    """What two spellings of one text have in common: letters and digits."""
    return "".join(letter for letter in text if letter.isalnum())


def _sides(row: Row) -> tuple[str, list[str]]:
    match row.body:
        case Text(text=text):
            return letters(text), []
        case Chat(messages=messages):
            return letters("".join(message.content for message in messages[:-1])), [letters(messages[-1].content)]
        case Choice() as body:
            asked = letters(f"{body.context or ''}{body.question}")
            return asked, sorted(letters(body.options[index]) for index in body.answers)


def differs(item: Row | Reject, raw: Plain, within: bool) -> bool:
    """Whether a row is not what the plain reading found in its place. A reject is no row, whatever was there."""
    if isinstance(item, Reject):
        return False
    (asked, told), want = _sides(item), sorted(map(letters, raw.answers))
    same = asked in letters(raw.question) if within else asked == letters(raw.question)
    split = raw.split in ("", item.split) or raw.split not in ("train", "dev", "test")
    many = not isinstance(item.body, Choice) or len(item.body.options) == raw.options
    return not (same and told == want and many and item.language == raw.language and split)


def apart(one: DataSet, audit: Audit) -> int:
    """How many records are not what the plain reading says; of sets made of passages, how many languages' texts."""
    if one.how == "count":
        return 0
    if one.how in ("each", "within"):
        lost = abs(len(audit.items) - len(audit.plains))
        pairs = zip(audit.items, audit.plains, strict=False)
        return lost + sum(differs(item, raw, one.how == "within") for item, raw in pairs)
    ours: dict[str, str] = {}
    for row in audit.rows:
        ours[row.language] = ours.get(row.language, "") + letters(words(row.body))
    theirs = {code: letters(text) for code, text in by_language(_once(audit.plains)).items()}
    if one.how == "whole":
        return sum(ours.get(code) != theirs.get(code) for code in {*ours, *theirs})
    return sum(len(ours.get(code, "")) < COVER * len(text) for code, text in theirs.items())


def _once(plains: list[Plain]) -> list[Plain]:
    """The English half of parallel archives from the first of them alone, as the loader keeps it."""
    first = next((raw.split for raw in plains if raw.language == "en" and raw.split), "")
    return [raw for raw in plains if raw.language != "en" or raw.split == first]


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def audit(quick: bool, work: Path, data: Path) -> Section:
    """Every set: read = rows + rejects, the same as a plain reading finds, and as the readme of the data states."""
    section = Section("audit")
    table, facts, within = [], list[str](), list[str]()
    stated = 0
    for one in SETS:
        begun = process_time()
        found = audited(data, one)
        rows, rejects = len(found.rows), sum(found.reasons.values())
        wrong = apart(one, found)
        names = Counter(item.id if isinstance(item, Row) else f"{one.folder}/{item.record}" for item in found.items)
        where = Counter(f"{row.language} {row.split}" for row in found.rows)
        table.append((one.name, one.use, len(found.items), rows, rejects, wrong, _told(found.reasons)))
        within.append(f"{one.name}: {_told(where)}")
        section.goal(f"{one.name}: records that differ from the plain reading", wrong, "==", 0)
        section.goal(f"{one.name}: records under one name", max(names.values(), default=1), "==", 1)
        for what, number, count in one.facts:
            section.goal(f"{one.name}: {what}", count(found), "==", number)
            stated += 1
        section.figures[one.name] = {
            "loader": one.use, "raw": len(found.plains), "read": len(found.items), "rows": rows, "rejects": dict(found.reasons),
            "apart": wrong, "refused": bool(found.refusal), "where": dict(where), "seconds": round(process_time() - begun, 2),
        }  # fmt: skip
        facts += [f"{one.name}: refused: {found.refusal.replace(f'{data}/', '')}"] if found.refusal else []
        facts += [f"{one.name}: {fact}" for fact in one.differing(found)]
        say(f"  {one.name}: {rows:,} of {len(found.items):,}")
    section.table(("set", "loader", "read", "rows", "rejects", "apart", "rejected"), table)
    total = [sum(figure[name] for figure in section.figures.values()) for name in ("read", "rows")]
    section.lines += [
        "",
        f"{len(SETS)} readings, {total[0]:,} records, {total[1]:,} rows; {stated} stated figures",
        *facts,
    ]
    return section
