"""Cases to plant: public items as they are, in other layouts, languages and wordings, and what only looks like them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.forms import LAYOUTS, in_text
from langmill.api import Chat, Choice, Origin, Row, SourceContext, Split, Text, packs_in
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.medmcqa import MedMCQA
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.medquad import MedQuad
from langmill_plugins.loaders.pubmedqa import PubMedQA
from langmill_plugins.loaders.table import Table

if TYPE_CHECKING:
    from langmill.api import Loader

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
EDITED = 60  # items of each language that are edited in every way
SHORTENED = 0.9  # apollo cuts the passages of pubmedqa, of some to a line, and three options are no evidence
SAME = 60  # letters that two Spanish exam questions begin with when they are one; later ones differ in spelling
CUT, ALIKE = 3, 0.3  # answers that share so many of the runs of so many words of the shorter one say nearly the same
SETS: dict[str, Callable[[], Loader]] = {
    "five": lambda: MedQA(path="$data_dir/medqa-usmle", license="x"),
    "four": lambda: MedQA(path="$data_dir/medqa-usmle-4opt", license="x"),
    "medmcqa": lambda: MedMCQA(path="$data_dir/medmcqa-normalised", license="x"),
    "pubmedqa": lambda: PubMedQA(path="$data_dir/pubmedqa/data", license="x"),
    "medquad": lambda: MedQuad(path="$data_dir/medquad", license="x"),
    "cmexam": lambda: CMExam(path="$data_dir/cmexam", license="x"),
    "cmmlu": lambda: Table(
        path="$data_dir/cmmlu/data/*/*.csv", license="x", body="choice", language="zh", question="Question",
        options=("A", "B", "C", "D"), answer="Answer",
    ),
    "igakuqa": lambda: IgakuQA(path="$data_dir/igakuqa/data", license="x"),
    "french": lambda: FrenchMedMCQA(path="$data_dir/frenchmedmcqa/corpus", license="x"),
    "headqa": lambda: HeadQA(path="$data_dir/headqa", license="x"),
    "casimedicos": lambda: CasiMedicos(path="$data_dir/casimedicos/casimedicos-arg", license="x"),
}  # fmt: skip


@dataclass
class Case:
    """Rows planted beside rows that stay put. ``wanted``: they should be found; ``least`` is the share that must be right."""

    what: str
    tests: Sequence[Row]
    train: Sequence[Row]
    wanted: bool
    least: float = 1.0


def load(loader: Loader, name: str, data: Path) -> list[Row]:
    context = SourceContext(f"sources.{name}", 17, PACKS, Path(), data, source=name, license="x", splits=loader.splits)
    return [row for row in loader.load(context) if isinstance(row, Row)]


def as_split(row: Row, split: Split, mark: str = "") -> Row:
    """A row of a split; with a mark it is nobody's relative."""
    if not mark:
        return replace(row, split=split)
    return replace(row, split=split, id=f"{mark}/{row.id}", family=f"{mark}/{row.family}")


def all_split(rows: Iterable[Row], split: Split, mark: str = "") -> list[Row]:
    return [as_split(row, split, mark) for row in rows]


def _plain(text: str) -> str:
    """What is left of a text without case, spaces and punctuation: the truth about equal wordings, apart from the filters'."""
    return re.sub(r"[\W_]+", "", text.casefold())


def _asked(row: Row) -> str:
    assert isinstance(row.body, Chat | Choice)
    return _plain(row.body.question)


def kept(sets: dict[str, list[Row]]) -> list[Case]:
    """What asks the same and is something else."""
    first, apart = _asking_alike(sets["medquad"], _alike)
    stems, others = _asking_alike(sets["french"], _half)
    exams = all_split([*sets["headqa"], *sets["cmexam"]], "test")
    strangers = [*sets["medquad"][::10], *[row for row in sets["igakuqa"] if row.language == "ja"][::4]]
    return [
        Case("same question, another answer (medquad)", all_split(first, "test"), all_split(apart, "train"), False),
        Case("same stem, other options (frenchmedmcqa)", all_split(stems, "test"), all_split(others, "train"), False),
        Case("the same, in a line of text (frenchmedmcqa)", all_split(stems, "test"),
             [as_split(replace(row, body=in_text(row)), "train") for row in others], False),
        Case("nothing in common (medquad, igakuqa)", exams, all_split(strangers, "train"), False),
    ]  # fmt: skip


def _asking_alike(rows: Sequence[Row], same: Callable[[Row, Row], bool]) -> tuple[list[Row], list[Row]]:
    """The first row of each question, and further ones that are the same as none before them."""
    asked: dict[str, list[Row]] = {}
    apart = []
    for row in rows:
        earlier = asked.setdefault(_asked(row), [])
        if earlier and not any(same(one, row) for one in earlier):
            apart.append(row)
        earlier.append(row)
    return [rows[0] for rows in asked.values()], apart


def _alike(one: Row, other: Row) -> bool:
    """Whether two answers are of the same words, by and large."""
    assert isinstance(one.body, Chat) and isinstance(other.body, Chat)
    mine, theirs = (
        {tuple(found[start : start + CUT]) for start in range(max(1, len(found) - CUT + 1))}
        for found in (
            re.findall(r"\w+", row.body.answer.casefold()) for row in (one, other) if isinstance(row.body, Chat)
        )
    )
    return len(mine & theirs) >= ALIKE * min(len(mine), len(theirs)) or _plain(one.body.answer) == _plain(
        other.body.answer
    )


def _half(one: Row, other: Row) -> bool:
    """Whether two items have half of their options in common, or the right answer."""
    assert isinstance(one.body, Choice) and isinstance(other.body, Choice)
    mine, theirs = ({_plain(text) for text in body.options} for body in (one.body, other.body))
    right = [{_plain(body.options[index]) for index in body.answers} for body in (one.body, other.body)]
    return 2 * len(mine & theirs) >= min(len(mine), len(theirs)) or right[0] == right[1]


def layouts(sets: dict[str, list[Row]], data: Path) -> list[Case]:
    """The same items as another project publishes them."""
    cases = [
        Case("four options for five (medqa)", all_split(sets["five"], "test"), all_split(sets["four"], "train"), True)
    ]
    for language, names in (("en", ("five", "medmcqa", "pubmedqa")), ("zh", ("cmmlu",))):
        items = _apollo(data, language)
        for name in names:
            known = {_asked(row) for row in sets[name]}
            same = [row for row in items if _asked(row) in known]
            least = SHORTENED if name == "pubmedqa" else 1.0
            cases.append(Case(f"apollo's items of {name}", all_split(sets[name], "test"), same, True, least))
    return cases


def _apollo(data: Path, language: str) -> list[Row]:
    """Apollo's dev items: options in one string, a letter for the answer."""
    rows = []
    for number, item in enumerate(json.loads((data / f"apollo/metadata/dev/{language}.json").read_text("utf-8"))):
        options = tuple(re.findall(r"^\([A-J]\) *(.*)$", item["options"], re.M))
        answers = tuple("ABCDEFGHIJ".index(letter) for letter in re.sub(r"\W", "", item["answer"]))
        if options and answers and max(answers) < len(options):
            body = Choice(item["question"], options, answers, context=item.get("context") or None)
            id = f"apollo/{language}-{number}"
            rows.append(Row(id, language, "train", id, body, Origin("apollo", str(number), ("x",))))
    return rows


def editions(sets: dict[str, list[Row]]) -> list[Case]:
    """Cases of casimedicos that are in headqa, in all their languages; and what an augmenter makes of test rows."""
    exam = {_asked(row)[:SAME] for row in sets["headqa"] if row.language == "es"}
    twins = {row.family for row in sets["casimedicos"] if row.language == "es" and _asked(row)[:SAME] in exam}
    cases = [row for row in sets["casimedicos"] if row.family in twins]
    tests = [row for row in sets["headqa"] if row.language == "es"]
    made = [
        replace(row.child("translate.fr", Text("Traduction.")), family=f"own/{row.id}") for row in sets["medmcqa"][:200]
    ]
    return [
        *(
            Case(f"headqa's cases in casimedicos, {code} beside es", all_split(tests, "test"),
                 all_split([row for row in cases if row.language in {code, "es"}], "train"), True)
            for code in ("en", "fr")
        ),
        Case("what an augmenter made of test rows", all_split(sets["medmcqa"], "test"), all_split(made, "train"), True),
    ]  # fmt: skip


def edits(sets: dict[str, list[Row]], count: int) -> list[Case]:
    """One edit to each of some items of five languages, for each kind of edit; and the items in other layouts."""
    chance = random.Random(17)
    originals = _sample(sets, chance, count, _fit)
    meaning = _sample(sets, chance, count, _meant)
    cases = [
        Case(f"written as {what}", all_split(meaning, "test"),
             [as_split(replace(row, body=layout(row)), "train", "written") for row in meaning], True)
        for what, layout in LAYOUTS.items()
    ]  # fmt: skip
    for what, (edit, least) in EDITS.items():
        train = [as_split(replace(row, body=edit(row, chance)), "train", "edited") for row in originals]
        cases.append(Case(f"edited: {what}", all_split(originals, "test"), train, True, least))
    return cases


def _sample(sets: dict[str, list[Row]], chance: random.Random, count: int, wanted: Callable[[Row], bool]) -> list[Row]:
    return [
        row
        for name, code in (("medmcqa", "en"), ("french", "fr"), ("cmexam", "zh"), ("headqa", "es"), ("igakuqa", "ja"))
        for row in chance.sample([row for row in sets[name] if row.language == code and wanted(row)], count)
    ]


def _meant(row: Row) -> bool:
    """Whether a question is long enough to be known from another by itself: eight words, or 16 letters of an unspaced script."""
    assert isinstance(row.body, Choice)
    least, size = (16, len(_asked(row))) if row.language in {"zh", "ja"} else (8, len(row.body.question.split()))
    return _fit(row) and size >= least


def _fit(row: Row) -> bool:
    """Whether a typo leaves an item what it is: not a question of three words, not options of one sign."""
    return isinstance(row.body, Choice) and len(_asked(row)) >= 20 and all(_plain(text) for text in row.body.options)


def _reordered(row: Row, chance: random.Random) -> Choice:
    assert isinstance(row.body, Choice)
    order = chance.sample(range(len(row.body.options)), len(row.body.options))
    answers = tuple(sorted(order.index(answer) for answer in row.body.answers))
    return replace(row.body, options=tuple(row.body.options[index] for index in order), answers=answers)


def _labelled(marks: Sequence[str]) -> Callable[[Row, random.Random], Choice]:
    def edit(row: Row, chance: random.Random) -> Choice:
        body = _reordered(row, chance)
        return replace(body, options=tuple(f"{mark}{text}" for mark, text in zip(marks, body.options, strict=False)))

    return edit


def _rewritten(change: Callable[[str], str]) -> Callable[[Row, random.Random], Choice]:
    def edit(row: Row, chance: random.Random) -> Choice:
        assert isinstance(row.body, Choice)
        return replace(row.body, question=change(row.body.question), options=tuple(map(change, row.body.options)))

    return edit


def _wide(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


def _written_out(row: Row, chance: random.Random) -> Chat:
    body = _labelled([f"{letter}. " for letter in "ABCDEFGHIJ"])(row, chance)
    letters = ", ".join("ABCDEFGHIJ"[index] for index in body.answers)
    return Chat.of("\n".join((body.question, *(" ".join(text.split()) for text in body.options))), letters)


def _typo(row: Row, chance: random.Random) -> Choice:
    """One letter of the question left out."""
    assert isinstance(row.body, Choice)
    question = row.body.question
    place = chance.choice([index for index, letter in enumerate(question) if letter.isalpha()])
    return replace(row.body, question=question[:place] + question[place + 1 :])


EDITS: dict[str, tuple[Callable[[Row, random.Random], Choice | Chat], float]] = {
    "options in another order": (_reordered, 1.0),
    "options with letters in brackets": (_labelled([f"({letter}) " for letter in "ABCDEFGHIJ"]), 1.0),
    "options with numbers in circles": (_labelled("①②③④⑤⑥⑦⑧⑨⑩"), 1.0),
    "capitals": (_rewritten(lambda text: text.upper() if text.upper().casefold() == text.casefold() else text), 1.0),
    "full-width letters": (_rewritten(_wide), 1.0),
    "other punctuation": (_rewritten(lambda text: " ".join(re.sub(r"[?:;!？：。]", " … ", text).split())), 1.0),
    "written out as a conversation": (_written_out, 1.0),
    "a letter left out": (_typo, 0.95),
}
