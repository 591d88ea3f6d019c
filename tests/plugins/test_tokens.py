"""Which tokens carry loss: exactly the assistant's words and the token that ends its turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from langmill.api import Chat, Choice, Context, Message, Origin, RecipeError, Row, Text, packs_in
from langmill_plugins.trainers.base_model import find_base, load_tokenizer, quiet
from langmill_plugins.trainers.order import batches
from langmill_plugins.trainers.tokens import NO_LOSS, learnt, tokenise

DATA = Path(__file__).resolve().parents[2] / "recipes/data"
LANGUAGES = ("en", "zh", "ja", "ko", "fr", "es", "ru")
LETTERS = "ABCDEFGHIJ"
TEMPLATES = {  # template: (its own end token, all tokens it steers with)
    "smollm2": ("<|im_end|>", ()),
    "llama3": ("<|eot_id|>", ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    "qwen3": ("<|im_end|>", ()),
    "gemma3": ("<end_of_turn>", ("<bos>", "<start_of_turn>", "<end_of_turn>")),
}


def row_of(body: Chat | Choice | Text, language: str = "en", number: int = 0) -> Row:
    name = f"test/{language}-{number}"
    return Row(name, language, "train", name, body, Origin("test", str(number), ("CC0-1.0",)))


def hand_written(language: str) -> list[Row]:
    """The recipe's own rows: questions, choices with one and with several right answers, and a conversation of two turns."""
    bodies: list[Chat | Choice] = []
    for line in (DATA / f"qa.{language}.jsonl").read_text("utf-8").splitlines():
        fact = json.loads(line)
        bodies.append(Chat.of(fact["question"], fact["answer"]))
    first, second = bodies[0], bodies[1]
    assert isinstance(first, Chat)
    assert isinstance(second, Chat)
    bodies.append(Chat((*first.messages, *second.messages)))
    bodies.append(Chat((Message("system", first.question), *second.messages)))
    for line in (DATA / f"choice.{language}.jsonl").read_text("utf-8").splitlines():
        fact = json.loads(line)
        right = tuple(LETTERS.index(letter) for letter in fact["answer"] if letter in LETTERS)
        bodies.append(Choice(fact["question"], tuple(fact["options"]), right, fact["explanation"]))
        bodies.append(Choice(fact["question"], tuple(fact["options"]), right))
    assert any(isinstance(body, Choice) and len(body.answers) > 1 for body in bodies)
    return [row_of(body, language, number) for number, body in enumerate(bodies)]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    return Context("train", 17, packs, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def smollm2(context: Context) -> Path:
    quiet()
    return find_base("local/smollm2-135m-instruct", context).folder


@pytest.fixture
def tokenizer(smollm2: Path) -> Any:
    return load_tokenizer(smollm2)


@pytest.fixture(scope="module", params=sorted(TEMPLATES))
def templated(request: pytest.FixtureRequest, smollm2: Path) -> Iterator[tuple[Any, str]]:
    """The small model's tokenizer with its own template, or with another model family's and its steering tokens."""
    tokenizer = load_tokenizer(smollm2)
    end, steering = TEMPLATES[request.param]
    if request.param != "smollm2":
        tokenizer.chat_template = (files("trl") / "chat_templates" / f"{request.param}.jinja").read_text("utf-8")
        tokenizer.add_special_tokens({"additional_special_tokens": list(steering)})
    yield tokenizer, end


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_learnt_is_the_words_and_the_end(language: str, templated: tuple[Any, str], context: Context) -> None:
    tokenizer, end = templated
    rows = hand_written(language)
    done = tokenise(rows, tokenizer, context, 4096)
    assert done.left_out == {}
    assert len(done.examples) == len(rows)
    for row, example in zip(rows, done.examples, strict=True):
        said = [m.content for m in context.pack(language).conversation(row.body) if m.role == "assistant"]
        assert tokenizer.decode(list(learnt(example))) == "".join(words + end for words in said)
        assert all(label in (NO_LOSS, token) for label, token in zip(example.labels, example.ids, strict=True))
        own = [len(tokenizer(words, add_special_tokens=False)["input_ids"]) + 1 for words in said]
        assert sum(1 for _ in learnt(example)) == sum(own)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_ids_are_what_the_template_writes(language: str, templated: tuple[Any, str], context: Context) -> None:
    tokenizer, _ = templated
    rows = hand_written(language)[-6:]
    for row, example in zip(rows, tokenise(rows, tokenizer, context, 4096).examples, strict=True):
        turns = [message._asdict() for message in context.pack(language).conversation(row.body)]
        assert list(example.ids) == tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]


def test_words_that_occur_twice_do_not_mislead(tokenizer: Any, context: Context) -> None:
    row = row_of(Chat.of("Say: assistant\nNo.", "assistant\nNo."))
    (example,) = tokenise([row], tokenizer, context, 99).examples
    first = next(place for place, label in enumerate(example.labels) if label != NO_LOSS)
    assert tokenizer.decode(list(example.ids)[:first]).endswith(
        "Say: assistant\nNo.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(list(learnt(example))) == "assistant\nNo.<|im_end|>"


def test_long_rows_are_left_out_whole_and_counted(tokenizer: Any, context: Context) -> None:
    rows = [row_of(Chat.of("Why?", "So it is. " * times), number=times) for times in (1, 100, 2)]
    done = tokenise(rows, tokenizer, context, 64)
    assert done.left_out_by_reason() == {"too_long": {"en": 1}}
    assert [tokenizer.decode(list(learnt(one))).count("So it is.") for one in done.examples] == [1, 2]
    edge = len(tokenise(rows[:1], tokenizer, context, 4096).examples[0].ids)
    assert len(tokenise(rows[:1], tokenizer, context, edge).examples) == 1
    assert tokenise(rows[:1], tokenizer, context, edge - 1).left_out_by_reason() == {"too_long": {"en": 1}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (Chat.of("Ends here<|im_end|> or not?", "No."), "special_token_in_text"),
        (Chat.of("What next?", "<|im_start|>user"), "special_token_in_text"),
        (Text("A page<|endoftext|>and another"), "special_token_in_text"),
        (Chat.of("What is there to say?", ""), "empty_answer"),
    ],
)
def test_rows_that_no_mask_is_right_for(body: Chat | Text, reason: str, tokenizer: Any, context: Context) -> None:
    done = tokenise([row_of(body), row_of(Chat.of("Well?", "Yes."))], tokenizer, context, 512)
    assert done.left_out_by_reason() == {reason: {"en": 1}}
    assert len(done.examples) == 1


def test_a_template_that_changes_the_words(tokenizer: Any, context: Context) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", "message['content'] | upper")
    done = tokenise([row_of(Chat.of("Well?", "Yes."))], tokenizer, context, 512)
    assert done.left_out_by_reason() == {"template_alters_words": {"en": 1}}


def test_a_template_that_trims_still_has_its_words(tokenizer: Any, context: Context) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", "message['content'] | trim")
    (example,) = tokenise([row_of(Chat.of("Well?", " Yes. \n"))], tokenizer, context, 512).examples
    assert tokenizer.decode(list(learnt(example))) == "Yes.<|im_end|>"


def test_a_template_that_refuses(tokenizer: Any, context: Context) -> None:
    tokenizer.chat_template = (files("trl") / "chat_templates" / "gemma3.jinja").read_text("utf-8")
    twice = Chat((Message("user", "Well?"), Message("user", "Well?"), Message("assistant", "Yes.")))
    assert tokenise([row_of(twice)], tokenizer, context, 512).left_out_by_reason() == {"template_refuses": {"en": 1}}


def test_the_blank_a_template_writes_before_the_words(tokenizer: Any, context: Context) -> None:
    """The blank and the first word are one token, and the model has to write it; a newline is a token of the prompt."""
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ':' }}{{ ' ' + m['content'] }}{{ '<|im_end|>' }}{% endfor %}"
    )
    (example,) = tokenise([row_of(Chat.of("Well?", "Yes."))], tokenizer, context, 512).examples
    assert tokenizer.decode(list(learnt(example))) == " Yes.<|im_end|>"


def test_a_token_on_both_sides_of_the_edge(tokenizer: Any, context: Context) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ 'Re' + m['content'] + '<|im_end|>' }}{% endfor %}"
    done = tokenise([row_of(Chat.of("Well?", "turn"))], tokenizer, context, 512)
    assert done.left_out_by_reason() == {"no_clear_edge": {"en": 1}}


def test_no_template_and_no_end_are_said_at_once(tokenizer: Any, context: Context) -> None:
    rows = [row_of(Chat.of("Well?", "Yes."))]
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"
    with pytest.raises(RecipeError, match="never stop"):
        tokenise(rows, tokenizer, context, 512)
    tokenizer.chat_template = None
    with pytest.raises(RecipeError, match="instruction model"):
        tokenise(rows, tokenizer, context, 512)


def test_running_text_is_learnt_whole(tokenizer: Any, context: Context) -> None:
    (example,) = tokenise([row_of(Text("Iron is stored as ferritin."))], tokenizer, context, 64).examples
    assert tokenizer.decode(list(example.ids)) == "Iron is stored as ferritin.<|im_end|>"
    assert list(example.labels) == [NO_LOSS, *example.ids[1:]]


@pytest.mark.parametrize(("epochs", "times"), [(1.0, {1}), (3.0, {3}), (1.5, {1, 2})])
def test_every_row_comes_as_often_as_asked(epochs: float, times: set[int]) -> None:
    made = batches(list(range(50)), 4, 2, epochs, None, 5)
    rows = [row for batch in made for row in batch]
    assert {rows.count(row) for row in range(50)} == times
    assert len(rows) == round(50 * epochs)
    assert made == batches(list(range(50)), 4, 2, epochs, None, 5)
    assert made != batches(list(range(50)), 4, 2, epochs, None, 6)


def test_a_step_holds_any_rows_and_a_batch_those_of_like_length() -> None:
    made = batches(list(range(1000)), 5, 8, 1, 3, 1)
    assert len(made) == 24
    steps = [made[at : at + 8] for at in range(0, 24, 8)]
    for step in steps:
        rows = [row for batch in step for row in batch]
        assert rows == sorted(rows)
        assert rows[-1] - rows[0] > 500
