"""The row: what it refuses, and what a child inherits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langmill.rows import Chat, Choice, Mark, Message, Origin, Row, Text, split_of, words


def row(body=None, **changes) -> Row:
    facts = {"id": "s/1", "language": "en", "split": "train", "family": "s/1", "body": body or Text("Blood is red.")}
    return Row(**{**facts, "origin": Origin("s", "1", ("CC0-1.0",)), **changes})


def test_a_conversation_ends_with_the_assistant():
    with pytest.raises(ValueError, match="ends with the assistant"):
        Chat((Message("user", "Why?"),))


@pytest.mark.parametrize("answers", [(), (4,), (-1,), (1, 0), (1, 1)])
def test_answers_point_at_options_in_order(answers):
    with pytest.raises(ValueError, match="answer"):
        Choice("Which?", ("a", "b", "c", "d"), answers)


def test_a_child_inherits_split_family_and_licences_and_records_its_making():
    parent = row(split="dev", family="exam/7", flags=("seen",))
    mark = Mark("translate", "m", "fr/translate@1", "k")
    child = parent.child("translate.fr", Text("Le sang est rouge."), language="fr", marks=[mark])
    assert child.id == "s/1/translate.fr"
    assert (child.split, child.family, child.language) == ("dev", "exam/7", "fr")
    assert child.origin == Origin("s", "1", ("CC0-1.0",), ("s/1",), (mark,))
    assert child.flags == (), "a flag says something of one row, not of what is made of it"
    assert child.child("x", child.body).origin.parents == ("s/1", "s/1/translate.fr")


def test_words_reads_everything_a_reader_reads():
    body = Choice("Which?", ("a", "b"), (1,), explanation="Because.", context="A case.")
    assert words(body) == "A case.\nWhich?\na\nb\nBecause."


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=400))
def test_the_split_depends_on_seed_and_family_alone_and_keeps_its_shares(seed, number):
    shares = (("dev", 0.1), ("test", 0.2))
    assert split_of(f"exam/{number}", seed, shares) == split_of(f"exam/{number}", seed, shares)


def test_shares_are_kept_over_many_families():
    found = [split_of(f"exam/{number}", 17, (("dev", 0.1), ("test", 0.2))) for number in range(5000)]
    assert abs(found.count("dev") / 5000 - 0.1) < 0.02
    assert abs(found.count("test") / 5000 - 0.2) < 0.02


def test_lone_surrogates_in_a_family_do_not_crash():
    assert split_of("exam/\ud800", 1, ()) == "train"
