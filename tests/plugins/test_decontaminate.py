"""Contamination: what gives a test row away is found in every layout and language, what only looks like it stays."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from langmill.api import (
    Body,
    Chat,
    Choice,
    Drop,
    MissingInput,
    Origin,
    Row,
    Split,
    StepContext,
    Text,
    packs_in,
)
from langmill_plugins.filters.decontaminate import Decontaminate

sys.path.append(str(Path(__file__).resolve().parents[1]))
nasty_rows = importlib.import_module("nasty").nasty_rows
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
LUNG = (
    "Chronic obstructive disease narrows the airways for good. Smoking is its main cause, dust at work another. Breathing "
    "out takes longer, air is trapped, and the chest becomes wide. Stopping to smoke slows the loss of function at any age."
)
QUESTION = (
    "A man of 45 years comes with a cough that has lasted for three weeks, night sweats, fever in the evening and a loss of "
    "six kilograms. He lived for a year in a crowded hostel. Which examination is needed first?"
)
ITEM = Choice(QUESTION, ("Sputum for acid-fast bacilli", "An exercise test", "A skin biopsy"), (0,))
JA = "六十歳の男性。三か月前から労作時の息切れと下腿の浮腫が続き、昨夜から横になると苦しいため来院した。まず行う検査はどれか。"
SHORT = Choice(
    "Which vitamin is missing in a patient with scurvy?", ("Vitamin A", "Ascorbic acid", "Thiamine", "Folic acid"), (1,)
)


def row(
    id: str,
    body: Body,
    *,
    language: str = "en",
    split: Split = "train",
    family: str = "",
    parents: tuple[str, ...] = (),
) -> Row:
    return Row(id, language, split, family or id, body, Origin("s", id, ("CC0-1.0",), parents))


TESTS = [
    row("t/1", ITEM, split="test", family="exam-7"),
    row("t/2", Choice(JA, ("心エコー検査", "皮膚生検", "脳波検査"), (0,)), split="test", language="ja"),
    row("t/3", Chat.of("What is (are) Glaucoma?", LUNG), split="dev"),
    row("t/4", Text("A train row gives nothing away."), split="train"),
    row("t/5", SHORT, split="test"),
    row("t/6/translate.fr", Text("Une phrase traduite."), split="test", language="fr", parents=("t/6",)),
]


class Held:
    """The facts of signed rows, at hand."""

    held = 0

    def __init__(self, table: pa.Table):
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def take(self, positions: np.ndarray) -> pa.Table:
        return self.table.take(pa.array(positions))


def drops(
    rows: Sequence[Row], tests: Iterable[Row] = TESTS, part: Decontaminate | None = None, piece: int = 3
) -> dict[str, Drop]:
    """What the filter drops of rows that the core signs in pieces."""
    known = list(tests)
    context = StepContext(
        "datasets.x.steps[0]", 17, PACKS, Path(),
        rows=lambda name, split: iter([item for item in known if name == "old" and item.split == split]),
        benchmarks={"old": ("test",)},
    )  # fmt: skip
    part = part or Decontaminate()
    signed = [part.sign(rows[start : start + piece], context) for start in range(0, len(rows), piece)]
    keys = np.concatenate([one.keys.column("key").to_numpy() for one in signed])
    positions = np.concatenate(
        [one.keys.column("row").to_numpy() + piece * number for number, one in enumerate(signed)]
    ).astype(np.int64)
    shared = np.flatnonzero(np.isin(keys, [key for key, n in Counter(keys.tolist()).items() if n > 1]))
    order = shared[np.lexsort((positions[shared], keys[shared]))]
    bucket = pa.record_batch({"key": pa.array(keys[order]), "position": pa.array(positions[order])})
    decided = list(part.decide(iter([bucket]), Held(pa.Table.from_batches([one.facts for one in signed])), context))
    assert len(decided) == len({position for position, _ in decided}), "a row is dropped once"
    assert all(drop.reason == "contaminated" and drop.like for _, drop in decided)
    return {rows[position].id: drop for position, drop in decided}


def kinds(*rows: Row) -> dict[str, tuple[str, str]]:
    """The kind of evidence and the test row, by the row's id."""
    return {id: (drop.detail.partition(":")[0], drop.like) for id, drop in drops(rows).items()}


def test_relatives_are_found() -> None:
    assert kinds(
        row("a", Text("Something else."), family="exam-7"),
        row("t/1/translate.fr", Text("Autre chose."), language="fr", parents=("t/1",)),
        row("t/6", Text("What a test row was made of.")),
        row("b", Text("Something else.")),
    ) == {"a": ("family", "t/1"), "t/1/translate.fr": ("ancestry", "t/1"), "t/6": ("ancestry", "t/6/translate.fr")}


def test_the_same_wording_is_found_in_any_layout() -> None:
    order = (ITEM.options[2], ITEM.options[0], ITEM.options[1])
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in SHORT.question)
    lettered = tuple(f"({letter}) {text}" for letter, text in zip("ABCD", SHORT.options, strict=True))
    written = "\n".join([SHORT.question, *lettered])
    same = "same question and options"
    assert kinds(
        row("a", ITEM),
        row("b", Choice(QUESTION.upper(), order, (1,))),
        row("c", replace(SHORT, question=wide.replace("?", " . "))),
        row("d", replace(SHORT, options=lettered)),
        row("e", Chat.of(written, "(B)")),
        row("f", Text(written)),
        row("g", Chat.of(SHORT.question, "ascorbic acid.")),
        row("h", Chat.of("what is (are) glaucoma?", LUNG)),
    ) == {
        **dict.fromkeys("ab", (same, "t/1")), **dict.fromkeys("cdef", (same, "t/5")),
        "g": ("same question and answer", "t/5"), "h": ("same question and answer", "t/3"),
    }  # fmt: skip


def test_what_only_looks_like_it_stays() -> None:
    assert not drops(
        [
            row("a", Chat.of("What is (are) Glaucoma?", "Damage to the optic nerve by pressure.")),
            row("b", Chat.of("What is emphysema?", LUNG)),  # a stock answer under another question
            row("c", Text("A train row gives nothing away.")),
            row("d", replace(SHORT, options=("Cobalamin", "Niacin", "Retinol", "Folic acid"), answers=(0,))),
            row("e", replace(SHORT, question="Which vitamin is missing in a patient with beriberi?", answers=(2,))),
            row("f", Choice(QUESTION[:80], ("a", "b"), (0,))),
            row("g", Text("")),
            row("h", Choice("?", ("+", "-"), (0,))),
        ]
    )


def test_a_short_item_with_a_typo_is_found() -> None:
    preamble = "Answer the following question of an exam.\nWhich vitamin is missing in a patient with scurvy?"
    written = "\n".join([preamble, *(f"{n}. {text}" for n, text in enumerate(SHORT.options, 1)), "Answer:"])
    assert kinds(
        row("a", replace(SHORT, question=SHORT.question.replace("vitamin", "vitamine"))),
        row("b", replace(SHORT, options=("Vitamin A", "Ascorbic acid", "Thiamin", "Folic acid"))),
        row("c", replace(SHORT, options=("Vitamin A", "Ascorbic acids", "Thiamine", "Folic acid"))),
        row("d", Chat.of(written, "2")),
    ) == {**dict.fromkeys("ac", ("edited item", "t/5")), "b": ("same question and answer", "t/5"),
        "d": ("quoted item", "t/5"),
    }  # fmt: skip


OFFERED = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", SHORT.options, strict=True))
LAYOUTS: dict[str, Body] = {
    "number": Chat.of(f"3. {SHORT.question}\n{OFFERED}", "B"),
    "bold": Chat.of(f"{SHORT.question}\n" + re.sub(r"(.\.)", r"**\1**", OFFERED), "B"),
    "dashes": Chat.of(f"{SHORT.question}\n- " + OFFERED.replace("\n", "\n- "), "B"),
    "bullets": Chat.of("\n* ".join([SHORT.question, *SHORT.options]), "Ascorbic acid"),
    "one line": Chat.of(f"{SHORT.question} {OFFERED}".replace("\n", " "), "B"),
    "text": Text(f"Question: {SHORT.question} {OFFERED} ".replace("\n", " ") + "Answer: B"),
    "JSON": Chat.of(SHORT.question + json.dumps(dict(zip("ABCD", SHORT.options, strict=True))), "B"),
    "quiz": Chat.of(
        "Make me a quiz.", f"Here it is.\n1. {SHORT.question}\n{OFFERED}\n2. Which bone is long?\nA. Femur\nB. Talus"
    ),
    "letter": Chat.of(SHORT.question, "B. Ascorbic acid"),
    "sentence": Chat.of(SHORT.question, "The correct answer is ascorbic acid, which fruit has."),
    "instruction": Chat.of(f"Answer with one option.\n{SHORT.question}", "Ascorbic acid"),
    "pair": Text(f"Q: {SHORT.question} A: Ascorbic acid."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_item_is_found_in_everyday_layouts(layout: str) -> None:
    (found,) = drops([row("a", LAYOUTS[layout])]).values()
    assert found.like == "t/5"


def test_an_item_of_an_unspaced_script_is_found_in_a_line() -> None:
    test = row(
        "t",
        Choice("妊娠期高血压首选药物是什么？", ("拉贝洛尔", "赖诺普利", "氯沙坦"), (0,)),
        language="zh",
        split="test",
    )
    line = "12. 妊娠期高血压首选药物是什么？ A. 拉贝洛尔 B. 赖诺普利 C. 氯沙坦"
    rows = [row("a", Text(line), language="zh"), row("b", Chat.of(line[4:18], "首选拉贝洛尔。"), language="zh")]
    assert set(drops(rows, [test])) == {"a", "b"}
    assert not drops([row("c", Chat.of(line[4:18], "首选甲基多巴。"), language="zh")], [test])


def test_a_question_with_other_options_or_another_answer_stays_in_text() -> None:
    other = f"{SHORT.question} (A) Cobalamin (B) Niacin (C) Retinol"
    findings = "Among the following findings, which one or which ones are seen as a rule in the course of a failure of both adrenals?"
    far = f"{SHORT.question} Think of it. {LUNG} {' '.join(SHORT.options)}"
    stem = row("t", Choice("Which of these is true?", ("Yes", "No", "Ascorbic acid"), (2,)), split="test")
    assert not drops(
        [
            row("a", Text(other)),
            row("b", Chat.of(other, "A. Cobalamin")),
            row("c", Chat.of(SHORT.question, "One that is in fresh fruit.")),
            row("d", Text(far)),
            row("f", Text(f"{SHORT.question} (A) Niacin (B) Ascorbic acid (C) Retinol Answer: Retinol")),
            row("g", Text(f"{findings} (A) Dark skin (B) Low sodium (C) Weight loss Answer: A, B")),
            row("e", Chat.of("Which of these is true?", "That ascorbic acid is a vitamin.")),
        ],
        [*TESTS, stem, row("t/8", Choice(findings, ("Low pressure", "High potassium", "Thirst"), (1,)), split="test")],
    )


def test_a_long_true_or_false_item_does_not_repeat_a_short_one() -> None:
    short = Choice("Is aspirin safe in children with fever?", ("True", "False"), (1,))
    long = replace(short, question=f"{LUNG} {QUESTION} Is the following safe in children who have a fever: {LUNG}")
    tests = [row("t", short, split="test")]
    assert not drops([row("a", long)], tests)
    assert drops([row("b", replace(short, question="Is asprin safe in childen with fever?"))], tests)


def test_a_benchmark_without_rows_is_no_check() -> None:
    with pytest.raises(MissingInput, match=r"datasets\.x\.steps\[0\]: 'old' has no row .*splits: test, dev"):
        drops([row("a", ITEM)], [item for item in TESTS if item.split == "train"])


def test_overlap_is_found_in_both_kinds_of_script_and_told_with_its_wording() -> None:
    spoilt = QUESTION.replace("45 years", "52 years")
    found = drops(
        [
            row("a", Text(f"A case to begin with. {spoilt} Tuberculosis has to be thought of.")),
            row("b", Text(f"症例を示す。{JA.replace('まず行う', '最初に行う')}"), language="ja"),
            row("d", Chat.of("What is (are) glaucoma", f"{LUNG} Ask for help.")),
        ]
    )
    assert found["a"].detail.startswith("overlap: 0.") and " of the question of t/1; " in found["a"].detail
    assert '"years comes with a cough that has lasted for three weeks night sweats fever' in found["a"].detail
    assert found["b"].like == "t/2" and "労作時の息切れと下腿の浮腫が続き" in found["b"].detail.replace("、", "")
    assert found["d"].detail.startswith("overlap: 1.00 of the answer of t/3; ")
    short = [row("e", Choice(QUESTION[:80], ("a", "b"), (0,)))]
    assert not drops(short) and drops(short, part=Decontaminate(threshold=0.1))


def test_the_other_languages_of_an_item_go_with_it_wherever_they_lie() -> None:
    case = [row(f"cases/{code}.7", Text(f"Édition {code}"), language=code, family="cases/7") for code in ("fr", "en")]
    other = [row(f"cases/{code}.8", Text(f"Edición {code}"), language=code, family="cases/8") for code in ("fr", "es")]
    found = drops([case[0], *other, row("x", Text("x")), row("cases/es.7", ITEM, family="cases/7"), case[1]], piece=1)
    assert {id: drop.detail.partition(":")[0] for id, drop in found.items()} == {
        "cases/es.7": "same question and options", "cases/fr.7": "other edition", "cases/en.7": "other edition",
    }  # fmt: skip
    assert {drop.like for drop in found.values()} == {"t/1"}


def test_it_acts_on_train_rows_and_reads_the_tests_once() -> None:
    asked: list[str] = []

    def rows(name: str, split: Split | None) -> Iterator[Row]:
        asked.append(f"{name} {split}")
        return iter([item for item in TESTS if item.split == split])

    part = Decontaminate()
    assert (part.splits, part.against) == (("train",), "eval")
    context = StepContext("x", 17, PACKS, Path(), rows=rows, benchmarks={"old": ("test",), "seen": ("train",)})
    for _ in range(3):
        assert part.sign([row("a", ITEM)], context).facts.column("like").to_pylist() == ["t/1"]
    assert asked == ["old test", "old dev", "seen test", "seen dev", "seen train"]
    named = Decontaminate(against=("old", "eval", "older"))
    assert context.held_against(named.against) == ("old", "seen", "older")


@pytest.mark.parametrize("code", ["en", "ja"])
def test_nothing_that_can_be_read_stops_it(code: str) -> None:
    rows = nasty_rows(row, code)
    tests = [replace(item, id=f"t/{item.id}", family="t", split="test") for item in rows]
    assert set(drops(rows, [replace(item, id=item.id, split="test") for item in rows])) == {item.id for item in rows}
    found = drops(rows, tests, piece=100)
    long = {f"{kind}/{index}" for kind in ("text", "chat", "choice") for index in (2, 4)}
    assert long <= set(found)


# --- the public sets ---

sets = importlib.import_module("public_sets")
needs_data, load = sets.NEEDS_DATA[1], sets.load


def as_split(rows: Iterable[Row], split: Split) -> list[Row]:
    return [replace(item, split=split) for item in rows]


@needs_data
@pytest.mark.data
def test_test_items_are_found_among_training_rows() -> None:
    train, tests = as_split(load("four"), "train"), as_split(load("five"), "test")
    assert set(drops(train, tests, piece=500)) == {item.id for item in train}
    others = [item for item in load("headqa") if item.language == "en"][:500]
    assert not drops(as_split(others, "train"), tests, piece=500)


@needs_data
@pytest.mark.data
def test_an_exam_of_one_year_is_clean_of_another_but_for_repeated_items() -> None:
    rows = [item for item in load("headqa") if item.language == "es"]
    found = drops(
        [item for item in rows if item.split == "train"], [item for item in rows if item.split == "dev"], piece=500
    )
    assert 1 <= len(found) <= 20


@needs_data
@pytest.mark.data
def test_one_exam_in_two_sets_is_found_with_its_translations() -> None:
    exams, cases = as_split(load("headqa"), "test"), as_split(load("casimedicos"), "train")
    found = drops(cases, exams, piece=500)
    families = {item.family for item in cases if item.id in found}
    assert len(families) >= 85  # 97 are told to be in both; some need a picture and are not read
    assert {item.id for item in cases if item.family in families} == set(found)
    assert any(id.startswith("casimedicos/fr.") for id in found)


@needs_data
@pytest.mark.data
def test_generic_stems_and_other_answers_stay() -> None:
    french = load("french")
    found = drops(
        [item for item in french if item.split == "train"], [item for item in french if item.split == "dev"], piece=500
    )
    assert 1 <= len(found) <= 15
    rows = load("medquad")
    seen: dict[str, Row] = {}
    again = []
    for item in rows:
        assert isinstance(item.body, Chat)
        first = seen.setdefault(item.body.question, item)
        if first is not item and isinstance(first.body, Chat) and first.body.answer != item.body.answer:
            again.append(item)
    assert len(again) > 700
    taken = drops(again, as_split(seen.values(), "test"), piece=500)
    assert len(taken) <= 30 and all(" of the answer of " in drop.detail for drop in taken.values())
