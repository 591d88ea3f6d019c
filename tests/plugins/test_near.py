"""Exact and near-duplicates on rows made for the purpose: what is dropped, what is kept, and why."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from pydantic import ValidationError

from langmill.api import (
    Body,
    Chat,
    Choice,
    DatasetFilter,
    Drop,
    Message,
    Origin,
    Row,
    Split,
    StepContext,
    Text,
    packs_in,
)
from langmill_plugins.filters.exact import Exact
from langmill_plugins.filters.minhash import MinHash, found, layout, permutations
from langmill_plugins.near import clusters as near
from langmill_plugins.near.clusters import Near
from langmill_plugins.near.comparing import KEPT, WINDOW
from langmill_plugins.text import kernels
from langmill_plugins.text.shingling import shingled

sys.path.append(str(Path(__file__).resolve().parents[1]))
nasty_rows = importlib.import_module("nasty").nasty_rows
CONTEXT = StepContext("datasets.x.steps[0]", 17, {pack.code: pack for pack in packs_in("langmill_languages")}, Path())
ANAEMIA = (
    "Iron deficiency develops slowly. The body first uses up its stores, then the marrow makes fewer and smaller red cells, "
    "and at last the haemoglobin falls. People feel tired, look pale and become short of breath when they climb stairs. "
    "Blood loss is the usual cause in adults, and it has to be looked for before the iron is simply replaced."
)
LUNG = (
    "Chronic obstructive disease narrows the airways for good. Smoking is its main cause, dust at work another. Breathing "
    "out takes longer, air is trapped, and the chest becomes wide. Stopping to smoke slows the loss of function at any age."
)


@dataclass
class InMemory:
    """Facts that are at hand."""

    table: pa.Table
    held: int = 0

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def take(self, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        assert (np.diff(positions) > 0).all()
        return self.table.select(list(columns or self.table.column_names)).take(pa.array(positions))


def row(id: str, body: Body, *, language: str = "en", split: Split = "train", source: str = "s") -> Row:
    return Row(id, language, split, id, body, Origin(source, id, ("CC0-1.0",)))


def signed(part: DatasetFilter, rows: Sequence[Row], piece: int) -> tuple[pa.Table, pa.Table]:
    """Buckets and facts, as the core makes them of rows that are signed in pieces."""
    keys, facts = [], []
    for start in range(0, len(rows), piece):
        made = part.sign(rows[start : start + piece], CONTEXT)
        places = made.keys.column("row").to_numpy().astype(np.int64) + start
        keys.append(pa.table({"key": made.keys.column("key"), "position": places}))
        facts.append(made.facts)
    table = pa.concat_tables(keys).sort_by([("key", "ascending"), ("position", "ascending")])
    _, number, count = np.unique(table.column("key").to_numpy(), return_inverse=True, return_counts=True)
    return table.filter(pa.array(count[number] > 1)), pa.Table.from_batches(facts)


def through(part: DatasetFilter, rows: Sequence[Row], piece: int = 3, held: int = 0) -> dict[str, Drop]:
    """A filter as the core runs it."""
    buckets, facts = signed(part, rows, piece)
    drops = list(part.decide(iter(buckets.combine_chunks().to_batches()), InMemory(facts, held), CONTEXT))
    assert len(dict(drops)) == len(drops)
    return {rows[position].id: drop for position, drop in drops}


def words_of(seed: int, count: int) -> str:
    return " ".join(f"w{number}" for number in random.Random(seed).choices(range(10**6), k=count))


# --- exact ---


def test_exact_takes_question_and_answer_together() -> None:
    told = Chat((Message("system", "Be brief."), *Chat.of("What is anaemia?", "A lack of red cells.").messages))
    rows = [
        row("a", Chat.of("What is anaemia?", "Too little haemoglobin.")),
        row("b", Chat.of("what  is ANAEMIA?", "Too little haemoglobin.")),
        row("c", Chat.of("What is anaemia?", "A lack of red cells.")),
        row("d", Chat.of("What is low blood?", "Too little haemoglobin.")),
        row("e", Text("What is anaemia?\nToo little haemoglobin.")),
        row("f", told),
    ]
    assert through(Exact(), rows) == {
        "b": Drop("duplicate", "says the same as a", "a"),
        "f": Drop("duplicate", "says the same as c", "c"),
    }


def test_exact_knows_an_item_in_another_order_and_another_key() -> None:
    rows = [
        row("a", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "D"), (2,))),
        row("b", Choice("Which vitamin prevents scurvy?", ("C", "d", "A", "B12"), (0,))),
        row("c", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "D"), (3,))),
        row("d", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "K"), (2,))),
        row("e", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "D"), (2,), context="A sailor.")),
    ]
    drops = through(Exact(), rows)
    assert {id: drop.reason for id, drop in drops.items()} == {"b": "duplicate", "c": "conflicting_answer"}


def test_exact_keeps_test_before_dev_before_train_then_the_rationale_then_the_first() -> None:
    item = Choice("Which vitamin prevents scurvy?", ("A", "C"), (1,))
    told = replace(item, explanation="Vitamin C is needed for collagen.")
    rows = [row("a", item), row("b", item, split="dev"), row("c", item, split="test"), row("d", item, split="test")]
    same = dict.fromkeys("abd", "says the same as c")
    assert {id: drop.detail for id, drop in through(Exact(), rows).items()} == same
    assert set(through(Exact(), [row("a", item), row("b", told), row("c", told)])) == {"a", "c"}


def test_a_key_that_two_wordings_share_by_chance_drops_nothing() -> None:
    rows = [row("a", Text("one")), row("b", Text("two")), row("c", Text("one"))]
    _, facts = signed(Exact(), rows, 3)
    bucket = pa.record_batch({"key": pa.array([7, 7, 7], pa.uint64()), "position": pa.array([0, 1, 2], pa.int64())})
    assert [position for position, _ in Exact().decide(iter([bucket]), InMemory(facts), CONTEXT)] == [2]


@pytest.mark.parametrize("part", [Exact(), MinHash()])
def test_rows_of_an_index_stay_and_win(part: DatasetFilter) -> None:
    rows = [
        row("old", Text(ANAEMIA)),
        row("older", Text(ANAEMIA)),
        row("a", Text(LUNG)),
        row("b", Text(ANAEMIA), split="test"),
    ]
    drops = through(part, rows, held=2)
    assert set(drops) == {"b"} and drops["b"].like in ("old", "older")


# --- minhash ---


def test_bands_are_chosen_for_recall() -> None:
    assert layout(0.8, 128, 0.999) == (25, 5)
    assert layout(0.45, 128, 0.98) == (42, 3)
    for threshold in (0.45, 0.6, 0.7, 0.9, 0.95):
        bands, width = layout(threshold, 128, 0.999)
        assert bands * width <= 128 and found(threshold, bands, width) >= 0.999, threshold
    assert layout(0.05, 16, 0.999) == (8, 2)  # out of reach: the most that 16 permutations can do
    assert found(0.8, 25, 5) > 0.9999 and found(0.8, 9, 13) < 0.41  # datasketch's own choice at 0.8


def test_a_recall_that_is_out_of_reach_is_told_with_what_would_do() -> None:
    for threshold, count, reached, enough in ((0.2, 128, 0.927, 192), (0.45, 16, 0.836, 36)):
        told = rf"threshold {threshold} with a chance of {reached}, not 0.98; permutations: {enough} would"
        with pytest.raises(ValidationError, match=told):
            MinHash(threshold=threshold, permutations=count)
        with pytest.raises(ValidationError, match="would"):
            MinHash(threshold=threshold, permutations=enough - 2)
        MinHash(threshold=threshold, permutations=enough)
    with pytest.raises(ValidationError, match=r"with a chance of 0\.148, not 0\.98, nor do 512, the most \(0\.473\)"):
        MinHash(threshold=0.05)
    MinHash(threshold=0.05, permutations=512, recall=0.473)


def test_signatures_are_datasketchs_own() -> None:
    import datasketch

    a, b = permutations(128)
    for text in (ANAEMIA, LUNG, "", "two words"):
        values, _ = shingled([[text]], "word", 3)
        theirs = datasketch.MinHash(num_perm=128, seed=1, hashfunc=lambda value: value)
        theirs.update_batch((values & np.uint64(0xFFFFFFFF)).tolist())
        ours = np.full(128, 0xFFFFFFFF, np.uint32)
        kernels.minima(values, a, b, ours)
        assert ours.tolist() == theirs.hashvalues.tolist()


def test_near_duplicates_are_near_on_both_sides() -> None:
    close, asked = ANAEMIA.replace("stairs", "steps"), "What does iron deficiency do to people?"
    rows = [
        row("a", Chat.of(asked, ANAEMIA)),
        row("b", Chat.of(asked, close)),
        row("c", Chat.of("Is Farber disease inherited?", ANAEMIA)),
        row("d", Chat.of(asked, LUNG)),
        row("e", Text(ANAEMIA)),
        row("f", Text(close)),
        row("g", Text("?!")),
        row("h", Text("")),
    ]
    drops = through(MinHash(), rows)
    assert {id: drop.reason for id, drop in drops.items()} == {"b": "near_duplicate", "f": "near_duplicate"}
    jaccard, kept = drops["b"].detail.removeprefix("Jaccard ").split(" with ")
    assert kept == drops["b"].like == "a" and 0.8 <= float(jaccard) < 1


def test_a_template_with_another_name_is_another_row() -> None:
    def chat(id: str, name: str) -> Row:
        told = (
            f"These are the signs of {name}. How often each is seen in people with this condition stands in the table."
        )
        return row(id, Chat.of(f"What are the first signs of {name} in adults?", told))

    rows = [chat("a", "gout"), chat("b", "measles"), chat("c", "gout")]
    assert set(through(MinHash(), rows)) == {"c"}
    assert set(through(MinHash(threshold=0.2, permutations=256), rows)) == {"c"}


def test_near_items_share_question_options_and_key() -> None:
    stem = "A woman of 60 years is tired, pale and short of breath. Her ferritin is low. Which of these is"
    options = (
        "Colonoscopy to look for bleeding",
        "A week of rest at home",
        "A course of penicillin",
        "Oxygen at night",
    )
    rows = [
        row("a", Choice(f"{stem} the right next step?", options, (0,))),
        row("b", Choice(f"{stem} the right next step ?", options[::-1], (3,))),
        row("c", Choice(f"{stem} the wrong next step?", options, (2,))),
        row("d", Choice(f"{stem} the right next step?", ("Yes", "No", "Never", "Always"), (0,))),
        row("e", Choice(f"{stem} the right next step?", options, (0, 2))),
    ]
    assert set(through(MinHash(), rows)) == {"b"}


@pytest.mark.parametrize(
    ("language", "right", "other"),
    [
        ("zh", "1.25毫克", "12.5毫克"),
        ("zh", "Na ↑ K ↓", "Na ↓ K ↑"),
        ("en", "Na ↑ K ↓", "Na ↓ K ↑"),
        ("en", "more than 5 mg, > 5", "more than 5 mg, < 5"),
        ("en", "10⁵ colonies", "105 colonies"),
    ],
)
def test_items_whose_right_answers_differ_in_a_sign_stay(language: str, right: str, other: str) -> None:
    stem = "A man of 60 years is tired and short of breath after a week on a new drug for his heart: what is found or given?"
    options = (right, other, "Nothing of the kind is ever found or given", "A course of penicillin for ten days")
    item = Choice(stem, options, (0,))
    shown = (options[1], options[0], *options[2:])
    rows = [row("a", item, language=language), row("b", Choice(f"{stem} ", shown, (0,)), language=language)]
    assert through(MinHash(), rows) == {}
    again = Choice(f"{stem}!", (f"{right}.", *options[1:]), (0,))
    assert len(through(MinHash(), [rows[0], row("b", again, language=language)])) == 1
    signs = [row(sign, Chat.of(stem, sign), language=language) for sign in ("↑", "↓", "↑.")]
    assert set(through(MinHash(), signs)) == {"↑"}
    alone = [row(text, Choice(stem, (text, "no", "never"), (0,)), language=language) for text in (right, other)]
    assert through(MinHash(), alone) == through(Exact(), alone) == {}


@pytest.mark.parametrize("piece", [1, 2, 7])
@pytest.mark.parametrize("at_once", [1, 5, 1 << 14])
def test_a_chain_of_small_changes_drops_only_what_is_near_a_row_that_stays(
    piece: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Near, "_rows", lambda self: at_once)
    words = words_of(1, 60).split()
    chain = [" ".join([f"x{place}" for place in range(index)] + words[index:]) for index in range(0, 40, 4)]
    rows = [row(f"r{index:02}", Text(text)) for index, text in enumerate(chain)]
    drops = through(MinHash(threshold=0.8, recall=0.9999), rows, piece)
    assert {id: drop.like for id, drop in drops.items()} == {f"r{n:02}": f"r{n - 1:02}" for n in range(1, 10, 2)}


def test_near_keeps_test_then_the_earlier_source_then_the_longer_answer_then_the_smaller_id() -> None:
    more, less = f"{ANAEMIA} Tea with meals can hinder it.", ANAEMIA
    assert set(through(MinHash(), [row("a", Text(more)), row("b", Text(less), split="test")])) == {"a"}
    rows = [row("b", Text(less), source="first"), row("a", Text(more), source="second")]
    assert set(through(MinHash(), rows)) == {"a"}
    rows = [row("x", Text(LUNG), source="second"), *rows]  # what counts is the source's first row among those alike
    assert set(through(MinHash(), rows)) == {"a"}
    assert set(through(MinHash(), [row("a", Text(less)), row("b", Text(more))])) == {"a"}
    assert set(through(MinHash(), [row("b", Text(less)), row("a", Text(less))])) == {"b"}


def test_a_lower_threshold_finds_more() -> None:
    changed = " ".join(word if index % 9 else "x" for index, word in enumerate(ANAEMIA.split()))
    rows = [row("a", Text(ANAEMIA)), row("b", Text(changed))]
    assert through(MinHash(threshold=0.8), rows) == {} and set(through(MinHash(), rows)) == {"b"}


def test_a_bucket_of_thousands_costs_no_square_and_loses_nothing() -> None:
    shared = words_of(0, 60)
    texts = [f"{shared} {words_of(index + 1, 60)}" for index in range(3000)]
    twins = [f"{text} once more" for text in texts[:50]]
    rows = [row(f"r{index:04}", Text(text)) for index, text in enumerate([*texts, *twins, *([ANAEMIA] * 3000)])]
    part = MinHash(threshold=0.6)
    buckets, facts = signed(part, rows, 500)
    judge = Near(InMemory(facts), part.threshold)
    drops = {rows[position].id for position, _ in judge.drops(iter(buckets.combine_chunks().to_batches()))}
    assert drops == {f"r{index:04}" for index in [*range(50), *range(3051, 6050)]}
    assert judge.compared <= WINDOW * len(rows) and len(rows) > 2 * KEPT


def test_how_buckets_come_in_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "RECORDS", 300)
    texts = [words_of(index % 40, 40) + words_of(index, 15) for index in range(400)]
    rows = [row(f"r{index:03}", Text(text)) for index, text in enumerate(texts)]
    part = MinHash()
    buckets, facts = signed(part, rows, 100)
    whole, *others = (
        list(part.decide(iter(buckets.combine_chunks().to_batches(size)), InMemory(facts), CONTEXT))
        for size in (1 << 20, 50, 700)
    )
    assert len(whole) > 200 and all(other == whole for other in others)


def test_sets_that_fill_the_scratch_table_are_compared_rightly() -> None:
    rows = [row(f"r{index}", Text(words_of(index // 2, 130) + " " + words_of(100 + index, 126))) for index in range(40)]
    drops = through(MinHash(threshold=0.3, recall=0.9999, permutations=256), rows, 40)
    assert len(drops) == 20
    for id, drop in drops.items():
        one, other = (shingled([[rows[int(name[1:])].body.text]], "word", 3)[0] for name in (id, drop.like))  # type: ignore[union-attr]
        shared = len(np.intersect1d(one, other))
        assert drop.detail.startswith(f"Jaccard {shared / (len(one) + len(other) - shared):.2f} "), drop


@pytest.mark.parametrize("code", ["en", "ja"])
def test_nothing_that_can_be_read_stops_a_filter(code: str) -> None:
    rows = nasty_rows(row, code)
    same = {
        f"{kind}/1": Drop("duplicate", f"says the same as {kind}/0", f"{kind}/0") for kind in ("text", "chat", "choice")
    }
    assert through(Exact(), rows) == same
    twice = [*rows, *(replace(item, id=f"{item.id}/again") for item in rows)]
    kept = {item.id for item in rows if item.id[-2:] in ("/0", "/1") and "choice" not in item.id}
    assert set(through(MinHash(), twice)) >= {f"{item.id}/again" for item in rows} - {f"{id}/again" for id in kept}
