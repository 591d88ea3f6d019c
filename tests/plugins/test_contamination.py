"""What rows say in other layouts, and which short questions are compared at all."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from langmill.api import Body, Chat, Choice, Origin, Row
from langmill_plugins.contamination.items import Item, unlabelled, written_out
from langmill_plugins.contamination.letters import Letters
from langmill_plugins.contamination.said import Said


def row(id: str, body: Body) -> Row:
    return Row(id, "en", "test", id, body, Origin("s", id, ("CC0-1.0",)))


def test_letters_before_options_are_no_wording() -> None:
    for options in (
        ("A. Femur", "B. Tibia", "C. Talus"), ("(a) Femur", "(b) Tibia", "(c) Talus"), ("① Femur", "② Tibia", "③ Talus"),
        ("１．Femur", "２．Tibia", "３．Talus"), ("А) Femur", "Б) Tibia", "В) Talus"), ("Femur", "Tibia", "Talus"),
    ):  # fmt: skip
        assert unlabelled(options) == ("Femur", "Tibia", "Talus"), options
    for options in (
        ("C. difficile", "E. coli"),
        ("A. niger", "Candida"),
        ("1.5 mg", "2.5 mg"),
        ("1-5", "2-5"),
        ("A-fibre", "B-fibre"),
        ("A", "B"),
        ("1", "2"),
    ):
        assert unlabelled(options) == options


def test_an_item_written_out_is_read_back() -> None:
    assert written_out("Which bone?\nA. Femur\nB) Tibia\nAnswer with a letter.") == ("Which bone?", ("Femur", "Tibia"))
    assert written_out("下列哪项正确？\nA．甲\nB．乙")[1] == ("甲", "乙")
    for text in (
        "Take these:\n2. water\n5. salt",
        "A. Femur\nB. Tibia",
        "Plain text.\nOf two lines.",
        "",
        "Vitamin A. It is one of two. B. The other.",
        "Doses (1) of 2.5 mg (3) of 4.5 mg",
    ):
        assert written_out(text) == (text, ())
    chat = row("a", Chat.of("Which bone?\n(1) Femur\n(2) Tibia", "(2)"))
    assert written_out("1. Which bone?\n- **A.** Femur\n- **B.** Tibia")[1] == ("Femur", "Tibia")
    assert written_out("4. Which bone?\n0) Femur\n1) Tibia\n\nA: Femur")[1] == ("Femur", "Tibia")
    assert written_out("Which bone? (A) Femur (B) Tibia (C) Talus") == ("Which bone?", ("Femur", "Tibia", "Talus"))
    assert written_out("1. 哪块骨头？A. 股骨 B. 胫骨 C. 距骨")[1] == ("股骨", "胫骨", "距骨")
    assert Item.of(chat)[:3] == ("Which bone?", ("Femur", "Tibia"), ("(2)",))


def test_short_items_with_one_answer_are_not_paired_with_all_others() -> None:
    tests = [
        row(f"t{n}", Choice(f"Is {first} the cause of {second}?", ("Yes", "No"), (0,)))
        for n, (first, second) in enumerate(product(("asthma", "gout", "rickets"), ("a boxy chest", "night pain", "wheezing")))
    ]  # fmt: skip
    said = Said.of(tests)
    letters = Letters()
    letters.add(said, range(len(tests)), 0)
    letters.grams.build(0.6)
    unlike = row("a", Choice("Does quinine help with malaria?", ("Yes", "No"), (0,)))
    apart = replace(tests[0], body=replace(tests[0].body, answers=(1,)))
    assert [(place, test) for place, test, _ in letters.alike(Said.of([unlike, tests[4], apart]), 0.3)] == [(1, 4)]
    assert not list(letters.alike(Said.of([apart]), 0.01))
