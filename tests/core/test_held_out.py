"""Rows that are asked and learnt, too: by id, family and words; and what only looks alike."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from langmill.api import Body, Chat, Choice, Message, Origin, RecipeError, Row, Text
from langmill.disk.store import RunFolder
from langmill.evaluation.held_out import HeldOut, Leak, refuse_leaks
from langmill.looking import look_before
from langmill.recipe.assembly import assemble

sys.path.append(str(Path(__file__).resolve().parents[1]))
examined = importlib.import_module("examined")

QUESTION = "Which vitamin is lacking in a patient with scurvy and bleeding gums?"
OPTIONS = ("Vitamin A", "Vitamin C", "Vitamin D", "Vitamin K")


def row(name: str, body: Body, family: str = "", language: str = "en") -> Row:
    return Row(name, language, "train", family or name, body, Origin("s", name, ("MIT",)))


def found(asked: Sequence[Row], learnt: Sequence[Row]) -> list[Leak]:
    held_out = HeldOut({"exam": ("open",)})
    held_out.add("exam", asked)
    return list(held_out.leaks("open", learnt))


def by(asked: Body, learnt: Body) -> str:
    """By what a row that is asked is the same as a learnt one; empty where they are two."""
    return "".join(leak.by for leak in found([row("a", asked)], [row("l", learnt)]))


ITEM = Choice(QUESTION, OPTIONS, (1,))
TEMPLATE = "If you are a doctor, please answer the medical questions based on the patient's description."


def talk(*turns: str) -> Chat:
    """A conversation of a user's turns, each answered alike."""
    return Chat(tuple(said for turn in turns for said in (Message("user", turn), Message("assistant", "I see."))))


def test_a_row_is_found_by_its_id_and_its_family() -> None:
    asked = [row("s/1", ITEM), row("s/2.en", Choice("x", ("a", "b"), (0,)), "s/2"), row("s/3", Text("c"))]
    learnt = [row("s/1", Chat.of("q", "a")), row("s/2.fr", Choice("y", ("c", "d"), (0,)), "s/2", "fr")]
    assert found(asked, learnt) == [
        Leak("exam", "s/1", "open", "s/1", "row"), Leak("exam", "s/2.en", "open", "s/2.fr", "family"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "learnt", "same"),
    [
        (ITEM, Choice(QUESTION.upper().replace(" ", "  ") + "!", OPTIONS[::-1], (2,)), "question and options"),
        (ITEM, Choice(QUESTION, OPTIONS, (1,), "Its lack makes gums bleed."), "question and options"),
        (Choice("Ｗhich？ ①", ("Ａ", "b"), (0,)), Choice("which 1", ("a", "B."), (0,)), "question and options"),
        (ITEM, Chat.of(QUESTION, "Vitamin C."), "question"),
        (Chat.of(QUESTION, "Vitamin C."), ITEM, "question"),
        (Chat.of(QUESTION, "Vitamin C."), Chat.of(QUESTION, "It is ascorbic acid."), "question"),
        (Chat.of("What is it?", "A vein."), Chat.of("what is it", "A VEIN"), "conversation"),
        (Chat.of("患者牙龈出血并伴有坏血病，最可能缺乏哪一种维生素？", "维生素C"),
         Choice("患者牙龈出血并伴有坏血病，最可能缺乏哪一种维生素?", ("维生素A", "维生素C"), (1,)), "question"),
        (Text("The heart pumps."), Text("the heart, PUMPS"), "text"),
        (ITEM, talk("Good morning, doctor.", QUESTION), "question"),
        (ITEM, talk(f"Question: {QUESTION}\n" + "\n".join(map("{}. {}".format, "ABCD", OPTIONS))), "question"),
        (Choice(f"A man of 45.5 years has bled for a week. {QUESTION}", OPTIONS, (1,)),
         talk("Thank you.", f"One more: a man of 45.5 years has bled for a week; {QUESTION} And why?"), "question"),
        (Chat.of(QUESTION, "Vitamin C."), talk("Hello.", QUESTION), "question"),
        (talk(TEMPLATE, QUESTION), talk(TEMPLATE, QUESTION, "And a dog?"), "question"),
    ],
)  # fmt: skip
def test_the_same_words_are_found(asked: Body, learnt: Body, same: str) -> None:
    assert by(asked, learnt) == same


@pytest.mark.parametrize(
    ("asked", "learnt"),
    [
        (ITEM, Choice(QUESTION, ("Iron", "Vitamin C", "Zinc", "Iodine"), (1,))),
        (ITEM, Choice("Which vitamin is lacking in rickets?", OPTIONS, (2,))),
        (Choice("Is it true?", ("yes", "no"), (0,), context="Aspirin thins blood."),
         Choice("Is it true?", ("yes", "no"), (0,), context="Milk thins blood.")),
        (Choice("Is it true?", ("yes", "no"), (0,), context="Aspirin thins blood."), Choice("Is it true?", ("yes", "no"), (1,))),
        (Chat.of("What is glaucoma?", "A disease of the eye."), Chat.of("What is glaucoma?", "High pressure in it.")),
        (Choice("What is glaucoma?", ("a", "b"), (0,)), Chat.of("What is glaucoma?", "An eye disease.")),
        (Chat((Message("system", "Be brief."), *Chat.of("Why?", "So.").messages)), Chat.of("Why?", "Because.")),
        (Choice("→", ("↑", "↓"), (0,)), Choice("≠", ("±", "∞"), (0,))),
        (Text("— !"), Text("… ?")),
        (talk(TEMPLATE, "My knee hurts."), talk(TEMPLATE, "I have a cough.")),
        (talk(TEMPLATE, "My knee hurts."), Chat.of(TEMPLATE, "Go on.")),
        (ITEM, talk(f"Question: {QUESTION}\nA. Iron\nB. Zinc")),
        (ITEM, Chat((Message("user", "Ask me something."), Message("assistant", QUESTION)))),
    ],
)  # fmt: skip
def test_what_only_looks_alike_is_let_be(asked: Body, learnt: Body) -> None:
    assert by(asked, learnt) == ""


def test_every_asked_row_is_told_once_also_where_two_are_alike() -> None:
    asked = [row("a", ITEM), row("b", ITEM), row("c", Text("x"))]
    leaks = found(asked, [row("l", ITEM), row("m", ITEM)])
    assert [(leak.asked, leak.learnt) for leak in leaks] == [("a", "l"), ("b", "l")]


def test_an_evaluation_is_held_against_what_its_own_models_learn() -> None:
    held_out = HeldOut({"far": (), "near": ("open",)})
    held_out.add("far", [row("a", ITEM)])
    held_out.add("near", [row("b", ITEM)])
    assert [leak.evaluation for leak in held_out.leaks("open", [row("l", ITEM)])] == ["near"]


def test_half_characters_are_words_like_others() -> None:
    assert by(Text("a \ud800"), Text("a \ud800")) == "text"


# --- in a run ---


@pytest.fixture
def leaking(bench):
    """Exam rows that are train rows of what a stage learns from, too, under another name."""
    examined.laid_out(bench, examined.TRAINED.replace("open: {from: [qa]}", "open: {from: [qa, copy]}"))
    recipe = bench.folder / "small.yaml"
    copied = "  copy: {use: table, path: 'data/choice.en.jsonl', body: choice, license: CC0-1.0, splits: {test: train, dev: train}}\n"
    recipe.write_text(recipe.read_text("utf-8").replace("datasets:\n", copied + "datasets:\n"), "utf-8")
    return bench


def test_it_is_refused_before_anything_is_trained_and_allowing_does_not_lift_it(leaking):
    said = leaking.factory("run", "small.yaml")
    assert said.code == 2, said.err
    assert "6 of 12 rows that exams.asked asks are learnt in training:" in said.err
    assert said.err.count("(the same question and options)") == 6
    assert "allow_unchecked does not change that" in said.err and "decontaminate" in said.err
    assert not (leaking.run().root / "train").exists() and not (leaking.run().root / "eval").exists()
    assert leaking.factory("run", "runs/small", "--only", "eval").code == 2
    other = leaking.factory("run", "small.yaml", "--until", "data")
    assert other.code == 0, "the data is made all the same"
    alone = leaking.factory("run", "small.yaml", "--set", "eval.0.models=[base]")
    assert alone.code == 0, "the base has learnt none of it"


def test_what_was_looked_at_is_read_once(bench, monkeypatch):
    examined.laid_out(bench, examined.TRAINED)
    assert bench.factory("run", "small.yaml", "--until", "data").code == 0
    bench.monkeypatch.chdir(bench.folder)
    assembly = assemble(bench.run().recipe_lock, origin=bench.folder)
    looked: list[str] = []
    rows = RunFolder.rows
    monkeypatch.setattr(
        RunFolder, "rows", lambda store, data, split=None: looked.append(data) or rows(store, data, split)
    )
    look_before(assembly, bench.run(), asks=False)
    assert looked == ["exams", "open"]
    look_before(assembly, bench.run(), asks=False)
    assert looked == ["exams", "open"]
    ((_, evaluator),) = assembly.evaluators
    changed = evaluator.model_copy(update={"limit": 7})
    look_before(replace(assembly, evaluators=(("asked", changed),)), bench.run(), asks=False)
    assert looked == ["exams", "open"] * 2


def test_a_clean_folder_is_not_refused(tmp_path):
    refuse_leaks(RunFolder(tmp_path), HeldOut({}))
    with pytest.raises(RecipeError, match="and 2 more"):
        held_out = HeldOut({"exam": ("open",)})
        held_out.add("exam", [row(f"r{number}", Text("same")) for number in range(12)])

        class Store(RunFolder):
            def rows(self, dataset, split=None):
                return iter([row("l", Text("same"))])

        refuse_leaks(Store(tmp_path), held_out)
