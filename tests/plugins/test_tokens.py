"""Which tokens carry loss: exactly the assistant's words and the token that ends its turn."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from tests.recording import CONTEXT, LANGUAGES, TEMPLATES, hand_written, learnt, made, row_of, small_tokenizer, words_of

from langmill.api import Chat, Message, RecipeError, Text
from langmill_plugins.trainers.tokens.examples import NO_LOSS


@pytest.fixture
def tokenizer() -> Any:
    return small_tokenizer()


@pytest.fixture(scope="module", params=sorted(TEMPLATES))
def templated(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    """The small model's tokenizer with its own template, or with another model family's and its steering tokens."""
    yield small_tokenizer(request.param), TEMPLATES[request.param][0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_learnt_is_the_words_and_the_end(language: str, templated: tuple[Any, str]) -> None:
    tokenizer, end = templated
    rows = hand_written(language)
    done = made(rows, tokenizer, 4096)
    assert done.left_out == {}
    assert len(done.examples) == len(rows)
    for one, row in enumerate(rows):
        said = [m.content for m in CONTEXT.pack(language).conversation(row.body) if m.role == "assistant"]
        assert tokenizer.decode(learnt(done.examples, one)) == "".join(words + end for words in said)
        own = [len(tokenizer(words, add_special_tokens=False)["input_ids"]) + 1 for words in said]
        assert len(learnt(done.examples, one)) == sum(own)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_ids_are_what_the_template_writes(language: str, templated: tuple[Any, str]) -> None:
    tokenizer, _ = templated
    rows = hand_written(language)[-6:]
    examples = made(rows, tokenizer, 4096).examples
    for one, row in enumerate(rows):
        turns = [message._asdict() for message in CONTEXT.pack(language).conversation(row.body)]
        assert (
            examples.ids_of(one).tolist()
            == tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]
        )


def test_words_that_occur_twice_do_not_mislead(tokenizer: Any) -> None:
    row = row_of(Chat.of("Say: assistant\nNo.", "assistant\nNo."))
    examples = made([row], tokenizer, 99).examples
    first = int(examples.learnt.argmax())
    assert tokenizer.decode(examples.ids[:first]).endswith("Say: assistant\nNo.<|im_end|>\n<|im_start|>assistant\n")
    assert words_of(examples, tokenizer) == ["assistant\nNo.<|im_end|>"]


def test_long_rows_are_left_out_whole_and_counted(tokenizer: Any) -> None:
    rows = [row_of(Chat.of("Why?", "So it is. " * times), number=times) for times in (1, 100, 2)]
    done = made(rows, tokenizer, 64)
    assert done.left_out_by_reason() == {"too_long": {"en": 1}}
    assert [words.count("So it is.") for words in words_of(done.examples, tokenizer)] == [1, 2]
    edge = made(rows[:1], tokenizer, 4096).examples.tokens
    assert len(made(rows[:1], tokenizer, edge).examples) == 1
    assert made(rows[:1], tokenizer, edge - 1).left_out_by_reason() == {"too_long": {"en": 1}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (Chat.of("Ends here<|im_end|> or not?", "No."), "special_token_in_text"),
        (Chat.of("What next?", "<|im_start|>user"), "special_token_in_text"),
        (Text("A page<|endoftext|>and another"), "special_token_in_text"),
        (Chat.of("What is there to say?", ""), "empty_answer"),
    ],
)
def test_rows_that_no_mask_is_right_for(body: Chat | Text, reason: str, tokenizer: Any) -> None:
    done = made([row_of(body), row_of(Chat.of("Well?", "Yes."))], tokenizer, 512)
    assert done.left_out_by_reason() == {reason: {"en": 1}}
    assert len(done.examples) == 1


def test_a_template_that_changes_the_words(tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", "message['content'] | upper")
    done = made([row_of(Chat.of("Well?", "Yes."))], tokenizer, 512)
    assert done.left_out_by_reason() == {"template_alters_words": {"en": 1}}


def test_a_template_that_trims_still_has_its_words(tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", "message['content'] | trim")
    examples = made([row_of(Chat.of("Well?", " Yes. \n"))], tokenizer, 512).examples
    assert words_of(examples, tokenizer) == ["Yes.<|im_end|>"]


def test_a_template_that_refuses(tokenizer: Any) -> None:
    tokenizer.chat_template = (files("trl") / "chat_templates" / "gemma3.jinja").read_text("utf-8")
    twice = Chat((Message("user", "Well?"), Message("user", "Well?"), Message("assistant", "Yes.")))
    assert made([row_of(twice)], tokenizer, 512).left_out_by_reason() == {"template_refuses": {"en": 1}}


def test_the_blank_a_template_writes_before_the_words(tokenizer: Any) -> None:
    """The blank and the first word are one token, and the model has to write it; a newline is a token of the prompt."""
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ':' }}{{ ' ' + m['content'] }}{{ '<|im_end|>' }}{% endfor %}"
    )
    examples = made([row_of(Chat.of("Well?", "Yes."))], tokenizer, 512).examples
    assert words_of(examples, tokenizer) == [" Yes.<|im_end|>"]


def test_a_token_on_both_sides_of_the_edge(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ 'Re' + m['content'] + '<|im_end|>' }}{% endfor %}"
    done = made([row_of(Chat.of("Well?", "turn"))], tokenizer, 512)
    assert done.left_out_by_reason() == {"no_clear_edge": {"en": 1}}


def test_no_template_and_no_end_are_said_at_once(tokenizer: Any) -> None:
    rows = [row_of(Chat.of("Well?", "Yes."))]
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"
    with pytest.raises(RecipeError, match="never stop"):
        made(rows, tokenizer, 512)
    tokenizer.chat_template = None
    with pytest.raises(RecipeError, match="chat_template: plain"):
        made(rows, tokenizer, 512)


def test_running_text_is_learnt_whole(tokenizer: Any) -> None:
    examples = made([row_of(Text("Iron is stored as ferritin."))], tokenizer, 64).examples
    assert tokenizer.decode(examples.ids) == "Iron is stored as ferritin.<|im_end|>"
    assert examples.labels_of(0).tolist() == [NO_LOSS, *examples.ids[1:].tolist()]
