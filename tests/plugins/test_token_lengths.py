"""What is longer than a line: running text in windows, conversations that lose their oldest end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.recording import made, row_of, small_tokenizer, words_of

from langmill.api import Chat, Message, Text
from langmill_plugins.trainers.tokens.chunks import chunks
from langmill_plugins.trainers.tokens.cutting import cut

SYSTEM = Message("system", "Be brief.")
STORY = "Iron is stored as ferritin in the liver. " * 30


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return small_tokenizer()


@given(some.integers(1, 400), some.integers(2, 60), some.floats(0, 0.9))
def test_every_token_is_learnt_in_one_window(length: int, size: int, share: float) -> None:
    again = int(size * share)
    windows = list(chunks(length, size, again))
    learnt = [token for window in windows for token in range(window.learnt, window.end)]
    assert learnt == list(range(length))
    assert all(window.start <= window.learnt < window.end for window in windows)
    assert all(window.end - window.start == min(size, length) for window in windows)
    for before, after in pairwise(windows):
        assert before.end - after.start >= again


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("begins", [False, True])
def test_a_long_text_in_windows(overlap: float, begins: bool) -> None:
    tokenizer = small_tokenizer()
    if begins:
        from tokenizers.processors import TemplateProcessing

        tokenizer.bos_token = "<|endoftext|>"
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
        )
    whole = tokenizer(STORY, add_special_tokens=False)["input_ids"]
    examples = made([row_of(Text(STORY))], tokenizer, 64, overlap=overlap).examples
    assert examples.part.tolist() == list(range(len(examples)))
    assert set(examples.lengths.tolist()) == {64}
    end = tokenizer.eos_token_id
    if begins:
        assert all(examples.ids_of(one)[0] == 0 for one in range(len(examples)))
    bodies = [examples.ids_of(one).tolist()[begins:] for one in range(len(examples))]
    assert [body.count(end) for body in bodies] == [0] * (len(bodies) - 1) + [1]
    learnt = [label for one in range(len(examples)) for label in examples.labels_of(one).tolist() if label >= 0]
    assert learnt == [*whole, end][0 if begins else 1 :]
    assert not any(examples.learnt[start] for start in examples.starts[:-1])


def test_texts_with_nothing_or_steering_tokens_in_them(tokenizer: Any) -> None:
    done = made([row_of(Text("")), row_of(Text("Page<|endoftext|>")), row_of(Text("x"))], tokenizer)
    assert done.left_out_by_reason() == {"empty_text": {"en": 1}, "special_token_in_text": {"en": 1}}
    assert words_of(done.examples, tokenizer) == ["<|im_end|>"]


def long_chat(turns: int, *, system: bool = False) -> Chat:
    said = [SYSTEM] if system else []
    for number in range(turns):
        said += [Message("user", f"Question {number}: " + "why? " * 10), Message("assistant", f"Answer {number}.")]
    return Chat(tuple(said))


def test_the_oldest_exchanges_go_first_and_the_system_stays(tokenizer: Any) -> None:
    done = made([row_of(long_chat(6, system=True))], tokenizer, 128, too_long="cut_prompt")
    assert done.cut_by_kind() == {"older_turns": {"en": 1}}
    assert done.left_out == {}
    text = tokenizer.decode(done.examples.ids)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQuestion ")
    kept = words_of(done.examples, tokenizer)[0]
    assert kept.endswith("Answer 4.<|im_end|>Answer 5.<|im_end|>")
    assert "Answer 0" not in text
    shorter = made([row_of(Chat((SYSTEM, *long_chat(6).messages[-2 * kept.count("Answer") :])))], tokenizer)
    assert done.examples.ids.tolist() == shorter.examples.ids.tolist()


def test_then_the_beginning_of_the_question_goes(tokenizer: Any) -> None:
    question = "".join(f"{number} is followed by. " for number in range(200)) + "So what is it?"
    done = made([row_of(Chat.of(question, "It is ferritin."))], tokenizer, 64, too_long="cut_prompt")
    assert done.cut_by_kind() == {"question": {"en": 1}}
    assert words_of(done.examples, tokenizer) == ["It is ferritin.<|im_end|>"]
    assert 62 <= done.examples.tokens <= 64
    text = tokenizer.decode(done.examples.ids)
    kept = text.split("<|im_start|>user\n")[1].split("<|im_end|>")[0]
    assert question.endswith(kept)
    assert kept.endswith("So what is it?")


def test_characters_are_not_torn(tokenizer: Any) -> None:
    question = "贮存铁的器官有哪些🩸？" * 40
    done = made([row_of(Chat.of(question, "肝。"), "zh")], tokenizer, 80, too_long="cut_prompt")
    assert done.cut_by_kind() == {"question": {"zh": 1}}
    text = tokenizer.decode(done.examples.ids)
    assert "\ufffd" not in text
    assert question.endswith(text.split("user\n")[1].split("<|im_end|>")[0])


def test_an_answer_is_never_cut_and_a_question_not_to_nothing(tokenizer: Any) -> None:
    rows = [row_of(Chat.of("Why?", "Because. " * 100)), row_of(Chat.of("Why? " * 100, "Because. " * 20))]
    done = made(rows, tokenizer, 64, too_long="cut_prompt")
    assert done.left_out_by_reason() == {"too_long": {"en": 2}}
    assert done.cut == {}
    begun = Chat((Message("assistant", "Hello. " * 60), Message("user", "Why?"), Message("assistant", "So.")))
    done = made([row_of(begun)], tokenizer, 64, too_long="cut_prompt")
    assert words_of(done.examples, tokenizer) == ["So.<|im_end|>"]


def test_nothing_is_cut_unless_asked(tokenizer: Any) -> None:
    done = made([row_of(long_chat(6))], tokenizer, 128)
    assert done.left_out_by_reason() == {"too_long": {"en": 1}}


def test_a_conversation_that_can_not_be_put_is_not_cut() -> None:
    assert cut(long_chat(3).messages, lambda _: None, 10, lambda text: range(len(text))) is None


@given(some.integers(1, 6), some.integers(3, 60), some.booleans())
def test_whatever_is_cut_fits_and_ends_alike(turns: int, most: int, system: bool) -> None:
    chat = long_chat(turns, system=system).messages

    def size(messages: Any) -> int:
        return sum(len(message.content.split()) + 1 for message in messages)

    def starts(text: str) -> list[int]:
        return [0, *(at + 1 for at, letter in enumerate(text) if letter == " ")]

    found = cut(chat, size, most, starts)
    if found is None:
        assert size((SYSTEM, chat[-2], chat[-1])[not system :]) > most or most < 8
        return
    messages, went = found
    assert size(messages) <= most
    assert messages[-1] == chat[-1]
    assert (messages[0] == SYSTEM) is system
    assert bool(went) is (size(chat) > most)
    assert [m for m in messages if m.role == "assistant"] == [m for m in chat if m.role == "assistant"][
        -(len(messages) - system) // 2 :
    ]
