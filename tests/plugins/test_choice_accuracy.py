"""Choice accuracy on answers that are made up: what is asked, what an answer is worth, what is told of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.choosing import PACKS, Says, evaluator, marked, questions, row_of, rows, scored

from langmill.api import Answer, Chat, Choice, Drop, MissingInput, Question, Row, StepContext
from langmill_plugins.evaluators.choice_accuracy import ChoiceAccuracy
from langmill_plugins.evaluators.choices.chance import chance_exact, chance_partial, overlap
from langmill_plugins.evaluators.choices.marking import best
from langmill_plugins.filters.sound_choice import SoundChoice


def b_then_d(question: Question, words: str) -> float:
    """B is the likeliest letter everywhere, then D. By option text, short ones are likelier, but not by byte."""
    letters = {"A": -3.0, "B": -1.0, "C": -4.0, "D": -2.0}
    text = {"one": -3.0, "three": -4.0, "five": -4.4, "seven": -4.5, "はい": -6.0, "いいえ": -18.0}
    return letters[words] if words in letters else text[words]


# --- by log-likelihood ---


def test_known_answers() -> None:
    found = marked(evaluator(), rows(), b_then_d)
    table = scored(found)
    # Letters: B is right in en/1, B with D in en/3, B in ja/1.
    assert (table["en", "letters"].correct, table["en", "letters"].n) == (2, 4)
    assert (table["ja", "letters"].correct, table["ja", "letters"].n) == (1, 2)
    # Text by byte: -1, -0.8, -1.1, -0.9 in English, so 'three', then 'seven'; -1 against -2 in Japanese.
    assert table["en", "text"].correct == 2
    assert table["ja", "text"].correct == 1
    chosen = {(item.row, item.metric): (item.facts["gold"], item.facts["chosen"]) for item in found.items if item.facts}
    assert len(chosen) == 12
    assert chosen["en/0", "text"] == ([0], [1])
    assert chosen["en/3", "letters"] == ([1, 3], [1, 3])
    assert chosen["ja/0", "text"] == ([0], [0])
    assert table["en", "text"].chance == pytest.approx((3 / 4 + 1 / 6) / 4)
    assert table["ja", "text"].chance == 0.5


def test_a_part_of_several_answers_counts_where_a_language_has_such_rows() -> None:
    """Three right answers of four, as the authors of FrenchMedMCQA count: two hits and a miss are 2 of 4."""
    body = Choice("Which?", ("one", "three", "five", "seven"), (0, 1, 2))
    table = scored(marked(evaluator(ask=("letters",)), [row_of("en/x", "en", body), *rows()], b_then_d))
    assert ("ja", "letters partial") not in table
    partial = table["en", "letters partial"]
    # A, B, D of A, B, C; A; B; A: B and D of B and D: wrong, right, wrong, right.
    assert partial.correct == pytest.approx(2 / 4 + 0 + 1 + 0 + 1)
    assert table["en", "letters"].correct == 2
    assert partial.chance == pytest.approx(
        (3 * 1 / 4 + (1 / 4 * 1 + 3 / 4 * 2 / 4) + (1 + 4 * 1 / 3) / 6) / 5
    )  # two of four: all, or one of them


def test_chance_is_what_guessing_gets() -> None:
    """Against counting every set of options there is."""
    for size in range(2, 6):
        subsets = [{place for place in range(size) if mask >> place & 1} for mask in range(1, 2**size)]
        for right in range(1, size + 1):
            gold = set(range(right))
            for told, guesses in ((True, [one for one in subsets if len(one) == right]), (False, subsets)):
                exact = sum(guess == gold for guess in guesses) / len(guesses)
                partial = sum(overlap(guess, gold) for guess in guesses) / len(guesses)
                assert chance_exact(size, right, told=told) == pytest.approx(exact)
                assert chance_partial(size, right, told=told) == pytest.approx(partial)


def test_all_weighs_languages_alike() -> None:
    some = [*[row for row in rows() if row.language == "en"][:3], rows()[-1]]
    over_all = scored(marked(evaluator(), some, lambda question, words: 0.0 if words == "B" else -1.0))[
        "all", "letters"
    ]
    assert (over_all.n, over_all.correct) == (4, 2)
    assert over_all.value == pytest.approx((1 / 3 + 1) / 2)
    assert over_all.chance == pytest.approx((1 / 4 + 1 / 2) / 2)


def test_the_packs_short_prompt_is_asked_once_for_both() -> None:
    row = rows()[-1]
    assert isinstance(row.body, Choice)
    (question,) = questions(evaluator(), [row])
    assert [message.content for message in question.messages] == [PACKS["ja"].ask_choice(row.body, short=True)]
    assert question.continuations == ("A", "B", "はい", "いいえ")
    assert questions(evaluator(ask=("text",)), [row])[0].continuations == ("はい", "いいえ")


def test_equals_go_to_the_earlier_and_the_best_come_in_order() -> None:
    assert best([-1.0, -1.0, -1.0], 1) == (0,)
    assert best([-3.0, -1.0, -2.0, -1.0], 2) == (1, 3)
    assert best([-9.0, -math.inf, -1.0], 2) == (0, 2)
    for broken in ([-1.0, math.nan], [-1.0, math.inf], [-math.inf, -math.inf]):
        assert best(broken, 1) is None


def test_conversations_are_passed_over_and_nothing_left_is_an_error() -> None:
    chat = row_of("en/chat", "en", Chat.of("Why?", "So."))
    assert "en/chat" not in {item.row for item in marked(evaluator(), [chat, *rows()]).items}
    with pytest.raises(MissingInput, match="no multiple-choice rows"):
        questions(evaluator(), [chat])


@pytest.mark.parametrize("blank", ["", " ", "\u3000", "\u200b"])
def test_an_option_without_words_can_not_be_asked_by_text(blank: str) -> None:
    """Nothing is certain to follow anything: it would always be the likeliest. The step that the error names drops such rows."""
    row = row_of("en/blank", "en", Choice("Which?", ("one", blank), (0,)))
    with pytest.raises(
        MissingInput, match=r"of 1 rows of 'mc' an option has no words, e\.g\. 'en/blank'.*sound_choice.*letters"
    ):
        questions(evaluator(), [*rows(), row])
    for ask in ("letters", "generation"):
        assert questions(evaluator(ask=(ask,)), [row])
    steps = StepContext("datasets.mc.steps[0]", 17, PACKS, Path())
    (dropped,) = SoundChoice().judge([row], steps)
    assert isinstance(dropped, Drop) and dropped.reason == "empty_option"


def test_more_options_than_letters_are_the_packs_fault() -> None:
    row = row_of("en/long", "en", Choice("Which?", tuple(f"option {number}" for number in range(30)), (0,)))
    with pytest.raises(MissingInput, match="'en' has 10 letters, an item has 30 options"):
        questions(evaluator(), [row])


# --- written ---


def test_a_written_answer_that_was_cut_off_is_told_to_the_reader() -> None:
    """The first option of a list that its bound cut off is no answer; a whole reply that leads with one is."""
    says = "one: the smallest odd number"
    for finish, readable in (("length", False), ("stop", True)):
        found = marked(evaluator(ask=("generation",)), rows()[:1], writes=lambda _, finish=finish: Answer(says, finish))  # type: ignore[misc]
        assert [item.readable for item in found.items] == [readable], finish


def test_written_answers_are_read_and_what_can_not_be_read_is_never_right() -> None:
    part = evaluator(ask=("generation",), max_tokens=99)
    said = {
        "en/0": Answer("The first one fits.\nAnswer: A"),
        "en/1": Answer(""),
        "en/2": Answer("I can not tell.", "length"),
        "en/3": Answer("Answer: B, D"),
        "ja/0": Answer("答え：B"),
        "ja/1": Answer("Answer: B"),
    }
    found = marked(part, rows(), writes=lambda question: said[question.row])
    items = {item.row: item for item in found.items if item.metric == "generation"}
    assert {name: item.value for name, item in items.items()} == {
        "en/0": 1, "en/1": 0, "en/2": 0, "en/3": 1, "ja/0": 0, "ja/1": 1,
    }  # fmt: skip
    assert [name for name, item in items.items() if not item.readable] == ["en/1", "en/2"]
    assert items["en/1"].facts["how"] == "empty" and items["en/1"].facts["chosen"] is None
    assert items["en/2"].facts["finish"] == "length" and items["en/2"].facts["reply"] == "I can not tell."
    table = scored(found)
    assert (table["en", "generation"].correct, table["en", "generation"].unreadable) == (2, 2)
    # A writer is not told how many: of 15 sets one is right.
    assert table["en", "generation"].chance == pytest.approx((3 / 4 + 1 / 15) / 4)
    assert "reader" in found.facts and "reader" not in marked(evaluator(), rows()).facts
    asked = questions(part, rows())
    assert isinstance(rows()[0].body, Choice)
    assert asked[0].messages[-1].content == PACKS["en"].ask_choice(rows()[0].body)  # type: ignore[arg-type]
    assert {question.max_tokens for question in asked} == {99} and not any(one.continuations for one in asked)
    assert not part.scored() and evaluator(ask=("generation", "text")).scored()


def test_a_model_that_says_nothing_is_unreadable_throughout() -> None:
    table = scored(marked(evaluator(ask=("generation",)), rows(), writes=lambda question: Answer("")))
    for language, n in (("en", 4), ("ja", 2), ("all", 6)):
        score = table[language, "generation"]
        assert (score.n, score.correct, score.unreadable) == (n, 0, n)


def test_a_long_reply_is_kept_by_its_ends() -> None:
    long = "a" * 900 + "\nAnswer: A"
    found = marked(evaluator(ask=("generation",)), rows()[:1], writes=lambda question: Answer(long))
    reply = found.items[0].facts["reply"]
    assert len(reply) < 340 and reply.startswith("aaa") and reply.endswith("Answer: A")


# --- orders and places ---


def exam(count: int, options: int = 4) -> list[Row]:
    return [
        row_of(f"en/{n}", "en", Choice(f"Item {n}?", tuple(f"choice {n} {k}" for k in range(options)), (n % options,)))
        for n in range(count)
    ]


def test_the_key_visits_every_place_alike() -> None:
    some = exam(40)
    for orders in (2, 4, 6):
        asked = questions(evaluator(orders=orders), some)
        assert len(asked) == 40 * orders
        visits = [
            [one.facts["order"].index(int(one.row[3:]) % 4) for one in asked if one.row == row.id] for row in some
        ]
        assert all(len(set(places)) == min(orders, 4) for places in visits), "nowhere twice before everywhere once"
        everywhere = [sum(places.count(place) for places in visits) for place in range(4)]
        assert min(everywhere) > 0.7 * 10 * orders, everywhere
        first = [one for one in asked if one.facts["order"] == [0, 1, 2, 3]]
        assert [one.row for one in first] == [row.id for row in some], "the published order is one of them"
        assert len({(one.row, tuple(one.facts["order"])) for one in asked}) == 40 * orders
    assert len(questions(evaluator(orders=24), exam(1, 2))) == 2, "two options have two orders"
    assert len(questions(evaluator(orders=24), exam(1, 3))) == 6


def test_a_model_that_says_a_is_at_chance_and_shown_to_say_a() -> None:
    """Eight rows whose key is always A: in the published order it looks perfect, in four orders it is found out."""
    some = [row_of(f"en/{n}", "en", Choice(f"Item {n}?", ("w", "x", "y", "z"), (0,))) for n in range(8)]
    says_a: Says = lambda question, words: 0.0 if words == "A" else -1.0  # noqa: E731
    once, often = (marked(evaluator(ask=("letters",), orders=orders), some, says_a) for orders in (1, 4))
    assert scored(once)["en", "letters"].value == 1
    table = scored(often)
    assert table["en", "letters"].value == table["en", "letters"].chance == 0.25
    assert table["en", "letters steady"].value == 0
    assert table["en", "letters steady"].chance == pytest.approx(1 / 64)
    (places,) = often.tables
    assert places.rows == places.columns == ("A", "B", "C", "D")
    assert places.cells == ((8, 0, 0, 0),) * 4
    assert "Nearly every answer is A" in places.note and "A 100% (25%)" in places.note
    figures = often.facts["places"]["letters"]["en"]
    assert (figures["distance"], figures["n"]) == (0.75, 32)
    assert figures["rstd"] == pytest.approx(math.sqrt(3) / 4, abs=1e-4)  # right always, never, never, never


def test_a_model_that_knows_is_steady_whatever_the_order() -> None:
    def knows(question: Question, words: str) -> float:
        right = int(question.row[3:]) % 4
        place = "ABCD".find(words) if len(words) == 1 else int(words[-1])
        return 0.0 if (question.facts["order"][place] if len(words) == 1 else place) == right else -9.0

    found = marked(evaluator(orders=3), exam(10), knows)
    table = scored(found)
    assert all(table["en", f"{way}{metric}"].value == 1 for way in ("letters", "text") for metric in ("", " steady"))
    facts = next(item.facts for item in found.items if item.row == "en/1" and item.metric == "letters")
    assert [one["chosen"] for one in (facts, *facts["more"])] == [[1]] * 3
    assert all(one["order"][one["places"][0]] == 1 for one in (facts, *facts["more"]))
    assert all(figures["en"]["distance"] < 0.01 for figures in found.facts["places"].values())


def test_half_of_the_orders_are_half_right() -> None:
    found = marked(evaluator(ask=("letters",), orders=2), exam(1), lambda question, words: float(words == "A"))
    assert scored(found)["en", "letters"].value == 0.5


def test_options_that_speak_of_their_order_stay() -> None:
    fixed = row_of("en/all", "en", Choice("Which?", ("one", "two", "three", "all of the above"), (3,)))
    part = evaluator(orders=4)
    assert [one.facts["order"] for one in questions(part, [fixed])] == [[0, 1, 2, 3]]
    found = marked(part, [fixed, *exam(3)])
    assert found.facts["order_kept"] == {"en": 1}
    assert scored(found)["en", "letters steady"].n == 3


def test_unreadable_in_one_order_is_no_answer_there() -> None:
    def writes(question: Question) -> Answer:
        return Answer("Answer: A" if question.facts["order"][0] == 0 else "")

    found = marked(evaluator(ask=("generation",), orders=2), exam(1), writes=writes)
    item, steady = found.items
    assert (item.value, item.readable, steady.value, steady.readable) == (0.5, False, 0.0, False)
    assert found.tables[0].columns == ("A", "B", "C", "D", "none")
    assert sum(row[-1] for row in found.tables[0].cells) == 1


def test_a_passage_stays_where_it_is() -> None:
    body = Choice("Does it?", ("yes", "no", "maybe"), (1,), context="A passage.")
    for question in questions(evaluator(orders=3), [row_of("en/p", "en", body)]):
        assert question.messages[0].content.index("A passage.") < question.messages[0].content.index("Does it?")


def test_its_help_says_how_several_answers_count() -> None:
    assert "k right ones it is given its k likeliest" in " ".join((ChoiceAccuracy.__doc__ or "").split())
